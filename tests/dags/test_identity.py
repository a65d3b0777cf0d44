"""The task that waits for a decision on who asks: on a real lethe_db and a real bucket, its answers as Airflow hands them on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from demo.objects import ObjectServer
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.intake import KEY, Box, box_of
from lethe.airflow.identity import IdentityDecision
from lethe.airflow.identity_options import NEEDS_NO_IDENTITY, OPTIONS
from lethe.connections import from_environment
from lethe.errors import UnknownName
from lethe.subjects.identifiers import identifier
from lethe.subjects.identity import decide
from lethe.subjects.proofs import store_proof
from lethe.subjects.requests import REASONS, open_request, show

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
CANARY = "jeanne.canary@example.org"
TIMEOUT = {"error": "no response", "error_type": "timeout"}


@pytest.fixture
def box(control: ControlDatabase, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr("lethe.airflow.connections.from_airflow", from_environment)
    with box_of(control, moto.endpoint, tmp_path / "policies", monkeypatch) as made:
        yield made


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Airflow is asked to show, and what people are told."""
    seen: dict[str, Any] = {"told": []}
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **what: seen.update(what))
    monkeypatch.setattr("lethe.airflow.notifier.send", lambda *what: seen["told"].append(what))
    return seen


def asked(box: Box, kind: str = "access") -> str:
    with box.control.runtime.begin() as connection:
        request = open_request(
            connection,
            [identifier("email", CANARY)],
            kind=kind,
            channel="email",
            language="fr",
            by="j.dupont",
            request_key=KEY,
            digest_key=DIGEST_KEY,
        ).request.id
    with box.open() as workspace:
        store_proof(workspace, request, b"%PDF canary", by="j.dupont")
    return request


def state(box: Box, request: str) -> str:
    with box.control.runtime.connect() as connection:
        return show(connection, request)[0].state


def decision(request: str) -> IdentityDecision:
    return IdentityDecision(task_id="identity", request=request)


def context(starter: str | None = "admin") -> dict[str, Any]:
    ti = SimpleNamespace(id="1", dag_id="subject_export", task_id="identity", run_id="r", log_url="http://airflow/x")
    return {"ti": ti, "task_instance": ti, "dag_run": SimpleNamespace(triggering_user_name=starter)}


def answer(option: str, *names: str, keys: tuple[str, ...] = ("id", "name")) -> dict[str, Any]:
    user = dict(zip(keys, names, strict=False)) or None
    return {"chosen_options": [option], "params_input": {}, "responded_at": AT, "responded_by_user": user}


def test_the_choices_are_the_decisions_and_reasons_and_nothing_else() -> None:
    assert set(OPTIONS.values()) == {(d, r) for d, (_, reasons) in REASONS.items() for r in reasons} and len(OPTIONS) == len(
        set(OPTIONS.values())
    )
    assert decision("R").options == list(OPTIONS) and not decision("R").params and decision("R").defaults is None


