"""What the expiry writes down in `lethe_db`: an intent before anything is deleted, its end, and what recovery found out about a lost one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import xor
from typing import Any

from sqlalchemy import Connection, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from lethe.archive import manifests
from lethe.archive.expiring import key64_of
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.control.tables import archive_objects, batches
from lethe.errors import NotApproved, StoreBusy
from lethe.evidence.ledger import append
from lethe.plan.model import Step
from lethe.purge import intents
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.purge.lease import PATIENT, Lease, renew

EXPIRY, REWRITE = "archive expiry", "archive rewrite"
"""Techniques of the batches: whole objects go; an object is replaced by one with its held rows alone."""


class Books:
    """The records of one step."""

    def __init__(self, step: Step, ctx: PurgeContext, lease: Lease) -> None:
        """Reads nothing yet."""
        self.step, self.ctx, self.lease = step, ctx, lease

    @contextmanager
    def open(self, name: str) -> Iterator[Connection]:
        """One transaction in `lethe_db`, between the fault points of that name."""
        with self.ctx.control.connect() as book, book.begin() as work:
            point(f"{name}.before", book)
            yield book
            work.commit()
            point(f"{name}.after", book)

    def refuse_above_ceiling(self, rows: int) -> None:
        """NotApproved when the step would delete more rows than the guard let pass (invariant 12)."""
        ceiling = self.ctx.ceilings.get(self.step.id)
        if ceiling is None:
            return
        with self.ctx.control.connect() as book:
            deleted = intents.totals(book, self.ctx.plan.digest, self.ctx.attempt, [self.step.id])[self.step.id].deleted
        if deleted + rows > ceiling:
            raise NotApproved(
                f"Step {self.step.id}: more than the {ceiling} rows that the guard let pass are due by now; {deleted} are deleted.",
                fix="Find out what made them due, such as a hold that was lifted. A plan as of another instant is counted, and approved, anew.",
            )

    def intend(self, objects: Sequence[Known], rows: int, *, new: tuple[Manifest, str | None] | None = None) -> int:
        """Writes that these objects are about to go, `rows` rows of them, and the manifest of the one that replaces them; the batch's number.

        StoreBusy when another process dropped the one that replaces them.
        """
        known = self.ctx.known_keys(self.step.id)
        young = [k.id for k in objects if known is not None and key64_of(k.id) not in known]
        details = {"objects": [k.id for k in objects], "young": young, "new": new[0].id if new else None}
        with self.open("expiry.intent") as book:
            number = intents.next_numbers(book, self.ctx.plan.digest, self.ctx.attempt, [self.step.id])[self.step.id]
            values = {"plan": self.ctx.plan.digest, "attempt": self.ctx.attempt, "step": self.step.id, "number": number, "state": "intent"}
            values |= {"technique": REWRITE if new else EXPIRY, "range": {"objects": len(objects)}, "rows": rows}
            book.execute(batches.insert().values(**values, details=details))
            if new:
                manifests.store(book, {new[0].id: new}, number)
            renew(book, self.lease)
        return number

    def keep_open(self, gate: Connection, number: int) -> None:
        """Before anything goes by an intent: it is still open, and nobody ends it by `interrupted` while the transaction of `gate` lasts.

        StoreBusy when another process has ended it: it may have dropped the object that holds the held rows.
        """
        mine = select(batches.c.id).where(self._mine, batches.c.number == number, batches.c.state == "intent")
        # A key share: `close`, in a session of its own, may still change the row; a lock for update waits.
        if gate.scalar(mine.with_for_update(read=True, key_share=True)) is None:
            raise self._taken_over()

    def close(self, number: int, gone: Sequence[Known], failed: Sequence[Known], answers: Mapping[str, Any]) -> None:
        """Ends a batch by what the store answered. StoreBusy when another process has ended it."""
        with self.open("expiry.close") as book:
            row = book.execute(select(batches).where(self._mine, batches.c.number == number, batches.c.state == "intent")).one_or_none()
            if row is None:
                raise self._taken_over()
            rows = self._end(book, row, gone, failed, answers)
            # A slow batch may have outlived the lease; whoever waits to take it is let in only when this has committed.
            renew(book, self.lease)
            if failed:
                more = {"failed": sum(k.rows for k in failed), "objects": [k.id for k in failed], "errors": answers.get("errors", {})}
                self._record(book, "batch.refused", row, more)
            if gone:
                self._record(book, "archive.expired", row, {"objects": [k.id for k in gone], "rows": rows, "new": row.details["new"]})

    @contextmanager
    def interrupted(self, row: Any, gone: Sequence[Known]) -> Iterator[bool]:
        """Ends, when it is left, a batch that nobody closed: of its objects these are gone, and were deleted by it.

        False, and nothing is done, when somebody closed it meanwhile. Until it is left nobody deletes by that intent (`keep_open`).
        """
        with self.open("expiry.recover") as book:
            book.execute(PATIENT)
            opened = (batches.c.id == row.id) & (batches.c.state == "intent")
            is_open = book.scalar(select(batches.c.id).where(opened).with_for_update()) is not None
            yield is_open
            if is_open:
                rows = self._end(book, row, gone, (), {"interrupted": True}, state="committed" if gone else "rolled_back")
                self._record(book, "batch.interrupted", row, {"state": "committed" if gone else "rolled_back", "rows": rows})

    @contextmanager
    def dropping(self, known: Known) -> Iterator[bool]:
        """Writes, when it is left, that an object was dropped. False, and nothing is done, when it is in another state by now; until it is
        left nobody writes an intent that counts on it."""
        with self.ctx.control.begin() as book:
            book.execute(PATIENT)
            same = (archive_objects.c.id == known.id) & (archive_objects.c.state == known.state)
            is_same = book.scalar(select(archive_objects.c.id).where(same).with_for_update()) is not None
            yield is_same
            if is_same:
                manifests.set_state(book, [known.id], "dropped", was=[known.state], by=self.ctx.plan.digest)

    def left_open(self) -> Sequence[Any]:
        """The batches of this step that nobody closed, of an earlier plan too: its objects may be half gone."""
        opened = (batches.c.step == self.step.id) & (batches.c.state == "intent")
        with self.ctx.control.connect() as book:
            return book.execute(select(batches).where(opened).order_by(batches.c.id)).all()

    def forget_refusals(self) -> None:
        """A pass tries every due object again: what was refused before counts as failed no more. It stays written as failed at first."""
        failed = batches.c.details["failed"].as_integer() > 0
        with self.ctx.control.begin() as book:
            for row in book.execute(select(batches).where(self._mine, batches.c.state == "committed", failed)).all():
                changes = {"failed": 0, "failed_at_first": row.details.get("failed_at_first", row.details["failed"])}
                merged = batches.c.details.op("||")(literal(changes, JSONB))
                book.execute(batches.update().where(batches.c.id == row.id).values(details=merged))

    def _taken_over(self) -> StoreBusy:
        return StoreBusy(f"Another process took over step {self.step.id!r}.", fix="Nothing to do: it goes on there.")

    @property
    def _mine(self) -> Any:
        return (batches.c.plan == self.ctx.plan.digest) & (batches.c.attempt == self.ctx.attempt) & (batches.c.step == self.step.id)

    def _end(
        self,
        book: Connection,
        row: Any,
        gone: Sequence[Known],
        failed: Sequence[Known],
        more: Mapping[str, Any],
        *,
        state: str = "committed",
    ) -> int:
        """Closes a batch, moves its objects on, and returns the rows that went with it. A rewrite's rows are those it left out."""
        rewrite = row.technique == REWRITE
        rows = (row.rows if gone else 0) if rewrite else sum(k.rows for k in gone)
        young = set(row.details["young"])
        details = {
            "expired": [k.id for k in gone],
            "fingerprint": reduce(xor, (key64_of(k.id) for k in gone if k.id not in young), 0),
            "arrived": rows if rewrite and young else sum(k.rows for k in gone if k.id in young),
            "failed": (row.rows if failed else 0) if rewrite else sum(k.rows for k in failed),
            **more,
        }
        merged = batches.c.details.op("||")(literal(details, JSONB))
        ended = {"state": state, "rows": rows, "details": merged, "ended_at": func.now()}
        book.execute(batches.update().where(batches.c.id == row.id).values(ended))
        manifests.set_state(book, _ids(gone), "replaced" if rewrite else "expired", was=["confirmed", "sealed"], by=row.plan)
        if rewrite:
            manifests.set_state(book, [row.details["new"]], "confirmed" if gone else "dropped", was=["stored"], by=row.plan)
        return rows

    def _record(self, book: Connection, kind: str, row: Any, more: dict[str, Any]) -> None:
        body = {"attempt": row.attempt, "step": self.step.id, "batch": row.number, **more}
        append(book, kind, body, run=row.plan, at=self.ctx.clock())


def _ids(found: Collection[Known]) -> list[str]:
    return [k.id for k in found]
