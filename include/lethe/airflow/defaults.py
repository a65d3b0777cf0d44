"""What every DAG of Lethe shares: owner, tags, alerts, retries, time limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction
from airflow.sdk.definitions.retry_policy import RetryRule

from lethe.airflow.notifier import Alert, RunAlert
from lethe.settings import schedule_zone

OWNER = "privacy"
TAGS = ["lethe", "privacy"]
TIME_ZONE = schedule_zone()

RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="lethe.errors.Unreachable",
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=2),
            reason="A store did not answer",
        ),
        RetryRule(
            exception="lethe.errors.StoreBusy",
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=5),
            reason="Another run holds the lease",
        ),
        RetryRule(
            exception="lethe.errors.PurgeHindered",
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=5),
            reason="Rows stayed locked, or a store did not answer",
        ),
        RetryRule(exception="lethe.errors.LetheError", action=RetryAction.FAIL, reason="Trying again would not change it"),
    ],
)

ON_FAILURE: Any = Alert()
ON_RUN_FAILURE: Any = RunAlert()


def task_defaults(*, alert: bool = True) -> dict[str, Any]:
    """`default_args` of a DAG; `alert` False where its last task alerts for all of it."""
    return {
        "owner": OWNER,
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RETRIES,
        "execution_timeout": timedelta(hours=4),
    } | ({"on_failure_callback": [ON_FAILURE]} if alert else {})
