"""One batch, from the gate to the closed intent. The order of the steps is the promise (invariants 1, 3 and 4):

1. in `lethe_db`: shut out new holds (shared advisory lock), see that the lease is ours, read the holds;
2. in the source: delete, and take back only counts, a fingerprint and the keys of young rows; what a law needs of the rows is in the
   archive before that (`archiving.py`), and what objects belong to the rows goes after it (`filing.py`);
3. in `lethe_db`: write and commit the intent, with the source's transaction and session, and the objects it archived;
4. in the source: COMMIT;
5. in `lethe_db`: close the intent, and let new holds in;
6. in the archive: have the objects sealed, beside the lanes.

A lock conflict or a lost connection rolls back and tries again, after recovery has said what became of the last try. Nothing else
is tried again, least of all a wrong count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lethe.control.commits import durably, without_waiting
from lethe.errors import InDoubt
from lethe.plan.model import HoldScope
from lethe.purge import intents
from lethe.purge.archiving import Archiver
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.purge.filing import Filer
from lethe.purge.intents import Backend, Counted
from lethe.purge.lease import Lease, enter, renew
from lethe.purge.recover import recover
from lethe.purge.sources import Sources, abandon, is_locked, is_lost
from lethe.purge.tally import Tally
from lethe.stores.postgres.delete import Outcome, Piece, Prepared, Technique
from lethe.stores.postgres.statistics import deleted_by_table, difference

log = logging.getLogger(__name__)
_BACKEND = text("select pg_backend_pid() as pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
_HASHED = text("select bit_xor(hashint8extended(k, 0)) from unnest(cast(:keys as bigint[])) as k")


@dataclass(kw_only=True)
class Try:
    """What is known of a batch whose intent is being written: its outcome and numbers, until it is known what became of them."""

    outcome: Outcome | None = None
    numbers: dict[str, int] = field(default_factory=dict)


class _Unread(Exception):
    """The keys of these steps must be read before a batch with young rows of them can end: not something to wait for under its locks."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__()
        self.steps = steps


