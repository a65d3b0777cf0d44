"""Answers to requests as stored: their kinds, their states, and the SQL. The acts are in `subjects/answers/`.

An answer is `prepared`, `sending` from just before its text goes to the mail server until the server's word on it is stored, and then
`sent`, `refused`, or `prepared` again. One that is found in `sending` is in doubt.

What becomes of an answer and its record in the ledger are one transaction. A forward that was sent has a second record, FORWARDED: one for
each request and tenant, whoever is killed and whenever, for nothing leads to `sent` twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum

from pydantic import Field
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import OperationalError

from lethe.control.requests import request_of
from lethe.control.tables import request_answers
from lethe.errors import RequestRefused, Unreachable
from lethe.evidence.ledger import append
from lethe.frozen import Frozen

ANSWERING_LOCK = 7214
FORWARDED = "request.forwarded"
"""The record that a tenant was told of a request."""

ANSWER_PREPARED, ANSWER_PRINTED = "request.answer_prepared", "request.answer_printed"
ANSWER_SENT, ANSWER_DEFERRED, ANSWER_REFUSED = "request.answer_sent", "request.answer_deferred", "request.answer_refused"
ANSWER_IN_DOUBT, ANSWERED = "request.answer_in_doubt", "request.answered"
"""The other records of an answer: each is written with its row, but that one in `sending` is found so by whoever looks while it is sent."""

_LOCK_NOT_AVAILABLE = "55P03"


class AnswerKind(StrEnum):
    """What an answer says. `forwarded` and `instruction_ready` go to a tenant, all others to the person."""

    RECEIVED = "received"
    PROOF_WANTED = "proof_wanted"
    REFUSED = "refused"
    BUNDLE_READY = "bundle_ready"
    NOTHING_HELD = "nothing_held"
    FORWARDED = "forwarded"
    INSTRUCTION_READY = "instruction_ready"
    PROCESSOR_LIST = "processor_list"


class AnswerState(StrEnum):
    """How far an answer is."""

    PREPARED = "prepared"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"


class Answer(Frozen):
    """An answer without its text and address. `tenant` is the keyed digest of request and tenant, in hex, of a forward only."""

    request: str
    kind: AnswerKind
    number: int = Field(ge=1, le=9999)
    tenant: str | None = None
    state: AnswerState
    message_id: str | None
    sha256: str
    prepared_at: datetime
    sent_at: datetime | None = None


@contextmanager
def answering(engine: Engine, request_id: str, *, seconds: int = 120) -> Iterator[None]:
    """Keeps every other sender of answers to this request out, until the block ends or this process dies.

    Raises UnknownName when there is no such request, Unreachable when somebody else has been at it for `seconds`.
    """
    with engine.connect() as connection:
        request_of(connection, request_id)
        for setting in (f"lock_timeout = '{seconds}s'", "idle_in_transaction_session_timeout = 0"):
            connection.execute(text(f"SET LOCAL {setting}"))
        try:
            connection.execute(select(func.pg_advisory_xact_lock(ANSWERING_LOCK, func.hashtext(request_id))))
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise Unreachable("Another process is still sending an answer to this request.", fix="Try again later.") from None
        yield


def answers_of(connection: Connection, request_id: str) -> tuple[Answer, ...]:
    """The answers to a request, the first prepared first."""
    query = select(request_answers).where(request_answers.c.request == request_id)
    rows = connection.execute(query.order_by(request_answers.c.prepared_at, request_answers.c.kind, request_answers.c.number))
    return tuple(Answer(**{**row._mapping, "tenant": None if row.tenant is None else bytes(row.tenant).hex()}) for row in rows)


def insert_answer(connection: Connection, answer: Answer) -> None:
    """Stores an answer that was not there."""
    connection.execute(request_answers.insert().values(_values(answer)))


def update_answer(connection: Connection, answer: Answer, *, was: AnswerState) -> bool:
    """Writes state, text and instants of an answer that is in the state `was`; false, and nothing is written, when it is in another."""
    mine = (request_answers.c.request == answer.request, request_answers.c.kind == answer.kind.value)
    there = (*mine, request_answers.c.number == answer.number, request_answers.c.state == was.value)
    return connection.execute(request_answers.update().where(*there).values(_values(answer))).rowcount == 1


def store_prepared(connection: Connection, answer: Answer, *, record: str = ANSWER_PREPARED, at: datetime, **more: object) -> None:
    """Stores an answer in `prepared`, new or with a new text, and its record; the caller keeps other senders out.

    What is stored already with this text has its record of ANSWER_PREPARED already.
    """
    before = next((a for a in answers_of(connection, answer.request) if (a.kind, a.number) == (answer.kind, answer.number)), None)
    anew = before is None or record != ANSWER_PREPARED or (before.sha256, before.message_id) != (answer.sha256, answer.message_id)
    if before is None:
        insert_answer(connection, answer)
    elif not update_answer(connection, answer, was=AnswerState.PREPARED) and anew:
        raise RequestRefused("Somebody else is sending this answer.", fix=f"`lethe request show {answer.request}` shows what became of it.")
    if anew:
        append(connection, record, evidence(answer, **more), run=answer.request, at=at)


def settle_answer(
    connection: Connection, answer: Answer, *, out_of: Collection[AnswerState], record: str, at: datetime, **more: object
) -> bool:
    """Writes what became of an answer, and its record of that kind with `more` in it; false, and nothing is written, when it is not `out_of` these states."""
    if not any(update_answer(connection, answer, was=each) for each in out_of):
        return False
    append(connection, record, evidence(answer, **more), run=answer.request, at=at)
    if answer.kind is AnswerKind.FORWARDED and answer.state is AnswerState.SENT:
        body = {"request": answer.request, "tenant": answer.tenant, "number": answer.number, "sha256": answer.sha256}
        append(connection, FORWARDED, body, run=answer.request, at=at)
    return True


def evidence(answer: Answer, **more: object) -> dict[str, object]:
    """What the ledger says of an answer: never the address, nor the part of the message id that looks like one."""
    body: dict[str, object] = {"request": answer.request, "kind": answer.kind.value, "number": answer.number, "sha256": answer.sha256}
    if answer.message_id:
        body["message"] = reference(answer)
    return body | ({"tenant": answer.tenant} if answer.tenant else {}) | more


def reference(answer: Answer) -> str:
    """The part of the message id before its @: the request, the kind and the number."""
    return f"{answer.request}.{answer.kind}.{answer.number}"


def _values(answer: Answer) -> dict[str, object]:
    tenant = None if answer.tenant is None else bytes.fromhex(answer.tenant)
    return {**answer.model_dump(), "kind": answer.kind.value, "state": answer.state.value, "tenant": tenant}
