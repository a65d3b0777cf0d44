"""The keys of the due rows, frozen at plan time: so that rows which arrived or changed since are counted, not subtracted.

A key64 is one signed 64-bit number a row: the key itself when it is one integer column; the hash of the column's text when it is
one other column; the hash of the row of key columns' text when there are several. Texts of instants depend on the session: every
session that makes key64s runs with `TimeZone` UTC and `DateStyle` ISO. Of two different keys with one hash, one in about
10^19 / rows^2, the fingerprint sees no difference.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, ColumnElement, FromClause, LargeBinary, cast, func, literal_column

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Table
from lethe.errors import Uncountable
from lethe.stores.postgres.tables import is_integer_key, key_text

Keys = npt.NDArray[np.int64]
_MAGIC = b"LK1"
_HEADER = struct.Struct("<3sBQq")
"""Format, bytes of one difference, number of keys, the first (lowest) key; then the differences, zlib-compressed."""


def key64(row: FromClause, entry: Table, live: LiveSchema | None) -> ColumnElement[int]:
    """The key64 of a row."""
    columns = [row.c[k] for k in entry.key]
    if is_integer_key(entry, live):
        return cast(columns[0], BigInteger)
    return func.hashtextextended(key_text(columns), literal_column("0"), type_=BigInteger)


def fingerprint_of(key: ColumnElement[int]) -> ColumnElement[int]:
    """The aggregate of key64s that two sets of rows are compared by. Order does not matter; NULL over no rows."""
    return func.bit_xor(func.hashint8extended(key, literal_column("0")), type_=BigInteger)


def packed(key: ColumnElement[int]) -> ColumnElement[bytes]:
    """The aggregate that reads key64s: eight bytes each, in one string, NULLs left out.

    It took a sixth of the time of COPY BINARY, which sends a message a row. The server holds 8 to 16 bytes a key meanwhile, and a
    string has 1 GB at most: 134 million due rows in one group.
    """
    return func.string_agg(func.int8send(key), literal_column("''::bytea"), type_=LargeBinary)


def unpacked(groups: Iterable[tuple[int, bytes | None]], what: str) -> Keys:
    """The keys of groups of (rows, their `packed` keys). Uncountable, with `what`, when a row has no key."""
    parts = []
    for rows, text in groups:
        if len(text or b"") != 8 * rows:
            raise Uncountable(
                f"{what} has due rows without a key.", fix="Name columns that are never NULL as the dataset's `key` in the catalog."
            )
        parts.append(bytes(text or b""))
    return np.frombuffer(b"".join(parts), dtype=">i8").astype(np.int64)


def freeze(keys: Keys) -> bytes:
    """The keys, sorted, as differences in the narrowest type that holds them, compressed. Consecutive keys take a bit or two each."""
    ordered = np.sort(np.asarray(keys, dtype=np.int64))
    if not len(ordered):
        return _HEADER.pack(_MAGIC, 1, 0, 0)
    steps = np.diff(ordered.view(np.uint64))  # modulo 2**64, so that the widest gap fits
    width = next(w for w in (1, 2, 4, 8) if w == 8 or not len(steps) or int(steps.max()) < 256**w)
    return _HEADER.pack(_MAGIC, width, len(ordered), int(ordered[0])) + zlib.compress(steps.astype(f"<u{width}").tobytes(), 1)


def thaw(data: bytes) -> Keys:
    """The keys that `freeze` made these bytes of, sorted; Uncountable when they are damaged."""
    try:
        magic, width, number, first = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("not frozen keys")
        if number == 0:
            return np.empty(0, dtype=np.int64)
        steps = np.frombuffer(zlib.decompress(data[_HEADER.size :]), dtype=f"<u{width}")
        if len(steps) != number - 1:
            raise ValueError("keys are missing")
    except (ValueError, TypeError, struct.error, zlib.error):
        raise Uncountable("The frozen keys of a step are damaged.", fix="Count the plan again.") from None
    keys = np.empty(number, dtype=np.uint64)
    keys[0] = np.int64(first).view(np.uint64)
    keys[1:] = steps
    np.cumsum(keys, out=keys)
    return keys.view(np.int64)


@dataclass(frozen=True, eq=False)
class FrozenKeys:
    """A sorted set of key64s: membership of one or of many, iteration, and pieces to look up in a table."""

    array: Keys

    @classmethod
    def of(cls, data: bytes | None) -> FrozenKeys:
        """The keys of stored bytes; none for None."""
        return cls(thaw(data) if data else np.empty(0, dtype=np.int64))

    def contains(self, keys: Iterable[int] | Keys) -> npt.NDArray[np.bool_]:
        """For each of `keys`, is it among these? In their order."""
        asked = np.asarray(keys if isinstance(keys, np.ndarray) else list(keys), dtype=np.int64)
        if not len(self.array):
            return np.zeros(len(asked), dtype=np.bool_)
        place = np.minimum(np.searchsorted(self.array, asked), len(self.array) - 1)
        found: npt.NDArray[np.bool_] = self.array[place] == asked
        return found

    def missing(self, keys: Iterable[int] | Keys) -> int:
        """How many of `keys` are not among these."""
        found = self.contains(keys)
        return int(len(found) - np.count_nonzero(found))

    def chunks(self, size: int = 50_000) -> Iterator[list[int]]:
        """All keys, in order, in lists of at most `size`, ready to be bound."""
        for start in range(0, len(self.array), size):
            yield self.array[start : start + size].tolist()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and bool(self.contains([key])[0])

    def __iter__(self) -> Iterator[int]:
        return iter(self.array.tolist())

    def __len__(self) -> int:
        return len(self.array)
