"""The rows that a step should have deleted, as the check sees them: frames of (table oid, row place, clock's value).

A different shape from the purge's predicate on purpose: joins and aggregates over frames instead of conditions on a row, and a least
fixpoint over row places for what may stay. Every frame starts from a range of the clock's index, so that its cost follows the
due rows that are left, not the live part of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from lethe.catalog.model import Clock, Store
from lethe.plan.model import ContractShield, HoldScope, KeptFor, Predicate, Step
from lethe.verify.references import Reference
from lethe.verify.text import (
    AT,
    REL,
    TUP,
    Chain,
    as_instant,
    conditions,
    equal,
    instant,
    literal,
    name,
    relation_name,
    table_of,
)

HOLDS = (
    "jsonb_to_recordset(CAST(current_setting('lethe.holds') AS jsonb)) "
    "AS h(dataset text, tenant text, person_dataset text, person_key text, since timestamptz, until timestamptz)"
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the frames of a store's steps are built from. `steps` are the acting ones of the plan in this store."""

    store: Store
    steps: tuple[Step, ...]
    references: tuple[Reference, ...] = ()
    holds: tuple[HoldScope, ...] = field(default=(), repr=False)

    def carried(self, dataset: str) -> list[str]:
        """The columns of a dataset that joins need: its key, what refers, what is referred to."""
        table = table_of(self.store, dataset)
        columns = [*table.key, *(c for r in table.relations.values() for c in r.columns)]
        columns += [c for t in self.store.tables.values() for r in t.relations.values() if r.to == dataset for c in r.to_columns]
        columns += [c for r in self.references if r.parent == dataset for c in r.parent_columns]
        return list(dict.fromkeys(columns))

    def acting_on(self, dataset: str) -> list[Step]:
        """The steps that delete rows of a dataset."""
        return [s for s in self.steps if s.dataset == dataset]

    def dataset_at(self, relation: str) -> str | None:
        """The dataset of a quoted schema.table; None when it is not in the catalog."""
        return next((i for i, t in self.store.tables.items() if relation_name(t) == relation), None)


def predicate_of(step: Step) -> Predicate:
    """The predicate of a step on a table; TypeError for another kind of step."""
    if not isinstance(step.predicate, Predicate):
        raise TypeError(f"step {step.id} is not about a table")
    return step.predicate


def frame(scene: Scene, step: Step) -> str:
    """A query for the rows that the clock, the subset, the live contracts and what rows are kept for say must go, held or not, as
    `~rel, ~tup, ~at` and the carried columns."""
    predicate = predicate_of(step)
    aged = _through(scene, step) if predicate.clock.through else _own(scene, step)
    named = [f"aged AS ({aged})"]
    joins, where = "", []
    if predicate.shield is not None:
        named.append(f"shielded AS ({_shielded(scene, step, predicate.shield)})")
        joins += f" LEFT JOIN shielded AS s ON {same('aged', 's')}"
        where.append(f"s.{REL} IS NULL")
    for number, kept in enumerate(predicate.kept_for):
        named.append(f"needed{number} AS ({_needed(scene, kept)})")
        joins += f" LEFT JOIN needed{number} AS n{number} ON {equal('aged', kept.own, f'n{number}', kept.own)}"
        where.append(f"n{number}.{name(kept.own[0])} IS NULL")
    return f"WITH {', '.join(named)} SELECT aged.* FROM aged{joins} WHERE {' AND '.join(where)}" if where else aged


def _needed(scene: Scene, kept: KeptFor) -> str:
    """Of the tenants that rows of `aged` have, those with a row of what these are kept for: looked up once a tenant, by that table's index."""
    own = ", ".join(f"a.{name(c)}" for c in kept.own)
    there = (
        f"SELECT 1 FROM {relation_name(table_of(scene.store, kept.dataset))} AS f WHERE {equal('f', kept.columns, 'w', kept.own)} LIMIT 1"
    )
    return f"SELECT w.* FROM (SELECT DISTINCT {own} FROM aged AS a) AS w CROSS JOIN LATERAL ({there}) AS one"


