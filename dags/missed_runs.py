"""
### Watches that the nightly run came, and alerts when it did not

**Read only: this DAG deletes nothing.** Every hour it looks into Lethe's own database: as of when did `retention_purge` last finish a run that deletes, and when did
Airflow's own old records last get cleaned? It is red, and alerts, when the nightly run looked from more than 26 hours ago. A run over some of the rules does not count.

It cannot tell when the scheduler itself is down: watch `lethe verify` from outside Airflow for that (docs/operations.md).

#### What to do
Open `retention_purge`. Is it paused, waiting in `guard` for a person, or still running? An approval that nobody gives is a refusal after 20 hours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, task

from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("30 * * * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(minutes=10),
    default_args=task_defaults(),
    tags=[*TAGS, "read only"],
    doc_md=__doc__,
)
def missed_runs() -> None:
    @task
    def watch() -> dict[str, Any]:
        """Raises when the last finished nightly run is too old."""
        from lethe.airflow import night

        return night.watch()

    watch()


missed_runs()
