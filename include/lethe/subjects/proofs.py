"""Proofs of identity: encrypted objects `<request id>/<random>`, there until it is decided who asks, then gone with all versions.

A proof is stored while the request's row is locked, so that none arrives behind a decision. What lies there all the same for a decided
request, or for none, is swept: a store was away when it was decided, or somebody put it there by hand.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from lethe.control.requests import UNDECIDED, RequestKind, request_of, states_of
from lethe.errors import ObjectErrors, ProofNotNeeded, RequestRefused
from lethe.evidence.ledger import append
from lethe.instants import now
from lethe.stores.s3.client import answering
from lethe.stores.s3.delete import ObjectTotals
from lethe.stores.s3.listing import Entry, Kind, everything
from lethe.stores.s3.named import delete_named
from lethe.subjects.places import PROOFS, Place, place, places
from lethe.subjects.requests import check_login
from lethe.workspace import Workspace

LARGEST = 20 << 20
"""Bytes of a proof."""

_NAME = re.compile(r"[0-9a-f]{32}")
_ENDINGS = ((b"%PDF", ".pdf"), (b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"))


@dataclass(frozen=True, kw_only=True)
class Left:
    """Entries (versions, markers, unfinished uploads) that should be gone: of decided requests, and of no request."""

    decided: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class _Found:
    place: Place
    request: str | None
    entries: tuple[Entry, ...]


def store_proof(
    workspace: Workspace, request_id: str, body: bytes, *, by: str, name: str | None = None, at: datetime | None = None
) -> None:
    """Stores a proof of a request whose identity is not decided. `name`: 32 hex digits, so that a second try replaces the first.

    Raises ProofNotNeeded when it is decided or a question, RequestRefused when the proof is empty or too large, or the store does not encrypt
    it; UnknownName, Unreachable, and what `ArchiveBucket.put` raises.
    """
    check_login(by)
    name = name or secrets.token_hex(16)
    if not _NAME.fullmatch(name):
        raise RequestRefused("That is no name of a proof.", fix="Leave it out.")
    if not 0 < len(body) <= LARGEST:
        raise RequestRefused(
            f"A proof of identity has 1 to {LARGEST} bytes.", fix="Ask for a smaller picture, and never a whole file of papers."
        )
    with workspace.control.begin() as connection:
        request = request_of(connection, request_id, lock=True)
        if request.kind is RequestKind.QUESTION:
            raise ProofNotNeeded("A question needs no proof of identity.", fix="Delete the file, and answer the question.")
        _refuse_decided(request.state in UNDECIDED)
        where = place(workspace, PROOFS)
        bucket = where.writing()
        key = f"{where.prefix}{request.id}/{name}"
        put = bucket.put(key, body)
        bucket.verify_encryption(key, put.version)
        append(connection, "request.proof_stored", {"request": request.id, "by": by, "bytes": len(body)}, run=request.id, at=at or now())


def count_proofs(workspace: Workspace, request_id: str) -> int:
    """How many proofs of a request lie there, hidden ones too. Raises UnknownName, Unreachable, Uncountable."""
    with workspace.control.connect() as connection:
        request = request_of(connection, request_id)  # what is no id is not sent to a store, which may log it
    return len({e.key for where in places(workspace, PROOFS) for e in _entries(where, request.id) if e.kind is Kind.VERSION})


def fetch_proofs(workspace: Workspace, request_id: str, folder: Path, *, by: str, at: datetime | None = None) -> int:
    """Writes the proofs of a request to a new folder, for whoever decides; how many. That they were asked for is on record first.

    Raises RequestRefused when the folder is there or cannot be made, UnknownName, Unreachable.
    """
    check_login(by)
    with workspace.control.connect() as connection:
        request = request_of(connection, request_id)
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        raise RequestRefused("The folder is there, or cannot be made.", fix="Name a new folder, in one that is there.") from None
    with workspace.control.begin() as connection:
        append(connection, "request.proofs_read", {"request": request.id, "by": by}, run=request.id, at=at or now())
    number = 0
    for where in places(workspace, PROOFS):
        with answering(where.bucket):
            pages = where.client.get_paginator("list_objects_v2").paginate(Bucket=where.bucket, Prefix=f"{where.prefix}{request.id}/")
            for key in [row["Key"] for page in pages for row in page.get("Contents", [])]:
                number += 1
                body = where.client.get_object(Bucket=where.bucket, Key=key)["Body"].read()
                ending = next((e for begins, e in _ENDINGS if body.startswith(begins)), ".bin")
                with open(os.open(folder / f"proof-{number}{ending}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(body)
    return number


def delete_proofs(workspace: Workspace, request_id: str, *, by: str, at: datetime | None = None) -> int:
    """Deletes every version of every proof of a request, lists again, and puts it on record; how many entries went.

    The caller knows that they may go. Raises ObjectErrors when the store keeps one, Unreachable, Uncountable.
    """
    gone = 0
    for where in places(workspace, PROOFS):
        entries = _entries(where, request_id)
        _delete_entries(where, entries)
        left = len(_entries(where, request_id))
        if left:
            raise ObjectErrors(
                f"Proofs of request {request_id}: {left} entries are left in bucket {where.bucket!r}.",
                fix="Look for an object lock, a legal hold or a bucket policy; `request_intake` tries again.",
            )
        gone += len(entries)
    if gone:
        body = {"request": request_id, "by": by, "entries": gone, "left": 0}
        with workspace.control.begin() as connection:
            append(connection, "request.proofs_deleted", body, run=request_id, at=at or now())
    return gone


def sweep(workspace: Workspace, *, by: str, at: datetime | None = None) -> int:
    """Deletes what lies there for decided requests and for none; how many entries went. Raises as `delete_proofs` does."""
    at = at or now()
    gone = 0
    with workspace.control.connect() as connection:
        found = _misplaced(workspace, connection)
    for request in sorted({f.request for f in found if f.request is not None}):
        gone += delete_proofs(workspace, request, by=by, at=at)
    strays = [f for f in found if f.request is None]
    if strays:
        for each in strays:
            _delete_entries(each.place, each.entries)
        entries = sum(len(f.entries) for f in strays)
        with workspace.control.begin() as connection:
            append(connection, "request.strays_deleted", {"entries": entries, "by": by}, at=at)
        gone += entries
    return gone


def left_proofs(workspace: Workspace) -> Left:
    """What should be gone and is there, by a fresh listing. Raises Unreachable, Uncountable."""
    with workspace.control.connect() as connection:
        found = _misplaced(workspace, connection)
    return Left(
        decided=sum(len(f.entries) for f in found if f.request is not None), unknown=sum(len(f.entries) for f in found if f.request is None)
    )


def _misplaced(workspace: Workspace, connection: Connection) -> list[_Found]:
    """What lies there for decided requests, and (request None) for none. Listed first, then asked for: a request is there before its proofs."""
    there: dict[tuple[Place, str], list[Entry]] = {}
    for where in places(workspace, PROOFS):
        for entry in everything(where.client, where.bucket, where.prefix):
            there.setdefault((where, entry.key.removeprefix(where.prefix).partition("/")[0]), []).append(entry)
    states = states_of(connection, {name for _, name in there})
    return [
        _Found(place=where, request=name if name in states else None, entries=tuple(entries))
        for (where, name), entries in there.items()
        if name not in states or states[name] not in UNDECIDED
    ]


def _entries(where: Place, request: str) -> list[Entry]:
    return list(everything(where.client, where.bucket, f"{where.prefix}{request}/"))


def _delete_entries(where: Place, entries: Iterable[Entry]) -> None:
    result = delete_named(where.client, where.bucket, list(entries))
    ObjectTotals(failed=result.failed, errors=result.errors, versions=result.deleted).raise_if_failed()


def _refuse_decided(undecided: bool) -> None:
    if not undecided:
        raise ProofNotNeeded("It is decided who asks: no proof is needed any more.", fix="Delete the file, and answer the request.")