class Runner:
    """Runs the batches of one group of steps, one after the other: a lane. Several lanes may run side by side."""

    def __init__(
        self,
        ctx: PurgeContext,
        sources: Sources,
        lease: Lease,
        steps: Sequence[str],
        tally: Tally | None = None,
        archiver: Archiver | None = None,
    ) -> None:
        """Opens nothing yet."""
        self.archiver = archiver or Archiver(ctx, sources)
        self.ctx, self.sources, self.lease, self.all_steps = ctx, sources, lease, tuple(steps)
        self._tally = tally or Tally(ctx.ceilings)
        self._gate: Connection | None = None
        self._book: Connection | None = None
        self._backends: dict[int, Backend] = {}
        self._renewed = time.monotonic()

    def beside(self, lane: int) -> Runner:
        """Another lane of the same group, with sessions of its own."""
        return Runner(self.ctx, self.sources.beside(lane), self.lease, self.all_steps, self._tally, self.archiver)

    def start(self) -> None:
        """Reads where the numbers of the batches stand, and what is deleted already."""
        lease = self.lease
        with self.book.begin():
            totals = intents.totals(self.book, lease.plan, lease.attempt, self.all_steps)
            numbers = intents.next_numbers(self.book, lease.plan, lease.attempt, self.all_steps)
        self._tally.read(numbers, {t.step: t.deleted for t in totals.values()})

    @property
    def filer(self) -> Filer:
        """Deletes the objects of this lane's rows, within what the guard let pass and while this lane keeps new holds out."""
        return Filer(self.ctx, gate=lambda: self.gate, refuse=self._tally.refuse)

    @property
    def gate(self) -> Connection:
        """The session whose transaction keeps new holds out while a batch runs, and closes its intents."""
        if self._gate is None:
            self._gate = self.ctx.control.connect()
        return self._gate

    @property
    def book(self) -> Connection:
        """The session that writes intents."""
        if self._book is None:
            self._book = self.ctx.control.connect()
        return self._book

    def close(self) -> None:
        """Closes the sessions in `lethe_db`."""
        for connection in (self._gate, self._book):
            if connection is not None:
                abandon(connection)
        self._gate = self._book = None

    def holds(self) -> tuple[HoldScope, ...]:
        """The holds in force, read outside of a batch: for choosing, never for deleting."""
        with self.book.begin():
            return tuple(self.ctx.holds(self.book))

    def guarded(self, work: Any) -> Any:
        """Runs something that deletes nothing, again after a lock conflict or a lost connection."""
        return self._retrying()(work)

    def run(self, technique: Technique, cursor: Any) -> Outcome:
        """One batch; its outcome once it is committed. Raises what `sources.in_words` knows, WrongCount, InDoubt, StoreBusy."""
        doing = Try()
        self.archiver.books.forget()

        def once() -> Outcome:
            if doing.outcome is not None and self._committed(doing):
                return doing.outcome
            if doing.outcome is not None:
                self._tally.strike(self._touched(doing.outcome))
            doing.outcome, doing.numbers = None, {}
            try:
                return self._once(technique, cursor, doing)
            except _Unread as unread:
                self._read_keys(unread.steps)
            return self._once(technique, cursor, doing)

        try:
            outcome: Outcome = self._retrying()(once)
        except BaseException:
            self._settle(doing)
            raise
        finally:
            self.archiver.rest()
        self.archiver.books.seal()
        self._pause(outcome)
        return outcome

    def _retrying(self) -> Retrying:
        limits = self.ctx.limits
        return Retrying(
            retry=retry_if_exception(lambda e: is_locked(e) or is_lost(e)),
            stop=stop_after_attempt(limits.tries),
            wait=wait_random_exponential(multiplier=0.02, max=limits.longest_wait),
            before_sleep=lambda state: self._clean_up(state),
            reraise=True,
        )

    def _clean_up(self, state: RetryCallState) -> None:
        """After a lost connection every session is made anew; the next batch begins by resolving open intents, which may fail in the
        same way and is then done again."""
        error = state.outcome.exception() if state.outcome else None
        if error is not None and is_lost(error):
            self._lost = self.has_lost = True
            self._drop()

    _lost = has_lost = False

    def recover(self) -> None:
        """When no lane is at work and one has lost a session (`has_lost`): `lethe_db` may have crashed, and lost closings that did not wait for
        its disk. Those intents are asked about again; one that stays in doubt is an error of its step's totals."""
        self._drop()
        with suppress(InDoubt):
            recover(self.ctx, self.sources, self.all_steps, self.ctx.control)

    def _drop(self) -> None:
        self.close()
        self.sources.close()
        self._backends.clear()

    def _resolve(self, numbers: Mapping[str, int]) -> None:
        """Ends this lane's old sessions and closes what intents of its last try are open; the other lanes' are their own business."""
        self._drop()
        recover(self.ctx, self.sources, self.all_steps, self.ctx.control, numbers=numbers)
        self.archiver.books.resolve()
        self._lost = False

    def _settle(self, doing: Try) -> None:
        """A batch that failed for good after its intent was written is closed at once; where that fails too, the next run does it."""
        if doing.outcome is None:
            return
        try:
            self._resolve(doing.numbers)
        except (DBAPIError, psycopg.Error, InDoubt) as error:
            log.warning("a batch stays open until the next run", extra={"error": type(error).__name__})

    def _committed(self, doing: Try) -> bool:
        """What became of a batch whose COMMIT or closing failed, be it for a lost connection or a lock."""
        self._resolve(doing.numbers)
        with self.book.begin():
            found = {intents.state_of(self.book, self.lease.plan, self.lease.attempt, s, n) for s, n in doing.numbers.items()}
        return found - {None} == {"committed"}

    def _once(self, technique: Technique, cursor: Any, doing: Try) -> Outcome:
        if self._lost:
            self._resolve({})
        if getattr(technique, "filing", None) is not None:  # objects that go with rows do not come back when a batch rolls back
            self._read_keys(technique.steps)
        self._keep_lease()
        began, self._busy = time.monotonic(), 0.0
        source: Connection | None = None
        gate = self.gate
        try:
            with gate.begin() as held:
                point("gate.open.before", gate)
                enter(gate, self.lease)
                holds = tuple(self.ctx.holds(gate))
                point("gate.open.after", gate)
                if isinstance(technique, Prepared):
                    technique.prepare(cursor, holds)
                if getattr(technique, "taking", None):
                    self.archiver.ready(holds, self.book)
                source = self.sources.with_holds(technique.role, holds)
                backend = self._backend(technique.role, source)
                source.execution_options(isolation_level=technique.isolation)
                transaction = source.begin()
                opened = time.monotonic()
                before = deleted_by_table(source)
                point("source.delete.before", source)
                outcome = technique.batch(source, cursor, holds)
                self._busy = time.monotonic() - opened
                point("source.delete.after", source)
                if not self._touched(outcome):
                    transaction.rollback()
                    return outcome
                if unread := [p.step for p in outcome.pieces if p.young and not self._is_read(p.step)]:
                    raise _Unread(unread)
                numbers = self._tally.enter(self._touched(outcome))
                doing.outcome, doing.numbers = outcome, numbers
                statistics = difference(before, deleted_by_table(source))
                self._write(technique, outcome, numbers, backend, time.monotonic() - opened, statistics)
                without_waiting(gate)  # which asks whether that session, and with it what it keeps out, lives still
                point("source.commit.before", source)
                committing = time.monotonic()
                transaction.commit()
                self._busy += time.monotonic() - committing
                point("source.commit.after", source)
                self._closed(gate, numbers)
                held.commit()
                point("intent.close.after", gate)
            return outcome
        except BaseException:
            if source is not None and source.in_transaction() and not source.invalidated:
                self.sources.drop(technique.role)
            if doing.outcome is None:
                self.archiver.books.discard()
            raise
        finally:
            self._rested = time.monotonic() - began - self._busy

    _busy = _rested = 0.0

    def _touched(self, outcome: Outcome) -> dict[str, int]:
        """The steps that lost rows, and how many. A dropped partition that was empty is a batch too."""
        return {p.step: p.rows for p in outcome.pieces if p.rows or (outcome.xid is not None and outcome.technique is not None)}

    def _keep_lease(self) -> None:
        """Puts its end off in good time, also while batches find nothing to delete."""
        if time.monotonic() - self._renewed > self.lease.seconds / 4:
            with self.book.begin():
                renew(self.book, self.lease)
            self._renewed = time.monotonic()

    def _write(
        self, technique: Technique, outcome: Outcome, numbers: dict[str, int], backend: Backend, seconds: float, statistics: dict[str, int]
    ) -> None:
        counted = [self._count(p, outcome) for p in outcome.pieces if p.step in numbers]
        book = self.book
        durably(book)
        with book.begin() as work:
            point("intent.write.before", book)
            intents.open_intents(
                book,
                self.lease.plan,
                self.lease.attempt,
                counted=counted,
                numbers=numbers,
                technique=outcome.technique or technique.name,
                range_=outcome.range,
                xid=outcome.xid or 0,
                backend=backend,
                seconds=seconds,
                statistics=statistics,
            )
            self.archiver.books.store(book, numbers)
            work.commit()
            point("intent.write.after", book)

    def _is_read(self, step: str) -> bool:
        """Can the step's keys be asked for without waiting?"""
        return bool(getattr(self.ctx.known_keys, "is_read", lambda step: True)(step))

    def _read_keys(self, steps: Sequence[str]) -> None:
        for step in steps:
            if not self._is_read(step):
                self.ctx.known_keys(step)

    def _count(self, piece: Piece, outcome: Outcome) -> Counted:
        """Looks the young rows up among the keys frozen at plan time: one that is not there has arrived since."""
        known = self.ctx.known_keys(piece.step) if piece.young else None
        new = [k for k in piece.young if k not in known] if known is not None else []
        mark = piece.fingerprint
        if new:
            with self.book.begin():
                mark ^= self.book.execute(_HASHED, {"keys": new}).scalar_one() or 0
        return Counted(piece=piece, arrived=len(new), fingerprint=mark)

    def _closed(self, gate: Connection, numbers: dict[str, int]) -> None:
        """In the transaction that keeps new holds out, and does not wait for the disk: an intent that is open again after a crash of the
        server is one whose fate recovery asks."""
        point("intent.close.before", gate)
        intents.close_intents(gate, self.lease.plan, self.lease.attempt, numbers, "committed")
        self.archiver.books.confirm(gate, numbers)

    def _backend(self, role: str, source: Connection) -> Backend:
        if id(source) not in self._backends:
            with source.begin():
                found = source.execute(_BACKEND).one()
            self._backends = {id(source): Backend(role=role, pid=found.pid, start=found.backend_start)}
        return self._backends[id(source)]

    def _pause(self, outcome: Outcome) -> None:
        """Gentle: the source rests after its work. While records were written in `lethe_db` it rested already."""
        if self.ctx.pace == "gentle" and outcome.rows:
            time.sleep(max(0.0, self.ctx.limits.gentle_rest * self._busy - self._rested))
