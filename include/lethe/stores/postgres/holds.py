"""Holds, passed to the source in a temporary table, and the condition that a hold keeps a row. Holds outrank expiry.

A hold's keys reach the database as bound values only: no statement text names a person or a tenant.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    MetaData,
    Table,
    Text,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.types import Interval

from lethe.catalog.model import Clock, Path, Store
from lethe.plan.model import HoldScope, Predicate, Step
from lethe.plan.order import hop_to
from lethe.stores.postgres.tables import dataset_table, reach_key

HOLDS = Table(
    "lethe_holds",
    MetaData(schema="pg_temp"),
    Column("id", BigInteger, nullable=False),
    Column("dataset", Text),
    Column("tenant", Text),
    Column("person_dataset", Text),
    Column("person_key", Text),
    Column("since", DateTime(timezone=True)),
    Column("until", DateTime(timezone=True)),
)
CREATE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS lethe_holds (id bigint NOT NULL, dataset text, tenant text, person_dataset text, "
    "person_key text, since timestamptz, until timestamptz) ON COMMIT PRESERVE ROWS"
)


def prepare_holds(connection: Connection) -> None:
    """Makes the session's table of holds, once, in the caller's transaction, which must be a writing one."""
    connection.execute(text(CREATE))


def load_holds(connection: Connection, holds: Sequence[HoldScope], *, prepare: bool = True) -> None:
    """Makes the session's holds these and no others. `prepare` False: the table is there already (a read-only transaction may fill it)."""
    if prepare:
        prepare_holds(connection)
    connection.execute(HOLDS.delete())
    rows = rows_of(holds)
    if rows:
        connection.execute(HOLDS.insert(), rows)


def rows_of(holds: Sequence[HoldScope]) -> list[dict[str, Any]]:
    """The holds as rows of that table."""
    return [
        {
            "id": h.id,
            "dataset": h.dataset,
            "tenant": h.tenant,
            "person_dataset": h.person[0] if h.person else None,
            "person_key": h.person[1] if h.person else None,
            "since": h.since,
            "until": h.until,
        }
        for h in holds
    ]


def held(
    row: FromClause,
    dataset: str,
    step: Step | None,
    store: Store,
    holds: Sequence[HoldScope] | None = None,
    *,
    clock_value: ColumnElement[object] | None = None,
) -> ColumnElement[bool]:
    """Does a hold keep this row? Never NULL. Everything a hold gives must match; a bound on time holds `since <= clock < until`.

    `holds`: those that `load_holds` put there; given, the condition has only the parts they need, and is plain `false` when none can
    match this dataset. None: every part. `clock_value` replaces the clock's expression where a query has it already. `step` may be
    None when no hold is bounded in time: only its clock is needed.
    """
    entry = dataset_table(store, dataset)
    persons = [(path, _end(store, dataset, path)) for path in entry.persons]
    conditions = []
    for tenant, person, bounded in sorted(_shapes(dataset, holds, {d for _, d in persons}), key=str):
        if tenant and entry.tenant is None:
            continue
        for path in [None] if person is None else [p for p, end in persons if end == person]:
            along = entry.tenant if tenant else None
            conditions.append(_one(row, dataset, step, store, tenant=along, person=path, bounded=bounded, value=clock_value))
    return or_(*conditions) if conditions else false()


Shape = tuple[bool, str | None, bool]


def _shapes(dataset: str, holds: Sequence[HoldScope] | None, identities: Collection[str]) -> set[Shape]:
    """The kinds of hold to ask for: by tenant, by a person of which dataset, bounded in time."""
    if holds is None:
        return {(tenant, person, True) for tenant in (False, True) for person in (None, *identities)}
    return {
        (h.tenant is not None, h.person[0] if h.person else None, h.since is not None or h.until is not None)
        for h in holds
        if h.dataset in (None, dataset) and (h.person is None or h.person[0] in identities)
    }


def _one(
    row: FromClause,
    dataset: str,
    step: Step | None,
    store: Store,
    *,
    tenant: Path | None,
    person: Path | None,
    bounded: bool,
    value: ColumnElement[object] | None,
) -> ColumnElement[bool]:
    """Is there a hold of one kind that keeps the row?"""
    h = HOLDS.alias("h")
    conditions: list[ColumnElement[bool]] = [or_(h.c.dataset.is_(None), h.c.dataset == dataset)]
    own: list[FromClause] = [h]
    if tenant is None:
        conditions.append(h.c.tenant.is_(None))
    else:
        joins, key = reach_key(store, dataset, row, tenant, prefix="ht")
        own += joins.aliases
        conditions += [*joins.conditions, h.c.tenant == key]
    if person is None:
        conditions.append(h.c.person_key.is_(None))
    else:
        joins, key = reach_key(store, dataset, row, person, prefix="hp")
        own += joins.aliases
        conditions += [*joins.conditions, h.c.person_dataset == joins.dataset, h.c.person_key == key]
    if bounded:
        if step is None:
            raise TypeError(f"a hold bounded in time needs a step's clock: {dataset}")
        conditions.append(_within(h, row, step, store, value))
    else:
        conditions += [h.c.since.is_(None), h.c.until.is_(None)]
    return exists(select(literal(1)).select_from(*own).where(and_(*conditions)).correlate_except(*own))


def _within(h: FromClause, row: FromClause, step: Step, store: Store, value: ColumnElement[object] | None) -> ColumnElement[bool]:
    """Does the clock lie in the hold's time? A date is a whole day of the policy's zone: one instant of it in the hold's time is enough."""
    from lethe.stores.postgres.predicate import clock_value

    predicate = step.predicate
    if not isinstance(predicate, Predicate):
        raise TypeError(f"step {step.id} has no predicate on rows")
    at = clock_value(row, step, store) if value is None else value
    begins, ends = _instants(at, predicate.clock, predicate.zone)
    since = h.c.since <= begins if ends is None else h.c.since < ends
    return and_(or_(h.c.since.is_(None), since), or_(h.c.until.is_(None), h.c.until > begins))


def _instants(value: ColumnElement[object], clock: Clock, zone: str) -> tuple[ColumnElement[object], ColumnElement[object] | None]:
    """The instant at which a clock's value begins and, for a date, the one at which its day ends."""
    if clock.stored_as == "timestamptz":
        return value, None
    if clock.stored_as == "timestamp":
        return func.timezone(clock.zone, value), None
    midnight = cast(value, DateTime())
    return func.timezone(zone, midnight), func.timezone(zone, midnight + cast(literal("1 day", Text), Interval))


def _end(store: Store, dataset: str, path: Path) -> str:
    for hop in path:
        dataset = hop_to(store, dataset, hop)
    return dataset
