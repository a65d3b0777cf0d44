"""What no program can see, a person vouches for until a day: `lethe attest`. It is in the ledger, and shown as attested, never as verified.

Given with the credentials of an approver, so that what runs cannot vouch for itself.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from lethe.accountability.promises.model import Attested
from lethe.accountability.promises.records import Records
from lethe.errors import AttestationRefused
from lethe.evidence.ledger import append
from lethe.evidence.record import Record
from lethe.instants import local_day
from lethe.policy.controls import ControlKind
from lethe.policy.model import PolicyVersion
from lethe.subjects.requests import check_login

GIVEN, WITHDRAWN = "attestation.given", "attestation.withdrawn"
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,79}")


def attestations(records: Records) -> dict[str, tuple[Record, Attested]]:
    """The attestations that stand, by name, each with its record: the last that was given, unless it was withdrawn since."""
    found: dict[str, tuple[Record, Attested] | None] = {}
    for record in records.descending(GIVEN, WITHDRAWN):
        body = record.content
        if body["name"] not in found:
            found[body["name"]] = (record, _attested(body)) if record.kind == GIVEN else None
    return {name: each for name, each in found.items() if each is not None}


def attest(
    connection: Connection, policy: PolicyVersion, name: str, *, until: date, by: str, at: datetime, reference: str | None = None
) -> Record:
    """Puts on record that `by` vouches for `name` until that day. `reference`: the id of a certificate or report, never words.

    Raises AttestationRefused when no promise asks for it, the day is past or further away than the policy allows; RequestRefused for a login
    that is none.
    """
    _check(policy, name)
    check_login(by)
    longest = max(
        policy.fresh_for.of(c) or at - at
        for p in policy.promises
        for c in p.controls
        if c.kind is ControlKind.ATTESTATION and c.name == name
    )
    today, last = local_day(at, policy.time_zone), local_day(at + longest, policy.time_zone)
    if not today <= until <= last:
        raise AttestationRefused(
            f"The day lies before today or after {last}.", fix="The policy says for how long somebody may vouch for it."
        )
    if reference is not None and not _REFERENCE.fullmatch(reference):
        raise AttestationRefused("The reference is no id.", fix="Give letters, digits and . _ / - only, such as ISO27001/2026-114.")
    body = {"name": name, "by": by, "until": until.isoformat(), "reference": reference, "recorded_by": _login(connection)}
    return append(connection, GIVEN, body, at=at)


def withdraw(connection: Connection, policy: PolicyVersion, name: str, *, by: str, at: datetime) -> Record:
    """Puts on record that nobody vouches for `name` any more. Raises AttestationRefused when nobody does."""
    _check(policy, name)
    check_login(by)
    if name not in attestations(Records(connection=connection)):
        raise AttestationRefused("Nobody vouches for that.", fix="`lethe promises` shows what is attested.")
    return append(connection, WITHDRAWN, {"name": name, "by": by, "recorded_by": _login(connection)}, at=at)


def _check(policy: PolicyVersion, name: str) -> None:
    known = sorted({c.name for p in policy.promises for c in p.controls if c.kind is ControlKind.ATTESTATION})
    if name not in known:
        raise AttestationRefused("No promise asks for that attestation.", fix=f"Known: {', '.join(known) or 'none'}.")


def _attested(body: dict[str, Any]) -> Attested:
    return Attested(by=body["by"], until=date.fromisoformat(body["until"]), reference=body["reference"])


def _login(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT session_user")))
