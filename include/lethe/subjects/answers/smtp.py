"""A mail server, by an Airflow connection of type smtp, read as Airflow's own SmtpHook reads it; but TLS is either one or the other.

The standard library's client, step by step, because only the step tells what a failure means: until the server waits for the text nothing
was sent; from then on, until its word on it has come, nobody knows.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parseaddr
from enum import StrEnum

from lethe.connections import Connection, require_mail_tls, switched_on
from lethe.errors import Unreachable
from lethe.subjects.answers.message import Envelope

_WAITS_FOR_TEXT = 354
_DOT_FIRST = re.compile(rb"^\.", re.MULTILINE)


class Outcome(StrEnum):
    """What became of a mail. `unknown`: the text was on its way, and the server's word on it never came."""

    TAKEN = "taken"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The outcome, and the server's code (None: it gave none). Its words are dropped: they may repeat the address."""

    outcome: Outcome
    code: int | None = None


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """A connection that was checked. `sender` is the address that mail comes from, `name` what stands before it, perhaps nothing."""

    connection: Connection
    sender: str
    name: str

    @property
    def timeout(self) -> float:
        """Seconds to wait for each step."""
        return float(self.connection.extra.get("timeout") or 30)


def mail_server(connection: Connection) -> MailServer:
    """The server of that connection. Raises Unreachable when the connection cannot be used as it stands; connects to nothing."""
    require_mail_tls(connection)
    if not connection.host:
        raise Unreachable(f"Connection {connection.id!r} names no host.", fix="Set its host and port.")
    if str(connection.extra.get("auth_type") or "basic") != "basic":
        raise Unreachable(f"Connection {connection.id!r} asks for a login other than basic.", fix="Use a login and a password.")
    name, sender = parseaddr(str(connection.extra.get("from_email") or ""))
    if not sender:
        raise Unreachable(f"Connection {connection.id!r} says no address that mail comes from.", fix="Set `from_email` in its extra.")
    server = MailServer(connection=connection, sender=sender, name=name)
    try:
        fit = server.timeout > 0
    except ValueError:
        fit = False
    if not fit:
        raise Unreachable(f"The timeout of connection {connection.id!r} is no number of seconds.", fix="Write it as 30.")
    return server


def deliver(server: MailServer, mail: Envelope, *, before_text: Callable[[], None]) -> Reply:
    """Hands a mail to the server. `before_text` is called when the server waits for the text: what it raises ends the mail unsent.

    Raises Unreachable when the server does not answer, or not over TLS, or refuses our login: nothing was sent.
    """
    client = _client(server)
    try:
        refused = _offer(client, mail)
        if refused is not None:
            return refused
        before_text()
        return _hand_over(client, mail.content)
    finally:
        client.close()


def _client(server: MailServer) -> smtplib.SMTP:
    where = server.connection
    smtps = not switched_on(where, "disable_ssl")
    context = None if where.extra.get("ssl_context") == "none" else ssl.create_default_context()  # none: loopback only
    client: smtplib.SMTP | None = None
    try:
        if smtps:
            client = smtplib.SMTP_SSL(where.host, where.port or 0, timeout=server.timeout, context=context)
        else:
            client = smtplib.SMTP(where.host, where.port or 0, timeout=server.timeout)
            if not switched_on(where, "disable_tls"):
                client.starttls(context=context)
        client.ehlo_or_helo_if_needed()
        if where.login and where.password:
            client.login(where.login, where.password)
        return client
    except smtplib.SMTPAuthenticationError:
        problem, fix = "refused our login", "Look at its login and password."
    except smtplib.SMTPNotSupportedError:
        problem, fix = "does not offer STARTTLS, or no way to log in", "Look at its port, disable_tls and disable_ssl."
    except ssl.SSLError:
        problem, fix = "has no TLS that can be trusted", "Look at its host, port and certificate."
    except (OSError, smtplib.SMTPException):
        problem, fix = "does not answer", "Look at its host and port; an answer that was not sent is sent by the next try."
    if client is not None:
        client.close()
    raise Unreachable(f"The mail server of connection {where.id!r} {problem}.", fix=fix)


def _offer(client: smtplib.SMTP, mail: Envelope) -> Reply | None:
    """Sender, recipient, and that a text follows; None when the server waits for it."""
    try:
        code, _ = client.mail(mail.sender, ["SMTPUTF8", "BODY=8BITMIME"] if mail.utf8 else [])
        if 200 <= code < 300:
            code, _ = client.rcpt(mail.recipient)
        if 200 <= code < 300:
            code, _ = client.docmd("DATA")
    except smtplib.SMTPNotSupportedError:
        return Reply(outcome=Outcome.REFUSED)
    except (OSError, smtplib.SMTPException):
        return Reply(outcome=Outcome.DEFERRED)
    return None if code == _WAITS_FOR_TEXT else _refusal(code)


def _hand_over(client: smtplib.SMTP, content: bytes) -> Reply:
    """The text, and what the server says to it."""
    try:
        client.send(_DOT_FIRST.sub(b"..", content).removesuffix(b"\r\n") + b"\r\n.\r\n")
        code, _ = client.getreply()
    except (OSError, smtplib.SMTPException):
        return Reply(outcome=Outcome.UNKNOWN)
    if 200 <= code < 300:
        with suppress(OSError, smtplib.SMTPException):
            client.quit()
        return Reply(outcome=Outcome.TAKEN, code=code)
    return _refusal(code) if 400 <= code < 600 else Reply(outcome=Outcome.UNKNOWN, code=code)


def _refusal(code: int) -> Reply:
    return Reply(outcome=Outcome.REFUSED if 500 <= code < 600 else Outcome.DEFERRED, code=code if code > 0 else None)
