"""Objects go by the same protocol as rows, as far as a store without transactions allows: the intent is written before a batch of
deletions is sent, and closed with what the store answered. Deleting an object twice does no harm, so recovery looks again."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import xor
from typing import Any

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from lethe.control.holds import batch_gate
from lethe.control.tables import batches
from lethe.errors import LetheError
from lethe.evidence.ledger import append
from lethe.plan.model import ObjectPredicate, Step
from lethe.purge import intents
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.lease import Lease, confirm
from lethe.stores.s3.client import client as client_of
from lethe.stores.s3.delete import ObjectBatch, ObjectResult, delete_due
from lethe.stores.s3.listing import everything


def purge_objects(step: Step, ctx: PurgeContext, lease: Lease) -> StepTotals:
    """Deletes the due objects of one step; its totals over all interruptions. Holds cannot be added while it runs."""
    predicate = step.predicate
    if not isinstance(predicate, ObjectPredicate):
        raise TypeError(f"step {step.id} is not about objects")
    store = ctx.catalog.store(step.store or "")
    client = client_of(ctx.connections(store.connection))
    error: LetheError | None = None
    try:
        _recover(step, ctx, client, predicate)
        with ctx.control.connect() as gate, gate.begin():
            batch_gate(gate)
            confirm(gate, lease)
            with ctx.control.connect() as book, book.begin():
                first = intents.next_numbers(book, ctx.plan.digest, ctx.attempt, [step.id])[step.id]
            delete_due(
                client,
                predicate,
                on_intent=lambda batch: _intent(step, ctx, batch),
                on_batch=lambda result: _done(step, ctx, result),
                dataset=step.dataset,
                holds=tuple(ctx.holds(gate)),
                first_number=first,
            )
    except LetheError as failure:
        error = failure
    with ctx.control.connect() as book, book.begin():
        totals = intents.totals(book, ctx.plan.digest, ctx.attempt, [step])[step.id]
    if error is not None:
        return replace(totals, error=str(error), error_kind=type(error).__name__)
    if totals.failed:
        return replace(totals, error=f"The object store refused {totals.failed} deletions.", error_kind="ObjectErrors")
    return totals


def _intent(step: Step, ctx: PurgeContext, batch: ObjectBatch) -> None:
    with ctx.control.connect() as book, book.begin():
        book.execute(
            batches.insert().values(
                plan=ctx.plan.digest,
                attempt=ctx.attempt,
                step=step.id,
                number=batch.number,
                state="intent",
                technique="object batches",
                range={"entries": batch.entries},
                rows=batch.entries,
                details={"keys": list(batch.keys)},
            )
        )


def _done(step: Step, ctx: PurgeContext, result: ObjectResult) -> None:
    details = {"fingerprint": result.xor, "failed": result.failed, "errors": result.errors, "vanished": result.vanished}
    details |= {"versions": result.versions, "markers": result.markers, "uploads": result.uploads}
    _close(step, ctx, result.number, "committed", result.deleted, details)


def _close(step: Step, ctx: PurgeContext, number: int, state: str, rows: int, details: dict[str, Any]) -> None:
    mine = (
        (batches.c.plan == ctx.plan.digest)
        & (batches.c.attempt == ctx.attempt)
        & (batches.c.step == step.id)
        & (batches.c.number == number)
    )
    with ctx.control.connect() as book, book.begin():
        book.execute(batches.update().where(mine).values(state=state, rows=rows, details=literal(details, JSONB), ended_at=func.now()))


def _recover(step: Step, ctx: PurgeContext, client: Any, predicate: ObjectPredicate) -> None:
    """Counts, for each batch that nobody closed, which of its entries are gone: those were deleted by it."""
    mine = (
        (batches.c.plan == ctx.plan.digest)
        & (batches.c.attempt == ctx.attempt)
        & (batches.c.step == step.id)
        & (batches.c.state == "intent")
    )
    with ctx.control.connect() as book, book.begin():
        found = book.execute(select(batches).where(mine)).all()
    for row in found:
        keys = [int(k) for k in row.details.get("keys", ())]
        here = frozenset(_still_there(client, predicate, keys))
        gone = [k for k in keys if k not in here]
        _close(step, ctx, row.number, "committed", len(gone), {"fingerprint": reduce(xor, gone, 0), "failed": 0, "interrupted": True})
        with ctx.control.connect() as book, book.begin():
            body = {"attempt": row.attempt, "step": step.id, "batch": row.number, "state": "committed", "rows": len(gone)}
            append(book, "batch.interrupted", body, run=ctx.plan.digest, at=ctx.clock())


def _still_there(client: Any, predicate: ObjectPredicate, keys: list[int]) -> list[int]:
    wanted = frozenset(keys)
    return [e.key64 for e in everything(client, predicate.bucket, predicate.prefix) if e.key64 in wanted]
