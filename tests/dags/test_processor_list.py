"""`processor_list` through a real scheduler: the list is stored and on record, who asked has it, and Airflow keeps ids and digests alone."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from demo import databases
from demo.asking import newest_mail
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.traces import in_database, in_folder
from lethe import settings
from lethe.control.requests import request_of
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import open_request
from lethe.workspace import Workspace

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(900)]
DAG = "processor_list"
PERSON = "lise.canary@example.org"


def opened() -> str:
    how: dict[str, Any] = {"kind": "processor_list", "channel": "email", "language": "fr", "by": "j.dupont"}
    with Workspace.open() as workspace, workspace.control.begin() as control:
        secret = workspace.connections(settings.CONTROL)
        how |= {"request_key": settings.request_key(secret), "digest_key": settings.digest_key(secret)}
        return open_request(control, [identifier("email", PERSON)], **how).request.id


def test_the_list_is_made_and_whoever_asked_for_it_has_it(demo: Demo, api: Api) -> None:
    until(lambda: DAG in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 90, lambda: api("GET", "/importErrors"))
    api("PATCH", f"/dags/{DAG}?update_mask=is_paused", {"is_paused": False})
    request = opened()
    run = api.trigger(DAG, requests=[request], as_of="2026-10-31", since="2026-05-31")
    assert api.ended(DAG, run) == "success", task_log(demo, DAG, run, "answer")[-3000:]
    assert set(api.tasks(DAG, run).values()) == {"success"}
    (told,) = [e for e in demo.evidence("processors.listed") if e["as_of"] == "2026-10-31"]
    assert told["since"] == "2026-05-31" and told["findings"] == [] and {c["status"] for c in told["checks"]} == {"passed"}
    assert (demo.home.reports / told["folder"] / "public" / "processors.fr.pdf").read_bytes().startswith(b"%PDF-")
    mail: Any = message_from_bytes(newest_mail(demo.home, request, "processor_list").read_bytes(), policy=default)
    assert mail["To"] == PERSON and len(list(mail.iter_attachments())) == 3
    with Workspace.open() as workspace, workspace.control.connect() as control:
        assert request_of(control, request).state.value == "answered"
    server = databases.server(demo.home)
    assert [in_database(server.url(database), PERSON) for database in ("airflow", "lethe")] == [[], []]
    assert in_folder(demo.home.airflow, PERSON) == [] and in_folder(demo.home.folder / "logs", PERSON) == []
