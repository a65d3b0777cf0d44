"""Replies that are owed: warned on business day 3, red on day 5, told once, gone with the answer, and nobody named in the evidence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from helpers import traces
from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.accountability.owed import LegalStage, Owed, Stage, check_deadlines, report_deadlines
from lethe.cli import app
from lethe.connections import Connection, parse
from lethe.control.requests import NO_LEGAL_DEADLINE, RequestKind, RequestState
from lethe.control.tables import request_answers
from lethe.deadlines import Due
from lethe.errors import DeadlineMissed, DeadlineUnknown, LetheError, NotInForce, ProofNotNeeded, RequestRefused
from lethe.evidence.ledger import records
from lethe.policy.period import Period
from lethe.policy.terms import Terms
from lethe.subjects.extending import extend
from lethe.subjects.identifiers import identifier
from lethe.subjects.proofs import store_proof
from lethe.subjects.readiness import undecided
from lethe.subjects.requests import decide_identity, move_on, open_request
from lethe.workspace import Workspace

PARIS = ZoneInfo("Europe/Paris")
CANARY = "jeanne.canary@example.org"
KEY = bytes(range(32))
RECEIVED = "2026-11-09T16:00:00+01:00"  # a Monday; Wednesday is a holiday: warned on Friday 13, red on Tuesday 17


class NobodyTold(LetheError):
    """No channel took a warning."""


@dataclass
class Desk:
    """Lethe's own database, those who answer, and what they were told."""

    control: ControlDatabase
    workspace: Workspace
    told: list[Owed] = field(default_factory=list)

    def ask(self, kind: str = "access", received: str = RECEIVED, **changes: Any) -> str:
        given: dict[str, Any] = {"channel": "email", "language": "fr", "by": "j.dupont", "request_key": KEY, "digest_key": DIGEST_KEY}
        at = datetime.fromisoformat(received)
        values = {**given, "received_at": at, "at": at, "tenant": "42" if kind == "tenant_instruction" else None, **changes}
        with self.control.runtime.begin() as connection:
            return open_request(connection, [identifier("email", CANARY)], kind=kind, **values).request.id

    def move(self, request: str, *states: str) -> None:
        with self.control.runtime.begin() as connection:
            for state in states:
                if state in ("accepted", "refused"):
                    how = {"accepted": ("accept", "known_address"), "refused": ("refuse", "not_proven")}[state]
                    decide_identity(connection, request, decision=how[0], reason=how[1], by="a.martin")
                else:
                    move_on(connection, request, RequestState(state), by="a.martin")

    def owed(self, at: str) -> dict[str, Owed]:
        return {each.request: each for each in check_deadlines(self.workspace, datetime.fromisoformat(at))}

    def stage(self, request: str, at: str) -> Stage:
        return self.owed(at)[request].stage

    def tell(self, near: Sequence[Owed]) -> None:
        self.told += near

    def check(self, at: str, tell: Any = None) -> dict[str, Any]:
        return report_deadlines(self.workspace, at=datetime.fromisoformat(at), tell=tell or self.tell)

    def evidence(self) -> list[dict[str, Any]]:
        with self.control.runtime.connect() as connection:
            return [r.content for r in records(connection, kind="deadlines.checked")]


@pytest.fixture
def desk(control: ControlDatabase) -> Iterator[Desk]:
    url = make_url(control.url).set(username="lethe_runtime", password=None).render_as_string(hide_password=False)

    def connections(name: str) -> Connection:
        return parse(name, url)

    with Workspace.open(connections) as workspace:
        yield Desk(control, workspace)


@pytest.mark.parametrize(
    ("received", "warned", "red"),
    [
        (RECEIVED, "2026-11-13", "2026-11-17"),  # over 11 November
        ("2026-12-23T23:30:00+00:00", "2026-12-30", "2027-01-04"),  # 24 December in Paris; over Christmas and New Year
        ("2026-10-23T14:30:00+02:00", "2026-10-28", "2026-10-30"),  # over the end of summer time
        ("2027-03-26T14:30:00+01:00", "2027-04-01", "2027-04-05"),  # over its beginning and Easter Monday
    ],
)
def test_a_clock_changes_at_midnight_in_paris_of_business_days_three_and_five(desk: Desk, received: str, warned: str, red: str) -> None:
    request, question = desk.ask(received=received), desk.ask("question", received)
    for each in (request, question):
        for day, before, after in ((warned, Stage.FINE, Stage.WARN), (red, Stage.WARN, Stage.RED)):
            first = datetime.fromisoformat(day).replace(tzinfo=PARIS)
            evening = (first - timedelta(microseconds=1)).isoformat()
            assert (desk.stage(each, evening), desk.stage(each, first.isoformat())) == (before, after)


