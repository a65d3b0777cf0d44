"""From a request to a bundle that may be given out: find the person's rows, write the bundle into its bucket, read it back and have it judged.

    accepted -> locate -> located, bundle begun -> parts stored -> read back, counted anew -> verified   (or failed: deleted)

Each step is on record, and may be taken again after any interruption: what was begun and not stored is deleted and begun anew, what is
stored is not written twice, what is verified is not asked again. The bucket's keys have the request's id and random digits, nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from lethe import settings
from lethe.catalog.disclosure import load_disclosure
from lethe.control.exports import (
    LOCATED,
    STORED,
    Export,
    StoredPart,
    begin_export,
    current_export,
    exporting_alone,
    store_parts,
)
from lethe.control.requests import Request, RequestKind, RequestState, request_of
from lethe.errors import BundleDiffers, RequestRefused
from lethe.evidence.ledger import append
from lethe.evidence.record import keyed_digest
from lethe.instants import local_day
from lethe.processors.history import as_of
from lethe.processors.load import FILE as REGISTER
from lethe.processors.load import load_register
from lethe.processors.model import InForce
from lethe.stores.s3.client import answering
from lethe.stores.s3.listing import everything
from lethe.stores.s3.named import delete_named
from lethe.stores.s3.upload import Upload, Uploaded
from lethe.subjects.bundle import About, write_bundle
from lethe.subjects.bundle.writing import LIMIT
from lethe.subjects.found import FileRef, Located
from lethe.subjects.locating import Finder
from lethe.subjects.opening import identifiers_of
from lethe.subjects.places import BUNDLES, Place, place
from lethe.subjects.requests import move_on
from lethe.workspace import Workspace

KINDS = frozenset({RequestKind.ACCESS, RequestKind.PORTABILITY, RequestKind.TENANT_INSTRUCTION})
"""The requests that a bundle answers."""

_MIB = 1 << 20


def export_request(finder: Finder, request_id: str, *, by: str, at: datetime, limit: int = LIMIT) -> Export:
    """Finds the person of a request whose identity is accepted, and stores the bundle. Returns at once what is stored already.

    Raises RequestRefused when the request is not to be answered by a bundle, or not now, or would not lie encrypted; StoreBusy when another process exports it; what
    `locate` raises (AmbiguousPerson, Drifted, Uncountable ...): nothing is stored then, and the request stays as it was.
    """
    workspace = finder.workspace
    with exporting_alone(workspace.control, request_id):
        with workspace.control.connect() as control:
            request, export = request_of(control, request_id), current_export(control, request_id)
        refuse_other(request)
        if export is not None and export.state != "begun":
            return export
        depot = place(workspace, BUNDLES)
        depot.writing()  # refuses a bucket that is asked for no encryption, before anybody is looked for
        delete_parts(depot, request_id)
        located = finder.locate(identifiers_of(workspace, request, by=by), tenant=request.tenant)
        export = _begin(workspace, request, export, located, by=by, at=at)
        sink = _Sink(depot, request_id)
        try:
            written = write_bundle(
                finder.sections(located, at=at),
                about=_about(workspace, request, export, at=at),
                open_file=lambda ref: open_file(workspace, ref),
                sink=sink,
                calendar=workspace.catalog.calendars,
                limit=limit,
            )
        except BaseException:
            sink.abort()
            raise
        return _stored(workspace, export, sink.uploaded(), written, at=at)


def refuse_other(request: Request) -> None:
    """RequestRefused unless a bundle answers this request, and it is its turn."""
    if request.kind not in KINDS:
        raise RequestRefused(
            f"Request {request.id} asks for no data: it is of kind {request.kind}.",
            fix="A bundle answers access, portability and a tenant's instruction.",
        )
    if request.state in {RequestState.ACCEPTED, RequestState.LOCATED}:
        return
    waits = request.state in {RequestState.RECEIVED, RequestState.WAITING_IDENTITY, RequestState.MORE_ASKED}
    raise RequestRefused(
        f"Request {request.id} is {request.state}: "
        + ("nobody has said yet that who asks is known." if waits else "it is not to be exported any more."),
        fix=f"`lethe request decide {request.id} accept --reason ...` says so."
        if waits
        else f"`lethe request show {request.id}` says what was decided.",
    )


def open_file(workspace: Workspace, ref: FileRef) -> Iterator[bytes]:
    """The bytes of a person's file, as they are, a MiB at a time."""
    client = workspace.s3(ref.connection)
    with answering(ref.bucket):
        body = client.get_object(Bucket=ref.bucket, Key=ref.key)["Body"]
        with closing(body):
            yield from body.iter_chunks(_MIB)


