"""What a night that archives refuses, and that nothing is lost when it does: a bucket that locks by itself, a type that cannot be given back,
a full bucket, a table that changed between two nights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pyarrow.dataset as ds
import pytest
from pyarrow.fs import S3FileSystem

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archive_store import archive_store
from helpers.archiving import Archive, archive_on, archiving, let_archive, purge
from helpers.company import Company, company_of, twelve_months
from helpers.purging import CUTOFF, World, world_of
from lethe.errors import NotArchivable
from lethe.stores.s3.client import client

pytestmark = pytest.mark.ceph


@pytest.fixture
def archive(ceph: CephGateway) -> Archive:
    return archive_on(ceph.endpoint, ceph.new_user())


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        fill(made)
        yield made


@pytest.fixture
def company(world: World, moto: ObjectServer, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    with company_of(world, moto, tmp_path / "small", monkeypatch) as made:
        made.policy(twelve_months("logs", "acts"), max_share=1.0)
        let_archive(made, archive, monkeypatch, "id", "at", "note")
        yield made


def fill(world: World, first: int = 0) -> None:
    """A hundred due rows and a hundred that are kept."""
    world.sql(
        "INSERT INTO app.logs (id, at, tenant_id, note) SELECT %s + g, %s + (g - 99.5) * interval '1 minute', 1, 'n' || g FROM generate_series(0, 199) g",
        [first, CUTOFF],
    )
    world.sql("ANALYZE app.logs")


def test_a_bucket_that_locks_what_is_put_in_it_is_refused_when_the_night_is_planned(company: Company, archive: Archive) -> None:
    before = company.world.rest("logs")
    locking = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 30}}}
    client(archive.connection).put_object_lock_configuration(Bucket=archive.bucket.name, ObjectLockConfiguration=locking)
    with pytest.raises(NotArchivable, match="locks all objects by itself"):
        company.night()
    assert company.world.rest("logs") == before
    assert archive.keys() == []


def test_a_type_that_cannot_be_given_back_is_refused_by_name_when_the_night_is_planned(company: Company, archive: Archive) -> None:
    company.world.sql("ALTER TABLE app.logs ALTER note TYPE money USING 1::money")
    before = company.world.rest("logs")
    with pytest.raises(NotArchivable, match=r"note of app\.logs is of type money"):
        company.night()
    assert company.world.rest("logs") == before
    assert archive.keys() == []


def test_an_archive_that_is_away_keeps_its_rows_and_hinders_no_other_rule(
    company: Company, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = company.world
    world.sql("INSERT INTO app.acts (id, at) VALUES (1, %s - interval '1 day'), (2, %s)", [CUTOFF, CUTOFF])
    before = world.rest("logs")
    archive.connection.extra["endpoint_url"] = "http://127.0.0.1:9"
    let_archive(company, archive, monkeypatch, "id", "at", "note")
    with patch("lethe.stores.s3.client._ATTEMPTS", 2):
        night = company.night()
    assert night.deleted.get("acts/acts") == 1 and world.rest("acts")[0] == 1
    assert world.rest("logs") == before
    assert "logs/logs" in night.red and any("object store" in text for text in night.failed)


def test_a_full_bucket_keeps_the_rows_and_leaves_nothing_behind(world: World, ceph: CephGateway) -> None:
    store = archive_store(ceph)
    store.limit(1024)  # less than any object
    full = Archive(connection=store.connection())
    before = world.rest("logs")
    totals = purge(world, full, archiving("logs"))["logs"]
    assert (totals.error_kind, totals.deleted) == ("StoreFull", 0)
    assert world.rest("logs") == before
    assert full.keys() == []
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state <> 'dropped'") == 0


def test_a_table_that_changed_between_two_nights_is_archived_apart_and_opens_as_one_table(world: World, archive: Archive) -> None:
    purge(world, archive, archiving("logs"))
    world.sql("ALTER TABLE app.logs ALTER note TYPE varchar(40)")
    fill(world, first=1000)
    purge(world, archive, archiving("logs"))
    assert len({k.split("/")[2] for k in archive.objects()}) == 2, "a folder for each schema"
    sources = {
        dict(c)["source"] for (m,) in world.sql("SELECT manifest FROM lethe.archive_objects") for c in m["columns"] if c["name"] == "note"
    }
    assert sources == {"text", "character varying(40)"}
    extra = archive.connection.extra
    seen = S3FileSystem(
        access_key=archive.connection.login,
        secret_key=archive.connection.password,
        endpoint_override=extra["endpoint_url"].removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )
    both = ds.dataset(f"{extra['bucket']}/dataset=logs/", filesystem=seen, format="parquet", partitioning="hive").to_table()
    assert sorted(both["id"].to_pylist()) == [*range(100), *range(1000, 1100)]
