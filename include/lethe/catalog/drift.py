"""The catalog of a PostgreSQL store against its live schema, both ways (promise `every-system-covered`). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lethe.catalog.live import ForeignKey, LiveSchema, LiveTable
from lethe.catalog.model import Clock, Store, Table
from lethe.catalog.paths import follow
from lethe.errors import UnknownName
from lethe.findings import CheckFinding, Kind

_TYPES = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone", "date": "date"}


def drift(store: Store, live: LiveSchema) -> list[CheckFinding]:
    """What exists and is not classified, and what is classified and does not exist; then keys, clocks and relations.

    `live` should hold every schema, so that a table outside the declared ones is found too. Partitions stand under their
    parent; a plain view holds no data of its own. A materialised view and a foreign table have to be classified.
    """
    exempt = {e.name for e in store.exempt}
    mapped = {f"{t.db_schema}.{t.table}": name for name, t in store.tables.items()}
    found = [*unmapped_tables(store, live)]
    for name, table in store.tables.items():
        there = live.tables.get(f"{table.db_schema}.{table.table}")
        if there is None:
            found.append(
                _finding(
                    "table not in database",
                    name,
                    f"{table.db_schema}.{table.table} is not there.",
                    "Remove it from the catalog, or find where it went.",
                )
            )
            continue
        found += _columns(name, table, there, exempt)
        found += _keys(name, table, there)
        found += _files(name, table, there)
        for clock_id, clock in table.clocks.items():
            found += _clock(store, live, name, clock_id, clock)
    found += _relations(store, live, mapped)
    found += _exemptions(store, live)
    return found


def _finding(kind: Kind, where: str, problem: str, fix: str, *, stops: bool = True) -> CheckFinding:
    return CheckFinding(kind=kind, where=where, problem=problem, fix=fix, stops=stops)


def unmapped_tables(store: Store, live: LiveSchema) -> Iterator[CheckFinding]:
    """The tables of the database, of the schemas that were asked for, that are neither in the catalog nor exempted; `where` names each."""
    mapped = {f"{t.db_schema}.{t.table}" for t in store.tables.values()}
    exempt = {e.name for e in store.exempt}
    for name, table in live.tables.items():
        schema = name.partition(".")[0]
        if table.kind == "view" or table.partition_of in live.tables or name in mapped or {name, schema} & exempt:
            continue
        outside = "" if schema in store.schemas else f" Its schema {schema} is not declared either."
        yield _finding(
            "table not mapped",
            name,
            f"The {table.kind} is not in the catalog.{outside}",
            "Classify it (`lethe scan` writes a first entry), or exempt it with reason, owner and date.",
            stops=False,
        )


def _columns(name: str, table: Table, there: LiveTable, exempt: set[str]) -> Iterator[CheckFinding]:
    for column in there.columns:
        if column not in table.columns and f"{there.name}.{column}" not in exempt:
            yield _finding(
                "column not mapped", f"{name}.{column}", "The column is not in the catalog.", "Classify or exempt it.", stops=False
            )
    for column in table.columns:
        if column not in there.columns:
            yield _finding(
                "column not in database",
                f"{name}.{column}",
                f"{there.name} has no such column.",
                "Remove it from the catalog, or correct its name.",
            )


def _keys(name: str, table: Table, there: LiveTable) -> Iterator[CheckFinding]:
    if all(c in there.columns for c in table.key) and not there.unique_on(table.key) and there.kind in ("table", "partitioned"):
        yield _finding(
            "key is not unique", name, "No primary key or unique index says that the key names one row.", "Take the primary key's columns."
        )


def _files(name: str, table: Table, there: LiveTable) -> Iterator[CheckFinding]:
    """Before an object goes, every other row is asked whether it names it."""
    if table.files is not None and table.files.column in there.columns and not there.indexed(table.files.column):
        yield _finding(
            "path without index",
            f"{name} files",
            f"{there.name} has no index on `{table.files.column}`.",
            f"Create an index on {there.name} ({table.files.column}), a unique one where no two rows may name one object.",
            stops=False,
        )


def _clock(store: Store, live: LiveSchema, name: str, clock_id: str, clock: Clock) -> Iterator[CheckFinding]:
    where = f"{name} clock {clock_id}"
    try:
        steps = follow(store, name, clock.through)
    except UnknownName:
        return  # check_catalog says so
    for step in steps:
        reached = _live(store, live, step.end)
        target = store.tables[step.end]
        columns = step.relation.columns if step.back else step.relation.to_columns or target.key
        if reached is not None and set(columns) <= set(reached.columns) and not reached.indexed(*columns):
            yield _finding(
                "path without index",
                where,
                f"No index leads to {reached.name} by ({', '.join(columns)}).",
                "Create one: every row asks there.",
                stops=False,
            )
    end = steps[-1].end if steps else name
    owned = [(end, c) for c in (clock.column, *clock.latest_of) if c] + ([(name, clock.otherwise)] if clock.otherwise else [])
    for dataset, column in owned:
        there = _live(store, live, dataset)
        if there is None or column not in there.columns:
            continue  # said already
        live_type = there.columns[column].type.replace("(6)", "")
        if live_type != _TYPES[clock.stored_as]:
            yield _finding(
                "kind of clock",
                where,
                f"`{column}` is {live_type}, the catalog says {clock.stored_as}.",
                "Correct `stored_as` (and give a `zone`).",
            )
        elif dataset == name and not steps and not there.indexed(column):
            yield _finding(
                "clock without index",
                where,
                f"{there.name} has no index on `{column}`.",
                f"Create an index on {there.name} ({column}).",
                stops=False,
            )


def _live(store: Store, live: LiveSchema, dataset: str) -> LiveTable | None:
    table = store.tables[dataset]
    return live.tables.get(f"{table.db_schema}.{table.table}")


def _relations(store: Store, live: LiveSchema, mapped: dict[str, str]) -> Iterator[CheckFinding]:
    for key in live.foreign_keys:
        if key.table not in mapped or key.to not in mapped:
            continue
        if not any(_same(store, key, r.columns, r.to, mapped) for r in store.tables[mapped[key.table]].relations.values()):
            yield _finding(
                "relation not mapped",
                mapped[key.table],
                f"The foreign key ({', '.join(key.columns)}) to {key.to} is no relation of the catalog.",
                f"Add a relation to `{mapped[key.to]}`.",
                stops=False,
            )


def _same(store: Store, key: ForeignKey, columns: tuple[str, ...], to: str, mapped: dict[str, str]) -> bool:
    return set(columns) == set(key.columns) and to == mapped[key.to]


def _exemptions(store: Store, live: LiveSchema) -> Iterator[CheckFinding]:
    there = set(live.tables) | {n.partition(".")[0] for n in live.tables}
    there |= {f"{n}.{c}" for n, t in live.tables.items() for c in t.columns}
    for exemption in store.exempt:
        if exemption.name not in there:
            yield _finding(
                "exemption of nothing",
                f"{store.id} {exemption.name}",
                "What is exempted is not there.",
                "Remove the exemption.",
                stops=False,
            )
