"""An export that is killed at every step, and run again: the person gets one bundle and one mail, and nothing of a first try is left."""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Iterator

import psycopg
import pytest

from demo.asking import somebody
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers import mailing
from helpers.export_once import Death, answered, process
from helpers.exporting import AT, Desk, desk_on
from lethe.control.answer_agreement import answer_differences, export_differences
from lethe.control.answers import ANSWERING_LOCK, AnswerKind, answers_of
from lethe.control.exports import EXPORT_LOCK
from lethe.errors import AnswerInDoubt, BundleDiffers, RequestRefused
from lethe.evidence.ledger import walk
from lethe.subjects.answers.by_hand import settle
from lethe.subjects.bundle.verify import contents, problems
from lethe.subjects.bundle.writing import LIMIT

pytestmark = pytest.mark.timeout(300)

SMALL = 160_000
"""Bytes of a part, so that the person's bundle has several."""

EXPORTING, JUDGING, ANSWERING = (f"lethe.subjects.{m}" for m in ("exporting", "judging", "answering"))
SEND = "lethe.stores.s3.upload.Upload._send"

DEATHS: dict[str, tuple[Death, int]] = {
    "nothing is found yet": ((f"{EXPORTING}._begin", "before", 1), LIMIT),
    "begun, nothing is committed": ((f"{EXPORTING}.begin_export", "after", 1), LIMIT),
    "before any byte is sent": ((SEND, "before", 1), LIMIT),
    "in the middle of a part": ((SEND, "after", 1), LIMIT),
    "one part lies there, another is on its way": ((SEND, "after", 2), SMALL),
    "all parts lie there, none is known": ((f"{EXPORTING}._stored", "before", 1), SMALL),
    "parts are stored, not committed": ((f"{EXPORTING}.store_parts", "after", 1), LIMIT),
    "in the middle of reading it back": ((f"{JUDGING}.problems", "after", 1), LIMIT),
    "before it is judged": ((f"{JUDGING}.judge_export", "before", 1), LIMIT),
    "judged, not committed": ((f"{JUDGING}.judge_export", "after", 1), LIMIT),
    "before the answer": ((f"{ANSWERING}.send_answer", "before", 1), LIMIT),
    "answered, tenants are not told": ((f"{ANSWERING}._forward", "before", 1), LIMIT),
    "before the end": ((f"{ANSWERING}.move_on", "before", 1), LIMIT),
    "ended, not committed": ((f"{ANSWERING}.move_on", "after", 1), LIMIT),
}
"""Every step that changes something, before and after it; `after` is in the step's own transaction where there is one."""

DOUBTS: dict[str, tuple[Death, int]] = {
    "the text was announced and not sent": (("lethe.subjects.answers.smtp._hand_over", "before", 1), 0),
    "the text was sent and not recorded": (("lethe.subjects.answers.sending._settled", "before", 1), 1),
}
"""And how many mails went."""

SENDING, TABLE = "lethe.subjects.answers.sending", "lethe.control.answers"
FORWARDS: dict[str, tuple[Death, int | None]] = {
    "the person is answered, no tenant is told": ((f"{ANSWERING}.send_forward", "before", 1), None),
    "a forward is prepared, not committed": ((f"{SENDING}.store_prepared", "after", 2), None),
    "a forward is prepared, its mail not begun": ((f"{SENDING}.deliver", "before", 2), None),
    "a forward was announced and not sent": (("lethe.subjects.answers.smtp._hand_over", "before", 2), 0),
    "a forward was sent and not recorded": ((f"{SENDING}._settled", "before", 2), 1),
    "a forward's row is written, not committed": ((f"{TABLE}.update_answer", "after", 2), 1),
    "a forward's first record is written, not committed": ((f"{TABLE}.append", "after", 4), 1),
    "a forward's second record is written, not committed": ((f"{TABLE}.append", "after", 5), 1),
    "one tenant is told, another is not": ((f"{ANSWERING}.send_forward", "after", 1), None),
    "both are told": ((f"{ANSWERING}.send_forward", "after", 2), None),
    "both are told, before the end": ((f"{ANSWERING}.move_on", "before", 1), None),
    "both are told, the end is not committed": ((f"{ANSWERING}.move_on", "after", 1), None),
}
"""Every step of telling two tenants; and how many mails the first of them has where nobody knows. Their first answer is the person's."""


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer, moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch, mailing.mailbox() as box:
        with desk_on(postgres, None, moto, box, patch, tmp_path_factory.mktemp("desk")) as made:
            yield made


@pytest.fixture(scope="module")
def person(desk: Desk) -> str:
    return somebody(desk.source)


CLIENT = "client.of.two@example.org"


@pytest.fixture(scope="module")
def told(desk: Desk) -> list[str]:
    """The addresses of the two tenants that store data about CLIENT."""
    tenants = desk.sql("SELECT id, contact_email FROM app.tenants ORDER BY id::text LIMIT 2")
    for tenant, _ in tenants:
        desk.sql("INSERT INTO app.clients (tenant_id, email, created_at) VALUES (%s, %s, now())", tenant, CLIENT)
    return [address for _, address in tenants]


