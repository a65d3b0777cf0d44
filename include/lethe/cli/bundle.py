"""`lethe bundle verify`: is a bundle that somebody has what was written for them? Needs no database and no policy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from lethe.cli.output import AsJson, print_json, say

bundle = typer.Typer(help="Bundles of a person's data, as files.", no_args_is_help=True)

_WORDS = {
    "no bundle": "It is no bundle of Lethe's.",
    "changed": "Changed",
    "missing": "Missing",
    "added": "Added",
    "double": "There twice",
    "outside": "Would be unpacked outside the bundle",
}


@bundle.command()
def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Parts of a bundle: lethe-R-2026-7K3M9QWX-1.zip and so on.")],
    as_json: AsJson = False,
) -> None:
    """Checks parts of a bundle: a changed byte, a missing file, an added file. Nothing is unpacked. Exit 1 when something is wrong."""
    found = [_verify(file) for file in files]
    intact = not any(each["problems"] for each in found)
    if as_json:
        print_json({"intact": intact, "files": found})
    else:
        for each in found:
            for problem in each["problems"]:
                where = (
                    f": {_printable(problem['path'])}"
                    if problem["path"]
                    else ("" if problem["what"] == "no bundle" else ": the ZIP itself")
                )
                say(f"{_printable(each['file'])}: {_WORDS[problem['what']]}{where}")
            if not each["problems"]:
                say(f"{_printable(each['file'])}: intact, {sum(each['rows'].values())} rows of {len(each['rows'])} datasets.")
    if not intact:
        raise typer.Exit(1)


def _verify(file: str) -> dict[str, Any]:
    from lethe.errors import Unreachable
    from lethe.subjects.bundle.verify import contents, problems

    try:
        with Path(file).open("rb") as opened:
            wrong = problems(opened)
            rows = Counter(section for section, _ in contents(opened)) if not wrong else Counter[str]()
    except (OSError, ValueError):
        raise Unreachable("A file cannot be read.", fix="Give the ZIP files of a bundle.") from None
    return {"file": file, "problems": [{"what": p.what, "path": p.path} for p in wrong], "rows": dict(sorted(rows.items()))}


def _printable(text: str) -> str:
    """`text` for a terminal: what is not printed there is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
