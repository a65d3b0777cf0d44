"""Verifies a run by counts of its own, and stores what was found."""

from __future__ import annotations

from lethe import settings
from lethe.control.holds import active_scopes
from lethe.control.plans import DRY, load_plan
from lethe.control.results import Verified, save_result
from lethe.control.runs import run_of, set_state
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.retention.notes import baselines, purged
from lethe.verify.result import Space, StepResult
from lethe.workspace import Workspace


def verify_run(workspace: Workspace, digest: str, attempt: int) -> dict[str, str]:
    """The outcome of each step that acts, by step; a dry run has none. Works after a failed or refused purge too."""
    from lethe.verify.run import verify_run as check

    if attempt == DRY:
        return {}
    at = now()
    with workspace.control.begin() as control:
        plan = load_plan(control, digest)
        if run_of(control, digest, attempt).state in {"purging", "verifying", "failed"}:
            set_state(control, digest, attempt, "verifying")
        policy = workspace.policies.version(plan.policy_version)
        scopes = active_scopes(control, local_day(at, policy.time_zone))
        notes, before = purged(control, digest, attempt), baselines(control, digest, attempt)
    results = check(
        plan,
        catalog=workspace.catalog,
        connections=workspace.connections,
        control=workspace.control,
        attempt=attempt,
        holds=scopes,
        backup_window=policy.backup_window,
        zone=policy.time_zone,
        at=at,
        spaces={
            s: Space(reclaimed=bool(n["space_reusable"]), reason=n["space_held_by"] or "")
            for s, n in notes.items()
            if n["space_reusable"] is not None
        },
        baselines=before,
        digest_key=settings.digest_key(workspace.connections(settings.CONTROL)),
    )
    with workspace.control.begin() as control:
        for result in results:
            save_result(control, digest, attempt, result.step, _stored(result))
            append(control, "step.verified", _evidence(attempt, result), run=digest)
    return {r.step: r.outcome for r in results}


def _stored(result: StepResult) -> Verified:
    body = result.model_dump(mode="json")
    return Verified(outcome=result.outcome, level=result.level, terms=body["terms"], details=body)


def _evidence(attempt: int, result: StepResult) -> dict[str, object]:
    body = result.model_dump(mode="json", exclude={"seconds", "checks", "split"})
    checks = {c.name: c.status for c in result.checks}
    return {"attempt": attempt, **body, "checks": checks}