def _shielded(scene: Scene, step: Step, shield: ContractShield) -> str:
    """The rows of `aged` that a live contract keeps."""
    predicate, dataset = predicate_of(step), step.dataset or ""
    contracts = Chain(scene.store, dataset, shield.through, root="a", prefix="k")
    ended = f"{contracts.last}.{name(shield.ended)}"
    kind = next((c for c in contracts.table.clocks.values() if _tells_end(scene, contracts, c, shield.ended)), Clock(column=shield.ended))
    lives = f"{ended} IS NULL OR {ended} > {instant(predicate.as_of, kind, ZoneInfo(predicate.zone))}"
    return f"SELECT a.{REL}, a.{TUP} FROM aged AS a{contracts.inner()} WHERE {lives} GROUP BY 1, 2"


def _tells_end(scene: Scene, contracts: Chain, clock: Clock, ended: str) -> bool:
    """Is this clock of the contracts on that very column of theirs, so that it says how the column is stored?"""
    end = Chain(scene.store, contracts.dataset, clock.through, root="c", prefix="e").dataset
    return clock.column == ended and end == contracts.dataset


def same(left: str, right: str) -> str:
    """Are two frame rows one row?"""
    return f"{left}.{TUP} = {right}.{TUP} AND {left}.{REL} = {right}.{REL}"


def _columns(scene: Scene, dataset: str, at: str) -> str:
    return ", ".join([f"r.tableoid AS {REL}", f"r.ctid AS {TUP}", f"{at} AS {AT}", *(f"r.{name(c)}" for c in scene.carried(dataset))])


def _own(scene: Scene, step: Step) -> str:
    """Needs an index on the clock's column; on the first of them for `latest_of`."""
    predicate, dataset = predicate_of(step), step.dataset or ""
    table, clock = table_of(scene.store, dataset), predicate.clock
    low, high, top = (instant(i, clock, ZoneInfo(predicate.zone)) for i in (predicate.start_of_service, predicate.cutoff, predicate.as_of))
    if clock.latest_of:
        own = [f"r.{name(c)}" for c in clock.latest_of]
        where = [f"({c} < {high} OR {c} IS NULL)" for c in own] + ["(" + " OR ".join(f"{c} BETWEEN {low} AND {top}" for c in own) + ")"]
        value = f"(SELECT max(v.c) FROM (VALUES {', '.join(f'({c})' for c in own)}) AS v(c))"
    else:
        value = f"r.{name(clock.column or '')}"
        where = [f"{value} >= {low}", f"{value} < {high}", f"{value} <= {top}"]
    where += conditions("r", predicate.subset)
    return f"SELECT {_columns(scene, dataset, as_instant(value, clock, ZoneInfo(predicate.zone)))} FROM {relation_name(table)} AS r WHERE {' AND '.join(where)}"


def _through(scene: Scene, step: Step) -> str:
    """Needs an index on the reached column: it starts there, and only rows that reach something old are looked at."""
    predicate, dataset = predicate_of(step), step.dataset or ""
    table, clock = table_of(scene.store, dataset), predicate.clock
    low, high, top = (instant(i, clock, ZoneInfo(predicate.zone)) for i in (predicate.start_of_service, predicate.cutoff, predicate.as_of))
    keys = ", ".join(f"r.{name(k)}" for k in table.key)
    subset = "".join(f" AND {c}" for c in conditions("r", predicate.subset))
    seek, whole = (Chain(scene.store, dataset, clock.through, root="r", prefix=p) for p in ("o", "z"))
    old, value = f"{seek.last}.{name(clock.column or '')}", f"{whole.last}.{name(clock.column or '')}"
    reached = f"SELECT {keys} FROM {relation_name(table)} AS r{seek.inner()} WHERE {old} < {high}{subset} GROUP BY {keys}"
    newest = (
        f"SELECT {keys}, max({value}) AS newest FROM old JOIN {relation_name(table)} AS r ON {equal('old', table.key, 'r', table.key)}{whole.inner()} "
        f"GROUP BY {keys} HAVING count(*) = count({value}) AND max({value}) >= {low} AND max({value}) < {high} AND max({value}) <= {top}"
    )
    aged = (
        f"SELECT {_columns(scene, dataset, as_instant('n.newest', clock, ZoneInfo(predicate.zone)))} FROM newest AS n "
        f"JOIN {relation_name(table)} AS r ON {equal('n', table.key, 'r', table.key)}"
    )
    if clock.otherwise:
        other = f"r.{name(clock.otherwise)}"
        none = f"{whole.last}.{name(whole.table.key[0])} IS NULL"
        aged += (
            f" UNION ALL SELECT {_columns(scene, dataset, as_instant(other, clock, ZoneInfo(predicate.zone)))} FROM {relation_name(table)} AS r{whole.outer()} "
            f"WHERE {none} AND {other} >= {low} AND {other} < {high} AND {other} <= {top}{subset}"
        )
    return f"WITH old AS ({reached}), newest AS ({newest}) {aged}"


