"""The legal deadline of a request, extended once by two further months (GDPR, Article 12(3)); the person is told why within the first."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from lethe.control.requests import UNDECIDED, Request, RequestKind, RequestState, request_of, set_extended
from lethe.deadlines import PARIS, request_due
from lethe.errors import RequestRefused
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.policy.terms import Terms
from lethe.subjects.requests import check_login


class ExtensionReason(StrEnum):
    """Why more time is needed: the two reasons that the article knows."""

    COMPLEXITY = "complexity"
    NUMBER = "number"


def extend(
    connection: Connection,
    request_id: str,
    *,
    reason: str,
    by: str,
    at: datetime | None = None,
    zone: str = PARIS,
    terms: Terms | None = None,
) -> Request:
    """Extends the legal deadline to three months after receipt, in the caller's transaction. The reply promised by the policy stays.

    Raises RequestRefused when it was extended before, the first month is over, nothing is left to answer, or it is a tenant's instruction or
    a question, which have no such deadline; DeadlineUnknown; UnknownName.
    """
    at = at or now()
    check_login(by)
    if reason not in set(ExtensionReason):
        raise RequestRefused("That is no reason to extend.", fix=f"Choose one of: {', '.join(ExtensionReason)}.")
    request = request_of(connection, request_id, lock=True)
    if request.kind == RequestKind.TENANT_INSTRUCTION:
        raise RequestRefused("A tenant's instruction has no deadline of Article 12(3).", fix="Agree a day with the tenant.")
    if request.kind == RequestKind.QUESTION:
        raise RequestRefused("A question has no deadline of Article 12(3).", fix=f"Answer it by {request.reply_due_on}.")
    if request.extended_to is not None:
        raise RequestRefused("This request was extended before, and is extended once only.", fix=f"Answer it by {request.extended_to}.")
    if request.state not in {*UNDECIDED, RequestState.ACCEPTED, RequestState.LOCATED}:
        raise RequestRefused(f"Request {request.id} is {request.state}: nothing is left to answer later.", fix="Close it.")
    if local_day(at, zone) > request.legal_due_on:
        raise RequestRefused("The first month is over: it is too late to extend.", fix="Answer at once, and say why it is late.")
    extended = request_due(request.received_at, zone=zone, terms=terms).extended.raw
    changed = set_extended(connection, request, extended)
    body = {"request": request.id, "by": by, "reason": reason, "extended_to": extended.isoformat()}
    append(connection, "request.extended", body, run=request.id, at=at)
    return changed
