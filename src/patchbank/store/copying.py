"""Convert between PostgreSQL's binary formats and NumPy arrays without a loop over the rows.

Rows of numbers and vectors of one length all have the same size in a binary COPY, so a block of
rows is a structured array.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
# Large enough for low overhead, small enough not to double a bank in memory.
_BLOCK_BYTES = 4_000_000


class RowLayout:
    """The layout of a table's rows.

    Parameters
    ----------
    columns
        By name, in the order of the table: ``"i2"``, ``"i4"``, ``"i8"`` or ``"f8"`` for a number,
        or an int for a pgvector ``vector`` of that many dimensions.
    """

    def __init__(self, columns: Mapping[str, str | int]) -> None:
        fields: list[tuple[Any, ...]] = [("fields", ">i2")]
        for name, kind in columns.items():
            fields.append((f"{name} size", ">i4"))
            if isinstance(kind, int):
                # pgvector sends the dimensions, an unused number and the components.
                fields += [(f"{name} dimensions", ">i2"), (f"{name} unused", ">i2")]
                fields.append((name, ">f4", (kind,)))
            else:
                fields.append((name, f">{kind}"))
        self._columns = dict(columns)
        self._row = np.dtype(fields)

    def encode(self, columns: Mapping[str, npt.NDArray[Any]]) -> Iterator[bytes]:
        """Yield the blocks of a COPY of these columns, arrays with one entry per row."""
        rows = len(next(iter(columns.values())))
        block_rows = max(1, _BLOCK_BYTES // self._row.itemsize)
        yield _SIGNATURE
        for start in range(0, rows, block_rows):
            stop = min(rows, start + block_rows)
            block = np.zeros(stop - start, self._row)
            self._frame(block)
            for name in self._columns:
                block[name] = columns[name][start:stop]
            yield block.tobytes()
        yield _TRAILER

    def decode(self, data: bytes) -> npt.NDArray[np.void]:
        """Return the rows of a whole COPY as a structured array, big-endian, a view of `data`.

        Raises
        ------
        ValueError
            If the data has another layout.
        """
        if not data.startswith(_SIGNATURE) or not data.endswith(_TRAILER):
            raise ValueError("not a complete binary COPY")
        body = memoryview(data)[len(_SIGNATURE) : -len(_TRAILER)]
        if len(body) % self._row.itemsize:
            raise ValueError(f"rows are not of the expected {self._row.itemsize} bytes")
        rows = np.frombuffer(body, self._row)
        frame = np.zeros(1, self._row)
        self._frame(frame)
        for name in self._row.names or ():
            if name not in self._columns and not bool(np.all(rows[name] == frame[name])):
                raise ValueError(f"rows are not of the expected layout: {name} differs")
        return rows

    def empty(self) -> npt.NDArray[np.void]:
        """Return an empty array of rows."""
        return np.zeros(0, self._row)

    def _frame(self, rows: npt.NDArray[np.void]) -> None:
        """Fill in the fields that are the same in every row."""
        rows["fields"] = len(self._columns)
        for name, kind in self._columns.items():
            if isinstance(kind, int):
                rows[f"{name} size"] = 4 + 4 * kind
                rows[f"{name} dimensions"] = kind
            else:
                rows[f"{name} size"] = self._row[name].itemsize


@dataclass(frozen=True)
class RealArray:
    """A statement parameter of type ``real[]`` with one dimension."""

    values: npt.NDArray[np.float32]


class _RealArrayDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid

    def dump(self, obj: RealArray) -> bytes:
        values = obj.values.ravel()
        elements = np.empty(len(values), [("size", ">i4"), ("value", ">f4")])
        elements["size"], elements["value"] = 4, values
        # One dimension, no nulls, element type, length, lower bound.
        element = psycopg.adapters.types["float4"].oid
        return struct.pack(">iiIii", 1, 0, element, len(values), 1) + elements.tobytes()


psycopg.adapters.register_dumper(RealArray, _RealArrayDumper)
