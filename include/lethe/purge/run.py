"""Carries out the steps of one group, in their order: takes the lease, recovers, deletes in batches, adds up, reclaims space."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Event
from typing import Any

from lethe.archive import manifests
from lethe.errors import LetheError, StoreBusy, WrongCount
from lethe.plan.model import ExpiryPredicate, ObjectPredicate, Step
from lethe.purge import intents
from lethe.purge.batch import Runner
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.expiry import purge_expiry
from lethe.purge.lease import PATIENT, Lease, confirm, release, take
from lethe.purge.objects import purge_objects
from lethe.purge.recover import recover
from lethe.purge.sources import Sources, in_words
from lethe.purge.space import Space, make_room
from lethe.purge.techniques import Techniques
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.plain import Plain, Turn

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
        archived = [s for s in its if isinstance(s.predicate, ExpiryPredicate)]
        rows = [s for s in its if s not in objects and s not in archived]
        if rows:
            found |= {t.step: t for t in _run_rows(rows, store, ctx)}
        if objects:
            found |= {t.step: t for t in _run_objects(objects, store, ctx, purge_objects)}
        if archived:
            found |= {t.step: t for t in _run_objects(archived, store, ctx, purge_expiry)}
    return [found[s.id] for s in chosen]


def _lease(ctx: PurgeContext, store: str, steps: Sequence[Step]) -> Lease:
    part = sha256(" ".join(sorted(s.id for s in steps)).encode()).hexdigest()[:12]
    holder = f"{os.getpid()}-{uuid.uuid4().hex}"
    return Lease(store=store, part=part, plan=ctx.plan.digest, attempt=ctx.attempt, holder=holder, seconds=ctx.limits.lease_seconds)


def _run_objects(
    steps: Sequence[Step], store: str, ctx: PurgeContext, purge: Callable[[Step, PurgeContext, Lease], StepTotals]
) -> list[StepTotals]:
    lease = _lease(ctx, store, steps)
    take(ctx.control, lease)
    try:
        return [purge(step, ctx, lease) for step in steps]
    finally:
        release(ctx.control, lease)


def _run_rows(steps: Sequence[Step], store: str, ctx: PurgeContext) -> list[StepTotals]:
    ids = [s.id for s in steps]
    lease = _lease(ctx, store, steps)
    sources = Sources(ctx.catalog.store(store), ctx.connections, ctx.limits, f"lethe:{ctx.plan.digest[:12]}:{lease.part}")
    runner = Runner(ctx, sources, lease, ids)
    archives = any(s.archive is not None for s in steps)
    lanes = [runner, *(runner.beside(n) for n in range(1, ctx.lanes))]
    errors: dict[str, BaseException] = {}
    try:
        runner.guarded(lambda: take(ctx.control, lease))
        runner.guarded(lambda: recover(ctx, sources, [*ids, *_orphaned(runner)], ctx.control))
        if archives:
            runner.archiver.books.look_ahead()
        _archive_settled(runner, steps, errors)
        runner.guarded(runner.start)
        spaces = _carry_out(list(_parts(steps, runner)), lanes, errors)
        if any(lane.has_lost for lane in lanes):
            runner.guarded(runner.recover)
        _archive_settled(runner, steps, errors)
        with runner.book.begin():
            totals = intents.totals(runner.book, ctx.plan.digest, ctx.attempt, ids)
    except BaseException as error:
        raise in_words(error, f"Store {store}") from error
    finally:
        for lane in lanes:
            lane.close()
            lane.sources.close()
        runner.archiver.close()
    runner.guarded(lambda: release(ctx.control, lease))
    return [_with(totals[i], errors.get(i), spaces.get(i)) for i in ids]


def _orphaned(runner: Runner) -> list[str]:
    """Steps of this store that the plan no longer has, and whose archive objects or batches a dead run left open. While the lease is ours,
    nobody else works for them."""
    with runner.ctx.control.connect() as book:
        return sorted(manifests.open_steps(book, runner.sources.store.id) - {s.id for s in runner.ctx.plan.steps})


def _settle_archive(runner: Runner, steps: Sequence[str]) -> None:
    """Under the lease, which nobody can take over until it is done: an object that another process has just announced is not ours to drop."""
    runner.archiver.books.sealed()  # before anybody is kept out
    with runner.ctx.control.connect() as gate, gate.begin():
        confirm(gate, runner.lease)
        gate.execute(PATIENT)
        runner.archiver.books.recover(steps)


def _archive_settled(runner: Runner, steps: Sequence[Step], errors: dict[str, BaseException]) -> None:
    """No object of these steps stays whose deletion did not commit, and none unsealed; of orphaned steps too. A step whose archive cannot be
    settled fails; one that does not archive goes on, and the weekly audit names what is left."""
    archiving = [s.id for s in steps if s.archive is not None and s.id not in errors]
    try:
        runner.guarded(lambda: _settle_archive(runner, [*(s.id for s in steps), *_orphaned(runner)]))
    except StoreBusy:
        raise
    except Exception as error:
        if archiving:
            return _failed(error, archiving, errors)
        if not isinstance(known := in_words(error, "The archive"), LetheError):
            raise
        log.warning("archive objects of another rule stay open", extra={"error": type(known).__name__})


def _parts(steps: Sequence[Step], runner: Runner) -> Iterator[Techniques]:
    """The steps one by one, those over a cycle of tables together, each with its techniques."""
    live = runner.guarded(lambda: describe(runner.sources.engine("purge")))
    holds = runner.guarded(runner.holds)
    yield from Techniques.of(steps, runner, live, holds)


def _carry_out(parts: Sequence[Techniques], lanes: Sequence[Runner], errors: dict[str, BaseException]) -> dict[str, Space]:
    """Deletes part by part and makes room; then looks for rows that moved or came meanwhile, and goes on from the first part that has
    some, a few times. The look comes after VACUUM, when the index no longer leads through all that was deleted. What VACUUM did, by step.
    """
    runner = lanes[0]
    spaces: dict[str, Space] = {}
    begin = 0
    for passed in range(PASSES):
        swept = {n: done for n in range(begin, len(parts)) if (done := _swept(parts[n], lanes, errors)) is not None}
        for n in swept if runner.ctx.reclaim else ():
            spaces |= make_room([t.step for t in parts[n].targets], runner)
        late = [n for n, done in swept.items() if _is_left(parts[n], done, runner, errors)]
        if not late:
            break
        if passed and not any(swept[n].deleted for n in late):
            for n in late:
                name = f"Step {parts[n].ids[0]}"
                kept = WrongCount(f"{name}: due rows are still there after they were deleted.", fix="Look for triggers that keep them.")
                _failed(kept, parts[n].ids, errors)
            break
        begin = min(late)
    return spaces


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a pass over one part did: rows deleted, and the techniques that can tell whether anything is left."""

    deleted: int
    looks: tuple[Any, ...]


