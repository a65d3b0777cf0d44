"""
### Watches that the nightly runs came, and alerts when one did not

**Read only: this DAG deletes nothing.** Every hour it looks into Lethe's own database, and is red, and alerts, when

- `retention_purge` has not finished a run that deletes, over every rule, as of the last 26 hours;
- archive objects have been past their expiry for 26 hours, and no `archive_expiry` as of then or later has finished since;
- Airflow's own old records have not been cleaned for two days.

It cannot tell when the scheduler itself is down: watch `lethe verify` from outside Airflow for that (docs/operations.md).

#### What to do
Open the DAG that it names, `retention_purge` or `archive_expiry`. Is it paused, waiting in `guard` for a person, red, or still running? An approval that nobody gives is
a refusal after 20 hours. Triggering it by hand with `dry_run` false is safe. Old records: `make airflow-clean` on the host.
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
        """Raises when the last finished nightly run is too old, or the archive's expiry did not come."""
        from lethe.airflow import night

        return night.watch()

    watch()


missed_runs()
