"""A pickle interpreter limited to plain values and the functions that the caller allows.

The standard library's unpickler is not safe even with a list of allowed classes: it sets attributes
on anything (opcode BUILD), hashes any key, and allocates whatever a size or a memo index claims.
PyTorch reads untrusted files in the same way as here (``torch/_weights_only_unpickler.py``): with a
small interpreter of the few protocol 2 opcodes that such files use. The standard library's
`pickletools` documents the opcodes.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from patchbank.errors import WeightsError

# Networks with thousands of tensors need less than a million bytes. A one-byte opcode creates at
# most about 70 bytes of objects, so this also limits memory.
MAXIMUM_BYTES: Final = 4_000_000
# The longest number needed is PyTorch's magic number: ten bytes.
_LONGEST_INTEGER: Final = 16
# Hash collisions make a dictionary slow; they cannot be forced with strings and small integers.
_LARGEST_KEY: Final = 1 << 31

_CONSTANTS: Final[Mapping[int, object]] = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
_NUMBERS: Final = {
    ord("K"): struct.Struct("<B"),
    ord("M"): struct.Struct("<H"),
    ord("J"): struct.Struct("<i"),
    ord("G"): struct.Struct(">d"),
}
_PUTS: Final = {ord("q"): struct.Struct("<B"), ord("r"): struct.Struct("<I")}
_GETS: Final = {ord("h"): struct.Struct("<B"), ord("j"): struct.Struct("<I")}
_SHORT_TUPLES: Final = {0x85: 1, 0x86: 2, 0x87: 3}
_LENGTH: Final = struct.Struct("<I")
_UNDERFLOW: Final = "a pickle that takes values from an empty stack"


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function that a pickle may call, with positional arguments."""

    call: Callable[..., object]


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """A stand-in for an unsupported global name."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Inert:
    """A stand-in for an object of an unknown class, which only records what the file contains.

    Attributes
    ----------
    made_by
        The class or function that would have been called.
    arguments
        Its arguments.
    state
        The object's attributes as stored in the file, or None.
    items
        Values set by key, as in a dictionary.
    values
        Values appended, as to a list.
    """

    made_by: object
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of its class or function, without the module."""
        return self.made_by.name if isinstance(self.made_by, Unknown) else ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names and objects that a pickle may refer to.

    Parameters
    ----------
    find : callable (module, name) returning object
        Resolves a global name; a `Function` can be called, any other object can only be an
        argument. Raises WeightsError for unknown names.
    refer : callable (identifier) returning object
        Resolves a persistent identifier, or raises WeightsError.
    inert : bool
        Whether an `Unknown` can also be called (this runs nothing and returns an `Inert`), and
        dictionary entries whose keys are neither strings nor small integers are skipped.
    """

    find: Callable[[str, str], object]
    refer: Callable[[object], object]
    inert: bool = False


#: Stands for ``collections.OrderedDict``.
ORDERED_DICT: Final = Function(OrderedDict[Any, Any])


class PickleReader:
    """A reader of the consecutive pickles in a file.

    Parameters
    ----------
    content : bytes
        The file's content.

    Attributes
    ----------
    position : int
        Index of the next byte.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        WeightsError
            If fewer bytes are left.
        """
        start, self.position = self.position, self.position + count
        if self.position > len(self._content):
            raise WeightsError("weights file is damaged (it ends too early); download it again")
        return self._content[start : self.position]

    def load(self, vocabulary: Vocabulary) -> object:
        """Run one pickle and return its value, made of plain types and objects of `vocabulary`."""
        return _Machine(self, vocabulary).run()

    def number(self, form: struct.Struct) -> Any:
        """Return the next number."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """Return the next line, without its line break."""
        end = self._content.find(b"\n", self.position, self.position + 200)
        if end < 0:
            raise _damaged("an unterminated name")
        line = self.take(end + 1 - self.position)
        # Names appear in messages, which must stay on one line.
        if not line[:-1].isascii() or not (text := line[:-1].decode()).isprintable():
            raise _damaged("an unprintable name")
        return text


def _damaged(reason: str) -> WeightsError:
    return WeightsError(f"weights file is damaged or hostile ({reason}); download it again")


class _Machine:
    """The state of one running pickle: stack, marks and memo."""

    def __init__(self, reader: PickleReader, vocabulary: Vocabulary) -> None:
        self._reader = reader
        self._vocabulary = vocabulary
        self._end = reader.position + MAXIMUM_BYTES
        self._stack: list[Any] = []
        # Each mark starts a new stack; the earlier ones are kept here.
        self._below: list[list[Any]] = []
        # A dictionary, so that a huge index takes no more memory than a small one.
        self._memo: dict[int, object] = {}
        self._actions: Mapping[int, Callable[[], object]] = {
            0x80: self._protocol,
            ord("("): self._mark,
            ord("t"): lambda: self._push(tuple(self._since_mark())),
            ord("]"): lambda: self._push([]),
            ord("a"): lambda: self._append([self._pop()]),
            ord("e"): lambda: self._append(self._since_mark()),
            ord("}"): lambda: self._push({}),
            ord("s"): lambda: self._set_items([self._pop(), self._pop()][::-1]),
            ord("u"): lambda: self._set_items(self._since_mark()),
            ord("X"): self._text,
            0x8A: self._integer,
            ord("c"): self._global,
            ord("R"): self._reduce,
            ord("b"): self._build,
            ord("Q"): lambda: self._push(self._vocabulary.refer(self._pop())),
        }
        if vocabulary.inert:
            # Used by whole modules but not by state dictionaries: class instances, and tuples that
            # contain themselves.
            self._actions = {
                **self._actions,
                0x81: self._reduce,
                ord("0"): self._discard,
                ord("1"): self._since_mark,
            }

    def run(self) -> object:
        reader, push = self._reader, self._push
        while (opcode := reader.take(1)[0]) != ord("."):
            if reader.position > self._end:
                raise _damaged(f"its list of tensors is longer than {MAXIMUM_BYTES:,} bytes")
            if opcode in _CONSTANTS:
                push(_CONSTANTS[opcode])
            elif opcode in _NUMBERS:
                push(reader.number(_NUMBERS[opcode]))
            elif opcode in _PUTS:
                self._memo[reader.number(_PUTS[opcode])] = self._top()
            elif opcode in _GETS:
                push(self._remembered(reader.number(_GETS[opcode])))
            elif opcode in _SHORT_TUPLES:
                values = [self._pop() for _ in range(_SHORT_TUPLES[opcode])]
                push(tuple(reversed(values)))
            elif opcode in self._actions:
                self._actions[opcode]()
            else:
                raise _damaged(f"opcode {opcode:#04x}, which weights files do not use")
        value = self._pop()
        if self._stack or self._below:
            raise _damaged("values left on the pickle's stack")
        return value

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise _damaged(_UNDERFLOW)
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise _damaged(_UNDERFLOW)
        return self._stack[-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise _damaged(_UNDERFLOW)
        values, self._stack = self._stack, self._below.pop()
        return values

    def _remembered(self, index: int) -> object:
        if index not in self._memo:
            raise _damaged("a reference to a missing memo entry")
        return self._memo[index]

    def _protocol(self) -> None:
        if (protocol := self._reader.take(1)[0]) != 2:
            raise WeightsError(
                f"not a PyTorch weights file (its pickle protocol is {protocol}, not 2); "
                "save it with torch.save and the default protocol"
            )

    def _text(self) -> None:
        try:
            self._push(self._reader.take(self._reader.number(_LENGTH)).decode())
        except UnicodeDecodeError as error:
            raise _damaged("a string that is not UTF-8") from error

    def _integer(self) -> None:
        count = self._reader.take(1)[0]
        if count > _LONGEST_INTEGER:
            raise _damaged(f"an integer of {count} bytes")
        self._push(int.from_bytes(self._reader.take(count), "little", signed=True))

    def _global(self) -> None:
        module, name = self._reader.line(), self._reader.line()
        self._push(self._vocabulary.find(module, name))

    def _discard(self) -> None:
        self._pop()

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is Inert:
            target = target.values
        if type(target) is not list:
            raise _damaged("values appended to something that is not a list")
        target.extend(values)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is Inert:
            target = target.items
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise _damaged("items set in something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Nothing else is hashed: nested pairs of the same tuple take 2^depth steps.
            small = type(key) is int and abs(key) <= _LARGEST_KEY
            if type(key) is not str and not small:
                if self._vocabulary.inert:
                    continue
                raise _damaged("a key that is neither a string nor a small integer")
            target[key] = value

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        inert = self._vocabulary.inert
        if type(function) in (Unknown, Inert) and type(arguments) is tuple and inert:
            self._push(Inert(function, arguments))
            return
        if type(function) is not Function or type(arguments) is not tuple:
            raise _damaged("a call of something that is not a function")
        if function is ORDERED_DICT and arguments:
            # Its items are set afterwards; keys passed as arguments would not be checked.
            raise _damaged("a dictionary with arguments")
        try:
            self._push(function.call(*arguments))
        except TypeError as error:
            raise _damaged("a call with wrong arguments") from error

    def _build(self) -> None:
        # PyTorch stores module versions (``_metadata``) as an attribute of a state dictionary.
        # It is ignored: no object built here ever gets attributes from a file.
        state = self._pop()
        target = self._top()
        if type(target) is Inert:
            target.state = state
        elif type(target) is not OrderedDict:
            raise _damaged("attributes set on a plain value")
