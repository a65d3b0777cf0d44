"""The answer that ends an export: to the person a link that expires, to each tenant that stores data about the person a forward. Each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from lethe.catalog.model import Store
from lethe.control.exports import JUDGED, Export, StoredPart, checked_digest, current_export, exporting_alone, judge_export, parts_of
from lethe.control.requests import Language, Request, RequestState, request_of
from lethe.errors import AnswerInDoubt, AnswerRefused, BundleDiffers, IdentifierRefused, LetheError, NoAddress, RequestRefused
from lethe.evidence.ledger import append, records
from lethe.instants import local_day
from lethe.stores.postgres.failures import meaning
from lethe.stores.postgres.tables import key_text, row_of
from lethe.stores.s3.client import answering
from lethe.subjects.answers import send_answer, send_forward
from lethe.subjects.found import Forward
from lethe.subjects.locating import Finder
from lethe.subjects.opening import identifiers_of
from lethe.subjects.places import BUNDLES, Place, place
from lethe.subjects.requests import move_on
from lethe.workspace import Workspace

LONGEST_LINK = timedelta(days=7)
"""What a signature of S3 (version 4) may last at most."""

UNTOLD = "request.tenants_untold"
"""The record that a try to answer left tenants that could not be told, and how many were."""

SHORTEST_LINK = timedelta(hours=1)
"""A link that ends sooner is not worth a mail."""


def answer_request(finder: Finder, request_id: str, *, by: str, at: datetime) -> str:
    """Answers a request whose bundle is verified, forwards to tenants, and takes the request to `answered`; the kind of answer.

    What was sent before is not sent again. Raises RequestRefused when the bundle is not verified, StoreBusy, what `send_answer` raises; a
    tenant that cannot be told keeps neither the person nor another tenant from being told, and is raised after that (NoAddress; what
    `send_forward` raises of one tenant alone).
    """
    workspace = finder.workspace
    with exporting_alone(workspace.control, request_id):
        with workspace.control.connect() as control:
            request, export = request_of(control, request_id), current_export(control, request_id)
            if export is None or export.state != "verified":
                raise RequestRefused(
                    f"The bundle of request {request_id} is not verified: it is not given out.", fix="Run the check of the export again."
                )
            parts = parts_of(control, export)
        kind = _answer(workspace, request, export, parts, by=by, at=at)
        untold = 0 if request.tenant is not None else _forward(finder, request, by=by, at=at)
        if untold:
            raise NoAddress(
                f"Request {request_id}: the person is answered, {untold} tenants could not be told: they have no address in the source.",
                fix="Write to them by another way (`lethe locate` names them), give them an address in the source, then clear this task.",
            )
        with workspace.control.begin() as control:
            move_on(control, request_id, RequestState.ANSWERED, by=by, at=at)
        return kind


def ends_at(workspace: Workspace, export: Export, at: datetime) -> datetime:
    """From when on the nightly run deletes a bundle: its rule's period after the day on which it was made, in the policy's zone."""
    policy = workspace.policy(at)
    made, zone = local_day(export.made_at, policy.time_zone), ZoneInfo(policy.time_zone)
    days = [rule.period.after(made) for rule in policy.rules if rule.category == BUNDLES]
    return min((datetime.combine(day, time.min, zone) for day in days), default=at + LONGEST_LINK)


def _are_there(depot: Place, parts: Sequence[StoredPart]) -> bool:
    """Does every part lie where it was stored?"""
    from botocore.exceptions import ClientError

    for part in parts:
        of: Any = {"Bucket": part.bucket, "Key": part.key} | ({"VersionId": part.version} if part.version else {})
        with answering(part.bucket):
            try:
                depot.client.head_object(**of)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in {404, 405}:
                    raise
                return False
    return True


def links(depot: Place, parts: Sequence[StoredPart], *, lasts: timedelta) -> list[dict[str, Any]]:
    """The words of each part: a link that needs no login and ends by itself, its bytes and their sha256."""
    found = []
    for part in parts:
        of = {"Bucket": part.bucket, "Key": part.key} | ({"VersionId": part.version} if part.version else {})
        link = depot.outside.generate_presigned_url("get_object", Params=of, ExpiresIn=int(lasts.total_seconds()))
        found.append({"link": link, "size": part.bytes, "sha256": part.sha256})
    return found


def _answer(workspace: Workspace, request: Request, export: Export, parts: Sequence[StoredPart], *, by: str, at: datetime) -> str:
    if request.tenant is None and not sum(export.counts.values()):
        send_answer(workspace, request.id, "nothing_held", words={}, by=by, at=at)
        return "nothing_held"
    depot = place(workspace, BUNDLES)
    lasts = min(LONGEST_LINK, ends_at(workspace, export, at) - at)
    if lasts < SHORTEST_LINK or not _are_there(depot, parts):
        with workspace.control.begin() as control:
            judge_export(control, export, passed=False, checked=[])
            body = {"request": request.id, "export": export.number, "outcome": "gone", "checked": checked_digest([])}
            append(control, JUDGED, body, run=request.id, at=at)
        raise BundleDiffers(
            f"The bundle of request {request.id} is deleted, or about to be: a link to it would lead nowhere.", fix="Run the export again."
        )
    words: dict[str, Any] = {
        "parts": links(depot, parts, lasts=lasts),
        "works_until": at + lasts,
        "left_out": ["other_persons", "secrets"],
    }
    if request.tenant is None:
        send_answer(workspace, request.id, "bundle_ready", words=words, by=by, at=at)
        return "bundle_ready"
    address = addresses(workspace, [request.tenant]).get(request.tenant)
    if address is None:
        raise NoAddress(f"The tenant of request {request.id} has no address in the source.", fix="Give it one, then clear this task.")
    send_answer(workspace, request.id, "instruction_ready", words=words, by=by, at=at, to=address)
    return "instruction_ready"


def _forward(finder: Finder, request: Request, *, by: str, at: datetime) -> int:
    """Tells each tenant that stores data about the person; how many could not be told. Each forward puts itself on record."""
    workspace = finder.workspace
    forwards: Sequence[Forward] = finder.locate(identifiers_of(workspace, request, by=by)).forwards
    known = addresses(workspace, [f.tenant for f in forwards])
    told, failed = 0, list[LetheError]()
    for each in forwards:
        if each.tenant in known:
            try:
                send_forward(workspace, request.id, each.tenant, known[each.tenant], Language.FR.value, at=at)
                told += 1
            except (AnswerInDoubt, AnswerRefused, IdentifierRefused) as error:  # one tenant's; the others are told all the same
                failed.append(error)
    if told < len(forwards):
        _say_untold(workspace.control, request.id, {"request": request.id, "tenants": len(forwards), "told": told}, at=at)
    if failed:
        raise failed[0]
    return len(forwards) - told


def _say_untold(engine: Engine, request_id: str, body: Mapping[str, Any], *, at: datetime) -> None:
    """Puts on record that tenants are still to be told, unless the last record says just that: a try that changes nothing adds nothing."""
    with engine.begin() as control:
        last = None
        for record in records(control, run=request_id, kind=UNTOLD):
            last = record.content
        if last != body:
            append(control, UNTOLD, body, run=request_id, at=at)


def addresses(workspace: Workspace, tenants: Sequence[str]) -> dict[str, str]:
    """Where tenants are written to: the first address column of their dataset, by tenant. One without an address is not among them."""
    found: dict[str, str] = {}
    for store in workspace.catalog.stores:
        if store.tenants and store.kind == "postgresql" and tenants:
            found |= _addresses(workspace, store, store.tenants, tenants)
    return found


def _addresses(workspace: Workspace, store: Store, dataset: str, tenants: Sequence[str]) -> dict[str, str]:
    table = store.tables[dataset]
    if not table.addresses:
        return {}
    column = table.addresses[0]
    row = row_of(store, dataset)
    key = key_text(row.c[c] for c in table.key)
    query = select(key, row.c[column]).where(key.in_(list(tenants)), row.c[column].is_not(None))
    try:
        with workspace.checking(store).connect() as connection:
            return {str(k): str(address) for k, address in connection.execute(query)}
    except DBAPIError as error:
        raise meaning(error, f"The addresses of {dataset}") from None
