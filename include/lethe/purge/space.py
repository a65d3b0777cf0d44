"""VACUUM after the deletions of a group: what makes their space reusable (level L2), and says what holds it back where it is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lethe.errors import LetheError
from lethe.plan.model import Step
from lethe.purge import intents
from lethe.purge.batch import Runner
from lethe.purge.faults import point
from lethe.purge.sources import in_words
from lethe.stores.postgres.reclaim import reclaim


@dataclass(frozen=True, kw_only=True)
class Space:
    """Is the space of a table's deleted rows reusable, what holds it back if not, and how long VACUUM took, in seconds."""

    reusable: bool
    held_by: str | None
    seconds: float = 0.0


def make_room(steps: Sequence[Step], runner: Runner) -> dict[str, Space]:
    """VACUUM of every table of these steps, once each; its effect by step. It deletes nothing, so a failure of it is no failure of the step."""
    by_dataset: dict[str, list[str]] = {}
    for step in steps:
        by_dataset.setdefault(step.dataset or "", []).append(step.id)
    found: dict[str, Space] = {}
    for dataset, ids in by_dataset.items():
        found |= dict.fromkeys(ids, _vacuum(dataset, ids, runner))
    return found


def _vacuum(dataset: str, steps: Sequence[str], runner: Runner) -> Space:
    ctx, sources, began = runner.ctx, runner.sources, time.monotonic()
    table = sources.store.tables[dataset]
    if not sources.has("maintenance"):
        return Space(reusable=False, held_by="the store has no maintenance connection")

    def work() -> Space:
        watching = "check" if sources.has("check") else "maintenance"
        with runner.book.begin():
            xid = intents.newest_xid(runner.book, ctx.plan.digest, ctx.attempt, steps)
        with sources.engine("maintenance").connect() as keeper, sources.engine(watching).connect() as watcher:
            keeper = keeper.execution_options(isolation_level="AUTOCOMMIT")
            keeper.exec_driver_sql("select set_config('statement_timeout', '0', false)")
            point("reclaim.vacuum.before", keeper)
            effect = reclaim(keeper, watcher.execution_options(isolation_level="AUTOCOMMIT"), table.db_schema, table.table, xid)
            point("reclaim.vacuum.after", keeper)
        return Space(reusable=effect.reusable, held_by=effect.held_by, seconds=time.monotonic() - began)

    try:
        space: Space = runner.guarded(work)
    except Exception as error:
        known = in_words(error, "VACUUM")
        if not isinstance(known, LetheError):
            raise
        space = Space(reusable=False, held_by=known.problem, seconds=time.monotonic() - began)
    return space
