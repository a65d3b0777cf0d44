"""What happens to a request of a person: it is opened, decided, moved on, read, and its keys are destroyed at its end.

Each act is in the ledger in the same transaction, with ids, choices, dates and logins; never an identifier or its digest.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Connection, Engine

from lethe.control.requests import (
    LEADS_TO,
    QUESTION_LEADS_TO,
    Decision,
    IdentityLevel,
    Language,
    Request,
    RequestChannel,
    RequestKind,
    RequestState,
    decisions_of,
    delete_keys,
    insert_decision,
    insert_identifiers,
    insert_request,
    open_with,
    opening_gate,
    request_of,
    sealed_of,
    update_state,
    wrapped_key_of,
)
from lethe.deadlines import PARIS, RequestDue, request_due
from lethe.errors import RequestRefused
from lethe.evidence.ledger import append
from lethe.evidence.record import keyed_digest
from lethe.instants import now
from lethe.policy.terms import Terms
from lethe.subjects.identifiers import Identifier
from lethe.subjects.vault import new_data_key, seal, unseal, unwrap

_OF_NOBODY = frozenset({RequestKind.TENANT_INSTRUCTION, RequestKind.PROCESSOR_LIST, RequestKind.QUESTION})
Choice = TypeVar("Choice", bound=StrEnum)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TRIES = 5
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")

REASONS: Mapping[str, tuple[RequestState, frozenset[str]]] = {
    "accept": (
        RequestState.ACCEPTED,
        frozenset({"known_address", "document_seen", "signed_in", "mandate_seen", "no_identity_needed"}),
    ),
    "refuse": (RequestState.REFUSED, frozenset({"not_proven", "proof_differs", "no_answer", "no_mandate"})),
    "ask_more": (RequestState.MORE_ASKED, frozenset({"proof_missing", "proof_unreadable", "several_persons"})),
}
"""Each decision about who asks: the state it leads to, and its reasons, which are choices."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A request that was opened, and the ids of the open requests of the same person that were there before."""

    request: Request
    same_person: tuple[str, ...]


def open_request(
    connection: Connection,
    identifiers: Sequence[Identifier],
    *,
    kind: str,
    channel: str,
    language: str,
    by: str,
    request_key: bytes,
    digest_key: bytes,
    tenant: str | None = None,
    received_at: datetime | None = None,
    at: datetime | None = None,
    zone: str = PARIS,
    terms: Terms | None = None,
) -> Opened:
    """Opens a request in the caller's transaction. `received_at` is when it came in, `at` (now) when it is written down.

    `terms`: the policy's deadlines. A question, a list of processors and a tenant's instruction need no identifier. Raises RequestRefused when
    it is no request, DeadlineUnknown when its deadlines cannot be counted, EvidenceRefused when the digest key is short. No text has an identifier.
    """
    at = at or now()
    received_at = received_at or at
    due = check_request(
        identifiers,
        kind=kind,
        channel=channel,
        language=language,
        tenant=tenant,
        received_at=received_at,
        at=at,
        zone=zone,
        terms=terms,
    )
    check_login(by)
    digests = [bytes.fromhex(keyed_digest(digest_key, i.kind, i.normal)) for i in identifiers]
    opening_gate(connection)
    same = open_with(connection, digests)
    for _ in range(_TRIES):
        request = Request(
            id=f"R-{due.received_on.year}-{''.join(secrets.choice(_CROCKFORD) for _ in range(8))}",
            kind=RequestKind(kind),
            channel=RequestChannel(channel),
            language=Language(language),
            received_at=received_at,
            identity=IdentityLevel.CLAIMED if identifiers else IdentityLevel.NONE,
            state=RequestState.RECEIVED,
            reply_due_on=due.reply_on,
            legal_due_on=due.legal.raw,
            extended_to=None,
            tenant=tenant,
            closed_at=None,
            keys_destroyed_at=None,
        )
        data_key, wrapped = new_data_key(request_key, request.id)
        if insert_request(connection, request, wrapped):
            break
    else:
        raise RequestRefused("No free id was found for this request.", fix="Try again; nothing was stored.")
    sealed = [
        (i.kind.value, seal(data_key, request.id, n, i.kind, i.value), digest)
        for n, (i, digest) in enumerate(zip(identifiers, digests, strict=True), start=1)
    ]
    insert_identifiers(connection, request.id, sealed)
    body = request.model_dump(mode="json", include={"kind", "channel", "language", "received_at", "identity", "state"})
    body |= {"request": request.id, "reply_due_on": due.reply_on.isoformat(), "legal_due_on": due.legal.raw.isoformat(), "by": by}
    append(connection, "request.opened", body, run=request.id, at=at)
    return Opened(request=request, same_person=same)