def delete_parts(depot: Place, request_id: str) -> int:
    """Deletes everything of a request's bundles: all versions, markers and unfinished uploads; how many entries. BundleDiffers when some stay."""
    prefix = f"{depot.prefix}{request_id}/"
    there = list(everything(depot.client, depot.bucket, prefix))
    if there:
        delete_named(depot.client, depot.bucket, there)
        left = sum(1 for _ in everything(depot.client, depot.bucket, prefix))
        if left:
            raise BundleDiffers(
                f"{left} entries of an earlier bundle of request {request_id} could not be deleted.",
                fix="Look for a lock or a policy on the bucket of bundles, then run again.",
            )
    return len(there)


@dataclass(kw_only=True)
class _Stream:
    upload: Upload
    name: str


class _Sink:
    """Gives a stream for each part, under a key that nobody can guess."""

    def __init__(self, depot: Place, request_id: str) -> None:
        self._place, self._request = depot, request_id
        self._streams: list[_Stream] = []

    def __call__(self, number: int) -> Upload:
        name = f"lethe-{self._request}-{number}.zip"
        key = f"{self._place.prefix}{self._request}/{secrets.token_hex(16)}/{name}"
        upload = Upload(
            self._place.client,
            self._place.bucket,
            key,
            encryption=self._place.encryption,
            kms_key=self._place.kms_key,
            content_type="application/zip",
        )
        self._streams.append(_Stream(upload=upload, name=name))
        return upload

    def abort(self) -> None:
        for each in self._streams:
            each.upload.abort()

    def uploaded(self) -> list[tuple[str, Uploaded]]:
        return [(each.name, each.upload.uploaded) for each in self._streams if each.upload.uploaded is not None]


def _about(workspace: Workspace, request: Request, export: Export, *, at: datetime) -> About:
    return About.of(
        request,
        made_at=export.made_at,
        policy=workspace.policy(at),
        disclosure=load_disclosure(workspace.folder),
        purposes=workspace.catalog.purposes,
        receivers=_receivers(workspace, local_day(export.made_at, workspace.policy(at).time_zone)),
    )


def _receivers(workspace: Workspace, day: date) -> tuple[InForce, ...]:
    """The companies that receive data on a day. Without a register a person is told the categories alone, and `lethe check` says so."""
    if not (workspace.folder / REGISTER).exists():
        return ()
    return as_of(load_register(workspace.folder), day)


def _begin(workspace: Workspace, request: Request, export: Export | None, located: Located, *, by: str, at: datetime) -> Export:
    """Puts on record what was found, and that a bundle begins."""
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    tenants = next((s.tenants for s in workspace.catalog.stores if s.tenants), "tenants")
    body: dict[str, Any] = {
        "request": request.id,
        "by": by,
        "persons": len(located.persons),
        "rows": {c.section: c.rows for c in located.counted},
        "shared": {c.section: c.shared for c in located.counted if c.shared},
        "archive_objects": located.archive_objects,
        "left_out": located.left_out,
        "forwards": {keyed_digest(key, tenants, f.tenant): dict(f.rows) for f in located.forwards},
    }
    with workspace.control.begin() as control:
        begun = export or begin_export(control, request.id, policy_version=workspace.policy(at).version, made_at=at)
        body |= {"export": begun.number, "policy_version": begun.policy_version, "made_at": begun.made_at.isoformat()}
        append(control, LOCATED, body, run=request.id, at=at)
        if request.state == RequestState.ACCEPTED:
            move_on(control, request.id, RequestState.LOCATED, by=by, at=at)
        return begun


def _stored(workspace: Workspace, export: Export, uploaded: list[tuple[str, Uploaded]], written: Any, *, at: datetime) -> Export:
    parts = [
        StoredPart(number=n, name=name, bucket=u.bucket, key=u.key, version=u.version, bytes=u.bytes, sha256=u.sha256)
        for n, (name, u) in enumerate(uploaded, start=1)
    ]
    differ = [p.name for p, w in zip(parts, written, strict=True) if p.sha256 != w.sha256]
    if differ:
        raise BundleDiffers(f"{len(differ)} parts were not uploaded as they were written.", fix="Run again; look at the network between.")
    counts: dict[str, int] = {}
    for part in written:
        for section, rows in part.rows.items():
            counts[section] = counts.get(section, 0) + rows
    body = {
        "request": export.request,
        "export": export.number,
        "policy_version": export.policy_version,
        "rows": counts,
        "parts": [p.evidence for p in parts],
    }
    with workspace.control.begin() as control:
        append(control, STORED, body, run=export.request, at=at)
        return store_parts(control, export, parts, counts)
