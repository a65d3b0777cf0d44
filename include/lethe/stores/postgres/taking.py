"""What is done with rows before they are deleted, inside the batch that deletes them: read, kept elsewhere, counted by tenant.

The rows are read by a second session on the snapshot of the deleting transaction, so what is read is what is deleted (ADR 8). A
technique calls `Taking.take` when it knows the rows and before its DELETE; how many went is then compared with how many were taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import (
    ARRAY,
    Cast,
    ColumnClause,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    cast,
    func,
    null,
    select,
)
from sqlalchemy.types import DateTime

from lethe.arrays import of_numbers
from lethe.catalog.model import Path
from lethe.errors import WrongCount
from lethe.plan.model import HoldScope
from lethe.plan.order import visited
from lethe.stores.postgres.archived import Projected, as_kept
from lethe.stores.postgres.derived import hash_of, local_days
from lethe.stores.postgres.keys import key64
from lethe.stores.postgres.predicate import Target, clock_value, predicate_of
from lethe.stores.postgres.tables import Reached, reach_key

KEY, HASH, YOUNG, DAY, CLOCK, TENANT, PERSON = "~key", "~hash", "~young", "~day", "~clock", "~tenant", "~person"
"""Columns of the rows taken, beside those that are kept: the key64 and its hash (int64), whether the row is younger than the plan's
snapshot (bool), the local day of its clock (date), the instant at which that begins (timestamptz), its tenant's key (text, or the integer that
it is); and for each of the dataset's ways to persons, numbered from 0, the key there (likewise), or the keys of a way that may lead to
several (text[])."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Rows that were read, and of them `archived`, in `objects` (ids). `fingerprint` is the xor of hashint8extended(key64, 0) over all;
    `young` the key64s younger than the plan's snapshot. `tenants`: by keyed digest ("" for none), rows archived and rows only deleted."""

    rows: int
    fingerprint: int
    young: tuple[int, ...] = ()
    archived: int = 0
    objects: tuple[str, ...] = ()
    tenants: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def together(found: Sequence[Taken]) -> Taken | None:
    """Several takings of one step as one; None of none."""
    if not found:
        return None
    tenants: dict[str, tuple[int, int]] = {}
    for taken in found:
        for tenant, (archived, deleted) in taken.tenants.items():
            before = tenants.get(tenant, (0, 0))
            tenants[tenant] = (before[0] + archived, before[1] + deleted)
    return Taken(
        rows=sum(t.rows for t in found),
        fingerprint=reduce(xor, (t.fingerprint for t in found), 0),
        young=tuple(k for t in found for k in t.young),
        archived=sum(t.archived for t in found),
        objects=tuple(o for t in found for o in t.objects),
        tenants=tenants,
    )


