"""`lethe check`."""

from __future__ import annotations

import typer

from lethe.cli.output import AsJson, print_json, print_table, say


def check(as_json: AsJson = False) -> None:
    """Compares policy and catalog with each other and with every live store. Exit 0 only when clean (a warning is no finding); 2 when a store did not answer."""
    from lethe import settings
    from lethe.accountability.processor_list.words import transfer_words
    from lethe.accountability.promises import known
    from lethe.check import check as run
    from lethe.instants import now
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        checked = run(workspace, on=now().date(), known=known(settings.dags_dir()))
    if as_json:
        print_json({"clean": checked.clean, **checked.model_dump(mode="json")})
    else:
        if checked.findings:
            rows = [(f.kind, f.where, f.problem, f.fix) for f in checked.findings]
            print_table(f"{len(rows)} findings", ("what", "where", "problem", "what to do"), rows)
        for store in checked.unchecked:
            say(f"{store.store} could not be checked. {store.problem} {store.fix}")
        for ending in checked.ends_soon:
            say(f"The agreement with {ending.id} ends on {ending.last_day}, in {ending.days_left} days.")
        for transfer in checked.unnamed_transfers:
            say(
                f"Warning: {transfer_words(transfer)} is a transfer that the policy does not name. "
                "Name it in the published text and under `transfers:` of policy.yaml, or see to it that no data goes there."
            )
        if checked.clean:
            say(f"Clean: policy {checked.policy}, stores {', '.join(checked.stores)}.")
    if checked.unchecked:
        raise typer.Exit(2)
    if checked.findings:
        raise typer.Exit(1)
