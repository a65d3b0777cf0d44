"""A run as its report: read from Lethe's own database, without working any number out from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from lethe.catalog.model import Catalog, Table
from lethe.control.approvals import approval_of
from lethe.control.holds import list_holds
from lethe.control.plans import DRY, Counted, load_counts
from lethe.control.results import Verified, load_results
from lethe.control.runs import Run, run_of
from lethe.evidence.ledger import head, records
from lethe.plan.expiry import is_expiry
from lethe.plan.model import ExpiryPredicate, Finding, ObjectPredicate, Plan, Predicate, Step
from lethe.policy.model import PolicyVersion, Rule
from lethe.policy.period import Period
from lethe.reports.archive import Protection
from lethe.reports.model import (
    ApprovalReport,
    Blocker,
    GuardReport,
    HoldReport,
    InterruptionReport,
    PromiseReport,
    Quarantine,
    RunReport,
    StepReport,
    WaitingStep,
)
from lethe.retention.archive_part import archive_part
from lethe.retention.expired import expiry_report
from lethe.retention.explaining import Explained
from lethe.retention.notes import purged
from lethe.verify.reasons import HeldBack
from lethe.verify.result import Outcome, Terms

LOOK_WITHIN = timedelta(days=30)


def report_of(
    control: Connection,
    plan: Plan,
    attempt: int,
    *,
    policy: PolicyVersion,
    catalog: Catalog,
    findings: Sequence[Finding],
    outcome: Outcome | None,
    problem: str,
    at: datetime,
    explained: Explained | None = None,
    protection: Protection | None = None,
) -> RunReport:
    """The report of a run as of the instant `at`, from what is stored; the ledger's head is the one at this moment.

    `explained` (`retention/explaining.py`): why due rows are still there, counted at the stores; without it that is unknown.
    `protection` (`retention/archive_part.py`): what the archive's bucket says of itself; None where there is no archive.
    """
    explained = explained or Explained()
    run = run_of(control, plan.digest, attempt) if attempt != DRY else None
    counts = load_counts(control, plan.digest, attempt)
    results = load_results(control, plan.digest, attempt)
    notes = purged(control, plan.digest, attempt)
    today = at.astimezone(ZoneInfo(policy.time_zone)).date()
    datasets = catalog.datasets()
    steps = tuple(
        expiry_report(s, policy, counts.get(s.id), results.get(s.id), notes.get(s.id, {}))
        if isinstance(s.predicate, ExpiryPredicate)
        else _step(s, policy.rule(s.rule), datasets, counts.get(s.id), results.get(s.id), notes.get(s.id, {}), today, explained)
        for s in plan.steps
        if s.acts
    )
    approval = approval_of(control, plan.digest)
    last = head(control)
    ran = run is not None and run.state not in {"planned", "waiting", "refused"}
    return RunReport(
        kind="expiry" if is_expiry(plan) else "purge",
        company=policy.company,
        time_zone=policy.time_zone,
        as_of=plan.as_of,
        policy_version=plan.policy_version,
        policy_digest=plan.policy_digest,
        text_sha256=plan.text_sha256,
        catalog_digest=plan.catalog_digest,
        plan=plan.digest,
        attempt=attempt,
        state=run.state if run else "planned",
        dry_run=attempt == DRY,
        pace=run.pace if run else "full",
        started_at=run.started_at if run else at,
        finished_at=(run.finished_at if run else None) or at,
        outcome=outcome,
        problem=problem,
        ledger_seq=last[0] if last else None,
        ledger_head=last[1] if last else None,
        steps=steps,
        archive=archive_part(control, plan, attempt, results, protection, ran=ran),
        waiting=tuple(_waiting(s, policy.rule(s.rule), counts.get(s.id)) for s in plan.steps if not s.acts),
        holds=_holds(control, today, explained),
        guard=tuple(GuardReport(step=f.step, limit=f.limit, value=f.value, allowed=f.allowed) for f in findings),
        approvals=(
            ApprovalReport(
                approver=approval.approver,
                reason=str(approval.reason),
                approved=approval.approved,
                given_at=approval.given_at,
                ceilings=tuple(sorted(approval.ceilings.items())),
            ),
        )
        if approval
        else (),
        interruptions=_interruptions(control, plan, run),
        promises=_promises(plan, policy),
        unbound=policy.unbound,
    )


def _step(
    step: Step,
    rule: Rule,
    datasets: Mapping[str, Any],
    counted: Counted | None,
    result: Verified | None,
    note: Mapping[str, Any],
    today: date,
    explained: Explained,
) -> StepReport:
    if not isinstance(step.predicate, Predicate | ObjectPredicate) or step.dataset is None or step.store is None:
        raise TypeError(f"step {step.id} acts on nothing")
    store, entry = datasets[step.dataset]
    terms = dict(result.terms) if result else {"planned": counted.counts.due if counted else None}
    details = result.details if result else {}
    counts = counted.counts if counted else None
    quarantined = bool(counts and counts.quarantined)
    return StepReport(
        id=step.id,
        rule=step.rule,
        dataset=step.dataset,
        store=step.store,
        table=f"{entry.db_schema}.{entry.table}" if isinstance(entry, Table) else f"{entry.bucket}/{entry.prefix}",
        unit="rows" if isinstance(step.predicate, Predicate) else "objects",
        role=rule.role,
        promise=rule.promise,
        quote=rule.quote,
        period=Period(step.period) if step.period else rule.period,
        why=rule.why,
        clock=rule.clock,
        cutoff=step.predicate.cutoff,
        total=counts.total if counts else None,
        terms=Terms(**{k: v for k, v in terms.items() if k in Terms.model_fields}),
        quarantined=Quarantine(
            null=counts.quarantined_null if counts else None,
            future=counts.quarantined_future if counts else None,
            early=counts.quarantined_early if counts else None,
            owner=entry.owner or store.owner or "",
            look_by=(today + LOOK_WITHIN) if quarantined else None,
        ),
        blockers=_blockers(explained.held_back.get(step.id)),
        outcome=result.outcome if result else None,
        level=result.level if result else None,
        definitive_on=details.get("l4_on"),
        oldest_before=counts.oldest if counts else None,
        oldest_after=details.get("oldest_after"),
        histogram=tuple((str(m), int(n)) for m, n in counted.details.get("histogram", ())) if counted else (),
        technique=", ".join(note.get("techniques", ())),
        batches=note.get("batches"),
        seconds=note["milliseconds"] / 1000 if "milliseconds" in note else None,
        longest_transaction_ms=note["longest_transaction_us"] / 1000 if "longest_transaction_us" in note else None,
        findings=tuple(r for r in (*details.get("reasons", ()), note.get("error")) if r),
    )


def _waiting(step: Step, rule: Rule, counted: Counted | None) -> WaitingStep:
    return WaitingStep(
        rule=step.rule,
        dataset=step.dataset,
        period=rule.period,
        promise=rule.promise,
        waiting_for=step.waiting_for,
        why=rule.why,
        clock=rule.clock,
        due=counted.counts.due if counted else None,
        unit="objects" if isinstance(step.predicate, ObjectPredicate) else "rows",
    )


def _blockers(found: Sequence[HeldBack] | None) -> tuple[Blocker, ...] | None:
    return None if found is None else tuple(Blocker(dataset=b.dataset, relation=b.relation, rows=b.rows) for b in found)


def _holds(control: Connection, today: date, explained: Explained) -> tuple[HoldReport, ...]:
    return tuple(
        HoldReport(
            id=h.scope.id,
            scope=tuple(
                name
                for name, given in (
                    ("dataset", h.scope.dataset),
                    ("tenant", h.scope.tenant),
                    ("person", h.scope.person),
                    ("dates", h.scope.since or h.scope.until),
                )
                if given
            ),
            dataset=h.scope.dataset,
            reason=str(h.reason),
            owner=h.owner,
            starts_on=h.starts_on,
            review_on=h.review_on,
            rows=explained.kept.get(h.scope.id),
        )
        for h in list_holds(control)
        if h.starts_on <= today
    )


def _interruptions(control: Connection, plan: Plan, run: Run | None) -> tuple[InterruptionReport, ...]:
    if run is None:
        return ()
    found = (
        r
        for r in records(control, run=plan.digest)
        if r.kind in ("run.resumed", "batch.interrupted") and r.content.get("attempt") == run.attempt
    )
    return tuple(
        InterruptionReport(
            at=datetime.fromisoformat(r.recorded_at),
            step=r.content.get("step"),
            found=str(r.content.get("found") or r.content.get("state") or "taken up again"),
        )
        for r in found
    )


def _promises(plan: Plan, policy: PolicyVersion) -> tuple[PromiseReport, ...]:
    acting: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.acts:
            acting.setdefault(step.promise, []).append(step.id)
    return tuple(
        PromiseReport(id=p.id, quotes=p.quotes, means=p.means, steps=tuple(acting[p.id])) for p in policy.promises if p.id in acting
    )
