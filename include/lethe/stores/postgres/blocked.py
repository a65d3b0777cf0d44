"""Blocked rows: due, not held, and referred to by a row that stays, directly or through other rows. Exact, by reachability.

A row that no step takes blocks what it refers to; a blocked row stays, so it blocks in turn. Over cycles of tables and rows that
refer to their own table this is the set reached from the staying rows along the references: one recursive query over the leaving
rows of the tables concerned. It needs the index of each clock and an index on each referring column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    union,
    union_all,
)

from lethe.plan.model import Step
from lethe.plan.order import Reference
from lethe.stores.postgres.predicate import Target, due, held, leaving
from lethe.stores.postgres.tables import dataset_table, key_text, row_of, unmapped

_KEY, _MINE = "lethe_key", "lethe_mine"


def blocked_count(target: Target) -> ColumnElement[int] | None:
    """How many of the step's due, unheld rows stay because of a reference, as a scalar subquery; None when nothing can refer to them."""
    found = blocked_rows(target)
    if found is None:
        return None
    mine, blocked = found
    return select(func.count()).select_from(mine).where(mine.c[_MINE], mine.c[_KEY].in_(blocked)).scalar_subquery()


def blocked_keys(target: Target) -> Select[Any] | None:
    """The keys (as `tables.key_text` prints them) of the blocked rows of the step's dataset; None when nothing can refer to them."""
    found = blocked_rows(target)
    return None if found is None else found[1]


def blocked_rows(target: Target) -> tuple[CTE, Select[Any]] | None:
    """The leaving rows of the step's dataset, and the keys of the blocked ones among them."""
    inward = {d: [r for r in target.references if r.parent_dataset == d] for d in _reaching(target)}
    if not inward[target.dataset]:
        return None
    number = {d: n for n, d in enumerate(inward)}
    rows = {d: _leaving_rows(target, d, number[d]) for d in inward}
    seeds = [_seed(target, rows[d], number[d], r) for d in inward for r in inward[d]]
    within = [r for d in inward for r in inward[d] if r.child_dataset in rows]
    edges = [_edge(rows, number, r, n) for n, r in enumerate(within)]
    start = (seeds[0] if len(seeds) == 1 else union(*seeds)).cte("seeds")
    first = select(start.c.place, start.c.key)
    blocked = first.cte("blocked", recursive=bool(edges))
    if edges:
        links = (edges[0] if len(edges) == 1 else union_all(*edges)).cte("links").prefix_with("MATERIALIZED")
        joined = and_(links.c.child == blocked.c.place, links.c.child_key == blocked.c.key)
        blocked = blocked.union(select(links.c.parent, links.c.parent_key).join(blocked, joined))
    return rows[target.dataset], select(blocked.c.key).where(blocked.c.place == number[target.dataset])


def _reaching(target: Target) -> list[str]:
    """The step's dataset and every dataset with leaving rows whose staying ones could, step by step, block it."""
    acting = {s.dataset for s in target.steps}
    found = [target.dataset]
    for dataset in found:  # it grows while it is walked
        referring = [r.child_dataset for r in target.references if r.parent_dataset == dataset]
        found += sorted({c for c in referring if c is not None and c in acting} - set(found))
    return found


def _leaving_rows(target: Target, dataset: str, number: int) -> CTE:
    """The rows of a dataset that a step takes, with every column by which they refer or are referred to."""
    columns = {c for r in target.references if r.parent_dataset == dataset for c in r.to_columns}
    columns |= {c for r in target.references if r.child_dataset == dataset for c in r.columns}
    row = row_of(target.store, dataset, "l", columns=columns)
    key = key_text(row.c[k] for k in dataset_table(target.store, dataset).key)
    mine = _mine(row, target, target.step) if dataset == target.dataset else false()
    carried = [row.c[c].label(c) for c in sorted(columns)]
    statement = select(key.label(_KEY), mine.label(_MINE), *carried).select_from(row).where(leaving(row, dataset, target))
    return statement.cte(f"leaving_{number}").prefix_with("MATERIALIZED")


def _mine(row: FromClause, target: Target, step: Step) -> ColumnElement[bool]:
    """Is the row of this very step? Not asked when no other step takes rows of its dataset."""
    if [s.id for s in target.steps if s.dataset == step.dataset] == [step.id]:
        return true()
    return func.coalesce(and_(due(row, step, target.store), ~held(row, target.dataset, step, target.store, target.holds)), false())


def _place(number: int) -> ColumnElement[int]:
    return literal_column(str(number), Integer)


def _seed(target: Target, parents: CTE, number: int, reference: Reference) -> Select[Any]:
    """The leaving rows that a staying row refers to."""
    child: FromClause
    if reference.child_dataset is None:
        child = unmapped(reference.child, reference.columns, "s")
        stays: ColumnElement[bool] = true()
    else:
        child = row_of(target.store, reference.child_dataset, "s", columns=reference.columns)
        stays = leaving(child, reference.child_dataset, target).is_not(true())
    joined = _joined(child, reference.columns, parents, reference.to_columns)
    referring = exists(select(literal(1)).select_from(child).where(*joined, stays).correlate_except(child))
    return select(_place(number).label("place"), parents.c[_KEY].label("key")).where(referring)


def _edge(rows: dict[str, CTE], number: dict[str, int], reference: Reference, edge: int) -> Select[Any]:
    """Which leaving row refers to which."""
    child, parent = reference.child_dataset or "", reference.parent_dataset or ""
    below, above = rows[child].alias(f"below_{edge}"), rows[parent].alias(f"above_{edge}")
    return select(
        _place(number[child]).label("child"),
        below.c[_KEY].label("child_key"),
        _place(number[parent]).label("parent"),
        above.c[_KEY].label("parent_key"),
    ).join_from(below, above, and_(*_joined(below, reference.columns, above, reference.to_columns)))


def _joined(child: FromClause, columns: Iterable[str], parent: FromClause, to_columns: Sequence[str]) -> list[ColumnElement[bool]]:
    return [child.c[a] == parent.c[b] for a, b in zip(columns, to_columns, strict=True)]
