"""An alert reaches people through real channels, says what they need, and nothing about anybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy.engine import make_url

from demo.garden import CANARY
from demo.postgres import free_port
from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.airflow import deadlines, notifier
from lethe.connections import from_environment
from lethe.errors import DeadlineMissed, NotClean
from lethe.evidence.ledger import records
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import open_request

DAGS = Path(__file__).parents[2] / "dags"
ERROR = NotClean("technical-logs/technical_logs: 12 due rows left.", fix="Clear the task `purge`; it goes on where it stopped.")
TOLD = ("retention_purge", "technical-logs/technical_logs", "12 due rows left", "Safe to do now: Clear the task `purge`")


def context(error: BaseException | None = ERROR) -> dict[str, Any]:
    return {"ti": SimpleNamespace(dag_id="retention_purge", task_id="record", run_id="manual__1"), "exception": error}


def channels(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_ALERTS", json.dumps({"conn_type": "generic", "extra": {"urls": list(urls)}}))


@pytest.fixture
def mailbox() -> Iterator[tuple[int, list[bytes]]]:
    """A real SMTP server on loopback: its port, and the letters that it took."""
    letters: list[bytes] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            letters.append(envelope.content)
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port, letters
    controller.stop()


@pytest.fixture
def webhook() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A web server on loopback: its port, and the documents that were posted."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, posted
    server.shutdown()
    thread.join()
    server.server_close()


def mail_url(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?from=lethe@spotrak.example&to=dpo@spotrak.example&mode=insecure"


def test_a_mail_names_rule_table_rows_and_what_is_safe(mailbox: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    port, letters = mailbox
    channels(monkeypatch, mail_url(port))
    notifier.Alert().notify(context())
    (letter,) = [message_from_bytes(x, policy=policy.default) for x in letters]
    body = letter.get_body(("plain", "html"))
    assert "Lethe: retention_purge needs you" in letter["Subject"]
    assert body is not None and all(part in body.get_content() for part in TOLD)


def test_every_channel_is_told(
    mailbox: tuple[int, list[bytes]], webhook: tuple[int, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels(monkeypatch, mail_url(mailbox[0]), f"json://127.0.0.1:{webhook[0]}/")
    notifier.Alert().notify(context())
    assert len(mailbox[1]) == 1
    assert all(part in webhook[1][0]["message"] for part in TOLD)


def test_an_error_of_somebody_else_is_named_by_its_type_alone(
    webhook: tuple[int, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels(monkeypatch, f"json://127.0.0.1:{webhook[0]}/")
    notifier.Alert().notify(context(ValueError(f"duplicate key: email = {CANARY}")))
    assert "ValueError" in webhook[1][0]["message"] and "Safe to do now" in webhook[1][0]["message"]
    assert CANARY not in json.dumps(webhook[1])


def test_a_killed_task_is_told_too() -> None:
    assert "it was killed" in notifier.message(context(None))[1]


@pytest.mark.parametrize("urls", [(), ("no-such-channel://x",), (f"json://127.0.0.1:{free_port()}/",)], ids=["none", "unknown", "silent"])
def test_an_alert_that_reaches_nobody_is_an_error(urls: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    channels(monkeypatch, *urls)
    with pytest.raises(notifier.AlertNotLeft, match="could not be sent"):
        notifier.Alert().notify(context())


def test_a_connection_that_is_not_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_LETHE_ALERTS", raising=False)
    monkeypatch.setattr("lethe.airflow.connections.AirflowConnection.get", _not_found)
    with pytest.raises(notifier.AlertNotLeft, match="lethe_alerts"):
        notifier.send("title", "text")


def _not_found(connection_id: str) -> None:
    from airflow.sdk.exceptions import AirflowNotFoundException

    raise AirflowNotFoundException(connection_id)


def waiting() -> dict[str, Any]:
    page = "http://airflow/dags/retention_purge/runs/manual__1/tasks/guard"
    return {"ti": SimpleNamespace(dag_id="retention_purge", task_id="guard", run_id="manual__1", log_url=f"{page}?try_number=1")}


def test_a_plan_that_waits_is_told_with_the_page_on_which_it_is_answered(
    webhook: tuple[int, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels(monkeypatch, f"json://127.0.0.1:{webhook[0]}/")
    notifier.PlanWaits(text="Plan abc would delete 7 rows.")(waiting())
    (told,) = webhook[1]
    assert told["title"] == "Lethe: retention_purge waits for an approval"
    assert (
        "would delete 7 rows" in told["message"]
        and "/tasks/guard/required_actions" in told["message"]
        and "try_number" not in told["message"]
    )


def test_a_plan_waits_all_the_same_when_nobody_could_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    channels(monkeypatch, f"json://127.0.0.1:{free_port()}/")
    said: list[str] = []
    waits = notifier.PlanWaits(text="x")
    monkeypatch.setattr(waits.log, "error", lambda *what: said.append(what[0]))
    waits(waiting())
    assert said == ["Nobody was told that a plan waits: %s"]


@pytest.mark.parametrize(("reason", "alerts"), [("timed_out", 1), ("all_tasks_deadlocked", 1), ("task_failure", 0)])
@pytest.mark.parametrize("dag", ["retention_purge", "policy_audit", "missed_runs", "deadlines"])
def test_a_dag_run_that_took_too_long_is_told_once_and_a_failed_task_not_a_second_time(
    webhook: tuple[int, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, dag: str, reason: str, alerts: int
) -> None:
    """Through Airflow's own code for callbacks of DAGs: the scheduler asks for them, the DAG processor runs them."""
    import structlog
    from airflow.callbacks.callback_requests import DagCallbackRequest
    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.processor import _execute_dag_callbacks

    channels(monkeypatch, f"json://127.0.0.1:{webhook[0]}/")
    request = DagCallbackRequest(
        filepath=f"{dag}.py", dag_id=dag, run_id="scheduled__1", bundle_name="b", bundle_version=None, is_failure_callback=True, msg=reason
    )
    _execute_dag_callbacks(DagBag(dag_folder=str(DAGS)), request, structlog.get_logger())
    assert len(webhook[1]) == alerts
    if alerts:
        assert f"DAG {dag}, run scheduled__1" in webhook[1][0]["message"] and "Safe to do now" in webhook[1][0]["message"]
        assert ("took too long" in webhook[1][0]["message"]) == (reason == "timed_out")


