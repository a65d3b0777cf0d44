"""Counting a step: one query gives every number and the due rows' keys, in one scan of the table.

All steps of a store are counted on one connection, the check's, in one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cached_property, reduce
from operator import xor
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Clock, Store
from lethe.errors import UnknownName
from lethe.plan.counting import StepCount
from lethe.plan.model import Counts, HoldScope, Predicate, Step
from lethe.plan.order import Reference, references, table_name
from lethe.stores.postgres.blocked import blocked_count
from lethe.stores.postgres.failures import meaning
from lethe.stores.postgres.holds import held, load_holds
from lethe.stores.postgres.keys import fingerprint_of, freeze, key64, packed, unpacked
from lethe.stores.postgres.months import month_array, month_names
from lethe.stores.postgres.predicate import Target, at, clock_lateral, clock_value, due, due_given, in_subset, predicate_of
from lethe.stores.postgres.tables import clock_type

OUTSIDE, NO_CLOCK, FUTURE, EARLY, KEPT, DUE, HELD, NOT_STARTED = range(8)
"""What a row is: not of the rule's subset; without a clock, with a future one, one before the service; kept, due, or due but held; with a
clock that has not started, be it without a date or with one to come."""

_STATES = tuple(literal_column(str(n), Integer) for n in range(8))
"""The states as SQL. They stand in the text, because every value that is bound costs time in each of a plan's queries."""

_SETTINGS = text(
    "SELECT set_config('row_security', 'off', true), set_config('search_path', 'pg_catalog', true), set_config('TimeZone', 'UTC', true), "
    "set_config('DateStyle', 'ISO', true), set_config('statement_timeout', :timeout, true)"
)


@contextmanager
def snapshot(engine: Engine, holds: Sequence[HoldScope] | None = (), *, statement_timeout: float = 600) -> Iterator[Connection]:
    """A connection on which every count sees the same instant: REPEATABLE READ, read only, with these holds loaded; None: no statement asks
    for holds, and their table is not made.

    Row security is off, so that a table that would show only some rows is an error; names are found in pg_catalog only; instants
    print in UTC; `statement_timeout` is in seconds. Raises Unreachable when the database does not answer, Uncountable when the
    holds cannot be passed to it.
    """
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise meaning(error, "The store") from None
    with connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=False)
        try:
            if holds is not None:
                with connection.begin():
                    load_holds(connection, holds)
            connection.execution_options(postgresql_readonly=True)
            connection.execute(_SETTINGS, {"timeout": str(round(statement_timeout * 1000))})
        except DBAPIError as error:
            raise meaning(error, "The store" if holds is None else "The table of holds") from None
        yield connection


@dataclass(frozen=True, kw_only=True)
class PostgresCounter:
    """Counts a plan's steps in one store (`plan.counting.Counter`). `steps` are all those of the plan; those that act elsewhere do not matter."""

    connection: Connection
    store: Store
    live: LiveSchema
    holds: tuple[HoldScope, ...] = field(default=(), repr=False)
    steps: tuple[Step, ...] = ()

    def count(self, step: Step) -> StepCount:
        """See `count`."""
        return _count(self.connection, target_of(step, self.store, self.live, self.holds, self._acting, self._references))

    @cached_property
    def _acting(self) -> tuple[Step, ...]:
        return _acting_in(self.store, self.steps)

    @cached_property
    def _references(self) -> tuple[Reference, ...]:
        return references(self.store, self.live)


def target_of(
    step: Step,
    store: Store,
    live: LiveSchema | None,
    holds: Sequence[HoldScope],
    steps: Sequence[Step],
    known: tuple[Reference, ...] | None = None,
) -> Target:
    """The step as the plan carries it out, among the steps that act in this store. A step that waits is taken as if it acted."""
    others = [s for s in _acting_in(store, steps) if s.id != step.id]
    return Target(step=step, store=store, live=live, holds=tuple(holds), steps=(*others, step), known=known)


