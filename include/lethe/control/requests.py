"""Requests of persons as stored: the choices, the states with what each leads to, and the SQL. The acts are in `subjects/requests.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.tables import request_decisions, request_identifiers, requests
from lethe.errors import UnknownName
from lethe.frozen import Frozen

OPENING_LOCK = (7211, 3)


class RequestKind(StrEnum):
    """What is asked for. A question is a mail to the contact address that exercises no right: it is answered, and that is all."""

    ACCESS = "access"
    PORTABILITY = "portability"
    RECTIFICATION = "rectification"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    OBJECTION = "objection"
    CONSENT_WITHDRAWAL = "consent_withdrawal"
    POST_MORTEM = "post_mortem"
    PROCESSOR_LIST = "processor_list"
    TENANT_INSTRUCTION = "tenant_instruction"
    QUESTION = "question"


NO_LEGAL_DEADLINE = frozenset({RequestKind.QUESTION, RequestKind.TENANT_INSTRUCTION})
"""What Article 12(3) gives no deadline: a question exercises no right, and a tenant instructs by contract."""


class RequestChannel(StrEnum):
    """How it came in."""

    EMAIL = "email"
    FORM = "form"
    LETTER = "letter"
    TICKET = "ticket"
    TENANT = "tenant"


class Language(StrEnum):
    """In which language the person is answered."""

    FR = "fr"
    EN = "en"


class IdentityLevel(StrEnum):
    """What is known of who asks."""

    NONE = "none"
    CLAIMED = "claimed"
    VERIFIED = "verified"


class RequestState(StrEnum):
    """How far a request is."""

    RECEIVED = "received"
    WAITING_IDENTITY = "waiting_identity"
    MORE_ASKED = "more_asked"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOCATED = "located"
    ANSWERED = "answered"
    CLOSED = "closed"


_S = RequestState
LEADS_TO: Mapping[RequestState, frozenset[RequestState]] = {
    _S.RECEIVED: frozenset({_S.WAITING_IDENTITY, _S.MORE_ASKED, _S.ACCEPTED, _S.REFUSED}),
    _S.WAITING_IDENTITY: frozenset({_S.MORE_ASKED, _S.ACCEPTED, _S.REFUSED}),
    _S.MORE_ASKED: frozenset({_S.WAITING_IDENTITY, _S.ACCEPTED, _S.REFUSED}),
    _S.ACCEPTED: frozenset({_S.LOCATED, _S.ANSWERED}),
    _S.REFUSED: frozenset({_S.ANSWERED, _S.CLOSED}),
    _S.LOCATED: frozenset({_S.ANSWERED}),
    _S.ANSWERED: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
}
"""Every transition that is allowed. A refusal may close without an answer: there may be no address to answer to."""

QUESTION_LEADS_TO: Mapping[RequestState, frozenset[RequestState]] = {
    **{state: frozenset() for state in _S},
    _S.RECEIVED: frozenset({_S.ANSWERED}),
    _S.ANSWERED: frozenset({_S.CLOSED}),
}
"""The short way of a question: nobody has to prove who they are to be answered."""


UNDECIDED = frozenset({_S.RECEIVED, _S.WAITING_IDENTITY, _S.MORE_ASKED})
"""States in which it is open who asks: a proof of identity may lie there."""


class Decision(Frozen):
    """What was decided about who asks, by whom."""

    at: datetime
    by: str
    decision: str
    reason: str
    channel: str


class Request(Frozen):
    """A request without its identifiers. `legal_due_on` is not rolled to a working day; `extended_to` is None unless it was extended."""

    id: str
    kind: RequestKind
    channel: RequestChannel
    language: Language
    received_at: datetime
    identity: IdentityLevel
    state: RequestState
    reply_due_on: date
    legal_due_on: date
    extended_to: date | None
    tenant: str | None
    closed_at: datetime | None
    keys_destroyed_at: datetime | None


_SHOWN = [requests.c[name] for name in Request.model_fields]


def opening_gate(connection: Connection) -> None:
    """Lets one request at a time be opened until the caller's transaction ends, so that two of one person see each other."""
    connection.execute(select(func.pg_advisory_xact_lock(*OPENING_LOCK)))


def insert_request(connection: Connection, request: Request, wrapped_key: bytes) -> bool:
    """Stores a request; false when its id is taken."""
    values = {**request.model_dump(), "wrapped_key": wrapped_key}
    stored = insert(requests).values(values).on_conflict_do_nothing(index_elements=["id"]).returning(requests.c.id)
    return connection.scalar(stored) is not None