def test_what_is_owed_has_its_days_and_the_law_s_deadline_is_the_earlier_and_the_rolled_day(desk: Desk) -> None:
    request = desk.ask(received="2026-11-25T10:00:00+01:00")
    others = {kind: desk.ask(kind, received="2026-11-25T10:00:00+01:00") for kind in ("question", "tenant_instruction", "processor_list")}
    found = desk.owed("2026-12-17T23:59:59+01:00")
    each = found[request]
    assert (each.kind, each.state, each.received_on, each.reply_on) == ("access", "received", date(2026, 11, 25), date(2026, 12, 2))
    assert each.legal == Due(raw=date(2026, 12, 25), rolled=date(2026, 12, 28)) and each.legal_stage is LegalStage.FINE
    for at, stage in (("2026-12-18T00:00:00+01:00", "near"), ("2026-12-28T23:59:59+01:00", "near"), ("2026-12-29T00:00:00+01:00", "over")):
        later = desk.owed(at)
        assert (later[request].legal_stage, later[others["processor_list"]].legal_stage) == (stage, stage)
        assert [later[others[kind.value]].legal for kind in sorted(NO_LEGAL_DEADLINE)] == [None, None]


def test_an_extension_moves_the_law_s_deadline_and_not_the_promised_reply(desk: Desk) -> None:
    request, neighbour = desk.ask(), desk.ask()
    with desk.control.runtime.begin() as connection:
        at = datetime.fromisoformat("2026-12-01T10:00:00+01:00")
        extend(connection, request, reason="complexity", by="a.martin", at=at)
    found = desk.owed("2026-12-15T10:00:00+01:00")
    assert (found[request].legal, found[request].extended) == (Due(raw=date(2027, 2, 9), rolled=date(2027, 2, 9)), True)
    assert (found[request].legal_stage, found[neighbour].legal_stage) == (LegalStage.FINE, LegalStage.OVER)
    assert found[request].stage is Stage.RED and found[request].reply_on == date(2026, 11, 17)
    assert desk.owed("2027-02-02T00:00:00+01:00")[request].near == ("extended",)


def test_a_question_takes_its_short_way_and_leaves_when_it_is_answered(desk: Desk) -> None:
    question, neighbour = desk.ask("question"), desk.ask("question")
    for state in ("accepted", "refused", "waiting_identity", "located", "closed"):
        with pytest.raises(RequestRefused, match="leads to answered"):
            desk.move(question, state)
    with pytest.raises(RequestRefused, match="asks for no data"):
        undecided(desk.workspace, [question])
    with pytest.raises(ProofNotNeeded):
        store_proof(desk.workspace, question, b"%PDF", by="a.martin")
    with pytest.raises(RequestRefused, match="question"), desk.control.runtime.begin() as connection:
        extend(connection, question, reason="complexity", by="a.martin", at=datetime.fromisoformat(RECEIVED))
    desk.move(question, "answered")
    assert set(desk.owed("2026-11-30T10:00:00+01:00")) == {neighbour}
    desk.move(question, "closed")


def test_a_clock_runs_until_the_answer_or_the_refusal_was_given(desk: Desk) -> None:
    at = "2026-11-20T10:00:00+01:00"
    ways = {"accepted": ("accepted",), "waiting": ("waiting_identity",), "located": ("accepted", "located"), "refused": ("refused",)}
    running = {name: desk.ask() for name in ways}
    for name, states in ways.items():
        desk.move(running[name], *states)
    ended = [desk.ask(), desk.ask(), desk.ask()]
    desk.move(ended[0], "accepted", "answered")
    desk.move(ended[1], "refused", "closed")
    desk.move(ended[2], "refused")
    assert set(desk.owed(at)) == {*running.values(), ended[2]}
    answer = {"kind": "refused", "number": 1, "sha256": "0" * 64, "prepared_at": datetime.fromisoformat(at)}
    with desk.control.runtime.begin() as connection:
        sent = {"state": "sent", "sent_at": datetime.fromisoformat(at)}
        connection.execute(request_answers.insert().values(**answer, **sent, request=ended[2]))
        connection.execute(request_answers.insert().values(**answer, state="sending", request=running["refused"]))
    assert set(desk.owed(at)) == set(running.values())


