"""Arrow columns from the bytes that PostgreSQL sends of their values, one after the other in one string.

Numbers and uuids have a width, texts a byte between two, addresses say how long they are. Nothing is guessed: a string that holds other than the
rows that were counted is an error, and so is a value that Arrow cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.arrays import flags, of_flags, of_numbers, of_texts
from lethe.errors import NotArchivable

INSTANT_INFINITY, DAY_INFINITY = 2**63 - 1, 2**31 - 1
"""How infinity is kept, as DuckDB does: the highest number of the Arrow type; -infinity is the same below zero."""

_DAYS = 10_957
"""From 1970, when Arrow's days begin, to 2000, when PostgreSQL's do."""
_MICROSECONDS = _DAYS * 86_400_000_000
_NO_ADDRESS = 8
"""Bytes that stand for no address: as many as one of version 4 has, all zero."""

Nulls = npt.NDArray[np.bool_] | None
Fixed = Callable[[npt.NDArray[np.uint8], Nulls, str], pa.Array]
"""From bytes, a row a value, and which are NULL (None for none), with the column's name for an error."""


class OtherRows(Exception):
    """A string holds other than the rows that were counted: fewer where a column has a NULL that was said to have none."""


def fixed(sent: bytes, rows: int, width: int, make: Fixed, name: str, *, certain: bool) -> pa.Array:
    """Values of `width` bytes; unless NULL is out of the question (`certain`) one more byte after each, 0 for NULL and 1 else."""
    stride = width if certain else width + 1
    if len(sent) != rows * stride:
        raise OtherRows
    table = np.frombuffer(sent, np.uint8).reshape(rows, stride)
    if certain:
        return make(table, None, name)
    nulls = table[:, width] == 0
    return make(np.ascontiguousarray(table[:, :width]), nulls if nulls.any() else None, name)


def integers(kind: str) -> Fixed:
    """Integers of a numpy type (i2, i4, i8)."""
    return lambda values, nulls, name: of_numbers(_native(values, kind), nulls)


def floats(kind: str) -> Fixed:
    """Floats of a numpy type (f4, f8), by their bits."""
    arrow = pa.from_numpy_dtype(np.dtype(kind))
    return lambda values, nulls, name: of_numbers(_native(values, kind.replace("f", "i")), nulls).view(arrow)


def booleans(values: npt.NDArray[np.uint8], nulls: Nulls, name: str) -> pa.Array:
    """Booleans of a byte each."""
    found = of_flags(values[:, 0] != 0)
    return found if nulls is None else pa.Array.from_buffers(pa.bool_(), len(found), [_valid(nulls), found.buffers()[1]])


def uuids(values: npt.NDArray[np.uint8], nulls: Nulls, name: str) -> pa.Array:
    """Uuids of 16 bytes each."""
    storage = pa.Array.from_buffers(
        pa.binary(16), len(values), [None if nulls is None else _valid(nulls), pa.py_buffer(np.ascontiguousarray(values))]
    )
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def days(values: npt.NDArray[np.uint8], nulls: Nulls, name: str) -> pa.Array:
    """Dates: days from 2000, the highest and the lowest number for the infinite ones."""
    found = _native(values, "i4")
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    shifted = np.where(found == high, DAY_INFINITY, np.where(found == low, -DAY_INFINITY, found.astype(np.int64) + _DAYS)).astype(np.int32)
    return of_numbers(shifted, nulls).view(pa.date32())


def instants(zone: str | None) -> Fixed:
    """Timestamps: microseconds from 2000, the highest and the lowest number for the infinite ones. NotArchivable for an instant after the
    year 294246, which 64 bits from 1970 cannot hold."""

    def make(values: npt.NDArray[np.uint8], nulls: Nulls, name: str) -> pa.Array:
        found = _native(values, "i8")
        low, high, last = np.iinfo(np.int64).min, np.iinfo(np.int64).max, INSTANT_INFINITY - _MICROSECONDS
        if not len(found) or (found.max() < last and found.min() > low):
            shifted = found + _MICROSECONDS
        else:
            if np.any((found >= last) & (found != high)):
                raise NotArchivable(
                    f"Column {name} holds an instant after the year 294246, which Arrow cannot hold.",
                    fix="Correct such values in the source, or leave the column out of the rule's `columns`.",
                )
            endless = (found == high) | (found == low)
            shifted = np.where(endless, 0, found) + _MICROSECONDS
            shifted[found == high], shifted[found == low] = INSTANT_INFINITY, -INSTANT_INFINITY
        return of_numbers(shifted, nulls).view(pa.timestamp("us", zone))

    return make


