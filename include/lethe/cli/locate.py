"""`lethe locate REQUEST`: where a person is, how many rows, which step has no index. It gives nothing out, and is on record first."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table, say


def locate(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id, such as R-2026-7K3M9QWX.")],
    by: Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows where the person of a request is: datasets with counts, the archive, tenants to forward to, and steps without an index."""
    from lethe.control.requests import request_of
    from lethe.errors import RequestRefused
    from lethe.subjects.indexes import slow_steps
    from lethe.subjects.locating import Finder
    from lethe.subjects.opening import identifiers_of
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        with workspace.control.connect() as control:
            request = request_of(control, request_id)
        if request.state in {"refused", "closed"}:
            raise RequestRefused(f"Request {request.id} is {request.state}: nobody is looked for.", fix="Open a new request.")
        finder = Finder(workspace)
        located = finder.locate(identifiers_of(workspace, request, by=by or getpass.getuser()), tenant=request.tenant)
        slow = slow_steps(finder.compiled(tenant=request.tenant is not None), workspace)
    if as_json:
        print_json(
            {
                "request": request.id,
                "persons": [f"{p.dataset}:{p.key}" for p in located.persons],
                "left_out": located.left_out,
                "datasets": {c.section: {"rows": c.rows, "shared": c.shared, "files": c.files} for c in located.counted},
                "archive_objects": located.archive_objects,
                "forwards": {f.tenant: dict(f.rows) for f in located.forwards},
                "without_index": [{"dataset": s.dataset, "columns": list(s.columns), "rows": s.rows} for s in slow],
            }
        )
        return
    print_table(
        f"Request {request.id}: rows by dataset",
        ("dataset", "rows", "shared", "with a file"),
        [(c.section, c.rows, c.shared, c.files) for c in located.counted if c.rows],
    )
    say(f"Persons: {', '.join(f'{p.dataset}:{p.key}' for p in located.persons) or 'none'}.")
    if located.left_out:
        say(f"Left out, with the same address: {located.left_out}.")
    say(f"Archive: {located.archive_objects} objects that the person is in." if located.archive_objects else "Archive: in no object.")
    if located.forwards:
        rows = [(f.tenant, dataset, n) for f in located.forwards for dataset, n in sorted(f.rows.items())]
        print_table("Stored by tenants, who answer for it: to be forwarded", ("tenant", "dataset", "rows"), rows)
    for each in slow:
        say(f"No index: {each.dataset} by {', '.join(each.columns)} reads all of its {each.rows:,} rows.")
