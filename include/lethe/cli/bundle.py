"""`lethe bundle verify`: is a bundle whole, and is it the one that was written?"""

from __future__ import annotations

from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, say

bundle = typer.Typer(help="Bundles of a person's data.", no_args_is_help=True)


@bundle.callback()
def _group() -> None:
    """Keeps `verify` a command of its own."""


@bundle.command()
def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="The parts of a bundle, as they were fetched.")],
    as_json: AsJson = False,
) -> None:
    """Compares every file in a bundle with its manifests; nothing is unpacked. Ends with 1 when something is wrong."""
    from lethe.errors import UnknownName
    from lethe.subjects.bundle.verify import problems

    found: dict[str, list[dict[str, str | None]]] = {}
    for name in files:
        try:
            with open(name, "rb") as opened:
                found[name] = [{"what": p.what, "path": p.path} for p in problems(opened)]
        except OSError as error:
            raise UnknownName(f"A bundle cannot be read ({type(error).__name__}).", fix="Give the files as they were fetched.") from None
    if as_json:
        print_json({"bundles": [{"file": name, "problems": wrong} for name, wrong in found.items()]})
    else:
        for name, wrong in found.items():
            say(f"{name}: {'whole' if not wrong else 'NOT whole'}")
            for each in wrong:
                say(f"  {each['path'] or 'the bundle'}: {each['what']}" if each["path"] else f"  {each['what']}")
    if any(found.values()):
        raise typer.Exit(1)