def killed(desk: Desk, request: str, death: Death, *, harm: tuple[str, ...] = (), limit: int = LIMIT) -> None:
    """Exports in a process that dies; returns when the database knows that it is dead."""
    running = process(request, death, harm=harm, limit=limit)
    running.start()
    running.join(120)
    assert running.exitcode == -signal.SIGKILL, running.exitcode
    with psycopg.connect(desk.control.url, options="-c lock_timeout=60s") as connection:
        for lock in (EXPORT_LOCK, ANSWERING_LOCK):  # its sessions end when the server sees that nobody is at the other end
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [lock, request])


def mails(desk: Desk, request: str) -> int:
    return sum(f"<{request}.bundle_ready.1@" in desk.box.read(n)["Message-ID"] for n in range(len(desk.box.mails)))


def assert_ended_as_if_nothing_had_happened(desk: Desk, request: str, person: str) -> None:
    assert desk.state(request) == "answered" and mails(desk, request) == 1
    assert desk.lying(request) == [f"version lethe-{request}-1.zip"], "no unfinished upload, no old version, no marker"
    (part,) = desk.parts(request)
    assert problems(io.BytesIO(part)) == () and [r["email"] for s, r in contents(io.BytesIO(part)) if s == "users"] == [person]
    told = desk.told(request)
    assert (told.count("bundle.stored"), told.count("bundle.judged")) == (1, 1)
    with desk.control.runtime.connect() as connection:
        states = connection.exec_driver_sql("SELECT state FROM lethe.exports WHERE request = %s", (request,)).scalars().all()
        assert states == ["verified"]
        assert walk(connection).broken is None
        assert answer_differences(connection) == () and export_differences(connection) == ()


@pytest.mark.parametrize("where", DEATHS)
def test_an_export_that_is_killed_ends_as_if_it_had_not_been(desk: Desk, person: str, where: str) -> None:
    request = desk.request(("email", person))
    death, limit = DEATHS[where]
    killed(desk, request, death, limit=limit)
    assert answered(desk.finder, request) == "bundle_ready"
    assert_ended_as_if_nothing_had_happened(desk, request, person)


@pytest.mark.parametrize("where", DOUBTS)
def test_a_mail_that_may_have_gone_is_asked_about_and_never_sent_a_second_time_by_itself(desk: Desk, person: str, where: str) -> None:
    request = desk.request(("email", person))
    death, went = DOUBTS[where]
    killed(desk, request, death)
    assert mails(desk, request) == went
    for _ in range(2):
        with pytest.raises(AnswerInDoubt):
            answered(desk.finder, request)
    assert mails(desk, request) == went and desk.state(request) == "located"
    settle(desk.control.runtime, request, "bundle_ready", sent=went == 1, by="a.martin", at=AT)
    assert answered(desk.finder, request) == "bundle_ready"
    assert_ended_as_if_nothing_had_happened(desk, request, person)


def test_killed_again_and_again_it_still_ends(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    for where in (
        "in the middle of a part",
        "all parts lie there, none is known",
        "in the middle of reading it back",
        "before it is judged",
        "before the end",
    ):
        death, limit = DEATHS[where]
        killed(desk, request, death, limit=limit)
    assert answered(desk.finder, request) == "bundle_ready"
    assert_ended_as_if_nothing_had_happened(desk, request, person)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["delete_parts", "judge_export"])
def test_a_wrong_bundle_is_never_given_out_whenever_its_judge_is_killed(desk: Desk, person: str, where: str, when: str) -> None:
    request = desk.request(("email", person))
    killed(desk, request, (f"{JUDGING}.{where}", when, 1), harm=("users",))
    assert desk.state(request) == "located" and mails(desk, request) == 0
    with pytest.raises(BundleDiffers):
        answered(desk.finder, request)
    assert desk.lying(request) == [] and mails(desk, request) == 0
    assert answered(desk.finder, request) == "bundle_ready"
    assert [e["outcome"] for e in desk.evidence(request, "bundle.judged")] == ["differs", "clean"]
    assert desk.lying(request) == [f"version lethe-{request}-1.zip"] and mails(desk, request) == 1
    with desk.control.runtime.connect() as connection:
        assert export_differences(connection) == ()


@pytest.mark.parametrize("where", FORWARDS)
def test_each_tenant_is_told_once_and_that_is_on_record_once_whenever_the_sender_is_killed(desk: Desk, told: list[str], where: str) -> None:
    request, before = desk.request(("email", CLIENT)), len(desk.box.mails)
    death, went = FORWARDS[where]
    killed(desk, request, death)
    if went is not None:
        for _ in range(2):
            with pytest.raises(AnswerInDoubt):
                answered(desk.finder, request)
        settle(desk.control.runtime, request, "forwarded", sent=went == 1, by="a.martin", at=AT)
    for _ in range(2):
        with contextlib.suppress(RequestRefused):  # the second time it is answered, and that is all
            assert answered(desk.finder, request) == "nothing_held"
    assert sorted(m.rcpt_tos[0] for m in desk.box.mails[before:]) == sorted([CLIENT, *told]) and desk.state(request) == "answered"
    forwarded = desk.evidence(request, "request.forwarded")
    assert sorted(e["number"] for e in forwarded) == [1, 2] and len({e["tenant"] for e in forwarded}) == 2
    with desk.control.runtime.connect() as connection:
        rows = [a for a in answers_of(connection, request) if a.kind is AnswerKind.FORWARDED]
        assert walk(connection).broken is None and answer_differences(connection) == ()
    assert {(a.number, a.tenant, a.sha256) for a in rows} == {(e["number"], e["tenant"], e["sha256"]) for e in forwarded}
