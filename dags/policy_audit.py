"""
### The weekly audit: every rule counted again, and the data map held against the live databases

**Read only: this DAG deletes nothing.** It counts what every rule of the policy in force finds due, names the rules that cannot be kept yet, and looks for drift: a
table, column or bucket that exists and is not in the catalog, or the other way round.

It is red when there is drift, when a count cannot be had, or when rows are due that the last nightly run should have deleted.

#### What to do
Drift: classify the table or column in the catalog, or exempt it with a reason, an owner and a date; `lethe check` shows the same list. Due rows: read the report of
the last `retention_purge`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from lethe.airflow import params
from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("0 6 * * 1", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=6),
    default_args=task_defaults(),
    params={"as_of": params.as_of()},
    tags=[*TAGS, "read only"],
    doc_md=__doc__,
)
def policy_audit() -> None:
    @task
    def audit() -> dict[str, Any]:
        """Counts every rule, compares catalog and schema, records both, and raises on a finding."""
        from lethe.airflow import night

        return night.audit(get_current_context())

    audit()


policy_audit()
