"""
### Every sentence of the published policy, what keeps it, and whether that holds today

**Read only: this DAG deletes nothing.** Each morning after the night it takes the promises of the policy in force, looks at what keeps each of them (rules, DAGs,
checks, what persons vouch for), and writes the report: the published text, sentence by sentence, each with its control, the last evidence and a verdict. The page,
the same as PDF, and JSON go into the bucket of `lethe_s3` under `promises/`, the verdicts into the ledger as `promises.reported`, before the task is red.

| verdict | it means |
| --- | --- |
| fresh | the control is there, and its evidence is young and clean |
| attested | a person vouches for it until a day: `lethe attest` |
| stale | the evidence is older than it may be |
| failing | the evidence says that it is not kept, its evidence is dated after now, or nothing could be told |
| missing | the control is not there, or has left no evidence |

#### When it is red
A control that was built does not hold (`PromiseBroken`), or was lost. The log of `report` names the promises, the report says why, `lethe promises` looks again at once.

- a rule: blocked or quarantined rows, or a red night: open the report of the last `retention_purge`;
- a DAG: it is not in the DAGs folder, is paused, or was red;
- a check: the report says what it saw; what could not be looked at is failing, never fresh;
- an attestation: somebody has to vouch again, or nobody may;
- everything at once: the text is not the one that was published, or the ledger is not sound: `lethe verify`, and repair nothing.

What the policy's own files call unbuilt, or a rule that waits for something unbuilt, is missing in the report, and does not make this red each day.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronTriggerTimetable, dag, task

from lethe.airflow.defaults import ON_RUN_FAILURE, TAGS, TIME_ZONE, task_defaults


@dag(
    schedule=CronTriggerTimetable("30 7 * * *", timezone=TIME_ZONE),
    start_date=pendulum.datetime(2026, 5, 1, tz=TIME_ZONE),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=[ON_RUN_FAILURE],
    allowed_run_types=["scheduled", "manual"],
    dagrun_timeout=timedelta(hours=2),
    default_args={**task_defaults(), "execution_timeout": timedelta(hours=1)},
    tags=[*TAGS, "read only"],
    doc_md=__doc__,
)
def promise_report() -> None:
    @task
    def report() -> dict[str, Any]:
        """Judges every promise, writes page, PDF, JSON and evidence, and raises when a control that was built does not hold."""
        from lethe.airflow import promising

        return promising.report()

    report()


promise_report()
