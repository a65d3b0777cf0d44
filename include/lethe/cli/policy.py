"""`lethe policy diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from lethe.policy.model import PolicyVersion
    from lethe.workspace import Workspace

policy = typer.Typer(help="Versions of the policy.", no_args_is_help=True)


@policy.callback()
def _group() -> None:
    """Versions of the policy."""


@policy.command("diff")
def diff_(
    old: Annotated[str, typer.Argument(help="A version (2026-05-01), or the folder of one.")],
    new: Annotated[str, typer.Argument(help="A version, or the folder of an edited copy.")],
    as_of: Annotated[str | None, typer.Option("--as-of", help="An instant with its zone; now when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the new version would delete tonight that the old one keeps: rows, persons and oldest date per dataset, by counting."""
    from lethe.effect import compare
    from lethe.instants import now, parse_as_of
    from lethe.workspace import Workspace

    at = now()
    with Workspace.open() as workspace:
        found = compare(workspace, _version(workspace, old), _version(workspace, new), as_of=parse_as_of(as_of, at=at))
    if as_json:
        print_json(found)
        return
    if not found.changes and not found.effects:
        say("No rule differs.")
        return
    changes = [(c.rule, c.kind, ", ".join(c.fields), "may delete more" if c.widens else "") for c in found.changes]
    print_table(f"Rules, {found.old} to {found.new}", ("rule", "is", "in", "effect"), changes)
    rows = [
        (e.dataset, ", ".join(e.rules), e.old_rows, e.new_rows, e.more, e.persons, str(e.oldest or "-"), e.fewer) for e in found.effects
    ]
    columns = ("dataset", "rules", "due before", "due after", "newly due", "persons", "oldest of them", "no longer due")
    print_table(f"Counted as of {found.as_of.isoformat()}, holds left aside", columns, rows)


def _version(workspace: Workspace, name: str) -> PolicyVersion:
    """A version of the workspace by its name, or the one in a folder."""
    from lethe.policy.load import load_version

    folder = Path(name)
    return load_version(folder.resolve()) if (folder / "policy.yaml").is_file() else workspace.policies.version(name)
