"""A real SMTP server on loopback that keeps what it takes, and misbehaves as a test says; and what an answer needs to be sent to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from demo.postgres import free_port
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.forking import forked
from lethe.connections import Connection, parse
from lethe.errors import Unreachable
from lethe.settings import SHIPPED
from lethe.subjects.answers import Sent, send_answer
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import decide_identity, open_request
from lethe.workspace import Workspace

KEY = bytes(range(32))
PERSON = "jeanne.canary@example.org"
RECEIVED = datetime(2026, 11, 9, 9, 0, tzinfo=UTC)
AT = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
SENDER = "privacy@spotrak.com"


@dataclass
class Mailbox:
    """`mails`: what was taken, in order. `rcpt` and `text`: what is said instead of yes to a recipient and to a text. `before_reply` is
    called when the whole text is there and nothing was said to it yet; what it returns is kept from the reply: True closes the line."""

    port: int
    mails: list[Envelope] = field(default_factory=list)
    rcpt: str = ""
    text: str = ""
    before_reply: Callable[[], object] = lambda: None

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if self.rcpt:
            return f"{self.rcpt} {address} is not known"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.text:
            return f"{self.text} {envelope.rcpt_tos[0]} gets nothing"
        self.mails.append(envelope)
        if self.before_reply() is True:
            cast(Any, server.transport).abort()
        return "250 OK"

    def read(self, which: int = -1) -> EmailMessage:
        """A mail, parsed."""
        return cast(EmailMessage, message_from_bytes(self.mails[which].original_content or b"", policy=cast(Any, default)))

    def connection(self, **changes: Any) -> str:
        """`AIRFLOW_CONN_LETHE_SMTP`; what is None in `changes` is left out."""
        extra: dict[str, Any] = {"from_email": SENDER, "disable_ssl": True, "disable_tls": True, "timeout": 20} | changes.pop("extra", {})
        extra = {k: v for k, v in extra.items() if v is not None}
        return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, **changes, "extra": extra})


@contextlib.contextmanager
def mailbox(*, utf8: bool = True, starttls: ssl.SSLContext | None = None, smtps: ssl.SSLContext | None = None) -> Iterator[Mailbox]:
    """A server with a mailbox, until the block ends."""
    box = Mailbox(port=free_port())
    controller = Controller(
        box, hostname="127.0.0.1", port=box.port, enable_SMTPUTF8=utf8, tls_context=starttls, ssl_context=smtps, server_hostname="mail.test"
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def workspace(database: str, mail: str) -> Workspace:
    """The shipped policy over that lethe_db (a libpq URL of the runtime role) and that mail server (a connection, empty: none is set)."""

    def connections(name: str) -> Connection:
        if name == "lethe_smtp" and mail:
            return parse(name, mail)
        if name != "lethe_db":
            raise Unreachable(f"Connection {name!r} is not set.")
        found = parse(name, database)
        return Connection(**{**found.__dict__, "extra": {"digest_key": DIGEST_KEY.hex(), "request_key": KEY.hex()}})

    return Workspace.open(connections=connections, folder=SHIPPED)


def runtime_url(control: ControlDatabase) -> str:
    """Lethe's own database as the runtime role."""
    return str(control.runtime.url.set(drivername="postgresql").render_as_string(hide_password=False))


def opened(control: ControlDatabase, *identifiers: tuple[str, str], decided: str = "", **changes: Any) -> str:
    """The id of a request, with a decision by `decision:reason` where one is given."""
    given = [identifier(kind, value, datasets={"users"}) for kind, value in identifiers or (("email", PERSON),)]
    ask: dict[str, Any] = {"kind": "access", "channel": "email", "language": "fr", "by": "j.dupont"}
    ask |= {"request_key": KEY, "digest_key": DIGEST_KEY, "received_at": RECEIVED, "at": RECEIVED}
    with control.runtime.begin() as connection:
        made = open_request(connection, given, **{**ask, **changes}).request.id
        if decided:
            decision, reason = decided.split(":")
            decide_identity(connection, made, decision=decision, reason=reason, by="a.martin", at=AT)
    return made


def answer(where: Workspace, request: str, kind: str = "received", **more: Any) -> Sent:
    """Sends an answer as the tests do."""
    return send_answer(where, request, kind, **{"words": {}, "by": "a.martin", "at": AT, **more})


def send_once(database: str, mail: str, request: str, die_at: str, told: str) -> None:
    """Sends an answer in a process of its own, which dies by SIGKILL where `die_at` says; writes to the file `told` when it did not."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    steps = {
        "opening the address": "lethe.subjects.answers.sending.show_identifiers",
        "connecting": "lethe.subjects.answers.smtp._client",
        "naming the recipient": "smtplib.SMTP.rcpt",
        "announcing the text": "smtplib.SMTP.docmd",
        "sending the text": "lethe.subjects.answers.smtp._hand_over",
        "saying goodbye": "smtplib.SMTP.quit",
        "recording": "lethe.subjects.answers.sending._settled",
    }
    with workspace(database, mail) as where, patch(steps[die_at], die) if die_at in steps else contextlib.nullcontext():
        Path(told).write_text(answer(where, request).model_dump_json())


def process(*given: str) -> BaseProcess:
    """A process that will do `send_once`; not started yet."""
    return forked(send_once, *given)
