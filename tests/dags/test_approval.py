"""The task that waits for a person: who is asked, who is told, and what becomes of the answer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from lethe.airflow.approval import PlanApproval, assigned
from lethe.airflow.night import failed_tasks
from lethe.errors import NotApproved
from lethe.retention.model import Verdict

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
SKIPPED = object()


@pytest.mark.parametrize(
    ("approvers", "starter", "asked"),
    [
        ((), "admin", None),
        (("a", "b"), None, ["a", "b"]),
        (("a", "b"), "b", ["a"]),
        (("a", "B"), "b", ["a"]),
        (("a",), "a", ["a"]),  # an empty list would let everybody in; the answer itself is refused
    ],
)
def test_the_approvers_are_asked_but_for_whoever_started_the_run(
    approvers: tuple[str, ...], starter: str | None, asked: list[str] | None
) -> None:
    found = assigned(approvers, starter)
    assert asked == (None if found is None else [user["id"] for user in found])


def context(starter: str | None = "admin") -> dict[str, Any]:
    ti = SimpleNamespace(id="1", dag_id="retention_purge", task_id="guard", run_id="r", log_url="http://airflow/x")
    return {"ti": ti, "task_instance": ti, "dag_run": SimpleNamespace(triggering_user_name=starter)}


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> PlanApproval:
    monkeypatch.setattr("lethe.workspace.Workspace.open", lambda *_: None)
    return PlanApproval(task_id="guard", digest="d" * 64, attempt=1)


def test_a_plan_that_waits_asks_the_approvers_and_tells_people(guard: PlanApproval, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    told: list[tuple[str, str]] = []
    monkeypatch.setenv("LETHE_APPROVERS", "approver, admin")
    monkeypatch.setattr("lethe.retention.guard_run", lambda *_: Verdict(waits=True, summary="", markdown="**look**", notice="7 rows"))
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **what: asked.update(what))
    monkeypatch.setattr("lethe.airflow.notifier.send", lambda *what: told.append(what))
    with pytest.raises(TaskAwaitingInput):
        guard.execute(context())
    assert (asked["body"], asked["defaults"], [u["id"] for u in asked["assigned_users"]]) == ("**look**", None, ["approver"])
    assert len(told) == 1 and "7 rows" in told[0][1]


def test_a_plan_within_its_guard_asks_and_tells_nobody(guard: PlanApproval, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.retention.guard_run", lambda *_: Verdict(waits=False, summary="within its guard"))
    monkeypatch.setattr("lethe.airflow.notifier.send", lambda *_: pytest.fail("an alert"))
    assert guard.execute(context()) == "within its guard"


def test_a_try_after_a_refusal_is_on_record_skips_and_asks_nobody(guard: PlanApproval, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's process may be taken for failed once the answer is stored: what a person said is not turned into an error."""

    def refused(*_: object) -> Verdict:
        raise NotApproved("This plan was refused.", fix="Nothing was deleted.")

    monkeypatch.setattr("lethe.retention.guard_run", refused)
    monkeypatch.setattr("lethe.airflow.notifier.send", lambda *_: pytest.fail("an alert"))
    with pytest.raises(AirflowSkipException, match="Nothing was deleted"):
        guard.execute(context())


def answer(option: str, user: dict[str, str] | None) -> dict[str, Any]:
    return {"chosen_options": [option], "params_input": {}, "responded_at": AT, "responded_by_user": user}


TIMEOUT = {"error": "no response", "error_type": "timeout"}


@pytest.mark.parametrize(
    ("event", "decided", "asked", "result"),
    [
        (answer("Approve", {"id": "7", "name": "approver"}), True, {"approved": True, "by": "7", "also_known_as": ("7", "approver")}, "7"),
        (answer("Approve", {"id": "7", "name": "admin"}), False, {"approved": True, "by": "7", "started_by": "admin"}, SKIPPED),
        (answer("Approve", None), False, {"approved": True, "by": None, "also_known_as": ()}, SKIPPED),
        (answer("Reject", {"id": "7", "name": "approver"}), False, {"approved": False, "by": "7", "at": AT}, SKIPPED),
        (TIMEOUT, False, {"approved": False, "by": None, "answered": False}, SKIPPED),
        (TIMEOUT, True, {"approved": False, "by": None, "answered": False}, "approved beforehand"),
    ],
)
def test_what_becomes_of_an_answer_is_decided_by_the_library(
    guard: PlanApproval, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], decided: bool, asked: dict[str, Any], result: object
) -> None:
    seen: dict[str, Any] = {}

    def decide(workspace: object, digest: str, attempt: int, **what: Any) -> bool:
        seen.update(what)
        return decided

    monkeypatch.setattr("lethe.retention.decide_run", decide)
    if result is SKIPPED:
        with pytest.raises(AirflowSkipException):
            guard.execute_complete(context(), event)
    else:
        assert guard.execute_complete(context(), event) == result
    assert asked.items() <= seen.items()


def test_the_tasks_that_failed_or_could_not_start_are_named() -> None:
    states = {
        "plan": "success",
        "guard": "skipped",
        "purge_0": "success",
        "purge_1": "failed",
        "verify": "upstream_failed",
        "record": "running",
    }
    instance = SimpleNamespace(dag_id="d", run_id="r", get_task_states=lambda **asked: {asked["run_ids"][0]: states})
    assert failed_tasks(instance) == ["purge_1", "verify"]
