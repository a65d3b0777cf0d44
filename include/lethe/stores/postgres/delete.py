"""Deleting due rows, one bounded statement a batch: by windows of the clock, or by ranges of physical blocks.

Both read the whole predicate again at the moment of deletion (invariant 1): under READ COMMITTED PostgreSQL evaluates it on the
newest version of a row that somebody changed meanwhile. That is enough when the clock lies in the row itself and nothing refers to
the row; every other table goes through `careful.py`. Speeds: MEASURED, "Purge".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    false,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.types import UserDefinedType

from lethe.errors import WrongCount
from lethe.plan.model import HoldScope
from lethe.stores.postgres.keys import fingerprint_of, key64
from lethe.stores.postgres.predicate import Target, at, due, held, predicate_of

_DIALECT = PGDialect_psycopg()


class Tid(UserDefinedType[str]):
    """A row's place, `(block,item)`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """As PostgreSQL names it."""
        return "tid"


class Xid(UserDefinedType[str]):
    """A transaction's number without its epoch."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """As PostgreSQL names it."""
        return "xid"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one transaction deleted for one step: rows, the xor of hashint8extended(key64, 0) over them, and the key64s of those
    that are younger than the plan's snapshot."""

    step: str
    rows: int
    fingerprint: int
    young: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a batch did inside its open transaction; `done` says that no further batch of this technique follows."""

    pieces: tuple[Piece, ...]
    range: dict[str, Any]
    cursor: Any
    done: bool
    xid: int | None = None
    technique: str | None = None

    @property
    def rows(self) -> int:
        """Rows of all steps together."""
        return sum(p.rows for p in self.pieces)


class Technique(Protocol):
    """A way to delete: `batch` works inside the caller's transaction and may be asked again from the same cursor."""

    name: str
    role: str

    @property
    def steps(self) -> tuple[str, ...]:
        """The ids of the steps that it carries out."""

    def start(self, connection: Connection) -> Any:
        """The first cursor, read outside of a batch; None when there is nothing to do."""

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """One transaction's work."""


def younger(row: FromClause, snapshot: str | None) -> ColumnElement[bool]:
    """Was this version of the row written after the snapshot (`xmin:xmax:...`)? Says yes too often, never too rarely."""
    if snapshot is None:
        return false()
    return func.age(literal_column(f"{_name(row)}.xmin")) <= func.age(_xid(int(snapshot.split(":")[0])))


def _name(row: FromClause) -> str:
    return _DIALECT.identifier_preparer.quote(row.name)  # type: ignore[attr-defined]


def _xid(full: int) -> ColumnElement[str]:
    return cast(str(full % 2**32), Xid())


def system_column(row: FromClause, name: str) -> ColumnElement[Any]:
    """ctid, tableoid or xmin of a row."""
    return literal_column(f"{_name(row)}.{name}")


def going(row: FromClause, target: Target, holds: Sequence[HoldScope]) -> ColumnElement[bool]:
    """Due and not held, read now."""
    return and_(due(row, target.step, target.store), ~held(row, target.dataset, target.step, target.store, holds))


def deleting(
    target: Target,
    row: FromClause,
    where: Sequence[ColumnElement[bool]],
    holds: Sequence[HoldScope],
    snapshot: str | None,
    name: str = "gone",
) -> CTE:
    """DELETE of the going rows that match `where`, as a CTE of key64 and youth: `summing` reads it."""
    statement: Delete = delete(row).where(going(row, target, holds), *where)  # type: ignore[arg-type]
    return statement.returning(key64(row, target.table, target.live).label("key64"), younger(row, snapshot).label("young")).cte(name)


def summing(*gone: CTE) -> Any:
    """One row that holds only aggregates: for each CTE rows, fingerprint and young keys; then the transaction and its snapshot."""
    columns: list[ColumnElement[Any]] = []
    for cte in gone:
        for value in (func.count(), fingerprint_of(cte.c.key64), func.array_agg(cte.c.key64).filter(cte.c.young)):
            columns.append(select(value).select_from(cte).scalar_subquery() if len(gone) > 1 else value)
    statement = select(
        *(c.label(f"v{n}") for n, c in enumerate(columns)),
        cast(cast(func.pg_current_xact_id(), Text), BigInteger).label("xid"),
        cast(func.pg_current_snapshot(), Text).label("snapshot"),
    )
    return statement.select_from(gone[0]) if len(gone) == 1 else statement


def pieces(row: Any, steps: Sequence[str]) -> tuple[Piece, ...]:
    """The answer of `summing`, one piece a step."""
    return tuple(
        Piece(step=s, rows=row[3 * n], fingerprint=row[3 * n + 1] or 0, young=tuple(row[3 * n + 2] or ())) for n, s in enumerate(steps)
    )


def refuse_if_left(
    connection: Connection,
    target: Target,
    row: FromClause,
    where: Sequence[ColumnElement[bool]],
    holds: Sequence[HoldScope],
    snapshot: str,
    values: dict[str, Any],
) -> None:
    """Counts again what a DELETE should have taken: rows as old as its snapshot, or put back by this transaction. WrongCount if any is left.

    Asked only where a trigger fires on deletion; nothing else in PostgreSQL swallows one in silence.
    """
    xmin = system_column(row, "xmin")
    old = func.age(xmin) > func.age(_xid(int(snapshot.split(":")[0])))
    own = cast(cast(xmin, Text), BigInteger) == cast(cast(func.pg_current_xact_id(), Text), BigInteger).op("%")(2**32)
    left = connection.scalar(select(func.count()).select_from(row).where(going(row, target, holds), *where, old | own), values)
    if left:
        raise WrongCount(
            f"Step {target.step.id}: {left} due rows are still there after they were deleted.",
            fix="A trigger on the table keeps or restores them: look at it. The batch was rolled back.",
        )


