"""`lethe request list|answered`: what is owed and how near it is, and that it was given."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

from lethe.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lethe.accountability.owed import Owed
    from lethe.control.requests import Request

_COLUMNS = ("id", "kind", "state", "received", "reply by", "is", "by law by", "is")


def print_requests(everything: bool, as_json: bool) -> None:
    """Prints the requests, the one due first at the top, each with how near its deadlines are while a reply is owed."""
    from lethe.accountability.owed import check_deadlines
    from lethe.control.requests import list_requests
    from lethe.instants import now
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        at = now()
        zone = workspace.policy(at).time_zone
        owed = {each.request: each for each in check_deadlines(workspace, at)}
        with workspace.control.connect() as connection:
            found = list_requests(connection, closed=everything)
    if as_json:
        print_json({"requests": [{**r.model_dump(mode="json"), "owed": _plain(owed.get(r.id))} for r in found]})
        return
    print_table("Requests", _COLUMNS, [_row(r, owed.get(r.id), zone) for r in found])


def answered_by_hand(request_id: str, by: str | None, as_json: bool) -> None:
    """Puts on record that a question, or a request whose answer Lethe did not send, was answered."""
    from lethe.control.requests import RequestState
    from lethe.subjects.requests import move_on
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.begin() as connection:
        moved = move_on(connection, request_id, RequestState.ANSWERED, by=by or getpass.getuser())
    print_json(moved) if as_json else say(f"Request {moved.id} is answered.")


def _plain(owed: Owed | None) -> dict[str, Any] | None:
    """None: no reply is owed any more."""
    if owed is None:
        return None
    legal = owed.legal
    return {
        "warn_on": owed.warn_on.isoformat(),
        "reply_on": owed.reply_on.isoformat(),
        "stage": owed.stage.value,
        "legal_on": legal.raw.isoformat() if legal else None,
        "legal_rolled_on": legal.rolled.isoformat() if legal else None,
        "extended": owed.extended,
        "legal_stage": owed.legal_stage.value if owed.legal_stage else None,
    }


def _row(found: Request, owed: Owed | None, zone: str) -> tuple[Any, ...]:
    from lethe.control.requests import NO_LEGAL_DEADLINE
    from lethe.instants import local_day

    law = f"{found.extended_to} (extended)" if found.extended_to else found.legal_due_on
    by_law = (None if found.kind in NO_LEGAL_DEADLINE else law, owed.legal_stage if owed else None)
    received = local_day(found.received_at, zone)
    return (found.id, found.kind, found.state, received, found.reply_due_on, owed.stage if owed else None, *by_law)
