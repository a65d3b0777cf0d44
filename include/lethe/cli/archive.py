"""`lethe archive list|find|read`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lethe.archive.model import Manifest
    from lethe.archive.reading import Give, Wanted
    from lethe.workspace import Workspace

archive = typer.Typer(help="What a law keeps: what there is, who is in it, and reading it for a reason.", no_args_is_help=True)

Person = Annotated[
    list[str] | None,
    typer.Option(
        help="An account as DATASET:KEY, such as users:123; never a name or an address. Somebody with accounts at two tenants is two: name each."
    ),
]
Tenant = Annotated[str | None, typer.Option(help="A tenant's key.")]


@archive.command("list")
def list_(as_json: AsJson = False) -> None:
    """Lists what the archive has, by dataset and law. Reads manifests only."""
    from lethe.archive.summary import shelves
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.connect() as connection:
        found = shelves(connection)
    if as_json:
        print_json({"archive": [s.model_dump(mode="json") for s in found]})
        return
    rows = [(s.dataset, s.law, s.objects, s.rows, s.first_expiry, s.last_expiry, s.sealed, s.locked) for s in found]
    print_table("Archive", ("dataset", "law", "objects", "rows", "first expiry", "last expiry", "sealed", "locked"), rows)


@archive.command()
def find(person: Person = None, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Says in which objects a person or tenant is. Opens none of them, so it does not tell how many of their rows are theirs.

    Fails, after what it found, when there are objects in which nobody can be found: their names were made by another key than today's.
    """
    from lethe.archive.finding import find as find_objects
    from lethe.archive.finding import named_otherwise
    from lethe.archive.naming import other_key
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        with workspace.control.connect() as connection:
            names = _names(workspace, connection, person, tenant)
            found = [k.manifest for k in find_objects(connection, names) if k.manifest is not None]
            others = named_otherwise(connection, _fingerprint(workspace))
    if as_json:
        told = [{"id": m.id, "dataset": m.dataset, "law": m.law, "expires_on": m.expires_on, "rows_in_all": m.rows} for m in found]
        print_json({"objects": told})
    else:
        rows = [(m.id, m.dataset, m.law, m.expires_on, m.rows) for m in found]
        print_table("Objects", ("id", "dataset", "law", "expires", "rows in all"), rows)
    if others:
        raise other_key(others)


@archive.command()
def read(
    dataset: Annotated[str, typer.Option(help="A dataset, as `lethe archive list` names it.")],
    reason: Annotated[
        str | None, typer.Option(help="claim, tax_audit, court_order, access_request, authority_request, integrity_check.")
    ] = None,
    law: Annotated[str | None, typer.Option(help="Only what this law keeps.")] = None,
    person: Person = None,
    tenant: Tenant = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the rows, one file an object; else they are printed.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="parquet (with --out), csv, or json; csv is printed when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Reads archived rows, for a reason, with a person's own credentials (connections lethe_archivist and archive_read_s3).

    It is on record in the ledger, with login, reason and number of objects, before anything is read.
    """
    from lethe import settings
    from lethe.archive.bucket import ArchiveBucket
    from lethe.archive.finding import named_otherwise
    from lethe.archive.handing import FORMATS, Folder, Printed, about, plain_rows, theirs
    from lethe.archive.naming import other_key
    from lethe.archive.reading import read as read_archive
    from lethe.errors import ReadingRefused
    from lethe.instants import now
    from lethe.workspace import CONTROL_OPTIONS, Workspace

    form = form or ("json" if as_json else "parquet" if out else "csv")
    if form not in FORMATS or (form == "parquet" and out is None):
        raise ReadingRefused("That is no format to give rows in.", fix="--format csv or json; parquet with --out only.")
    printed: list[dict[str, Any]] = []
    with Workspace.open() as workspace:
        engine = workspace.engine(settings.ARCHIVIST, CONTROL_OPTIONS)
        with engine.connect() as connection:
            wanted = _wanted(workspace, connection, dataset, law, person, tenant)
            key = _fingerprint(workspace) if wanted.names is not None else ""
            others = named_otherwise(connection, key, dataset=dataset, law=law) if key else ()
        bucket = ArchiveBucket.of(workspace.connections(settings.ARCHIVE_READER))
        folder = Folder(out, form) if out is not None else None

        def giver(manifests: Sequence[Manifest]) -> Give:
            if folder is not None:
                return folder.give
            if form == "csv":
                return Printed(sys.stdout, manifests).give
            return lambda manifest, table: printed.append({**about(manifest), "rows": list(plain_rows(theirs(table)))})

        returned = read_archive(engine, bucket, wanted, reason=reason, giver=giver, at=now())
    if as_json or (form == "json" and out is None):
        print_json({"objects": returned.objects, "rows": returned.rows, **({} if out else {"archive": printed})})
    elif out is not None:
        say(f"{returned.rows} rows of {returned.objects} objects are in the folder. Delete it once it has served its reason.")
    if others:
        raise other_key(others)


def _wanted(
    workspace: Workspace, connection: Connection, dataset: str, law: str | None, person: Sequence[str] | None, tenant: str | None
) -> Wanted:
    from lethe.archive.reading import Wanted

    names = _names(workspace, connection, person, tenant) if person or tenant else None
    return Wanted(dataset=dataset, law=law, persons=names if person else None, tenants=names if tenant else None)


def _names(workspace: Workspace, connection: Connection, person: Sequence[str] | None, tenant: str | None) -> frozenset[str]:
    from lethe import settings
    from lethe.archive import naming
    from lethe.archive.finding import made_by
    from lethe.cli.hold import subject_of
    from lethe.errors import ReadingRefused

    if bool(person) == (tenant is not None):
        raise ReadingRefused("Name a person or a tenant, not both.", fix="--person users:123, or --tenant 7.")
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    made = made_by(connection)
    if person:
        found = [naming.person(key, subject_of(each, workspace), workspace.catalog) for each in person]
        return frozenset().union(*(whom.names(d for m in made for d in m.identities) for whom in found))
    return naming.tenant(key, tenant or "", workspace.catalog).names(m.tenants for m in made)


def _fingerprint(workspace: Workspace) -> str:
    from lethe import settings
    from lethe.archive.names import fingerprint

    return fingerprint(settings.digest_key(workspace.connections(settings.CONTROL)))
