"""
### Watches that people are answered in time: warned on day 3, red on day 5

**This DAG deletes nothing and answers nobody.** Every hour it looks in Lethe's own database at each request and question that
nobody has answered:

| from 00:00 of | what happens |
| --- | --- |
| business day 3 after receipt | a warning through `lethe_alerts` (e-mail, Slack, a webhook), once for each request |
| 7 days before the legal deadline, and before the extended one | another warning, once each |
| business day 5 after receipt, the promised reply | this DAG is red, and alerts, every hour until it is answered |

The day of receipt does not count. Periods, time zone and holidays are those of `policy.yaml` (`deadlines`). The clock runs until the answer, also while a
proof of identity is awaited, and after an extension: that moves the law's deadline, not the promised reply. Every check is on record as `deadlines.checked`.

#### When it is red
1. `DeadlineMissed` names the requests. `lethe request list` shows all with what is due; `lethe due request INSTANT` shows how the days are counted.
2. Answer them: `subject_export` for a person's data, `lethe request answer` for the rest. A refusal ends the clock once it was sent.
3. Answered by hand: `lethe request answered ID` puts it on record. A question needs no more than that.
4. `AlertNotLeft`: nobody could be told of what is near. Mend the connection `lethe_alerts`; the next hour tells it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, task

from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("5 * * * *", timezone=TIME_ZONE),
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
def deadlines() -> None:
    @task
    def check() -> dict[str, Any]:
        """Warns of replies that are near, puts on record what is owed, and raises while one is due and not given."""
        from lethe.airflow import deadlines as work

        return work.check()

    check()


deadlines()
