"""Arrow tables as the bytes of one Parquet file, and back with the same types: what an archive object is.

Made for ten years on a shelf: zstd, encodings of the format's second version (2013) at most, a checksum on each page. Level 1 writes about a
million rows of 400 bytes a second on one core; level 3 takes half as long again and saves nothing on such rows. Whole numbers and instants are
written as differences: a sixth less time and room than plain, two fifths less time to read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from lethe.arrays import of_numbers
from lethe.errors import ArchiveDiffers

_SAMPLE = 1024  # rows, spread over the table
_REPEATS = 64  # distinct values of a sample, at most, for which a dictionary pays: over unique text it costs time and space
_ROWS = 131_072  # of a row group: what a reader must hold at once
_COMPARED = 8_192  # rows that are decoded and compared at a time: of 400 bytes, what fits into a core's own cache
_OURS = "lethe."


def to_parquet(table: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
    """The table as a Parquet file, in memory. Field metadata is kept; schema metadata is replaced by `metadata`, each name after `lethe.`.

    Text columns get no statistics: the smallest and largest name of a file would only be a second place where personal data lies.
    The buffer is read like bytes (`hashlib`, `memoryview`, `len`).
    """
    named = table.replace_schema_metadata({_OURS + name: text for name, text in metadata.items()})
    sample = _sample(table)
    coded = [f.name for f in table.schema if _repeats(sample.column(f.name))]
    output = pa.BufferOutputStream()
    pq.write_table(
        named,
        output,
        compression="zstd",
        compression_level=1,
        use_dictionary=coded,
        column_encoding={f.name: "DELTA_BINARY_PACKED" for f in table.schema if f.name not in coded and _is_whole(f.type)},
        write_statistics=[f.name for f in table.schema if _is_ordered(f.type)],
        write_page_checksum=True,
        row_group_size=_ROWS,
        store_schema=True,
    )
    return output.getvalue()


def from_parquet(data: bytes | memoryview | pa.Buffer, *, threads: bool = False) -> pa.Table:
    """The table of a Parquet file of `to_parquet`, with the same types and field metadata, and no schema metadata.

    `threads` decodes columns on all of Arrow's threads: half the time, but it takes the cores from whoever reads the source.
    Raises ArchiveDiffers when the bytes are no whole Parquet file or a page's checksum is wrong.
    """
    file = _open(data)
    try:
        return file.read(use_threads=threads).cast(_schema(file)).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError):
        raise _damaged() from None


def difference(data: bytes | memoryview | pa.Buffer, table: pa.Table) -> str | None:
    """How the bytes of a Parquet file of `to_parquet` differ from a table, in words; None when they do not.

    Columns are decoded one after the other, some thousand rows at a time: what is decoded stays in the processor's cache until it is compared,
    which takes half the time and a twentieth of the memory of whole columns. Floats are compared by their bits: a NaN equals itself, and 0.0
    differs from -0.0. Raises ArchiveDiffers as `from_parquet`.
    """
    file = _open(data)
    if file.metadata.num_rows != table.num_rows:
        return f"{file.metadata.num_rows} rows instead of {table.num_rows}"
    try:
        schema = _schema(file).remove_metadata()
        if not schema.equals(table.schema.remove_metadata(), check_metadata=True):
            return "another schema"
        if not all(_same(file, field, table.column(field.name)) for field in schema):
            return "other values"
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise _damaged() from None
    return None


def _same(file: pq.ParquetFile, field: pa.Field, mine: pa.ChunkedArray) -> bool:
    """Are a column's values those of the file, all of them?"""
    at = 0
    for batch in file.iter_batches(batch_size=_COMPARED, columns=[field.name], use_threads=False):
        found = batch.column(field.name)
        found = pa.chunked_array([found if found.type == field.type else found.cast(field.type)])
        part = mine.slice(at, len(found))
        at += len(found)
        if not _bits(found).equals(_bits(part)):
            return False
    return at == len(mine)


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as integers of the same bits; any other column as it is."""
    if not pa.types.is_floating(column.type):
        return column
    whole = pa.int64() if pa.types.is_float64(column.type) else pa.int32()
    return pa.chunked_array([chunk.view(whole) for chunk in column.chunks], whole)


def metadata_of(data: bytes | memoryview | pa.Buffer) -> dict[str, str]:
    """What `to_parquet` was told about the file. Raises ArchiveDiffers when the bytes are no Parquet file."""
    found = _open(data).metadata.metadata or {}
    return {k.decode().removeprefix(_OURS): v.decode() for k, v in found.items() if k.startswith(_OURS.encode())}


def _schema(file: pq.ParquetFile) -> pa.Schema:
    """The schema as it was written. Arrow's own reading adds Parquet's field numbers, and calls the items of a list `element`."""
    written = (file.metadata.metadata or {}).get(b"ARROW:schema")
    return file.schema_arrow if written is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(written)))


def _open(data: bytes | memoryview | pa.Buffer) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError):
        raise _damaged() from None


def _damaged() -> ArchiveDiffers:
    return ArchiveDiffers(
        "An archive object is no whole Parquet file: its bytes were changed or cut.",
        fix="Compare its sha256 with its manifest, and look at the store's health before anything else is archived.",
    )


def _is_ordered(kind: pa.DataType) -> bool:
    """Numbers, dates and times: their bounds let a reader skip a file, and say little about a person."""
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind))


def _is_whole(kind: pa.DataType) -> bool:
    """Is it kept as an integer?"""
    return bool(pa.types.is_integer(kind) or pa.types.is_temporal(kind))


def _sample(table: pa.Table) -> pa.Table:
    """Rows spread over the table."""
    step = max(1, table.num_rows // _SAMPLE)
    return table.take(of_numbers(np.arange(0, table.num_rows, step))) if step > 1 else table


def _repeats(column: pa.ChunkedArray) -> bool:
    """Has a sample's column few values, NULLs apart?"""
    if not (pa.types.is_primitive(column.type) or pa.types.is_string(column.type)) or pa.types.is_boolean(column.type):
        return False
    return bool(pc.count_distinct(column, mode="only_valid").as_py() <= _REPEATS)
