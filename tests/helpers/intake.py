"""Buckets of requests and a database of Lethe's own, for tests of what comes in by files and of proofs of identity."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.engine import make_url

from demo.buckets import ensure_bucket
from helpers.archive_store import KMS_KEY
from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.connections import Connection
from lethe.evidence.ledger import records
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client
from lethe.stores.s3.listing import everything
from lethe.subjects.intake import take_files
from lethe.workspace import Workspace

KEY = bytes(range(32))


@dataclass(frozen=True, kw_only=True)
class Box:
    """The buckets, seen straight; Lethe reaches them by the environment."""

    control: ControlDatabase
    folder: Path
    client: Any = field(repr=False)
    intake: str
    proofs: str

    def put(self, key: str, body: Any, *, bucket: str | None = None) -> str:
        """Puts bytes, or a value as JSON; the key."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.client.put_object(Bucket=bucket or self.intake, Key=key, Body=data)
        return key

    def left(self, bucket: str | None = None) -> list[str]:
        """The keys of every version, marker and unfinished upload that is there."""
        return sorted(e.key for e in everything(self.client, bucket or self.intake, ""))

    def sql(self, query: str) -> list[Any]:
        with self.control.superuser.connect() as connection:
            return list(connection.execute(text(query)).all())

    def requests(self) -> list[str]:
        return [i for (i,) in self.sql("SELECT id FROM lethe.requests ORDER BY received_at, id")]

    def evidence(self, *kinds: str) -> list[dict[str, Any]]:
        with self.control.runtime.connect() as connection:
            return [r.content for r in records(connection, kinds=set(kinds))]

    def open(self) -> Workspace:
        return Workspace.open()


def take_once(environment: dict[str, str], faults: str) -> None:
    """What a process does that a test kills: a run over the files."""
    os.environ.update(environment, LETHE_FAULTS=faults)
    with Workspace.open() as workspace:
        take_files(workspace, by="request_intake")


@contextmanager
def box_of(
    control: ControlDatabase,
    endpoint: str,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    keys: tuple[str, str] = ("key", "secret"),
    versioned: bool = True,
    seen_at: str | None = None,
    encryption: str | None = "AES256",
) -> Iterator[Box]:
    """Makes the buckets, a policy folder that names them, and the environment. `seen_at`: the endpoint that Lethe uses."""
    name = uuid.uuid4().hex[:8]
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    s3 = client(Connection(id="x", kind="aws", login=keys[0], password=keys[1], extra=extra))
    box = Box(control=control, folder=folder, client=s3, intake=f"intake-{name}", proofs=f"proofs-{name}")
    for bucket in (box.intake, box.proofs):
        ensure_bucket(s3, bucket, versioned=versioned)
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    file = folder / "catalog" / "lethe_requests.yaml"
    catalog = yaml.safe_load(file.read_text())
    catalog["prefixes"]["intake_files"]["bucket"], catalog["prefixes"]["identity_proofs"]["bucket"] = box.intake, box.proofs
    file.write_text(yaml.safe_dump(catalog, sort_keys=False))
    more = (
        {"encryption": encryption, "kms_key_id": KMS_KEY} if encryption == "aws:kms" else {"encryption": encryption} if encryption else {}
    )
    extra = {"endpoint_url": seen_at or endpoint, "region_name": "us-east-1", **more}
    variable = json.dumps({"conn_type": "aws", "login": keys[0], "password": keys[1], "extra": extra})
    patch.setenv("AIRFLOW_CONN_REQUESTS_S3", variable)
    url = make_url(control.url).set(username="lethe_runtime", password=None)
    patch.setenv("AIRFLOW_CONN_LETHE_DB", url.render_as_string(hide_password=False))
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    patch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    patch.setenv("LETHE_POLICY_DIR", str(folder))
    patch.delenv("LETHE_IDENTITY_DECIDERS", raising=False)
    yield box
