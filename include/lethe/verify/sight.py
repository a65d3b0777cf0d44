"""Does the checking role see the whole table? A count by a role that sees a part is a hopeful one, and is refused (PROMISES, L1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from lethe.errors import PartialView
from lethe.plan.model import Step
from lethe.verify.frames import Scene, predicate_of
from lethe.verify.text import name, relation_name, table_of

SAMPLE = 5

_TABLE = text(
    """SELECT c.relkind::text, row_security_active(c.oid) AS filtered, pg_is_in_recovery() AS standby,
       (SELECT count(*) FROM unnest(CAST(:columns AS text[])) AS w(n)
         WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = w.n AND NOT a.attisdropped
                           AND has_column_privilege(c.oid, a.attnum, 'SELECT'))) AS unseen
  FROM pg_class c WHERE c.oid = to_regclass(:table)"""
)

_BEHIND = text("SELECT count(*) FROM pg_stat_replication WHERE replay_lsn IS NULL OR replay_lsn < CAST(:lsn AS pg_lsn)")


def needed_columns(scene: Scene, step: Step) -> list[str]:
    """The columns of the step's own table that its predicate and its joins read."""
    predicate, table = predicate_of(step), table_of(scene.store, step.dataset or "")
    clock = predicate.clock
    own = () if clock.through else (clock.latest_of or (clock.column or "",))
    other = (clock.otherwise,) if clock.otherwise else ()
    return list(dict.fromkeys([*table.key, *own, *other, *(c.column for c in predicate.subset), *scene.carried(step.dataset or "")]))


def see_table(connection: Connection, scene: Scene, step: Step) -> None:
    """PartialView when the table is not there, is no table, is filtered by row security, is read on a standby, or a column cannot be read."""
    table = table_of(scene.store, step.dataset or "")
    row = connection.execute(_TABLE, {"table": relation_name(table), "columns": needed_columns(scene, step)}).one_or_none()
    where = f"{table.db_schema}.{table.table}"
    if row is None:
        raise PartialView(
            f"Table {where} is not there, or the checking role may not see it.", fix="Run `lethe check`; grant USAGE on its schema."
        )
    if row.standby:
        raise PartialView(f"Table {where} was read on a standby.", fix="Point the check connection at the primary.")
    if row.relkind not in ("r", "p"):
        raise PartialView(f"{where} is no table, so it may show only a part.", fix="Catalog the table behind it.")
    if row.filtered:
        raise PartialView(f"Row security hides rows of {where} from the checking role.", fix="ALTER ROLE lethe_checker BYPASSRLS.")
    if row.unseen:
        raise PartialView(
            f"{row.unseen} columns of {where} that the predicate needs cannot be read.",
            fix="GRANT SELECT on the table to the checking role.",
        )


def known_keys(purger: Engine, scene: Scene, step: Step) -> list[list[str | None]]:
    """A few keys, as texts, that the purging role sees: the highest of the primary key, found by its index."""
    table = table_of(scene.store, step.dataset or "")
    keys = ", ".join(f"CAST(r.{name(k)} AS text)" for k in table.key)
    # Qualified: the bare name would mean the text in the answer, by which PostgreSQL reads and sorts the whole table.
    order = ", ".join(f"r.{name(k)} DESC" for k in table.key)
    with purger.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT {keys} FROM {relation_name(table)} AS r ORDER BY {order} LIMIT {SAMPLE}")
        return [list(row) for row in rows]


def unseen_keys(connection: Connection, scene: Scene, step: Step, keys: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Those of `keys` that the connection does not see. The keys are bound, one JSON text, and cast to the columns' own types."""
    table = table_of(scene.store, step.dataset or "")
    whole = relation_name(table)
    rows = connection.execute(
        text(
            "SELECT w.key FROM jsonb_array_elements(CAST(:keys AS jsonb)) AS w(key) "
            f"LEFT JOIN LATERAL (SELECT 1 AS one FROM {whole} AS r WHERE "
            + " AND ".join(
                f"r.{name(k)} = (jsonb_populate_record(CAST(NULL AS {whole}), jsonb_build_object('{k}', w.key -> {i}))).{name(k)}"
                for i, k in enumerate(table.key)
            )
            + " LIMIT 1) AS seen ON true WHERE seen.one IS NULL"
        ),
        {"keys": json.dumps([list(k) for k in keys])},
    )
    return [tuple(row[0]) for row in rows]


def see_known_rows(checker: Engine, purger: Engine, scene: Scene, step: Step) -> int:
    """How many rows that the purging role sees the checking role was shown to see too.

    PartialView when one is hidden from it. A key that the purging role itself no longer sees on a second look was deleted by someone in between.
    """
    keys = known_keys(purger, scene, step)
    if not keys:
        return 0
    with checker.connect() as connection:
        hidden = unseen_keys(connection, scene, step, keys)
    if hidden:
        with purger.connect() as connection:
            gone = {tuple(k) for k in unseen_keys(connection, scene, step, hidden)}
        if any(tuple(k) not in gone for k in hidden):
            table = table_of(scene.store, step.dataset or "")
            raise PartialView(
                f"Rows of {table.db_schema}.{table.table} that the purging role sees are hidden from the checking role.",
                fix="See which database, policy or view the check connection looks at.",
            )
    return len(keys) - len(hidden)


def written_until(connection: Connection) -> str:
    """Where the primary's log ends now: what replicas must have replayed."""
    return str(connection.execute(text("SELECT CAST(pg_current_wal_lsn() AS text)")).scalar_one())


def replicas_behind(connection: Connection, lsn: str) -> int:
    """How many replicas have not replayed the log up to `lsn`. Needs pg_read_all_stats: without it their place is NULL, which counts as behind."""
    return int(connection.execute(_BEHIND, {"lsn": lsn}).scalar_one())
