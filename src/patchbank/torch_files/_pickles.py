"""Run pickles that can build plain values, and call what the caller hands out, and nothing else.

The standard library's unpickler is not used: it sets attributes on whatever it has built (opcode
BUILD), hashes whatever it is given as a key, makes room for what a size or a memo index claims, and
so cannot be held to a few values by choosing the classes alone. PyTorch reads untrusted files the
same way (``torch/_weights_only_unpickler.py``): by a small machine that knows only the opcodes of
protocol 2 that such files have. The opcodes are described in the standard library's `pickletools`.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from patchbank.errors import WeightsError

# Networks of thousands of tensors need less than a million bytes. An opcode of one byte makes some
# 70 bytes of objects at most, so this also bounds the memory.
MAXIMUM_BYTES: Final = 4_000_000
# The longest number that is needed is PyTorch's magic number, of ten bytes.
_LONGEST_INTEGER: Final = 16
# Equal hashes make a dictionary slow; strings and small integers cannot be made to have them.
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


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """What a pickle may call, with positional arguments."""

    call: Callable[..., object]


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """Stands for a global name that means nothing here."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Inert:
    """Stands for an object of an unknown class: what the file says of it, and no more.

    Attributes
    ----------
    made_by
        The class or function that would have been called.
    arguments
        What with.
    state
        Its attributes, as the file has them; None where it has none.
    items
        What was set in it under keys, as in a dictionary.
    values
        What was appended to it, as to a list.
    """

    made_by: object
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of what made it, without its module."""
        return self.made_by.name if isinstance(self.made_by, Unknown) else ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a pickle may refer to.

    Parameters
    ----------
    find : callable (module, name) returning object
        Gives what a global name stands for; a `Function` can be called, everything else only be an
        argument. Raises WeightsError for names it does not know.
    refer : callable (identifier) returning object
        Gives what a persistent identifier stands for, or raises WeightsError.
    inert : bool
        Whether an `Unknown` may be called as well, which gives an `Inert` and runs nothing, and
        entries of dictionaries under other keys than texts and numbers are passed over.
    """

    find: Callable[[str, str], object]
    refer: Callable[[object], object]
    inert: bool = False


#: The function behind ``collections.OrderedDict``.
ORDERED_DICT: Final = Function(OrderedDict[Any, Any])


class PickleReader:
    """Reads the pickles of a file, one after another.

    Parameters
    ----------
    content : bytes
        The file.

    Attributes
    ----------
    position : int
        Where the next byte is read.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        WeightsError
            There are fewer.
        """
        start, self.position = self.position, self.position + count
        if self.position > len(self._content):
            raise WeightsError("weights file is damaged (it ends too early); get it again")
        return self._content[start : self.position]

    def load(self, words: Vocabulary) -> object:
        """Run one pickle and return its value: of plain types and of what `words` gives.

        Raises
        ------
        WeightsError
            It is damaged, too large, or does what weights have no need of.
        """
        return _Machine(self, words).run()

    def number(self, form: struct.Struct) -> Any:
        """Return the next number."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """Return the next line, without its end."""
        end = self._content.find(b"\n", self.position, self.position + 200)
        if end < 0:
            raise _damaged("a name without an end")
        line = self.take(end + 1 - self.position)
        # Names are shown in messages, which are one line.
        if not line[:-1].isascii() or not (text := line[:-1].decode()).isprintable():
            raise _damaged("a name that is none")
        return text


def _damaged(reason: str) -> WeightsError:
    return WeightsError(f"weights file is damaged or hostile ({reason}); get it again")


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, reader: PickleReader, words: Vocabulary) -> None:
        self._reader = reader
        self._words = words
        self._end = reader.position + MAXIMUM_BYTES
        self._stack: list[Any] = []
        # The stacks below the marks; a mark begins a new one.
        self._below: list[list[Any]] = []
        # A dictionary: an index costs no more memory than an entry, whatever number it is.
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
            ord("Q"): lambda: self._push(self._words.refer(self._pop())),
        }
        if words.inert:
            # Whole modules have these, state dictionaries do not: objects made by their class, and
            # tuples that hold themselves, begun and then given up.
            self._actions = {
                **self._actions,
                0x81: self._reduce,
                ord("0"): self._drop,
                ord("1"): self._since_mark,
            }

    def run(self) -> object:
        reader, push = self._reader, self._push
        while (opcode := reader.take(1)[0]) != ord("."):
            if reader.position > self._end:
                raise _damaged(f"its list of tensors has more than {MAXIMUM_BYTES:,} bytes")
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
                raise _damaged(f"opcode {opcode:#04x}, which weights have no need of")
        value = self._pop()
        if self._stack or self._below:
            raise _damaged("a pickle with leftovers")
        return value

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise _damaged("a pickle that takes more than it has")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise _damaged("a pickle that takes more than it has")
        return self._stack[-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise _damaged("a pickle that takes more than it has")
        values, self._stack = self._stack, self._below.pop()
        return values

    def _remembered(self, index: int) -> object:
        if index not in self._memo:
            raise _damaged("a reference to nothing")
        return self._memo[index]

    def _protocol(self) -> None:
        if (protocol := self._reader.take(1)[0]) != 2:
            raise WeightsError(
                f"not a PyTorch weights file (a pickle of protocol {protocol}, not 2); "
                "write it with torch.save as it comes"
            )

    def _text(self) -> None:
        try:
            self._push(self._reader.take(self._reader.number(_LENGTH)).decode())
        except UnicodeDecodeError as error:
            raise _damaged("a text that is none") from error

    def _integer(self) -> None:
        count = self._reader.take(1)[0]
        if count > _LONGEST_INTEGER:
            raise _damaged(f"an integer of {count} bytes")
        self._push(int.from_bytes(self._reader.take(count), "little", signed=True))

    def _global(self) -> None:
        module, name = self._reader.line(), self._reader.line()
        self._push(self._words.find(module, name))

    def _drop(self) -> None:
        self._pop()

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is Inert:
            target = target.values
        if type(target) is not list:
            raise _damaged("a list that is none")
        target.extend(values)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is Inert:
            target = target.items
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise _damaged("a dictionary that is none")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Nothing else is hashed: a tuple of one tuple twice, and so on, takes 2^n steps.
            small = type(key) is int and abs(key) <= _LARGEST_KEY
            if type(key) is not str and not small:
                if self._words.inert:
                    continue
                raise _damaged("a key that is neither a text nor a number")
            target[key] = value

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(function) in (Unknown, Inert) and type(arguments) is tuple and self._words.inert:
            self._push(Inert(function, arguments))
            return
        if type(function) is not Function or type(arguments) is not tuple:
            raise _damaged("a call of what is no function")
        if function is ORDERED_DICT and arguments:
            # What it is to hold follows, as items; given here, its keys would not be checked.
            raise _damaged("a dictionary made of something else")
        try:
            self._push(function.call(*arguments))
        except TypeError as error:
            raise _damaged("a call with other arguments") from error

    def _build(self) -> None:
        # PyTorch puts the versions of modules (``_metadata``) on a state dictionary as an
        # attribute. It is dropped: nothing that is built here ever gets an attribute from a file.
        state = self._pop()
        target = self._top()
        if type(target) is Inert:
            target.state = state
        elif type(target) is not OrderedDict:
            raise _damaged("attributes for what has none")
