"""The weekly audit and the hourly watch: what a nightly run cannot see about itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from lethe import settings
from lethe.control.holds import active_scopes, hold_findings, list_holds
from lethe.control.maintenance import AIRFLOW_CLEAN, is_overdue, last_success
from lethe.control.tables import runs
from lethe.errors import AuditFailed, MissedRun
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append
from lethe.evidence.verdict import verify_ledger
from lethe.instants import now
from lethe.plan.make import make_plan
from lethe.retention.planning import count_steps, live_schemas
from lethe.workspace import Workspace

LONGEST_SILENCE = timedelta(hours=26)


def audit(workspace: Workspace, *, as_of: datetime) -> dict[str, Any]:
    """Counts every rule again, as of an instant and of the last nightly run, holds the catalog against the stores, walks the ledger.

    Records all of it, then raises AuditFailed on drift, on a broken ledger, or on rows that were due at the last clean run and are
    still there. Raises Uncountable or Unreachable when a number cannot be had.
    """
    from lethe.check import check

    at = now()
    checked = check(workspace, on=at.date())
    with workspace.control.connect() as control:
        scopes = active_scopes(control, at.date())
        holds = hold_findings(list_holds(control), at.date())
        last_clean = control.scalar(select(func.max(runs.c.finished_at)).where(runs.c.state == "finished", runs.c.outcome == "clean"))
        ledger = verify_ledger(control, S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET)))
    due, total = _due(workspace, as_of, scopes)
    overdue: dict[str, int] = {}
    if last_clean is not None:
        overdue = {s: n for s, n in _due(workspace, min(as_of, last_clean), scopes)[0].items() if n}
    body = {
        "as_of": as_of.isoformat(),
        "due": due,
        "rows": total,
        "overdue": overdue,
        "drift": [f"{f.kind}: {f.where}" for f in checked.findings],
        "unchecked": [u.store for u in checked.unchecked],
        "holds_to_review": [h.hold for h in holds],
        "ledger": {"records": ledger.records, "findings": [f.how for f in ledger.findings]},
    }
    with workspace.control.begin() as control:
        append(control, "audit.finished", body, run=f"audit:{as_of.date().isoformat()}")
    with workspace.control.connect() as control:
        keep_head(control, S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET)), "audit")
    problems = [f"{f.where}: {f.problem}" for f in checked.findings] + [f"{u.store}: {u.problem}" for u in checked.unchecked]
    problems += [f"{step}: {rows} rows were due at the last clean run and are still there" for step, rows in overdue.items()]
    problems += [f.text for f in ledger.findings]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise AuditFailed(
            f"The audit found {len(problems)}: {'; '.join(problems[:8])}{more}",
            fix="`lethe check` and `lethe verify` show all of it. The audit deletes nothing.",
        )
    return body


def watch(workspace: Workspace) -> dict[str, Any]:
    """When the last run that deletes finished, and when Airflow's own records were last cleaned.

    Raises MissedRun when either is too long ago: the night must not pass in silence.
    """
    at = now()
    with workspace.control.connect() as control:
        finished = control.scalar(select(func.max(runs.c.finished_at)).where(runs.c.state == "finished"))
        cleaned = last_success(control, AIRFLOW_CLEAN)
    if finished is None or at - finished > LONGEST_SILENCE:
        when = f"finished at {finished.isoformat(timespec='minutes')}" if finished else "has never finished"
        raise MissedRun(
            f"The nightly retention run {when}.",
            fix="Open `retention_purge` in Airflow: is it paused, waiting for an approval, or red? Triggering it by hand with dry_run false is safe.",
        )
    if is_overdue(cleaned, at=at):
        raise MissedRun("Airflow's own run records have not been cleaned for two days.", fix="Run `make airflow-clean` on the host.")
    return {"finished_at": finished.isoformat(), "cleaned_at": cleaned.isoformat() if cleaned else None}


def _due(workspace: Workspace, as_of: datetime, scopes: Any) -> tuple[dict[str, int], dict[str, int]]:
    """By step: rows that could be deleted, and rows in all."""
    plan = make_plan(workspace.policy(as_of), workspace.catalog, as_of=as_of)
    counted = count_steps(workspace, plan, live_schemas(workspace, plan), scopes)
    return {s: c.counts.deletable for s, c in counted.items() if plan.step(s).acts}, {s: c.counts.total for s, c in counted.items()}
