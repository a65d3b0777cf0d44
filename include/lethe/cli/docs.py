"""`lethe docs`: writes what is generated of docs/, or says that it is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lethe.cli.output import say


def docs(
    folder: Annotated[Path, typer.Argument(help="The docs folder.")] = Path("docs"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when something is stale.")] = False,
) -> None:
    """Writes the JSON Schemas and the pages about the files, from the models."""
    from lethe.docs import stale, write

    if not check:
        for path in write(folder):
            say(f"Wrote {path}")
        return
    old = stale(folder)
    for name in old:
        say(f"{folder / name} is stale: run `make docs`.")
    if old:
        raise typer.Exit(1)
