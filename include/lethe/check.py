"""`lethe check`: policy and catalog against each other, and against every store as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from lethe import settings
from lethe.catalog.check import check_catalog
from lethe.catalog.disclosure import FILE, Disclosure, check_disclosure, load_disclosure, no_disclosure
from lethe.catalog.drift import drift
from lethe.catalog.model import Store
from lethe.errors import BeforeRegister, LetheError, Unreachable
from lethe.findings import CheckFinding
from lethe.frozen import Frozen
from lethe.policy.check import Known, check_controls, check_text
from lethe.policy.load import read_text
from lethe.policy.model import PolicyVersion
from lethe.processors.agreements import EndingAgreement, agreements_ending
from lethe.processors.check import check_register, no_register
from lethe.processors.history import as_of
from lethe.processors.load import FILE as REGISTER
from lethe.processors.load import load_register
from lethe.processors.transfers import UnnamedTransfer, unnamed_transfers
from lethe.subjects.places import PROOFS, places
from lethe.subjects.proofs import left_proofs
from lethe.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Unchecked(Frozen):
    """A store about which nothing may be claimed, and what to do about that."""

    store: str
    problem: str
    fix: str


class Checked(Frozen):
    """What a check found. Only with no finding and nothing left unchecked is it `clean`. What `ends_soon`, and a transfer that the policy does not
    name, is a warning and no finding."""

    policy: str
    stores: tuple[str, ...]
    findings: tuple[CheckFinding, ...]
    unchecked: tuple[Unchecked, ...] = ()
    ends_soon: tuple[EndingAgreement, ...] = ()
    unnamed_transfers: tuple[UnnamedTransfer, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing found, and everything looked at."""
        return not self.findings and not self.unchecked


def check(workspace: Workspace, *, on: date, known: Known | None = None) -> Checked:
    """Checks everything as of the day `on`: the version in force then, and the versions that are to follow it.

    `known`: the names of DAGs and checks that controls may give (`accountability.promises.known`); without it they are not looked at.

    Never raises for a store that does not answer: it is `unchecked`. Raises InvalidFile and NotInForce.
    """
    policy = workspace.policies.in_force(on)
    found: list[CheckFinding] = []
    for version in _from(workspace, policy):
        found += check_text(version, read_text(workspace.folder / version.version, version))
        found += check_controls(version, known)
    found += check_catalog(workspace.catalog, policy, on=on)
    ends_soon: tuple[EndingAgreement, ...] = ()
    transfers: tuple[UnnamedTransfer, ...] = ()
    disclosure = load_disclosure(workspace.folder) if (workspace.folder / FILE).exists() else None
    found += check_disclosure(disclosure, workspace.catalog, policy) if disclosure is not None else [no_disclosure()]
    if (workspace.folder / REGISTER).exists():
        register = load_register(workspace.folder)
        found += check_register(register, workspace.catalog, disclosure or Disclosure(datasets={}), on=on)
        ends_soon = agreements_ending(register, on)
        with suppress(BeforeRegister):  # a finding already
            transfers = unnamed_transfers(as_of(register, on), policy.transfers)
    else:
        found.append(no_register())
    unchecked: list[Unchecked] = []
    for store in workspace.catalog.stores:
        try:
            found += check_store(workspace, store)
        except LetheError as error:
            unchecked.append(Unchecked(store=store.id, problem=error.problem, fix=error.fix))
            if _unset(workspace, store):
                found.append(CheckFinding(kind="store unknown", where=store.id, problem=error.problem, fix=error.fix, stops=True))
    try:
        found += _proofs(workspace)
    except (LetheError, DBAPIError) as error:
        problem = error.problem if isinstance(error, LetheError) else f"lethe_db does not answer ({type(error.orig).__name__})."
        fix = error.fix if isinstance(error, LetheError) else "Start it, or look at connection lethe_db."
        unchecked.append(Unchecked(store=PROOFS, problem=problem, fix=fix))
    return Checked(
        policy=policy.version,
        stores=tuple(s.id for s in workspace.catalog.stores),
        findings=tuple(dict.fromkeys(found)),  # two stores of one account see the same buckets
        unchecked=tuple(unchecked),
        ends_soon=ends_soon,
        unnamed_transfers=transfers,
    )


def check_store(workspace: Workspace, store: Store) -> list[CheckFinding]:
    """One store against its live schema or buckets. Raises Unreachable or Uncountable."""
    if store.kind == "postgresql":
        return drift(store, workspace.live(store))
    return list(_buckets(workspace, store))


