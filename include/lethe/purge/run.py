"""Carries out the steps of one group, in their order: takes the lease, recovers, deletes in batches, adds up, reclaims space."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from lethe.errors import LetheError, StoreBusy, WrongCount
from lethe.plan.model import ObjectPredicate, Step
from lethe.purge import intents
from lethe.purge.batch import Runner
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.faults import point
from lethe.purge.lease import Lease, release, take
from lethe.purge.objects import purge_objects
from lethe.purge.recover import recover
from lethe.purge.sources import Sources, in_words
from lethe.purge.techniques import Techniques
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.reclaim import reclaim

log = logging.getLogger(__name__)
PASSES = 5


def run_group(steps: Sequence[Step | str], ctx: PurgeContext) -> list[StepTotals]:
    """Deletes what the plan's predicates name, step by step in the order given (children before parents); the totals of each step,
    over all interruptions. A step that fails carries its error in its totals, and the ones after it still run: they leave rows that
    others refer to. Raises StoreBusy when another run holds the store.
    """
    chosen = [ctx.plan.step(s) if isinstance(s, str) else s for s in steps]
    idle = [s for s in chosen if not s.acts]
    if idle:
        raise LetheError(f"Step {idle[0].id} waits for {', '.join(idle[0].waiting_for)}: it may not delete.", fix="Leave it out.")
    found: dict[str, StepTotals] = {}
    for store in dict.fromkeys(s.store or "" for s in chosen):
        its = [s for s in chosen if s.store == store]
        objects = [s for s in its if isinstance(s.predicate, ObjectPredicate)]
        rows = [s for s in its if s not in objects]
        if rows:
            found |= {t.step: t for t in _run_rows(rows, store, ctx)}
        if objects:
            found |= {t.step: t for t in _run_objects(objects, store, ctx)}
    return [found[s.id] for s in chosen]


def _lease(ctx: PurgeContext, store: str, steps: Sequence[Step]) -> Lease:
    part = sha256(" ".join(sorted(s.id for s in steps)).encode()).hexdigest()[:12]
    holder = f"{os.getpid()}-{uuid.uuid4().hex}"
    return Lease(store=store, part=part, plan=ctx.plan.digest, attempt=ctx.attempt, holder=holder, seconds=ctx.limits.lease_seconds)


def _run_objects(steps: Sequence[Step], store: str, ctx: PurgeContext) -> list[StepTotals]:
    lease = _lease(ctx, store, steps)
    take(ctx.control, lease)
    try:
        return [purge_objects(step, ctx, lease) for step in steps]
    finally:
        release(ctx.control, lease)


def _run_rows(steps: Sequence[Step], store: str, ctx: PurgeContext) -> list[StepTotals]:
    ids = [s.id for s in steps]
    lease = _lease(ctx, store, steps)
    sources = Sources(ctx.catalog.store(store), ctx.connections, ctx.limits, f"lethe:{ctx.plan.digest[:12]}:{lease.part}")
    runner = Runner(ctx, sources, lease, ids)
    errors: dict[str, BaseException] = {}
    try:
        runner.guarded(lambda: take(ctx.control, lease))
        runner.guarded(lambda: recover(ctx, sources, ids, ctx.control))
        runner.guarded(runner.start)
        for part in _parts(steps, runner, errors):
            try:
                for technique in part.techniques():
                    _carry_out(technique, runner)
            except Exception as error:
                _failed(error, part.ids, errors)
        reclaimed = _reclaim(steps, runner, errors) if ctx.reclaim else {}
        with runner.book.begin():
            totals = intents.totals(runner.book, ctx.plan.digest, ctx.attempt, steps)
    except BaseException as error:
        raise in_words(error, f"Store {store}") from error
    finally:
        runner.close()
        sources.close()
    runner.guarded(lambda: release(ctx.control, lease))
    return [_with(totals[i], errors.get(i), reclaimed.get(i)) for i in ids]


def _parts(steps: Sequence[Step], runner: Runner, errors: dict[str, BaseException]) -> Iterator[Techniques]:
    """The steps one by one, those over a cycle of tables together, each with its techniques."""
    live = runner.guarded(lambda: describe(runner.sources.engine("purge")))
    holds = runner.guarded(runner.holds)
    yield from Techniques.of(steps, runner, live, holds)


def _carry_out(technique: Any, runner: Runner) -> None:
    """Batches until the technique is done; then looks once more for rows that moved or came meanwhile, a few times."""
    cursor = runner.guarded(lambda: _started(technique, runner))
    for passed in range(PASSES):
        deleted = 0
        while cursor is not None:
            outcome = runner.run(technique, cursor)
            deleted += outcome.rows
            cursor = None if outcome.done else outcome.cursor
        if not hasattr(technique, "left"):
            return
        cursor = runner.guarded(lambda: _looked_again(technique, runner))
        if cursor is None:
            return
        if passed and not deleted:
            raise WrongCount(
                f"Step {technique.steps[0]}: due rows are still there after they were deleted.",
                fix="Look for triggers, rules or policies on the table that keep them.",
            )


def _started(technique: Any, runner: Runner) -> Any:
    source = runner.sources.with_holds(technique.role, runner.holds()) if technique.role == "purge" else runner.sources.get(technique.role)
    with source.begin():
        return technique.start(source)


def _looked_again(technique: Any, runner: Runner) -> Any:
    holds = runner.holds()
    source = runner.sources.with_holds(technique.role, holds)
    with source.begin():
        return technique.left(source, holds)


def _failed(error: Exception, steps: Sequence[str], errors: dict[str, BaseException]) -> None:
    """Takes down an operator's error; a lost lease or a fault in our own code ends the group."""
    known = in_words(error, f"Step {', '.join(steps)}")
    if not isinstance(known, LetheError) or isinstance(known, StoreBusy):
        raise error
    log.error("purge failed", extra={"steps": list(steps), "error": type(known).__name__})
    errors |= dict.fromkeys(steps, known)


