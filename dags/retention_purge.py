"""
### The nightly retention run: deletes what the published policy says must go, and proves it

**This DAG deletes rows and objects for good.** A scheduled run deletes. A manual run only plans, counts and reports, unless `dry_run` is false.
**Switching it on starts the last scheduled night at once**, and that run deletes: look at `lethe plan` first.

| task | what it does | when it is red |
| --- | --- | --- |
| `plan` | takes the policy in force, counts every due row, freezes the plan | a table is missing, a count cannot be had, a rule is unknown |
| `guard` | lets an ordinary plan pass; waits here for a named person otherwise | never: a refusal or no answer skips the deletion |
| `purge` | archives what a law needs, deletes in small transactions; one mapped task a group of connected tables | wrong counts, a lost store, another run at work |
| `verify` | counts again, on its own, that nothing due is left, after a failed or refused purge too | a store did not answer; what it finds is judged by `record` |
| `record` | writes evidence and the report | a task before it failed, the outcome is `survivors` or `unknown`, a table or column is in no catalog |

#### When it is red at two in the morning
1. Open the log of `record`: it names the rule, the table, the rows and what is safe to do.
2. **Clearing a failed task is always safe.** A run is its plan: it takes up the stored one, asks the database what was committed, and deletes nothing twice.
3. `survivors`: due rows are still there. Read the report; a lock or a late writer is cured by clearing `purge`. `unknown`: a count could not be had; nothing may be
   claimed until it can. Neither is made green by hand.
4. A rule that archives uploads the rows, reads them back and compares, then deletes; where it cannot, nothing of that batch is deleted and the other rules go on.
   `StoreFull`: make room, never in the archive by hand. `NotArchivable`: the archive's bucket or a column is not as it must be; the log says which.
   `ArchiveDiffers`: the store gave back other bytes than were sent; look at the store first. Then clear `purge`. Each error: docs/operations.md.

#### A plan that waits
It sends an alert. Its findings are in the task `guard`, under *Required actions*. Approve there, as somebody else than who started the run,
or beforehand for a plan seen in a dry run: `lethe plan approve DIGEST --reason CHOICE --rows N`, and trigger with the same `as_of`.

#### What is not deleted
Rows under a hold or a restriction, rows that a younger row refers to (blocked), rows whose clock cannot be believed (quarantined), and everything under a rule that
cannot be kept yet. All are counted in the report, by name.
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
    schedule=CronTriggerTimetable("0 2 * * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=23),
    default_args=task_defaults(alert=False),
    params={"as_of": params.as_of(), "dry_run": params.dry_run(), "rules": params.rules(), "pace": params.pace()},
    render_template_as_native_obj=True,
    tags=[*TAGS, "deletes"],
    doc_md=__doc__,
)
def retention_purge() -> None:
    @task
    def plan() -> list[dict[str, Any]]:
        """Freezes what the run will do; returns its groups of tables, and passes on the plan's digest."""
        from lethe.airflow import night

        return night.plan(get_current_context())

    @task(map_index_template="{{ label }}")
    def purge(group: dict[str, Any], digest: str, attempt: int) -> dict[str, int]:
        """Deletes what is due in one group of connected tables, in small transactions."""
        from lethe.airflow import night

        get_current_context()["label"] = group["label"]  # type: ignore[typeddict-unknown-key]
        return night.purge(group["steps"], digest, attempt)

    @task(trigger_rule="all_done")
    def verify(digest: str | None, attempt: int | None) -> dict[str, Any]:
        """Counts again, by queries that share nothing with the purge's; after a failed or refused purge too."""
        from lethe.airflow import night

        return night.verify(digest, attempt)

    @task(trigger_rule="all_done", retries=0, on_failure_callback=[ON_FAILURE])
    def record() -> dict[str, Any]:
        """Writes the evidence and the report of the run, then raises when anything before it failed."""
        from lethe.airflow import night

        return night.record(get_current_context())

    planned = plan()
    guard = PlanApproval(task_id="guard", digest=planned["digest"], attempt=planned["attempt"])
    purged = purge.partial(digest=planned["digest"], attempt=planned["attempt"]).expand(group=planned)
    verified = verify(planned["digest"], planned["attempt"])
    guard >> purged >> verified >> record()


retention_purge()