def _proofs(workspace: Workspace) -> Iterator[CheckFinding]:
    """Proofs of identity that lie there though it is decided who asked, or for no request. Raises Unreachable, Uncountable."""
    if not places(workspace, PROOFS):
        return
    left = left_proofs(workspace)
    if left.decided or left.unknown:
        yield CheckFinding(
            kind="proof of a decided request",
            where=PROOFS,
            problem=f"{left.decided + left.unknown} entries lie there, {left.unknown} of them for no request: the decision should have taken them.",
            fix="Run the DAG `request_intake`; look for an object lock or a bucket policy when it does not help.",
        )


def _from(workspace: Workspace, policy: PolicyVersion) -> list[PolicyVersion]:
    return [v for v in workspace.policies.versions if v.effective_on >= policy.effective_on]


def _unset(workspace: Workspace, store: Store) -> bool:
    for connection in (store.connection, store.check_connection, store.maintenance_connection):
        try:
            if connection is not None:
                workspace.connections(connection)
        except Unreachable:
            return True
    return False


def _buckets(workspace: Workspace, store: Store) -> Iterator[CheckFinding]:
    from lethe.stores.s3.client import answering

    client = workspace.s3(store.connection)
    exempt = {e.name for e in store.exempt}
    mapped = {p.bucket for p in store.prefixes.values()}
    with answering("(all)"):
        there = {b["Name"] for b in client.list_buckets().get("Buckets", [])}
    for bucket in sorted(there - mapped - exempt - _own_buckets(workspace) - _beside(workspace, store)):
        yield CheckFinding(
            kind="bucket not mapped", where=bucket, problem="The bucket is not in the catalog.", fix="Add a prefix of it, or exempt it."
        )
    for name, prefix in store.prefixes.items():
        if prefix.bucket not in there:
            yield CheckFinding(
                kind="table not in database",
                where=name,
                problem=f"There is no bucket {prefix.bucket}.",
                fix="Remove it from the catalog, or find where it went.",
                stops=True,
            )
    for exemption in store.exempt:
        if exemption.name not in there:
            yield CheckFinding(
                kind="exemption of nothing",
                where=f"{store.id} {exemption.name}",
                problem="What is exempted is not there.",
                fix="Remove the exemption.",
            )
    for bucket in sorted(mapped & there):
        outside = _outside(client, bucket, [p.prefix for p in store.prefixes.values() if p.bucket == bucket], "")
        if outside:
            yield CheckFinding(
                kind="objects outside prefixes",
                where=bucket,
                problem=f"{outside} folders or objects lie outside the prefixes of the catalog (not named here: a key may be personal).",
                fix=f"List s3://{bucket}/ and map them.",
            )


def _own_buckets(workspace: Workspace) -> set[str]:
    """Lethe's own buckets: they may lie in the same account. One holds ids and counts only (invariant 8), the other is the archive, whose
    objects have manifests and a check of their own."""
    found = set()
    for connection in (settings.EVIDENCE_BUCKET, settings.ARCHIVE):
        with suppress(Unreachable):
            found.add(str(workspace.connections(connection).extra.get("bucket", "")))
    return found


def _beside(workspace: Workspace, store: Store) -> set[str]:
    """The buckets that other stores of the catalog map or exempt at the same endpoint: one account may be several stores."""
    here = workspace.connections(store.connection).extra.get("endpoint_url")
    found: set[str] = set()
    for other in (s for s in workspace.catalog.stores if s.kind == "s3" and s.id != store.id):
        with suppress(Unreachable):
            if workspace.connections(other.connection).extra.get("endpoint_url") == here:
                found |= {p.bucket for p in other.prefixes.values()} | {e.name for e in other.exempt}
    return found


def _outside(client: S3Client, bucket: str, prefixes: list[str], here: str) -> int:
    """How many folders and objects under `here` no prefix covers. Asks for folders only; goes down where a prefix lies deeper."""
    from lethe.stores.s3.client import answering

    if any(here.startswith(p) for p in prefixes):
        return 0
    count = 0
    with answering(bucket):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=here, Delimiter="/"):
            keys = {o["Key"] for o in page.get("Versions", [])} | {o["Key"] for o in page.get("DeleteMarkers", [])}
            count += sum(not any(k.startswith(p) for p in prefixes) for k in keys)
            for folder in (f["Prefix"] for f in page.get("CommonPrefixes", [])):
                if any(folder.startswith(p) for p in prefixes):
                    continue
                count += _outside(client, bucket, prefixes, folder) if any(p.startswith(folder) for p in prefixes) else 1
    return count
