"""What every table's generator shares: a table's name and columns, chunks of COPY texts, random draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from demo.pools import NULL, Pools, Text, escape

CHUNK = 20_000
"""Rows made and sent at a time: what memory holds of a table, at any scale."""
RESERVED = 1_000
"""Keys below it belong to planted rows; generated rows start after it."""

Chunk = list[Sequence[str]]
"""One sequence of COPY texts for each column of the table, all of one length."""

_MICROSECONDS = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class World:
    """What a load is made from, and the keys that later tables refer to."""

    as_of: datetime
    seed: int
    scale: float
    pools: Pools
    keys: dict[str, np.ndarray] = field(default_factory=dict)
    """Filled as tables are made: `live_tenants`, `users`, `user_tenants`, ... in int64."""

    def rng(self, table: str) -> np.random.Generator:
        """The table's own random numbers: a change in one table never moves another."""
        return np.random.default_rng([self.seed, *table.encode()])

    def count(self, at_scale_1: int, *, least: int = 1) -> int:
        """How many rows at this scale."""
        return max(least, round(at_scale_1 * self.scale))


@dataclass(frozen=True, kw_only=True)
class TableRows:
    """One table: its columns in COPY's order, and what makes its rows."""

    name: str
    columns: tuple[str, ...]
    at_scale_1: int
    make: Callable[[World], Iterator[Chunk]]
    defaults: Mapping[str, Any]
    """Values of a planted row that says nothing of its own for a column."""


def micros(at: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECONDS


def stamps(at: np.ndarray) -> list[str]:
    """COPY texts of instants in microseconds since 1970; the session's time zone must be UTC."""
    texts: list[str] = np.datetime_as_string(at.astype("datetime64[us]"), unit="us").tolist()
    return texts


def nullable(texts: Sequence[str], null: np.ndarray) -> list[str]:
    """`texts`, NULL where the mask says so."""
    return [NULL if n else t for t, n in zip(texts, null.tolist(), strict=True)]


def ints(values: np.ndarray) -> list[str]:
    """COPY texts of whole numbers."""
    return [str(v) for v in values.tolist()]


def draw(rng: np.random.Generator, pool: Text, n: int) -> list[str]:
    """`n` values of the pool."""
    values: list[str] = pool[rng.integers(0, len(pool), n)].tolist()
    return values


def uuids(rng: np.random.Generator, n: int) -> list[str]:
    """`n` random version 4 UUIDs, as 32 hex digits."""
    raw = rng.integers(0, 256, size=(n, 16), dtype=np.uint8)
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    text = raw.tobytes().hex()
    return [text[i : i + 32] for i in range(0, 32 * n, 32)]


def spread(rng: np.random.Generator, n: int, since: datetime, until: datetime) -> np.ndarray:
    """`n` instants drawn evenly from [since, until), in microseconds since 1970."""
    return rng.integers(micros(since), micros(until), n)


def ranges(total: int, *, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """(first key, how many) for each chunk of `total` generated rows."""
    for start in range(0, total, size):
        yield RESERVED + 1 + start, min(size, total - start)


def emails(first: Sequence[str], last: Sequence[str], numbers: Sequence[str], domains: Sequence[str]) -> list[str]:
    """Addresses such as camille.roy17@salon.example."""
    return [f"{f}.{la}{n}@{d}" for f, la, n, d in zip(first, last, numbers, domains, strict=True)]


def text_of(value: Any) -> str:
    """One Python value as COPY's text form; TypeError for a kind no table of the demo has."""
    match value:
        case None:
            return NULL
        case bool():
            return "t" if value else "f"
        case str():
            return escape(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case int() | date() | UUID():
            return str(value)
        case dict() | list():
            return escape(json.dumps(value, ensure_ascii=False))
    raise TypeError(f"no COPY text for {type(value).__name__}")
