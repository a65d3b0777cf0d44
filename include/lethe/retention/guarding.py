"""May a run delete? An ordinary plan passes; one beyond its guard needs a named person, who answers beforehand or in Airflow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from lethe.control.approvals import RefusalReason, approval_of, lock_answers, record_answer
from lethe.control.plans import DRY, load_counts, load_plan
from lethe.control.runs import set_state
from lethe.errors import NotApproved
from lethe.evidence.ledger import append
from lethe.plan.model import Counts, Finding, Plan
from lethe.retention.model import Verdict
from lethe.retention.planning import judge
from lethe.workspace import Workspace

_TOLD = 10
"""Steps that an alert names one by one."""


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
                waits=True,
                summary=f"{len(found)} finding(s)",
                findings=found,
                markdown=_markdown(plan, counts_of(found), found),
                notice=_notice(plan, counts, found),
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
    workspace: Workspace,
    digest: str,
    attempt: int,
    *,
    approved: bool,
    by: str | None,
    at: datetime | None = None,
    answered: bool = True,
    also_known_as: Collection[str] = (),
    started_by: str | None = None,
) -> bool:
    """Records what a person answered in Airflow, and lets the run pass or ends it. Returns whether it may go on.

    Four eyes: an approval by whoever started the run (`started_by`: a user's id or name; None for a scheduled run), or by nobody that
    Airflow can name (`by` None), is recorded as a refusal. `answered` False: nobody did in time, which refuses too. Neither undoes an
    approval that came meanwhile with an approver's own credentials and covers what this run would delete.
    """
    with workspace.control.begin() as control:
        lock_answers(control, digest)
        reason = _refusal(approved, by, answered, also_known_as, started_by)
        if reason is not None and _approved_meanwhile(workspace, control, digest, attempt):
            set_state(control, digest, attempt, "passed")
            append(control, "guard.passed", {"attempt": attempt, "approved": True, "answer_set_aside": str(reason)}, run=digest)
            return True
        passes = approved and reason is None
        record_answer(control, digest, attempt, responded_by=by or "nobody", approved=passes, responded_at=at, reason=reason)
        set_state(control, digest, attempt, "passed" if passes else "refused")
        return passes


def _refusal(
    approved: bool, by: str | None, answered: bool, also_known_as: Collection[str], started_by: str | None
) -> RefusalReason | None:
    """Why an answer is no approval although no person refused; None when it is what that person said."""
    if not answered:
        return RefusalReason.NO_ANSWER
    if not approved:
        return None
    if by is None:
        return RefusalReason.NOBODY_NAMED
    if started_by is not None and started_by.casefold() in {name.casefold() for name in (by, *also_known_as)}:
        return RefusalReason.OWN_RUN
    return None


def _approved_meanwhile(workspace: Workspace, control: Connection, digest: str, attempt: int) -> bool:
    approval = approval_of(control, digest)
    if approval is None or not approval.approved:
        return False
    plan = load_plan(control, digest)
    counts = {s: c.counts for s, c in load_counts(control, digest, attempt).items()}
    return not judge(control, plan, counts, workspace.policies.version(plan.policy_version))


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


def _notice(plan: Plan, counts: Mapping[str, Counts], found: Sequence[Finding]) -> str:
    """For an alert: which plan, which steps, how many rows, how to answer."""
    rows = sum(counts[s.id].deletable for s in plan.steps if s.acts)
    steps = list(dict.fromkeys(f.step for f in found))
    lines = [
        f"Plan {plan.digest}, as of {plan.as_of.isoformat()}, waits for a named person. It would delete {rows:,} rows.",
        "Out of the ordinary:",
        *(
            f"- {s}: {counts[s].deletable:,} of {counts[s].total:,} rows ({', '.join(f.limit for f in found if f.step == s)})"
            for s in steps[:_TOLD]
        ),
        *([f"- and {len(steps) - _TOLD} more steps"] if len(steps) > _TOLD else []),
        f"With an approver's credentials: lethe plan approve {plan.digest} --reason CHOICE --rows {rows}",
        "Nothing is deleted until it is approved; no answer in time is a refusal, which deletes nothing.",
    ]
    return "\n".join(lines)


def _number(finding: Finding, value: float) -> str:
    if finding.limit == "share":
        return f"{value:.1%} of the table"
    return f"{value:,.0f} days" if finding.limit == "shortened" else f"{value:,.0f} rows"
