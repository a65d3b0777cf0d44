"""
### The nightly expiry of the archive: what a law needed is deleted once its period is over

**This DAG deletes archive objects for good**, all versions of them, on the day that was set when their rows were archived. A scheduled run deletes.
A manual run only plans and counts, unless `dry_run` is false. **Switching it on starts the last scheduled night at once**, and that run deletes.

| task | what it does | when it is red |
| --- | --- | --- |
| `plan` | reads the manifests, counts what is due and what holds keep of it, freezes the plan | a count cannot be had |
| `guard` | lets an ordinary plan pass; waits here for a named person otherwise | never: a refusal or no answer skips the deletion |
| `expire` | deletes due objects; writes an object anew with its held rows alone | a lock is still in force, an object is not what its manifest says, a lost store |
| `verify` | lists the bucket again and compares it with the manifests, after a failed run too | the store did not answer; what it finds is judged by `record` |
| `record` | writes evidence and the report | a task before it failed, the outcome is `survivors` or `unknown` |

An object expires by its own manifest: when the policy no longer has its rule, or the catalog its dataset, it expires all the same.

#### When it is red
1. Open the log of `record`: it names the step, the rows and what is safe to do.
2. **Clearing a failed task is always safe.** The run asks the bucket what is gone, and deletes and counts nothing twice.
3. An object named by its id is missing or has other bytes than its manifest says. It stays until somebody has found out why: `lethe verify --deep`.
4. A lock still in force is not bypassed. It ends by itself; find out who set it beyond the expiry.

#### What is not deleted
Rows under a hold. The report lists them as past their expiry, by object; they go the night after the hold is lifted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from lethe.airflow import params
from lethe.airflow.approval import PlanApproval
from lethe.airflow.defaults import ON_FAILURE, ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("30 4 * * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=23),
    default_args=task_defaults(alert=False),
    params={"as_of": params.as_of(), "dry_run": params.dry_run()},
    render_template_as_native_obj=True,
    tags=[*TAGS, "deletes"],
    doc_md=__doc__,
)
def archive_expiry() -> None:
    @task
    def plan() -> list[str]:
        """Freezes what will expire; returns its steps, and passes on the plan's digest."""
        from lethe.airflow import night

        return night.plan_expiry(get_current_context())

    @task
    def expire(steps: list[str], digest: str, attempt: int) -> dict[str, int]:
        """Deletes the objects whose period is over, and keeps of them what a hold keeps."""
        from lethe.airflow import night

        return night.expire(steps, digest, attempt)

    @task(trigger_rule="all_done")
    def verify(digest: str | None, attempt: int | None) -> dict[str, Any]:
        """Lists the bucket again and holds it against the manifests; after a failed or refused run too."""
        from lethe.airflow import night

        return night.verify(digest, attempt)

    @task(trigger_rule="all_done", retries=0, on_failure_callback=[ON_FAILURE])
    def record() -> dict[str, Any]:
        """Writes the evidence and the report of the run, then raises when anything before it failed."""
        from lethe.airflow import night

        return night.record(get_current_context())

    planned = plan()
    guard = PlanApproval(task_id="guard", digest=planned["digest"], attempt=planned["attempt"])
    expired = expire(planned, planned["digest"], planned["attempt"])  # type: ignore[arg-type]
    verified = verify(planned["digest"], planned["attempt"])
    guard >> expired >> verified >> record()


archive_expiry()
