"""A stored bundle, judged before it is given out: read back byte for byte, its own manifests checked, and its rows held against a new count.

A bundle that is not the person's data, all of it and nobody else's, is deleted at once and on record; so is one that cannot be judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import create_engine

from lethe import settings
from lethe.archive.reading import ReadingReason, archivist, recorded
from lethe.control.exports import JUDGED, Export, StoredPart, checked_digest, current_export, exporting_alone, judge_export, parts_of
from lethe.control.requests import Request, request_of
from lethe.errors import BundleDiffers, RequestRefused
from lethe.evidence.ledger import append
from lethe.stores.s3.client import answering
from lethe.stores.s3.reader import open_object
from lethe.subjects.bundle.verify import contents, problems
from lethe.subjects.exporting import delete_parts
from lethe.subjects.found import Located
from lethe.subjects.in_archive import addressed_datasets, archive_names
from lethe.subjects.locating import Finder
from lethe.subjects.opening import identifiers_of
from lethe.subjects.places import BUNDLES, Place, place
from lethe.verify.archived_person import Sought, archived_rows
from lethe.verify.bundle import COMPLETE, Whose, check_bundle
from lethe.verify.person import KeySum
from lethe.verify.result import Check
from lethe.verify.shelf import Shelf
from lethe.workspace import Workspace

INTACT = "the stored bundle is what was written"
ARCHIVED = "the bundle has the person's archived rows"
_MIB = 1 << 20
_GONE = {"NoSuchKey", "NoSuchVersion"}


def judge_request(finder: Finder, request_id: str, *, by: str, at: datetime) -> Export:
    """Judges the stored bundle of a request, once: `verified`, or BundleDiffers after it was deleted. One that is verified is returned as it is.

    Raises RequestRefused when there is no bundle, StoreBusy when another process is at it, Unreachable when a store does not answer: the
    bundle stays `stored` then, and is not given out.
    """
    workspace = finder.workspace
    with exporting_alone(workspace.control, request_id):
        with workspace.control.connect() as control:
            request, export = request_of(control, request_id), current_export(control, request_id)
            if export is None or export.state == "begun":
                raise RequestRefused(f"Request {request_id} has no stored bundle.", fix="Run the export again.")
            if export.state == "verified":
                return export
            parts = parts_of(control, export)
        depot = place(workspace, BUNDLES)
        intact, sums = _read_back(workspace, depot, parts)
        checks: dict[str, tuple[Check, ...]] = {"bundle": intact}
        if all(c.status == "passed" for c in intact):
            checks |= _counted(finder, request, sums, by=by, at=at)
        return _conclude(workspace, depot, export, checks, at=at)


def _read_back(workspace: Workspace, depot: Place, parts: Iterable[StoredPart]) -> tuple[tuple[Check, ...], dict[str, KeySum]]:
    """Are the parts what was written? And the keys of their rows, by section."""
    keys = _keys(workspace)
    found: list[Check] = []
    sums: dict[str, KeySum] = {}
    for part in parts:
        hashed = _sha256(depot, part)
        if hashed != part.sha256:
            found.append(
                Check(name=INTACT, status="failed", detail=f"part {part.number} {'is gone' if hashed is None else 'has other bytes'}")
            )
            continue
        with open_object(depot.client, part.bucket, part.key, part.version, part.bytes) as file:
            wrong = problems(file)
            if wrong:
                found.append(Check(name=INTACT, status="failed", detail=f"part {part.number} has {len(wrong)} problems"))
            else:
                found.append(Check(name=INTACT, status="passed", measured={"bytes": part.bytes}))
                for section, row in contents(file):
                    columns = keys.get(section.removesuffix(".archive"), ())
                    sums.setdefault(section, KeySum()).add([row.get(c) for c in columns])
    return tuple(found), sums


def _sha256(depot: Place, part: StoredPart) -> str | None:
    """Of the part as it lies there, in hex; None when it is gone: that is known, and waiting would not bring it back."""
    from botocore.exceptions import ClientError

    whole = hashlib.sha256()
    with answering(part.bucket):
        try:
            body = depot.client.get_object(Bucket=part.bucket, Key=part.key, **_of(part))["Body"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _GONE:
                raise
            return None
        with closing(body):
            for piece in body.iter_chunks(_MIB):
                whole.update(piece)
    return whole.hexdigest()


def _counted(finder: Finder, request: Request, sums: Mapping[str, KeySum], *, by: str, at: datetime) -> dict[str, tuple[Check, ...]]:
    """The checks by dataset, of the living rows and of the archived ones."""
    workspace = finder.workspace
    located = finder.locate(identifiers_of(workspace, request, by=by), tenant=request.tenant)
    persons: dict[str, list[str]] = {}
    for each in located.persons:
        persons.setdefault(each.dataset, []).append(each.key)
    left: dict[str, list[str]] = {}
    for each in located.others:
        left.setdefault(each.dataset, []).append(each.key)
    whose = Whose(persons=persons, addresses=located.addresses, exact=located.exact, left_out=left, tenant=request.tenant)
    living = {section: (s.rows, s.total) for section, s in sums.items() if not section.endswith(".archive")}
    found = check_bundle(workspace.connections, workspace.catalog.stores, whose, living)
    if request.tenant is None:
        bundled = {section: s for section, s in sums.items() if section.endswith(".archive")}
        found |= _archived(workspace, located, bundled, at=at)
    return found


def _archived(workspace: Workspace, located: Located, bundled: Mapping[str, KeySum], *, at: datetime) -> dict[str, tuple[Check, ...]]:
    """The archived rows, counted and their keys compared by opening the objects again; that they are is on record first."""
    addressed = addressed_datasets(workspace) if located.addresses else {}
    if not located.archive_objects and not bundled and not addressed:
        return {}
    persons, hanging, left = (archive_names(workspace, who) for who in (located.persons, located.hanging, located.others))
    exact = None if located.exact is None else frozenset(located.exact)
    sought = Sought(persons=persons, hanging=hanging, left_out=left, addresses=frozenset(located.addresses), exact=exact)
    engine = create_engine(workspace.connections(settings.ARCHIVIST).sqlalchemy_url(), hide_parameters=True)
    try:
        with engine.connect() as book:
            who = archivist(book)
        recorded(engine, who, ReadingReason.INTEGRITY_CHECK, None, (), at=at, whose="person", names=sorted(persons | hanging))
        shelf = Shelf.of(workspace.connections(settings.ARCHIVE_READER))
        counted = archived_rows(engine, shelf, sought, _keys(workspace), addressed)
    finally:
        engine.dispose()
    found: dict[str, tuple[Check, ...]] = {}
    for section in {*bundled, *(f"{d}.archive" for d in counted)}:
        there, here = counted.get(section.removesuffix(".archive"), KeySum()), bundled.get(section, KeySum())
        status = "passed" if there == here else "failed"
        found[section] = (Check(name=ARCHIVED, status=status, measured={"rows": here.rows, "counted": there.rows}),)
    return found


def _keys(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """The key columns of each dataset, by today's catalog."""
    return {i: t.key for s in workspace.catalog.stores for i, t in s.tables.items()}


