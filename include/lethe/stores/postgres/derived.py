"""What PostgreSQL would say of columns that were read, told here: over millions of rows cheaper than asking it, and the same answer.

Each is held against PostgreSQL itself by `tests/integration/test_derived.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.arrays import flags, numbers, of_numbers

_SECOND, _DAY = 1_000_000, 86_400_000_000  # microseconds
_LOOK = 6 * 3600
"""Seconds between two looks at a zone's offset: no zone ever changed its clocks twice in that time."""


def hash_of(keys: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    """hashint8extended(key, 0) of int64 keys without NULL: the last mixing of Jenkins' lookup3, as PostgreSQL has it for every version."""
    values = numbers(keys)
    low, high = values.astype(np.uint32), (values >> 32).astype(np.uint32)
    low ^= np.where(values >= 0, high, ~high)
    first = np.uint32((0x9E3779B9 + 4 + 3_923_095) & 0xFFFFFFFF)
    a, b, c = low + first, np.full(len(values), first), np.full(len(values), first)
    c = (c ^ b) - _rotated(b, 14)
    a = (a ^ c) - _rotated(c, 11)
    b = (b ^ a) - _rotated(a, 25)
    c = (c ^ b) - _rotated(b, 16)
    a = (a ^ c) - _rotated(c, 4)
    b = (b ^ a) - _rotated(a, 14)
    c = (c ^ b) - _rotated(b, 24)
    return ((b.astype(np.uint64) << np.uint64(32)) | c).view(np.int64)


def local_days(instants: pa.ChunkedArray | pa.Array, zone: str) -> pa.ChunkedArray:
    """The local date of each instant (timestamp[us, UTC]) in a zone, as date32: `(instant AT TIME ZONE zone)::date`. NULL stays.

    The zone's rules are Python's (tzdata), as for every other date of a plan. Raises ValueError for an instant outside of the years 1 to
    9999, infinity among them: no due row has one.
    """
    chunks = instants.chunks if isinstance(instants, pa.ChunkedArray) else [instants]
    return pa.chunked_array([_local(c, ZoneInfo(zone)) for c in chunks], pa.date32())


def _local(chunk: pa.Array, zone: ZoneInfo) -> pa.Array:
    ends = pc.min_max(chunk.view(pa.int64())).as_py()
    if ends["min"] is None:
        return pa.nulls(len(chunk), pa.date32())
    nulls = flags(pc.is_null(chunk)) if chunk.null_count else None
    values = numbers(chunk) if nulls is None else np.where(nulls, ends["min"], numbers(chunk))
    begins, offsets = _offsets(ends["min"] // _SECOND, ends["max"] // _SECOND, zone)
    if len(offsets) == 1:
        local = values + offsets[0] * _SECOND
    else:
        local = values + offsets[np.searchsorted(begins * _SECOND, values, side="right")] * _SECOND
    days = np.floor_divide(local, _DAY).astype(np.int32)
    return of_numbers(days, nulls).view(pa.date32())


def _offsets(first: int, last: int, zone: ZoneInfo) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The zone's offsets from UTC, in seconds, from one second to another: the seconds at which a new one begins, and one offset more."""

    def offset(second: int) -> int:
        try:
            found = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
        except (OverflowError, OSError, ValueError) as error:
            raise ValueError(f"second {second} from 1970 is in no year from 1 to 9999") from error
        return int(found.total_seconds()) if found is not None else 0

    begins: list[int] = []
    offsets = [offset(first)]
    low = first
    while low < last:
        high = min(low + _LOOK, last)
        if (new := offset(high)) != offsets[-1]:
            begins.append(_change(low, high, offsets[-1], offset))
            offsets.append(new)
        low = high
    return np.array(begins, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _change(low: int, high: int, before: int, offset: Callable[[int], int]) -> int:
    """The first second after `low`, up to `high`, whose offset is not `before`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return high


def _rotated(values: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
    return (values << np.uint32(bits)) | (values >> np.uint32(32 - bits))
