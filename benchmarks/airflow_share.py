"""Airflow's share of a nightly run: the part of a real DAG run's time in which no part of Lethe's library was at work.

A demo of its own, with Airflow's four programs and its scheduler. `2 x rows` log rows lie in its two plain log tables, over two years
up to the run's `as_of`: half of them are due in the first night, a 730th of all in the ordinary night after it. Approvals are given
beforehand. The run's time is what Airflow's REST API says, from the DAG run's start to its end, the scheduler's pauses included.
The seconds inside the library are taken in the task processes of that very run (`tap/sitecustomize.py`); groups of tables that are
purged side by side count once. Whatever is left is Airflow's: scheduling, starting task processes, imports, XComs, the run's end.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import LiteralString
from unittest.mock import patch

from psycopg import sql

from benchmarks.score import Row, at_most
from benchmarks.world import Ground
from demo import environment
from demo.home import PROJECT
from demo.trial import Api, Demo, airflow_of, demo_in, task_log
from lethe.control.approvals import approve
from lethe.control.results import load_results
from lethe.control.runs import run_of
from lethe.retention import plan_run
from lethe.workspace import Workspace

DAG = "retention_purge"
TARGET = 0.2
TAP = Path(__file__).parent / "tap"
PARTS = ("plan_run", "guard_run", "purge_run_group", "verify_run", "record_run")

_ROWS: dict[str, LiteralString] = {
    "technical_logs": """
INSERT INTO app.technical_logs (occurred_at, tenant_id, user_id, level, host, request_id, ip, user_agent, path, message, context)
SELECT %(first)s + n * ((%(last)s - %(first)s) / %(rows)s), n %% 500, n %% 20000, (array['INFO','INFO','INFO','WARN','ERROR'])[1 + n %% 5],
       'web-' || n %% 12, gen_random_uuid(), ('10.' || n %% 250 || '.' || (n / 250) %% 250 || '.7')::inet, 'Mozilla/5.0',
       '/api/v2/things/' || n %% 1000, repeat(md5(n::text), 4), jsonb_build_object('ms', n %% 900, 'route', 'things.show')
FROM generate_series(0, %(rows)s - 1) AS n
""",
    "user_actions": """
INSERT INTO app.user_actions (occurred_at, tenant_id, user_id, session_id, action, object_type, object_id, ip, detail)
SELECT %(first)s + n * ((%(last)s - %(first)s) / %(rows)s), n %% 500, n %% 20000, gen_random_uuid(), 'appointment.create', 'appointment',
       n, ('10.' || n %% 250 || '.' || (n / 250) %% 250 || '.7')::inet, jsonb_build_object('ms', n %% 900, 'note', repeat(md5(n::text), 4))
FROM generate_series(0, %(rows)s - 1) AS n ORDER BY hashint8(n)
""",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One DAG run: how long it took, how long at least one part of the library was at work in it, and each part's own seconds."""

    wall: float
    inside: float
    parts: dict[str, float] = field(default_factory=dict)
    deleted: int = 0

    @property
    def share(self) -> float:
        """The part of the run's time that is Airflow's."""
        return 1 - self.inside / self.wall

    def told(self) -> str:
        """The run in words."""
        parts = ", ".join(f"{name.split('_')[0]} {seconds:.1f}" for name, seconds in self.parts.items())
        return f"{self.deleted:,} deleted in {self.wall:.1f} s, of them {self.inside:.1f} s inside the library ({parts})"


