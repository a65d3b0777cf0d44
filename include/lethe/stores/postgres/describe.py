"""A PostgreSQL database as a LiveSchema, read from its catalogs only: six queries, whatever the number of tables.

Statistics and definitions are readable by any role, so that an unmapped table is seen even where its rows may not be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError

from lethe.catalog.live import ForeignKey, LiveColumn, LiveIndex, LiveSchema, LiveTable
from lethe.errors import Unreachable

_KINDS = {"r": "table", "p": "partitioned", "v": "view", "m": "matview", "f": "foreign"}
_ON_DELETE = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}
_STRATEGIES = {"r": "range", "l": "list", "h": "hash"}
_OURS = """
    pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname <> 'information_schema' and n.nspname !~ '^pg_' and c.relpersistence <> 't'
      and (cast(:schemas as text[]) is null or n.nspname::text = any(cast(:schemas as text[])))
"""
_FIRST_MADE = 16384
"""Types with a lower oid are PostgreSQL's own; extensions and people make those above."""

_INNER = """
    coalesce(case t.typtype when 'd' then t.typbasetype
        when 'r' then (select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid)
        when 'm' then (select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = t.oid)
        when 'b' then case when t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc then t.typelem end end, 0)
"""
"""The type that a domain is based on, that an array or a range is of, that a multirange is made of; 0 for any other type."""

_TABLES = f"""
    select c.oid, n.nspname, c.relname, c.relkind, c.relispartition, c.reltuples, c.relrowsecurity,
           pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound,
           (select pn.nspname || '.' || p.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class p on p.oid = i.inhparent
            join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = c.oid order by i.inhseqno limit 1) as parent,
           (select k.partstrat from pg_catalog.pg_partitioned_table k where k.partrelid = c.oid) as strategy,
           (select array_agg(coalesce(a.attname::text, '') order by o.ord) from pg_catalog.pg_partitioned_table k
            cross join lateral unnest(k.partattrs::int2[]) with ordinality as o(attnum, ord)
            left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = o.attnum and o.attnum > 0
            where k.partrelid = c.oid) as partition_key,
           (select array_agg(t.tgname::text order by t.tgname) from pg_catalog.pg_trigger t
            where t.tgrelid = c.oid and not t.tgisinternal) as triggers
    from {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f') order by n.nspname, c.relname
"""
_COLUMNS = f"""
    select a.attrelid, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod) as type, not a.attnotnull as nullable
    from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped
      and a.attrelid in (select c.oid from {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f')) order by a.attrelid, a.attnum
"""
_TYPES = f"""
    with recursive used(oid) as (
        select a.atttypid from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped
          and a.attrelid in (select c.oid from {_OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f'))
        union
        select {_INNER} from used u join pg_catalog.pg_type t on t.oid = u.oid where {_INNER} <> 0)
    select t.oid, {_INNER} as inner, case t.typtype when 'd' then 'domain' when 'e' then 'enum' when 'c' then 'composite' when 'r' then 'range'
           when 'm' then 'multirange' else case when {_INNER} <> 0 then 'array' when t.oid < {_FIRST_MADE} and t.typtype = 'b'
           then pg_catalog.format_type(t.oid, null) else 'other' end end as kind
    from used u join pg_catalog.pg_type t on t.oid = u.oid
"""
_INDEXES = f"""
    select x.indrelid, i.relname, x.indisprimary, x.indisunique, x.indisvalid and x.indisready as valid, m.amname,
           pg_catalog.pg_get_expr(x.indpred, x.indrelid) as predicate,
           (select array_agg(coalesce(a.attname::text, '') order by o.ord) from unnest(x.indkey::int2[]) with ordinality as o(attnum, ord)
            left join pg_catalog.pg_attribute a on a.attrelid = x.indrelid and a.attnum = o.attnum and o.attnum > 0
            where o.ord <= x.indnkeyatts) as columns
    from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid join pg_catalog.pg_am m on m.oid = i.relam
    where x.indrelid in (select c.oid from {_OURS}) order by x.indrelid, i.relname
"""
_FOREIGN_KEYS = f"""
    select k.conname, fn.nspname || '.' || f.relname as source, tn.nspname || '.' || t.relname as target,
           k.confdeltype, k.condeferrable, k.convalidated,
           (select array_agg(a.attname::text order by o.ord) from unnest(k.conkey) with ordinality as o(attnum, ord)
            join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = o.attnum) as columns,
           (select array_agg(a.attname::text order by o.ord) from unnest(k.confkey) with ordinality as o(attnum, ord)
            join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = o.attnum) as to_columns
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class f on f.oid = k.conrelid join pg_catalog.pg_namespace fn on fn.oid = f.relnamespace
    join pg_catalog.pg_class t on t.oid = k.confrelid join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
    where k.contype = 'f' and k.conparentid = 0
      and (k.conrelid in (select c.oid from {_OURS}) or k.confrelid in (select c.oid from {_OURS}))
    order by source, k.conname
"""


