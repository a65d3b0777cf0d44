"""A first catalog of a database that was never seen: from its schema, keys and names. Pure.

Everything that a person has to confirm is marked `guessed: true` and shown by `lethe check` until the mark is removed. No
retention period is guessed: the starter rules leave it open, and no file with an open period loads.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from lethe.catalog.guess import CLOCK_TYPES, clock_column, column_category, is_person_table, is_tenant_table
from lethe.catalog.live import ForeignKey, LiveSchema, LiveTable

TO_DECIDE = "TO-DECIDE"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_LONGEST_PATH = 3
Clocks = dict[str, dict[str, Any]]


def scan(live: LiveSchema, *, store: str, connection: str, on: date) -> dict[str, Any]:
    """The store's file as a plain value, ready to be written as YAML. `on` is today: an exemption lasts 30 days from it."""
    tables = {n: t for n, t in live.tables.items() if t.kind != "view" and t.partition_of is None and _IDENTIFIER.fullmatch(_bare(n))}
    persons = {n for n in tables if is_person_table(_bare(n))}
    about = {n for n in tables if n in persons or _personal(tables[n])}
    keys = [k for k in live.foreign_keys if k.table in tables and k.to in tables]
    # a table that a personal one leads to is mapped too, so that no relation dangles
    for key in keys:
        if key.table in about:
            about.add(key.to)
    about |= {k.table for k in keys if k.to in about}
    ids = _ids(sorted(about))
    keys = [k for k in keys if k.table in ids and k.to in ids]
    relations = {n: _relations([k for k in keys if k.table == n], ids) for n in ids}
    clocks = _clocks({n: tables[n] for n in ids}, relations, ids)
    tenants = next((n for n in ids if is_tenant_table(_bare(n))), None)
    entries = {
        ids[n]: _entry(
            tables[n],
            ids[n],
            relations[n],
            clocks.get(n, {}),
            _persons(n, persons, relations, ids),
            _tenant(n, tenants, relations, ids),
            n in persons,
        )
        for n in ids
    }
    value: dict[str, Any] = {
        "id": store,
        "kind": "postgresql",
        "connection": connection,
        "check_connection": connection,
        "start_of_service": "2000-01-01T00:00:00+00:00",
        "schemas": sorted({n.partition(".")[0] for n in tables}),
    }
    if tenants:
        value["tenants"] = ids[tenants]
    if persons:
        value["identities"] = [ids[n] for n in sorted(persons)]
    exempt = [n for n in tables if n not in ids]
    if exempt:
        value["exempt"] = [
            {"name": n, "reason": "A guess: no column looks personal.", "owner": TO_DECIDE, "until": on + timedelta(days=30)}
            for n in exempt
        ]
    value["tables"] = entries
    return value


