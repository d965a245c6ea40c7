"""A graph whose weights and activations are 8-bit integers, as it is kept with a bank."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

# The length of the description, before the two parts.
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class QuantisedGraph:
    """A quantised graph in OpenVINO's own format, which is read without NNCF.

    Parameters
    ----------
    description : bytes
        The XML that says what is computed.
    weights : bytes
        The constants it refers to.
    """

    description: bytes
    weights: bytes

    @cached_property
    def sha256(self) -> str:
        """Hex digest of `to_bytes`; part of the fingerprint of an extractor that runs this."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the graph as one piece."""
        return _LENGTH.pack(len(self.description)) + self.description + self.weights

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the graph `to_bytes` gave.

        Any content gives a graph: whether it is the right one, its digest says.
        """
        start = _LENGTH.size
        if len(content) < start:
            return cls(content, b"")
        (length,) = _LENGTH.unpack_from(content)
        return cls(content[start : start + length], content[start + length :])
