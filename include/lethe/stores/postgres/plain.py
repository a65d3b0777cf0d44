"""Deleting due rows in bounded batches: by windows of the clock, or by ranges of physical blocks.

A batch counts its rows and then deletes them, both on one snapshot (REPEATABLE READ) and by the whole predicate, so the two see the
same rows: the DELETE needs no RETURNING, which would make it half as slow again (ADR 7). A row that somebody changed since the snapshot
makes PostgreSQL refuse the batch; its next try is one READ COMMITTED statement with RETURNING, in which PostgreSQL reads the predicate
again on the newest version of every row (invariant 1). That is enough when the clock lies in the row itself and nothing refers to the
row; every other table goes through `careful.py`. Speeds: MEASURED, "Purge".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from itertools import pairwise
from threading import Lock
from time import monotonic
from typing import Any, Self
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Text, bindparam, cast, delete, func, select
from sqlalchemy.exc import DBAPIError

from lethe.errors import WrongCount
from lethe.plan.model import HoldScope
from lethe.stores.postgres.delete import (
    Isolation,
    Outcome,
    Piece,
    Tid,
    deleting,
    going,
    pieces,
    qualified,
    refuse_if_left,
    summing,
    system_column,
    younger,
)
from lethe.stores.postgres.keys import key64
from lethe.stores.postgres.predicate import Target, at, predicate_of
from lethe.stores.postgres.taking import Taking, refuse_other_count

SERIALIZATION_FAILURE = "40001"
READ_AT_ONCE = 25_000
"""Rows that are read by one statement, about: with more, this process and the server hold larger strings; with fewer, statements cost more than
rows (ADR 15)."""
_STATE = select(
    cast(cast(func.pg_current_xact_id(), Text), BigInteger).label("xid"), cast(func.pg_current_snapshot(), Text).label("snapshot")
)


@dataclass(kw_only=True)
class Size:
    """How many rows the next batch takes: as many as can be deleted in about `aim` seconds, from half of `rows` to `most`.

    The first batch takes `rows`. On a slow or busy machine batches become smaller, so that no transaction is long; on a fast one larger,
    so that what every batch costs besides its rows (records in `lethe_db`, commits) is shared by more of them.
    """

    rows: int
    most: int
    aim: float = 0.03
    least: int = 0

    def __post_init__(self) -> None:
        self.least = self.least or max(1, min(self.rows, self.most) // 2)

    def took(self, rows: int, seconds: float) -> None:
        """Learns from a batch. One that was cut short by the end of its range says little, so it changes nothing."""
        if rows >= self.rows // 2:
            wanted = rows * min(2.0, self.aim / max(seconds, 1e-6))
            self.rows = int(max(self.least, min(self.most, (self.rows + wanted) / 2)))


@dataclass(kw_only=True)
class Share:
    """What is left of a range of clock values or blocks: each piece of it is handed out once, to whichever lane asks first."""

    low: Any
    end: Any
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def spent(self) -> bool:
        """Is all of it handed out?"""
        return bool(self.low >= self.end)

    def take(self, cut: Callable[[Any, Any], Any]) -> tuple[Any, Any] | None:
        """The next piece, which ends where `cut(low, end)` says; None when there is none. Where `cut` raises nothing is handed out."""
        with self._lock:
            if self.spent:
                return None
            piece = (self.low, cut(self.low, self.end))
            self.low = piece[1]
            return piece


@dataclass(kw_only=True)
class Turn:
    """One batch of a sweep: `piece` is its part of the range once it has one, and stays its own however often the batch is tried."""

    share: Share
    piece: tuple[Any, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class _Built:
    """The statements of a batch under the same holds, built once: which rows, how many they are, their DELETE, and that with RETURNING."""

    where: tuple[ColumnElement[bool], ...]
    counting: Any
    plain: Any
    returning: Any


@dataclass(kw_only=True)
class Plain(ABC):
    """What both plain techniques share."""

    target: Target
    size: Size
    snapshot: str | None = None
    recount: bool = False
    taking: Taking | None = None
    role: str = "purge"
    name: str = ""
    _built: dict[tuple[HoldScope, ...], _Built] = field(default_factory=dict, repr=False, init=False)
    _contested: bool = field(default=False, repr=False, init=False)

    def beside(self) -> Self:
        """The same technique for another lane, which takes its pieces from the same range."""
        return replace(self)

    @property
    def isolation(self) -> Isolation:
        """One snapshot for count and DELETE, but for the next try of a batch whose rows somebody changed meanwhile."""
        return "READ COMMITTED" if self._contested else "REPEATABLE READ"

    @property
    def steps(self) -> tuple[str, ...]:
        """The one step."""
        return (self.target.step.id,)

    @cached_property
    def row(self) -> FromClause:
        """The table, bare, as DELETE needs it: one object for every statement of the technique."""
        return self.target.row(None)

    @property
    @abstractmethod
    def where(self) -> list[ColumnElement[bool]]:
        """The bounds of a batch, with bound parameters."""

    def start(self, connection: Connection) -> Turn | None:
        """The first piece of the whole range, cut already: that tells whether there is more than one."""
        share = self.range(connection)
        piece = share.take(lambda low, end: self.cut(connection, low, end))
        return None if piece is None else Turn(share=share, piece=piece)

    @abstractmethod
    def range(self, connection: Connection) -> Share:
        """All that may hold due rows."""

    @abstractmethod
    def cut(self, connection: Connection, low: Any, end: Any) -> Any:
        """Where a batch that begins at `low` ends."""

    @abstractmethod
    def bounds(self, low: Any, high: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values that `where` is bound to, and the range as it is recorded."""

    def learn(self, rows: int) -> None:  # noqa: B027 - a window learns nothing
        """Takes note of how many rows a batch had."""

    def batch(self, connection: Connection, cursor: Turn, holds: Sequence[HoldScope]) -> Outcome:
        """Deletes the next piece of the range."""
        began = monotonic()
        cursor.piece = cursor.piece or cursor.share.take(lambda low, end: self.cut(connection, low, end))
        if cursor.piece is None:
            return Outcome(pieces=(Piece(step=self.steps[0], rows=0, fingerprint=0),), range={}, cursor=cursor, done=True)
        found, xid = self._delete(connection, holds, cursor.piece)
        self.size.took(found[0].rows, monotonic() - began)
        self.learn(found[0].rows)
        _, recorded = self.bounds(*cursor.piece)
        return Outcome(pieces=found, range=recorded, cursor=Turn(share=cursor.share), done=cursor.share.spent, xid=xid)

    def parts(self, low: Any, high: Any) -> list[dict[str, Any]]:
        """The values of a piece of the range, cut into parts of about `READ_AT_ONCE` rows."""
        ends = cuts(low, high, -(-self.size.rows // READ_AT_ONCE))
        return [self.bounds(*part)[0] for part in pairwise(ends)]

    @cached_property
    def clock(self) -> ColumnElement[Any]:
        """The clock's column."""
        column: ColumnElement[Any] = self.row.c[predicate_of(self.target.step).clock.column or ""]
        return column

    def _is_due(self, connection: Connection, holds: Sequence[HoldScope]) -> bool:
        """Is there a row that is due now and not held? Needs the clock's index."""
        row = self.row
        first = select(self.clock).select_from(row).where(going(row, self.target, holds)).order_by(self.clock).limit(1)
        return connection.execute(first).first() is not None

    def _delete(self, connection: Connection, holds: Sequence[HoldScope], piece: tuple[Any, Any]) -> tuple[tuple[Piece, ...], int]:
        values, _ = self.bounds(*piece)
        key = tuple(holds)
        if key not in self._built:
            self._built = {key: self._statements(holds)}
        built = self._built[key]
        if self.taking is not None:
            return self._take(self.taking, connection, built, holds, piece)
        if self._contested:
            row = connection.execute(built.returning, values).one()
            self._contested = False
        else:
            row = connection.execute(built.counting, values).one()
            self._delete_counted(connection, built.plain, values, row[0])
        if self.recount:
            refuse_if_left(connection, self.target, self.row, self.where, holds, row.snapshot, values)
        return pieces(row, self.steps), row.xid

    def _take(
        self, taking: Taking, connection: Connection, built: _Built, holds: Sequence[HoldScope], whole: tuple[Any, Any]
    ) -> tuple[tuple[Piece, ...], int]:
        """Has the rows read on this transaction's snapshot, then deletes exactly those. Never in READ COMMITTED: what was read would not
        be what is deleted."""
        values, _ = self.bounds(*whole)
        taken = taking.take(connection, self.target, self.row, built.where, holds, self.parts(*whole), self.snapshot)
        deleted = connection.execute(built.plain, values).rowcount if taken.rows else 0
        refuse_other_count(self.target, deleted, None, taken)
        state = connection.execute(_STATE).one()
        if self.recount:
            refuse_if_left(connection, self.target, self.row, self.where, holds, state.snapshot, values)
        piece = Piece(step=self.steps[0], rows=deleted, fingerprint=taken.fingerprint, young=taken.young, taken=taken)
        return (piece,), state.xid

    def _statements(self, holds: Sequence[HoldScope]) -> _Built:
        row, where = self.row, (going(self.row, self.target, holds), *self.where)
        these = select(key64(row, self.target.table, self.target.live).label("key64"), younger(row, self.snapshot).label("young"))
        counting = summing(these.select_from(row).where(*where).cte("these"))
        returning = summing(deleting(self.target, row, self.where, holds, self.snapshot))
        return _Built(where=where, counting=counting, plain=delete(row).where(*where), returning=returning)  # type: ignore[arg-type]

    def _delete_counted(self, connection: Connection, statement: Any, values: dict[str, Any], rows: int) -> None:
        """Deletes the rows just counted; WrongCount unless it were exactly those."""
        if not rows:
            return
        try:
            deleted = connection.execute(statement, values).rowcount
        except DBAPIError as error:
            self._contested = getattr(error.orig, "sqlstate", None) == SERIALIZATION_FAILURE
            raise
        if deleted != rows:
            raise WrongCount(
                f"Step {self.target.step.id}: {deleted} rows were deleted where {rows} are due.",
                fix="A trigger on the table keeps rows: look at it. The batch was rolled back.",
            )


@dataclass(kw_only=True)
class ClockWindows(Plain):
    """Finds the n-th clock value and deletes the plain range. Needs the clock's index, and rows that lie in its order."""

    name: str = "clock windows"

    @cached_property
    def where(self) -> list[ColumnElement[bool]]:
        """From `low` up to `high`, which is left out."""
        return [self.clock >= bindparam("low", type_=self.clock.type), self.clock < bindparam("high", type_=self.clock.type)]

    @cached_property
    def _nth(self) -> Any:
        return select(self.clock).where(*self.where).order_by(self.clock).offset(bindparam("rows", type_=BigInteger)).limit(1)

    @cached_property
    def _bounds(self) -> Any:
        p = predicate_of(self.target.step)
        return select(at(p.start_of_service, p.clock, p.zone), at(min(p.cutoff, p.as_of), p.clock, p.zone))

    def range(self, connection: Connection) -> Share:
        """From the start of service to the cutoff."""
        low, end = connection.execute(self._bounds).one()
        return Share(low=low, end=end)

    def cut(self, connection: Connection, low: Any, end: Any) -> Any:
        """The clock of the n-th row from here, left out. A window of equal clocks takes them all."""
        high = connection.scalar(self._nth, {"low": low, "high": end, "rows": self.size.rows})
        if high == low:
            high = connection.scalar(select(func.min(self.clock)).where(self.clock > low, self.clock < end))
        high = end if high is None else high
        p = predicate_of(self.target.step)
        return high if self.taking is None else at_the_days_end(low, high, zone=p.zone, stored_in=p.clock.zone)

    def bounds(self, low: Any, high: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A window of clock values."""
        return {"low": low, "high": high}, {"clock": [_iso(low), _iso(high)]}

    def left(self, connection: Connection, holds: Sequence[HoldScope]) -> bool:
        """Is a row due now?"""
        return self._is_due(connection, holds)


def at_the_days_end(low: Any, high: Any, *, zone: str, stored_in: str | None) -> Any:
    """Where a window from `low` ends that archives: the last midnight of `zone` before `high`, if that is after `low`, else `high`.

    Rows that are archived lie in one object a day of their clock, and a window that ends amid a day makes one object more. Instants are aware,
    or local times of `stored_in`; days are whole already.
    """
    if not isinstance(high, datetime):
        return high
    held_in = UTC if high.tzinfo else ZoneInfo(stored_in or zone)
    local = (high if high.tzinfo else high.replace(tzinfo=held_in)).astimezone(ZoneInfo(zone))
    midnight = datetime.combine(local, time.min, local.tzinfo).astimezone(held_in)
    edge = midnight if high.tzinfo else midnight.replace(tzinfo=None)
    return edge if low < edge < high else high


def cuts(low: Any, high: Any, parts: int) -> list[Any]:
    """From `low` to `high` (instants, days or whole numbers) in so many steps of about one size, or fewer where there is no room for them."""
    return sorted({*(low + (high - low) * n // parts for n in range(parts)), high})


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


@dataclass(kw_only=True)
class BlockRanges(Plain):
    """Deletes from one range of blocks after the other, in the order of the disk: for rows that do not lie in their clock's order.

    Needs no index, and reads the table once. `per_block` is the planner's estimate of rows a block.
    """

    name: str = "block ranges"
    per_block: float = 20.0
    indexed: bool = False
    _blocks: int = 0

    @cached_property
    def where(self) -> list[ColumnElement[bool]]:
        """From the block `first` up to `last`, which is left out."""
        ctid = system_column(self.row, "ctid")
        return [ctid >= cast(bindparam("first", type_=Text), Tid()), ctid < cast(bindparam("last", type_=Text), Tid())]

    @property
    def _most(self) -> int:
        return max(8, int(4 * self.size.rows / max(self.per_block, 1)))

    def blocks(self, connection: Connection) -> int:
        """Blocks of the table now."""
        size = connection.scalar(
            select(func.pg_relation_size(_regclass(self.target)) / cast(func.current_setting("block_size"), BigInteger))
        )
        return int(size or 0)

    def range(self, connection: Connection) -> Share:
        """From the first block to the last."""
        more = 1.0 if self.taking else 1.5  # rows that are taken are held in memory, and all of a block may be due
        self._blocks = max(4, int(more * self.size.rows / max(self.per_block, 1)))
        end = self.blocks(connection)
        return Share(low=0, end=end)

    def cut(self, connection: Connection, low: int, end: int) -> int:
        """So many blocks as lately held about a batch of due rows."""
        return min(low + self._blocks, end)

    def bounds(self, low: int, high: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A range of blocks."""
        return {"first": f"({low},0)", "last": f"({high},0)"}, {"blocks": [low, high]}

    def learn(self, rows: int) -> None:
        """More blocks where few rows are due, fewer where many are."""
        self._blocks = max(4, min(self._most, int(self._blocks * min(2.0, max(0.5, self.size.rows / max(rows, 1))))))

    def left(self, connection: Connection, holds: Sequence[HoldScope]) -> bool:
        """Is a row due now? By the clock's index where there is one; else block by block, in ranges, so that no statement is long."""
        row = self.row
        if self.indexed:
            clock = row.c[predicate_of(self.target.step).clock.column or ""]
            return (
                connection.execute(select(clock).select_from(row).where(going(row, self.target, holds)).order_by(clock).limit(1)).first()
                is not None
            )
        first = select(system_column(row, "ctid")).select_from(row).where(going(row, self.target, holds), *self.where).limit(1)
        end, most = self.blocks(connection), 4 * self._most
        ranges = (self.bounds(low, min(low + most, end))[0] for low in range(0, end, most))
        return any(connection.execute(first, values).first() is not None for values in ranges)


def _regclass(target: Target) -> ColumnElement[Any]:
    return func.to_regclass(qualified(target.table.db_schema, target.table.table))
