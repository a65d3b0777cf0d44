"""
### Adds or lifts a legal hold or a restriction, by hand

**This DAG deletes nothing.** A hold keeps rows that are due: in the databases and buckets, and in the archive past its expiry. It is the same hold as that of
`lethe hold add`, on record in the ledger, and it is accepted once the batches that run now are over; every later one obeys it.

A tenant is a number, a UUID or a keyed digest, a person a keyed digest: `lethe hold digest users:123` (or `tenants:7`) prints it. A person may also be the id of a
request (`R-2026-7K3M9QWX`) that gives one account; that it was read for this is on record. Never a name, a telephone number or an address: the form refuses what is
written otherwise, and so does the task. Airflow keeps nothing of what the form refused. It keeps what a run was given as long as the run, so whoever starts one through
the API with fields that no form has leaves them there until `airflow-clean`: the task refuses them, and cannot take them back.

Somebody with accounts at two tenants has two keys, and two digests: add a hold for each. The ledger names the owner, and the user of Airflow who started the run.

The task returns the hold's number, the rows it keeps by dataset, and the objects of the archive in which it may keep rows.

#### What to do when it is red
Nothing was held or lifted; the log of `change` says why, and a refusal is on record. A key that no row has is refused: a hold that keeps nothing is worse than none.
A hold past its day of review still keeps its rows, and is a red finding of the report and of `policy_audit` until it is lifted or replaced.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, get_current_context, task

from lethe.airflow import hold_form
from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["manual"],
    dagrun_timeout=timedelta(hours=5),
    default_args=task_defaults(),
    params=hold_form.fields(),
    tags=[*TAGS, "keeps"],
    doc_md=__doc__,
)
def legal_hold() -> None:
    @task(retries=0)
    def change() -> dict[str, Any]:
        """Checks the form again, adds or lifts the hold, and returns its number and what it keeps, as counts."""
        from lethe.airflow import holding

        return holding.change(get_current_context())

    change()


legal_hold()
