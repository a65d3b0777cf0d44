"""
### The weekly audit: rules, data map, files, archive, holds and ledger, each held against what is really there

**Read only: this DAG deletes nothing.** It counts what every rule of the policy in force finds due, and compares: the catalog with the live databases and buckets,
rows with the files that they name, the archive's manifests with a fresh listing of its bucket, holds with their day of review, the ledger with its kept heads. All of
it goes into the ledger as `audit.finished`, before the task is red.

#### What to do when it is red
A count that cannot be had makes it red as well: a store did not answer, or a role may not see all of a table. The log of `audit` names each finding.

| it names | what it means | what to do |
| --- | --- | --- |
| a table, column or bucket | it is in no catalog, or only there (drift) | classify it, or exempt it with a reason, an owner and a date; `lethe check` lists the same |
| a step, and rows that are still there | they were due at the last clean night | read the report of the last `retention_purge`, then run it |
| files without a row, or rows without a file | one went without the other | find out which program deletes by itself; the application deletes what has no row |
| an archive object, or its bucket | missing, not what its manifest says, or not locked | `lethe verify` lists all, `--deep` reads all; find out who changed it |
| a hold | no day of review, or past it; its rows are still kept | lift it, or add it anew with a day, then lift the old one: `legal_hold` |
| the ledger, by a record's number | a record, a hold or an approval was changed, or a head is gone | `lethe verify`; tell who answers for evidence; repair nothing |
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