def test_of_what_is_near_somebody_is_told_once_and_red_is_red_each_time_until_it_is_answered(desk: Desk) -> None:
    request = desk.ask()
    desk.ask("question", "2026-11-16T10:00:00+01:00")
    assert desk.check("2026-11-12T23:59:59+01:00", tell=pytest.fail)["outcome"] == "clean"
    assert desk.check("2026-11-13T00:05:00+01:00")["told"] == [f"{request}:reply"]
    assert [each.request for each in desk.told] == [request]
    for at in ("2026-11-13T01:05:00+01:00", "2026-11-16T23:05:00+01:00"):
        assert desk.check(at, tell=pytest.fail)["warned"] == [request]
    for at in ("2026-11-17T00:05:00+01:00", "2026-11-18T00:05:00+01:00"):
        with pytest.raises(DeadlineMissed) as missed:
            desk.check(at, tell=pytest.fail)
        assert "1 reply is due" in str(missed.value) and f"{request} (access, received): reply due 2026-11-17" in str(missed.value)
    assert "1 day ago" in str(missed.value) and "lethe request answered" in missed.value.fix
    desk.move(request, "accepted", "answered")
    found = desk.check("2026-11-18T01:05:00+01:00", tell=pytest.fail)
    assert (found["outcome"], found["open"], found["red"]) == ("clean", 1, [])
    assert [e["outcome"] for e in desk.evidence()] == ["clean"] * 4 + ["missed"] * 2 + ["clean"]


def test_of_the_law_s_deadline_somebody_is_told_too_and_of_the_extended_one_again(desk: Desk) -> None:
    request, instruction = desk.ask(), desk.ask("tenant_instruction")
    days = ("2026-12-02T10:00:00+01:00", "2026-12-03T10:00:00+01:00")
    for at in days:
        with pytest.raises(DeadlineMissed):
            desk.check(at)
    assert [each.request for each in desk.told] == [request]
    with desk.control.runtime.begin() as connection:
        extend(connection, request, reason="number", by="a.martin", at=datetime.fromisoformat(days[1]))
    for at in ("2026-12-10T10:00:00+01:00", "2027-02-02T10:00:00+01:00", "2027-02-03T10:00:00+01:00", "2027-02-10T10:00:00+01:00"):
        with pytest.raises(DeadlineMissed) as missed:
            desk.check(at)
    assert [each.request for each in desk.told] == [request, request]
    assert "by law was due 2027-02-09" in str(missed.value) and f"{instruction} (tenant_instruction" in str(missed.value)
    assert desk.evidence()[-1]["legal"] == {"over": 1}


def test_a_deadline_of_the_law_that_is_over_is_red_also_where_a_reply_is_promised_later(desk: Desk) -> None:
    request = desk.ask(terms=Terms(reply=Period("P40BD")))
    assert desk.owed("2026-12-09T23:59:59+01:00")[request].stage is Stage.WARN
    with pytest.raises(DeadlineMissed, match=r"reply due 2027-01-07, in 28 days, by law was due 2026-12-09"):
        desk.check("2026-12-10T00:05:00+01:00")
    assert desk.evidence()[-1]["red"] == [request]


def test_what_nobody_could_be_told_of_is_on_record_and_told_by_the_next_check(desk: Desk) -> None:
    request, red = desk.ask(), None

    def fails(near: Sequence[Owed]) -> None:
        raise NobodyTold("No channel.", fix="Mend it.")

    with pytest.raises(NobodyTold):
        desk.check("2026-11-13T10:00:00+01:00", tell=fails)
    red = desk.ask(received="2026-11-02T10:00:00+01:00")
    with pytest.raises(DeadlineMissed, match="nobody could be told") as missed:
        desk.check("2026-11-13T11:00:00+01:00", tell=fails)
    assert isinstance(missed.value.__cause__, NobodyTold)
    assert [(e["told"], e["warned"], e["red"]) for e in desk.evidence()] == [([], [request], []), ([], [request], [red])]
    with pytest.raises(DeadlineMissed):
        desk.check("2026-11-13T12:00:00+01:00")
    assert [each.request for each in desk.told] == [request]


