"""Plans a night of the archive's expiry. What follows a plan is the same as for every run: guard, purge, verify, record."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lethe import settings
from lethe.control.holds import active_scopes
from lethe.control.plans import DRY, Counted, load_counts, save_counts, save_plan
from lethe.control.runs import open_or_resume
from lethe.errors import BadAsOf
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.plan.expiry import make_expiry_plan
from lethe.plan.model import HoldScope, Plan, Step
from lethe.retention.model import Group, PlannedRun
from lethe.retention.planning import evidence_of, judge
from lethe.workspace import Workspace

if TYPE_CHECKING:
    from lethe.archive.expiring import Judge


def plan_expiry(workspace: Workspace, *, as_of: datetime, dry_run: bool = True) -> PlannedRun:
    """Makes and counts the plan of the expiry as of an instant and stores both; a run that deletes is opened, or taken up where it stopped.

    Without a single object ever archived the plan is empty. Raises BadAsOf for an instant in the future, NotInForce, Uncountable or
    Unreachable: then nothing was deleted, and nothing is claimed.
    """
    from lethe.archive.expiring import kinds

    if as_of.tzinfo is None or as_of > now():
        raise BadAsOf("as_of has no time zone or lies in the future.", fix="A run can only be as of now or before.")
    policy = workspace.policy(as_of)
    with workspace.control.begin() as control:
        plan = make_expiry_plan(policy, kinds(control), as_of=as_of, catalog_digest=workspace.catalog.digest)
        save_plan(control, plan)
        opened = None if dry_run else open_or_resume(control, plan.digest)
        attempt = opened.attempt if opened else DRY
        stored = load_counts(control, plan.digest, attempt) if opened and opened.resumed else {}
        holds = active_scopes(control, local_day(now(), policy.time_zone))
    if not stored:
        counted = _count(workspace, plan, holds)
        with workspace.control.begin() as control:
            save_counts(control, plan.digest, attempt, counted)
            stored = load_counts(control, plan.digest, attempt)
            append(control, "plan.made", evidence_of(plan, attempt, dry_run, {s: c.counts for s, c in stored.items()}), run=plan.digest)
    counts = {s: c.counts for s, c in stored.items()}
    with workspace.control.connect() as control:
        found = judge(control, plan, counts, policy)
    steps = tuple(s.id for s in plan.steps)
    return PlannedRun(
        plan=plan,
        attempt=attempt,
        dry_run=dry_run,
        resumed=bool(opened and opened.resumed),
        counts=counts,
        findings=found,
        groups=(Group(label="archive", steps=steps),) if steps else (),
    )


def held_by(workspace: Workspace, step: Step, hold: HoldScope) -> int:
    """The rows past their expiry that this hold alone keeps, in the objects of one step. Raises what counting raises."""
    from lethe.archive.expiring import count

    with workspace.control.connect() as control:
        return count(control, step, _judge(workspace, (hold,))).counts.held


def _count(workspace: Workspace, plan: Plan, holds: tuple[HoldScope, ...]) -> dict[str, Counted]:
    from lethe.archive.expiring import count

    if not plan.steps:
        return {}
    judging = _judge(workspace, holds)
    with workspace.control.connect() as control:
        return {s.id: count(control, s, judging) for s in plan.steps}


def _judge(workspace: Workspace, holds: tuple[HoldScope, ...]) -> Judge:
    from lethe.archive.bucket import ArchiveBucket
    from lethe.archive.expiring import Judge
    from lethe.archive.finding import named

    key = settings.digest_key(workspace.connections(settings.CONTROL))
    bucket = ArchiveBucket.of(workspace.connections(settings.ARCHIVE))
    return Judge(bucket=bucket, holds=named(holds, key, workspace.catalog))
