"""`deadlines` and `promise_report` through a real scheduler: what is owed and what does not hold is on record, alerted, and red; no person is named."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from demo import store
from demo.buckets import LETHE
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import keys
from lethe import settings
from lethe.instants import now
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import open_request
from lethe.workspace import Workspace

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]
ASKS = "odile.question@example.org"


def started(api: Api, dag: str) -> str:
    until(lambda: dag in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 90, lambda: api("GET", "/importErrors"))
    run = api.trigger(dag)  # before the DAG is on: else its run of the last hour, which begins at once, would come first
    api("PATCH", f"/dags/{dag}?update_mask=is_paused", {"is_paused": False})
    return run


def test_a_question_that_is_owed_an_answer_is_red_by_its_id_and_warned_of_once(demo: Demo, api: Api) -> None:
    alerts = len(demo.alerts())
    how: dict[str, Any] = {
        "kind": "question",
        "channel": "email",
        "language": "fr",
        "by": "j.dupont",
        "received_at": now() - timedelta(days=30),
    }
    with Workspace.open() as workspace, workspace.control.begin() as control:
        secret = workspace.connections(settings.CONTROL)
        how |= {"request_key": settings.request_key(secret), "digest_key": settings.digest_key(secret)}
        question = open_request(control, [identifier("email", ASKS)], **how).request.id
    run = started(api, "deadlines")
    assert api.ended("deadlines", run) == "failed"
    checked = demo.evidence("deadlines.checked")[-1]
    assert checked["outcome"] == "missed" and question in checked["red"]
    told = demo.alerts()[alerts:]
    assert any(question in a["message"] for a in told) and not any(ASKS in a["message"] for a in told)
    assert ASKS not in task_log(demo, "deadlines", run, "check")


def test_the_report_is_written_and_red_for_what_was_built_and_does_not_hold(demo: Demo, api: Api) -> None:
    run = started(api, "promise_report")
    assert api.ended("promise_report", run) == "failed"
    reported = demo.evidence("promises.reported")[-1]
    verdicts = reported["verdicts"]
    assert verdicts["reply-5-business-days"] == "failing", "the question of before"
    assert verdicts["list-on-request"] == "fresh" and verdicts["incident-72h"] == "missing"
    assert reported["ledger"]["sound"] and reported["unbound"] == 0
    assert "promises are broken" in task_log(demo, "promise_report", run, "report")
    written = [k for k in keys(store.client(demo.home), LETHE) if k.startswith("promises/")]
    assert {k.rpartition(".")[2] for k in written} == {"html", "json", "pdf"}
    assert any("promises are broken" in a["message"] for a in demo.alerts())
