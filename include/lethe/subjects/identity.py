"""The decision on who asks, and what it takes with it: the proofs of identity."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lethe.control.requests import Request
from lethe.errors import ObjectErrors, Uncountable, Unreachable
from lethe.instants import now
from lethe.subjects.proofs import count_proofs, delete_proofs
from lethe.subjects.requests import decide_identity
from lethe.workspace import Workspace

_AWAY = (Unreachable, Uncountable, ObjectErrors)


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The request after the decision. `proofs_deleted`: how many entries went; None when the store did not let them go: they are swept later."""

    request: Request
    proofs_deleted: int | None


def decide(
    workspace: Workspace,
    request_id: str,
    *,
    decision: str,
    reason: str,
    by: str,
    channel: str = "credentials",
    at: datetime | None = None,
) -> Decided:
    """Records a decision (`decide_identity`), then deletes the proofs; more is asked without deleting them, but for one that nobody can read.

    A decision stands whether the store answers or not. Only an unreadable proof goes first, because a new one may come right after:
    there, a store that does not answer raises, and nothing was decided. Raises what `decide_identity` raises.
    """
    at = at or now()
    choice: dict[str, Any] = {"decision": decision, "reason": reason, "by": by, "channel": channel, "at": at}
    proofs: int | None = None
    with suppress(*_AWAY):
        proofs = count_proofs(workspace, request_id)
    deleted: int | None = 0
    if reason == "proof_unreadable":
        _refuse_in_vain(workspace, request_id, choice)
        deleted = delete_proofs(workspace, request_id, by=by, at=at)
    with workspace.control.begin() as connection:
        request = decide_identity(connection, request_id, **choice, proofs=proofs)
    if decision != "ask_more":
        try:
            deleted = delete_proofs(workspace, request_id, by=by, at=at)
        except _AWAY:
            deleted = None
    return Decided(request=request, proofs_deleted=deleted)


class _Undone(Exception):
    pass


def _refuse_in_vain(workspace: Workspace, request_id: str, choice: dict[str, Any]) -> None:
    """Raises what the decision would raise; decides nothing."""
    with suppress(_Undone), workspace.control.begin() as connection:
        decide_identity(connection, request_id, **choice)
        raise _Undone
