"""A world (`helpers.purging`) whose rows have files in a bucket, and a purge of it, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import create_engine

from helpers.forking import forked
from helpers.purging import CATALOG, CUTOFF, QUICK, ROLES, SERVICE, STORE, World, entry, plan_of, step, to
from lethe.catalog.model import Catalog, Files, Prefix, Store
from lethe.connections import Connection
from lethe.plan.model import Step
from lethe.policy.model import Role
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.run import run_group
from lethe.stores import s3
from lethe.stores.s3.listing import everything

TABLES = """
CREATE TABLE app.papers (id bigint PRIMARY KEY, at timestamptz, tenant_id bigint, file text);
CREATE INDEX ON app.papers (at);
CREATE INDEX ON app.papers (file);
CREATE TABLE app.covers (id bigint PRIMARY KEY, at timestamptz, file varchar(200) UNIQUE);
CREATE TABLE app.replies (id bigint PRIMARY KEY, parent_id bigint REFERENCES app.replies, at timestamptz, file text UNIQUE);
CREATE INDEX ON app.replies (parent_id);
"""
TENANT = {"tenant": to("tenant_id", "tenants", dangle=True)}
PARENT = {"parent": to("parent_id", "replies")}
FILED = {"files": Files(dataset="paper_files", column="file")}
TABLES_WITH_FILES = {
    "papers": entry("papers", relations=TENANT, tenant=("tenant",), columns=("tenant_id", "file"), **FILED),
    "covers": entry("covers", columns=("file",), **FILED),
    "replies": entry("replies", relations=PARENT, columns=("parent_id", "file"), **FILED),
}
SOURCE = STORE.model_copy(update={"tables": STORE.tables | TABLES_WITH_FILES})
Shelved = dict[str, list[tuple[str, str]]]
"""By key: what is there of it, kind and content (of a version)."""


def files_step(dataset: str) -> Step:
    """A step of twelve months over a table with files."""
    return step("logs").model_copy(update={"id": f"rule/{dataset}", "dataset": dataset})


@dataclass(frozen=True, kw_only=True)
class Where:
    """All that another process needs: the database, the endpoint and the bucket."""

    port: int
    database: str
    endpoint: str
    bucket: str
    keys: tuple[str, str]
    files: int = 4

    @property
    def catalog(self) -> Catalog:
        prefix = Prefix(bucket=self.bucket, prefix="papers/", role=Role.CONTROLLER, category="c", purposes=("p",))
        store = Store(id="papers_s3", kind="s3", connection="papers_s3", start_of_service=SERVICE, prefixes={"paper_files": prefix})
        return Catalog(purposes=CATALOG.purposes, stores=(SOURCE, store))

    def connections(self, name: str) -> Connection:
        if name == "papers_s3":
            extra = {"endpoint_url": self.endpoint, "region_name": "us-east-1"}
            return Connection(id=name, kind="aws", login=self.keys[0], password=self.keys[1], extra=extra)
        login = ROLES.get(name, "lethe_runtime")
        return Connection(id=name, kind="postgres", host="127.0.0.1", port=self.port, login=login, database=self.database)

    def purge(self, *datasets: str, **changes: Any) -> dict[str, StepTotals]:
        """Purges these tables as one group, in batches of a few rows; their totals by dataset."""
        steps = [files_step(d) for d in datasets or ("papers",)]
        context = PurgeContext(
            plan=plan_of(*steps),
            attempt=1,
            catalog=self.catalog,
            connections=self.connections,
            control=create_engine(f"postgresql+psycopg://lethe_runtime@127.0.0.1:{self.port}/{self.database}"),
            limits=replace(QUICK, files=self.files),
        )
        try:
            return {t.step.partition("/")[2]: t for t in run_group(steps, replace(context, **changes))}
        finally:
            context.control.dispose()


@dataclass(kw_only=True)
class Papers:
    """A world with files, seen straight; the purge reaches the bucket by the endpoint of `where`."""

    world: World
    where: Where
    endpoint: str
    rows: int = field(default=0)

    @cached_property
    def client(self) -> Any:
        return s3.client(replace(self.where, endpoint=self.endpoint).connections("papers_s3"))

    @property
    def bucket(self) -> str:
        return self.where.bucket

    def put(self, key: str, *bodies: str, hidden: bool = False, unfinished: bool = False) -> str:
        for body in bodies or (key,):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=body.encode())
        if hidden:
            self.client.delete_object(Bucket=self.bucket, Key=key)
        if unfinished:
            self.client.create_multipart_upload(Bucket=self.bucket, Key=key)
        return key

    def row(self, id_: int, file: str | None, *, due: bool = True, table: str = "papers", **more: Any) -> None:
        values: Mapping[str, Any] = {"id": id_, "at": CUTOFF.replace(year=2024 if due else 2026), "file": file, **more}
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        self.world.sql(f"INSERT INTO app.{table} ({names}) VALUES ({marks})", list(values.values()))

    def shelved(self) -> Shelved:
        """Everything in the bucket, with the contents of all versions."""
        found: Shelved = {}
        for e in everything(self.client, self.bucket, ""):
            version = {} if e.id == "null" else {"VersionId": e.id}
            body = self.client.get_object(Bucket=self.bucket, Key=e.key, **version)["Body"].read().decode() if e.kind == "version" else e.id
            found.setdefault(e.key, []).append((str(e.kind), body))
        return found

    def ids(self, table: str = "papers") -> list[int]:
        return [i for (i,) in self.world.sql(f"SELECT id FROM app.{table} ORDER BY id")]

    def counted(self, dataset: str = "papers") -> dict[str, int]:
        """What the committed batches say of files, added up."""
        found = self.world.sql("SELECT details -> 'files' FROM lethe.batches WHERE step = %s AND state = 'committed'", [f"rule/{dataset}"])
        return {n: sum(f[n] for (f,) in found) for n in ("rows", "entries", "missing", "shared")}

    def written(self) -> str:
        """All that Lethe's own database holds of batches and records."""
        found = self.world.sql("SELECT b::text FROM lethe.batches b UNION ALL SELECT l::text FROM lethe.ledger l")
        return "\n".join(line for (line,) in found)


def papers_of(
    world: World, endpoint: str, through: str | None = None, *, keys: tuple[str, str] = ("k", "s"), lock: bool = False, **changes: Any
) -> Papers:
    """The tables, and a new versioned bucket."""
    with psycopg.connect(world.url, autocommit=True) as admin:
        admin.execute(TABLES)
    world.grant()
    bucket = f"papers-{uuid.uuid4().hex[:10]}"
    database = world.url.rsplit("/", 1)[1].partition("?")[0]
    where = Where(port=world.server.port, database=database, endpoint=through or endpoint, bucket=bucket, keys=keys, **changes)
    made = Papers(world=world, where=where, endpoint=endpoint)
    made.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)
    made.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for dataset in TABLES_WITH_FILES:
        world.context(plan_of(files_step(dataset)))
    return made


def main(where: Where, faults: str, answer: str) -> None:
    """Purges and writes the totals, as JSON, to the file `answer`."""
    os.environ["LETHE_FAULTS"] = faults
    Path(answer).write_text(json.dumps([asdict(t) for t in where.purge().values()]))


def process(where: Where, *, faults: str, answer: str) -> BaseProcess:
    """A process that will do `main`; not started yet."""
    return forked(main, where, faults, answer)
