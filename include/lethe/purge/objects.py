"""Objects go by the same protocol as rows, as far as a store without transactions allows. For each batch of at most a thousand keys:

1. in `lethe_db`: shut out new holds, see that the lease is ours, read the holds; judge the batch by them;
2. in `lethe_db`: write and commit the intent, and put off the lease's expiry;
3. in the store: delete; before each request the session that shuts out holds is asked whether it still does;
4. in `lethe_db`: close the intent with what the store answered, and let new holds in.

When `lethe_db` is lost, the open intent is resolved and the prefix listed anew: what is gone is not deleted, nor counted, twice.
A request on its way when both `lethe_db` and its answer are lost cannot be called back; that is the price of a store without transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from operator import xor
from typing import Any

import psycopg
from sqlalchemy import Connection, func, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lethe.control.tables import batches
from lethe.errors import LetheError, StoreBusy
from lethe.evidence.ledger import append
from lethe.plan.model import HoldScope, ObjectPredicate, Step
from lethe.purge import intents
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.faults import point
from lethe.purge.lease import PATIENT, Lease, enter, renew
from lethe.purge.sources import in_words, is_locked, is_lost
from lethe.stores.s3.client import client as client_of
from lethe.stores.s3.delete import ObjectBatch, ObjectResult, ObjectTotals, delete_due
from lethe.stores.s3.listing import everything


def purge_objects(step: Step, ctx: PurgeContext, lease: Lease) -> StepTotals:
    """Deletes the due objects of one step; its totals over all interruptions. A hold waits for one batch at most.

    Raises StoreBusy when another process took the lease over, and Unreachable when `lethe_db` stays away.
    """
    return carried_out(step, ctx, lambda: _ObjectPurge(step, ctx, lease).once().raise_if_failed())


def carried_out(step: Step, ctx: PurgeContext, once: Callable[[], object]) -> StepTotals:
    """The totals of a step of which `once` is one whole pass, made again when `lethe_db` was lost. Another error of ours is told in the totals.

    Raises what `purge_objects` raises.
    """
    error: LetheError | None = None
    try:
        try:
            _retrying(ctx)(once)
        except StoreBusy:
            raise
        except LetheError as failure:
            error = failure
        with ctx.control.connect() as book, book.begin():
            totals = intents.totals(book, ctx.plan.digest, ctx.attempt, [step.id])[step.id]
    except (DBAPIError, psycopg.Error) as failure:
        raise in_words(failure, f"Lethe's own database, step {step.id}") from None
    return totals if error is None else replace(totals, error=str(error), error_kind=type(error).__name__)


def _retrying(ctx: PurgeContext) -> Retrying:
    """Again after `lethe_db` was lost or a lock in it not had; a store that does not answer was asked again by boto3 already."""
    return Retrying(
        retry=retry_if_exception(lambda e: is_locked(e) or is_lost(e)),
        stop=stop_after_attempt(ctx.limits.tries),
        wait=wait_random_exponential(multiplier=0.02, max=ctx.limits.longest_wait),
        reraise=True,
    )


class _ObjectPurge:
    """The purge of one step."""

    def __init__(self, step: Step, ctx: PurgeContext, lease: Lease) -> None:
        if not isinstance(step.predicate, ObjectPredicate):
            raise TypeError(f"step {step.id} is not about objects")
        self.step, self.ctx, self.lease, self.predicate = step, ctx, lease, step.predicate
        self.client = client_of(ctx.connections(ctx.catalog.store(step.store or "").connection))
        self._gate: Connection | None = None
        self._asked: tuple[int, ...] = ()

    @property
    def _mine(self) -> Any:
        return (batches.c.plan == self.ctx.plan.digest) & (batches.c.attempt == self.ctx.attempt) & (batches.c.step == self.step.id)

    def once(self) -> ObjectTotals:
        """One pass over the prefix, to its end."""
        self._recover()
        with self.ctx.control.connect() as book, book.begin():
            first = intents.next_numbers(book, self.ctx.plan.digest, self.ctx.attempt, [self.step.id])[self.step.id]
        totals = delete_due(
            self.client,
            self.predicate,
            on_intent=self._intend,
            on_batch=self._close,
            dataset=self.step.dataset,
            holding=self._holding,
            asking=self._asking,
            first_number=first,
        )
        with self._book("object.settle") as book:
            self._settle(book, before=first, tried=None)
        return totals

    @contextmanager
    def _holding(self) -> Iterator[Sequence[HoldScope]]:
        with self.ctx.control.connect() as gate, gate.begin():
            point("object.gate.before", gate)
            enter(gate, self.lease)
            gate.execute(PATIENT)
            holds = tuple(self.ctx.holds(gate))
            self._gate = gate
            point("object.gate.after", gate)
            yield holds

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """A gate whose session was lost keeps no hold out any more: then nothing is sent."""
        assert self._gate is not None
        point("object.request.before", self._gate)
        self._gate.execute(text("select 1"))
        yield
        point("object.request.after", self._gate)

    @contextmanager
    def _book(self, name: str) -> Iterator[Connection]:
        with self.ctx.control.connect() as book, book.begin() as work:
            point(f"{name}.before", book)
            yield book
            work.commit()
            point(f"{name}.after", book)

    def _intend(self, batch: ObjectBatch) -> None:
        self._asked = batch.keys
        with self._book("object.intent") as book:
            book.execute(
                batches.insert().values(
                    plan=self.ctx.plan.digest,
                    attempt=self.ctx.attempt,
                    step=self.step.id,
                    number=batch.number,
                    state="intent",
                    technique="object batches",
                    range={"entries": batch.entries},
                    rows=batch.entries,
                    details={"keys": list(batch.keys)},
                )
            )
            renew(book, self.lease)

    def _close(self, result: ObjectResult) -> None:
        details = {"fingerprint": result.xor, "failed": result.failed, "refused": list(result.refused), "errors": result.errors}
        details |= {"versions": result.versions, "markers": result.markers, "uploads": result.uploads, "vanished": result.vanished}
        with self._book("object.close") as book:
            if not self._end(book, result.number, "committed", result.deleted, details):
                raise StoreBusy(f"Another process took over step {self.step.id!r}.", fix="Nothing to do: it goes on there.")
            self._settle(book, before=result.number, tried=self._asked)
            # A slow batch may have outlived the lease; whoever waits to take it is let in only when this has committed.
            renew(book, self.lease)
            if result.failed:
                self._record(book, "batch.refused", result.number, {"failed": result.failed, "errors": result.errors})

    def _end(self, book: Connection, number: int, state: str, rows: int, details: dict[str, Any]) -> bool:
        """Closes the intent of that number; False when it is closed already."""
        opened = self._mine & (batches.c.number == number) & (batches.c.state == "intent")
        values = {"state": state, "rows": rows, "details": literal(details, JSONB), "ended_at": func.now()}
        return book.execute(batches.update().where(opened).values(values)).rowcount == 1

    def _settle(self, book: Connection, *, before: int, tried: Collection[int] | None) -> None:
        """A refusal counts as failed until its entry was tried again: then the later batch says what became of it. At the end of a
        pass (`tried` is None) every entry that is still due was. What was refused at first stays written, by its codes."""
        failed = batches.c.details["failed"].as_integer() > 0
        found = book.execute(select(batches).where(self._mine, batches.c.number < before, batches.c.state == "committed", failed)).all()
        again = frozenset(tried or ())
        for row in found:
            left = [] if tried is None else [k for k in row.details.get("refused", ()) if int(k) not in again]
            changes = {"failed": len(left), "refused": left, "failed_at_first": row.details.get("failed_at_first", row.details["failed"])}
            merged = batches.c.details.op("||")(literal(changes, JSONB))
            book.execute(batches.update().where(batches.c.id == row.id).values(details=merged))

    def _record(self, book: Connection, kind: str, number: int, more: dict[str, Any]) -> None:
        body = {"attempt": self.ctx.attempt, "step": self.step.id, "batch": number, **more}
        append(book, kind, body, run=self.ctx.plan.digest, at=self.ctx.clock())

    def _recover(self) -> None:
        """Counts, for each batch that nobody closed, which of its entries are gone: those were deleted by it."""
        with self.ctx.control.connect() as book, book.begin():
            found = book.execute(select(batches).where(self._mine, batches.c.state == "intent").order_by(batches.c.number)).all()
        for row in found:
            here = self._still_there(row.details.get("keys", ()))
            gone = [int(k) for k in row.details.get("keys", ()) if int(k) not in here]
            state = "committed" if gone else "rolled_back"
            with self._book("object.recover") as book:
                details = {"fingerprint": reduce(xor, gone, 0), "failed": 0, "interrupted": True}
                if self._end(book, row.number, state, len(gone), details):
                    self._record(book, "batch.interrupted", row.number, {"state": state, "rows": len(gone)})

    def _still_there(self, keys: Collection[int]) -> frozenset[int]:
        wanted = frozenset(map(int, keys))
        return frozenset(e.key64 for e in everything(self.client, self.predicate.bucket, self.predicate.prefix) if e.key64 in wanted)