def starter_rules(store: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One rule for each category of a scanned store, its period and reason left open."""
    categories = dict.fromkeys(t["category"] for t in store["tables"].values())
    return [
        {"id": c, "promise": "retention", "category": c, "role": "controller", "clock": "age", "period": TO_DECIDE, "why": TO_DECIDE}
        for c in categories
    ]


def starter_disclosure(store: Mapping[str, Any]) -> dict[str, Any]:
    """What persons would be told of each dataset of a scanned store, every word of it still to be decided."""
    age = {"fr": f"{TO_DECIDE}: la date de l’enregistrement", "en": f"{TO_DECIDE}: the date of the record"}
    source = {"fr": f"{TO_DECIDE}: d’où viennent ces données.", "en": f"{TO_DECIDE}: where this data comes from."}
    return {
        "recipients": {},
        "purposes": {"to-decide": f"{TO_DECIDE}: pourquoi ces données sont utilisées."},
        "clocks": {"age": age},
        "datasets": {
            name: {"title": dict.fromkeys(("fr", "en"), f"{TO_DECIDE}: {name}"), "source": dict(source), "recipients": []}
            for name in store["tables"]
        },
    }


def _bare(name: str) -> str:
    return name.partition(".")[2]


def _personal(table: LiveTable) -> bool:
    return any(column_category(c, of_person=False).startswith("user.") for c in table.columns)


def _ids(names: list[str]) -> dict[str, str]:
    """Dataset ids: the table's own name, with its schema where two are called the same."""
    found: dict[str, str] = {}
    for name in names:
        bare = re.sub(r"[^a-z0-9_]", "_", _bare(name).lower()).strip("_")
        bare = re.sub(r"_+", "_", bare)
        found[name] = bare if bare not in found.values() else re.sub(r"[^a-z0-9]+", "_", name.lower())
    return found


def _relations(keys: list[ForeignKey], ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key in keys:
        stem = re.sub(r"_?id$", "", key.columns[-1].lower()) or ids[key.to]
        stem = re.sub(r"[^a-z0-9]+", "_", stem).strip("_") or ids[key.to]
        name = stem
        while name in found:
            name = f"{name}_{len(found) + 1}"
        found[name] = {"columns": list(key.columns), "to": ids[key.to], "to_columns": list(key.to_columns)}
    return found


def _clocks(tables: dict[str, LiveTable], relations: dict[str, dict[str, dict[str, Any]]], ids: dict[str, str]) -> Clocks:
    found: Clocks = {}
    for name, table in tables.items():
        column = clock_column({c: v.type for c, v in table.columns.items()})
        if column is not None:
            stored = CLOCK_TYPES[re.sub(r"\(\d\)", "", table.columns[column].type)]
            found[name] = (
                {"column": column}
                | ({} if stored == "timestamptz" else {"stored_as": stored})
                | ({"zone": "UTC"} if stored == "timestamp" else {})
            )
    names = {i: n for n, i in ids.items()}
    for name in tables:
        if name in found:
            continue
        for relation, value in relations[name].items():
            parent = found.get(names[value["to"]])
            if parent is not None and "through" not in parent:
                found[name] = {**parent, "through": [relation]}
                break
    return found


def _entry(
    table: LiveTable,
    dataset: str,
    relations: dict[str, dict[str, Any]],
    clock: dict[str, Any],
    persons: list[list[str]],
    tenant: list[str] | None,
    of_person: bool,
) -> dict[str, Any]:
    schema, _, name = table.name.partition(".")
    key = table.primary_key or next(
        (i.columns for i in table.indexes if i.unique and i.valid and i.predicate is None and "" not in i.columns), ()
    )
    columns = {c: {"category": column_category(c, of_person=of_person), "guessed": True} for c in table.columns if _IDENTIFIER.fullmatch(c)}
    entry: dict[str, Any] = {
        "table": name,
        "schema": schema,
        "role": "controller",
        "category": dataset.replace("_", "-"),
        "purposes": ["to-decide"],
        "key": list(key) or list(table.columns)[:1],
    }
    if clock:
        entry["clocks"] = {"age": clock}
    if relations:
        entry["relations"] = relations
    if tenant is not None:
        entry["tenant"] = tenant
    if persons:
        entry["persons"] = persons
    return entry | {"columns": columns}


def _persons(name: str, persons: set[str], relations: dict[str, dict[str, dict[str, Any]]], ids: dict[str, str]) -> list[list[str]]:
    if name in persons:
        return [[]]
    return [path for target in sorted(persons) if (path := _way(name, target, relations, ids))]


def _tenant(name: str, tenants: str | None, relations: dict[str, dict[str, dict[str, Any]]], ids: dict[str, str]) -> list[str] | None:
    if tenants is None:
        return None
    return [] if name == tenants else _way(name, tenants, relations, ids)


def _way(start: str, end: str, relations: dict[str, dict[str, dict[str, Any]]], ids: dict[str, str]) -> list[str] | None:
    """The shortest chain of this row's own relations from `start` to `end`, three hops at most."""
    names = {i: n for n, i in ids.items()}
    queue: deque[tuple[str, list[str]]] = deque([(start, [])])
    seen = {start}
    while queue:
        here, path = queue.popleft()
        if here == end:
            return path
        if len(path) == _LONGEST_PATH:
            continue
        for relation, value in relations[here].items():
            there = names[value["to"]]
            if there not in seen:
                seen.add(there)
                queue.append((there, [*path, relation]))
    return None