def _reclaim(steps: Sequence[Step], runner: Runner, errors: dict[str, BaseException]) -> dict[str, tuple[bool, str | None]]:
    """VACUUM of every table of the group, once each; what holds its space back, by step. It deletes nothing, so a failure of it is
    no failure of the step."""
    ctx, sources = runner.ctx, runner.sources
    found: dict[str, tuple[bool, str | None]] = {}
    by_dataset: dict[str, list[str]] = {}
    for step in steps:
        by_dataset.setdefault(step.dataset or "", []).append(step.id)
    for dataset, ids in by_dataset.items():
        table = sources.store.tables[dataset]

        def vacuum(ids: list[str] = ids, schema: str = table.db_schema, name: str = table.table) -> tuple[bool, str | None]:
            if not sources.has("maintenance"):
                return False, "the store has no maintenance connection"
            watching = "check" if sources.has("check") else "maintenance"
            with runner.book.begin():
                xid = intents.newest_xid(runner.book, ctx.plan.digest, ctx.attempt, ids)
            with sources.engine("maintenance").connect() as keeper, sources.engine(watching).connect() as watcher:
                keeper = keeper.execution_options(isolation_level="AUTOCOMMIT")
                keeper.exec_driver_sql("select set_config('statement_timeout', '0', false)")
                point("reclaim.vacuum.before", keeper)
                effect = reclaim(keeper, watcher.execution_options(isolation_level="AUTOCOMMIT"), schema, name, xid)
                point("reclaim.vacuum.after", keeper)
            return effect.reusable, effect.held_by

        try:
            effect = runner.guarded(vacuum)
        except Exception as error:
            known = in_words(error, "VACUUM")
            if not isinstance(known, LetheError):
                raise
            effect = (False, known.problem)
        found |= dict.fromkeys(ids, effect)
    return found


def _with(totals: StepTotals, error: BaseException | None, space: tuple[bool, str | None] | None) -> StepTotals:
    if error is not None:
        totals = replace(totals, error=str(error), error_kind=type(error).__name__)
    if space is not None:
        totals = replace(totals, space_reusable=space[0], space_held_by=space[1])
    return totals