def _swept(part: Techniques, lanes: Sequence[Runner], errors: dict[str, BaseException]) -> Swept | None:
    """One pass over a part; None when it failed, now or in an earlier pass: its errors are kept."""
    if set(part.ids) & set(errors):
        return None
    deleted, looks = 0, []
    try:
        for technique in part.techniques():
            deleted += _sweep(technique, lanes)
            if hasattr(technique, "left"):
                looks.append(technique)
    except Exception as error:
        _failed(error, part.ids, errors)
        return None
    return Swept(deleted=deleted, looks=tuple(looks))


def _is_left(part: Techniques, swept: Swept, runner: Runner, errors: dict[str, BaseException]) -> bool:
    try:
        return any(runner.guarded(lambda t=t: _look(t, runner)) for t in swept.looks)
    except Exception as error:
        _failed(error, part.ids, errors)
        return False


def _sweep(technique: Any, lanes: Sequence[Runner]) -> int:
    """Batches until the technique is done; rows deleted. A plain technique of more than one batch goes on in lanes: while one writes its
    records, another deletes. Where a trigger fires on deletion, the first batch that has rows goes alone and shows what that does."""
    cursor = lanes[0].guarded(lambda: _started(technique, lanes[0]))
    if cursor is None:
        return 0
    stop = Event()
    if not isinstance(technique, Plain):
        return _drain(technique, cursor, lanes[0], stop)
    lanes = lanes[:1] if cursor.share.spent else lanes
    shown, cursors = 0, [cursor, *(Turn(share=cursor.share) for _ in lanes[1:])]
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        if technique.recount and len(lanes) > 1:
            shown, cursors[0] = pool.submit(_first_rows, technique, cursor, lanes[0]).result()
        works = [pool.submit(_drain, technique.beside(), turn, lane, stop) for turn, lane in zip(cursors, lanes, strict=True)]
        try:
            wait(works, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    return shown + sum(work.result() for work in works)


def _first_rows(technique: Any, cursor: Any, runner: Runner) -> tuple[int, Any]:
    """Batches up to the first that has rows: how many it deleted, and where the next one begins."""
    while True:
        outcome = runner.run(technique, cursor)
        cursor = outcome.cursor
        if outcome.rows or outcome.done:
            return int(outcome.rows), cursor


def _drain(technique: Any, cursor: Any, runner: Runner, stop: Event) -> int:
    """One lane's batches, until there are none left or another lane has failed."""
    deleted = 0
    while cursor is not None and not stop.is_set():
        outcome = runner.run(technique, cursor)
        deleted += outcome.rows
        cursor = None if outcome.done else outcome.cursor
    return deleted


def _started(technique: Any, runner: Runner) -> Any:
    source = runner.sources.with_holds(technique.role, runner.holds()) if technique.role == "purge" else runner.sources.get(technique.role)
    with source.begin():
        return technique.start(source)


def _look(technique: Any, runner: Runner) -> bool:
    holds = runner.holds()
    source = runner.sources.with_holds(technique.role, holds)
    with source.begin():
        return bool(technique.left(source, holds))


def _failed(error: Exception, steps: Sequence[str], errors: dict[str, BaseException]) -> None:
    """Takes down an operator's error; a lost lease or a fault in our own code ends the group."""
    known = in_words(error, f"Step {', '.join(steps)}")
    if not isinstance(known, LetheError) or isinstance(known, StoreBusy):
        raise error
    log.error("purge failed", extra={"steps": list(steps), "error": type(known).__name__})
    errors |= dict.fromkeys(steps, known)


def _with(totals: StepTotals, error: BaseException | None, space: Space | None) -> StepTotals:
    if error is not None:
        totals = replace(totals, error=str(error), error_kind=type(error).__name__)
    if space is not None:
        totals = replace(totals, space_reusable=space.reusable, space_held_by=space.held_by, vacuum_seconds=space.seconds)
    return totals
