"""
### The drop box, every quarter of an hour: files of requests are opened, and then deleted

**This DAG deletes what it has taken**: files of requests with all versions once their requests are opened, and proofs of identity once it is decided who
asks. **Switching it on takes what lies in the intake bucket at once.** There is no form and no dry run: `lethe request intake --list` only looks.

A ticket system puts `.json` (one request, or a list) or `.csv` (a header row; RFC 4180) into the bucket of the dataset of category `intake-files`, UTF-8, of 1 MiB and
1,000 requests at most, each file under a name of its own: what is written over before it was taken counts as withdrawn. Fields: `kind`, `language`, `channel` (`ticket`
when left out), `received_at` (with its zone; when the file came in, when left out), `email` and `account` (a list, or several columns), `tenant`, `proof` (the key of an
object in the same bucket, which moves to the proofs).

| task | what it does | when it is red |
| --- | --- | --- |
| `take` | checks each file whole, opens its requests in one transaction, moves its proofs, deletes it | a store or `lethe_db` did not answer |
| `sweep` | deletes proofs of decided requests, and of none | the store did not answer, or keeps one |
| `record` | lists both buckets again | a file was refused or not deleted, a proof is left, a task before it failed |

Nothing but ids and counts leaves the tasks: no address, no name, no key of an object.

#### When it is red
1. `lethe request intake --list` names each file with what is wrong and in which entry. A refused file opened nothing and stays; every other file was taken.
2. Correct the file and put it there again, or delete it. Otherwise the rule `intake-files` deletes it after 30 days; the person's deadline does not wait.
3. **Clearing a failed task is always safe.** A file that was opened is remembered: its requests are not opened twice.
4. Proofs that are left: look for an object lock or a bucket policy. The next run deletes them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from lethe.airflow.defaults import ON_FAILURE, ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("*/15 * * * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=2),
    default_args={**task_defaults(alert=False), "execution_timeout": timedelta(hours=1)},
    tags=[*TAGS, "deletes"],
    doc_md=__doc__,
)
def request_intake() -> None:
    @task
    def take() -> dict[str, Any]:
        """Opens the requests of the files and deletes the files; returns ids and counts."""
        from lethe.airflow import intake

        return intake.take()

    @task(trigger_rule="all_done")
    def sweep() -> dict[str, int]:
        """Deletes proofs of identity that have served; after a failed task too."""
        from lethe.airflow import intake

        return intake.sweep()

    @task(trigger_rule="all_done", retries=0, on_failure_callback=[ON_FAILURE])
    def record() -> dict[str, int]:
        """Lists files and proofs again, and raises when any is left that should not be."""
        from lethe.airflow import intake

        return intake.record(get_current_context())

    take() >> sweep() >> record()


request_intake()