def insert_identifiers(connection: Connection, request: str, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
    """Stores kind, ciphertext and digest of each identifier, in order from 1."""
    if rows:
        values = [{"request": request, "position": n, "kind": k, "ciphertext": c, "digest": d} for n, (k, c, d) in enumerate(rows, start=1)]
        connection.execute(request_identifiers.insert(), values)


def insert_decision(connection: Connection, request: str, decision: Decision) -> None:
    """Stores a decision."""
    connection.execute(request_decisions.insert().values(request=request, **decision.model_dump()))


def open_with(connection: Connection, digests: Sequence[bytes]) -> tuple[str, ...]:
    """Ids of the requests that are not closed and have one of these digests. Index: request_identifiers_digest."""
    found = (
        select(requests.c.id)
        .distinct()
        .join(request_identifiers, request_identifiers.c.request == requests.c.id)
        .where(request_identifiers.c.digest.in_(list(digests)), requests.c.state != RequestState.CLOSED.value)
        .order_by(requests.c.id)
    )
    return tuple(connection.scalars(found))


def request_of(connection: Connection, request_id: str, *, lock: bool = False) -> Request:
    """The request of that id, its row locked until the transaction ends where asked; UnknownName, without the text, when there is none."""
    query = select(*_SHOWN).where(requests.c.id == request_id)
    # A text with a NUL is no id, and PostgreSQL takes none.
    row = connection.execute(query.with_for_update() if lock else query).one_or_none() if "\x00" not in request_id else None
    if row is None:
        raise UnknownName("There is no request of that id.", fix="`lethe request list --all` shows them.")
    return Request(**row._mapping)


def states_of(connection: Connection, ids: Collection[str]) -> dict[str, RequestState]:
    """The states of the requests of these ids; one that is not there has none."""
    query = select(requests.c.id, requests.c.state).where(requests.c.id.in_(sorted(i for i in ids if "\x00" not in i)))
    return {row.id: RequestState(row.state) for row in connection.execute(query)}


def list_requests(connection: Connection, *, closed: bool = False) -> tuple[Request, ...]:
    """The requests that are not closed, or all; the one due first comes first."""
    query = select(*_SHOWN).order_by(requests.c.reply_due_on, requests.c.received_at, requests.c.id)
    if not closed:
        query = query.where(requests.c.state != RequestState.CLOSED.value)
    return tuple(Request(**row._mapping) for row in connection.execute(query))


def decisions_of(connection: Connection, request_id: str) -> tuple[Decision, ...]:
    """The decisions on a request, oldest first."""
    columns = [request_decisions.c[name] for name in Decision.model_fields]
    query = select(*columns).where(request_decisions.c.request == request_id).order_by(request_decisions.c.id)
    return tuple(Decision(**row._mapping) for row in connection.execute(query))


def wrapped_key_of(connection: Connection, request_id: str) -> bytes | None:
    """The wrapped data key; None once it is destroyed."""
    key = connection.scalar(select(requests.c.wrapped_key).where(requests.c.id == request_id))
    return None if key is None else bytes(key)


def sealed_of(connection: Connection, request_id: str) -> Sequence[Row[int, str, bytes]]:
    """Position, kind and ciphertext of each identifier, in order."""
    query = select(request_identifiers.c.position, request_identifiers.c.kind, request_identifiers.c.ciphertext)
    return connection.execute(query.where(request_identifiers.c.request == request_id).order_by(request_identifiers.c.position)).all()


def update_state(connection: Connection, request: Request, state: RequestState, *, identity: IdentityLevel, at: datetime) -> Request:
    """Writes the state and identity of a request whose row is locked."""
    closed = {"closed_at": at} if state == RequestState.CLOSED else {}
    values = {"state": state.value, "identity": identity.value, **closed}
    connection.execute(requests.update().where(requests.c.id == request.id).values(values))
    return request_of(connection, request.id)


def set_extended(connection: Connection, request: Request, extended_to: date) -> Request:
    """Writes the extended deadline of a request whose row is locked."""
    connection.execute(requests.update().where(requests.c.id == request.id).values(extended_to=extended_to))
    return request_of(connection, request.id)


def delete_keys(connection: Connection, request: Request, *, at: datetime) -> Request:
    """Takes out the wrapped key, and the identifiers with their digests."""
    connection.execute(request_identifiers.delete().where(request_identifiers.c.request == request.id))
    connection.execute(requests.update().where(requests.c.id == request.id).values(wrapped_key=None, keys_destroyed_at=at))
    return request_of(connection, request.id)
