"""`lethe request intake|proof`: files of requests, and proofs of identity."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table, say

_Id = Annotated[str, typer.Argument(metavar="ID", help="The request's id, such as R-2026-7K3M9QWX.")]
_By = Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")]


def intake(
    list_: Annotated[
        bool, typer.Option("--list", help="Only list what lies there, with what is wrong. It prints keys of objects.")
    ] = False,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Opens the requests of the files in the intake bucket and deletes the files, as the DAG `request_intake` does.

    A file with a bad entry stays as it is. Exit 1 when one stays.
    """
    from lethe.subjects.intake import list_files, take_files
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        if list_:
            found = list_files(workspace)
            rows = [(w.bucket, w.key, w.what, w.problem, w.entry) for w in found]
            columns = ("bucket", "key", "what", "problem", "entry")
            if as_json:
                print_json({"files": [dict(zip(columns, row, strict=True)) for row in rows]})
            else:
                print_table("Files of requests", columns, rows)
            return
        taken = take_files(workspace, by=by or getpass.getuser())
    if as_json:
        print_json({"requests": taken.requests, "files": taken.files, "refused": taken.refused, "kept": taken.kept})
    else:
        say(f"{taken.files} files taken, {len(taken.requests)} requests opened{': ' if taken.requests else '.'}{', '.join(taken.requests)}")
        if taken.refused or taken.kept:
            say(f"{taken.refused} files refused, {len(taken.kept)} not deleted: `lethe request intake --list` names them.")
        for problem in sorted(set(taken.kept)):
            say(problem)
    if taken.refused or taken.kept:
        raise typer.Exit(1)


def proof(
    request_id: _Id,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="The proof to store, of 20 MiB at most.")] = None,
    fetch: Annotated[
        str | None, typer.Option("--fetch", help="Write the proofs to this new folder instead. It is on record first.")
    ] = None,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Stores a proof of identity, encrypted, until it is decided who asks; or fetches the proofs, for whoever decides."""
    from lethe.errors import RequestRefused
    from lethe.subjects.proofs import fetch_proofs, store_proof
    from lethe.workspace import Workspace

    if (file is None) == (fetch is None):
        raise RequestRefused("A proof is stored from a file or fetched to a folder.", fix="Give FILE, or --fetch and a folder.")
    with Workspace.open() as workspace:
        who = by or getpass.getuser()
        if fetch is not None:
            number = fetch_proofs(workspace, request_id, Path(fetch), by=who)
            print_json({"proofs": number}) if as_json else say(f"{number} proofs written. Delete the folder once you have decided.")
            return
        store_proof(workspace, request_id, _read(file or ""), by=who)
    print_json({"stored": True}) if as_json else say("Stored until it is decided who asks. Delete your copy.")


def _read(file: str) -> bytes:
    from lethe.errors import RequestRefused
    from lethe.subjects.proofs import LARGEST

    try:
        with open(file, "rb") as opened:
            return opened.read(LARGEST + 1)
    except (OSError, ValueError):
        raise RequestRefused("The file of the proof cannot be read.", fix="Give a file.") from None
