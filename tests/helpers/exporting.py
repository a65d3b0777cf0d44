"""Spotrak's demo, small, with everything that answering a person needs: real PostgreSQL, tenants' files, a Ceph gateway for bundles, a mail server."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from demo import buckets
from demo.ceph import CephGateway
from demo.load import attachment_keys, load, object_store
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archive_store import KMS_KEY
from helpers.control import DIGEST_KEY, ControlDatabase, control_database
from helpers.mailing import Mailbox
from lethe.control.requests import RequestState, request_of
from lethe.evidence.ledger import records
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client
from lethe.stores.s3.listing import everything
from lethe.subjects.identifiers import identifier
from lethe.subjects.locating import Finder
from lethe.subjects.requests import decide_identity, open_request
from lethe.workspace import Workspace

KEY = bytes(range(32))
AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@dataclass(kw_only=True)
class Desk:
    """The demo, and what was sent. `bundles` is the bucket of bundles."""

    workspace: Workspace
    control: ControlDatabase
    source: str
    box: Mailbox
    bundles: str
    opened: list[str] = field(default_factory=list)

    @cached_property
    def finder(self) -> Finder:
        return Finder(self.workspace)

    @cached_property
    def s3(self) -> Any:
        return client(self.workspace.connections("requests_s3"))

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.source, autocommit=True, options="-c timezone=UTC") as connection:
            found = connection.execute(query, values)  # type: ignore[arg-type]
            return found.fetchall() if found.description else []

    def request(self, *given: tuple[str, str], decided: bool = True, **changes: Any) -> str:
        """A request that is accepted; its id."""
        with self.control.runtime.begin() as connection:
            identifiers = [identifier(kind, value, datasets=self.workspace.catalog.identities) for kind, value in given]
            how: dict[str, Any] = {
                "kind": "access",
                "channel": "email",
                "language": "fr",
                "by": "j.dupont",
                "received_at": AS_OF,
                "at": AS_OF,
            }
            made = open_request(connection, identifiers, request_key=KEY, digest_key=DIGEST_KEY, **{**how, **changes}).request.id
            if decided:
                decide_identity(connection, made, decision="accept", reason="document_seen", by="a.martin", at=AS_OF)
        self.opened.append(made)
        return made

    def state(self, request: str) -> RequestState:
        with self.control.runtime.connect() as connection:
            return request_of(connection, request).state

    def told(self, request: str) -> list[str]:
        with self.control.runtime.connect() as connection:
            return [r.kind for r in records(connection, run=request)]

    def evidence(self, request: str, kind: str) -> list[Mapping[str, Any]]:
        with self.control.runtime.connect() as connection:
            return [r.content for r in records(connection, run=request) if r.kind == kind]

    def lying(self, request: str) -> list[str]:
        """What lies in the bucket for a request, as kind and name."""
        return [f"{e.kind.value} {e.key.rsplit('/', 1)[-1]}" for e in everything(self.s3, self.bundles, request)]

    def parts(self, request: str) -> list[bytes]:
        with self.control.superuser.connect() as connection:
            query = "SELECT p.key FROM lethe.export_parts p JOIN lethe.exports e ON e.id = p.export WHERE e.request = :r AND e.state <> 'failed' ORDER BY p.number"
            return [
                self.s3.get_object(Bucket=self.bundles, Key=key)["Body"].read()
                for (key,) in connection.execute(text(query), {"r": request})
            ]

    def links(self, which: int = -1) -> list[str]:
        return re.findall(r"https?://\S+lethe-R-\S+", self.box.read(which).get_content())


@contextlib.contextmanager
def desk_on(
    postgres: PostgresServer, ceph: CephGateway | None, moto: ObjectServer, box: Mailbox, patch: pytest.MonkeyPatch, folder: Path
) -> Iterator[Desk]:
    """The demo at three thousandths, as of `AS_OF`; the catalog's bucket of bundles is one of its own on the gateway, or else on moto."""
    names = [f"desk_{part}_{uuid.uuid4().hex[:8]}" for part in ("source", "lethe")]
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    source = postgres.url(names[0])
    load(source, None, scale=0.003, as_of=AS_OF)
    theirs = buckets.client(object_store(moto.endpoint))
    buckets.fill(theirs, as_of=AS_OF, files=attachment_keys(source))
    access, secret = ceph.new_user() if ceph else ("key", "secret")
    extra = {"endpoint_url": (ceph or moto).endpoint, "region_name": "us-east-1", "encryption": "aws:kms", "kms_key_id": KMS_KEY}
    requests = {"conn_type": "aws", "login": access, "password": secret, "extra": extra}
    policies, bundles = _policies(folder)
    for name in ("AIRFLOW_CONN_LETHE_ARCHIVIST", "AIRFLOW_CONN_ARCHIVE_S3", "AIRFLOW_CONN_ARCHIVE_READ_S3"):
        patch.delenv(name, raising=False)
    for name, role in {"spotrak_db": "lethe_purger", "spotrak_db_check": "lethe_checker", "spotrak_db_maintenance": "lethe_keeper"}.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", postgres.url(names[0], user=role))
    patch.setenv("AIRFLOW_CONN_LETHE_DB", postgres.url(names[1], user="lethe_runtime"))
    patch.setenv("AIRFLOW_CONN_SPOTRAK_S3", f"aws://demo:demo@/?endpoint_url={moto.endpoint}")
    patch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps(requests))
    patch.setenv("AIRFLOW_CONN_LETHE_SMTP", box.connection())
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    patch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    patch.setenv("LETHE_POLICY_DIR", str(policies))
    with control_database(postgres, postgres.url(names[1])) as control, Workspace.open() as workspace:
        made = Desk(workspace=workspace, control=control, source=source, box=box, bundles=bundles)
        for each in workspace.store("lethe_requests").prefixes.values():
            buckets.ensure_bucket(made.s3, each.bucket, versioned=True)
        yield made
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _policies(folder: Path) -> tuple[Path, str]:
    """The shipped policies with buckets of requests of their own, for a gateway that others use too."""
    import shutil

    made, mark = folder / "policies", uuid.uuid4().hex[:8]
    shutil.copytree(SHIPPED, made)
    file = made / "catalog" / "lethe_requests.yaml"
    file.write_text(re.sub(r"bucket: lethe-(\w+)", rf"bucket: {mark}-\1", file.read_text()))
    return made, f"{mark}-bundles"
