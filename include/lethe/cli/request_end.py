"""`lethe request extend|close|destroy-keys`: more time for a request, and its end."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, say

_Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id, such as R-2026-7K3M9QWX.")]
_By = Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")]


def extend(
    request_id: _Id,
    reason: Annotated[str, typer.Option(help="complexity, number (of the requests).")],
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Extends the legal deadline once, by two further months, while the first is not over (Article 12(3)). Tell the person why."""
    from lethe.instants import now
    from lethe.subjects.extending import extend as extend_request
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.begin() as connection:
        at = now()
        policy = workspace.policy(at)
        who, zone = by or getpass.getuser(), policy.time_zone
        changed = extend_request(connection, request_id, reason=reason, by=who, at=at, zone=zone, terms=policy.deadlines)
    print_json(changed) if as_json else say(f"Request {changed.id} is due by law by {changed.extended_to}. Tell the person why, now.")


def close(request_id: _Id, by: _By = None, as_json: AsJson = False) -> None:
    """Closes a request that was answered or refused."""
    from lethe.control.requests import RequestState
    from lethe.subjects.requests import move_on
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.begin() as connection:
        closed = move_on(connection, request_id, RequestState.CLOSED, by=by or getpass.getuser())
    print_json(closed) if as_json else say(f"Request {closed.id} is closed.")


def destroy_keys(request_id: _Id, by: _By = None, as_json: AsJson = False) -> None:
    """Destroys the key of a closed request, and its identifiers with their digests. Nothing brings them back."""
    from lethe.subjects.requests import destroy_keys as destroy
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.begin() as connection:
        destroyed = destroy(connection, request_id, by=by or getpass.getuser())
    print_json(destroyed) if as_json else say(f"The identifiers of request {destroyed.id} are gone.")
