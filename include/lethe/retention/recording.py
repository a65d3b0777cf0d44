"""Ends a run: its evidence, its results and report where people find them, the ledger's head outside; then red when it is not clean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from lethe import settings
from lethe.control.maintenance import AIRFLOW_CLEAN, is_overdue, last_success
from lethe.control.plans import DRY, load_counts, load_plan
from lethe.control.results import Verified, load_results
from lethe.control.runs import run_of, set_state
from lethe.errors import NotClean
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append
from lethe.instants import now
from lethe.plan.model import Plan
from lethe.retention.planning import judge
from lethe.retention.reporting import report_of
from lethe.verify.result import Outcome
from lethe.workspace import Workspace


def record_run(workspace: Workspace, digest: str | None, attempt: int | None, *, dry_run: bool = False) -> dict[str, Any]:
    """Records how a run ended and where its report lies; without a plan, that there was none.

    Raises NotClean, after everything is written, when the run deletes and is not clean: no plan, a refusal, survivors, an unknown
    number, or Airflow's own records not cleaned for two days. Raises Unreachable when the object store does not take the evidence.
    """
    at = now()
    if digest is None or attempt is None:
        with workspace.control.begin() as control:
            append(control, "run.failed", {"problem": "no plan was made", "dry_run": dry_run})
        _keep(workspace, "no-plan")
        raise NotClean(
            "No plan was made, so nothing was deleted and nothing is claimed.",
            fix="Open the log of the task `plan`: it names what could not be counted.",
        )
    with workspace.control.begin() as control:
        plan = load_plan(control, digest)
        policy = workspace.policies.version(plan.policy_version)
        results = load_results(control, digest, attempt)
        findings = judge(control, plan, {s: c.counts for s, c in load_counts(control, digest, attempt).items()}, policy)
        outcome = None if attempt == DRY else _outcome(plan, results)
        problem, fix = _problem(control, plan, attempt, outcome, results, at)
        kind = _end(control, plan, attempt, outcome, clean=not problem, at=at)
        append(control, kind, _evidence(plan, attempt, outcome, results, problem), run=digest)
    head = _keep(workspace, digest)
    with workspace.control.connect() as control:
        report = report_of(
            control, plan, attempt, policy=policy, catalog=workspace.catalog, findings=findings, outcome=outcome, problem=problem, at=at
        )
    where = _publish(workspace, plan, attempt, results, report)
    if problem:
        raise NotClean(problem, fix=fix)
    return {"digest": digest, "attempt": attempt, "outcome": outcome, "report": where, "ledger_head": head, "findings": len(findings)}


def _outcome(plan: Plan, results: Mapping[str, Verified]) -> Outcome:
    """Survivors where any step has them; unknown where any step was not verified; clean only when every step is."""
    found = [results[s.id].outcome if s.id in results else "unknown" for s in plan.steps if s.acts]
    if "survivors" in found:
        return "survivors"
    return "unknown" if "unknown" in found else "clean"


def _problem(
    control: Connection, plan: Plan, attempt: int, outcome: Outcome | None, results: Mapping[str, Verified], at: datetime
) -> tuple[str, str]:
    """Why the run is red, and what is safe to do; empty when it is not. A dry run claims nothing, so it is never red."""
    if attempt == DRY:
        return "", ""
    state = run_of(control, plan.digest, attempt).state
    if state == "refused":
        return (
            "The plan was refused: nothing was deleted, and what is due is still there.",
            "Look at its findings; make a plan as of another instant.",
        )
    if state in {"planned", "waiting"}:
        return "The plan did not pass its guard: nothing was deleted.", "Open the log of the task `guard`, then clear it."
    if outcome != "clean":
        named = [
            _named(s.id, results.get(s.id)) for s in plan.steps if s.acts and (s.id not in results or results[s.id].outcome != "clean")
        ]
        return (
            f"The run is not clean ({outcome}): {'; '.join(named[:8])}{f'; and {len(named) - 8} more' if len(named) > 8 else ''}.",
            "Read the report. Clearing the task `purge` is safe: it goes on where it stopped and deletes nothing twice.",
        )
    cleaned = last_success(control, AIRFLOW_CLEAN)
    if is_overdue(cleaned, at=at):
        when = f"since {cleaned.isoformat(timespec='minutes')}" if cleaned else "ever"
        return (
            f"Airflow's own run records, technical logs too, have not been cleaned {when}.",
            "Run `make airflow-clean` on the host (or its compose service), then clear this task. The purge itself is clean.",
        )
    return "", ""


def _named(step: str, result: Verified | None) -> str:
    if result is None:
        return f"{step}: not verified"
    rows = result.terms.get("survivors")
    return (
        f"{step}: {rows if rows is not None else 'an unknown number of'} due rows left"
        if result.outcome == "survivors"
        else f"{step}: unknown"
    )


def _end(
    control: Connection, plan: Plan, attempt: int, outcome: Outcome | None, *, clean: bool, at: datetime
) -> Literal["run.dry", "run.refused", "run.failed", "run.finished"]:
    if attempt == DRY:
        return "run.dry"
    state = run_of(control, plan.digest, attempt).state
    if state == "refused":
        return "run.refused"
    if state in {"passed", "purging", "verifying", "failed"}:
        # A run whose purge is clean is over, also when the night is red for another reason.
        set_state(control, plan.digest, attempt, "finished" if outcome == "clean" else "failed", outcome=outcome, at=at)
    return "run.finished" if clean else "run.failed"


def _evidence(plan: Plan, attempt: int, outcome: Outcome | None, results: Mapping[str, Verified], problem: str) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "outcome": outcome,
        "problem": problem,
        "as_of": plan.as_of.isoformat(),
        "policy_version": plan.policy_version,
        "policy_digest": plan.policy_digest,
        "text_sha256": plan.text_sha256,
        "steps": {s: {"outcome": r.outcome, "level": r.level, "terms": dict(r.terms)} for s, r in results.items()},
    }


def _keep(workspace: Workspace, run: str) -> str | None:
    bucket = workspace.bucket(settings.EVIDENCE_BUCKET)
    with workspace.control.connect() as control:
        kept = keep_head(control, S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), bucket), run)
    return kept.digest if kept else None


def _publish(workspace: Workspace, plan: Plan, attempt: int, results: Mapping[str, Verified], report: Any) -> str:
    """Puts results and report into `lethe_s3`, and the report into `LETHE_REPORTS_DIR` where that is set; the report's key."""
    from lethe.reports.run_report import render, write
    from lethe.stores.s3.client import answering

    name = f"{plan.as_of:%Y-%m-%d}-{plan.digest[:12]}-{attempt}"
    bucket = workspace.bucket(settings.EVIDENCE_BUCKET)
    client = workspace.s3(settings.EVIDENCE_BUCKET)
    found = json.dumps(
        {"plan": plan.digest, "attempt": attempt, "steps": {s: dict(r.details) for s, r in results.items()}}, indent=1, sort_keys=True
    )
    with answering(bucket):
        client.put_object(Bucket=bucket, Key=f"results/{name}.json", Body=found.encode(), ContentType="application/json")
        client.put_object(Bucket=bucket, Key=f"reports/{name}.html", Body=render(report).encode(), ContentType="text/html; charset=utf-8")
    if folder := os.environ.get("LETHE_REPORTS_DIR"):
        write(report, Path(folder) / f"{name}.html")
    return f"reports/{name}.html"
