"""Takes files of requests: each is checked whole, opened in one transaction, and deleted with all versions once that is committed.

A file is remembered by a keyed digest in the transaction that opens its requests: after a crash at any instant the next run finds it
opened, and only moves its proofs and deletes it. Proofs move under names drawn from the file, so that moving one twice is moving it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from lethe import settings
from lethe.control.intake import FileState, IntakeFile, claim_file, file_of, name_requests, refuse_file
from lethe.errors import (
    ArchiveDiffers,
    IntakeRefused,
    LetheError,
    NotArchivable,
    ObjectErrors,
    ProofNotNeeded,
    RequestRefused,
    StoreFull,
    UnknownName,
)
from lethe.evidence.ledger import append
from lethe.evidence.record import keyed_digest
from lethe.instants import now
from lethe.purge.faults import point
from lethe.subjects import proofs
from lethe.subjects.intake.reading import LARGEST, SUFFIXES, Entry, read_file
from lethe.subjects.intake.shelf import Lying, delete, lying, read
from lethe.subjects.places import INTAKE, PROOFS, place, places
from lethe.subjects.requests import check_login, check_request, open_request
from lethe.workspace import Workspace

_OF_ONE_FILE = (ObjectErrors, NotArchivable, ArchiveDiffers, StoreFull)
"""What a store refuses of one file or proof; the others are taken all the same."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a run did. `files` were opened, into `requests`; `refused` stay; `kept` were opened, now or earlier, and not deleted: why, for each."""

    requests: tuple[str, ...]
    files: int
    refused: int
    kept: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An object of an intake bucket. `key` may be personal: it is for a terminal, never for a record. `problem` and `entry` of a refused one."""

    bucket: str
    key: str = field(repr=False)
    what: Literal["not looked at", "refused", "opened", "no file of requests"]
    problem: str | None = None
    entry: int | None = None


def take_files(workspace: Workspace, *, by: str, at: datetime | None = None) -> Taken:
    """Takes every file of requests that lies there, one after the other. A refused file stays, is on record once, and stops no other.

    Raises Unreachable or Uncountable when a store does not answer, and what the keys of digests and requests raise: running again goes on.
    """
    at = at or now()
    check_login(by)
    refused = 0
    kept: list[str] = []
    run = _Run(workspace, by, at)
    for where in places(workspace, INTAKE):
        for found in lying(where):
            if not found.key.lower().endswith(SUFFIXES):
                continue
            try:
                run.take(found)
            except IntakeRefused as wrong:
                run.refuse(found, wrong)
                refused += 1
            except _OF_ONE_FILE as left:
                kept.append(left.problem)
    requests = tuple(request for ids in run.opened for request in ids)
    return Taken(requests=requests, files=len(run.opened), refused=refused, kept=tuple(kept))


def list_files(workspace: Workspace) -> tuple[Waiting, ...]:
    """What lies in the intake buckets, with what is known of it. Raises Unreachable, Uncountable."""
    run = _Run(workspace, "", now())
    found = []
    with workspace.control.connect() as connection:
        for each in (each for where in places(workspace, INTAKE) for each in lying(where)):
            known = file_of(connection, run.digest(each))
            if not each.key.lower().endswith(SUFFIXES):
                found.append(Waiting(bucket=each.place.bucket, key=each.key, what="no file of requests"))
            elif known is None:
                found.append(Waiting(bucket=each.place.bucket, key=each.key, what="not looked at"))
            else:
                what: Literal["refused", "opened"] = known.state.value
                found.append(Waiting(bucket=each.place.bucket, key=each.key, what=what, problem=known.problem, entry=known.entry))
    return tuple(found)


class _Run:
    """A run over files, with what all of them are read by."""

    def __init__(self, workspace: Workspace, by: str, at: datetime) -> None:
        secret = workspace.connections(settings.CONTROL)
        self.workspace, self.by, self.at = workspace, by, at
        self.opened: list[tuple[str, ...]] = []
        self.digest_key, self.request_key = settings.digest_key(secret), settings.request_key(secret)
        self.datasets = {i for store in workspace.catalog.stores for i in store.identities}
        self.fold_local = settings.fold_local_part()
        policy = workspace.policy(at)
        self.zone, self.terms = policy.time_zone, policy.deadlines

    def digest(self, found: Lying) -> bytes:
        """By what a file is remembered."""
        return bytes.fromhex(keyed_digest(self.digest_key, "intake", found.place.bucket, found.key, found.version))

    def take(self, found: Lying) -> None:
        """Opens the requests of a file, unless they were opened before, and deletes it. Raises IntakeRefused, and _OF_ONE_FILE."""
        file = self.digest(found)
        with self.workspace.control.connect() as connection:
            known = file_of(connection, file)
        body = read(found, LARGEST)
        if body is None:
            return
        if known is not None and known.state is FileState.OPENED:
            self._finish(found, file, known, self._again(found, body))
            return
        entries = self._read(found, body)
        with_proofs = {e.proof: self._proof(found, e.proof, n) for n, e in enumerate(entries, start=1) if e.proof is not None}
        point("intake.open.before")
        with self.workspace.control.begin() as connection:
            mine = claim_file(connection, file, at=self.at)
            if mine:
                ids = tuple(self._open(connection, e, n, found) for n, e in enumerate(entries, start=1))
                name_requests(connection, file, ids)
                opened = {"file": file.hex(), "requests": list(ids), "proofs": len(with_proofs), "by": self.by}
                append(connection, "intake.opened", opened, at=self.at)
            made = file_of(connection, file)
        point("intake.open.after")
        if mine:
            self.opened.append(ids)
        if made is not None:
            self._finish(found, file, made, entries)

    def refuse(self, found: Lying, wrong: IntakeRefused) -> None:
        """Puts on record, once for each version of a file, that it was refused and why; never what stands in it."""
        file = self.digest(found)
        with self.workspace.control.begin() as connection:
            if refuse_file(connection, file, problem=wrong.problem, entry=wrong.entry, at=self.at):
                body = {"file": file.hex(), "problem": wrong.problem, "entry": wrong.entry, "by": self.by}
                append(connection, "intake.refused", body, at=self.at)

    def _read(self, found: Lying, body: bytes) -> tuple[Entry, ...]:
        entries = read_file(found.key.lower(), body, datasets=self.datasets, fold_local=self.fold_local)
        for number, entry in enumerate(entries, start=1):
            try:
                check_request(
                    entry.identifiers,
                    kind=entry.kind,
                    channel=entry.channel,
                    language=entry.language,
                    tenant=entry.tenant,
                    received_at=self._received(entry, found),
                    at=self.at,
                    zone=self.zone,
                    terms=self.terms,
                )
            except LetheError as wrong:
                raise IntakeRefused(wrong.problem, fix=wrong.fix, entry=number) from None
        return entries

    def _again(self, found: Lying, body: bytes) -> Sequence[Entry]:
        """The entries of a file that was opened, for its proofs. What the catalog does not take any more has none that could be found."""
        try:
            return read_file(found.key.lower(), body, datasets=self.datasets, fold_local=self.fold_local)
        except IntakeRefused:
            return ()

    def _received(self, entry: Entry, found: Lying) -> datetime:
        """When a request came in: as the file says, else when the file did. The store's clock may be ahead of ours."""
        return entry.received_at or min(found.at, self.at)

    def _proof(self, found: Lying, key: str, number: int) -> Lying:
        try:
            place(self.workspace, PROOFS).writing()
        except (RequestRefused, UnknownName) as wrong:
            raise IntakeRefused(wrong.problem, fix=wrong.fix, entry=number) from None
        proof = next(lying(found.place, key), None) if key.startswith(found.place.prefix) else None
        if proof is None:
            raise IntakeRefused("There is no object of the key that `proof` gives.", fix="Put the proof there first.", entry=number)
        if not 0 < proof.size <= proofs.LARGEST:
            raise IntakeRefused(f"A proof has 1 to {proofs.LARGEST} bytes.", fix="Ask for a smaller picture.", entry=number)
        return proof

    def _open(self, connection: Connection, entry: Entry, number: int, found: Lying) -> str:
        try:
            made = open_request(
                connection,
                entry.identifiers,
                kind=entry.kind,
                channel=entry.channel,
                language=entry.language,
                by=self.by,
                request_key=self.request_key,
                digest_key=self.digest_key,
                tenant=entry.tenant,
                received_at=self._received(entry, found),
                at=self.at,
                zone=self.zone,
                terms=self.terms,
            )
        except RequestRefused as wrong:
            raise IntakeRefused(wrong.problem, fix=wrong.fix, entry=number) from None
        return made.request.id

    def _finish(self, found: Lying, file: bytes, known: IntakeFile, entries: Sequence[Entry]) -> None:
        """Moves the proofs of a file whose requests are opened, and deletes it."""
        owners: dict[str, list[str]] = {}
        for request, entry in zip(known.requests, entries, strict=False):
            if entry.proof is not None:
                owners.setdefault(entry.proof, []).append(request)
        moved = late = 0
        for key, requests in owners.items():
            proof = next(lying(found.place, key), None)
            if proof is None:
                continue  # moved before
            body = read(proof, proofs.LARGEST)
            for request in requests if body else ():
                try:
                    name = keyed_digest(self.digest_key, "proof", file.hex(), key)[:32]
                    proofs.store_proof(self.workspace, request, body or b"", by=self.by, name=name, at=self.at)
                    moved += 1
                except ProofNotNeeded:  # it was decided meanwhile
                    late += 1
            point("intake.proof.after")
            delete(proof)
        point("intake.delete.before")
        gone = delete(found)
        point("intake.delete.after")
        evidence = {"file": file.hex(), "entries": gone, "superseded": found.superseded, "proofs_moved": moved, "proofs_late": late}
        with self.workspace.control.begin() as connection:
            append(connection, "intake.deleted", {**evidence, "by": self.by}, at=self.at)
