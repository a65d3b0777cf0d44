"""A small company with an archive that has something in it, and the environment in which `lethe` works on both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archiving import Archive, archive_on, archiving, purge
from helpers.company import Company, company_of, twelve_months
from helpers.purging import CUTOFF, world_of
from lethe.archive.witness import record_kept
from lethe.cli import app
from lethe.connections import Connection
from lethe.evidence.ledger import records

TENANTS, LOGS, PEOPLE = 7, 1_000, 30
"""Log rows are of tenants 0 to 6 in turn; half of them are due. Half of the people are."""


@dataclass(frozen=True, kw_only=True)
class Office:
    """A company, its archive, and two more users of the object store: one that may only read the archive, one that is the application's."""

    company: Company
    archive: Archive
    reader: tuple[str, str]
    application: tuple[str, str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Runs `lethe`; exit code, stdout, stderr."""
        ended = CliRunner().invoke(app, list(arguments))
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    def told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The one JSON object that `lethe` prints."""
        ended = self.run(*arguments, "--json")
        assert ended[0] == code, ended
        value: dict[str, Any] = json.loads(ended[1])
        return value

    def evidence(self, *kinds: str) -> list[dict[str, Any]]:
        """The bodies of the ledger's records of these kinds, oldest first."""
        with self.company.world.control.superuser.connect() as control:
            return [r.content for r in records(control, kinds=set(kinds))]

    def archived(self, dataset: str) -> list[str]:
        """The ids of a dataset's living objects, oldest first."""
        query = "SELECT id FROM lethe.archive_objects WHERE dataset = %s AND state IN ('confirmed', 'sealed') ORDER BY announced_at, id"
        return [i for (i,) in self.company.world.sql(query, [dataset])]

    def purge(self) -> None:
        """Archives what is due of the logs and the people, and puts it on record as the end of a group does."""
        for dataset in ("logs", "users"):
            totals = purge(self.company.world, self.archive, archiving(dataset))[dataset]
            assert totals.error is None, totals.error
        with self.company.world.control.runtime.begin() as book:
            record_kept(book, "0" * 64, 1, steps=(), stores=("source",))


@contextmanager
def office_in(
    postgres: PostgresServer,
    database: str,
    moto: ObjectServer,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    gateway: CephGateway | None = None,
    **bucket: bool,
) -> Iterator[Office]:
    """Archives half of the logs and of the people, on a real gateway or else on moto, and sets the environment. `bucket`: `archive_on`."""
    writer, reader, application = (gateway.new_user() if gateway else (f"key{n}", f"secret{n}") for n in range(3))
    archive = archive_on(gateway.endpoint if gateway else moto.endpoint, writer, **bucket)
    if gateway is not None:
        allow_reading(archive, gateway, reader)
    with world_of(postgres, database) as world, company_of(world, moto, folder, patch) as company:
        company.policy(twelve_months("logs"), max_share=1.0)
        minutes = "%s + (g - %s) * interval '1 minute'"
        world.sql("INSERT INTO app.tenants (id) SELECT generate_series(0, %s)", [TENANTS - 1])
        world.sql(
            f"INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, {minutes}, g %% 7, 'log ' || g FROM generate_series(0, %s) g",
            [CUTOFF, LOGS // 2, LOGS - 1],
        )
        world.sql(
            f"INSERT INTO app.users (id, at, tenant_id, note) SELECT g, {minutes}, g %% 7, 'user ' || g FROM generate_series(0, %s) g",
            [CUTOFF, PEOPLE // 2, PEOPLE - 1],
        )
        name = world.url.rsplit("/", 1)[1]
        patch.setenv("AIRFLOW_CONN_LETHE_ARCHIVIST", world.server.url(name, user="lethe_archivist"))
        patch.setenv("AIRFLOW_CONN_ARCHIVE_S3", as_variable(archive.connection))
        patch.setenv("AIRFLOW_CONN_ARCHIVE_READ_S3", as_variable(archive.connection, keys=reader))
        office = Office(company=company, archive=archive, reader=reader, application=application)
        office.purge()
        yield office


def as_variable(connection: Connection, *, keys: tuple[str, str] | None = None, **extra: str) -> str:
    """A connection as Airflow writes it in JSON, with other credentials or settings."""
    login, password = keys or (connection.login, connection.password)
    return json.dumps({"conn_type": "aws", "login": login, "password": password, "extra": {**connection.extra, **extra}})


def allow_reading(archive: Archive, gateway: CephGateway, reader: tuple[str, str]) -> None:
    """Lets one user get objects of the bucket, and do nothing else there."""
    told = json.loads(gateway._run("radosgw-admin", "user", "info", f"--access-key={reader[0]}", "--format=json"))
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{told['user_id']}"]},
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": [f"arn:aws:s3:::{archive.bucket.name}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    archive.bucket._client.put_bucket_policy(Bucket=archive.bucket.name, Policy=policy)