def texts(sent: bytes, rows: int, between: bytes, null: bytes, name: str) -> pa.Array:
    """Texts with a byte between two; `null` is what stands for NULL.

    NotArchivable when one is not UTF-8: a database of that encoding sends what it has without looking at it.
    """
    ends = np.flatnonzero(np.frombuffer(sent, np.uint8) == between[0])
    if len(ends) != max(rows - 1, 0):
        raise OtherRows
    data = sent.replace(between, b"")
    found = _binary(np.concatenate([[0], ends - np.arange(len(ends)), [len(data)] * (rows > 0)]), data)
    missing = flags(pc.equal(found, _binary(np.array([0, len(null)]), null)[0]))
    try:
        return _without(found, missing).cast(pa.string())
    except pa.ArrowInvalid:
        raise _no_text(name) from None


def strings(sent: bytes, rows: int, lengths: bytes) -> pa.Array:
    """Strings of bytes one after the other; their lengths in four bytes each, -1 for NULL."""
    long = np.frombuffer(lengths, ">i4")
    if len(long) != rows or int(long[long > 0].sum()) != len(sent):
        raise OtherRows
    return _without(_binary(np.concatenate([[0], np.cumsum(np.maximum(long, 0))]), sent), long < 0)


def addresses(sent: bytes, rows: int, kind: str) -> pa.Array:
    """Network addresses as they are sent (`inet_send`), eight zero bytes for NULL: an opaque column of that type."""
    raw = np.frombuffer(sent, np.uint8)
    long, family = raw[3::_NO_ADDRESS], raw[::_NO_ADDRESS]
    if len(raw) == rows * _NO_ADDRESS and np.all((long == 4) | ((long == 0) & (family == 0))):  # of version 4 all of them, or none
        ends: npt.NDArray[Any] = np.arange(rows + 1) * _NO_ADDRESS
    else:
        ends = np.array(_ends(sent))
    if len(ends) != rows + 1 or ends[-1] != len(sent):
        raise OtherRows
    found, missing = _binary(ends, sent), raw[ends[:-1]] == 0
    return pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), kind, "PostgreSQL"), _without(found, missing))


def _ends(sent: bytes) -> list[int]:
    """Where each address begins, and where the last one ends: the fourth byte says how long the rest is."""
    found, at = [0], 0
    while at + 3 < len(sent):
        at += 4 + sent[at + 3] if sent[at] else _NO_ADDRESS
        found.append(at)
    return found


def lists(sent: bytes, rows: int, name: str) -> pa.Array:
    """Arrays of texts, of one dimension, as JSON with commas between two. NotArchivable for any other, and for text that is not UTF-8."""
    try:
        found: list[Any] = json.loads(f"[{sent.decode()}]")
    except UnicodeDecodeError:
        raise _no_text(name) from None
    if len(found) != rows:
        raise OtherRows
    flat = list(chain.from_iterable(each for each in found if each is not None))
    if any(isinstance(value, list) for value in flat):
        raise NotArchivable(f"Column {name} holds an array of more than one dimension.", fix="Leave it out of what leads to persons.")
    offsets = np.cumsum([0, *(len(each or ()) for each in found)], dtype=np.int32)
    missing = np.array([each is None for each in found], dtype=np.bool_)
    valid = _valid(missing) if missing.any() else None
    return pa.Array.from_buffers(pa.list_(pa.string()), rows, [valid, pa.py_buffer(offsets)], children=[of_texts(flat)])


def _no_text(name: str) -> NotArchivable:
    return NotArchivable(
        f"Column {name} holds a value that is not what its type says, such as text that is not UTF-8.",
        fix="Correct such values in the source, or leave the column out of the rule's `columns`.",
    )


def _native(values: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[Any]:
    """Numbers that came with their highest byte first."""
    return values.reshape(-1).view(f">{kind}").astype(kind)


def _binary(ends: npt.NDArray[Any], data: bytes) -> pa.Array:
    """Strings of bytes that lie in `data`, each from one end to the next."""
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)])


def _without(found: pa.Array, nulls: npt.NDArray[np.bool_]) -> pa.Array:
    """The same strings of bytes, some of them NULL."""
    return pa.Array.from_buffers(found.type, len(found), [_valid(nulls), *found.buffers()[1:]]) if nulls.any() else found


def _valid(nulls: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(~nulls, bitorder="little"))