def held(scene: Scene, step: Step, due: str) -> str:
    """A query for those rows of the frame `due` that a hold keeps. The holds' keys come from the session's setting, never from the text."""
    dataset = step.dataset or ""
    table = table_of(scene.store, dataset)
    holds = [h for h in scene.holds if h.dataset in (None, dataset)]
    predicate = predicate_of(step)
    since = f"d.{AT} >= h.since"
    if predicate.clock.stored_as == "date":  # A date is a whole day: one instant of it in the hold's time is enough.
        zone = literal(predicate.zone)
        since = f"((d.{AT} AT TIME ZONE {zone}) + INTERVAL '1 day') AT TIME ZONE {zone} > h.since"
    bounds = (
        f"(h.dataset IS NULL OR h.dataset = {literal(dataset)}) AND (h.since IS NULL OR {since}) AND (h.until IS NULL OR d.{AT} < h.until)"
    )
    pick = f"SELECT d.{REL}, d.{TUP} FROM {due} AS d"
    branches = []
    if any(h.tenant is None and h.person is None for h in holds):
        branches.append(f"{pick} JOIN {HOLDS} ON {bounds} AND h.tenant IS NULL AND h.person_key IS NULL")
    if table.tenant is not None and any(h.tenant is not None and h.person is None for h in holds):
        joins, key = _key_at(scene, dataset, table.tenant, "t")
        branches.append(f"{pick}{joins} JOIN {HOLDS} ON {bounds} AND h.tenant = {key} AND h.person_key IS NULL")
    for number, path in enumerate(table.persons):
        end = Chain(scene.store, dataset, path, root="d", prefix="x").dataset
        persons = [h for h in holds if h.person is not None and h.person[0] == end]
        joins, key = _key_at(scene, dataset, path, f"p{number}_")
        who = f"h.person_dataset = {literal(end)} AND h.person_key = {key}"
        if any(h.tenant is None for h in persons):
            branches.append(f"{pick}{joins} JOIN {HOLDS} ON {bounds} AND {who} AND h.tenant IS NULL")
        if table.tenant is not None and any(h.tenant is not None for h in persons):
            more, tenant = _key_at(scene, dataset, table.tenant, "t")
            branches.append(f"{pick}{joins}{more} JOIN {HOLDS} ON {bounds} AND {who} AND h.tenant = {tenant}")
    return " UNION ".join(branches) or f"SELECT d.{REL}, d.{TUP} FROM {due} AS d WHERE false"


def _key_at(scene: Scene, dataset: str, path: Sequence[str], prefix: str) -> tuple[str, str]:
    """The joins from the frame row `d` along a path, and the key it ends at, as text.

    A last hop that refers by the key itself is not joined: a log still leads to its tenant when the tenant is gone.
    """
    chain = Chain(scene.store, dataset, path, root="d", prefix=prefix)
    if path and "." not in path[-1]:
        before = Chain(scene.store, dataset, path[:-1], root="d", prefix=prefix)
        relation = before.table.relations[path[-1]]
        if relation.to_columns in ((), chain.table.key):
            return before.inner(), _key_text(before.last, relation.columns)
    return chain.inner(), _key_text(chain.last, chain.table.key)


def _key_text(alias: str, columns: Sequence[str]) -> str:
    cells = [f"{alias}.{name(c)}" for c in columns]
    return f"CAST({cells[0] if len(cells) == 1 else 'ROW(' + ', '.join(cells) + ')'} AS text)"
