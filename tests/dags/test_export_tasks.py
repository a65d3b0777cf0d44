"""What the tasks of `subject_export` do with failures: none passes green, none keeps another request waiting, none tells what a row holds."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from demo.objects import ObjectServer
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.intake import KEY, Box, box_of
from lethe.airflow import exporting
from lethe.connections import from_environment
from lethe.errors import ExportFailed
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import decide_identity, open_request

CANARY = "jeanne.canary@example.org"


@pytest.fixture
def box(control: ControlDatabase, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr("lethe.airflow.connections.from_airflow", from_environment)
    with box_of(control, moto.endpoint, tmp_path / "policies", monkeypatch) as made:
        yield made


def accepted(box: Box) -> str:
    with box.control.runtime.begin() as connection:
        given = [identifier("email", CANARY)]
        how: dict[str, Any] = {"kind": "access", "channel": "email", "language": "fr", "by": "j.dupont"}
        request = open_request(connection, given, request_key=KEY, digest_key=DIGEST_KEY, **how).request.id
        decide_identity(connection, request, decision="accept", reason="document_seen", by="a.martin")
    return request


def context(*requests: str, states: dict[str, str] | None = None) -> dict[str, Any]:
    """A task of a run over these requests, the other tasks of which are in these states."""
    ti = SimpleNamespace(
        dag_id="subject_export",
        run_id="r",
        xcom_pull=lambda **_: list(requests) or None,
        get_task_states=lambda **_: {"r": states or {}},
    )
    return {"ti": ti, "dag_run": SimpleNamespace(triggering_user_name="admin")}


@pytest.mark.parametrize("states", [{"check": "failed"}, {"check": "success", "export": "failed"}], ids=["check", "export"])
def test_a_failure_before_the_answers_is_red_when_nothing_is_left_to_answer(box: Box, states: dict[str, str]) -> None:
    requests = [accepted(box)] if states["check"] == "success" else []
    with pytest.raises(ExportFailed, match=list(states)[-1]):
        exporting.answer(context(*requests, states=states))


def test_a_run_in_which_nothing_failed_and_nothing_is_ready_is_skipped(box: Box) -> None:
    with pytest.raises(AirflowSkipException):
        exporting.answer(context(accepted(box), states={"check": "success", "export": "skipped"}))


def test_an_error_of_a_library_keeps_no_other_waiting_and_its_text_is_not_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = accepted(box), accepted(box)
    reached: list[str] = []
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)

    def act(_finder: Any, request: str, **_: Any) -> Any:
        reached.append(request)
        if request == first:
            raise ValueError(f"cannot read {CANARY}")
        return SimpleNamespace(counts={"users": 1})

    monkeypatch.setattr("lethe.subjects.exporting.export_request", act)
    exporting.log.addHandler(handler)
    try:
        with pytest.raises(ExportFailed) as failed:
            exporting.export(context(first, second))
    finally:
        exporting.log.removeHandler(handler)
    assert reached == [first, second] and first in str(failed.value) and second not in str(failed.value)
    assert "ValueError" in logged.getvalue() and CANARY not in str(failed.value) + logged.getvalue()
    assert failed.value.__context__ is None
