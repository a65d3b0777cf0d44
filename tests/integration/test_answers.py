"""Answers by mail, to a real SMTP server: sent once and not twice, on record, and with nothing said that should not be."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, text
from typer.testing import CliRunner

from demo.postgres import free_port
from demo.services import listens
from helpers import mailing, traces
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.mailing import AT, KEY, PERSON, Mailbox, answer, opened, runtime_url, workspace
from lethe.cli import app
from lethe.control.answers import Answer, AnswerKind, AnswerState, answering, answers_of, update_answer
from lethe.errors import AnswerInDoubt, AnswerRefused, IdentifierRefused, LetheError, NoAddress, RequestRefused, UnknownName, Unreachable
from lethe.evidence.ledger import append, records, walk
from lethe.settings import SHIPPED
from lethe.subjects.answers import send_answer, send_forward
from lethe.subjects.answers.by_hand import print_answer, settle
from lethe.workspace import Workspace

PART = {"link": "https://objects.example.com/part-1.zip?X-Amz-Signature=s3cret", "size": 10, "sha256": "ab" * 32}
BUNDLE = {"parts": [PART], "works_until": "2026-12-10T13:05:00+00:00"}


@pytest.fixture
def here(control: ControlDatabase, mailbox: Mailbox) -> Iterator[Workspace]:
    with workspace(runtime_url(control), mailbox.connection()) as where:
        yield where


@contextlib.contextmanager
def mailing_to(control: ControlDatabase, connection: str) -> Iterator[Workspace]:
    with workspace(runtime_url(control), connection) as where:
        yield where


def state(control: ControlDatabase, request: str) -> list[tuple[str, int, str]]:
    with control.runtime.connect() as connection:
        return [(a.kind.value, a.number, a.state.value) for a in answers_of(connection, request)]


def told(control: ControlDatabase, request: str) -> list[str]:
    """The kinds of record of a request, but that of its opening."""
    with control.runtime.connect() as connection:
        return [r.kind for r in records(connection, run=request) if r.kind != "request.opened"]


def test_an_answer_arrives_and_is_on_record_without_the_address(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control)
    sent = answer(here, asked)
    mail = mailbox.read()
    assert mailbox.mails[0].rcpt_tos == [PERSON] and mail["To"] == PERSON and mail["From"] == "SPOTRAK LLC <privacy@spotrak.com>"
    assert mail["Message-ID"] == f"<{asked}.received.1@spotrak.com>" == sent.answer.message_id
    assert (mail["Auto-Submitted"], mail["Content-Language"], mail["Reply-To"]) == ("auto-replied", "fr", "privacy@spotrak.com")
    assert mail["Date"].datetime == AT and mail.get_content_type() == "text/plain" and asked in mail["Subject"]
    body = mail.get_content()
    assert "17 novembre 2026" in body and "9 décembre 2026" in body and PERSON not in body + mail["Subject"]
    assert (sent.answer.state, sent.answer.sent_at, sent.already) == (AnswerState.SENT, AT, False)
    assert told(control, asked) == ["request.identifiers_read", "request.answer_prepared", "request.answer_sent"]
    with control.runtime.connect() as connection:
        content = next(iter(records(connection, kind="request.answer_sent"))).content
        assert content == {"request": asked, "kind": "received", "number": 1, "sha256": sent.answer.sha256,
                           "message": f"{asked}.received.1", "code": 250}  # fmt: skip
        assert walk(connection).broken is None
    assert traces.in_database(control.url, PERSON) == [] and traces.in_database(control.url, "canary") == []


def test_an_answer_that_was_sent_is_not_sent_again_and_another_of_its_kind_is(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace
) -> None:
    asked = opened(control, decided="ask_more:proof_missing")
    first = answer(here, asked, "proof_wanted")
    again = answer(here, asked, "proof_wanted", words={"reason": "proof_unreadable"})
    assert again.already and again.answer == first.answer and len(mailbox.mails) == 1 and len(told(control, asked)) == 4
    second = answer(here, asked, "proof_wanted", words={"reason": "proof_unreadable"}, number=2)
    assert not second.already and [m["Message-ID"] for m in (mailbox.read(0), mailbox.read(1))] == [
        f"<{asked}.proof_wanted.{n}@spotrak.com>" for n in (1, 2)
    ]
    assert "aucune preuve" in mailbox.read(0).get_content() and "lisible" in mailbox.read(1).get_content(), (
        "the decision's reason, the given one"
    )


def test_the_known_and_the_unknown_read_the_same_before_the_decision(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    known = opened(control, ("email", PERSON), ("account", "users:1"))
    unknown = opened(control, ("email", "nobody.canary@example.org"))
    answer(here, known)
    answer(here, unknown)

    def plain(which: int, request: str) -> list[str]:
        mail: EmailMessage = mailbox.read(which)
        heads = [f"{k}: {v}" for k, v in mail.items() if k != "To"]
        return [t.replace(request, "ID") for t in (*heads, mail.get_content())]

    assert plain(0, known) == plain(1, unknown)


def test_every_answer_goes_to_the_first_address_that_the_request_was_made_with(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace
) -> None:
    asked = opened(control, ("account", "users:7"), ("email", "First.Canary@Example.org"), ("email", PERSON))
    answer(here, asked)
    assert [m.rcpt_tos for m in mailbox.mails] == [["First.Canary@example.org"]], "the local part as it was typed, one address alone"


def test_each_kind_is_sent_in_its_turn(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    accepted, refused = opened(control, decided="accept:document_seen", language="en"), opened(control, decided="refuse:not_proven")
    instructed = opened(control, kind="tenant_instruction", channel="tenant", tenant="42", decided="accept:signed_in")
    answer(here, accepted, "bundle_ready", words=BUNDLE)
    answer(here, accepted, "nothing_held")
    answer(here, refused, "refused")
    answer(here, instructed, "instruction_ready", words=BUNDLE, to="office@tenant.example")
    assert mailbox.mails[-1].rcpt_tos == ["office@tenant.example"], "to the tenant, not to its client"
    subjects = [mailbox.read(i)["Subject"].replace("\u00a0", " ") for i in range(4)]
    assert subjects[0].endswith("your data is ready") and PART["link"] in mailbox.read(0).get_content()
    assert subjects[1].endswith("we hold nothing about you") and "donner suite" in subjects[2] and "données de votre client" in subjects[3]
    assert "www.cnil.fr/fr/plaintes" in mailbox.read(2).get_content()
    assert traces.in_database(control.url, "s3cret") == []
    for asked, kind in ((refused, "bundle_ready"), (accepted, "refused"), (accepted, "instruction_ready"), (instructed, "bundle_ready")):
        with pytest.raises(RequestRefused):
            answer(here, asked, kind, words=BUNDLE if "ready" in kind else {})
    for asked, kind, to in ((instructed, "instruction_ready", None), (accepted, "bundle_ready", "office@tenant.example")):
        with pytest.raises(RequestRefused):
            answer(here, asked, kind, words=BUNDLE, to=to, number=2)
    assert len(mailbox.mails) == 4


def test_what_cannot_be_answered_is_refused_and_leaves_nothing(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control)
    cases: list[tuple[type[LetheError], dict[str, Any]]] = [
        (RequestRefused, {"kind": "canary"}), (RequestRefused, {"kind": "forwarded"}), (RequestRefused, {"by": PERSON}),
        (RequestRefused, {"number": 0}), (RequestRefused, {"number": 10_000}), (RequestRefused, {"words": {"canary": "x"}}),
        (RequestRefused, {"kind": "bundle_ready", "words": BUNDLE}), (RequestRefused, {"at": datetime(2026, 11, 1, tzinfo=UTC)}),
    ]  # fmt: skip
    for error, change in cases:
        with pytest.raises(error) as refused:
            answer(here, asked, **change)
        assert "canary" not in str(refused.value) and refused.value.fix
    for unknown in (PERSON, "R-2026-00000000", "\x00"):
        with pytest.raises(UnknownName) as missing:
            answer(here, unknown)
        assert "canary" not in str(missing.value)
    with workspace(runtime_url(control), "") as nowhere, pytest.raises(Unreachable, match="lethe_smtp"):
        answer(nowhere, asked)
    assert mailbox.mails == [] and state(control, asked) == [] and told(control, asked) == []


@pytest.mark.parametrize("step", ["rcpt", "text"])
def test_a_recipient_refused_for_good_needs_a_person_and_one_put_off_another_try(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace, step: str
) -> None:
    asked = opened(control)
    setattr(mailbox, step, "451")
    for _ in range(2):
        with pytest.raises(Unreachable, match="code 451") as late:
            answer(here, asked)
        assert "canary" not in str(late.value) and state(control, asked) == [("received", 1, "prepared")]
    setattr(mailbox, step, "550")
    with pytest.raises(AnswerRefused, match="nobody got it") as refused:
        answer(here, asked)
    assert "canary" not in str(refused.value) and state(control, asked) == [("received", 1, "refused")]
    setattr(mailbox, step, "")
    with pytest.raises(AnswerRefused):
        answer(here, asked)
    assert mailbox.mails == []
    settle(here.control, asked, "received", sent=False, by="a.martin", at=AT)
    answer(here, asked)
    assert len(mailbox.mails) == 1 and state(control, asked) == [("received", 1, "sent")]
    acts = [k for k in told(control, asked) if k != "request.identifiers_read"]
    assert acts == [
        "request.answer_prepared",
        *["request.answer_deferred"] * 2,
        "request.answer_refused",
        "request.answered",
        "request.answer_sent",
    ]
    assert traces.in_database(control.url, "canary") == []


def test_a_server_that_is_down_leaves_the_answer_to_the_next_try(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control)
    with mailing_to(control, mailbox.connection(port=free_port())) as down, pytest.raises(Unreachable, match="does not answer") as late:
        answer(down, asked)
    assert "canary" not in str(late.value) and state(control, asked) == [("received", 1, "prepared")]
    assert told(control, asked)[-1] == "request.answer_deferred"
    assert not answer(here, asked).already and len(mailbox.mails) == 1


@pytest.mark.parametrize("says", [b"", b"220 mail.test\r\n", b"554 no service\r\n", b"220 " + b"x" * 20_000 + b"\r\n"])
def test_a_server_that_hangs_up_or_talks_nonsense_is_down(control: ControlDatabase, mailbox: Mailbox, says: bytes) -> None:
    asked = opened(control)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def one() -> None:
            with listener.accept()[0] as line, contextlib.suppress(OSError):
                line.sendall(says)

        thread = threading.Thread(target=one)
        thread.start()
        with mailing_to(control, mailbox.connection(port=listener.getsockname()[1])) as odd, pytest.raises(Unreachable):
            answer(odd, asked)
        thread.join(30)
    assert state(control, asked) == [("received", 1, "prepared")] and mailbox.mails == []


def test_a_line_cut_after_the_text_leaves_the_answer_in_doubt_until_somebody_says(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace
) -> None:
    asked, other = opened(control), opened(control, ("email", "other.canary@example.org"))
    mailbox.before_reply = lambda: True
    for request in (asked, other):
        with pytest.raises(AnswerInDoubt, match="cut off") as doubt:
            answer(here, request)
        assert "canary" not in str(doubt.value) and "--send-again" in doubt.value.fix
    mailbox.before_reply = lambda: None
    assert len(mailbox.mails) == 2 and told(control, asked)[-1] == "request.answer_in_doubt"
    with pytest.raises(AnswerInDoubt):
        answer(here, asked)
    assert len(mailbox.mails) == 2
    settle(here.control, asked, "received", sent=True, by="a.martin", at=AT)
    settle(here.control, other, "received", sent=False, by="a.martin", at=AT)
    assert answer(here, asked).already and not answer(here, other).already
    assert [m["Message-ID"] for m in map(mailbox.read, range(3))][1:] == [f"<{other}.received.1@spotrak.com>"] * 2, "known as one"
    with control.runtime.connect() as connection:
        said = [(r.content["by"], r.content["said"], r.content["was"]) for r in records(connection, kind="request.answered")]
    assert said == [("a.martin", "sent", "sending"), ("a.martin", "send_again", "sending")]


STEPS = {
    "opening the address": (0, "prepared"), "connecting": (0, "prepared"), "naming the recipient": (0, "prepared"),
    "announcing the text": (0, "prepared"), "sending the text": (0, "in doubt"), "before the reply": (1, "in doubt"),
    "saying goodbye": (1, "in doubt"), "recording": (1, "in doubt"), "nowhere": (1, "sent"),
}  # fmt: skip


@pytest.mark.parametrize("die_at", STEPS)
def test_a_sender_that_is_killed_anywhere_never_sends_twice(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace, tmp_path: Path, die_at: str
) -> None:
    asked = opened(control)
    mails, left = STEPS[die_at]
    process = mailing.process(runtime_url(control), mailbox.connection(), asked, die_at, str(tmp_path / "told"))
    if die_at == "before the reply":
        mailbox.before_reply = process.kill
    process.start()
    process.join(60)
    mailbox.before_reply = lambda: None
    assert process.exitcode == (0 if left == "sent" else -9) and (tmp_path / "told").exists() == (left == "sent")
    assert len(mailbox.mails) == mails
    if left == "in doubt":
        for _ in range(2):
            with pytest.raises(AnswerInDoubt):
                answer(here, asked)
        assert len(mailbox.mails) == mails
        settle(here.control, asked, "received", sent=mails == 1, by="a.martin", at=AT)
    answer(here, asked)
    assert len(mailbox.mails) == 1 and state(control, asked) == [("received", 1, "sent")]
    assert told(control, asked).count("request.answer_sent") == (0 if left == "in doubt" and mails else 1)
    with control.runtime.connect() as connection:
        assert walk(connection).broken is None


def test_a_record_that_could_not_be_written_leaves_doubt_and_no_second_mail(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace
) -> None:
    asked = opened(control)

    def broken(connection: Connection, kind: str, *given: Any, **more: Any) -> Any:
        if kind == "request.answer_sent":
            raise OSError("no ledger")
        return append(connection, kind, *given, **more)

    with patch("lethe.control.answers.append", broken), pytest.raises(OSError, match="no ledger"):
        answer(here, asked)
    assert len(mailbox.mails) == 1 and state(control, asked) == [("received", 1, "sending")]
    with pytest.raises(AnswerInDoubt):
        answer(here, asked)
    assert len(mailbox.mails) == 1


def test_a_text_that_could_not_be_announced_is_not_sent_and_the_next_try_sends_it(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace
) -> None:
    asked = opened(control)

    def broken(connection: Connection, stored: Answer, *, was: AnswerState) -> bool:
        if stored.state is AnswerState.SENDING:
            raise OSError("no database")
        return update_answer(connection, stored, was=was)

    with patch("lethe.subjects.answers.sending.update_answer", broken), pytest.raises(OSError, match="no database"):
        answer(here, asked)
    assert mailbox.mails == [] and state(control, asked) == [("received", 1, "prepared")]
    answer(here, asked)
    assert len(mailbox.mails) == 1 and state(control, asked) == [("received", 1, "sent")]


def test_the_longest_address_arrives_whole(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    longest = f"{'x' * 64}@{'.'.join(['a' * 60] * 3)}.org"
    answer(here, opened(control, ("email", longest)))
    assert mailbox.mails[0].rcpt_tos == [longest] and mailbox.read()["To"].addresses[0].addr_spec == longest


def test_of_two_senders_at_once_one_sends(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control)
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go_on.wait(30)

    mailbox.before_reply = wait
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(answer(here, asked).already)) for _ in range(2)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    with psycopg.connect(control.url, autocommit=True) as watch:
        while not watch.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 7214 AND NOT granted").fetchone():
            assert threads[1].is_alive()
    with pytest.raises(Unreachable, match="Another process"), answering(here.control, asked, seconds=1):
        pass
    other = opened(control, ("email", "other.canary@example.org"))
    with answering(here.control, other, seconds=1):
        go_on.set()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [False, True] and len(mailbox.mails) == 1
    assert told(control, asked).count("request.answer_sent") == 1


def test_a_request_without_an_address_is_answered_by_letter(
    control: ControlDatabase, mailbox: Mailbox, here: Workspace, tmp_path: Path
) -> None:
    asked = opened(control, ("account", "users:7"), channel="letter")
    with pytest.raises(NoAddress, match="no e-mail address") as none:
        answer(here, asked)
    assert "--print" in none.value.fix and state(control, asked) == []
    file = tmp_path / "letter.txt"
    print_answer(here, asked, "received", file=file, words={}, by="a.martin", at=AT)
    said = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and said.startswith(f"Votre demande {asked}") and "17 novembre 2026" in said
    assert state(control, asked) == [("received", 1, "prepared")]
    before = told(control, asked)
    with pytest.raises(RequestRefused, match="there already"):
        print_answer(here, asked, "received", file=file, words={}, by="a.martin", at=AT)
    with pytest.raises(RequestRefused, match="next try"):
        settle(here.control, asked, "received", sent=False, by="a.martin", at=AT)
    with pytest.raises(RequestRefused, match="No such answer"):
        settle(here.control, asked, "refused", sent=True, by="a.martin", at=AT)
    assert file.read_text() == said and told(control, asked) == before
    settle(here.control, asked, "received", sent=True, by="a.martin", at=AT)
    assert answer(here, asked).already and mailbox.mails == []
    for act in (
        lambda: settle(here.control, asked, "received", sent=True, by="a.martin", at=AT),
        lambda: print_answer(here, asked, "received", file=tmp_path / "second.txt", words={}, by="a.martin", at=AT),
    ):
        with pytest.raises(RequestRefused, match="already"):
            act()
    assert told(control, asked)[-2:] == ["request.answer_printed", "request.answered"] and not (tmp_path / "second.txt").exists()


def test_each_tenant_gets_one_forward_that_names_nobody(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control, decided="accept:document_seen", kind="erasure")
    first = send_forward(here, asked, "tenant-canary-1", "boss@one.example", "fr", at=AT)
    second = send_forward(here, asked, "tenant-canary-2", "boss@two.example", "en", at=AT)
    again = send_forward(here, asked, "tenant-canary-2", "new.boss@two.example", "en", at=AT)
    assert (
        again.already and second.answer.number == 2 and [m.rcpt_tos for m in mailbox.mails] == [["boss@one.example"], ["boss@two.example"]]
    )
    french, english = mailbox.read(0).get_content(), mailbox.read(1).get_content()
    assert "l’effacement" in french and "9 décembre 2026" in french and "the erasure of personal data" in english
    for mail in map(mailbox.read, range(2)):
        whole = mail.as_string() + mail.get_content()
        assert "jeanne" not in whole and "canary" not in whole and asked in mail["Subject"]
    assert "two.example" not in mailbox.read(0).as_string() and traces.in_database(control.url, "canary") == []
    assert traces.in_database(control.url, "two.example") == []
    other = opened(control, ("email", "other@example.org"), decided="accept:document_seen")
    third = send_forward(here, other, "tenant-canary-2", "boss@two.example", "fr", at=AT)
    assert third.answer.tenant != second.answer.tenant, "two requests cannot be joined by their tenant"
    undecided = opened(control, ("email", "third@example.org"))
    for error, given in (
        (RequestRefused, (undecided, "1", "boss@one.example", "fr")),
        (RequestRefused, (asked, "3", "boss@one.example", "canary")),
        (IdentifierRefused, (asked, "3", "boss@one.example\r\nBcc: canary@x.org", "fr")),
        (UnknownName, ("R-2026-00000000", "3", "boss@one.example", "fr")),
    ):
        with pytest.raises(error) as refused:
            send_forward(here, *given, at=AT)
        assert "canary" not in str(refused.value)
    assert len(mailbox.mails) == 3 and state(control, undecided) == []
    with control.runtime.connect() as connection:
        forwarded = [r.content for r in records(connection, kind="request.forwarded")]
    assert [(e["request"], e["tenant"], e["sha256"]) for e in forwarded] == [
        (s.answer.request, s.answer.tenant, s.answer.sha256) for s in (first, second, third)
    ]
    assert told(control, undecided) == []


def test_a_forward_in_doubt_keeps_back_its_tenant_alone(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control, decided="accept:document_seen")
    mailbox.before_reply = lambda: True
    with pytest.raises(AnswerInDoubt, match=r"forwarded\.1"):
        send_forward(here, asked, "1", "boss@one.example", "fr", at=AT)
    mailbox.before_reply = lambda: None
    send_forward(here, asked, "2", "boss@two.example", "fr", at=AT)
    with pytest.raises(AnswerInDoubt):
        send_forward(here, asked, "1", "boss@one.example", "fr", at=AT)
    assert told(control, asked).count("request.forwarded") == 1
    settle(here.control, asked, "forwarded", number=1, sent=True, by="a.martin", at=AT)
    assert told(control, asked).count("request.forwarded") == 2
    assert send_forward(here, asked, "1", "boss@one.example", "fr", at=AT).already and len(mailbox.mails) == 2


def test_an_address_in_another_script_needs_a_server_that_takes_it(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    unicode, domain = opened(control, ("email", "hélène@bücher.example")), opened(control, ("email", "helene@bücher.example"))
    answer(here, unicode)
    assert mailbox.mails[0].rcpt_tos == ["hélène@xn--bcher-kva.example"] and mailbox.mails[0].smtp_utf8
    with mailing.mailbox(utf8=False) as old, mailing_to(control, old.connection()) as where:
        answer(where, domain)
        assert old.mails[0].rcpt_tos == ["helene@xn--bcher-kva.example"]
        other = opened(control, ("email", "zoé@example.org"))
        with pytest.raises(AnswerRefused) as refused:
            answer(where, other)
        assert "zoé" not in str(refused.value) and len(old.mails) == 1


def test_a_line_that_begins_with_a_dot_arrives_as_it_was(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control)
    text_of = "Bonjour,\n.\n..\n.fin\n"
    with patch("lethe.subjects.answers.render.Environment.get_template") as template:
        template.return_value.render.return_value = f"Sujet\n\n{text_of}"
        answer(here, asked)
    assert mailbox.read().get_content().replace("\r\n", "\n") == text_of


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file of the certificate that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.mark.parametrize("way", ["starttls", "smtps"])
def test_tls_is_used_and_a_certificate_that_nobody_vouches_for_is_not_trusted(
    control: ControlDatabase, certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    context, file = certificate
    asked = opened(control)
    off = "disable_ssl" if way == "starttls" else "disable_tls"
    extra = {"disable_ssl": None, "disable_tls": None, off: True}
    with mailing.mailbox(**{way: context}) as box, mailing_to(control, box.connection(extra=extra)) as where:
        with pytest.raises(Unreachable, match=r"can be trusted|does not answer"):
            answer(where, asked)
        assert box.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        answer(where, asked)
        assert len(box.mails) == 1
    assert told(control, asked)[1:3] == ["request.answer_prepared", "request.answer_deferred"]


def test_a_server_without_starttls_or_with_another_login_gets_nothing(control: ControlDatabase, mailbox: Mailbox) -> None:
    asked = opened(control)
    for changes, names in (
        ({"extra": {"disable_tls": None}}, "STARTTLS"),
        ({"login": "lethe", "password": "pass-canary"}, "log in|refused our login"),
    ):
        with mailing_to(control, mailbox.connection(**changes)) as where, pytest.raises(Unreachable, match=names) as refused:
            answer(where, asked)
        assert "canary" not in str(refused.value)
    assert mailbox.mails == [] and state(control, asked) == [("received", 1, "prepared")]


def test_every_kind_of_the_code_is_one_of_the_database(control: ControlDatabase) -> None:
    asked = opened(control)
    with control.superuser.begin() as connection:
        for kind in AnswerKind:
            connection.execute(
                text("INSERT INTO lethe.request_answers (request, kind, number, tenant, state, sha256, prepared_at) "
                     "VALUES (:request, :kind, 1, :tenant, 'prepared', 'x', now())"),
                {"request": asked, "kind": kind.value, "tenant": b"1" if kind == "forwarded" else None},
            )  # fmt: skip
    assert {k for k, _, _ in state(control, asked)} == set(AnswerKind)


@pytest.fixture
def lethe(control: ControlDatabase, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `lethe` on that database and mailbox; (exit code, stdout, stderr)."""
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_DB", runtime_url(control))
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_SMTP", mailbox.connection())
    monkeypatch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    monkeypatch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    monkeypatch.setenv("LETHE_POLICY_DIR", str(SHIPPED))

    def run(*arguments: str) -> tuple[int, str, str]:
        ended = CliRunner().invoke(app, list(arguments))
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        assert "canary" not in ended.stdout + ended.stderr
        return ended.exit_code, ended.stdout, ended.stderr

    return run


