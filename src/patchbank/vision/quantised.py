"""A graph with 8-bit integer weights and activations, stored with a bank."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

# The length of the description, stored before the two parts.
_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True)
class QuantisedGraph:
    """A quantised graph in OpenVINO's format, which can be read without NNCF.

    Parameters
    ----------
    description : bytes
        The operations as XML.
    weights : bytes
        The constants that the XML refers to.
    """

    description: bytes
    weights: bytes

    @cached_property
    def sha256(self) -> str:
        """Hex digest of `to_bytes`, part of the fingerprint of an extractor with this graph."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the graph as bytes."""
        return _LENGTH.pack(len(self.description)) + self.description + self.weights

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the graph that `to_bytes` returned.

        Any content is accepted; check the digest.
        """
        start = _LENGTH.size
        if len(content) < start:
            return cls(content, b"")
        (length,) = _LENGTH.unpack_from(content)
        return cls(content[start : start + length], content[start + length :])
