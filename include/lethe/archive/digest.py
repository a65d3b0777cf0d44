"""One digest of a table's values, whatever way Arrow happens to hold them.

Two tables have the same digest when their columns have the same names and types and their rows the same values in the same order.
Chunks, offsets, dictionaries, spare buffer space and what lies under a NULL do not count. Values are compared by their bits: a NaN
equals itself, and 0.0 differs from -0.0. A manifest has the one of its rows, so that whoever reads an object can tell that they are all there,
whatever wrote the file they now lie in. What is read back before a deletion is compared column by column (`parquet.difference`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.errors import NotArchivable

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_LISTS = (pa.types.is_list, pa.types.is_large_list)
_FIXED = (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_fixed_size_binary)


def row_digest(table: pa.Table) -> str:
    """sha256, in hex, over a table: its columns' names and types, then each column's NULLs and values in the order of the rows.

    Columns are digested on their own and then together. Raises NotArchivable for a type that no archived column has.
    """
    head = json.dumps([[f.name, _name(f.type)] for f in table.schema], ensure_ascii=False, separators=(",", ":"))
    whole = hashlib.sha256(f"{table.num_rows}\n{head}\n".encode())
    for column in table.columns:
        whole.update(column_digest(column))
    return whole.hexdigest()


def _name(kind: pa.DataType) -> str:
    """The type as text, without what Arrow lets differ: a dictionary, and the name of a list's items (`item`, in Parquet `element`)."""
    if pa.types.is_dictionary(kind):
        return _name(kind.value_type)
    if any(is_a(kind) for is_a in _LISTS):
        return f"list<{_name(kind.value_type)}>"
    return str(kind)


def column_digest(column: pa.ChunkedArray) -> bytes:
    """sha256 over one column: the same for the same NULLs and values in the same order. Raises NotArchivable as `row_digest`."""
    return _values(column.chunks, column.type)


def _values(chunks: list[pa.Array], kind: pa.DataType) -> bytes:
    """Over one column: how many rows and NULLs, which rows are NULL (a byte each, where any is), then the values.

    Each part has a length that the parts before it tell, so two different columns cannot run together into the same bytes.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        chunks = [c.cast(kind) for c in chunks]
    if isinstance(kind, pa.BaseExtensionType):  # its name is in the digest's head
        kind = kind.storage_type
        chunks = [c.storage for c in chunks]
    nulls = sum(c.null_count for c in chunks)
    found = hashlib.sha256(np.array([sum(map(len, chunks)), nulls], "<u8").data)
    if nulls:
        _feed(found, (pc.is_null(c).cast(pa.uint8()) for c in chunks))
    if any(is_a(kind) for is_a in _TEXTS):
        chunks = [_empty_nulls(c) for c in chunks]
        for chunk in chunks:
            found.update(_lengths(chunk).astype("<u8").data)
        for chunk in chunks:
            found.update(_text(chunk))
    elif any(is_a(kind) for is_a in _LISTS):
        _feed(found, (pc.fill_null(pc.list_value_length(c), 0).cast(pa.uint64()) for c in chunks))
        # flatten() leaves out what lies under a NULL list and outside the slice.
        found.update(_values([c.flatten() for c in chunks], kind.value_type))
    elif pa.types.is_boolean(kind):
        _feed(found, (pc.fill_null(c, False).cast(pa.uint8()) for c in chunks))
    elif any(is_a(kind) for is_a in _FIXED):
        for chunk in chunks:
            found.update(_fixed(chunk).data)
    else:
        raise NotArchivable(
            f"An Arrow column of type {kind} cannot be digested.", fix="Keep it as text, or leave it out of the rule's archived columns."
        )
    return found.digest()


def _feed(found: hashlib._Hash, chunks: Iterable[pa.Array]) -> None:
    """Adds arrays of integers without NULLs."""
    for chunk in chunks:
        found.update(chunk.to_numpy().data)


def _fixed(chunk: pa.Array) -> np.ndarray[Any, Any]:
    """The values' bytes, a row of them each, those of NULLs zero."""
    width = chunk.type.bit_width // 8
    buffer = chunk.buffers()[1]
    if buffer is None or not len(chunk):
        return np.zeros((len(chunk), width), np.uint8)
    rows = np.frombuffer(buffer, np.uint8, len(chunk) * width, chunk.offset * width).reshape(len(chunk), width)
    if not chunk.null_count:
        return rows
    rows = rows.copy()
    rows[pc.is_null(chunk).to_numpy(zero_copy_only=False)] = 0
    return rows


def _empty_nulls(chunk: pa.Array) -> pa.Array:
    """The same texts, with nothing under the NULLs. They are copied only if there was something."""
    if not chunk.null_count:
        return chunk
    under = _lengths(chunk)[pc.is_null(chunk).to_numpy(zero_copy_only=False)]
    return pc.fill_null(chunk, b"" if "binary" in str(chunk.type) else "") if under.any() else chunk


def _offsets(chunk: pa.Array) -> np.ndarray[Any, Any]:
    large = pa.types.is_large_string(chunk.type) or pa.types.is_large_binary(chunk.type)
    buffer = chunk.buffers()[1]
    kind = np.dtype(np.int64 if large else np.int32)
    if buffer is None or not buffer.size:  # Arrow allows an empty array to have no offsets
        return np.zeros(1, kind)
    return np.frombuffer(buffer, kind, len(chunk) + 1, chunk.offset * kind.itemsize)


def _lengths(chunk: pa.Array) -> np.ndarray[Any, Any]:
    """In bytes, of each text; under a NULL too."""
    return np.diff(_offsets(chunk))


def _text(chunk: pa.Array) -> memoryview:
    offsets, data = _offsets(chunk), chunk.buffers()[2]
    return memoryview(b"" if data is None else data)[int(offsets[0]) : int(offsets[-1])]
