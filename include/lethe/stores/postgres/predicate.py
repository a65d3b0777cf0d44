"""Which rows of a table are due, as SQLAlchemy expressions over a row: what the purge deletes by and the plan counts by.

The check has a reading of its own (`verify/`), which shares nothing with this one (invariant 5). All conditions are three-valued:
NULL means no, so negate them with `.is_not(true())`, never with NOT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, FromClause, Label, Select, and_, case, exists, false, func, literal, null, or_, select, true
from sqlalchemy.sql.selectable import LateralFromClause

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Clock, Condition, Store, Table
from lethe.plan.model import ContractShield, HoldScope, Predicate, Step
from lethe.plan.order import Reference, references, visited
from lethe.stores.postgres.holds import held, load_holds
from lethe.stores.postgres.tables import bound_value, clock_type, dataset_table, reach, row_of, unmapped

__all__ = [
    "Target",
    "clock_value",
    "due",
    "held",
    "leaving",
    "load_holds",
    "quarantined_early",
    "quarantined_future",
    "quarantined_null",
    "referred_to",
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A step with all that its SQL is built from: the store and its live schema, the holds in force, and every step of the plan
    that acts in this store (a row stays when none of them takes it)."""

    step: Step
    store: Store
    live: LiveSchema | None = None
    holds: tuple[HoldScope, ...] = ()
    steps: tuple[Step, ...] = ()
    known: tuple[Reference, ...] | None = field(default=None, repr=False)
    """`plan.order.references` of store and live schema, where somebody has them already."""

    @property
    def dataset(self) -> str:
        """The step's dataset."""
        return self.step.dataset or ""

    @property
    def table(self) -> Table:
        """The catalog's entry of the dataset; UnknownName when there is none."""
        return dataset_table(self.store, self.dataset)

    def row(self, name: str | None = "t") -> FromClause:
        """The table with every column that this step's SQL may need: aliased, or bare when `name` is None, and then always the same
        object, so that conditions made apart meet in one statement."""
        return self._bare if name is None else self._row(name)

    @cached_property
    def _bare(self) -> FromClause:
        return self._row(None)

    def _row(self, name: str | None) -> FromClause:
        needed = [c for r in self.references if r.parent_dataset == self.dataset for c in r.to_columns]
        needed += [c for r in self.references if r.child_dataset == self.dataset for c in r.columns]
        return row_of(self.store, self.dataset, name, columns=needed)

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every reference of the store."""
        return references(self.store, self.live) if self.known is None else self.known

    @property
    def incoming(self) -> tuple[Reference, ...]:
        """Who refers to rows of this dataset."""
        return tuple(r for r in self.references if r.parent_dataset == self.dataset)


def predicate_of(step: Step) -> Predicate:
    """The step's predicate on rows; TypeError for a step that has none."""
    if not isinstance(step.predicate, Predicate):
        raise TypeError(f"step {step.id} has no predicate on rows")
    return step.predicate


def at(instant: datetime, clock: Clock, zone: str) -> ColumnElement[Any]:
    """An instant as the bound value that a clock's column compares with: see `plain`."""
    return literal(plain(instant, clock, zone), clock_type(clock))


def plain(instant: datetime, clock: Clock, zone: str) -> datetime | date:
    """An instant as a clock's column stores it: naive in the clock's own zone for a `timestamp`, the local date of `zone` (the
    policy's) for a `date`."""
    if clock.stored_as == "timestamp":
        return instant.astimezone(ZoneInfo(clock.zone or zone)).replace(tzinfo=None)
    if clock.stored_as == "date":
        return instant.astimezone(ZoneInfo(zone)).date()
    return instant


def clock_value(row: FromClause, step: Step, store: Store) -> ColumnElement[Any]:
    """The clock of a row: its column, the latest of several, or the newest of the rows reached (NULL when one of them is NULL)."""
    clock = predicate_of(step).clock
    if clock.own:
        return _own(row, clock)
    return _reached(row, step, store, lambda newest: newest).scalar_subquery()


def clock_lateral(row: FromClause, step: Step, store: Store, name: str = "aged") -> LateralFromClause:
    """`clock_value` of a clock on other rows, as a LATERAL with one column `value`: computed once a row, and remembered by PostgreSQL."""
    return _reached(row, step, store, lambda newest: newest).lateral(name)


def due(row: FromClause, step: Step, store: Store) -> ColumnElement[bool]:
    """Must this row go? Its clock is believable and before the cutoff, it is of the subset, and no live contract and no row of its tenant
    that needs it keeps it.

    A clock in the row itself gives a plain range of its column, so its index serves (the expression index of
    `greatest(...)` for `latest_of`); a clock elsewhere needs an index on the columns by which those rows refer.
    """
    predicate = predicate_of(step)
    if predicate.clock.own:
        ripe = _ripe(_own(row, predicate.clock), predicate)
    else:
        ripe = _reached(row, step, store, lambda newest: _ripe(newest, predicate)).scalar_subquery()
    return and_(ripe, in_subset(row, step), shield_open(row, step, store), needed_no_more(row, step, store))


def due_given(value: ColumnElement[Any], row: FromClause, step: Step, store: Store) -> ColumnElement[bool]:
    """`due` of a row whose clock's value a query has already."""
    return and_(_ripe(value, predicate_of(step)), in_subset(row, step), shield_open(row, step, store), needed_no_more(row, step, store))


