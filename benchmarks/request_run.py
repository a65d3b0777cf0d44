"""The DAG run of one request, under a real scheduler: from an accepted identity to the mail with its link.

A demo of its own with Airflow's four programs, as `airflow_share` has it. The demo's person with most to tell asks again and again; what is
timed is what Airflow's REST API says, from the run's start to its end, the scheduler's pauses and the start of each task's process included.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from benchmarks.score import Row, at_most
from benchmarks.world import Ground
from demo import asking, databases
from demo.trial import Api, Demo, airflow_of, demo_in, task_log, until
from lethe import settings
from lethe.control.requests import RequestState
from lethe.instants import now
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import decide_identity, open_request, show
from lethe.workspace import Workspace

DAG = "subject_export"
TARGET = 10


def measure(ground: Ground) -> list[Row]:
    """Seconds of each run, after one that is not counted; how long each task of the last one ran is told in the detail."""
    with tempfile.TemporaryDirectory(prefix="lethe-request-", ignore_cleanup_errors=True) as folder:
        with demo_in(Path(folder), scale=0.1, canary=False) as demo, airflow_of(demo) as api:
            until(lambda: DAG in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 90, lambda: api("GET", "/importErrors"))
            api("PATCH", f"/dags/{DAG}?update_mask=is_paused", {"is_paused": False})
            runs = [_run(demo, api) for _ in range(1 + ground.repeat)][1:]
    tasks = ", ".join(f"{name} {took:.1f} s" for name, took in runs[-1][1].items())
    return [at_most("the DAG run of one request", [took for took, _ in runs], TARGET, "s", detail=f"the tasks themselves: {tasks}")]


def _run(demo: Demo, api: Api) -> tuple[float, dict[str, float]]:
    """Seconds of one run, and of each of its tasks. RuntimeError when the request is not answered."""
    request = _accepted(asking.somebody(databases.server(demo.home).url("spotrak")))
    run = api.trigger(DAG, requests=[request])
    if api.ended(DAG, run) != "success":
        raise RuntimeError(f"the run is red: {task_log(demo, DAG, run, 'answer')[-3000:]}")
    with Workspace.open() as workspace, workspace.control.connect() as control:
        state = show(control, request)[0].state
    if state != RequestState.ANSWERED:
        raise RuntimeError(f"the request is {state}, not answered")
    tasks = api("GET", f"/dags/{DAG}/dagRuns/{run}/taskInstances")["task_instances"]
    return _seconds(api("GET", f"/dags/{DAG}/dagRuns/{run}")), {
        t["task_id"]: _seconds(t) for t in tasks if t["start_date"] and t["end_date"]
    }


def _seconds(told: dict[str, str]) -> float:
    began, ended = (datetime.fromisoformat(told[key]) for key in ("start_date", "end_date"))
    return (ended - began).total_seconds()


def _accepted(address: str) -> str:
    """Opens a request for access and accepts who asks; its id."""
    with Workspace.open() as workspace, workspace.control.begin() as control:
        secret = workspace.connections(settings.CONTROL)
        opened = open_request(
            control,
            [identifier("email", address)],
            kind="access",
            channel="email",
            language="fr",
            by="bench",
            request_key=settings.request_key(secret),
            digest_key=settings.digest_key(secret),
            at=now(),
        ).request
        decide_identity(control, opened.id, decision="accept", reason="known_address", by="bench", at=now())
    return opened.id
