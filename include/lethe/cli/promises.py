"""`lethe promises` and `lethe attest`."""

from __future__ import annotations

import getpass
from datetime import date
from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table, say


def promises(
    as_of: Annotated[
        str | None,
        typer.Option(
            help="An instant before now, with its zone: what the ledger said then; what is looked at live is as the last report saw it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judges every promise of the policy in force: what keeps it, its last evidence, a verdict. Writes nothing.

    Exit 1 when any is failing, stale or missing, or a sentence of the text is bound to no promise.
    """
    import json

    from lethe import settings
    from lethe.accountability.promises import assess
    from lethe.accountability.promises.rendering import as_json as whole
    from lethe.accountability.promises.view import transfer_notes
    from lethe.instants import now, parse_as_of
    from lethe.workspace import Workspace

    present = now()
    at = parse_as_of(as_of, at=present)
    with Workspace.open(check_text=False) as workspace:
        report = assess(workspace, at=at, dags=settings.dags_dir(), before=at < present)
    if as_json:
        print_json(json.loads(whole(report)))
    else:
        for problem in filter(None, (report.published, report.ledger.problem)):
            say(problem)
        rows = [
            (p.id if n == 0 else "", p.verdict.value if n == 0 else "", c.id, c.verdict.value, c.reason)
            for p in report.promises
            for n, c in enumerate(p.controls)
        ]
        rows += [(p.id, p.verdict.value, "none", "", "Nothing keeps it.") for p in report.promises if not p.controls]
        print_table(f"Promises of policy {report.policy_version}", ("promise", "verdict", "control", "its verdict", "why"), rows)
        for text in report.unbound:
            say(f"Bound to no promise: {text}")
        say(f"Periods that are applied and not published: {', '.join(u.rule for u in report.unpublished) or 'none'}.")
        for text in transfer_notes(report.transfers):
            say(text)
        say(", ".join(f"{n} {verdict}" for verdict, n in report.counts.items()) + f" of {len(report.promises)} promises.")
    if not report.kept:
        raise typer.Exit(1)


def attest(
    name: Annotated[str, typer.Argument(help="The attestation's name, as promises.yaml has it.")],
    until: Annotated[str | None, typer.Option(help="The last day on which it holds (2027-05-31).")] = None,
    by: Annotated[str | None, typer.Option("--by", help="The login of who vouches; yours when left out.")] = None,
    reference: Annotated[str | None, typer.Option(help="The id of a certificate or report, never words about it.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Nobody vouches for it any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Vouches until a day for what no program can see, with an approver's credentials (connection lethe_approver). It is in the ledger, and shown
    as attested, never as verified."""
    from lethe.accountability.promises import attesting
    from lethe.errors import AttestationRefused
    from lethe.instants import now
    from lethe.workspace import Workspace

    if withdraw == (until is not None):
        raise AttestationRefused("Either --until or --withdraw is needed, not both.", fix="lethe attest NAME --until 2027-05-31 --by LOGIN")
    try:
        day = date.fromisoformat(until) if until else None
    except ValueError:
        raise AttestationRefused("--until is no day.", fix="Write it as 2027-05-31.") from None
    at, who = now(), by or getpass.getuser()
    with Workspace.open() as workspace, workspace.approver.begin() as connection:
        policy = workspace.policy(at)
        made = (
            attesting.withdraw(connection, policy, name, by=who, at=at)
            if day is None
            else attesting.attest(connection, policy, name, until=day, by=who, at=at, reference=reference)
        )
    if as_json:
        print_json({"record": made.seq, **made.content})
    else:
        say(f"{'Withdrawn' if day is None else f'Attested until {day}'}: {name} (record {made.seq}).")