def test_nobody_is_told_twice_by_a_process_that_was_killed_before_it_told_anybody(desk: Desk) -> None:
    request = desk.ask()

    def killed(near: Sequence[Owed]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.check("2026-11-13T10:00:00+01:00", tell=killed)
    assert desk.evidence() == []
    assert desk.check("2026-11-13T11:00:00+01:00")["told"] == [f"{request}:reply"]
    desk.check("2026-11-13T12:00:00+01:00", tell=pytest.fail)


def test_of_two_checks_at_once_one_tells_and_the_other_waits_for_it(desk: Desk) -> None:
    request = desk.ask()
    at = "2026-11-13T10:00:00+01:00"
    second: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: second.append(desk.check(at, tell=pytest.fail)))
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    def slowly(near: Sequence[Owed]) -> None:
        other.start()
        with desk.control.superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            assert any(connection.scalar(waiting) for _ in range(20_000)), "the second check waits"
        desk.tell(near)

    assert desk.check(at, tell=slowly)["told"] == [f"{request}:reply"]
    other.join(60)
    assert [body["told"] for body in second] == [[]] and len(desk.told) == 1


def test_the_evidence_has_counts_and_ids_and_no_trace_of_a_person(desk: Desk) -> None:
    opened = {kind.value: desk.ask(kind.value) for kind in RequestKind}
    with pytest.raises(DeadlineMissed) as missed:
        desk.check("2026-11-17T10:00:00+01:00")
    (body,) = desk.evidence()
    assert body["stages"] == {kind: {"red": 1} for kind in sorted(opened)} and sorted(body["red"]) == sorted(opened.values())
    assert (body["open"], body["outcome"], body["warned"]) == (len(opened), "missed", [])
    assert traces.in_database(desk.control.url, CANARY) == [] and "canary" not in str(missed.value)


def test_however_many_are_open_the_evidence_stays_small_and_the_error_names_the_first(desk: Desk) -> None:
    desk.ask()
    insert = text(
        "INSERT INTO lethe.requests SELECT (jsonb_populate_record(r, jsonb_build_object('id', 'R-2026-' || lpad(n::text, 8, '0')))).* "
        "FROM lethe.requests r, generate_series(1, 3000) n"
    )
    with desk.control.superuser.begin() as connection:
        connection.execute(insert)
    with pytest.raises(DeadlineMissed, match=r"3001 replies are due.*and 2981 more") as missed:
        desk.check("2026-11-17T10:00:00+01:00")
    (body,) = desk.evidence()
    assert len(missed.value.problem) < 3_000 and len(json.dumps(body)) < 3_000 and body["stages"] == {"access": {"red": 3001}}


def test_an_instant_without_a_zone_or_before_the_first_policy_checks_nothing(desk: Desk) -> None:
    desk.ask()
    with pytest.raises((DeadlineUnknown, ValueError)):
        desk.check("2026-11-17T10:00:00")
    with pytest.raises(NotInForce):
        desk.check("2026-04-30T10:00:00+02:00")
    assert desk.evidence() == []


def test_the_command_opens_a_question_lists_what_is_owed_and_takes_its_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_url(desk.control.url).set(username="lethe_runtime", password=None)
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_DB", url.render_as_string(hide_password=False))
    monkeypatch.setenv("LETHE_DIGEST_KEY", "ab" * 32)
    monkeypatch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("LETHE_POLICY_DIR", raising=False)

    def lethe(*words: str, given: str = "") -> tuple[int, str, str]:
        ended = CliRunner().invoke(app, ["request", *words], input=given)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    late, answered = desk.ask(received="2026-05-04T10:00:00+02:00"), desk.ask(received="2026-05-04T10:00:00+02:00")
    desk.move(answered, "accepted", "answered")
    code, out, _ = lethe("new", "-", "--kind", "question", "--channel", "email", "--by", "j.dupont", given=f"email={CANARY}\n")
    assert code == 0 and "reply by" in out and "by law" not in out
    listed = {r["id"]: r["owed"] for r in json.loads(lethe("list", "--json")[1])["requests"]}
    question = next(iter(set(listed) - {late, answered}))
    assert (listed[late]["stage"], listed[late]["legal_stage"], listed[answered]) == ("red", "over", None)
    assert (listed[question]["stage"], listed[question]["legal_on"]) == ("fine", None)
    code, out, _ = lethe("list")
    assert code == 0 and all(word in out for word in ("question", "fine", "red", "over")) and "canary" not in out
    for wrong in (("--sent",), ("--number", "2")):
        assert lethe("answered", question, *wrong, "--by", "a.martin")[0] == 2
    assert lethe("new", "-", "--kind", "question", "--channel", "letter", "--by", "j.dupont", given="{}")[0] == 0, (
        "nobody has to say who asks"
    )
    code, out, _ = lethe("answered", question, "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["state"] == "answered"
    code, _, err = lethe("answered", late, "--by", "a.martin")
    assert code == 2 and "does not lead to answered" in err
    assert {r for r in desk.owed("2099-11-20T10:00:00+01:00")} & {late, answered, question} == {late}
