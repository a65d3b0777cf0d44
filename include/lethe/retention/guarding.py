"""May a run delete? An ordinary plan passes; one beyond its guard needs a named person, who answers beforehand or in Airflow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from lethe.control.approvals import approval_of, record_answer
from lethe.control.plans import DRY, load_counts, load_plan
from lethe.control.runs import set_state
from lethe.errors import NotApproved
from lethe.evidence.ledger import append
from lethe.plan.model import Finding, Plan
from lethe.retention.model import Verdict
from lethe.retention.planning import judge
from lethe.workspace import Workspace


def guard_run(workspace: Workspace, digest: str, attempt: int) -> Verdict:
    """Judges a stored plan; lets its run pass, or leaves it waiting. A dry run is judged and goes no further.

    Raises NotApproved when a person refused this plan before: a refusal is final.
    """
    with workspace.control.begin() as control:
        plan = load_plan(control, digest)
        counts = {s: c.counts for s, c in load_counts(control, digest, attempt).items()}
        found = judge(control, plan, counts, workspace.policies.version(plan.policy_version))
        approval = approval_of(control, digest)
        if attempt == DRY:
            return Verdict(waits=False, summary=f"dry run; {len(found)} finding(s)", findings=found)
        if approval is not None and not approval.approved:
            set_state(control, digest, attempt, "refused")
            append(control, "guard.refused", {"attempt": attempt, "approver_channel": approval.channel}, run=digest)
        elif found:
            set_state(control, digest, attempt, "waiting")
            append(
                control,
                "guard.waiting",
                {"attempt": attempt, "findings": [f.model_dump(mode="json") | _texts(f) for f in found]},
                run=digest,
            )
            return Verdict(
                waits=True, summary=f"{len(found)} finding(s)", findings=found, markdown=_markdown(plan, counts_of(found), found)
            )
        else:
            set_state(control, digest, attempt, "passed")
            append(control, "guard.passed", {"attempt": attempt, "approved": approval is not None}, run=digest)
            return Verdict(waits=False, summary="approved beforehand" if approval else "within its guard")
    raise NotApproved(
        "This plan was refused, and a refusal is final.",
        fix="Nothing was deleted. Make a plan as of another instant, or change what made it wrong.",
    )


def decide_run(
    workspace: Workspace, digest: str, attempt: int, *, approved: bool, by: str, at: datetime | None = None, answered: bool = True
) -> None:
    """Records what a person answered in Airflow, and lets the run pass or ends it. `answered` False: nobody did in time, which refuses."""
    with workspace.control.begin() as control:
        reason = None if answered else "no_answer"
        record_answer(control, digest, attempt, responded_by=by, approved=approved, responded_at=at, reason=reason)
        set_state(control, digest, attempt, "passed" if approved else "refused")


def counts_of(found: Iterable[Finding]) -> int:
    """How many steps the findings are about."""
    return len({f.step for f in found})


def _texts(finding: Finding) -> dict[str, str]:
    return {"value": f"{finding.value:g}", "allowed": f"{finding.allowed:g}"}


def _markdown(plan: Plan, steps: int, found: Iterable[Finding]) -> str:
    lines = [
        f"**{steps} step(s) of this plan are out of the ordinary.** Approve only if you know why. Nothing is deleted until you do; no answer is a refusal.",
        "",
        f"As of {plan.as_of.isoformat()}, policy of {plan.policy_version}, plan `{plan.digest}`.",
        "",
        "| step | limit | would be | allowed |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [f"| {f.step} | {f.limit} | {_number(f, f.value)} | {_number(f, f.allowed)} |" for f in found]
    return "\n".join(lines)


def _number(finding: Finding, value: float) -> str:
    if finding.limit == "share":
        return f"{value:.1%} of the table"
    return f"{value:,.0f} days" if finding.limit == "shortened" else f"{value:,.0f} rows"
