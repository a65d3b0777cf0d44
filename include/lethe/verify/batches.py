"""What the batches of a step say, read from Lethe's own database by queries of the check's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from lethe.control.tables import SCHEMA
from lethe.errors import Uncountable
from lethe.plan.model import Counts
from lethe.verify.text import literal, name

_BATCHES = text(
    f"""SELECT state, technique, coalesce(rows, 0) AS rows, coalesce(CAST(details ->> 'arrived' AS bigint), 0) AS arrived,
       coalesce(CAST(details ->> 'failed' AS bigint), 0) AS failed, coalesce(CAST(details ->> 'vanished' AS bigint), 0) AS vanished,
       CAST(coalesce(details ->> 'xor', details ->> 'fingerprint') AS bigint) AS fingerprint
  FROM {SCHEMA}.batches WHERE plan = :plan AND attempt = :attempt AND step = :step"""
)
_PLANNED = text(f"SELECT counts, details, keys FROM {SCHEMA}.plan_counts WHERE plan = :plan AND attempt = :attempt AND step = :step")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What was counted before the purge. `xor` is the fingerprint of the frozen keys, None when none was taken."""

    counts: Counts
    keys: bytes | None = None
    xor: int | None = None


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """The committed batches of a step, added up: rows, those that arrived after the plan, those refused or already gone (objects), and
    the fingerprint of the rows that had not arrived since. `open` batches have no known end."""

    rows: int = 0
    arrived: int = 0
    failed: int = 0
    vanished: int = 0
    xor: int = 0
    open: int = 0
    in_transactions: int = 0


def read_planned(control: Connection, plan: str, attempt: int, step: str) -> Planned:
    """The stored counts of a step; Uncountable when there are none: what was not planned cannot be accounted for."""
    row = control.execute(_PLANNED, {"plan": plan, "attempt": attempt, "step": step}).one_or_none()
    if row is None:
        raise Uncountable(f"Step {step!r} has no planned counts.", fix="Plan the run again: a purge without a count cannot be verified.")
    fingerprint: Any = (row.details or {}).get("fingerprint")
    xor = fingerprint.get("xor") if isinstance(fingerprint, dict) else fingerprint
    return Planned(counts=Counts.model_validate(row.counts), keys=row.keys, xor=None if xor is None else int(xor))


def read_deleted(control: Connection, plan: str, attempt: int, step: str) -> Deleted:
    """The batches of a step, added up."""
    rows = arrived = failed = vanished = xor = unfinished = in_transactions = 0
    for batch in control.execute(_BATCHES, {"plan": plan, "attempt": attempt, "step": step}):
        if batch.state in ("intent", "unknown"):
            unfinished += 1
        if batch.state != "committed":
            continue
        rows += batch.rows
        arrived += batch.arrived
        failed += batch.failed
        vanished += batch.vanished
        xor ^= batch.fingerprint or 0
        if not batch.technique.startswith("partition"):
            in_transactions += batch.rows
    return Deleted(rows=rows, arrived=arrived, failed=failed, vanished=vanished, xor=xor, open=unfinished, in_transactions=in_transactions)


def broken_batches(plan: str, attempt: int, step: str) -> str:
    """One row when a batch of the step has no known end: what it did cannot be told. Asked of Lethe's own database."""
    return (
        f'SELECT count(*) AS open FROM {name(SCHEMA)}."batches" WHERE plan = {literal(plan)} AND attempt = {int(attempt)} '
        f"AND step = {literal(step)} AND state IN ('intent', 'unknown') HAVING count(*) > 0"
    )


def broken_statistics(plan: str, attempt: int, step: str, own: str) -> str:
    """One row when PostgreSQL's own count of deletions in the transactions of a step, cascades and triggers included, differs from its batches.

    Asked of Lethe's own database. `own` is the step's table as the statistics name it: schema.table. Batches of one transaction (`xid`) count
    together. A dropped partition's rows are not counted by PostgreSQL, so those batches are left out.
    """
    return f"""SELECT count(*) AS transactions FROM (
  SELECT coalesce(b.xid, -b.id) AS xid, sum(b.rows) AS said, bool_and(b.details ? 'statistics') AS told,
         min((SELECT sum(CAST(e.value AS bigint)) FROM jsonb_each_text(b.details -> 'statistics') AS e)) AS counted,
         bool_and(b.step <> {literal(step)} OR coalesce(CAST(b.details -> 'statistics' ->> {literal(own)} AS bigint), 0) >= b.rows) AS own
    FROM {name(SCHEMA)}."batches" AS b
   WHERE b.plan = {literal(plan)} AND b.attempt = {int(attempt)} AND b.state = 'committed' AND b.technique NOT LIKE 'partition%'
   GROUP BY 1 HAVING bool_or(b.step = {literal(step)})) AS t
 WHERE t.said <> coalesce(t.counted, 0) OR NOT t.told OR NOT t.own HAVING count(*) > 0"""


def baseline(engine: Engine) -> dict[str, int]:
    """Rows ever deleted per table (schema.table; partitions and what has them left out), by the server's cumulative statistics: taken before a purge,
    given to the check after it. The key "" is the server's statistics epoch: numbers of two epochs do not compare."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT s.schemaname || '.' || s.relname, s.n_tup_del FROM pg_stat_user_tables s "
            "JOIN pg_class c ON c.oid = s.relid WHERE c.relkind = 'r' AND NOT c.relispartition"
        )
        found = {str(table): int(deleted) for table, deleted in rows}
        found[""] = int(connection.exec_driver_sql(_EPOCH).scalar_one())
    return found


_EPOCH = (
    "SELECT CAST(extract(epoch FROM coalesce((SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()), TIMESTAMPTZ 'epoch')) "
    "* 1000 + extract(epoch FROM coalesce((SELECT stats_reset FROM pg_stat_bgwriter), TIMESTAMPTZ 'epoch')) * 1000 AS bigint)"
)
"""When the statistics were last reset: by hand for this database, or (the background writer's) by the recovery from a crash, which drops them all."""


def broken_cumulative(table: str, before: int, said: int, epoch: int) -> str:
    """One row when the server counts fewer deletions from `table` (schema.table) since `before` than the batches say. Others may delete more,
    and numbers of another `epoch` prove nothing: then what each transaction recorded is all there is."""
    own = f"coalesce((SELECT n_tup_del FROM pg_stat_user_tables WHERE schemaname || '.' || relname = {literal(table)}), 0)"
    return f"SELECT {own} AS deleted WHERE {own} - {int(before)} < {int(said)} AND ({_EPOCH}) = {int(epoch)}"
