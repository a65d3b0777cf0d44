"""Requests of persons: sealed, decided once, on record, and gone with their keys."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from demo.buckets import ensure_requests
from demo.objects import ObjectServer
from helpers import traces
from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.cli import app
from lethe.connections import parse
from lethe.control.requests import LEADS_TO, NO_LEGAL_DEADLINE, RequestChannel, RequestKind, RequestState, list_requests
from lethe.errors import RequestRefused, UnknownName, Unopenable
from lethe.evidence.ledger import records, walk
from lethe.evidence.record import keyed_digest
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client
from lethe.subjects.extending import extend
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import (
    REASONS,
    Opened,
    decide_identity,
    destroy_keys,
    move_on,
    open_request,
    show,
    show_identifiers,
)
from lethe.subjects.vault import new_data_key, seal, unseal, unwrap

KEY = bytes(range(32))
CANARY = "jeanne.canary@example.org"
RECEIVED = datetime(2026, 11, 9, 9, 0, tzinfo=UTC)
AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "kind": "access", "channel": "email", "language": "fr", "by": "j.dupont", "request_key": KEY, "digest_key": DIGEST_KEY,
    "received_at": RECEIVED, "at": AT,
}  # fmt: skip
WAY = {
    "received": (), "waiting_identity": ("waiting_identity",), "more_asked": ("ask_more",), "accepted": ("accept",), "refused": ("refuse",),
    "located": ("accept", "located"), "answered": ("accept", "answered"), "closed": ("refuse", "closed"),
}  # fmt: skip


def opened(control: ControlDatabase, address: str = CANARY, **changes: Any) -> Opened:
    with control.runtime.begin() as connection:
        return open_request(connection, [identifier("email", address)], **{**GOOD, **changes})


def act(control: ControlDatabase, request_id: str, step: str) -> None:
    with control.runtime.begin() as connection:
        if step in REASONS:
            decide_identity(connection, request_id, decision=step, reason=min(REASONS[step][1]), by="a.martin", at=AT)
        else:
            move_on(connection, request_id, RequestState(step), by="a.martin", at=AT)


def brought(control: ControlDatabase, state: str) -> str:
    made = opened(control).request.id
    for step in WAY[state]:
        act(control, made, step)
    return made


def everything(control: ControlDatabase) -> list[Any]:
    tables = ("requests", "request_identifiers", "request_decisions", "ledger")
    with control.superuser.connect() as connection:
        return [connection.execute(text(f"SELECT * FROM lethe.{t} ORDER BY 1, 2")).all() for t in tables]


def test_a_request_comes_back_with_its_deadlines_and_its_reading_is_on_record_first(control: ControlDatabase) -> None:
    made = opened(control).request
    assert (made.reply_due_on, made.legal_due_on, made.state, made.identity) == (
        date(2026, 11, 17),
        date(2026, 12, 9),
        "received",
        "claimed",
    )
    with control.runtime.connect() as connection:
        assert show(connection, made.id) == (made, ()) and list_requests(connection) == (made,)
    assert show_identifiers(control.runtime, made.id, by="a.martin", request_key=KEY) == {"email": [CANARY]}
    with pytest.raises(Unopenable, match="another key"):
        show_identifiers(control.runtime, made.id, by="a.martin", request_key=bytes(32))
    with control.runtime.connect() as connection:
        assert [r.kind for r in records(connection, run=made.id)] == ["request.opened", *["request.identifiers_read"] * 2]


def test_nothing_in_the_database_has_a_trace_of_the_address(control: ControlDatabase) -> None:
    made = opened(control).request
    act(control, made.id, "accept")
    show_identifiers(control.runtime, made.id, by="a.martin", request_key=KEY)
    digest = keyed_digest(DIGEST_KEY, "email", CANARY)
    assert traces.in_database(control.url, CANARY) == [] and traces.in_database(control.url, "canary") == []
    with control.runtime.connect() as connection:
        assert all(digest[:12] not in r.body for r in records(connection)) and walk(connection).broken is None
    with control.superuser.begin() as connection:  # the search finds what is there
        connection.execute(text("UPDATE lethe.requests SET wrapped_key = convert_to(:canary, 'UTF8')"), {"canary": CANARY})
    assert traces.in_database(control.url, CANARY) != []


def test_destroyed_keys_leave_nothing_and_the_neighbour_stays(control: ControlDatabase) -> None:
    neighbour = opened(control).request.id
    gone = brought(control, "closed")
    with control.runtime.begin() as connection:
        with pytest.raises(RequestRefused, match="open"):
            destroy_keys(connection, neighbour, by="a.martin")
        destroy_keys(connection, gone, by="a.martin", at=AT)
        with pytest.raises(RequestRefused, match="destroyed"):
            destroy_keys(connection, gone, by="a.martin")
    with pytest.raises(RequestRefused, match="destroyed"):
        show_identifiers(control.runtime, gone, by="a.martin", request_key=KEY)
    with control.superuser.connect() as connection:
        assert connection.scalars(text("SELECT request FROM lethe.request_identifiers")).all() == [neighbour]
        assert connection.execute(text("SELECT id FROM lethe.requests WHERE wrapped_key IS NULL")).scalars().all() == [gone]
    assert show_identifiers(control.runtime, neighbour, by="a.martin", request_key=KEY) == {"email": [CANARY]}
    with control.runtime.connect() as connection:
        assert [r.kind for r in records(connection, run=gone)][-1] == "request.keys_destroyed" and walk(connection).broken is None


def test_open_requests_of_the_same_person_are_named_also_when_two_are_opened_at_once(control: ControlDatabase) -> None:
    first = opened(control).request.id
    closed = brought(control, "closed")
    assert opened(control, "other@example.org").same_person == ()
    found: list[Opened] = []
    threads = [threading.Thread(target=lambda: found.append(opened(control, "Jeanne.Canary@EXAMPLE.org"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(len(o.same_person) for o in found) == [1, 2]
    assert all(first in o.same_person and closed not in o.same_person for o in found)


def test_what_is_no_request_is_refused_and_leaves_nothing(control: ControlDatabase) -> None:
    cases: list[dict[str, Any]] = [
        {"kind": CANARY}, {"channel": CANARY}, {"language": CANARY}, {"by": CANARY}, {"kind": "tenant_instruction"}, {"tenant": "42"},
        {"kind": "tenant_instruction", "tenant": CANARY}, {"received_at": datetime(2026, 11, 11, tzinfo=UTC)},
    ]  # fmt: skip
    for change in cases:
        with pytest.raises(RequestRefused) as refused:
            opened(control, **change)
        assert "canary" not in str(refused.value) and refused.value.fix
    with control.runtime.begin() as connection, pytest.raises(RequestRefused, match="nobody"):
        open_request(connection, [], **GOOD)
    assert everything(control) == [[], [], [], []]


def test_every_choice_of_the_code_is_one_of_the_database(control: ControlDatabase) -> None:
    for kind in RequestKind:
        opened(control, kind=kind.value, tenant="42" if kind == "tenant_instruction" else None)
    for channel in RequestChannel:
        opened(control, channel=channel.value, language="en")
    for decision, (_, reasons) in REASONS.items():
        for reason in reasons:
            asked = "processor_list" if reason == "no_identity_needed" else "access"
            with control.runtime.begin() as connection:
                made = open_request(connection, [identifier("email", CANARY)], **{**GOOD, "kind": asked}).request.id
                decided = decide_identity(connection, made, decision=decision, reason=reason, by="a.martin", channel="airflow")
            assert decided.identity == ("verified" if decision == "accept" and reason != "no_identity_needed" else "claimed")


@pytest.mark.parametrize("kind", sorted(set(RequestKind) - {RequestKind.PROCESSOR_LIST, *NO_LEGAL_DEADLINE}))
def test_nobody_gets_a_person_s_data_without_an_identity(control: ControlDatabase, kind: str) -> None:
    asked = opened(control, kind=kind).request.id
    before = everything(control)
    with pytest.raises(RequestRefused, match="Only the list of processors"), control.runtime.begin() as connection:
        decide_identity(connection, asked, decision="accept", reason="no_identity_needed", by="a.martin")
    assert everything(control) == before


@pytest.mark.parametrize("state", list(RequestState))
def test_a_state_leads_where_the_table_says_and_every_other_way_changes_nothing(control: ControlDatabase, state: RequestState) -> None:
    by_decision = {to: step for step, (to, _) in REASONS.items()}
    refused_at = brought(control, state)
    for to in set(RequestState) - LEADS_TO[state]:
        before = everything(control)
        with pytest.raises(RequestRefused, match="does not lead"):
            act(control, refused_at, by_decision.get(to, to))
        assert everything(control) == before
    for to in LEADS_TO[state]:
        act(control, brought(control, state), by_decision.get(to, to))
    with control.runtime.connect() as connection:
        assert show(connection, refused_at)[0].state == state and walk(connection).broken is None


def test_a_state_of_a_decision_is_reached_by_a_decision_only_and_choices_are_choices(control: ControlDatabase) -> None:
    made = opened(control).request.id
    before = everything(control)
    with control.runtime.begin() as connection:
        with pytest.raises(RequestRefused, match="Only a decision"):
            move_on(connection, made, RequestState.ACCEPTED, by="a.martin")
        for change in ({"decision": CANARY}, {"reason": CANARY}, {"by": CANARY}, {"channel": CANARY}, {"reason": "not_proven"}):
            with pytest.raises(RequestRefused) as refused:
                decide_identity(connection, made, **{"decision": "accept", "reason": "known_address", "by": "a.martin", **change})
            assert "canary" not in str(refused.value)
        for unknown in (CANARY, "R-2026-00000000", "", "\x00"):
            with pytest.raises(UnknownName) as missing:
                decide_identity(connection, unknown, decision="accept", reason="known_address", by="a.martin")
            assert "canary" not in str(missing.value)
    assert everything(control) == before


def test_of_two_deciders_at_once_one_decides(control: ControlDatabase) -> None:
    made = opened(control).request.id
    ready = threading.Barrier(2)
    outcomes: list[str] = []

    def decide(step: str) -> None:
        ready.wait(30)
        try:
            act(control, made, step)
            outcomes.append("decided")
        except RequestRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=decide, args=(step,)) for step in ("accept", "refuse")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["decided", "refused"]
    with control.runtime.connect() as connection:
        assert len(show(connection, made)[1]) == 1 and [r.kind for r in records(connection, kind="request.decided")] == ["request.decided"]


def test_what_was_moved_or_damaged_or_sealed_by_another_key_does_not_open() -> None:
    data_key, wrapped = new_data_key(KEY, "R-1")
    sealed = seal(data_key, "R-1", 1, "email", CANARY)
    assert unseal(unwrap(KEY, "R-1", wrapped), "R-1", 1, "email", sealed) == CANARY
    damaged = bytes([*sealed[:-1], sealed[-1] ^ 1])
    for request, place, kind, body in (("R-2", 1, "email", sealed), ("R-1", 2, "email", sealed), ("R-1", 1, "account", sealed),
                                       ("R-1", 1, "email", damaged), ("R-1", 1, "email", b"")):  # fmt: skip
        with pytest.raises(Unopenable):
            unseal(data_key, request, place, kind, body)
    for request, body in (("R-2", wrapped), ("R-1", wrapped[:-1]), ("R-1", b""), ("R-1", b"\x02" + wrapped[1:])):
        with pytest.raises(Unopenable):
            unwrap(KEY, request, body)


@pytest.mark.parametrize("role", ["approver", "archivist"])
def test_no_other_role_can_read_a_request(control: ControlDatabase, role: str) -> None:
    opened(control)
    for table in ("requests", "request_identifiers", "request_decisions"):
        with pytest.raises(DBAPIError, match="permission denied"), getattr(control, role).connect() as connection:
            connection.execute(text(f"SELECT * FROM lethe.{table}"))


@pytest.fixture
def lethe(control: ControlDatabase, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `lethe` on that database, with buckets of requests; (exit code, stdout, stderr)."""
    objects = f"aws://key:secret@/?{urlencode({'endpoint_url': moto.endpoint, 'region_name': 'us-east-1', 'encryption': 'AES256'})}"
    monkeypatch.setenv("AIRFLOW_CONN_REQUESTS_S3", objects)
    ensure_requests(client(parse("requests_s3", objects)))
    url = make_url(control.url).set(username="lethe_runtime", password=None)
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_DB", url.render_as_string(hide_password=False))
    monkeypatch.setenv("LETHE_DIGEST_KEY", "ab" * 32)
    monkeypatch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    monkeypatch.delenv("LETHE_POLICY_DIR", raising=False)

    def run(*arguments: str, given: bytes | None = None) -> tuple[int, str, str]:
        ended = CliRunner().invoke(app, list(arguments), input=given)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    return run