class Taking(Protocol):
    """Takes rows before they are deleted."""

    def take(
        self,
        connection: Connection,
        target: Target,
        row: FromClause,
        where: Sequence[ColumnElement[bool]],
        holds: Sequence[HoldScope],
        values: Sequence[Mapping[str, Any]],
        snapshot: str | None,
    ) -> Taken:
        """The rows of `row` that match `where`, bound to one of `values`, as the deleting transaction of `connection` sees them now. No row
        may match it with two of them."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the rows of a step are read: `projected` are the columns to keep. What can be told from a column that is read anyway is not asked
    for: each expression costs the server as much as a column does."""

    target: Target
    projected: Sequence[Projected] = ()

    @property
    def identities(self) -> tuple[str, ...]:
        """The dataset at the end of each way to persons, in the order of the columns: of persons, or of rows that are found by their address."""
        store, dataset = self.target.store, self.target.dataset
        return tuple(visited(store, dataset, path)[-1] if path else dataset for path in self.target.table.persons)

    @property
    def certain(self) -> frozenset[str]:
        """The columns of the answer that have no NULL, as the schema was described."""
        return frozenset({KEY, YOUNG, CLOCK, DAY} | {p.name for p in self.projected if not p.nullable})

    def statement(self, row: FromClause, where: Sequence[ColumnElement[bool]], young: ColumnElement[bool]) -> Select[Any]:
        """A select whose answer `completed` makes whole. `where` may have bound parameters."""
        asked = [e.label(name) for name, e in self._needed(row).items() if self._source(row, e) is None]
        return select(*(p.of(row) for p in self.projected), young.label(YOUNG), *asked).select_from(row).where(*where)

    def completed(self, row: FromClause, found: pa.Table) -> pa.Table:
        """What the statement gave, its columns to keep `as_kept`, with all that Lethe needs of each row (`KEY` and the others). Raises what
        `as_kept` raises."""
        if self.projected:
            kept = as_kept(found, self.projected)
            for name in found.column_names[len(kept.column_names) :]:
                kept = kept.append_column(name, found[name])
            found = kept
        for name, expression in self._needed(row).items():
            source = self._source(row, expression)
            if source is not None:
                column = found[source]
                found = found.append_column(name, column.cast(_AS_READ[name]) if name in _AS_READ else column)
        found = found.append_column(HASH, of_numbers(hash_of(found[KEY])))
        return (
            found if DAY in found.column_names else found.append_column(DAY, local_days(found[CLOCK], predicate_of(self.target.step).zone))
        )

    def _needed(self, row: FromClause) -> dict[str, ColumnElement[Any]]:
        """What Lethe needs of each row, but for what is always told from another column."""
        target = self.target
        needed = {KEY: key64(row, target.table, target.live), CLOCK: _begins(row, target), TENANT: _tenant(row, target)}
        if predicate_of(target.step).clock.stored_as == "date":
            needed[DAY] = clock_value(row, target.step, target.store)
        return needed | {f"{PERSON}{n}": key for n, key in enumerate(_persons(row, target))}

    def _source(self, row: FromClause, expression: ColumnElement[Any]) -> str | None:
        """The column to keep that says the same as an expression: it is that column, or an integer or text column cast; None for none."""
        column = expression.clause if isinstance(expression, Cast) else expression
        if not isinstance(column, ColumnClause) or column.table is not row:
            return None
        kept = next((p for p in self.projected if p.name == column.name and not p.as_text), None)
        castable = kept is not None and (
            pa.types.is_integer(kept.type) or kept.source == "text" or kept.source.startswith("character varying")
        )
        return column.name if kept is not None and (castable or column is expression) else None


_AS_READ = {KEY: pa.int64(), CLOCK: pa.timestamp("us", "UTC"), DAY: pa.date32()}
"""As what such a column comes; the others are the text or the integer that they are."""


def refuse_other_count(target: Target, deleted: int, fingerprint: int | None, taken: Taken) -> None:
    """WrongCount unless exactly the rows taken were deleted; `fingerprint` None where the DELETE gives none."""
    if deleted == taken.rows and fingerprint in (None, taken.fingerprint):
        return
    raise WrongCount(
        f"Step {target.step.id}: {deleted} rows were deleted where {taken.rows} had been read for it.",
        fix="The batch was rolled back. Look for a trigger on the table; nothing is lost.",
    )


def _begins(row: FromClause, target: Target) -> ColumnElement[Any]:
    """The instant at which the row's clock begins."""
    predicate = predicate_of(target.step)
    value = clock_value(row, target.step, target.store)
    if predicate.clock.stored_as == "timestamp":
        return func.timezone(predicate.clock.zone, value, type_=DateTime(timezone=True))
    if predicate.clock.stored_as == "date":
        return func.timezone(predicate.zone, cast(value, DateTime()), type_=DateTime(timezone=True))
    return value


def _tenant(row: FromClause, target: Target) -> ColumnElement[Any]:
    path = target.table.tenant
    if path is None:
        return cast(null(), Text)
    reached, key = reach_key(target.store, target.dataset, row, path, prefix="nt")
    return key if not reached.aliases else _of(row, reached, key).limit(1).scalar_subquery()


def _persons(row: FromClause, target: Target) -> list[ColumnElement[Any]]:
    """For each of the dataset's ways to persons the key there, or the keys where a way may lead to several."""
    found: list[ColumnElement[Any]] = []
    for n, path in enumerate(target.table.persons):
        reached, key = reach_key(target.store, target.dataset, row, path, prefix=f"np{n}x")
        if _several(path):
            found.append(func.array(_of(row, reached, key).scalar_subquery(), type_=ARRAY(Text)))
        else:
            found.append(key if not reached.aliases else _of(row, reached, key).limit(1).scalar_subquery())
    return found


def _of(row: FromClause, reached: Reached, key: ColumnElement[str]) -> Select[Any]:
    return select(key.label("key")).select_from(*reached.aliases).where(reached.where).correlate(row)


def _several(path: Path) -> bool:
    """Does a hop of it go back, to any number of rows?"""
    return any("." in hop for hop in path)
