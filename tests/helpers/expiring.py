"""An archive whose periods are over, made by the archive's own means, and its expiry in this process or in one of its own."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import create_engine

from helpers.archiving import Archive, archive_on
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.forking import forked
from helpers.purging import AS_OF, CATALOG, CUTOFF, QUICK, plan_of, step
from lethe.archive import expiring, manifests, sealing
from lethe.archive.finding import named
from lethe.archive.keys import parse, slug
from lethe.archive.manifests import Known
from lethe.archive.model import CLOCK, KEY64, PERSONS, TENANT, ArchivedColumn, NamedBy
from lethe.archive.names import fingerprint, name_of
from lethe.archive.write import compare, prepare
from lethe.connections import Connection
from lethe.control.plans import save_counts, save_plan
from lethe.instants import now
from lethe.plan.expiry import ARCHIVE_STORE, make_expiry_plan
from lethe.plan.model import ArchiveTerms, ExpiryPredicate, HoldScope, Plan, Step
from lethe.policy.period import Period
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.run import run_group
from lethe.stores.s3.client import client

OVER, NOT_YET = date(2026, 11, 20), date(2099, 1, 1)
"""Days of expiry before and after AS_OF."""

COLUMNS = (ArchivedColumn(name="id", source="bigint", kept_as="int64"), ArchivedColumn(name="note", source="text", kept_as="string"))
NAMES = NamedBy(key=fingerprint(DIGEST_KEY), tenants="tenants", identities=("users",))
__all__ = ["COLUMNS", "NOT_YET", "OVER", "Shelved", "Vault", "Where", "clients_made_once", "make_expiry_plan", "process", "vault"]


@dataclass(frozen=True, kw_only=True)
class Where:
    """All that another process needs for the expiry: the database, the bucket's connection, the dataset and law, the size of batches."""

    port: int
    database: str
    archive: Connection
    law: str
    dataset: str = "logs"
    as_of: datetime = AS_OF
    limit: int = 2
    attempt: int = 1

    @property
    def step(self) -> Step:
        predicate = ExpiryPredicate(dataset=self.dataset, law=self.law, as_of=self.as_of, zone="Europe/Paris")
        name = f"expiry-{slug(self.law)}/{self.dataset}"
        return Step(id=name, rule="keep", promise="p", dataset=f"archive/{self.dataset}", store=ARCHIVE_STORE, predicate=predicate)

    @property
    def plan(self) -> Plan:
        return plan_of(self.step).model_copy(update={"as_of": self.as_of, "rules": (self.step.id,)})

    def connection(self, name: str) -> Connection:
        if name == "archive_s3":
            return self.archive
        return Connection(id=name, kind="postgres", host="127.0.0.1", port=self.port, login="lethe_runtime", database=self.database)

    def engine(self) -> Any:
        return create_engine(f"postgresql+psycopg://lethe_runtime@127.0.0.1:{self.port}/{self.database}")

    def context(self, **changes: Any) -> PurgeContext:
        """What the purge is given. Each vault has a store of its own in the leases' eyes only by its plan: run one at a time."""
        given: dict[str, Any] = {"plan": self.plan, "attempt": self.attempt, "catalog": CATALOG, "connections": self.connection}
        return PurgeContext(**{**given, "control": self.engine(), "limits": QUICK, "digest_key": DIGEST_KEY, **changes})

    def expire(self, **changes: Any) -> StepTotals:
        """One expiry in this process, in small batches."""
        ctx = self.context(**changes)
        asking = import_module("lethe.stores.s3.client")
        with patch.object(asking, "_ATTEMPTS", 2), patch("lethe.purge.expiry.LIMIT", self.limit), clients_made_once():
            try:
                (totals,) = run_group([self.step], ctx)
            finally:
                ctx.control.dispose()
        return totals


@contextmanager
def clients_made_once() -> Iterator[None]:
    """One S3 client for each login and endpoint until it is left, where each look at a bucket makes one of its own, which takes 0.3 s."""
    kept: dict[tuple[object, ...], Any] = {}

    def once(connection: Connection, *, patient: bool = True) -> Any:
        which = (connection.login, connection.password, connection.extra.get("endpoint_url"), patient)
        if which not in kept:
            kept[which] = client(connection, patient=patient)
        return kept[which]

    with patch("helpers.archiving.client", once), patch("lethe.archive.bucket.client", once):
        yield


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """A row of an object: its key, its tenant's and its persons' keys, and when its clock began."""

    key: int
    tenant: str | None = None
    persons: tuple[str, ...] = ()
    at: datetime = CUTOFF


