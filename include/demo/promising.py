"""The last step of the demo: what else leaves evidence is run once, two things are vouched for, and the promise report is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from lethe import settings
from lethe.accountability.owed import report_deadlines
from lethe.accountability.promises import make_report
from lethe.accountability.promises.attesting import attest
from lethe.errors import LetheError, PromiseBroken
from lethe.instants import local_day, now
from lethe.policy.controls import ControlKind
from lethe.retention import audit, guard_run, plan_expiry, purge_run_group, record_run, verify_run
from lethe.workspace import Workspace


def report_promises(reports: Path) -> Path:
    """Makes the report over the demo; its page. What is red in it is printed, for the demo's data is planted with what a person has to see to."""
    with Workspace.open() as workspace:
        for what, done in _others(workspace):
            try:
                done()
                print(f"  {what}")
            except LetheError as error:
                print(f"  {what}: red. {error.problem}")
        try:
            made = make_report(workspace, at=now(), dags=settings.dags_dir())
            print(f"  {made['verdicts']}")
        except PromiseBroken as broken:
            print(f"  {broken.problem}")
    return max(reports.glob("promises-*.html"), key=lambda p: p.stat().st_mtime)


def _others(workspace: Workspace) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "the archive's expiry", lambda: _expire(workspace)
    yield "the weekly audit", lambda: audit(workspace, as_of=now())
    yield "the deadlines of replies", lambda: report_deadlines(workspace, at=now(), tell=lambda owed: None)
    yield "what no program can see, vouched for by a person for 90 days", lambda: _vouch(workspace)


def _expire(workspace: Workspace) -> None:
    """A night of the expiry. What waits for a person is left to that person."""
    planned = plan_expiry(workspace, as_of=now(), dry_run=False)
    run = (planned.digest, planned.attempt)
    if guard_run(workspace, *run).waits:
        return
    for group in planned.groups:
        purge_run_group(workspace, *run, group.steps)
    verify_run(workspace, *run)
    record_run(workspace, *run)


def _vouch(workspace: Workspace) -> None:
    at = now()
    policy = workspace.policy(at)
    until = local_day(at, policy.time_zone) + timedelta(days=90)
    with workspace.approver.begin() as connection:
        for name in sorted({c.name for p in policy.promises for c in p.controls if c.kind is ControlKind.ATTESTATION}):
            attest(connection, policy, name, until=until, by="demo-approver", at=at)