NEW = ("request", "new", "-", "--kind", "erasure", "--channel", "email", "--by", "j.dupont")


def test_the_command_opens_decides_and_shows(lethe: Any, control: ControlDatabase, tmp_path: Path) -> None:
    code, out, _ = lethe(*NEW, "--json", given=f"email={CANARY}\n".encode())
    made = json.loads(out)
    assert code == 0 and "canary" not in out and made["same_person"] == []
    (tmp_path / "who.json").write_text(json.dumps({"email": CANARY}))
    code, out, _ = lethe("request", "new", str(tmp_path / "who.json"), "--kind", "access", "--channel", "letter", "--by", "j.dupont")
    assert code == 0 and made["id"] in out
    assert lethe("request", "decide", made["id"], "ask-more", "--reason", "proof_missing", "--by", "a.martin")[0] == 0
    code, out, _ = lethe("request", "decide", made["id"], "accept", "--reason", "document_seen", "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["state"] == "accepted"
    for words in (("list",), ("list", "--all", "--json"), ("show", made["id"]), ("show", made["id"], "--json")):
        code, out, _ = lethe("request", *words)
        assert code == 0 and "canary" not in out
    assert "identifiers" not in json.loads(out) and len(json.loads(out)["decisions"]) == 2
    code, out, _ = lethe("request", "show", made["id"], "--identifiers", "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["identifiers"] == {"email": [CANARY]}
    with control.runtime.connect() as connection:
        assert [r.content["by"] for r in records(connection, kind="request.identifiers_read")] == ["a.martin"]


BAD = {
    "line break": ((*NEW,), b'{"email": "canary@example.org\\n.org"}'),
    "two lines": ((*NEW,), b"email=canary\n@example.org"),
    "10,000 characters": ((*NEW,), b"email=" + b"canary" * 2000 + b"@example.org"),
    "too much": ((*NEW,), b"canary" * 20000),
    "an argument": ((*NEW, CANARY), b""),
    "an option": ((*NEW, f"--email={CANARY}"), b""),
    "a file that is not there": (("request", "new", f"email={CANARY}", *NEW[3:]), b""),
    "a kind": (("request", "new", "-", "--kind", CANARY, "--channel", "email"), f"email={CANARY}".encode()),
    "an instant": ((*NEW, "--received-at", CANARY), f"email={CANARY}".encode()),
    "an id to show": (("request", "show", CANARY), b""),
    "an id to read": (("request", "show", CANARY, "--identifiers"), b""),
    "an id to decide": (("request", "decide", CANARY, "accept", "--reason", "known_address", "--by", "a.martin"), b""),
    "more to list": (("request", "list", CANARY), b""),
}


@pytest.mark.parametrize(("words", "given"), BAD.values(), ids=BAD.keys())
def test_a_command_that_is_refused_repeats_nothing_and_changes_nothing(
    lethe: Any, control: ControlDatabase, words: tuple[str, ...], given: bytes
) -> None:
    for more in ((), ("--json",)):
        code, out, err = lethe(*words, *more, given=given)
        assert code == 2 and "canary" not in out + err
    assert everything(control) == [[], [], [], []]


@pytest.mark.parametrize("key", ["", "canary", "ab" * 16])
def test_without_a_whole_key_nothing_is_opened(lethe: Any, control: ControlDatabase, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("LETHE_REQUEST_KEY", key)
    code, out, err = lethe(*NEW, given=f"email={CANARY}".encode())
    assert code == 2 and "LETHE_REQUEST_KEY" in err and "canary" not in out + err
    assert everything(control) == [[], [], [], []]


def extended(control: ControlDatabase, request: str, **changes: Any) -> Any:
    with control.runtime.begin() as connection:
        return extend(connection, request, **{"reason": "complexity", "by": "a.martin", "at": AT, **changes})


def test_a_request_is_extended_once_to_three_months_after_receipt_while_the_first_month_runs(control: ControlDatabase) -> None:
    neighbour, request = opened(control).request, opened(control).request.id
    last_moment, too_late = datetime(2026, 12, 9, 22, 59, tzinfo=UTC), datetime(2026, 12, 9, 23, 0, tzinfo=UTC)
    with pytest.raises(RequestRefused, match="too late"):
        extended(control, request, at=too_late)
    assert extended(control, request, at=last_moment).extended_to == date(2027, 2, 9)
    with pytest.raises(RequestRefused, match="once only"):
        extended(control, request)
    for change in ({"reason": CANARY}, {"by": CANARY}):
        with pytest.raises(RequestRefused) as refused:
            extended(control, neighbour.id, **change)
        assert "canary" not in str(refused.value)
    with pytest.raises(UnknownName):
        extended(control, CANARY)
    for state in ("refused", "answered", "closed"):
        with pytest.raises(RequestRefused, match="nothing is left"):
            extended(control, brought(control, state))
    with pytest.raises(RequestRefused, match="tenant"):
        extended(control, opened(control, kind="tenant_instruction", tenant="42").request.id)
    with control.runtime.connect() as connection:
        assert show(connection, neighbour.id)[0] == neighbour
        assert [r.content["reason"] for r in records(connection, kind="request.extended")] == ["complexity"]


def test_the_command_extends_closes_and_destroys(lethe: Any, control: ControlDatabase) -> None:
    made = json.loads(lethe(*NEW, "--json", given=f"email={CANARY}\n".encode())[1])["id"]
    assert lethe("request", "extend", made, "--reason", "canary", "--by", "a.martin")[0] == 2
    code, out, _ = lethe("request", "extend", made, "--reason", "number", "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["extended_to"] is not None
    assert lethe("request", "close", made, "--by", "a.martin")[0] == 2
    assert lethe("request", "decide", made, "refuse", "--reason", "no_answer", "--by", "a.martin")[0] == 0
    assert lethe("request", "destroy-keys", made, "--by", "a.martin")[0] == 2
    assert lethe("request", "close", made, "--by", "a.martin")[0] == 0
    assert lethe("request", "destroy-keys", made, "--by", "a.martin")[0] == 0
    assert lethe("request", "show", made, "--identifiers", "--by", "a.martin")[0] == 2
    for word in ("close", "destroy-keys"):
        code, out, err = lethe("request", word, CANARY, "--by", "a.martin")
        assert code == 2 and "canary" not in out + err


@pytest.mark.parametrize(("said", "reply"), [("true", "2025-12-30"), ("false", "2025-12-29")])
def test_the_holidays_of_alsace_and_moselle_are_a_setting_of_the_policy(
    lethe: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, reply: str
) -> None:
    """26 December 2025 is a Friday; what came in on the 19th, another Friday, is answered five business days later."""
    policies = Path(shutil.copytree(SHIPPED, tmp_path / "spotrak"))
    file = policies / "2026-05-01" / "policy.yaml"
    file.write_text(file.read_text().replace("alsace_moselle: false", f"alsace_moselle: {said}"))
    monkeypatch.setenv("LETHE_POLICY_DIR", str(policies))
    code, out, _ = lethe(*NEW, "--received-at", "2025-12-19T09:00:00+01:00", "--json", given=f"email={CANARY}".encode())
    assert code == 0 and json.loads(out)["reply_due_on"] == reply
