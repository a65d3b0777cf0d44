"""Plans a run: the policy in force, the catalog held against the live stores, every step counted, all of it stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lethe import settings
from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Store
from lethe.control.approvals import approval_of
from lethe.control.history import last_steps, past_deleted
from lethe.control.holds import active_scopes
from lethe.control.plans import DRY, Counted, load_counts, save_counts, save_plan
from lethe.control.runs import Pace, open_or_resume
from lethe.errors import BadAsOf
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.plan.counting import Counter, StepCount, count_plan
from lethe.plan.expiry import is_expiry, limits_for
from lethe.plan.guard import ceilings, findings
from lethe.plan.make import make_plan
from lethe.plan.model import Counts, Finding, HoldScope, ObjectPredicate, Plan, Step
from lethe.plan.order import groups
from lethe.plan.widened import widened
from lethe.policy.model import PolicyVersion
from lethe.retention.archivable import refuse_unarchivable
from lethe.retention.coverage import refuse_drift
from lethe.retention.model import Group, PlannedRun
from lethe.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def plan_run(
    workspace: Workspace,
    *,
    as_of: datetime,
    rules: Sequence[str] | None = None,
    pace: Pace = "full",
    dry_run: bool = True,
) -> PlannedRun:
    """Makes and counts the plan as of an instant and stores both; a run that deletes is opened, or taken up where it stopped.

    Raises BadAsOf for an instant in the future, NotInForce, UnknownName (a rule), Drifted (a table or column that is not what the
    catalog says), NotArchivable, Uncountable or Unreachable: then nothing was deleted, and nothing is claimed.
    """
    if as_of.tzinfo is None or as_of > now():
        raise BadAsOf("as_of has no time zone or lies in the future.", fix="A run can only be as of now or before.")
    policy = workspace.policy(as_of)
    plan = make_plan(policy, workspace.catalog, as_of=as_of, rules=rules, met=workspace.met)
    live = live_schemas(workspace, plan)
    refuse_drift(workspace, plan, live)
    refuse_unarchivable(workspace, plan, live)
    with workspace.control.begin() as control:
        save_plan(control, plan)
        opened = None if dry_run else open_or_resume(control, plan.digest, pace=pace)
        attempt = opened.attempt if opened else DRY
        stored = load_counts(control, plan.digest, attempt) if opened and opened.resumed else {}
        scopes = active_scopes(control, local_day(now(), policy.time_zone))
    if not stored:
        counted = count_steps(workspace, plan, live, scopes)
        split = _by_tenant(workspace, plan, attempt)
        with workspace.control.begin() as control:
            save_counts(
                control,
                plan.digest,
                attempt,
                {s: Counted(counts=c.counts, details=c.details() | split.get(s, {}), keys=c.keys) for s, c in counted.items()},
            )
            stored = load_counts(control, plan.digest, attempt)
            append(control, "plan.made", evidence_of(plan, attempt, dry_run, {s: c.counts for s, c in stored.items()}), run=plan.digest)
    counts = {s: c.counts for s, c in stored.items()}
    with workspace.control.connect() as control:
        found = judge(control, plan, counts, policy)
    return PlannedRun(
        plan=plan,
        attempt=attempt,
        dry_run=dry_run,
        resumed=bool(opened and opened.resumed),
        counts=counts,
        findings=found,
        groups=tuple(Group(label=label(plan, g), steps=g) for g in groups(plan.steps, workspace.catalog, live)),
    )


def judge(control: Connection, plan: Plan, counts: Mapping[str, Counts], policy: PolicyVersion) -> tuple[Finding, ...]:
    """What is out of the ordinary in a plan, given what past runs did and what a named person approved; empty when it may go on."""
    approval = approval_of(control, plan.digest)
    steps = [s.id for s in plan.steps if s.acts]
    return findings(
        plan,
        counts,
        limits_for(policy, plan),
        past_deleted(control, steps, besides=plan.digest, of_archive=is_expiry(plan)),
        approval.ceilings if approval and approval.approved else None,
        widened(plan, last_steps(control, besides=plan.digest)),
    )


def ceilings_of(control: Connection, plan: Plan, counts: Mapping[str, Counts], policy: PolicyVersion) -> dict[str, int]:
    """How many rows each step of a plan that passed may delete in all (`plan.guard.ceilings`)."""
    approval = approval_of(control, plan.digest)
    approved = approval.ceilings if approval and approval.approved else None
    past = past_deleted(control, [s.id for s in plan.steps if s.acts], besides=plan.digest, of_archive=is_expiry(plan))
    return ceilings(plan, counts, limits_for(policy, plan), past, approved)


def live_schemas(workspace: Workspace, plan: Plan) -> dict[str, LiveSchema]:
    """The live schema of every relational store of the plan, by store id. Raises Unreachable."""
    used = {s.store for s in plan.steps if s.predicate is not None}
    return {s.id: workspace.live(s) for s in workspace.catalog.stores if s.id in used and s.kind == "postgresql"}


@dataclass(frozen=True, kw_only=True)
class ObjectCounter:
    """Counts the steps of one object store (`plan.counting.Counter`)."""

    client: S3Client
    holds: tuple[HoldScope, ...]

    def count(self, step: Step) -> StepCount:
        """Every version, delete marker and unfinished upload under the prefix, in one listing. Raises Unreachable or Uncountable."""
        from lethe.stores.s3 import survey

        if not isinstance(step.predicate, ObjectPredicate):
            raise TypeError(f"step {step.id} has no predicate on objects")
        found = survey(self.client, step.predicate, dataset=step.dataset, holds=self.holds)
        return StepCount(
            counts=found.counts, histogram=found.histogram, keys=found.keys, fingerprint={"rows": found.counts.due, "xor": found.xor}
        )


def count_steps(workspace: Workspace, plan: Plan, live: Mapping[str, LiveSchema], scopes: Sequence[HoldScope]) -> dict[str, StepCount]:
    """Every step's numbers, each store in one snapshot. Raises Uncountable or Unreachable with the step and table."""
    with counters(workspace, plan, live, scopes) as found:
        return count_plan(plan, found)


