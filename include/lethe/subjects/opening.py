"""Who asks in a request, opened to look for them: that it is opened is on record first."""

from __future__ import annotations

from lethe import settings
from lethe.control.requests import Request
from lethe.subjects.identifiers import Identifier, identifier
from lethe.subjects.requests import show_identifiers
from lethe.workspace import Workspace


def identifiers_of(workspace: Workspace, request: Request, *, by: str) -> tuple[Identifier, ...]:
    """Who asks, opened: that it was is on record first."""
    key = settings.request_key(workspace.connections(settings.CONTROL))
    shown = show_identifiers(workspace.control, request.id, by=by, request_key=key)
    known = workspace.catalog.identities
    fold = settings.fold_local_part()
    return tuple(identifier(kind, value, datasets=known, fold_local=fold) for kind, values in shown.items() for value in values)
