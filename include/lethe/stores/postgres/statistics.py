"""Which technique a table is purged with, chosen from PostgreSQL's own statistics and from who refers to its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, func, select, text

from lethe.errors import WrongCount
from lethe.plan.order import table_name
from lethe.stores.postgres.delete import _DIALECT, going
from lethe.stores.postgres.predicate import Target, predicate_of
from lethe.stores.postgres.tables import dataset_table

Way = Literal["clock windows", "block ranges", "careful", "cycle"]

IN_ORDER = 0.9  # |pg_stats.correlation| from which rows lie in their clock's order
FEW = 0.05  # share of due rows under which the clock's index beats reading every block

_STATISTICS = text(
    "select (select s.correlation from pg_catalog.pg_stats s where s.schemaname = n.nspname and s.tablename = c.relname "
    "and s.attname = :clock order by s.inherited limit 1) as correlation, "
    "c.reltuples, c.relpages, c.relkind::text as kind, pg_table_size(c.oid) as bytes "
    "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = :schema and c.relname = :name"
)
_TRIGGERS = text(
    "select count(*) filter (where t.tgtype & 8 > 0) from pg_catalog.pg_trigger t where not t.tgisinternal and t.tgenabled <> 'D' "
    "and t.tgrelid in (select relid from pg_catalog.pg_partition_tree(to_regclass(:table)) union select to_regclass(:table))"
)
_RULES = text(
    "select count(*) from pg_catalog.pg_rewrite r where r.ev_class = to_regclass(:table) and r.ev_type = '4' and r.ev_enabled <> 'D'"
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a step's rows are deleted. `recount`: triggers fire on deletion, so each batch counts again what it left. `indexed`: an index leads
    to due rows. `row_bytes`: of a row on disk, its large values too, on average."""

    way: Way
    recount: bool
    per_block: float
    indexed: bool = False
    row_bytes: float = 1_000.0


def watched(connection: Connection, target: Target) -> bool:
    """Does a trigger fire when a row of the table is deleted? WrongCount when a rule rewrites its deletions."""
    name = {"table": f'"{target.table.db_schema}"."{target.table.table}"'}
    if connection.scalar(_RULES, name):
        raise WrongCount(
            f"Step {target.step.id}: a rule on {table_name(target.table)} rewrites its deletions, so nothing it reports can be believed.",
            fix="Drop the rule, or disable it while the purge runs.",
        )
    return bool(connection.scalar(_TRIGGERS, name))


def simple(target: Target) -> bool:
    """May its rows be deleted without locking others: the clock is in the row, no contract or other row keeps it, nothing refers to it,
    and no object goes with it?"""
    predicate = predicate_of(target.step)
    return (
        predicate.clock.own and predicate.shield is None and not predicate.kept_for and not target.incoming and target.table.files is None
    )


def choose(connection: Connection, target: Target, *, cyclic: bool = False) -> Choice:
    """The technique for a step, by `pg_stats.correlation` of its clock and by inbound references.

    A table that was never analysed has no correlation: it is read by blocks, which needs no luck.
    """
    recount = watched(connection, target)
    table, predicate = target.table, predicate_of(target.step)
    found = connection.execute(
        _STATISTICS, {"schema": table.db_schema, "name": table.table, "clock": predicate.clock.column or ""}
    ).one_or_none()
    per_block = found.reltuples / found.relpages if found and found.relpages and found.reltuples > 0 else 20.0
    size = found.bytes / found.reltuples if found and found.reltuples > 0 and found.bytes else 1_000.0
    return replace(_chosen(connection, target, found, recount, per_block, cyclic=cyclic), row_bytes=size)


def _chosen(connection: Connection, target: Target, found: Any, recount: bool, per_block: float, *, cyclic: bool) -> Choice:
    predicate = predicate_of(target.step)
    if cyclic:
        return Choice(way="cycle", recount=recount, per_block=per_block)
    if not simple(target):
        return Choice(way="careful", recount=recount, per_block=per_block)
    indexed = predicate.clock.column is not None and _indexed(target)
    if found is not None and found.kind == "p":
        return Choice(way="clock windows" if indexed else "careful", recount=recount, per_block=per_block)
    in_order = found is not None and found.correlation is not None and abs(found.correlation) >= IN_ORDER
    if indexed and (in_order or (found and found.reltuples > 0 and _due_rows(connection, target) < FEW * found.reltuples)):
        return Choice(way="clock windows", recount=recount, per_block=per_block)
    return Choice(way="block ranges", recount=recount, per_block=per_block, indexed=indexed)


def _indexed(target: Target) -> bool:
    """Without a live schema the catalog's word is taken: `lethe check` asks for an index on every clock."""
    column = predicate_of(target.step).clock.column or ""
    found = target.live.tables.get(table_name(dataset_table(target.store, target.dataset))) if target.live else None
    return found is None or found.indexed(column)


def _due_rows(connection: Connection, target: Target) -> float:
    """The planner's guess at the due rows: a choice rests on it, no number of a report."""
    row = target.row()
    query = select(func.now()).select_from(row).where(going(row, target, ()))
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled.string}", compiled.construct_params())
    plan = answer.scalar_one()
    return float((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


_DELETED = text(
    "select n.nspname || '.' || c.relname as name, sum(s.d) as rows from (select coalesce(pg_partition_root(oid), oid) as root, "
    "pg_stat_get_xact_tuples_deleted(oid) as d from pg_class where relkind = 'r' and relnamespace not in "
    "('pg_catalog'::regnamespace, 'information_schema'::regnamespace)) s join pg_class c on c.oid = s.root "
    "join pg_namespace n on n.oid = c.relnamespace where s.d > 0 and n.nspname not like 'pg\\_%' group by 1"
)


def deleted_by_table(connection: Connection) -> dict[str, int]:
    """What PostgreSQL itself has counted as deleted in this session and not yet flushed, by `schema.table`, cascades included; a
    partition counts as its root. Two readings in one transaction differ by what that transaction deleted."""
    return {row.name: int(row.rows) for row in connection.execute(_DELETED)}


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was counted between two readings, tables without a change left out."""
    return {table: rows - before.get(table, 0) for table, rows in after.items() if rows != before.get(table, 0)}
