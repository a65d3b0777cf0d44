"""What every way of deleting rows shares: what a batch hands back, the statements, and the look at what a trigger kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Text,
    and_,
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
from lethe.stores.postgres.filing import Filed, file_of
from lethe.stores.postgres.keys import fingerprint_of, key64
from lethe.stores.postgres.predicate import Target, due, held
from lethe.stores.postgres.taking import Taken

Isolation = Literal["READ COMMITTED", "REPEATABLE READ"]


_DIALECT = PGDialect_psycopg()
FILE = "~file"
"""The column of a CTE with the key of a deleted row's object."""


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
    that are younger than the plan's snapshot. `taken`: what was read of them before, where the step keeps or counts it;
    `filed`: what became of their objects, where rows of the table have some."""

    step: str
    rows: int
    fingerprint: int
    young: tuple[int, ...] = ()
    taken: Taken | None = None
    filed: Filed | None = None


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
    def isolation(self) -> Isolation:
        """The isolation level that its next transaction needs."""

    @property
    def steps(self) -> tuple[str, ...]:
        """The ids of the steps that it carries out."""

    def start(self, connection: Connection) -> Any:
        """The first cursor, read outside of a batch; None when there is nothing to do."""

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """One transaction's work."""


@runtime_checkable
class Prepared(Protocol):
    """A technique that can do some of its work before the transaction of a batch begins."""

    def prepare(self, cursor: Any, holds: Sequence[HoldScope]) -> None:
        """What needs no lock. It is seen again under the lock."""


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
    """DELETE of the going rows that match `where`, as a CTE of key64 and youth, and of the rows' files: `summing` reads it."""
    statement: Delete = delete(row).where(going(row, target, holds), *where)  # type: ignore[arg-type]
    file = file_of(row, target)
    files = [] if file is None else [file.label(FILE)]
    return statement.returning(key64(row, target.table, target.live).label("key64"), younger(row, snapshot).label("young"), *files).cte(
        name
    )


def summing(*gone: CTE) -> Any:
    """One row that holds only aggregates: for each CTE rows, fingerprint and young keys; then the transaction and its snapshot;
    then, for the CTEs of tables with files, the keys of the rows' objects: see `files_of`."""
    columns: list[ColumnElement[Any]] = []
    for cte in gone:
        for value in (func.count(), fingerprint_of(cte.c.key64), func.array_agg(cte.c.key64).filter(cte.c.young)):
            columns.append(select(value).select_from(cte).scalar_subquery() if len(gone) > 1 else value)
    files: dict[str, ColumnElement[Any]] = {}
    for n, cte in enumerate(gone):
        if FILE in cte.c:
            keys = func.array_agg(cte.c[FILE]).filter(cte.c[FILE].is_not(None))
            files[f"{FILE}{n}"] = select(keys).select_from(cte).scalar_subquery() if len(gone) > 1 else keys
    statement = select(
        *(c.label(f"v{n}") for n, c in enumerate(columns)),
        cast(cast(func.pg_current_xact_id(), Text), BigInteger).label("xid"),
        cast(func.pg_current_snapshot(), Text).label("snapshot"),
        *(keys.label(name) for name, keys in files.items()),
    )
    return statement.select_from(gone[0]) if len(gone) == 1 else statement


def pieces(row: Any, steps: Sequence[str]) -> tuple[Piece, ...]:
    """The answer of `summing`, one piece a step."""
    return tuple(
        Piece(step=s, rows=row[3 * n], fingerprint=row[3 * n + 1] or 0, young=tuple(row[3 * n + 2] or ())) for n, s in enumerate(steps)
    )


def files_of(row: Any, number: int = 0) -> list[str] | None:
    """Of the answer of `summing`, the keys of the objects that the rows of the CTE of that number named; None for a table without files."""
    named = row._mapping
    return list(named[f"{FILE}{number}"] or ()) if f"{FILE}{number}" in named else None


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


def qualified(schema: str, name: str) -> str:
    """`"schema"."table"`, quoted, as a value for to_regclass."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
