"""PostgreSQL's binary COPY format, written and read as whole numpy arrays: a row at a time would cost ten times the server's work.

Rows are ``int16 number of fields`` and for each field ``int32 length, bytes``; a null has length -1 and no bytes. Rows with the
same nulls therefore have the same size: those are written as one structured array, a group for each pattern of nulls.
https://www.postgresql.org/docs/18/sql-copy.html ("Binary Format")
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_ARRAY_HEADER = 20
"""int32 each: dimensions, whether nulls, type of the elements, length, lower bound."""
_CHUNK_ROWS = 32_768
_NULL = np.dtype([("length", ">i4")])
EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01."""
EPOCH_DAYS = 10_957


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of fixed width, big-endian (``>i4``, ``>i8``, ``>f8``, ``S<n>``); ``nulls`` True = null; None = none is."""

    values: Numbers
    nulls: NDArray[np.bool_] | None = None


def encode(fields: Sequence[Field]) -> Iterator[bytes]:
    """The stream of COPY ... FROM STDIN (FORMAT binary), in pieces; rows with nulls come after those without."""
    yield _HEADER
    nullable = [place for place, field in enumerate(fields) if field.nulls is not None]
    if nullable:
        weights = 1 << np.arange(len(nullable), dtype=np.int64)
        patterns = np.stack([_mask(fields[place]) for place in nullable], axis=1) @ weights
        for pattern in np.unique(patterns).tolist():
            absent = {place for bit, place in enumerate(nullable) if pattern >> bit & 1}
            yield from _group(fields, np.flatnonzero(patterns == pattern), absent)
    else:
        yield from _group(fields, np.arange(len(fields[0].values)), set())
    yield _TRAILER


def _mask(field: Field) -> NDArray[np.int64]:
    return np.zeros(len(field.values), np.int64) if field.nulls is None else field.nulls.astype(np.int64)


def _group(fields: Sequence[Field], places: NDArray[np.int64], absent: set[int]) -> Iterator[bytes]:
    shapes = [_NULL if place in absent else _shape(field.values.dtype) for place, field in enumerate(fields)]
    row = np.dtype([("fields", ">i2"), *((f"c{place}", shape) for place, shape in enumerate(shapes))])
    for start in range(0, len(places), _CHUNK_ROWS):
        part = places[start : start + _CHUNK_ROWS]
        block = np.empty(len(part), row)
        block["fields"] = len(fields)
        for place, field in enumerate(fields):
            cell = block[f"c{place}"]
            cell["length"] = -1 if place in absent else field.values.dtype.itemsize
            if place not in absent:
                cell["value"] = field.values[part]
        yield block.tobytes()


def _shape(kind: np.dtype[np.generic]) -> np.dtype[np.void]:
    return np.dtype([("length", ">i4"), ("value", kind)])


def decode_array(content: bytes, kind: str) -> Numbers:
    """Values of a binary one-dimensional array (``array_agg``) of a fixed-width type without nulls."""
    if not content:
        return np.empty(0, np.dtype(kind).newbyteorder("="))
    cells = np.frombuffer(memoryview(content)[_ARRAY_HEADER:], _shape(np.dtype(kind)))
    return cells["value"].astype(np.dtype(kind).newbyteorder("="))