@dataclass(kw_only=True)
class Vault:
    """What lies in the archive, seen straight, and where the expiry finds it (perhaps by another way)."""

    archive: Archive
    where: Where
    control: ControlDatabase
    lockable: bool = False
    names: NamedBy = NAMES
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def put(
        self, rows: Sequence[Shelved], on: date = OVER, *, law: str | None = None, dataset: str | None = None, seal: bool = True
    ) -> Known:
        """An object of these rows that expires on that day: confirmed, and sealed unless told."""
        law, dataset = law or self.where.law, dataset or self.where.dataset
        terms = ArchiveTerms(law=law, ground="obligation", period=Period("P10Y"), columns=("id", "note"))
        kept = step("logs").model_copy(update={"archive": terms, "rule": "keep", "id": f"keep/{dataset}", "dataset": dataset})
        table = table_of(rows)
        prepared = prepare(table, COLUMNS, on, plan=plan_of(kept), attempt=1, step=kept, names=self.names)
        bucket, number = self.archive.bucket, prepared.manifest.id
        with self.control.runtime.begin() as book:
            manifests.announce(book, [prepared.manifest], bucket.name)
        put = bucket.put(prepared.manifest.key, prepared.data)
        encryption = compare(bucket, prepared, table, put.version)
        manifest = prepared.manifest.model_copy(update={"encryption": encryption, "etag": put.etag})
        with self.control.runtime.begin() as book:
            manifests.store(book, {number: (manifest, put.version)}, 1)
            manifests.set_state(book, [number], "confirmed", was=["stored"])
        if seal:
            sealing.seal(bucket, self.control.runtime, [self.known(number)], lockable=self.lockable, at=now())
        return self.known(number)

    def known(self, number: str) -> Known:
        with self.control.runtime.connect() as book:
            return manifests.of_ids(book, [number])[0]

    def states(self) -> dict[str, int]:
        """How many objects of the dataset and law are in each state."""
        asked = "SELECT state, count(*) FROM lethe.archive_objects WHERE law = %(law)s GROUP BY 1"
        return dict(self.sql(asked))

    def rows(self, *, law: str | None = None) -> list[int]:
        """The keys of all rows that lie in Parquet objects of a law: of every version that is there, also one that a marker hides."""
        found: list[int] = []
        folder = f"/law={slug(law or self.where.law)}/"
        for listed in self.archive.bucket.listing():
            parts = parse(listed.key)
            if parts is not None and not parts.is_manifest and not listed.is_marker and folder in listed.key:
                found += pq.read_table(io.BytesIO(self.archive.bucket.get(listed.key, listed.version)))[KEY64].to_pylist()
        return sorted(found)

    def ids(self) -> dict[str, list[str]]:
        """What is there of each object: its object, its manifest, by id."""
        found: dict[str, list[str]] = {}
        for key in Archive.keys(self.archive):
            parts = parse(key)
            assert parts is not None
            found.setdefault(parts.id, []).append("manifest" if parts.is_manifest else "object")
        return found

    def hold(self, **scope: Any) -> int:
        """A hold in force since yesterday; its number."""
        person = scope.pop("person", None)
        names = {"person_dataset": person[0], "person_key": person[1]} if person else {}
        given = {"reason": "litigation", "owner": "o", "starts_on": date(2026, 1, 1), **scope, **names}
        columns, values = ", ".join(given), ", ".join(f"%({n})s" for n in given)
        return int(self.sql(f"INSERT INTO lethe.holds ({columns}) VALUES ({values}) RETURNING id", given)[0][0])

    def lift(self, *numbers: int) -> None:
        self.sql("UPDATE lethe.holds SET lifted_at = now() WHERE id = ANY(%(ids)s)", {"ids": list(numbers)})

    def sql(self, statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """A statement as superuser, committed; `%(plan)s` and `%(law)s` are this vault's."""
        given = {"plan": self.where.plan.digest, "law": self.where.law, **(values or {})}
        with psycopg.connect(self.control.url) as connection:
            cursor = connection.execute(statement, given)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def planned(self, *holds: HoldScope) -> Any:
        """Counts the plan's step and stores both, as a run does; the counts."""
        where = self.where
        with self.control.runtime.begin() as book:
            judge = expiring.Judge(bucket=self.archive.bucket, holds=named(holds, DIGEST_KEY, CATALOG))
            counted = expiring.count(book, where.step, judge)
            save_plan(book, where.plan)
            save_counts(book, where.plan.digest, where.attempt, {where.step.id: counted})
        return counted


def table_of(rows: Sequence[Shelved]) -> pa.Table:
    """Rows as an object has them."""
    tenants = [None if r.tenant is None else name_of(DIGEST_KEY, "tenants", r.tenant) for r in rows]
    persons = [sorted(name_of(DIGEST_KEY, "users", p) for p in r.persons) for r in rows]
    return pa.table(
        {
            "id": pa.array([r.key for r in rows], pa.int64()),
            "note": pa.array([f"row {r.key}" for r in rows], pa.string()),
            CLOCK: pa.array([r.at for r in rows], pa.timestamp("us", "UTC")),
            TENANT: pa.array(tenants, pa.string()),
            PERSONS: pa.array(persons, pa.list_(pa.string())),
            KEY64: pa.array([r.key for r in rows], pa.int64()),
        }
    )


def vault(control: ControlDatabase, port: int, endpoint: str, through: str | None = None, *, lock: bool = False, **changes: Any) -> Vault:
    """A new bucket and a law of its own; the expiry reaches the bucket by the endpoint `through`."""
    keys = changes.pop("keys", ("k", "s"))
    archive = archive_on(endpoint, keys, lock=lock)
    seen = replace(archive.connection, extra={**archive.connection.extra, "endpoint_url": through or endpoint})
    database = control.url.rsplit("/", 1)[1].partition("?")[0]
    where = Where(port=port, database=database, archive=seen, law=f"Law {uuid.uuid4().hex[:8]}", **changes)
    return Vault(archive=archive, where=where, control=control, lockable=lock)


def main(where: Where, faults: str, log: str, answer: str) -> None:
    """Expires and writes the totals, as JSON, to the file `answer`."""
    os.environ["LETHE_FAULTS"] = faults
    if log:
        os.environ["LETHE_FAULTS_LOG"] = log
    Path(answer).write_text(json.dumps(asdict(where.expire())))


def process(where: Where, *, faults: str, log: str, answer: str) -> BaseProcess:
    """A process that will do `main`; not started yet."""
    return forked(main, where, faults, log, answer)


@contextmanager
def another_plan(made: Vault) -> Iterator[Vault]:
    """The same archive under a plan as of a later instant, as the next night has it."""
    yield replace(made, where=replace(made.where, as_of=datetime(2026, 11, 23, 2, tzinfo=UTC)))