def asked(control: ControlDatabase, kind: str) -> str:
    """A request or question of Monday, 9 November 2026: warned on Friday 13, red on Tuesday 17."""
    at = datetime.fromisoformat("2026-11-09T16:00:00+01:00")
    how: dict[str, Any] = {"channel": "email", "language": "fr", "by": "j.dupont", "request_key": bytes(32), "digest_key": DIGEST_KEY}
    with control.runtime.begin() as connection:
        return open_request(connection, [identifier("email", CANARY)], kind=kind, received_at=at, at=at, **how).request.id


def test_what_is_near_is_told_by_mail_and_webhook_once_and_what_is_red_fails_and_alerts(
    control: ControlDatabase,
    mailbox: tuple[int, list[bytes]],
    webhook: tuple[int, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lethe.airflow.connections.from_airflow", from_environment)
    runtime = make_url(control.url).set(username="lethe_runtime", password=None).render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_DB", runtime)
    monkeypatch.delenv("LETHE_POLICY_DIR", raising=False)
    request, question = asked(control, "access"), asked(control, "question")

    def hour(at: str) -> dict[str, Any]:
        monkeypatch.setattr("lethe.instants.now", lambda: datetime.fromisoformat(at))
        return deadlines.check()

    channels(monkeypatch, f"json://127.0.0.1:{free_port()}/")
    with pytest.raises(notifier.AlertNotLeft):
        hour("2026-11-13T00:05:00+01:00")
    channels(monkeypatch, mail_url(mailbox[0]), f"json://127.0.0.1:{webhook[0]}/")
    assert sorted(hour("2026-11-13T01:05:00+01:00")["told"]) == sorted([f"{request}:reply", f"{question}:reply"])
    assert hour("2026-11-13T02:05:00+01:00")["told"] == []
    (letter,), (posted,) = mailbox[1], webhook[1]
    assert posted["title"] == "Lethe: 2 replies are due soon"
    for said in (letter.decode(), posted["message"]):
        assert request in said and question in said and "2026-11-17" in said and "by law by 2026-12-09" in said
    with pytest.raises(DeadlineMissed) as missed:
        hour("2026-11-17T00:05:00+01:00")
    notifier.Alert().notify({"ti": SimpleNamespace(dag_id="deadlines", task_id="check", run_id="scheduled__1"), "exception": missed.value})
    assert webhook[1][1]["title"] == "Lethe: deadlines needs you" and "Safe to do now: Answer them now" in webhook[1][1]["message"]
    assert request in webhook[1][1]["message"] and len(mailbox[1]) == 2
    with control.runtime.connect() as connection:
        kept = [r.body for r in records(connection, kind="deadlines.checked")]
    assert len(kept) == 4 and CANARY not in str([kept, mailbox[1], webhook[1], missed.value])
