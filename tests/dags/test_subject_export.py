"""`subject_export` through a real scheduler: a person decides who asks, the person who asked is answered, and Airflow knows nothing of them."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from demo import databases
from demo.asking import newest_mail, somebody
from demo.buckets import ensure_requests
from demo.environment import connections
from demo.load import attachment_keys
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import in_database, in_folder
from lethe.connections import parse
from lethe.control.requests import request_of
from lethe.stores.s3.client import client
from lethe.stores.s3.listing import everything
from lethe.subjects.bundle.verify import problems
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import open_request
from lethe.workspace import Workspace

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]
DAG = "subject_export"


@pytest.fixture(scope="module")
def store(demo: Demo) -> Any:
    s3 = client(parse("requests_s3", connections(demo.home)["AIRFLOW_CONN_REQUESTS_S3"]))
    ensure_requests(s3)
    assert attachment_keys(databases.server(demo.home).url("spotrak"))
    return s3


@pytest.fixture(scope="module")
def person(demo: Demo) -> str:
    return somebody(databases.server(demo.home).url("spotrak"))


@pytest.fixture(scope="module")
def on(api: Api) -> Api:
    until(lambda: DAG in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 90, lambda: api("GET", "/importErrors"))
    api("PATCH", f"/dags/{DAG}?update_mask=is_paused", {"is_paused": False})
    return api


def opened(demo: Demo, address: str, **changes: Any) -> str:
    from lethe import settings

    how: dict[str, Any] = {"kind": "access", "channel": "email", "language": "fr", "by": "j.dupont", **changes}
    with Workspace.open() as workspace, workspace.control.begin() as control:
        secret = workspace.connections(settings.CONTROL)
        how |= {"request_key": settings.request_key(secret), "digest_key": settings.digest_key(secret)}
        return open_request(control, [identifier("email", address)], **how).request.id


def state(request: str) -> str:
    with Workspace.open() as workspace, workspace.control.connect() as control:
        return request_of(control, request).state.value


def nowhere(demo: Demo, *names: str) -> None:
    server = databases.server(demo.home)
    for name in names:
        for database in ("airflow", "lethe"):
            assert in_database(server.url(database), name) == []
        assert in_folder(demo.home.airflow, name) == []
        assert in_folder(demo.home.folder / "logs", name) == []


def test_a_person_decides_in_the_ui_who_asks_and_the_one_who_asked_is_answered(demo: Demo, on: Api, store: Any, person: str) -> None:
    request = opened(demo, person)
    run = on.trigger(DAG, requests=[request])
    question = on.waits(run, dag=DAG, task="identity", index=0)
    assert request in question["subject"] and person not in json.dumps(question) and state(request) == "waiting_identity"
    assert not list(everything(store, "lethe-bundles", request)), "nothing is found before the decision"
    assert on.decide(run, "Accept: document seen", dag=DAG, task="identity", index=0) == "success"
    assert on.ended(DAG, run) == "success", task_log(demo, DAG, run, "export")[-3000:]
    assert set(on.tasks(DAG, run).values()) == {"success"} and state(request) == "answered"
    (part,) = everything(store, "lethe-bundles", request)
    assert problems(io.BytesIO(store.get_object(Bucket="lethe-bundles", Key=part.key)["Body"].read())) == ()
    assert person in newest_mail(demo.home, request).read_text()
    (decided,) = [e for e in demo.evidence("request.decided") if e["request"] == request]
    assert (decided["by"], decided["channel"]) == ("admin", "airflow")
    nowhere(demo, person, person.split("@")[0])


def test_who_is_refused_gets_nothing_and_the_others_of_the_run_are_answered(demo: Demo, on: Api, store: Any, person: str) -> None:
    refused, good = (opened(demo, person) for _ in range(2))
    run = on.trigger(DAG, requests=[refused, good])
    answers = {refused: "Refuse: not proven", good: "Accept: known address"}
    until(lambda: on.tasks(DAG, run).get("identity") in ("awaiting_input", "deferred"), 180, lambda: on.tasks(DAG, run))
    for index, option in enumerate(answers.values()):
        on.waits(run, dag=DAG, task="identity", index=index)
        on.answer(run, option, dag=DAG, task="identity", index=index)
    assert on.ended(DAG, run) == "success", on.tasks(DAG, run)
    assert [state(r) for r in answers] == ["refused", "answered"]
    assert [len(list(everything(store, "lethe-bundles", r))) for r in answers] == [0, 1]
    nowhere(demo, person)


def test_an_id_of_nobody_is_red_and_nothing_of_the_run_is_given(demo: Demo, on: Api, store: Any, person: str) -> None:
    request = opened(demo, person)
    run = on.trigger(DAG, requests=[request, "R-2026-00000000"])
    assert on.ended(DAG, run) == "failed"
    tasks = on.tasks(DAG, run)
    assert tasks["check"] == "failed" and tasks["answer"] in ("failed", "skipped", "upstream_failed"), tasks
    assert state(request) == "received" and not list(everything(store, "lethe-bundles", request))


WRONG = {"an address": ["jeanne.typed@example.org"], "a name": ["Jeanne Typed"], "nothing": [], "no list": "R-2026-7K3M9QWX"}


@pytest.mark.parametrize("given", WRONG.values(), ids=list(WRONG))
def test_the_form_takes_ids_only_and_airflow_keeps_nothing_of_the_rest(demo: Demo, on: Api, given: Any) -> None:
    try:
        run = on.trigger(DAG, requests=given)
    except urllib.error.HTTPError as error:
        assert error.code in (400, 422)
    else:
        assert given == [] and on.ended(DAG, run) == "failed", "an empty list is a list"
    nowhere(demo, "jeanne.typed")