@contextmanager
def counters(workspace: Workspace, plan: Plan, live: Mapping[str, LiveSchema], scopes: Sequence[HoldScope]) -> Iterator[dict[str, Counter]]:
    """A counter for each store that the plan looks into."""
    with ExitStack() as stack:
        used = {s.store for s in plan.steps if s.predicate is not None}
        yield {s.id: _counter(workspace, s, plan, live, tuple(scopes), stack) for s in workspace.catalog.stores if s.id in used}


def _counter(
    workspace: Workspace, store: Store, plan: Plan, live: Mapping[str, LiveSchema], scopes: tuple[HoldScope, ...], stack: ExitStack
) -> Counter:
    if store.kind == "s3":
        return ObjectCounter(client=workspace.s3(store.connection), holds=scopes)
    from lethe.stores.postgres.count import PostgresCounter, snapshot

    connection = stack.enter_context(snapshot(workspace.checking(store), scopes))
    return PostgresCounter(connection=connection, store=store, live=live[store.id], holds=scopes, steps=plan.steps)


def label(plan: Plan, steps: Sequence[str]) -> str:
    """A group's name in Airflow: its datasets, the first three by name."""
    names = list(dict.fromkeys(plan.step(s).dataset or s for s in steps))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _by_tenant(workspace: Workspace, plan: Plan, attempt: int) -> dict[str, dict[str, dict[str, int]]]:
    """What the check measures the split of a contract's end against (`verify.split`), for the details of a step's counts. A dry run has none."""
    from lethe.verify.split import plan_tenants

    if attempt == DRY:
        return {}
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    found = plan_tenants(plan, workspace.catalog, workspace.connections, key)
    return {step: {"tenants": tenants} for step, tenants in found.items()}


def evidence_of(plan: Plan, attempt: int, dry_run: bool, counts: Mapping[str, Counts]) -> dict[str, object]:
    """The body of the record `plan.made`."""
    return {
        "attempt": attempt,
        "dry_run": dry_run,
        "as_of": plan.as_of.isoformat(),
        "policy_version": plan.policy_version,
        "policy_digest": plan.policy_digest,
        "text_sha256": plan.text_sha256,
        "catalog_digest": plan.catalog_digest,
        "steps": {
            s: {"total": c.total, "due": c.due, "held": c.held, "blocked": c.blocked, "quarantined": c.quarantined}
            for s, c in counts.items()
        },
        "waiting": {s.id: list(s.waiting_for) for s in plan.steps if not s.acts},
    }