def check_request(
    identifiers: Sequence[Identifier],
    *,
    kind: str,
    channel: str,
    language: str,
    tenant: str | None,
    received_at: datetime,
    at: datetime,
    zone: str = PARIS,
    terms: Terms | None = None,
) -> RequestDue:
    """When a request is due that may be opened so. Stores nothing. Raises RequestRefused, DeadlineUnknown."""
    _choice(RequestChannel, channel, "channel")
    _choice(Language, language, "language")
    _check_whom(_choice(RequestKind, kind, "kind"), tenant, identifiers)
    due = request_due(received_at, zone=zone, terms=terms)
    if received_at > at:
        raise RequestRefused("A request cannot have come in later than now.", fix="Give the instant at which it came in.")
    return due


def show(connection: Connection, request_id: str) -> tuple[Request, tuple[Decision, ...]]:
    """A request and the decisions on it, without identifiers. Raises UnknownName."""
    return request_of(connection, request_id), decisions_of(connection, request_id)


def show_identifiers(engine: Engine, request_id: str, *, by: str, request_key: bytes, at: datetime | None = None) -> dict[str, list[str]]:
    """The identifiers of a request, by kind. That they were asked for is on record, and committed, before the first is opened.

    Raises UnknownName, RequestRefused when their key is destroyed or `by` is no login, Unopenable.
    """
    check_login(by)
    with engine.begin() as connection:
        request = request_of(connection, request_id)
        _refuse_destroyed(request)
        append(connection, "request.identifiers_read", {"request": request.id, "by": by}, run=request.id, at=at or now())
    with engine.connect() as connection:
        wrapped, rows = wrapped_key_of(connection, request.id), sealed_of(connection, request.id)
    if wrapped is None:
        raise _destroyed()
    data_key = unwrap(request_key, request.id, wrapped)
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.kind, []).append(unseal(data_key, request.id, row.position, row.kind, bytes(row.ciphertext)))
    return found


def decide_identity(
    connection: Connection,
    request_id: str,
    *,
    decision: str,
    reason: str,
    by: str,
    channel: str = "credentials",
    proofs: int | None = None,
    at: datetime | None = None,
) -> Request:
    """Says who asks is known, is not, or that more is needed: `decision` and `reason` of REASONS. The row is locked while it is decided.

    `proofs`: how many proofs lay there, for the evidence; None when that is not known. `identity.decide` deletes them, and is what to call.
    Raises RequestRefused when it was decided before, its state does not allow it or a choice is none; UnknownName.
    """
    at = at or now()
    if decision not in REASONS:
        raise RequestRefused("That is no decision.", fix=f"Choose one of: {', '.join(REASONS)}.")
    state, reasons = REASONS[decision]
    if reason not in reasons:
        raise RequestRefused(f"That is no reason to {decision}.", fix=f"Choose one of: {', '.join(sorted(reasons))}.")
    if channel not in {"credentials", "airflow"}:
        raise RequestRefused("That is no channel of a decision.", fix="Choose credentials or airflow.")
    check_login(by)
    request = request_of(connection, request_id, lock=True)
    _check_turn(request, state)
    if reason == "no_identity_needed" and request.kind != RequestKind.PROCESSOR_LIST:
        raise RequestRefused("Only the list of processors is given to whoever asks.", fix="Give the reason by which you know who asks.")
    verified = decision == "accept" and reason != "no_identity_needed"
    identity = IdentityLevel.VERIFIED if verified else request.identity
    insert_decision(connection, request.id, Decision(at=at, by=by, decision=decision, reason=reason, channel=channel))
    decided = update_state(connection, request, state, identity=identity, at=at)
    body: dict[str, object] = {"request": request.id, "by": by, "decision": decision, "reason": reason, "channel": channel}
    body |= {"from": request.state.value, "to": state.value, "identity": identity.value, "proofs": proofs}
    append(connection, "request.decided", body, run=request.id, at=at)
    return decided


