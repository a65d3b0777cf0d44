"""What is done with rows before they are deleted, inside the batch that deletes them: read, kept elsewhere, counted by tenant.

The rows are read by a second session on the snapshot of the deleting transaction, so what is read is what is deleted (ADR 8). A
technique calls `Taking.take` when it knows the rows and before its DELETE; how many went is then compared with how many were taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any, Protocol

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    FromClause,
    Select,
    Text,
    cast,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.types import DateTime

from lethe.catalog.model import Path
from lethe.errors import WrongCount
from lethe.plan.model import HoldScope
from lethe.plan.order import visited
from lethe.stores.postgres.keys import key64
from lethe.stores.postgres.predicate import Target, clock_value, predicate_of
from lethe.stores.postgres.tables import Reached, reach_key

KEY, HASH, YOUNG, DAY, CLOCK, TENANT, PERSON = "~key", "~hash", "~young", "~day", "~clock", "~tenant", "~person"
"""Columns of the rows taken, beside those that are kept: the key64 and its hash (int64), whether the row is younger than the plan's
snapshot (bool), the local day of its clock (date), the instant at which that begins (timestamptz), its tenant's key (text); and for each
of the dataset's ways to persons, numbered from 0, the key there (text), or the keys of a way that may lead to several (text[])."""


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
        values: Mapping[str, Any],
        snapshot: str | None,
    ) -> Taken:
        """The rows of `row` that match `where` (bound to `values`), as the deleting transaction of `connection` sees them now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the rows of a step are read: `kept` gives the columns to keep, of a row."""

    target: Target
    kept: Callable[[FromClause], Sequence[ColumnElement[Any]]]

    @property
    def identities(self) -> tuple[str, ...]:
        """The dataset at the end of each way to persons, in the order of the columns."""
        store, dataset = self.target.store, self.target.dataset
        return tuple(visited(store, dataset, path)[-1] if path else dataset for path in self.target.table.persons)

    def statement(self, row: FromClause, where: Sequence[ColumnElement[bool]], young: ColumnElement[bool]) -> Select[Any]:
        """A select of the kept columns, then those that Lethe needs of each row. `where` may have bound parameters."""
        target = self.target
        key = key64(row, target.table, target.live)
        begins = _begins(row, target)
        needed = [
            key.label(KEY),
            func.hashint8extended(key, literal(0, BigInteger), type_=BigInteger).label(HASH),
            young.label(YOUNG),
            _day(row, target, begins).label(DAY),
            begins.label(CLOCK),
            _tenant(row, target).label(TENANT),
            *(key.label(f"{PERSON}{n}") for n, key in enumerate(_persons(row, target))),
        ]
        return select(*self.kept(row), *needed).select_from(row).where(*where)


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


def _day(row: FromClause, target: Target, begins: ColumnElement[Any]) -> ColumnElement[Any]:
    """The local date of the row's clock in the policy's zone: what its period counts from."""
    predicate = predicate_of(target.step)
    if predicate.clock.stored_as == "date":
        return clock_value(row, target.step, target.store)
    return cast(func.timezone(predicate.zone, begins), Date)


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
