"""Loads Spotrak's demo data: schema `app` of its database, and its buckets. `python -m demo.load --help`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from demo import buckets, generate
from demo.roles import ROLES
from lethe.connections import Connection, parse
from lethe.errors import LetheError
from lethe.instants import now, parse_as_of

_PASSWORD_OF = (
    "AIRFLOW_CONN_SPOTRAK_DB",
    "AIRFLOW_CONN_SPOTRAK_DB_CHECK",
    "AIRFLOW_CONN_SPOTRAK_DB_MAINTENANCE",
    "AIRFLOW_CONN_SPOTRAK_APP",
)

app = typer.Typer(add_completion=False, help=__doc__)


def load(
    database: str,
    objects: str | Connection | None,
    *,
    scale: float = 1.0,
    as_of: datetime,
    seed: int = 1,
    canary: bool = False,
    lethe_objects: str | Connection | None = None,
    passwords: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Drops what is there and loads it anew; rows per table, and keys per bucket load under `objects`.

    `database` is a superuser's libpq URL of database `spotrak`. `objects` is an endpoint's URL, an Airflow connection in its
    URI or JSON form, a Connection, or None for no buckets; `lethe_objects` likewise, for the bucket `lethe` (default: `objects`).
    Raises psycopg.Error, botocore's errors, or Unreachable when a connection cannot be read.
    """
    with _progress() as tell:
        counts = generate.load(database, scale=scale, as_of=as_of, seed=seed, canary=canary, passwords=passwords, progress=tell)
        if objects is not None:
            s3 = buckets.client(object_store(objects))
            files = attachment_keys(database)
            counts["objects"] = buckets.fill(
                s3, as_of=as_of, seed=seed, files=files, canary=canary, progress=lambda done, total: tell("buckets", done, total)
            )
            buckets.ensure_lethe(buckets.client(object_store(lethe_objects)) if lethe_objects is not None else s3)
    return counts


def object_store(where: str | Connection) -> Connection:
    """The connection of an object store from an endpoint's URL (any credentials: moto takes all) or Airflow's form."""
    if isinstance(where, Connection):
        return where
    if where.startswith(("http://", "https://")):
        return Connection(id="spotrak_s3", kind="aws", login="demo", password="demo", extra={"endpoint_url": where})
    return parse("spotrak_s3", where)


def attachment_keys(database: str) -> list[str]:
    """The object keys that the table of attachments names."""
    with psycopg.connect(database) as connection:
        return [key for (key,) in connection.execute("SELECT object_key FROM app.attachments ORDER BY object_key")]


def passwords_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The roles' passwords, from the connections that name them."""
    found = {}
    for name in _PASSWORD_OF:
        if text := environment.get(name):
            connection = parse(name, text)
            if connection.login in ROLES and connection.password:
                found[connection.login] = connection.password
    return found


@contextmanager
def _progress() -> Iterator[generate.Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield tell


@app.command()
def main(
    database: Annotated[str, typer.Option(envvar="SPOTRAK_SUPERUSER_URL", help="A superuser's libpq URL of database spotrak.")],
    objects: Annotated[
        str | None, typer.Option(envvar="AIRFLOW_CONN_SPOTRAK_S3", help="An endpoint's URL, or an Airflow connection.")
    ] = None,
    lethe_objects: Annotated[
        str | None, typer.Option(envvar="AIRFLOW_CONN_LETHE_S3", help="The store of bucket lethe; default: --objects.")
    ] = None,
    scale: Annotated[float, typer.Option(min=0.001, help="1 is about 1.5 million rows.")] = 1.0,
    as_of: Annotated[str | None, typer.Option(help="What the data is dated from: an instant with its zone. Default: now.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, scale and as_of give the same data.")] = 1,
    canary: Annotated[bool, typer.Option(help="Plant one e-mail address in every personal column.")] = False,
) -> None:
    """Drops schema `app` and the objects of Spotrak's buckets, and loads them anew. The roles' passwords are those of AIRFLOW_CONN_SPOTRAK_DB and its two siblings."""
    try:
        instant = parse_as_of(as_of, at=now())
        counts = load(
            database,
            objects,
            scale=scale,
            as_of=instant,
            seed=seed,
            canary=canary,
            lethe_objects=lethe_objects,
            passwords=passwords_of(os.environ),
        )
    except LetheError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except psycopg.OperationalError as error:
        typer.echo(
            f"The database does not answer ({type(error).__name__}). Start it with `make services`, or correct --database.", err=True
        )
        raise typer.Exit(1) from None
    for name, rows in counts.items():
        typer.echo(f"{name:20} {rows:>9,}")


if __name__ == "__main__":
    app()
