"""`lethe policy diff`: what an edit of the policy would do tonight, counted before it does it.

For each dataset whose rules changed: the rows that the new version takes and the old one keeps, how many persons they are
about, and the oldest; and the rows that would now stay. Holds are left aside: they keep rows under either version.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, not_, or_, select, union
from sqlalchemy.sql.expression import FromClause, false

from lethe.catalog.model import Store, Table
from lethe.frozen import Frozen
from lethe.plan.make import make_plan
from lethe.plan.model import ObjectPredicate, Plan, Step
from lethe.policy.diff import RuleChange, diff
from lethe.policy.model import PolicyVersion
from lethe.stores.postgres.predicate import clock_value, due
from lethe.stores.postgres.tables import reach_key, row_of
from lethe.workspace import Workspace


class Effect(Frozen):
    """What the edit does to one dataset. `more`: rows that only the new version deletes; `fewer`: only the old one.

    `persons` counts the distinct persons of the `more` rows, by the paths of the catalog; None for objects, which lead to none.
    `oldest` is the earliest clock among the `more` rows.
    """

    dataset: str
    store: str
    rules: tuple[str, ...]
    old_rows: int
    new_rows: int
    more: int
    fewer: int
    persons: int | None
    oldest: datetime | date | None


class PolicyDiff(Frozen):
    """Two versions beside each other, as of one instant."""

    old: str
    new: str
    as_of: datetime
    changes: tuple[RuleChange, ...]
    effects: tuple[Effect, ...]


def compare(workspace: Workspace, old: PolicyVersion, new: PolicyVersion, *, as_of: datetime) -> PolicyDiff:
    """Compares two versions and counts the difference in every dataset it touches, by read-only connections.

    Two queries a dataset. Raises Unreachable or Uncountable; a dataset that cannot be counted stops the whole answer.
    """
    before, after = (make_plan(version, workspace.catalog, as_of=as_of, rules=None, met=workspace.met) for version in (old, new))
    effects: list[Effect] = []
    for name, (store, dataset) in workspace.catalog.datasets().items():
        olds, news = _acting(before, name), _acting(after, name)
        if [s.predicate for s in olds] == [s.predicate for s in news]:
            continue
        rules = tuple(dict.fromkeys(s.rule for s in [*olds, *news]))
        if isinstance(dataset, Table):
            with workspace.checking(store).connect() as connection:
                found = _rows(connection, store, name, dataset, olds, news)
        else:
            found = _objects(workspace, store, olds, news)
        effects.append(Effect(dataset=name, store=store.id, rules=rules, **found))
    return PolicyDiff(old=old.version, new=new.version, as_of=as_of, changes=diff(old, new), effects=tuple(effects))


def _acting(plan: Plan, dataset: str) -> list[Step]:
    return [s for s in plan.steps if s.dataset == dataset and s.acts]


def _rows(connection: Connection, store: Store, name: str, table: Table, olds: Sequence[Step], news: Sequence[Step]) -> dict[str, Any]:
    row = row_of(store, name, "t")
    was, becomes = _goes(row, olds, store), _goes(row, news, store)
    more, fewer = and_(becomes, not_(was)), and_(was, not_(becomes))
    clock = func.min(clock_value(row, (news or olds)[0], store)).filter(more)
    counted = connection.execute(
        select(
            func.count().filter(was).label("old_rows"),
            func.count().filter(becomes).label("new_rows"),
            func.count().filter(more).label("more"),
            func.count().filter(fewer).label("fewer"),
            clock.label("oldest"),
        )
        .select_from(row)
        .where(or_(was, becomes))
    ).one()
    return {**counted._mapping, "persons": _persons(connection, store, name, table, row, more) if counted.more else 0}


def _goes(row: FromClause, steps: Sequence[Step], store: Store) -> ColumnElement[bool]:
    return func.coalesce(or_(false(), *(due(row, s, store) for s in steps)), False)


def _persons(connection: Connection, store: Store, name: str, table: Table, row: FromClause, more: ColumnElement[bool]) -> int:
    parts: list[Select[str, str]] = []
    for number, path in enumerate(table.persons):
        reached, key = reach_key(store, name, row, path, prefix=f"person{number}_")
        if reached.dataset not in store.identities:
            continue  # a row that is found by its address: how many persons have one cannot be counted by keys
        joined = select(literal(reached.dataset).label("dataset"), key.label("key")).distinct().select_from(row, *reached.aliases)
        parts.append(joined.where(reached.where, more, key.is_not(None)))
    if not parts:
        return 0
    return int(connection.scalar(select(func.count()).select_from(union(*parts).subquery("persons"))) or 0)


def _objects(workspace: Workspace, store: Store, olds: Sequence[Step], news: Sequence[Step]) -> dict[str, Any]:
    from lethe.stores.s3 import difference

    before, after = ([s.predicate for s in steps if isinstance(s.predicate, ObjectPredicate)] for steps in (olds, news))
    found = difference(workspace.s3(store.connection), before, after)
    return {
        "old_rows": found.before,
        "new_rows": found.after,
        "more": found.more,
        "fewer": found.fewer,
        "persons": None,
        "oldest": found.oldest,
    }
