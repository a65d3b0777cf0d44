"""Instants and days that the ADBC driver gives wrong, put right.

PostgreSQL counts from 2000, Arrow from 1970. The driver (1.13) adds the difference without looking: infinity, which PostgreSQL holds as
the highest number, wraps around to a very low one in silence, and so does an instant after the year 294246. PostgreSQL's own values
never lie below 4714 BC, so each wrapped one can be told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.arrays import flags, numbers, of_numbers
from lethe.errors import NotArchivable

INSTANT_INFINITY, DAY_INFINITY = 2**63 - 1, 2**31 - 1
"""How infinity is kept, as DuckDB does: the highest number of the Arrow type; -infinity is the same below zero."""

_WRAPPED = {64: (-9_222_425_352_054_775_809, -9_222_425_352_054_775_808), 32: (-2_147_472_692, -2_147_472_691)}
"""By width: what infinity and -infinity arrive as (measured)."""

_EARLIEST = {64: -210_866_803_200_000_000, 32: -2_440_588}
"""By width: 4714-11-24 BC, the earliest that PostgreSQL has, in microseconds and in days from 1970."""


def put_right(table: pa.Table) -> pa.Table:
    """The table with its infinite instants and days as they are kept. Columns without one are not copied.

    Raises NotArchivable for an instant after the year 294246, which 64 bits from 1970 cannot hold.
    """
    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) or pa.types.is_date32(field.type):
            chunks = [_chunk(c, field.name) for c in table.column(n).chunks]
            if any(new is not old for new, old in zip(chunks, table.column(n).chunks, strict=True)):
                table = table.set_column(n, field, pa.chunked_array(chunks, field.type))
    return table


def _chunk(chunk: pa.Array, name: str) -> pa.Array:
    width = chunk.type.bit_width
    highest = INSTANT_INFINITY if width == 64 else DAY_INFINITY
    ends: dict[str, Any] = pc.min_max(chunk.view(pa.int64() if width == 64 else pa.int32())).as_py()
    if ends["min"] is None or (ends["min"] >= _EARLIEST[width] and ends["max"] < highest):
        return chunk
    nulls = flags(pc.is_null(chunk))
    values = np.where(nulls, 0, numbers(chunk))
    above, below = (values == wrapped for wrapped in _WRAPPED[width])
    if np.any((values == highest) | (values < _EARLIEST[width]) & ~above & ~below):
        raise NotArchivable(
            f"Column {name} holds an instant after the year 294246, which Arrow cannot hold.",
            fix="Correct such values in the source, or leave the column out of the rule's `columns`.",
        )
    values[above], values[below] = highest, -highest
    return of_numbers(values, nulls).view(chunk.type)
