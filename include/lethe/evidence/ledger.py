"""The ledger: append-only, each record carrying the digest of the one before. Append and walk; `evidence/verdict.py` judges.

Appends are serialised by the advisory lock (7211, 1), which lasts until the caller's transaction ends: append last, and where
the lock of the holds (7211, 2) is needed too, take that one first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from lethe.evidence.record import GENESIS, Record, next_record
from lethe.evidence.table import ledger
from lethe.instants import now

LEDGER_LOCK = (7211, 1)

ENDS = frozenset({"run.finished", "run.failed", "run.refused", "run.dry", "audit.finished", "processors.listed", "promises.reported"})
"""The kinds of record that end a run: the head of each is kept outside."""


def append(connection: Connection, kind: str, body: Mapping[str, Any], run: str | None = None, at: datetime | None = None) -> Record:
    """Adds one record inside the caller's transaction and returns it; it counts once that commits.

    `body` holds ids, counts and digests; EvidenceRefused otherwise. `at` is now unless given. The database refuses a record
    that does not continue the chain, so a transaction that began before another's append (REPEATABLE READ) fails here.
    """
    connection.execute(select(func.pg_advisory_xact_lock(*LEDGER_LOCK)))
    record = next_record(head(connection), kind, body, run=run, at=at or now())
    connection.execute(ledger.insert().values(**record.model_dump()))
    return record


def head(connection: Connection) -> tuple[int, str] | None:
    """Seq and digest of the last record; None when there is none."""
    row = connection.execute(select(ledger.c.seq, ledger.c.digest).order_by(ledger.c.seq.desc()).limit(1)).one_or_none()
    return (row.seq, row.digest) if row else None


def records(connection: Connection, *, run: str | None = None, kind: str | None = None, kinds: Collection[str] = ()) -> Iterator[Record]:
    """The records in order, streamed; those of one run, kind or several kinds when given."""
    query = select(ledger).order_by(ledger.c.seq)
    if run is not None:
        query = query.where(ledger.c.run == run)
    if kind is not None:
        query = query.where(ledger.c.kind == kind)
    if kinds:
        query = query.where(ledger.c.kind.in_(sorted(kinds)))
    with connection.execute(query, execution_options={"stream_results": True, "yield_per": 2000}) as rows:
        for row in rows:
            yield Record.model_construct(**row._mapping)


@dataclass(frozen=True, kw_only=True)
class Break:
    """The first record that the chain does not hold. `edited`: its content is not what its digest, or the next record, says.
    `missing`: no record has this number though a later one exists."""

    seq: int
    how: Literal["edited", "missing"]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What a walk over the chain found: how many records are sound from the start, the last of them, and the first broken one.

    `ended`: the first record after `after` that ends a run.
    """

    records: int
    head: tuple[int, str] | None
    broken: Break | None
    digests: Mapping[int, str]
    ended: int | None = None


def walk(connection: Connection, *, wanted: frozenset[int] = frozenset(), after: int = 0) -> Walk:
    """Reads the whole chain once, by a server-side cursor, and recomputes every digest; stops at the first break.

    `digests` holds those of the records numbered in `wanted`, so that memory does not grow with the ledger.
    """
    last: Record | None = None
    kept: dict[int, str] = {}
    ended: int | None = None
    count = 0
    for record in records(connection):
        expected = last.seq + 1 if last else 1
        broken = None
        if record.seq != expected:
            broken = Break(seq=min(expected, record.seq), how="missing" if record.seq > expected else "edited")
        elif record.computed() != record.digest:
            broken = Break(seq=record.seq, how="edited")
        elif record.previous != (last.digest if last else GENESIS):
            # This record holds in itself, its `previous` included: the one before it is no longer the one it followed.
            broken = Break(seq=last.seq if last else record.seq, how="edited")
        if broken:
            return Walk(records=count, head=_end(last), broken=broken, digests=kept, ended=ended)
        count += 1
        if ended is None and record.seq > after and record.kind in ENDS:
            ended = record.seq
        last = record
        if record.seq in wanted:
            kept[record.seq] = record.digest
    return Walk(records=count, head=_end(last), broken=None, digests=kept, ended=ended)


def _end(last: Record | None) -> tuple[int, str] | None:
    return (last.seq, last.digest) if last else None
