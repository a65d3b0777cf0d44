"""An answer as a mail: headers that cannot be injected into, and nothing that would follow its reader. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from lethe.errors import IdentifierRefused
from lethe.subjects.answers.render import Letter
from lethe.subjects.identifiers import identifier


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file beside the text. `media_type` such as `application/pdf`."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What is handed to a mail server. `utf8`: an address has letters outside ASCII, which needs a server that takes them (RFC 6531)."""

    sender: str = field(repr=False)
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)
    utf8: bool


def address(text: str, *, name: str = "") -> Address:
    """An e-mail address for a header: its domain in ASCII, its local part as it was given. Raises IdentifierRefused, without the text."""
    if any(not c.isprintable() for c in name):
        raise IdentifierRefused("A name in a header holds a line break, or a character that is not seen.", fix="Write it on one line.")
    found = identifier("email", text, fold_local=False)
    local, domain = found.value.split("@")[0], found.normal.split("@")[1]
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = local[1:-1]
    return Address(display_name=name, username=local, domain=domain)


def message_id(reference: str, sender: Address) -> str:
    """The same for the same answer each time, so that a mail that came twice after all is known as one."""
    return f"<{reference}@{sender.domain}>"


def envelope(
    letter: Letter,
    *,
    sender: Address,
    recipient: Address,
    reply_to: Address,
    reference: str,
    at: datetime,
    attached: Sequence[Attachment] = (),
) -> Envelope:
    """The mail: plain text, no picture, no link but those of the text, marked as an automatic reply (RFC 3834); files beside it, if any."""
    utf8 = not (sender.addr_spec + recipient.addr_spec + reply_to.addr_spec).isascii()
    mail = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    mail["From"], mail["To"], mail["Reply-To"] = sender, recipient, reply_to
    mail["Subject"] = letter.subject
    mail["Date"] = at
    mail["Message-ID"] = message_id(reference, sender)
    mail["Auto-Submitted"] = "auto-replied"
    mail.set_content(letter.text, cte="quoted-printable")
    mail["Content-Language"] = letter.language.value  # after the text: set_content clears what begins with Content-
    for each in attached:
        main, _, sub = each.media_type.partition("/")
        mail.add_attachment(each.content, maintype=main, subtype=sub, filename=each.name)
    if attached:
        mail.set_boundary(f"=_{reference}")  # not by chance: the same answer is the same mail
    return Envelope(sender=sender.addr_spec, recipient=recipient.addr_spec, content=mail.as_bytes(), utf8=utf8)
