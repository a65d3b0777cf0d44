"""The weekly audit and the hourly watch: what a nightly run cannot see about itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from lethe import settings
from lethe.archive.finding import LIVING
from lethe.control.agreement import verify_evidence
from lethe.control.holds import active_scopes, hold_findings, list_holds
from lethe.control.maintenance import AIRFLOW_CLEAN, is_overdue, last_success
from lethe.control.runs import Done, finished_expiries, finished_runs
from lethe.control.tables import archive_objects
from lethe.errors import AuditFailed, MissedRun
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.plan.make import make_plan
from lethe.policy.check import Known
from lethe.retention.planning import count_steps, live_schemas
from lethe.retention.shelving import check_archive
from lethe.workspace import Workspace

LONGEST_SILENCE = timedelta(hours=26)
"""From one night's `as_of` to the moment when the next night is missed: a day, an hour more when the clocks go back, and an hour to run."""


def audit(workspace: Workspace, *, as_of: datetime, known: Known | None = None) -> dict[str, Any]:
    """Counts every rule again, as of an instant and of the last nightly run, holds the catalog against the stores and the archive
    against its manifests, walks the ledger.

    Records all of it, then raises AuditFailed on drift, on a broken ledger, on an archive that is not what its manifests say, on a hold
    that nobody looks after, on rows that were due at the last clean run and are still there, and on files and rows that do not find each
    other. `known`: the names that controls of promises may give (`lethe.check`). Raises Uncountable or Unreachable when a number cannot be had.
    """
    from lethe.check import check
    from lethe.verify.files import compare_files, prefixes_with_files

    at = now()
    today = local_day(at, workspace.policy(at).time_zone)
    checked = check(workspace, on=today, known=known)
    with workspace.control.connect() as control:
        scopes = active_scopes(control, today)
        holds = hold_findings(list_holds(control), today)
        last_clean = next((run for run in whole_runs(control, workspace) if run.outcome == "clean"), None)
    heads = S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET))
    ledger = verify_evidence(workspace.control, heads, digest_key=settings.digest_key(workspace.connections(settings.CONTROL)))
    archive = check_archive(workspace, at=at)
    due, total = _due(workspace, as_of, scopes)
    files = {
        d: compare_files(workspace.catalog, d, connections=workspace.connections, at=at) for d in prefixes_with_files(workspace.catalog)
    }
    overdue: dict[str, int] = {}
    if last_clean is not None:
        overdue = {s: n for s, n in _due(workspace, min(as_of, last_clean.as_of), scopes)[0].items() if n}
    body = {
        "as_of": as_of.isoformat(),
        "due": due,
        "rows": total,
        "overdue": overdue,
        "drift": [f"{f.kind}: {f.where}" for f in checked.findings],
        "unchecked": [u.store for u in checked.unchecked],
        "files": {d: f.model_dump(exclude={"dataset"}) for d, f in files.items()},
        "holds_to_review": [h.hold for h in holds],
        "ledger": {"records": ledger.records, "findings": [f.how for f in ledger.findings]},
        "archive": {
            "objects": archive.objects,
            "rows": archive.rows,
            "findings": [{"kind": f.kind, "dataset": f.dataset, "object": f.object, "wrong": f.wrong} for f in archive.findings],
        },
    }
    with workspace.control.begin() as control:
        append(control, "audit.finished", body, run=f"audit:{as_of.date().isoformat()}")
    with workspace.control.connect() as control:
        keep_head(control, heads, "audit")
    problems = [f.text for f in archive.findings if f.wrong]
    problems += [f"Hold {h.hold} (owner {h.owner}): {h.problem}; its rows are still kept" for h in holds]
    problems += [f"{f.where}: {f.problem}" for f in checked.findings] + [f"{u.store}: {u.problem}" for u in checked.unchecked]
    problems += [f"{step}: {rows} rows were due at the last clean run and are still there" for step, rows in overdue.items()]
    problems += [f"{d}: {n} {words}" for d, f in files.items() for words, n in f.differences.items()]
    problems += [f.text for f in ledger.findings]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise AuditFailed(
            f"The audit found {len(problems)}: {'; '.join(problems[:8])}{more}",
            fix="`lethe check` and `lethe verify` show all of it. The audit deletes nothing.",
        )
    return body


def watch(workspace: Workspace) -> dict[str, Any]:
    """What the last finished run over the whole policy looked at, and when Airflow's own records were last cleaned.

    Raises MissedRun when either is too long ago, or when archive objects are past their expiry and no expiry has run since: the night must
    not pass in silence. A run over some of the rules, or as of an older instant, is no night, whenever it was carried out.
    """
    at = now()
    with workspace.control.connect() as control:
        last = next(whole_runs(control, workspace), None)
        cleaned = last_success(control, AIRFLOW_CLEAN)
        waiting = _expired_and_waiting(control, at - LONGEST_SILENCE)
    if last is None or at - last.as_of > LONGEST_SILENCE:
        when = f"last finished as of {last.as_of.isoformat(timespec='minutes')}" if last else "has never finished"
        raise MissedRun(
            f"The nightly retention run over every rule of the policy {when}.",
            fix="Open `retention_purge` in Airflow: is it paused, waiting for an approval, or red? Triggering it by hand with dry_run false is safe.",
        )
    if waiting:
        raise MissedRun(
            f"{waiting} archive objects were past their expiry a day ago, and the nightly expiry has not finished since.",
            fix="Open `archive_expiry` in Airflow: is it paused, waiting for an approval, or red? Triggering it by hand with dry_run false is safe.",
        )
    if is_overdue(cleaned, at=at):
        raise MissedRun("Airflow's own run records have not been cleaned for two days.", fix="Run `make airflow-clean` on the host.")
    return {
        "as_of": last.as_of.isoformat(),
        "finished_at": last.finished_at.isoformat(),
        "cleaned_at": cleaned.isoformat() if cleaned else None,
    }


def _expired_and_waiting(control: Connection, since: datetime) -> int:
    """Archive objects whose period was over at an instant, when no expiry as of it or later has finished; 0 when one has."""
    if any(run.as_of >= since for run in finished_expiries(control)):
        return 0
    living = archive_objects.c.state.in_(LIVING) & (archive_objects.c.expires_at <= since)
    return control.scalar(select(func.count()).select_from(archive_objects).where(living)) or 0


def whole_runs(control: Connection, workspace: Workspace) -> Iterator[Done]:
    """The finished runs over every rule that the policy of their `as_of` has, the latest `as_of` first."""
    rules = {v.version: {r.id for r in v.rules} for v in workspace.policies.versions}
    return (run for run in finished_runs(control) if run.policy_version in rules and rules[run.policy_version] <= run.rules)


def _due(workspace: Workspace, as_of: datetime, scopes: Any) -> tuple[dict[str, int], dict[str, int]]:
    """By step: rows that could be deleted, and rows in all."""
    plan = make_plan(workspace.policy(as_of), workspace.catalog, as_of=as_of, met=workspace.met)
    counted = count_steps(workspace, plan, live_schemas(workspace, plan), scopes)
    return {s: c.counts.deletable for s, c in counted.items() if plan.step(s).acts}, {s: c.counts.total for s, c in counted.items()}