def quarantined_null(row: FromClause, step: Step, store: Store, *, value: ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """Has the row no clock although it should? Never for a clock that may not have started."""
    if predicate_of(step).clock.null_means == "not_started":
        return false()
    return and_((clock_value(row, step, store) if value is None else value).is_(None), in_subset(row, step))


def quarantined_future(row: FromClause, step: Step, store: Store, *, value: ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """Does the clock lie after `as_of` although it should not? Never for a clock that may be a date to come."""
    predicate = predicate_of(step)
    if predicate.clock.future_means == "not_started":
        return false()
    known = clock_value(row, step, store) if value is None else value
    return and_(known > at(predicate.as_of, predicate.clock, predicate.zone), in_subset(row, step))


def quarantined_early(row: FromClause, step: Step, store: Store, *, value: ColumnElement[Any] | None = None) -> ColumnElement[bool]:
    """Does the clock lie before the store's start of service?"""
    predicate = predicate_of(step)
    known = clock_value(row, step, store) if value is None else value
    return and_(known < at(predicate.start_of_service, predicate.clock, predicate.zone), in_subset(row, step))


def in_subset(row: FromClause, step: Step) -> ColumnElement[bool]:
    """Is the row of the rule's subset?"""
    return and_(true(), *(_condition(row, c) for c in predicate_of(step).subset))


def shield_open(row: FromClause, step: Step, store: Store) -> ColumnElement[bool]:
    """Does no live contract keep the row? Never NULL. A row that leads to no contract is not kept by one."""
    predicate = predicate_of(step)
    shield: ContractShield | None = predicate.shield
    if shield is None:
        return true()
    reached = reach(store, step.dataset or "", row, shield.through, prefix="c")
    ended = reached.row.c[shield.ended]
    clocks = dataset_table(store, reached.dataset).clocks.values()
    clock = next((c for c in clocks if shield.ended in (c.column, *c.latest_of) and _of_itself(store, reached.dataset, c)), None)
    lives = or_(ended.is_(None), ended > at(predicate.as_of, clock or Clock(column=shield.ended), predicate.zone))
    return ~exists(reached.inside(select(literal(1)).where(lives))) if shield.through else ~lives


def needed_no_more(row: FromClause, step: Step, store: Store) -> ColumnElement[bool]:
    """Has the row's tenant no row left that this one is kept for? Never NULL. Needs an index on the tenant's columns of those tables."""
    gone: list[ColumnElement[bool]] = []
    for number, kept in enumerate(predicate_of(step).kept_for):
        other = row_of(store, kept.dataset, f"w{number}", columns=kept.columns)
        joined = [other.c[a] == row.c[b] for a, b in zip(kept.columns, kept.own, strict=True)]
        gone.append(~exists(select(literal(1)).select_from(other).where(*joined).correlate_except(other)))
    return and_(true(), *gone)


def _of_itself(store: Store, dataset: str, clock: Clock) -> bool:
    """Does a clock of the dataset lie on rows of the dataset?"""
    return clock.own or visited(store, dataset, clock.through)[-1] == dataset


def leaving(row: FromClause, dataset: str, target: Target) -> ColumnElement[bool]:
    """Does a step of the plan take this row, whatever refers to it: due under one of them and not held?"""
    store, holds = target.store, target.holds
    steps = [s for s in target.steps if s.dataset == dataset]
    return or_(false(), *(and_(due(row, s, store), ~held(row, dataset, s, store, holds)) for s in steps))


def referred_to(row: FromClause, reference: Reference, target: Target, name: str = "r") -> ColumnElement[bool]:
    """Does a row now refer to this one by `reference`? Needs an index on the referring columns. A row that refers to itself does not count."""
    child = (
        row_of(target.store, reference.child_dataset, name, columns=reference.columns)
        if reference.child_dataset
        else unmapped(reference.child, reference.columns, name)
    )
    joined = [child.c[a] == row.c[b] for a, b in zip(reference.columns, reference.to_columns, strict=True)]
    if reference.child == reference.parent and reference.child_dataset:
        key = dataset_table(target.store, reference.child_dataset).key
        joined.append(or_(*(child.c[k] != row.c[k] for k in key)))
    return exists(select(literal(1)).select_from(child).where(*joined).correlate_except(child))


def _own(row: FromClause, clock: Clock) -> ColumnElement[Any]:
    if clock.latest_of:
        columns = [row.c[c] for c in clock.latest_of]
        return columns[0] if len(columns) == 1 else func.greatest(*columns, type_=clock_type(clock))
    return row.c[clock.column or ""]


def _ripe(value: ColumnElement[Any], predicate: Predicate) -> ColumnElement[bool]:
    """The plain range of a due clock. The cutoff never lies after `as_of`, which keeps future clocks out too."""
    clock, zone = predicate.clock, predicate.zone
    return and_(value < at(min(predicate.cutoff, predicate.as_of), clock, zone), value >= at(predicate.start_of_service, clock, zone))


def _reached(row: FromClause, step: Step, store: Store, what: Callable[[ColumnElement[Any]], ColumnElement[Any]]) -> Select[Any]:
    """A select of `what` of the newest clock that the row reaches: NULL when one is NULL, of its `otherwise` column when it reaches none."""
    clock = predicate_of(step).clock
    reached = reach(store, step.dataset or "", row, clock.through, prefix="k")
    values = reached.row.c[clock.column or ""]
    none = what(row.c[clock.otherwise]) if clock.otherwise else null()
    value: Label[Any] = case(
        (func.count() == 0, none), (func.count(values) < func.count(), null()), else_=what(func.max(values, type_=clock_type(clock)))
    ).label("value")
    return reached.inside(select(value))


def _condition(row: FromClause, condition: Condition) -> ColumnElement[bool]:
    column = row.c[condition.column]
    match condition.is_:
        case "null":
            return column.is_(None)
        case "not_null":
            return column.is_not(None)
        case "true":
            return column.is_(true())
        case "false":
            return column.is_(false())
    if condition.equals is None:
        raise TypeError("a condition has either `is` or `equals`")
    return column == bound_value(condition.equals)