def _conclude(workspace: Workspace, depot: Place, export: Export, checks: Mapping[str, tuple[Check, ...]], *, at: datetime) -> Export:
    wrong = sorted(step for step, found in checks.items() if any(c.status != "passed" for c in found))
    unknown = sorted(step for step in wrong if all(c.status != "failed" for c in checks[step]))
    checked = [{"step": step, **c.model_dump(mode="json")} for step, found in sorted(checks.items()) for c in found]
    body = {
        "request": export.request,
        "export": export.number,
        "outcome": "clean" if not wrong else "unknown" if wrong == unknown else "differs",
        "checks": sum(len(found) for found in checks.values()),
        "wrong": wrong,
        "checked": checked_digest(checked),
    }
    if wrong:
        delete_parts(depot, export.request)
    with workspace.control.begin() as control:
        judged = judge_export(control, export, passed=not wrong, checked=checked)
        append(control, JUDGED, body, run=export.request, at=at)
    if wrong:
        raise BundleDiffers(
            f"The bundle of request {export.request} was deleted and not given out: {', '.join(wrong[:10])} "
            + (
                "could not be counted."
                if wrong == unknown
                else f"{'does' if len(wrong) == 1 else 'do'} not agree with a new count ({COMPLETE})."
            ),
            fix="Rows may have come or gone meanwhile: run the export again. If it comes again, look at these datasets in the catalog.",
        )
    return judged


def _of(part: StoredPart) -> Any:
    return {"VersionId": part.version} if part.version else {}
