"""Which requests a run may act on, by their state. A state is read, never guessed from what an earlier task said."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lethe.control.requests import UNDECIDED, RequestKind, RequestState, request_of
from lethe.subjects.exporting import refuse_other
from lethe.workspace import Workspace


def undecided(workspace: Workspace, asked: Sequence[str]) -> list[str]:
    """Those of these requests whose identity nobody has decided. Raises UnknownName, RequestRefused for one that no bundle answers, or that was
    refused or closed; one that is answered already keeps no other waiting."""
    with workspace.control.connect() as control:
        found = [request_of(control, each) for each in asked]
    for request in found:
        known = request.state not in UNDECIDED and request.state is not RequestState.ANSWERED
        if known or request.kind is RequestKind.QUESTION:  # a question never waits for an identity
            refuse_other(request)
    return [r.id for r in found if r.state in UNDECIDED]


def in_state(workspace: Workspace, request: str, states: Collection[str]) -> bool:
    """Is the request in one of these states now?"""
    with workspace.control.connect() as control:
        return request_of(control, request).state.value in states