def describe(source: Engine | Connection, schemas: Sequence[str] | None = None) -> LiveSchema:
    """Every table of `schemas` (None: of every schema but PostgreSQL's own), and every foreign key that touches one of them.

    Foreign keys that PostgreSQL copied to partitions are left out: their parent stands for them. Raises Unreachable when the
    database does not answer.
    """
    if isinstance(source, Connection):
        return _read(source, schemas)
    try:
        with source.connect() as connection:
            return _read(connection, schemas)
    except (OperationalError, InterfaceError) as error:
        state = getattr(error.orig, "sqlstate", None)
        raise Unreachable(
            f"The database {source.url.database!r} did not answer{f' (SQLSTATE {state})' if state else ''}.",
            fix="Look at the connection's host, port and login, and at whether the server runs.",
        ) from None


def _read(connection: Connection, schemas: Sequence[str] | None) -> LiveSchema:
    given = {"schemas": None if schemas is None else list(schemas)}
    types = {t.oid: (t.kind, t.inner) for t in connection.execute(text(_TYPES), given)}
    columns: dict[int, dict[str, LiveColumn]] = defaultdict(dict)
    for c in connection.execute(text(_COLUMNS), given):
        columns[c.attrelid][c.attname] = LiveColumn(type=c.type, nullable=c.nullable, kinds=_kinds(c.atttypid, types))
    indexes: dict[int, list[LiveIndex]] = defaultdict(list)
    primary: dict[int, tuple[str, ...]] = {}
    for i in connection.execute(text(_INDEXES), given):
        if i.indisprimary:
            primary[i.indrelid] = tuple(i.columns)
        indexes[i.indrelid].append(
            LiveIndex(name=i.relname, columns=tuple(i.columns), unique=i.indisunique, valid=i.valid, predicate=i.predicate, method=i.amname)
        )
    tables = {
        f"{t.nspname}.{t.relname}": _table(t, columns[t.oid], primary.get(t.oid, ()), tuple(indexes[t.oid]))
        for t in connection.execute(text(_TABLES), given)
    }
    keys = tuple(
        ForeignKey(
            name=k.conname,
            table=k.source,
            columns=tuple(k.columns),
            to=k.target,
            to_columns=tuple(k.to_columns),
            on_delete=_ON_DELETE[k.confdeltype],
            deferrable=k.condeferrable,
            validated=k.convalidated,
        )
        for k in connection.execute(text(_FOREIGN_KEYS), given)
    )
    return LiveSchema(tables=_with_rows_of_partitions(tables), foreign_keys=keys)


def _kinds(oid: int, types: dict[int, tuple[str, int]]) -> tuple[str, ...]:
    """What a type is made of, outermost first."""
    found: list[str] = []
    while oid in types:
        kind, oid = types[oid]
        found.append(kind)
    return tuple(found)


def _table(row: Any, columns: dict[str, LiveColumn], primary_key: tuple[str, ...], indexes: tuple[LiveIndex, ...]) -> LiveTable:
    kind = "partition" if row.relispartition and row.relkind == "r" else _KINDS[row.relkind]
    return LiveTable(
        name=f"{row.nspname}.{row.relname}",
        kind=kind,
        columns=columns,
        primary_key=primary_key,
        indexes=indexes,
        partition_of=row.parent if row.relispartition else None,
        partition_key=tuple(row.partition_key or ()),
        partition_strategy=_STRATEGIES[row.strategy] if row.strategy else None,
        bound=row.bound,
        inherits=row.parent is not None and not row.relispartition,
        row_security=row.relrowsecurity,
        triggers=tuple(row.triggers or ()),
        rows=None if row.reltuples < 0 else int(row.reltuples),
    )


def _with_rows_of_partitions(tables: dict[str, LiveTable]) -> dict[str, LiveTable]:
    """A partitioned table that was never analysed itself has the rows of its partitions, when all of them are known."""
    children: dict[str, list[LiveTable]] = defaultdict(list)
    for table in tables.values():
        if table.partition_of:
            children[table.partition_of].append(table)

    def rows(table: LiveTable) -> int | None:
        if table.kind != "partitioned" or table.rows is not None:
            return table.rows
        counts = [rows(c) for c in children[table.name]]
        return None if any(c is None for c in counts) else sum(c for c in counts if c is not None)

    return {name: table.model_copy(update={"rows": rows(table)}) for name, table in tables.items()}