def _acting_in(store: Store, steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(s for s in steps if s.store == store.id and s.acts and isinstance(s.predicate, Predicate))


def count(
    connection: Connection,
    step: Step,
    store: Store,
    live: LiveSchema | None,
    holds: Sequence[HoldScope] = (),
    *,
    steps: Sequence[Step] = (),
) -> StepCount:
    """Every number of a step, its ages by month, and the keys of its due rows, frozen.

    `connection` is one of `snapshot` with the same `holds`; `steps` are those of the plan, for a row is blocked by what none of them
    takes. Raises Uncountable (PartialView) or Unreachable with the step and the table, UnknownName for what the catalog lacks.
    """
    return _count(connection, target_of(step, store, live, holds, steps))


def _count(connection: Connection, target: Target) -> StepCount:
    began = perf_counter()
    with _countable(connection, target, kept=True):
        groups = connection.execute(counting_query(target), execution_options={"compiled_cache": None}).all()  # each is asked once
        seen = _seen(connection)
    return _step_count(target, groups, seen, perf_counter() - began)


def _seen(connection: Connection) -> str | None:
    """The transaction's snapshot as text. It is the same for the whole transaction of `snapshot`, so it is asked once."""
    transaction = connection.get_transaction()
    if connection.info.get("lethe_snapshot", (None, None))[0] is not transaction:
        connection.info["lethe_snapshot"] = (transaction, connection.scalar(select(literal_column("pg_current_snapshot()::text"))))
    seen: str | None = connection.info["lethe_snapshot"][1]
    return seen


def count_due_fingerprint(
    connection: Connection, step: Step, store: Store, live: LiveSchema | None, holds: Sequence[HoldScope] = (), *, held_only: bool = False
) -> dict[str, int]:
    """How many rows are due now, held and blocked ones too, and the fingerprint of their keys: `{"rows": n, "xor": x}`.

    `held_only`: only those that a hold keeps; `holds` are then the ones that `load_holds` put there. Needs the index of the clock.
    """
    target = target_of(step, store, live, holds, ())
    row = target.row()
    statement = select(func.count().label("rows"), fingerprint_of(key64(row, target.table, live)).label("xor")).select_from(row)
    statement = statement.where(due(row, step, store))
    if held_only:
        statement = statement.where(held(row, target.dataset, step, store, holds))
    with _countable(connection, target):
        found = connection.execute(statement).one()
    return {"rows": found.rows, "xor": found.xor or 0}


@contextmanager
def _countable(connection: Connection, target: Target, *, kept: bool = False) -> Iterator[None]:
    """A savepoint, so that the snapshot outlives a count that fails; the failure as one of Lethe's errors.

    `kept`: one savepoint serves every count of a transaction that writes nothing, which saves each of them two journeys to the server.
    """
    name = f"Step {target.step.id}: {table_name(target.table)}"
    try:
        with _kept_savepoint(connection) if kept else connection.begin_nested():
            yield
    except DBAPIError as error:
        raise meaning(error, name) from None
    except KeyError as error:
        raise UnknownName(f"{name} has no column {error} in the catalog.", fix="`lethe check` lists what the catalog lacks.") from None


@contextmanager
def _kept_savepoint(connection: Connection) -> Iterator[None]:
    if connection.info.get("lethe_savepoint") is not (connection.get_transaction() or connection):
        connection.exec_driver_sql("SAVEPOINT lethe_counts")
        connection.info["lethe_savepoint"] = connection.get_transaction()
    try:
        yield
    except DBAPIError as error:
        if not error.connection_invalidated:
            with suppress(DBAPIError):  # The first failure is the one to be told.
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT lethe_counts")
        raise


def counting_query(target: Target) -> Select[Any]:
    """One row for each state and month: `state`, `month` (place in `month_names`, from 1), `rows`, `oldest`, the keys' `xor` and the keys
    themselves, `packed`, and `blocked` (of the whole step).

    The table is read once, whole: the total and the ages need every row.
    """
    step, store, row = target.step, target.store, target.row()
    predicate = predicate_of(step)
    clock, zone = predicate.clock, predicate.zone
    source: FromClause = row
    if clock.own:
        value: ColumnElement[Any] = clock_value(row, step, store)
    else:
        lateral = clock_lateral(row, step, store)
        source, value = row.join(lateral, true()), lateral.c.value
    start, end, now = (at(i, clock, zone) for i in (predicate.start_of_service, predicate.cutoff, predicate.as_of))
    kept = held(row, target.dataset, step, store, target.holds, clock_value=value)
    outside = [(in_subset(row, step).is_not(true()), _STATES[OUTSIDE])] if predicate.subset else []
    state = case(
        *outside,
        (value.is_(None), _STATES[NOT_STARTED if clock.null_means == "not_started" else NO_CLOCK]),
        (value > now, _STATES[NOT_STARTED if clock.future_means == "not_started" else FUTURE]),
        (value < start, _STATES[EARLY]),
        (due_given(value, row, step, store), case((kept, _STATES[HELD]), else_=_STATES[DUE])),
        else_=_STATES[KEPT],
    )
    # One text, cast in a subquery of its own: it is bound and read once, not once a month and not once a row.
    bounds = select(cast(literal(month_array(predicate), Text), ARRAY(clock_type(clock)))).scalar_subquery()
    month = func.width_bucket(value, bounds, type_=Integer)
    key = case((and_(value < end, value >= start), key64(row, target.table, target.live)))
    believable = case((value.between(start, now), value))
    blocked = blocked_count(target)
    return (
        select(
            state.label("state"),
            month.label("month"),
            func.count().label("rows"),
            func.min(believable, type_=clock_type(clock)).label("oldest"),
            fingerprint_of(key).label("xor"),
            packed(key).label("packed"),
            (literal_column("0") if blocked is None else blocked).label("blocked"),
        )
        .select_from(source)
        .group_by(literal_column("1"), literal_column("2"))
    )


def _step_count(target: Target, groups: Sequence[Any], seen: str | None, seconds: float) -> StepCount:
    """The groups of the counting query, summed: every number is a sum of counted groups, none a difference."""
    predicate = predicate_of(target.step)
    names = month_names(predicate)
    ages: dict[str, int] = {}
    for group in sorted((g for g in groups if g.state in (KEPT, DUE, HELD)), key=lambda g: g.month):
        name = names[min(max(group.month, 1), len(names)) - 1]
        ages[name] = ages.get(name, 0) + group.rows

    def rows(*states: int) -> int:
        return sum(g.rows for g in groups if g.state in states)

    oldest = min((_instant(g.oldest, predicate) for g in groups if g.state in (KEPT, DUE, HELD)), default=None)
    due_groups = [g for g in groups if g.state in (DUE, HELD)]
    counts = Counts(
        total=sum(g.rows for g in groups),
        due=rows(DUE, HELD),
        held=rows(HELD),
        blocked=groups[0].blocked if groups else 0,
        quarantined_null=rows(NO_CLOCK),
        quarantined_future=rows(FUTURE),
        quarantined_early=rows(EARLY),
        oldest=oldest,
    )
    fingerprint = {"rows": counts.due, "xor": reduce(xor, (g.xor or 0 for g in due_groups), 0)}
    keys = (
        freeze(unpacked([(g.rows, g.packed) for g in due_groups], f"Step {target.step.id}: {table_name(target.table)}"))
        if due_groups
        else None
    )
    return StepCount(counts=counts, histogram=tuple(ages.items()), keys=keys, fingerprint=fingerprint, snapshot=seen, seconds=seconds)


def _instant(value: datetime | date, predicate: Predicate) -> datetime:
    """A clock's value as an instant: a date is its midnight in the policy's zone."""
    clock: Clock = predicate.clock
    if not isinstance(value, datetime):
        return datetime.combine(value, time.min, ZoneInfo(predicate.zone))
    return value if value.tzinfo else value.replace(tzinfo=ZoneInfo(clock.zone or predicate.zone))