def move_on(connection: Connection, request_id: str, state: RequestState, *, by: str, at: datetime | None = None) -> Request:
    """Takes a request to a state that no decision leads to: waiting, located, answered, closed. Raises RequestRefused, UnknownName."""
    at = at or now()
    check_login(by)
    request = request_of(connection, request_id, lock=True)
    if state in {decided for decided, _ in REASONS.values()}:
        raise RequestRefused("Only a decision leads to that state.", fix="`lethe request decide` records one.")
    _check_turn(request, state)
    moved = update_state(connection, request, state, identity=request.identity, at=at)
    body = {"request": request.id, "by": by, "from": request.state.value, "to": state.value}
    append(connection, "request.state", body, run=request.id, at=at)
    return moved


def destroy_keys(connection: Connection, request_id: str, *, by: str, at: datetime | None = None) -> Request:
    """Destroys the key of a closed request, and its identifiers and digests. Raises RequestRefused when it is open or done; UnknownName."""
    at = at or now()
    check_login(by)
    request = request_of(connection, request_id, lock=True)
    _refuse_destroyed(request)
    if request.state != RequestState.CLOSED:
        raise RequestRefused("A request that is open needs its identifiers.", fix="Answer and close it first.")
    destroyed = delete_keys(connection, request, at=at)
    append(connection, "request.keys_destroyed", {"request": request.id, "by": by}, run=request.id, at=at)
    return destroyed


def _choice(choices: type[Choice], text: str, what: str) -> Choice:
    if text not in set(choices):
        raise RequestRefused(f"That is no {what} of a request.", fix=f"Choose one of: {', '.join(choices)}.")
    return choices(text)


def check_login(name: str) -> None:
    """Raises RequestRefused, without the name, when it is no login."""
    if not _LOGIN.fullmatch(name):
        raise RequestRefused("Who acts on a request is named by a login.", fix="Give a login such as j.dupont, not an address.")


def _check_whom(kind: RequestKind, tenant: str | None, identifiers: Sequence[Identifier]) -> None:
    if (kind == RequestKind.TENANT_INSTRUCTION) != (tenant is not None):
        raise RequestRefused("A tenant's instruction names its tenant, and no other request does.", fix="Give both or neither.")
    if tenant is not None and not _TENANT.fullmatch(tenant):
        raise RequestRefused("A tenant is named by its key, never by a name or an address.", fix="Give the key, such as 42.")
    if not identifiers and kind not in _OF_NOBODY:
        raise RequestRefused("A request without an identifier is nobody's.", fix="Give the address or account of the person.")


def _check_turn(request: Request, state: RequestState) -> None:
    allowed = (QUESTION_LEADS_TO if request.kind is RequestKind.QUESTION else LEADS_TO)[request.state]
    if state not in allowed:
        leads = ", ".join(sorted(allowed)) or "nothing"
        raise RequestRefused(
            f"Request {request.id} is {request.state}, which does not lead to {state}: it leads to {leads}.",
            fix=f"`lethe request show {request.id}` shows what was decided, when and by whom. Nothing was changed.",
        )


def _refuse_destroyed(request: Request) -> None:
    if request.keys_destroyed_at is not None:
        raise _destroyed()


def _destroyed() -> RequestRefused:
    return RequestRefused(
        "The key of this request is destroyed: its identifiers are gone.", fix="`lethe request show` says when; nothing brings them back."
    )