def measure(ground: Ground) -> list[Row]:
    """Airflow's share of the first night over twice the ground's rows; the ordinary night after it is told in the detail."""
    rows, first, ordinary = 2 * ground.rows, list[Measured](), list[Measured]()
    with _airflow() as (demo, api, tap):
        last = demo.as_of - timedelta(days=1)
        _switch_on(demo, api)
        for _ in range(ground.repeat):
            print(f"  loading {rows:,} log rows ...", flush=True)
            for table in _ROWS:
                _fill(demo, table, rows // len(_ROWS), last)
            first.append(_night(demo, api, tap, last))
            ordinary.append(_night(demo, api, tap, demo.as_of))
    usual = ", ".join(f"{night.share:.2f} of {night.wall:.1f} s" for night in ordinary)
    detail = (
        f"{rows:,} log rows, half of them due: {first[-1].told()}; "
        f"the ordinary night after it, no target: {ordinary[-1].told()}, Airflow's share {usual}"
    )
    return [at_most("Airflow's share of a nightly run", [night.share for night in first], TARGET, detail=detail)]


@contextmanager
def _airflow() -> Iterator[tuple[Demo, Api, Path]]:
    """A small demo with its Airflow, whose task processes are tapped; and the file that they write to."""
    plain = environment.variables
    with tempfile.TemporaryDirectory(prefix="lethe-share-", ignore_cleanup_errors=True) as folder:
        tap = Path(folder) / "tap.jsonl"
        tapped = {"PYTHONPATH": os.pathsep.join([str(TAP), str(PROJECT / "include")]), "LETHE_TAP": str(tap)}
        with demo_in(Path(folder), scale=0.02, canary=False) as demo:
            with patch.object(environment, "variables", lambda home: plain(home) | tapped), airflow_of(demo) as api:
                yield demo, api, tap


def _switch_on(demo: Demo, api: Api) -> None:
    """Switches the DAG on. That starts its last scheduled night, whose plan goes beyond the guard; it is refused, so that nothing goes."""
    run = api.switch_on(DAG)
    api.waits(run)
    Api(home=demo.home, user="approver").answer(run, "Reject")
    api.ended(DAG, run)


def _fill(demo: Demo, table: str, rows: int, last: datetime) -> None:
    """The table anew, with `rows` rows over the two years before `last`; its indexes are made afterwards, and it is vacuumed."""
    name = sql.Identifier("app", table)
    with demo.sql() as connection:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'app' AND tablename = %s AND indexname <> %s"
        indexes = connection.execute(query, [table, f"{table}_pkey"]).fetchall()
        with connection.transaction():
            for setting in ("maintenance_work_mem = '512MB'", "work_mem = '256MB'", "synchronous_commit = off"):
                connection.execute(sql.SQL("SET LOCAL " + setting))
            connection.execute(sql.SQL("TRUNCATE {}").format(name))
            for index, _ in indexes:
                connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("app", index)))
            connection.execute(_ROWS[table], {"first": last - timedelta(days=730), "last": last, "rows": rows})
            for _, statement in indexes:
                connection.execute(statement)
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(name))
        connection.execute("CHECKPOINT")


def _night(demo: Demo, api: Api, tap: Path, as_of: datetime) -> Measured:
    """One run that deletes, approved beforehand where it has to be. Raises RuntimeError when it is not clean."""
    digest = _approved(as_of)
    run = api.trigger(DAG, dry_run=False, as_of=as_of.isoformat())
    if api.ended(DAG, run, seconds=3600) != "success":
        raise RuntimeError(f"the run is red: {task_log(demo, DAG, run, 'record')[-3000:]}")
    found = api("GET", f"/dags/{DAG}/dagRuns/{run}")
    began, ended = (datetime.fromisoformat(found[key]).timestamp() for key in ("start_date", "end_date"))
    calls = [c for c in map(json.loads, tap.read_text().splitlines()) if began <= c["began"] <= ended]
    spans = {part: [(c["began"], c["ended"]) for c in calls if c["call"] == part] for part in PARTS}
    if not all(spans.values()):
        raise RuntimeError(f"the run left no times of {', '.join(part for part, its in spans.items() if not its)}")
    return Measured(
        wall=ended - began,
        inside=covered(span for its in spans.values() for span in its),
        parts={part: covered(its) for part, its in spans.items()},
        deleted=_deleted(digest),
    )


def _approved(as_of: datetime) -> str:
    """Plans dry and, where the plan goes beyond its guard, has it approved; the plan's digest."""
    with Workspace.open() as workspace:
        planned = plan_run(workspace, as_of=as_of)
        if planned.findings:
            with workspace.approver.begin() as connection:
                approve(connection, planned.digest, approver="bench", reason="first_run")
    return planned.digest


def _deleted(digest: str) -> int:
    """Rows and objects that the last run of a plan deleted, as the check stored them."""
    with Workspace.open() as workspace, workspace.control.connect() as control:
        results = load_results(control, digest, run_of(control, digest).attempt)
    return sum(result.terms["deleted"] or 0 for result in results.values())  # of a clean run, every term is known


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The seconds that at least one of the spans covers."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total
