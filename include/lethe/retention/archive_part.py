"""The archive in a run's report: read from Lethe's own database, and from the archive's bucket what it protects by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from lethe import settings
from lethe.archive import accounts
from lethe.archive.summary import shelves
from lethe.control.results import Verified
from lethe.errors import LetheError, Unreachable
from lethe.plan.model import ExpiryPredicate, Plan, Step
from lethe.reports.archive import (
    ArchivedStep,
    ArchivePart,
    ExpiredStep,
    Protection,
    ShelfReport,
    SplitReport,
    TenantSum,
)
from lethe.verify.result import SPLIT, Split, Terms
from lethe.workspace import Workspace

NAMED = 3
"""Tenants whose sum does not come out that are named, by this many letters of their keyed digest."""

_LETTERS = 8


def protection_of(workspace: Workspace) -> Protection | None:
    """What the bucket of the archive says of itself now; None without an archive. One that does not answer is said, and raises nothing."""
    from lethe.archive.bucket import ArchiveBucket

    try:
        connection = workspace.connections(settings.ARCHIVE)
    except Unreachable:
        return None
    try:
        said = ArchiveBucket.of(connection).posture()
    except LetheError:
        return Protection(bucket=str(connection.extra.get("bucket") or ""), read=False)
    return Protection(
        bucket=said.bucket,
        exists=said.exists,
        versioned=said.versioned,
        lock=said.lock,
        encryption=said.encryption,
        lacks=said.lacks,
    )


def archive_part(
    control: Connection, plan: Plan, attempt: int, results: Mapping[str, Verified], protection: Protection | None, *, ran: bool
) -> ArchivePart | None:
    """Everything that the report says of the archive; None when this run has nothing to do with one and there is none.

    `ran`: was anything carried out, so that nothing archived is 0 rather than not there yet?
    """
    done, kept = accounts.sorted_rows(control, plan.digest, attempt), accounts.kept_objects(control, plan.digest, attempt)
    locks = accounts.locks(control)
    part = ArchivePart(
        steps=tuple(_archived(s, done.get(s.id), kept.get(s.id), ran=ran) for s in plan.steps if s.acts and s.archive),
        expired=tuple(_expired(control, plan, results)) if ran else (),
        splits=tuple(_splits(plan, results, done)),
        protection=protection,
        shelves=tuple(
            ShelfReport(**s.model_dump(), locked_until=locks[s.dataset, s.law].until, encryptions=locks[s.dataset, s.law].encryptions)
            for s in shelves(control)
        ),
        calendar=accounts.expiries(control),
    )
    return part if part != ArchivePart() else None


def _archived(step: Step, done: accounts.Sorted | None, kept: accounts.Kept | None, *, ran: bool) -> ArchivedStep:
    if step.archive is None:
        raise TypeError(f"step {step.id} archives nothing")
    nothing = 0 if ran else None
    return ArchivedStep(
        step=step.id,
        dataset=step.dataset or "",
        law=step.archive.law,
        ground=step.archive.ground,
        period=step.archive.period,
        columns=step.archive.columns,
        archived=done.archived if done else nothing,
        only_deleted=done.only_deleted if done else nothing,
        objects=kept.objects if kept else nothing,
        first_expiry=kept.first_expiry if kept else None,
        last_expiry=kept.last_expiry if kept else None,
        unsealed=kept.unsealed if kept else nothing,
    )


def _expired(control: Connection, plan: Plan, results: Mapping[str, Verified]) -> Iterator[ExpiredStep]:
    ended = accounts.expired_objects(control, plan.digest)
    for step in plan.steps:
        if not isinstance(step.predicate, ExpiryPredicate):
            continue
        whole, rewritten = ended.get((step.predicate.dataset, step.predicate.law), (0, 0))
        result = results.get(step.id)
        details: Mapping[str, Any] = result.details if result else {}
        yield ExpiredStep(
            step=step.id,
            dataset=step.predicate.dataset,
            law=step.predicate.law,
            rows=result.terms.get("deleted") if result else None,
            objects=whole,
            rewritten=rewritten,
            past_expiry=tuple(sorted((details.get("past_expiry") or {}).items())),
            level=details.get("level"),
            definitive_on=details.get("l4_on"),
        )


def _splits(plan: Plan, results: Mapping[str, Verified], done: Mapping[str, accounts.Sorted]) -> Iterator[SplitReport]:
    """Of every step whose rows the check counted by tenant, or could not."""
    for step in plan.steps:
        result = results.get(step.id)
        if result is None:
            continue
        check = next((c for c in result.details.get("checks", ()) if c["name"] == SPLIT), None)
        if check is None:
            continue
        sums = {tenant: Split.model_validate(s) for tenant, s in (result.details.get("split") or {}).items()}
        off = sorted(tenant for tenant, s in sums.items() if s.missing)
        known = check["status"] != "unknown"
        mine = done.get(step.id, accounts.Sorted(archived=0, only_deleted=0))
        yield SplitReport(
            step=step.id,
            dataset=step.dataset or "",
            terms=Terms(**{k: v for k, v in result.terms.items() if k in Terms.model_fields}),
            archived=mine.archived,
            only_deleted=mine.only_deleted,
            tenants=len(sums) if known else None,
            off=len(off) if known else None,
            named=tuple(
                TenantSum(name=t[:_LETTERS], planned=sums[t].planned, archived=sums[t].archived, deleted=sums[t].deleted, left=sums[t].left)
                for t in off[:NAMED]
            ),
            check=check["status"],
        )