@dataclass(kw_only=True)
class Plain:
    """What both plain techniques share."""

    target: Target
    rows: int
    snapshot: str | None = None
    recount: bool = False
    role: str = "purge"
    name: str = ""
    _built: dict[tuple[HoldScope, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def steps(self) -> tuple[str, ...]:
        """The one step."""
        return (self.target.step.id,)

    @cached_property
    def row(self) -> FromClause:
        """The table, bare, as DELETE needs it: one object for every statement of the technique."""
        return self.target.row(None)

    @cached_property
    def where(self) -> list[ColumnElement[bool]]:
        """The bounds of a batch, with bound parameters."""
        raise NotImplementedError

    def _delete(self, connection: Connection, holds: Sequence[HoldScope], values: dict[str, Any]) -> tuple[tuple[Piece, ...], int]:
        key = tuple(holds)
        if key not in self._built:
            self._built = {key: summing(deleting(self.target, self.row, self.where, holds, self.snapshot))}
        row = connection.execute(self._built[key], values).one()
        if self.recount:
            refuse_if_left(connection, self.target, self.row, self.where, holds, row.snapshot, values)
        return pieces(row, self.steps), row.xid


@dataclass(kw_only=True)
class ClockWindows(Plain):
    """Finds the n-th clock value and deletes the plain range. Needs the clock's index, and rows that lie in its order."""

    name: str = "clock windows"
    low: Any = None

    @cached_property
    def clock(self) -> ColumnElement[Any]:
        """The clock's column."""
        column: ColumnElement[Any] = self.row.c[predicate_of(self.target.step).clock.column or ""]
        return column

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

    def start(self, connection: Connection) -> Any:
        """From the start of service to the cutoff."""
        low, end = connection.execute(self._bounds).one()
        return (low, end)

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """Deletes the next window or range."""
        low, end = cursor
        high = connection.scalar(self._nth, {"low": low, "high": end, "rows": self.rows})
        if high == low:
            high = connection.scalar(select(func.min(self.clock)).where(self.clock > low, self.clock < end))
        high = end if high is None else high
        found, xid = self._delete(connection, holds, {"low": low, "high": high})
        return Outcome(pieces=found, range={"clock": [_iso(low), _iso(high)]}, cursor=(high, end), done=high == end, xid=xid)

    def left(self, connection: Connection, holds: Sequence[HoldScope]) -> Any:
        """The cursor of the first row that is due now, for one more pass; None when there is none."""
        _, end = self.start(connection)
        row = self.row
        first = connection.scalar(select(self.clock).select_from(row).where(going(row, self.target, holds)).order_by(self.clock).limit(1))
        return None if first is None else (first, end)


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


@dataclass(kw_only=True)
class BlockRanges(Plain):
    """Deletes from one range of blocks after the other, in the order of the disk: for rows that do not lie in their clock's order.

    Needs no index, and reads the table once. `per_block` is the planner's estimate of rows a block.
    """

    name: str = "block ranges"
    per_block: float = 20.0
    _size: int = 0

    @cached_property
    def where(self) -> list[ColumnElement[bool]]:
        """From the block `first` up to `last`, which is left out."""
        ctid = system_column(self.row, "ctid")
        return [ctid >= cast(bindparam("first", type_=Text), Tid()), ctid < cast(bindparam("last", type_=Text), Tid())]

    @property
    def _most(self) -> int:
        return max(8, int(4 * self.rows / max(self.per_block, 1)))

    def blocks(self, connection: Connection) -> int:
        """Blocks of the table now."""
        size = connection.scalar(
            select(func.pg_relation_size(_regclass(self.target)) / cast(func.current_setting("block_size"), BigInteger))
        )
        return int(size or 0)

    def start(self, connection: Connection) -> Any:
        """From the first block to the last."""
        self._size = max(4, int(1.5 * self.rows / max(self.per_block, 1)))
        end = self.blocks(connection)
        return (0, end) if end else None

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """Deletes the next window or range."""
        low, end = cursor
        high = min(low + self._size, end)
        found, xid = self._delete(connection, holds, {"first": f"({low},0)", "last": f"({high},0)"})
        rows = found[0].rows
        self._size = max(4, min(self._most, int(self._size * min(2.0, max(0.5, self.rows / max(rows, 1))))))
        return Outcome(pieces=found, range={"blocks": [low, high]}, cursor=(high, end), done=high >= end, xid=xid)

    def left(self, connection: Connection, holds: Sequence[HoldScope]) -> Any:
        """The range from the first block that still holds a due row, read in ranges; None when no block does."""
        row = self.row
        ctid = system_column(row, "ctid")
        first = select(ctid).select_from(row).where(going(row, self.target, holds), *self.where).order_by(ctid).limit(1)
        end = self.blocks(connection)
        for low in range(0, end, 4 * self._most):
            found = connection.scalar(first, {"first": f"({low},0)", "last": f"({min(low + 4 * self._most, end)},0)"})
            if found is not None:
                return (int(str(found).strip("()").split(",")[0]), end)
        return None


def _regclass(target: Target) -> ColumnElement[Any]:
    return func.to_regclass(qualified(target.table.db_schema, target.table.table))


def qualified(schema: str, name: str) -> str:
    """`"schema"."table"`, quoted, as a value for to_regclass."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
