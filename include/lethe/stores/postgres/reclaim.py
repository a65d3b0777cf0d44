"""VACUUM after a purge, and whether it really made the space reusable (level L2).

VACUUM without the right to it only warns, and rows that an older snapshot, slot or prepared transaction can still see stay on disk:
so its effect is read, never assumed.
"""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from lethe.frozen import Frozen
from lethe.stores.postgres.delete import qualified

_SEES_ALL = text("select pg_has_role('pg_read_all_stats', 'usage') or (select rolsuper from pg_roles where rolname = current_user)")
_HORIZON = text(
    """
    with deleted as (select age(cast(cast(mod(cast(:xid as bigint), 4294967296) as text) as xid)) as age)
    select 'an older snapshot, session ' || a.pid from pg_stat_activity a, deleted
      where a.pid <> pg_backend_pid() and a.backend_xmin is not null and age(a.backend_xmin) >= deleted.age
        and (a.datname = current_database() or a.datname is null) and coalesce(a.query, '') !~* '^\\s*(auto)?vacuum'
    union all select 'replication slot ' || s.slot_name from pg_replication_slots s, deleted where age(s.xmin) >= deleted.age
    union all select 'a prepared transaction' from pg_prepared_xacts p, deleted
      where p.database = current_database() and age(p.transaction) >= deleted.age
    limit 1
    """
)
_LEAVES = text(
    "select c.oid::regclass::text as name, coalesce(s.vacuum_count, 0) as vacuums, coalesce(s.n_dead_tup, 0) as dead "
    "from pg_class c left join pg_stat_all_tables s on s.relid = c.oid "
    "where c.relkind <> 'p' and c.oid in (select relid from pg_partition_tree(to_regclass(:table)) union select to_regclass(:table)) order by 1"
)


class Reclaimed(Frozen):
    """The effect of VACUUM on one table: may its deleted rows' space be used again, and if not, what holds it."""

    table: str
    reusable: bool
    held_by: str | None = None


def reclaim(maintenance: Connection, watcher: Connection, schema: str, table: str, deleted_by: int | None) -> Reclaimed:
    """Vacuums the table (no truncation, which would lock everybody out) and reads what that did.

    `maintenance` is in autocommit. `watcher` has to see other sessions (pg_read_all_stats); when it cannot, nothing is claimed.
    `deleted_by` is the newest transaction that deleted from the table; None when none did, and then only the VACUUM is looked at.
    """
    name = f"{schema}.{table}"
    quoted = qualified(schema, table)
    held_by = _held_by(watcher, deleted_by)
    before = {r.name: r.vacuums for r in maintenance.execute(_LEAVES, {"table": quoted})}
    try:
        maintenance.execute(text(f"VACUUM (TRUNCATE false) {quoted}"))
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state not in {"55P03", "57014"}:
            raise
        return Reclaimed(table=name, reusable=False, held_by="VACUUM could not get its lock" if state == "55P03" else "VACUUM was ended")
    after = {r.name: r.vacuums for r in maintenance.execute(_LEAVES, {"table": quoted})}
    untouched = sorted(t for t, n in before.items() if after.get(t, n + 1) <= n)
    if untouched:
        return Reclaimed(
            table=name, reusable=False, held_by=f"VACUUM did nothing on {len(untouched)} of {len(before)} tables: this role may not"
        )
    return Reclaimed(table=name, reusable=held_by is None, held_by=held_by)


def _held_by(watcher: Connection, deleted_by: int | None) -> str | None:
    if deleted_by is None:
        return None
    if not watcher.scalar(_SEES_ALL):
        return "unknown: this role cannot see other sessions' snapshots"
    found: str | None = watcher.scalar(_HORIZON, {"xid": deleted_by})
    return found
