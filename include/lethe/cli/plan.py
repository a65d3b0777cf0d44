"""`lethe plan` and `lethe plan approve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from lethe.plan.model import Step
    from lethe.retention import PlannedRun

plan = typer.Typer(help="What a run would delete, as of one instant: counted, stored, and ready to be approved.")


@plan.callback(invoke_without_command=True)
def make(
    ctx: typer.Context,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="An instant with its zone, such as 2026-11-23T02:00:00+01:00; now when left out.")
    ] = None,
    rules: Annotated[str | None, typer.Option("--rules", help="Ids of rules, with commas between; all when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Makes, counts and stores a plan; deletes nothing."""
    if ctx.invoked_subcommand is not None:
        return
    from lethe import retention
    from lethe.instants import now, parse_as_of
    from lethe.workspace import Workspace

    at = now()
    with Workspace.open() as workspace:
        planned = retention.plan_run(workspace, as_of=parse_as_of(as_of, at=at), rules=_ids(rules), pace="full", dry_run=True)
    if as_json:
        print_json(as_object(planned))
    else:
        _show(planned)


@plan.command()
def approve(
    digest: Annotated[str, typer.Argument(help="The digest that `lethe plan` printed.")],
    reason: Annotated[
        str, typer.Option("--reason", help="first_run, backlog, policy_change, expected; refusing: not_expected, wrong_policy, wrong_data.")
    ],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead. A refusal is final.")] = False,
    approver: Annotated[
        str | None, typer.Option("--as", help="Your login; that of the credentials when left out. Both are recorded.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", help="How many rows `lethe plan` showed you; refused when others are stored by now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Approves a plan that was seen in a dry run, with the approver's own credentials (connection lethe_approver), on record in the ledger."""
    from lethe.control.approvals import approve as record
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.approver.begin() as connection:
        given = record(connection, digest, approver=approver, reason=reason, approved=not refuse, rows=rows)
    if as_json:
        print_json(
            {"digest": given.plan, "approved": not refuse, "approver": given.approver, "recorded_by": given.login}
            | {"reason": reason, "rows": given.rows}
        )
    else:
        say(f"{'Refused' if refuse else 'Approved'} by {given.approver} (login {given.login}), {given.rows} rows: {given.plan}")


def as_object(planned: PlannedRun) -> dict[str, Any]:
    """The machine form of a planned run."""
    body = planned.plan
    return {
        "digest": planned.digest,
        "as_of": body.as_of.isoformat(),
        "policy": {"version": body.policy_version, "digest": body.policy_digest, "text_sha256": body.text_sha256},
        "catalog_digest": body.catalog_digest,
        "waits_for_approval": bool(planned.findings),
        "rows": deletable(planned),
        "steps": [_step(planned, s) for s in body.steps],
        "findings": [f.model_dump(mode="json") for f in planned.findings],
        "groups": [g.model_dump(mode="json") for g in planned.groups],
    }


def deletable(planned: PlannedRun) -> int:
    """Rows that the run would delete: what an approver sees, and approves with `--rows`."""
    return sum(planned.counts[s.id].deletable for s in planned.plan.steps if s.acts)


def _step(planned: PlannedRun, step: Step) -> dict[str, Any]:
    counts = planned.counts.get(step.id)
    return {
        "id": step.id,
        "rule": step.rule,
        "promise": step.promise,
        "dataset": step.dataset,
        "store": step.store,
        "acts": step.acts,
        "waiting_for": list(step.waiting_for),
        "cutoff": found.isoformat() if (found := step.due_before) else None,
        "counts": counts.model_dump(mode="json") if counts else None,
    }


def _show(planned: PlannedRun) -> None:
    acting = [s for s in planned.plan.steps if s.acts]
    rows = []
    for step in acting:
        c = planned.counts[step.id]
        cutoff = f"{step.due_before:%Y-%m-%d %H:%MZ}" if step.due_before else None
        rows.append((step.rule, step.dataset, cutoff, c.total, c.due, c.held, c.blocked, c.quarantined))
    print_table(
        f"Plan as of {planned.plan.as_of.isoformat()}, policy {planned.plan.policy_version}",
        ("rule", "dataset", "due before", "rows", "due", "held", "blocked", "quarantined"),
        rows,
    )
    waiting = [(s.rule, s.dataset, ", ".join(s.waiting_for)) for s in planned.plan.steps if not s.acts]
    if waiting:
        print_table("Not run yet", ("rule", "dataset", "waits for"), waiting)
    if planned.findings:
        rows_ = [(f.step, f.limit, f"{f.value:,.4g}", f"{f.allowed:,.4g}") for f in planned.findings]
        print_table("Waits for a named person", ("step", "limit", "value", "allowed"), rows_)
        choices = "first_run|backlog|policy_change|expected"
        say(f"Approve it with: lethe plan approve {planned.digest} --rows {deletable(planned)} --reason {choices}")
    say(f"Rows that would be deleted: {deletable(planned)}")
    say(f"Digest: {planned.digest}")


def _ids(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