def test_a_request_waits_and_is_shown_without_who_asks(box: Box, asks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_IDENTITY_DECIDERS", "approver, admin")
    request = asked(box)
    with pytest.raises(TaskAwaitingInput):
        decision(request).execute(context())
    assert state(box, request) == "waiting_identity"
    assert [u["id"] for u in asks["assigned_users"]] == ["approver", "admin"], "whoever starts the run may decide too"
    assert NEEDS_NO_IDENTITY not in asks["options"] and asks["defaults"] is None and asks["params"] == {}
    for said in (request, "Proofs of identity: 1", f"lethe request proof {request} --fetch", f"lethe request show {request} --identifiers"):
        assert said in asks["body"]
    assert "canary" not in str(asks).lower() and request in asks["told"][0][1] and "waits for a decision" in asks["told"][0][0]
    assert [r["by"] for r in box.evidence("request.state")] == ["admin"]
    with pytest.raises(TaskAwaitingInput):
        decision(request).execute(context())
    assert len(box.evidence("request.state")) == 1, "a second try moves nothing"
    with pytest.raises(TaskAwaitingInput):
        decision(asked(box, "processor_list")).execute(context(CANARY))
    assert NEEDS_NO_IDENTITY in asks["options"] and box.evidence("request.state")[-1]["by"] == "airflow"


@pytest.mark.parametrize("option", [o for o in OPTIONS if o != NEEDS_NO_IDENTITY])
def test_an_answer_is_recorded_as_airflow_says_who_gave_it_and_only_acceptance_goes_on(box: Box, option: str) -> None:
    request = asked(box)
    task = decision(request)
    if option.startswith("Accept"):
        assert task.execute_complete(context(), answer(option, "a.martin", "a.martin")) == request
    else:
        with pytest.raises(AirflowSkipException):
            task.execute_complete(context(), answer(option, "a.martin", "a.martin"))
    (recorded,) = box.evidence("request.decided")
    assert (recorded["decision"], recorded["reason"]) == OPTIONS[option]
    assert (recorded["by"], recorded["channel"], recorded["proofs"]) == ("a.martin", "airflow", 1)
    keeps = option in ("Ask for more: proof missing", "Ask for more: several persons")
    assert len(box.left(box.proofs)) == keeps


@pytest.mark.parametrize(
    ("names", "deciders", "why"),
    [((), "", "nobody_named"), ((CANARY,), "", "no_login"), (("a.martin",), "approver", "not_a_decider"), (("7\n",), "", "no_login")],
)
def test_an_answer_by_nobody_or_by_no_login_or_by_somebody_else_decides_nothing_and_is_on_record(
    box: Box, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], deciders: str, why: str
) -> None:
    monkeypatch.setenv("LETHE_IDENTITY_DECIDERS", deciders)
    request = asked(box)
    with pytest.raises(AirflowSkipException) as skipped:
        decision(request).execute_complete(context(), answer("Accept: document seen", *names))
    assert "canary" not in str(skipped.value) and state(box, request) == "received" and len(box.left(box.proofs)) == 1
    (recorded,) = box.evidence("request.not_decided")
    assert recorded["reason"] == why and "canary" not in str(recorded)


def test_a_decider_is_known_by_id_or_by_name(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_IDENTITY_DECIDERS", "Approver")
    request = asked(box)
    assert decision(request).execute_complete(context(), answer("Accept: signed in", "7", "approver")) == request
    assert box.evidence("request.decided")[0]["by"] == "7"


def test_no_answer_in_time_is_no_acceptance_and_the_request_still_waits(box: Box) -> None:
    request = asked(box)
    with pytest.raises(AirflowSkipException, match="still waits"):
        decision(request).execute_complete(context(), TIMEOUT)
    assert state(box, request) == "received" and box.evidence("request.not_decided")[0]["reason"] == "no_answer"
    with box.open() as workspace:
        decide(workspace, request, decision="accept", reason="known_address", by="a.martin")
    assert decision(request).execute_complete(context(), TIMEOUT) == request, "accepted at a terminal meanwhile"


def test_what_is_decided_passes_or_skips_at_once_and_asks_nobody(box: Box, asks: dict[str, Any]) -> None:
    accepted, refused = asked(box), asked(box)
    with box.open() as workspace:
        decide(workspace, accepted, decision="accept", reason="known_address", by="a.martin")
        decide(workspace, refused, decision="refuse", reason="not_proven", by="a.martin")
    assert decision(accepted).execute(context()) == accepted
    with pytest.raises(AirflowSkipException):
        decision(refused).execute(context())
    # An answer that comes behind a decision at a terminal, or the second try of a task that had recorded it.
    assert decision(accepted).execute_complete(context(), answer("Accept: document seen", "admin")) == accepted
    assert decision(accepted).execute_complete(context(), answer("Refuse: not proven", "admin")) == accepted
    with pytest.raises(AirflowSkipException):
        decision(refused).execute_complete(context(), answer("Accept: document seen", "admin"))
    assert asks == {"told": []} and len(box.evidence("request.decided")) == 2


@pytest.mark.parametrize("unknown", [CANARY, "R-2026-00000000", "", None, "\x00"])
def test_an_unknown_request_is_an_error_that_does_not_repeat_it(box: Box, asks: dict[str, Any], unknown: Any) -> None:
    with pytest.raises(UnknownName) as refused:
        decision(unknown).execute(context())
    assert "canary" not in str(refused.value) and asks == {"told": []}
