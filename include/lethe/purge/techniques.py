"""The techniques of each step of a group, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lethe.catalog.live import LiveSchema
from lethe.plan.model import HoldScope, Step
from lethe.purge.batch import Runner
from lethe.purge.faults import point
from lethe.stores.postgres.careful import Careful
from lethe.stores.postgres.cycles import Cycle, cyclic_datasets
from lethe.stores.postgres.partitions import DropPartitions, droppable
from lethe.stores.postgres.plain import BlockRanges, ClockWindows
from lethe.stores.postgres.predicate import Target, predicate_of
from lethe.stores.postgres.statistics import choose


@dataclass(frozen=True, kw_only=True)
class Techniques:
    """Steps that are purged together: one, or all over the tables of a cycle."""

    targets: tuple[Target, ...]
    cyclic: bool
    runner: Runner
    holds: tuple[HoldScope, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the steps."""
        return tuple(t.step.id for t in self.targets)

    @classmethod
    def of(cls, steps: Sequence[Step], runner: Runner, live: LiveSchema, holds: Sequence[HoldScope]) -> Iterator[Techniques]:
        """In the order of `steps`; a cycle comes where its last step stands, after all of its children."""
        store = runner.sources.store
        acting = tuple(s for s in runner.ctx.plan.steps if s.acts and s.store == store.id)
        targets = [Target(step=s, store=store, live=live, holds=tuple(holds), steps=acting) for s in steps]
        cycles = cyclic_datasets(targets)
        waiting: dict[frozenset[str], list[Target]] = {}
        for n, target in enumerate(targets):
            cycle = next((c for c in cycles if target.dataset in c), None)
            if cycle is None:
                yield cls(targets=(target,), cyclic=False, runner=runner, holds=tuple(holds))
                continue
            waiting.setdefault(cycle, []).append(target)
            if not any(t.dataset in cycle for t in targets[n + 1 :]):
                yield cls(targets=tuple(waiting[cycle]), cyclic=True, runner=runner, holds=tuple(holds))

    def techniques(self) -> Iterator[Any]:
        """Drop what can be dropped, then delete the rest."""
        ctx = self.runner.ctx
        first = self.targets[0]
        choices = [self.runner.guarded(lambda t=t: self._choice(t)) for t in self.targets]
        if self.cyclic:
            snapshots = {i: ctx.snapshot(i) for i in self.ids}
            taking = {t.step.id: self.runner.archiver for t in self.targets if self.runner.archiver.serves(t.step)}
            recount = any(c.recount for c in choices)
            rows = min(
                [self._careful, *(ctx.archive_size(c.row_bytes).most for t, c in zip(self.targets, choices, strict=True) if t.step.archive)]
            )
            cycle = Cycle(targets=self.targets, rows=rows, snapshots=snapshots, recount=recount, taking=taking)
            cycle.filing = self.runner.filer
            yield cycle.with_holds(self.runner.guarded(self.runner.holds))
            return
        choice, snapshot = choices[0], ctx.snapshot(first.step.id)
        taker = self.runner.archiver if self.runner.archiver.serves(first.step) else None
        size = ctx.size() if taker is None else ctx.archive_size(choice.row_bytes)
        if (
            taker is None
            and first.table.files is None
            and self.runner.sources.has("maintenance")
            and droppable(first, watched=choice.recount)
        ):
            yield DropPartitions(
                target=first,
                reader=lambda holds: self.runner.sources.with_holds("purge", holds),
                lock_timeout=ctx.limits.drop_lock_timeout,
                tries=ctx.limits.drop_tries,
                before=lambda c: point("partition.drop.before", c),
                after=lambda c: point("partition.drop.after", c),
                snapshot=snapshot,
            )
        # A day that many rows share cannot be cut into windows, and what is archived is held in memory.
        by_day = taker is not None and predicate_of(first.step).clock.stored_as == "date"
        if choice.way == "clock windows" and not by_day:
            yield ClockWindows(target=first, size=size, snapshot=snapshot, recount=choice.recount, taking=taker)
        elif choice.way == "block ranges":
            yield BlockRanges(
                target=first,
                size=size,
                snapshot=snapshot,
                recount=choice.recount,
                taking=taker,
                per_block=choice.per_block,
                indexed=choice.indexed,
            )
        else:
            rows = min(self._careful, size.rows)
            filer = self.runner.filer
            yield Careful(target=first, rows=rows, snapshot=snapshot, recount=choice.recount, taking=taker, filing=filer)

    @property
    def _careful(self) -> int:
        """Rows of a batch that locks: fewer where objects go with them."""
        limits = self.runner.ctx.limits
        return min(limits.careful, limits.files) if any(t.table.files for t in self.targets) else limits.careful

    def _choice(self, target: Target) -> Any:
        connection: Connection = self.runner.sources.with_holds("purge", self.runner.holds())
        with connection.begin():
            return choose(connection, target, cyclic=self.cyclic)