def test_the_command_answers_prints_and_settles(lethe: Any, control: ControlDatabase, mailbox: Mailbox, tmp_path: Path) -> None:
    asked = opened(control, decided="ask_more:proof_missing")
    code, out, _ = lethe("request", "answer", asked, "--kind", "received", "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["state"] == "sent" and len(mailbox.mails) == 1
    code, out, _ = lethe("request", "answer", asked, "--kind", "received", "--by", "a.martin")
    assert code == 0 and "sent already" in out and len(mailbox.mails) == 1
    (tmp_path / "words.json").write_text('{"reason": "proof_unreadable", "answer_by": "2099-12-24"}')
    words = ("--words", str(tmp_path / "words.json"))
    mailbox.before_reply = lambda: True
    code, _, err = lethe("request", "answer", asked, "--kind", "proof_wanted", *words, "--by", "a.martin")
    assert code == 2 and f"{asked}.proof_wanted.1" in err and "24 décembre 2099" in mailbox.read().get_content()
    assert lethe("request", "answered", asked, "--kind", "proof_wanted")[0] == 2
    assert lethe("request", "answered", asked, "--kind", "proof_wanted", "--sent", "--send-again")[0] == 2
    code, out, _ = lethe("request", "answered", asked, "--kind", "proof_wanted", "--sent", "--by", "a.martin")
    assert code == 0 and "is sent" in out
    file = tmp_path / "letter.txt"
    code, out, _ = lethe("request", "answer", asked, "--kind", "proof_wanted", "--number", "2", "--print", str(file), "--by", "a.martin")
    assert code == 0 and "aucune preuve" in file.read_text() and len(mailbox.mails) == 2
    code, out, _ = lethe("request", "show", asked, "--json")
    shown = [(a["kind"], a["number"], a["state"]) for a in json.loads(out)["answers"]]
    assert sorted(shown) == [("proof_wanted", 1, "sent"), ("proof_wanted", 2, "prepared"), ("received", 1, "sent")]
    code, out, _ = lethe("request", "show", asked)
    assert code == 0 and "proof_wanted" in out


def test_a_command_that_is_refused_repeats_nothing_and_sends_nothing(
    lethe: Any, control: ControlDatabase, mailbox: Mailbox, tmp_path: Path
) -> None:
    asked = opened(control)
    for body in ("canary", '["canary"]', '{"canary": 1}', "[" * 100_000):
        (tmp_path / "words.json").write_text(body)
        assert lethe("request", "answer", asked, "--kind", "received", "--words", str(tmp_path / "words.json"), "--by", "a.martin")[0] == 2
    for words in ((asked, "--kind", "canary"), ("canary", "--kind", "received"), (asked, "canary", "--kind", "received"),
                  (asked, "--kind", "received", "--words", "canary.json"), (asked, "--kind", "received", "--print", "/nowhere/canary"),
                  (asked, "--kind", "received", "--by", PERSON)):  # fmt: skip
        assert lethe("request", "answer", *words)[0] == 2
    assert mailbox.mails == [] and state(control, asked) == [] and told(control, asked) == []


def test_the_demo_s_server_keeps_each_mail_for_its_owner_alone(control: ControlDatabase, mailbox: Mailbox, tmp_path: Path) -> None:
    folder, port = tmp_path / "mail", free_port()
    server = subprocess.Popen([sys.executable, "-m", "demo.mail", str(port), str(folder)])
    try:
        while not listens(port):
            assert server.poll() is None
        one, two = opened(control), opened(control, ("email", "zoé@bücher.example"))
        with mailing_to(control, mailbox.connection(port=port)) as where:
            answer(where, one)
            answer(where, two)
        kept = sorted(folder.iterdir())
        assert [f.name for f in kept] == [f"0000{n}-{r}.received.1@spotrak.com.eml" for n, r in ((1, one), (2, two))]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and {stat.S_IMODE(f.stat().st_mode) for f in kept} == {0o600}
        assert one in message_from_bytes(kept[0].read_bytes(), policy=default)["Subject"]
    finally:
        server.terminate()
        assert server.wait(20) == 0


def test_nothing_is_answered_once_the_keys_are_gone(control: ControlDatabase, mailbox: Mailbox, here: Workspace) -> None:
    asked = opened(control, decided="refuse:no_answer")
    answer(here, asked, "refused")
    with control.superuser.begin() as connection:
        connection.execute(text("DELETE FROM lethe.request_identifiers"))
        connection.execute(text("UPDATE lethe.requests SET wrapped_key = NULL, keys_destroyed_at = now()"))
    with pytest.raises(RequestRefused, match="destroyed"):
        send_answer(here, asked, "refused", words={}, by="a.martin", at=AT, number=2)
    assert answer(here, asked, "refused").already and len(mailbox.mails) == 1
