"""PyTorch modules read from a file, as inert objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from patchbank.torch_files.reader import Inert, Tensor

_MOST_MODULES: Final = 100_000


def name_of(value: object) -> str:
    """Return the name of a value's class, without its module; empty for plain values."""
    return value.name if isinstance(value, Inert) else ""


def attributes_of(value: object) -> Mapping[Any, Any]:
    """Return the attributes of an object; none for plain values."""
    state = value.state if isinstance(value, Inert) else None
    return state if isinstance(state, Mapping) else {}


def children_of(value: object) -> Mapping[Any, Any]:
    """Return the direct submodules of a module."""
    modules = attributes_of(value).get("_modules")
    return modules if isinstance(modules, Mapping) else {}


def child_of(value: object, name: str) -> Inert | None:
    """Return a submodule, or another object, by its attribute's name."""
    child = children_of(value).get(name, attributes_of(value).get(name))
    return child if isinstance(child, Inert) else None


def modules_below(root: Inert) -> Iterator[Inert]:
    """Yield a module and all below it, each once: a hostile file may contain cycles."""
    waiting, seen = deque([root]), {id(root)}
    while waiting:
        module = waiting.popleft()
        yield module
        for child in children_of(module).values():
            if isinstance(child, Inert) and id(child) not in seen and len(seen) < _MOST_MODULES:
                seen.add(id(child))
                waiting.append(child)


def tensors_below(root: Inert) -> Iterator[tuple[str, Tensor]]:
    """Yield the entries of a module's state dictionary."""
    waiting, seen = deque([("", root)]), {id(root)}
    while waiting:
        prefix, module = waiting.popleft()
        for kind in ("_parameters", "_buffers"):
            tensors = attributes_of(module).get(kind)
            for name, value in tensors.items() if isinstance(tensors, Mapping) else ():
                if isinstance(value, Tensor):
                    yield f"{prefix}{name}", value
        for name, child in children_of(module).items():
            if isinstance(child, Inert) and id(child) not in seen and len(seen) < _MOST_MODULES:
                seen.add(id(child))
                waiting.append((f"{prefix}{name}.", child))
