"""Between Python, numpy and Arrow without pandas: pyarrow imports it for the first list, array or scalar that it is given or asked for, to see
whether it is one of pandas', and a process that only purges would take 40 MB more and an eighth of a second longer for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of a column of integers, instants or days, these as integers; without a copy where they lie in one piece.

    What stands for a NULL is whatever lies under it.
    """
    if isinstance(column, pa.ChunkedArray):
        parts = [numbers(chunk) for chunk in column.chunks]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, _dtype(column.type)), *parts]).astype(_dtype(column.type))
    dtype, buffer = _dtype(column.type), column.buffers()[1]
    if buffer is None or not len(column):
        return np.empty(0, dtype)
    return np.frombuffer(buffer, dtype, len(column), column.offset * dtype.itemsize)


def flags(column: pa.Array) -> npt.NDArray[np.bool_]:
    """The values of a column of booleans without NULL, as `is_null` and `is_valid` give it."""
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.empty(0, np.bool_)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little", count=column.offset + len(column))
    return bits[column.offset :].view(np.bool_)


def of_numbers(values: npt.NDArray[Any], nulls: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Integers as a column of the same width; `nulls` says which are NULL."""
    values = np.ascontiguousarray(values)
    valid = None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(values)])


def of_flags(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Booleans as a column, such as one to filter by."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def of_texts(values: Sequence[str | None]) -> pa.Array:
    """Texts as a column, None as NULL."""
    written = [b"" if v is None else v.encode() for v in values]
    ends = np.cumsum([0, *(len(w) for w in written)], dtype=np.int32)
    valid = pa.py_buffer(np.packbits([v is not None for v in values], bitorder="little")) if None in values else None
    return pa.Array.from_buffers(pa.string(), len(written), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(written))])


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    """Of the integers that a column's values are kept as."""
    return np.dtype(f"{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}")
