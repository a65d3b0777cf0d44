"""Reads the ledger for the promise report: the newest records of a kind, by its index (kind, seq), however long the ledger is."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from lethe.accountability.promises.model import Evidence
from lethe.evidence.record import Record
from lethe.evidence.table import ledger

RUN_ENDS = ("run.finished", "run.failed", "run.refused")
"""How a run that is not dry ends."""

_PAGE = 20


@dataclass(frozen=True, kw_only=True)
class Records:
    """The ledger, newest first. `until`: as it was at an instant; None: all of it, what is dated after now included."""

    connection: Connection
    until: datetime | None = None

    def newest(self, *kinds: str) -> Record | None:
        """The last record of these kinds."""
        return next(self.descending(*kinds), None)

    def descending(self, *kinds: str) -> Iterator[Record]:
        """The records of these kinds, the last first; read page by page, as far as they are asked for."""
        return heapq.merge(*(self._of(kind) for kind in kinds), key=lambda r: r.seq, reverse=True)

    def newest_run(self, what: str) -> Record | None:
        """The end of the last run of that sort (`retention`, `expiry`) that was not dry."""
        return next((r for r in self.descending(*RUN_ENDS) if r.content.get("run") == what), None)

    def _of(self, kind: str) -> Iterator[Record]:
        query = select(ledger).where(ledger.c.kind == kind).order_by(ledger.c.seq.desc()).limit(_PAGE)
        if self.until is not None:
            # recorded_at is always UTC with microseconds, so its texts sort as its instants do
            query = query.where(ledger.c.recorded_at <= self.until.astimezone(UTC).isoformat(timespec="microseconds"))
        before: int | None = None
        while True:
            page = self.connection.execute(query if before is None else query.where(ledger.c.seq < before)).all()
            for row in page:
                yield Record.model_construct(**row._mapping)
            if len(page) < _PAGE:
                return
            before = page[-1].seq


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The runs that carried out a rule: the end of the last one, and of the one with the latest `as_of`. A run as of an older instant is no
    younger proof, but what it found is there all the same."""

    last: Record
    latest: Record


def carried_out(records: Records, rules: Collection[str]) -> Mapping[str, Carried]:
    """The runs of each rule. Reads back until a record is older than the latest `as_of` of every rule: nothing before can be as of later."""
    found: dict[str, Carried] = {}
    for record in records.descending(*RUN_ENDS):
        body = record.content
        if body.get("run") != "retention":
            continue
        for rule in set(rules).intersection(body["rules"]):
            known = found.get(rule)
            if known is None:
                found[rule] = Carried(last=record, latest=record)
            elif as_of(record) > as_of(known.latest):
                found[rule] = Carried(last=known.last, latest=record)
        written = datetime.fromisoformat(record.recorded_at)
        if len(found) == len(rules) and all(written <= as_of(c.latest) for c in found.values()):
            break
    return found


def latest(records: Records, *kinds: str) -> Record | None:
    """Of these kinds the record about the latest instant; of several, the last. One about an earlier day proves nothing of today."""
    best: Record | None = None
    for record in records.descending(*kinds):
        if best is None or as_of(record) > as_of(best):
            best = record
        if datetime.fromisoformat(record.recorded_at) <= as_of(best):
            break
    return best


def as_of(record: Record) -> datetime:
    """The instant that a record is about: its `as_of`, or when it was written. A day is over at its end, or when it was written."""
    written = datetime.fromisoformat(record.recorded_at)
    said: Any = record.content.get("as_of")
    if not said:
        return written
    found = datetime.fromisoformat(said)
    return found if found.tzinfo is not None else min(written, found.replace(tzinfo=UTC) + timedelta(days=1))


def evidence_of(record: Record, *, at: datetime | None = None) -> Evidence:
    """A record as evidence, about the instant `at` (its own when None)."""
    return Evidence(
        kind=record.kind,
        at=at or as_of(record),
        recorded_at=datetime.fromisoformat(record.recorded_at),
        seq=record.seq,
        digest=record.digest,
    )
