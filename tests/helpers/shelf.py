"""A small versioned bucket beside Lethe's own database, and a purge of it, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from sqlalchemy import create_engine

from helpers.control import ControlDatabase
from helpers.forking import forked
from helpers.purging import AS_OF, CUTOFF, QUICK, SERVICE
from lethe.catalog.model import Catalog, ObjectClock, Store
from lethe.connections import Connection
from lethe.plan.model import ObjectPredicate, Plan, Step
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.run import run_group
from lethe.stores import s3
from lethe.stores.s3.listing import Entry, everything

STEP = "r/nginx"
ATTEMPTS = 2
"""How often boto3 asks: one failure is survived, a store that stays away is found so at once."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """All that another process needs to purge the shelf: the database, the store's endpoint, the bucket, the size of batches."""

    port: int
    database: str
    endpoint: str
    bucket: str
    as_of: datetime = AS_OF
    limit: int = 10
    keys: tuple[str, str] = ("k", "s")

    def connection(self, name: str) -> Connection:
        extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
        return Connection(id=name, kind="aws", login=self.keys[0], password=self.keys[1], extra=extra)

    @property
    def predicate(self) -> ObjectPredicate:
        clock = ObjectClock(key_date="nginx/%Y/%m/%d/")
        return ObjectPredicate(
            bucket=self.bucket, prefix="nginx/", clock=clock, cutoff=CUTOFF, start_of_service=SERVICE, as_of=self.as_of, zone="Europe/Paris"
        )

    @property
    def plan(self) -> Plan:
        step = Step(id=STEP, rule="r", promise="p", dataset="nginx", store=self.bucket, predicate=self.predicate)
        digests = {"policy_digest": "a" * 64, "text_sha256": "b" * 64, "catalog_digest": "c" * 64}
        return Plan(as_of=self.as_of, policy_version="v", rules=("r",), steps=(step,), **digests)

    @property
    def store(self) -> Store:
        """A store of its own for each bucket, so that no lease of another test is in the way."""
        prefix = {"bucket": self.bucket, "prefix": "nginx/", "role": "controller", "category": "logs", "purposes": ("run",)}
        given = {"id": self.bucket, "kind": "s3", "connection": "files_s3", "start_of_service": SERVICE, "prefixes": {"nginx": prefix}}
        return Store.model_validate(given)

    @property
    def catalog(self) -> Catalog:
        return Catalog(purposes={"run": "r"}, stores=(self.store,))

    def context(self, **changes: Any) -> PurgeContext:
        engine = create_engine(f"postgresql+psycopg://lethe_runtime@127.0.0.1:{self.port}/{self.database}")
        given = {"plan": self.plan, "attempt": 1, "catalog": self.catalog, "connections": self.connection, "control": engine}
        return PurgeContext(**{**given, "limits": QUICK, **changes})

    def purge(self, **changes: Any) -> StepTotals:
        """One purge in this process, in small batches."""
        ctx = self.context(**changes)
        asking, deleting = import_module("lethe.stores.s3.client"), import_module("lethe.stores.s3.delete")
        with patch.object(asking, "_ATTEMPTS", ATTEMPTS), patch.object(deleting, "LIMIT", self.limit), patch.object(deleting, "UPLOADS", 2):
            try:
                (totals,) = run_group([STEP], ctx)
            finally:
                ctx.control.dispose()
        return totals


@dataclass(kw_only=True)
class Shelf:
    """What lies in the bucket, seen straight, and where the purge finds it (perhaps by another way)."""

    endpoint: str
    where: Where
    control: ControlDatabase
    before: list[Entry] = field(default_factory=list)

    @cached_property
    def client(self) -> Any:
        return s3.client(replace(self.where, endpoint=self.endpoint).connection("files_s3"))

    def fill(self) -> None:
        """Twelve due keys of two versions, four of them hidden by a marker; three unfinished uploads; neighbours that stay."""
        bucket = self.where.bucket
        self.client.create_bucket(Bucket=bucket)
        self.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for n in range(12):
            for body in (b"first", b"second"):
                self.client.put_object(Bucket=bucket, Key=f"nginx/2025/11/{n + 1:02}/a.gz", Body=body)
            if n % 3 == 0:
                self.client.delete_object(Bucket=bucket, Key=f"nginx/2025/11/{n + 1:02}/a.gz")
        for n in range(3):
            self.client.create_multipart_upload(Bucket=bucket, Key=f"nginx/2025/11/{n + 1:02}/half.gz")
        for key in ("nginx/2025/11/23/a.gz", "nginx/2026/01/01/a.gz", "nginx-old/2025/11/01/a.gz", "nginx/README"):
            self.client.put_object(Bucket=bucket, Key=key, Body=b"stays")
        self.client.create_multipart_upload(Bucket=bucket, Key="nginx/2026/01/01/half.gz")
        self.before = self.left()
        self.found = s3.survey(self.client, self.where.predicate)

    def left(self) -> list[Entry]:
        return sorted(everything(self.client, self.where.bucket, ""), key=lambda e: (e.kind, e.key, e.id))

    def due_left(self) -> int:
        return s3.count(self.client, self.where.predicate).due

    def stays(self) -> list[Entry]:
        """What a purge must leave, by a rule of the test's own."""
        return [e for e in self.before if not ("nginx/2025/11/01/" <= e.key < "nginx/2025/11/13/")]

    def sql(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """A statement as superuser, committed; `%(plan)s` and `%(store)s` are this shelf's."""
        given = {"plan": self.where.plan.digest, "store": self.where.bucket, **(values or {})}
        with psycopg.connect(self.control.url) as connection:
            cursor = connection.execute(statement, given)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


def shelf(control: ControlDatabase, port: int, endpoint: str, through: str | None = None, **changes: Any) -> Shelf:
    """A new bucket, filled; the purge reaches it by the endpoint `through`. Each has a plan of its own."""
    name = uuid.uuid4().hex[:10]
    database = control.url.rsplit("/", 1)[1].partition("?")[0]
    where = Where(port=port, database=database, endpoint=through or endpoint, bucket=f"logs-{name}", **changes)
    made = Shelf(endpoint=endpoint, where=where, control=control)
    made.fill()
    return made


def main(where: Where, faults: str, log: str, answer: str) -> None:
    """Purges and writes the totals, as JSON, to the file `answer`."""
    os.environ["LETHE_FAULTS"] = faults
    if log:
        os.environ["LETHE_FAULTS_LOG"] = log
    Path(answer).write_text(json.dumps(asdict(where.purge())))


def process(where: Where, *, faults: str, log: str, answer: str) -> BaseProcess:
    """A process that will do `main`; not started yet."""
    return forked(main, where, faults, log, answer)
