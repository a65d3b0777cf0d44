"""A world (`helpers.purging`) with an archive: a bucket on Ceph or moto, steps that archive, and a look at what lies there."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from demo.buckets import ensure_bucket
from helpers.company import VERSION, Company
from helpers.control import DIGEST_KEY
from helpers.purging import World, plan_of, step
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.keys import parse
from lethe.connections import Connection
from lethe.plan.model import ArchiveTerms, Step
from lethe.policy.period import Period
from lethe.purge.context import StepTotals
from lethe.purge.run import run_group
from lethe.stores.s3.client import client

TEN_YEARS = ArchiveTerms(
    law="Code de commerce L123-22", ground="obligation", period=Period("P10Y"), columns=("id", "at", "tenant_id", "note")
)


def archiving(dataset: str, columns: tuple[str, ...] = TEN_YEARS.columns, *, period: str = "P10Y", **changes: Any) -> Step:
    """A step over a dataset that keeps these columns in the archive."""
    terms = TEN_YEARS.model_copy(update={"columns": columns, "period": Period(period)})
    return step(dataset, **changes).model_copy(update={"archive": terms})


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The bucket of an archive, seen from outside."""

    connection: Connection

    @cached_property
    def bucket(self) -> ArchiveBucket:
        return ArchiveBucket.of(self.connection)

    def keys(self) -> list[str]:
        """Every key with a version, marker or unfinished upload, each as often as it has one."""
        return sorted([e.key for e in self.bucket.listing()] + list(self.bucket.unfinished()))

    def objects(self) -> list[str]:
        """The keys of Parquet objects."""
        return [k for k in self.keys() if (parts := parse(k)) is not None and not parts.is_manifest]

    def rows(self, dataset: str | None = None) -> pa.Table:
        """All rows of a dataset's objects, or of all objects."""
        chosen = [k for k in self.objects() if dataset is None or k.startswith(f"dataset={dataset}/")]
        tables = [pq.read_table(io.BytesIO(self.bucket.get(k, None))) for k in dict.fromkeys(chosen)]
        return pa.concat_tables(tables) if tables else pa.table({})


def archive_on(endpoint: str, keys: tuple[str, str] = ("k", "s"), *, lock: bool = True, versioned: bool = True) -> Archive:
    """A new bucket there, with versions and object lock unless told."""
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1", "bucket": f"archive-{uuid.uuid4().hex[:10]}", "encryption": "aws:kms"}
    extra["kms_key_id"] = "lethe-test"
    made = Connection(id="archive_s3", kind="aws", login=keys[0], password=keys[1], extra=extra)
    ensure_bucket(client(made), extra["bucket"], versioned=versioned, lock=lock)
    return Archive(connection=made)


def let_archive(company: Company, archive: Archive, patch: pytest.MonkeyPatch, *columns: str) -> None:
    """Makes the first rule of the company's policy archive: these columns of its dataset, for five years, into that archive."""
    rules = company.folder / VERSION / "rules.yaml"
    body = yaml.safe_load(rules.read_text())
    kept = {"period": "P5Y", "law": "Code civil 2224", "ground": "claims", "columns": {body["rules"][0]["category"]: list(columns)}}
    body["rules"][0] |= {"then": "archive", "archive": kept, "needs": ["archive"]}
    rules.write_text(yaml.safe_dump(body, sort_keys=False))
    seen = archive.connection
    named = {"conn_type": "aws", "login": seen.login, "password": seen.password, "extra": seen.extra}
    patch.setenv("AIRFLOW_CONN_ARCHIVE_S3", json.dumps(named))


def connections_of(world: World, archive: Archive) -> Any:
    """The world's connections and the archive's."""
    return lambda name: archive.connection if name == "archive_s3" else world.connections(name)


def purge(world: World, archive: Archive, *steps: Step, **changes: Any) -> dict[str, StepTotals]:
    """Purges these steps as one group; their totals by dataset."""
    given = {"connections": connections_of(world, archive), "digest_key": DIGEST_KEY} | changes
    ctx = world.context(given.pop("plan", None) or plan_of(*steps), **given)
    return {t.step.partition("/")[2]: t for t in run_group(steps, ctx)}
