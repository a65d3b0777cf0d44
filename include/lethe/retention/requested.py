"""Whom a request names, for a hold: the one account that it gives. That it was opened for this is on record first."""

from __future__ import annotations

import re
from datetime import datetime

from lethe import settings
from lethe.control.requests import RequestState, decisions_of, request_of, sealed_of
from lethe.errors import HoldRefused, RequestRefused
from lethe.subjects.identifiers import IdentifierKind
from lethe.subjects.requests import check_login, show_identifiers
from lethe.workspace import Workspace

_ID = re.compile(r"R-[0-9]{4}-[0-9A-HJKMNP-TV-Z]{8}")


def names_a_request(text: str) -> bool:
    """Whether that is written as a request's id is."""
    return _ID.fullmatch(text) is not None


def requested_person(workspace: Workspace, request_id: str, *, by: str, at: datetime | None = None) -> tuple[str, str]:
    """The dataset and key of the one account of a request that is neither refused nor closed. Two accounts of one person are two keys.

    Raises HoldRefused when it has none or several, was refused, is closed, or `by` is no login; UnknownName; Unopenable.
    """
    try:
        check_login(by)
    except RequestRefused as wrong:
        raise HoldRefused("A hold needs somebody who answers for it: a login.", fix=wrong.fix) from None
    digest = "`lethe hold digest DATASET:KEY` prints a keyed digest: give that. Nothing was held."
    with workspace.control.connect() as connection:
        request, decisions = request_of(connection, request_id), decisions_of(connection, request_id)
        accounts = sum(row.kind == IdentifierKind.ACCOUNT for row in sealed_of(connection, request_id))
    refused = bool(decisions) and decisions[-1].decision == "refuse"
    if refused or request.state in {RequestState.REFUSED, RequestState.CLOSED} or request.keys_destroyed_at is not None:
        raise HoldRefused(f"Request {request.id} is refused, closed or without its key: it names nobody any more.", fix=digest)
    if accounts != 1:
        raise HoldRefused(f"Request {request.id} gives {accounts or 'no'} accounts: a hold on a person names exactly one.", fix=digest)
    key = settings.request_key(workspace.connections(settings.CONTROL))
    (account,) = show_identifiers(workspace.control, request.id, by=by, request_key=key, at=at)[IdentifierKind.ACCOUNT.value]
    dataset, _, name = account.partition(":")
    return dataset, name
