"""The catalog held against the live databases: what a run must not start on, and what a night must not be silent about (invariant 6).

A run stops where its own tables or columns are not what the catalog says. A table or column that nobody mapped elsewhere does not keep
the mapped ones from being purged: it makes the night red when it is recorded (promises `every-system-covered`, `only-needed-data`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date

from lethe.catalog.check import check_catalog
from lethe.catalog.drift import drift
from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Catalog, Store
from lethe.errors import Drifted, LetheError
from lethe.findings import CheckFinding, Kind
from lethe.plan.model import Plan, Predicate
from lethe.plan.order import visited
from lethe.policy.model import PolicyVersion
from lethe.workspace import Workspace

MISSING: frozenset[Kind] = frozenset({"table not in database", "column not in database"})
UNMAPPED: frozenset[Kind] = frozenset({"table not mapped", "column not mapped"})
_OF_DATASETS = MISSING | {"column not mapped", "key is not unique", "kind of clock"}
"""The kinds whose `where` begins with a dataset: `logs`, `logs.email`, `logs clock event`."""


def refuse_drift(workspace: Workspace, plan: Plan, live: Mapping[str, LiveSchema]) -> None:
    """Raises Drifted, by name, when a run would rest on a table or column that is not what the catalog says."""
    found = stopping(plan, workspace.catalog, live)
    if found:
        named = "; ".join(f"{f.where}: {f.problem}" for f in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise Drifted(f"The catalog is not what the database is: {named}{more}", fix="`lethe check` lists all of it. Nothing was deleted.")


def stopping(plan: Plan, catalog: Catalog, live: Mapping[str, LiveSchema]) -> list[CheckFinding]:
    """The drift that stops this plan. Pure.

    In a dataset that a step acts on: whatever makes it untrue, an unmapped column too. In one that is only counted, or that a clock, a
    contract, a tenant or a person is found through: a table or column that is not there, or a key that names no single row.
    """
    found = []
    for store in catalog.stores:
        if store.id not in live:
            continue
        acting = {s.dataset for s in plan.steps if s.acts and s.store == store.id}
        read = set(_read(plan, store))
        for finding in drift(store, live[store.id]):
            dataset = dataset_of(finding)
            within = dataset in acting and (finding.stops or finding.kind == "column not mapped")
            beside = dataset in read and finding.kind in MISSING | {"key is not unique"}
            if within or beside:
                found.append(finding)
    return found


def dataset_of(finding: CheckFinding) -> str | None:
    """The dataset that a finding of `drift` is about; None when it is about none, as an unmapped table is."""
    return re.split(r"[. ]", finding.where, maxsplit=1)[0] if finding.kind in _OF_DATASETS else None


def uncovered(workspace: Workspace, policy: PolicyVersion, *, on: date) -> tuple[str, ...]:
    """What exists in a database and is neither mapped nor exempted on that day, or the other way round, and every personal column
    without a purpose; by kind and name. A store that cannot be looked at is named too: nothing is known about it."""
    found = [f"{f.kind}: {f.where}" for f in check_catalog(workspace.catalog, policy, on=on) if f.kind == "personal column not covered"]
    for store in workspace.catalog.stores:
        if store.kind != "postgresql":
            continue
        in_force = store.model_copy(update={"exempt": tuple(e for e in store.exempt if e.until >= on)})
        try:
            found += [f"{f.kind}: {f.where}" for f in drift(in_force, workspace.live(store)) if f.kind in MISSING | UNMAPPED]
        except LetheError as error:
            found.append(f"store {store.id} not compared: {error.problem}")
    return tuple(found)


def _read(plan: Plan, store: Store) -> Iterator[str]:
    """Every dataset of the store that counting or purging this plan looks into; holds are found along tenants and persons."""
    for step in plan.steps:
        if not isinstance(step.predicate, Predicate) or step.dataset is None or step.store != store.id:
            continue
        table = store.tables[step.dataset]
        shield = step.predicate.shield
        yield step.dataset
        yield from (k.dataset for k in step.predicate.kept_for)
        for path in (step.predicate.clock.through, shield.through if shield else (), table.tenant or (), *table.persons):
            yield from visited(store, step.dataset, path)
