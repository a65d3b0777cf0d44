"""What the task of the DAG `promise_report` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lethe.airflow.connections import from_airflow
from lethe.instants import now
from lethe.workspace import Workspace


def report() -> dict[str, Any]:
    """Makes the promise report as of now, over the DAGs folder of this Airflow; verdicts and keys. Raises PromiseBroken after it is written."""
    from airflow.configuration import conf

    from lethe.accountability.promises import make_report

    # A text that is not the declared one is what the report has to say, so it must not keep it from being made.
    with Workspace.open(from_airflow, check_text=False) as workspace:
        return make_report(workspace, at=now(), dags=Path(conf.get_mandatory_value("core", "dags_folder")))
