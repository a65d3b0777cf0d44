"""Ends a run: its evidence, its results and report where people find them, the ledger's head outside; then red when it is not clean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from lethe import settings
from lethe.control.plans import DRY, load_counts, load_plan
from lethe.control.results import Verified, load_results
from lethe.control.runs import run_of, set_state
from lethe.errors import NotClean
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.plan.expiry import is_expiry
from lethe.plan.model import Plan
from lethe.retention.archive_part import protection_of
from lethe.retention.coverage import uncovered
from lethe.retention.explaining import explain
from lethe.retention.notes import purged
from lethe.retention.planning import judge
from lethe.retention.problems import Ending, problem_of
from lethe.retention.reporting import report_of
from lethe.verify.result import Outcome
from lethe.workspace import Workspace


def record_run(
    workspace: Workspace, digest: str | None, attempt: int | None, *, dry_run: bool = False, failed_tasks: Sequence[str] = ()
) -> dict[str, Any]:
    """Records how a run ended and where its report lies; without a plan, that there was none. `failed_tasks`: ids, as Airflow knows them.

    Raises NotClean, after everything is written, when the run deletes and anything is wrong (`retention.problems`): no plan, a refusal,
    survivors, an unknown number, a failed task, a step of which no purge left its evidence, a table or column that nobody mapped, or
    Airflow's own records not cleaned for two days. Raises Unreachable when the object store does not take the evidence.
    """
    at = now()
    if digest is None or attempt is None:
        with workspace.control.begin() as control:
            append(control, "run.failed", {"problem": "no plan was made", "dry_run": dry_run, "failed_tasks": list(failed_tasks)})
        _keep(workspace, "no-plan")
        raise NotClean(
            "No plan was made, so nothing was deleted and nothing is claimed.",
            fix="Open the log of the task `plan`: it names what could not be counted.",
        )
    with workspace.control.connect() as control:
        plan = load_plan(control, digest)
    policy = workspace.policies.version(plan.policy_version)
    missing = () if is_expiry(plan) else uncovered(workspace, policy, on=local_day(at, policy.time_zone))
    with workspace.control.begin() as control:
        results = load_results(control, digest, attempt)
        findings = judge(control, plan, {s: c.counts for s, c in load_counts(control, digest, attempt).items()}, policy)
        outcome = None if attempt == DRY else _outcome(plan, results)
        end = Ending(
            plan=plan,
            attempt=attempt,
            outcome=outcome,
            results=results,
            unproved=_unproved(control, plan, attempt),
            failed_tasks=failed_tasks,
            uncovered=missing,
        )
        problem, fix = problem_of(control, end, at)
        append(control, _end(control, end, clean=not problem, at=at), _evidence(end, problem), run=digest)
    head = _keep(workspace, digest)
    explained = explain(workspace, plan, attempt, at=at)
    with workspace.control.connect() as control:
        report = report_of(
            control,
            plan,
            attempt,
            policy=policy,
            catalog=workspace.catalog,
            findings=findings,
            outcome=outcome,
            problem=problem,
            at=at,
            explained=explained,
            protection=protection_of(workspace),
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


def _unproved(control: Connection, plan: Plan, attempt: int) -> tuple[str, ...]:
    """The acting steps without a note of their purge: a task killed after its last commit leaves clean tables and no evidence."""
    if attempt == DRY or run_of(control, plan.digest, attempt).state in {"planned", "waiting", "refused"}:
        return ()
    notes = purged(control, plan.digest, attempt)
    return tuple(s.id for s in plan.steps if s.acts and s.id not in notes)


def _end(control: Connection, end: Ending, *, clean: bool, at: datetime) -> Literal["run.dry", "run.refused", "run.failed", "run.finished"]:
    if end.attempt == DRY:
        return "run.dry"
    digest = end.plan.digest
    state = run_of(control, digest, end.attempt).state
    if state == "refused":
        return "run.refused"
    if state in {"passed", "purging", "verifying", "failed"}:
        # A run whose purge is done and clean is over, also when the night is red for another reason.
        set_state(control, digest, end.attempt, "finished" if end.purged else "failed", outcome=end.outcome, at=at)
    return "run.finished" if clean else "run.failed"


def _evidence(end: Ending, problem: str) -> dict[str, Any]:
    plan = end.plan
    return {
        "attempt": end.attempt,
        "outcome": end.outcome,
        "problem": problem,
        "as_of": plan.as_of.isoformat(),
        "policy_version": plan.policy_version,
        "policy_digest": plan.policy_digest,
        "text_sha256": plan.text_sha256,
        "run": "expiry" if is_expiry(plan) else "retention",
        "rules": list(plan.rules),
        "unverified": [s.id for s in plan.steps if s.acts and s.id not in end.results],
        "failed_tasks": list(end.failed_tasks),
        "unproved": list(end.unproved),
        "uncovered": list(end.uncovered),
        "steps": {s: {"outcome": r.outcome, "level": r.level, "terms": dict(r.terms)} for s, r in end.results.items()},
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

    name = f"{local_day(plan.as_of, report.time_zone)}-{plan.digest[:12]}-{attempt}"
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
