"""Requests that an answer is owed to, and which of their deadlines somebody was warned of. The judgement is in `accountability/owed.py`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.answers import AnswerKind, AnswerState
from lethe.control.requests import Request, RequestState
from lethe.control.tables import deadline_warnings, request_answers, requests

_OVER = (RequestState.ANSWERED.value, RequestState.CLOSED.value)


def owed_requests(connection: Connection) -> tuple[Request, ...]:
    """The requests that nobody has answered yet, the one due first at the top. A refusal is an answer once it was sent."""
    told = exists().where(
        request_answers.c.request == requests.c.id,
        request_answers.c.kind == AnswerKind.REFUSED.value,
        request_answers.c.state == AnswerState.SENT.value,
    )
    refused = (requests.c.state == RequestState.REFUSED.value) & told
    columns = [requests.c[name] for name in Request.model_fields]
    query = select(*columns).where(requests.c.state.not_in(_OVER), ~refused)
    rows = connection.execute(query.order_by(requests.c.reply_due_on, requests.c.received_at, requests.c.id))
    return tuple(Request(**row._mapping) for row in rows)


def claim_warnings(connection: Connection, near: Collection[tuple[str, str]], *, at: datetime) -> frozenset[tuple[str, str]]:
    """Those of these (request, deadline) that nobody was told of before; from now on they are, once the caller's transaction commits.

    Another process that tells of the same waits here until then, and finds them told.
    """
    if not near:
        return frozenset()
    rows = [{"request": request, "deadline": deadline, "told_at": at} for request, deadline in sorted(near)]
    claimed = insert(deadline_warnings).values(rows).on_conflict_do_nothing()
    found = connection.execute(claimed.returning(deadline_warnings.c.request, deadline_warnings.c.deadline))
    return frozenset((row.request, row.deadline) for row in found)
