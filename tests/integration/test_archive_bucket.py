"""The archive's bucket on a real Ceph gateway: what it proves, what it refuses, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import io
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pytest

from demo.ceph import CephGateway
from helpers.archive_store import ArchiveStore, archive_store, flipping_wire
from helpers.wire import wire_to
from lethe.archive import bucket as module
from lethe.archive.bucket import PART, ArchiveBucket, Listed, refuse_unfit
from lethe.archive.keys import manifest_key, object_key
from lethe.archive.parquet import from_parquet, to_parquet
from lethe.errors import ArchiveDiffers, LetheError, NotArchivable, ObjectErrors, StoreFull, Uncountable, Unreachable
from lethe.instants import now

pytestmark = [pytest.mark.ceph, pytest.mark.timeout(180)]

LAW = "Code de commerce L123-22"
KEY = object_key("invoices", LAW, "ab" * 32, date(2036, 11, 25), "0" * 32)
NEIGHBOUR = object_key("invoices", LAW, "ab" * 32, date(2036, 11, 25), "1" * 32)


@pytest.fixture(scope="module")
def keys(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def store(ceph: CephGateway, keys: tuple[str, str]) -> ArchiveStore:
    return archive_store(ceph, keys=keys)


def refused(error: pytest.ExceptionInfo[LetheError], said: str) -> None:
    """The error says so, and carries no key."""
    assert said in str(error.value) and error.value.fix
    assert KEY not in str(error.value) and "0" * 32 not in str(error.value)


def soon(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


@pytest.mark.parametrize("size", [0, 1000, PART, PART + 1, 2 * PART + 5])
def test_what_was_put_is_encrypted_and_comes_back_byte_for_byte(store: ArchiveStore, size: int) -> None:
    archive, data = store.archive(), os.urandom(size)
    put = archive.put(KEY, data)
    assert put.version and put.bytes == size
    assert archive.head(KEY, put.version) == (size, "aws:kms", None)
    assert archive.verify_encryption(KEY, put.version) == "aws:kms"
    assert archive.get(KEY, put.version) == data
    assert store.everything() == [("version", KEY)]


def test_an_older_version_is_still_read_after_it_was_overwritten_and_deleted(store: ArchiveStore) -> None:
    archive = store.archive()
    first, second = archive.put(KEY, b"first"), archive.put(KEY, b"second")
    store.client.delete_object(Bucket=store.name, Key=KEY)
    assert archive.get(KEY, first.version) == b"first" and archive.get(KEY, second.version) == b"second"
    marker, *versions = sorted(archive.listing(), key=lambda row: not row.is_marker)
    assert (marker.key, marker.is_latest, marker.size) == (KEY, True, 0)
    assert {(v.version, v.size, v.is_latest) for v in versions} == {(first.version, 5, False), (second.version, 6, False)}
    for version in (None, marker.version):
        with pytest.raises(ArchiveDiffers) as error:
            archive.get(KEY, version)
        refused(error, "is not there")


def test_the_whole_bucket_is_listed_to_its_last_page(store: ArchiveStore) -> None:
    archive, names = store.archive(), [f"{KEY}.{n}" for n in range(7)]
    for name in names:
        archive.put(name, b"x")
    store.client.create_multipart_upload(Bucket=store.name, Key=NEIGHBOUR)
    listed = list(archive.listing(page_size=3))
    assert [row.key for row in listed] == names and all(isinstance(row, Listed) and row.is_latest and row.size == 1 for row in listed)
    assert list(archive.unfinished()) == [NEIGHBOUR]


@pytest.mark.parametrize("size", [100, PART + 100])
def test_a_lock_is_set_after_the_upload_read_back_and_keeps_the_object_until_its_end(store: ArchiveStore, size: int) -> None:
    archive = store.archive()
    put = archive.put(KEY, os.urandom(size))
    archive.put(NEIGHBOUR, b"unlocked")
    assert archive.lock_until(KEY, put.version) is None
    until = soon(4)
    end = archive.lock(KEY, put.version, until)
    assert end == until.replace(microsecond=0) <= until
    assert archive.lock_until(KEY, put.version) == end
    assert archive.lock(KEY, put.version, until) == end, "locking again is no error"
    with pytest.raises(ObjectErrors) as error:
        archive.drop(KEY)
    refused(error, "left 1 of 1")
    assert archive.head(KEY, put.version).bytes == size, "a refused drop takes nothing"
    assert archive.drop(NEIGHBOUR) == 1
    while now() < end + timedelta(seconds=1):
        time.sleep(0.1)
    assert archive.drop(KEY) == 1
    assert store.everything() == []


def test_a_longer_lock_is_never_shortened(store: ArchiveStore) -> None:
    archive = store.archive()
    put = archive.put(KEY, b"x")
    long = archive.lock(KEY, put.version, soon(60))
    with pytest.raises(ArchiveDiffers) as error:
        archive.lock(KEY, put.version, soon(5))
    refused(error, "longer than until its expiry")
    assert archive.lock_until(KEY, put.version) == long
    longer = archive.lock(KEY, put.version, soon(90))
    assert longer > long and archive.lock_until(KEY, put.version) == longer
    store.client.delete_object(Bucket=store.name, Key=KEY, VersionId=put.version, BypassGovernanceRetention=True)


def test_a_lock_that_is_over_or_that_the_bucket_cannot_keep_is_refused(
    ceph: CephGateway, store: ArchiveStore, keys: tuple[str, str]
) -> None:
    archive, plain = store.archive(), archive_store(ceph, lock=False, keys=keys).archive()
    for each, until in ((archive, soon(-60)), (plain, soon(60))):
        put = each.put(KEY, b"x")
        with pytest.raises(NotArchivable) as error:
            each.lock(KEY, put.version, until)
        refused(error, "refuses a lock until")
        assert each.lock_until(KEY, put.version) is None
        assert each.drop(KEY) == 1


def test_a_lock_that_the_store_accepts_and_does_not_keep_is_found(store: ArchiveStore, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = store.archive()
    put = archive.put(KEY, b"x")
    monkeypatch.setattr(archive._client, "put_object_retention", lambda **_: {})
    with pytest.raises(ArchiveDiffers) as error:
        archive.lock(KEY, put.version, soon(60))
    refused(error, "reads back as none")


def test_drop_takes_every_version_marker_and_upload_of_one_key_and_no_neighbour(store: ArchiveStore) -> None:
    archive, near = store.archive(), [f"{KEY}x", NEIGHBOUR, manifest_key(KEY)]
    for body in (b"first", b"second"):
        archive.put(KEY, body)
        store.client.delete_object(Bucket=store.name, Key=KEY)
    for key in (KEY, f"{KEY}x"):
        upload = store.client.create_multipart_upload(Bucket=store.name, Key=key)["UploadId"]
        store.client.upload_part(Bucket=store.name, Key=key, UploadId=upload, PartNumber=1, Body=b"half a file")
    for key in near:
        archive.put(key, b"stays")
    assert archive.drop(KEY) == 5
    assert store.everything() == sorted([("upload", f"{KEY}x"), *(("version", key) for key in near)])
    assert archive.drop(KEY) == 0, "dropping again is no error"


def test_a_bucket_without_versions_is_served_and_said(ceph: CephGateway, keys: tuple[str, str]) -> None:
    store = archive_store(ceph, lock=False, versioned=False, keys=keys)
    archive = store.archive()
    posture = archive.posture()
    assert (posture.versioned, posture.lock, posture.default_retention_days, posture.deletes_by_itself) == (False, False, 0, False)
    assert [text.partition(":")[0] for text in posture.lacks] == ["no versions", "no object lock"]
    refuse_unfit(posture)
    put = archive.put(KEY, b"x")
    assert put.version is None and archive.get(KEY, None) == b"x"
    [found] = archive.listing()
    assert found == Listed(KEY, None, True, 1, False, put.etag)
    assert archive.drop(KEY) == 1 and store.everything() == []


def test_a_locked_and_versioned_bucket_lacks_nothing(store: ArchiveStore) -> None:
    posture = store.archive().posture()
    assert (posture.versioned, posture.lock, posture.default_retention_days, posture.encryption) == (True, True, 0, "aws:kms")
    assert posture.lacks == ()
    refuse_unfit(posture, timedelta(days=1))


def test_a_bucket_that_locks_by_itself_is_refused(store: ArchiveStore) -> None:
    retention: Any = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}}
    store.client.put_object_lock_configuration(Bucket=store.name, ObjectLockConfiguration=retention)
    posture = store.archive().posture()
    assert posture.default_retention_days == 30
    with pytest.raises(NotArchivable) as error:
        refuse_unfit(posture, timedelta(days=31))
    refused(error, "for 30 days, so one whose deletion did not commit could not be dropped")
    with pytest.raises(NotArchivable) as error:
        refuse_unfit(posture, timedelta(days=29))
    refused(error, "for 30 days, longer than until the first of them must expire")


@pytest.mark.parametrize(
    ("rule", "refuses"),
    [
        ({"Expiration": {"Days": 900}}, True),
        ({"Expiration": {"Date": datetime(2040, 1, 1, tzinfo=UTC)}}, True),
        ({"Expiration": {"Days": 900}, "Status": "Disabled"}, False),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 1}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, False),
    ],
)
def test_a_bucket_that_deletes_by_itself_is_refused(store: ArchiveStore, rule: dict[str, Any], refuses: bool) -> None:
    rules: Any = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]}
    store.client.put_bucket_lifecycle_configuration(Bucket=store.name, LifecycleConfiguration=rules)
    posture = store.archive().posture()
    assert posture.deletes_by_itself is refuses
    if refuses:
        with pytest.raises(NotArchivable) as error:
            refuse_unfit(posture)
        refused(error, "lifecycle rule that deletes objects")
    else:
        refuse_unfit(posture)


def test_a_missing_bucket_and_a_connection_that_asks_for_no_encryption_are_refused(store: ArchiveStore) -> None:
    missing = store.archive(bucket="no-such-bucket").posture()
    assert missing.exists is False
    with pytest.raises(NotArchivable) as error:
        refuse_unfit(missing)
    refused(error, "does not exist")
    for encryption in (None, "ROT13"):
        with pytest.raises(NotArchivable) as error:
            refuse_unfit(store.archive(encryption=encryption).posture())
        refused(error, "no encryption that is known")
    with pytest.raises(NotArchivable) as error:
        store.archive(encryption=None).put(KEY, b"x")
    refused(error, "No encryption is asked for")
    with pytest.raises(NotArchivable) as error:
        store.archive(bucket=None)
    refused(error, "names no bucket")
    assert store.everything() == []


def test_what_the_store_does_not_tell_is_unknown_and_the_application_may_do_nothing(ceph: CephGateway, store: ArchiveStore) -> None:
    put = store.archive().put(KEY, b"kept")
    application = store.archive(keys=ceph.new_user())
    posture = application.posture()
    assert (posture.exists, posture.versioned, posture.lock, posture.default_retention_days) == (True, None, None, None)
    assert [text.partition(":")[0] for text in posture.lacks] == ["versions unknown", "object lock unknown", "lifecycle unknown"]
    with pytest.raises(NotArchivable) as denied:
        application.put(NEIGHBOUR, b"x")
    refused(denied, "no right to write")
    for act in (lambda: application.get(KEY, put.version), lambda: list(application.listing()), lambda: application.drop(KEY)):
        with pytest.raises(Uncountable) as error:
            act()
        refused(error, "no right to read")
    assert store.archive().get(KEY, put.version) == b"kept" and store.everything() == [("version", KEY)]


def test_wrong_credentials_are_refused(store: ArchiveStore) -> None:
    put = store.archive().put(KEY, b"kept")
    stranger = store.archive(keys=(store.keys[0], "wrong"))
    acts = (
        stranger.posture,
        lambda: stranger.put(NEIGHBOUR, b"x"),
        lambda: stranger.get(KEY, put.version),
        lambda: stranger.drop(KEY),
        lambda: stranger.lock(KEY, put.version, soon(60)),
    )
    for act in acts:
        with pytest.raises(Unreachable) as error:
            act()
        refused(error, "refuses our credentials")
    with pytest.raises(Uncountable) as denied:  # a refused HEAD has no body, so the store does not say why
        stranger.lock_until(KEY, put.version)
    refused(denied, "no right to read")
    assert store.archive().lock_until(KEY, put.version) is None
    assert store.everything() == [("version", KEY)]


def test_encryption_that_the_store_drops_in_silence_is_found(store: ArchiveStore) -> None:
    archive = store.archive(encryption="AES256", kms_key_id=None)
    put = archive.put(KEY, b"x")
    with pytest.raises(NotArchivable) as error:
        archive.verify_encryption(KEY, put.version)
    refused(error, "did not encrypt as asked (AES256): it says nothing")
    assert archive.drop(KEY) == 1 and store.everything() == []


@pytest.mark.parametrize("size", [10, PART + 1])
def test_a_key_that_the_store_does_not_have_is_refused(store: ArchiveStore, size: int) -> None:
    for key in ("no-such-key", None):
        with pytest.raises(NotArchivable) as error:
            store.archive(kms_key_id=key).put(KEY, bytes(size))
        refused(error, "refuses an object encrypted by aws:kms")
    assert store.everything() == []


@pytest.mark.parametrize("size", [10, PART + 1])
def test_a_wrong_digest_is_refused_and_leaves_nothing(store: ArchiveStore, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(module, "_md5", lambda body, real=module._md5: real(body + b"!"))
    with pytest.raises(ArchiveDiffers) as error:
        store.archive().put(KEY, bytes(size))
    refused(error, "received other bytes than were sent")
    assert store.everything() == []


@pytest.mark.parametrize("size", [10_000, PART + 10_000])
def test_a_bit_flipped_on_the_way_up_is_refused_by_the_store(store: ArchiveStore, size: int) -> None:
    with flipping_wire(store.gateway.endpoint, up=True) as wire:
        with pytest.raises(ArchiveDiffers) as error:
            store.archive(endpoint=wire.endpoint).put(KEY, os.urandom(size))
    refused(error, "received other bytes than were sent")
    assert store.everything() == []


def test_a_bit_flipped_on_the_way_down_is_found_by_its_sha256(store: ArchiveStore) -> None:
    data = to_parquet(pa.table({"id": np.random.default_rng(1).integers(2**62, size=5000)}), {})  # its pages are most of it
    put = store.archive().put(KEY, data)
    with flipping_wire(store.gateway.endpoint, down=True) as wire:
        damaged = store.archive(endpoint=wire.endpoint).get(KEY, put.version)
    assert len(damaged) == put.bytes
    assert hashlib.sha256(damaged).hexdigest() != hashlib.sha256(data).hexdigest()
    with pytest.raises(ArchiveDiffers):
        from_parquet(damaged)
    assert hashlib.sha256(store.archive().get(KEY, put.version)).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("fault", ["lost", "error after"])
def test_an_answer_that_was_lost_leaves_one_version_and_that_is_the_one_named(store: ArchiveStore, fault: Any) -> None:
    with wire_to(store.gateway.endpoint) as wire:
        wire.fail("put", 1, fault)
        put = store.archive(endpoint=wire.endpoint).put(KEY, b"once")
    assert wire.requests.count("put") == 2, "a control: it was sent again"
    assert [(row.key, row.version) for row in store.archive().listing()] == [(KEY, put.version)]


def test_a_store_that_stays_away_is_unreachable_and_what_was_begun_can_be_dropped(store: ArchiveStore) -> None:
    with wire_to(store.gateway.endpoint) as wire:
        wire.fail("put", 2, "cut", and_stop=True)  # the upload is begun, one part is there
        archive = store.archive(endpoint=wire.endpoint)
        with pytest.raises(Unreachable) as error:
            archive.put(KEY, bytes(3 * PART))
    refused(error, "does not answer")
    assert store.everything() == [("upload", KEY)]
    assert store.archive().drop(KEY) == 1 and store.everything() == []


@pytest.mark.parametrize("size", [6 << 20, PART + 1])
def test_a_full_store_says_so_and_nothing_is_left_behind(ceph: CephGateway, size: int) -> None:
    store = archive_store(ceph)
    store.limit(5 << 20)
    with pytest.raises(StoreFull) as error:
        store.archive().put(KEY, os.urandom(size))
    refused(error, "takes no more (QuotaExceeded)")
    assert store.everything() == []
    store.archive().put(NEIGHBOUR, b"a small one")
    assert store.everything() == [("version", NEIGHBOUR)]


# ------------------------------------------------------------------------------------------- as others read the archive


def part(first: int, *, late: bool = False) -> pa.Table:
    """Rows as the archive keeps them; in the later schema with one column more."""
    ids = range(first, first + 100)
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.int64()),
        "number": pa.array([None if n % 7 == 0 else f"F-{n} é" for n in ids], pa.string()),
        "net": pa.array([str(n / 4) for n in ids], pa.string()),
        "issued_at": pa.array([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in ids], pa.timestamp("us", "UTC")),
        "closed": pa.array([date(2025, 12, 31)] * 100, pa.date32()),
    }
    if late:
        columns["currency"] = pa.array(["EUR"] * 100, pa.string())
    return pa.table(
        {
            **columns,
            "_lethe_clock": columns["issued_at"],
            "_lethe_tenant": pa.array(["a" * 32] * 100, pa.string()),
            "_lethe_persons": pa.array([["b" * 32, "c" * 32], []] * 50, pa.list_(pa.string())),
            "_lethe_key": columns["id"],
        }
    )


@pytest.fixture
def filled(store: ArchiveStore) -> ArchiveStore:
    """Four objects of two schemas and two months of expiry, each with its manifest, beside another dataset."""
    archive = store.archive()
    for n in range(4):
        late = n > 1
        key = object_key("invoices", LAW, ("fe" if late else "01") * 32, date(2036, 11 + n % 2, 25), f"{n:032x}")
        archive.put(key, to_parquet(part(n * 100, late=late), {"dataset": "invoices", "id": f"{n:032x}"}))
        archive.put(manifest_key(key), b'{"rows": 100}')
    archive.put(object_key("contracts", "Code civil 2224", "ff" * 32, date(2031, 1, 1), "f" * 32), to_parquet(part(0), {}))
    return store


@pytest.fixture
def files(filled: ArchiveStore) -> pyarrow.fs.FileSystem:
    where = urlsplit(filled.gateway.endpoint)
    return pyarrow.fs.S3FileSystem(
        access_key=filled.keys[0], secret_key=filled.keys[1], endpoint_override=where.netloc, scheme=where.scheme, region="us-east-1"
    )


def opened(filled: ArchiveStore, files: pyarrow.fs.FileSystem) -> ds.Dataset:
    """The dataset as one table, by the union of its schemas."""
    found = ds.dataset(f"{filled.name}/dataset=invoices", filesystem=files, format="parquet", partitioning="hive")
    fragments = [fragment.physical_schema for fragment in found.get_fragments()]
    return found.replace_schema(pa.unify_schemas([found.schema, *fragments]))


def test_pyarrow_opens_a_prefix_of_the_bucket_as_one_table(filled: ArchiveStore, files: pyarrow.fs.FileSystem) -> None:
    table = opened(filled, files).to_table().sort_by("id")
    assert table.num_rows == 400 and table["id"].to_pylist() == list(range(400))
    assert table["currency"].null_count == 200
    assert table.select(part(0).schema.names).slice(0, 100).equals(part(0))
    assert set(table["expires"].to_pylist()) == {"2036-11", "2036-12"} and set(table["law"].to_pylist()) == {"code-de-commerce-l123-22"}
    only = opened(filled, files).to_table(filter=(ds.field("expires") == "2036-12") & (ds.field("currency") == "EUR"))
    assert sorted(only["id"].to_pylist()) == list(range(300, 400))


def test_pandas_opens_a_prefix_of_the_bucket_as_one_table(filled: ArchiveStore, files: pyarrow.fs.FileSystem) -> None:
    frame = pd.read_parquet(f"{filled.name}/dataset=invoices", filesystem=files).sort_values("id")
    assert list(frame["id"]) == list(range(400)) and frame["number"].isna().sum() == 58
    late = pd.read_parquet(f"{filled.name}/dataset=invoices/law=code-de-commerce-l123-22/schema=fefefefe", filesystem=files)
    assert len(late) == 200 and set(late["currency"]) == {"EUR"}


def test_duckdb_opens_a_copy_of_a_prefix_and_the_bucket_itself_as_one_table(
    filled: ArchiveStore, files: pyarrow.fs.FileSystem, tmp_path: Path
) -> None:
    archive = filled.archive()
    for row in archive.listing():
        (tmp_path / row.key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / row.key).write_bytes(archive.get(row.key, row.version))
    query = "SELECT count(*), sum(id), count(currency), count(number), max(issued_at) FROM {}"
    expected = (400, sum(range(400)), 200, 342, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=399))
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        copy = f"read_parquet('{tmp_path}/dataset=invoices/**/*.parquet', union_by_name = true, hive_partitioning = true)"
        assert db.execute(query.format(copy)).fetchall() == [expected]
        assert db.execute(
            f"SELECT count(*) FROM {copy} WHERE expires = '2036-12' AND list_contains(_lethe_persons, ?)", ["b" * 32]
        ).fetchall() == [(100,)]
        db.register("invoices", opened(filled, files))
        assert db.execute(query.format("invoices")).fetchall() == [expected]


def test_an_object_alone_opens_from_its_bytes(filled: ArchiveStore) -> None:
    archive: ArchiveBucket = filled.archive()
    first = next(row for row in archive.listing() if row.key.endswith(".parquet") and "invoices" in row.key)
    data = archive.get(first.key, first.version)
    assert from_parquet(data).equals(part(0)) and len(pd.read_parquet(io.BytesIO(data))) == 100
