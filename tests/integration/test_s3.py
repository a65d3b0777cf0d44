"""Object stores on a real Ceph gateway: what is due goes with all its versions, its neighbour stays byte for byte."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from demo.ceph import CephGateway
from lethe.catalog.model import ObjectClock
from lethe.connections import Connection
from lethe.errors import InvalidFile, ObjectErrors, Uncountable, Unreachable
from lethe.instants import now
from lethe.plan.model import HoldScope, ObjectPredicate
from lethe.policy.period import Period, cutoff
from lethe.stores import s3
from lethe.stores.s3.listing import Kind, everything

pytestmark = [pytest.mark.ceph, pytest.mark.timeout(180)]

PARIS = ZoneInfo("Europe/Paris")
AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
CUTOFF = cutoff(AS_OF, Period("P12M"), PARIS)  # midnight of 24 November 2025 in Paris
BY_DAY = ObjectClock(key_date="nginx/%Y/%m/%d/")
BY_UPLOAD = ObjectClock(last_modified=True)


class Bucket:
    """A bucket of one test, its owner's client, and what the tests put there."""

    def __init__(self, gateway: CephGateway, keys: tuple[str, str], *, lock: bool = False, versioning: bool = True) -> None:
        self.gateway, self.keys = gateway, keys
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.client: Any = s3.client(self.connection())
        self.client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=lock)
        if versioning and not lock:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def connection(self, *, secret: str | None = None) -> Connection:
        return Connection(
            id="spotrak_s3", kind="aws", login=self.keys[0], password=secret or self.keys[1], extra={"endpoint_url": self.gateway.endpoint}
        )

    def put(self, key: str, body: str = "a line") -> str:
        return str(self.client.put_object(Bucket=self.name, Key=key, Body=body.encode()).get("VersionId", "null"))

    def hide(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def begin_upload(self, key: str) -> str:
        upload = str(self.client.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"])
        self.client.upload_part(Bucket=self.name, Key=key, UploadId=upload, PartNumber=1, Body=b"half a file")
        return upload

    def predicate(self, clock: ObjectClock = BY_DAY, prefix: str = "nginx/", **changes: Any) -> ObjectPredicate:
        start = datetime(2024, 1, 1, tzinfo=PARIS)
        values = {"cutoff": CUTOFF, "start_of_service": start, "as_of": AS_OF, "zone": "Europe/Paris"} | changes
        return ObjectPredicate(bucket=self.name, prefix=prefix, clock=clock, **values)

    def delete(self, predicate: ObjectPredicate, **options: Any) -> s3.ObjectTotals:
        self.batches: list[s3.ObjectResult] = []
        holds = options.pop("holds", ())
        return s3.delete_due(self.client, predicate, on_batch=self.batches.append, holding=lambda: nullcontext(holds), **options)

    def left(self, prefix: str = "") -> list[tuple[str, str]]:
        return sorted((e.kind.value, e.key) for e in everything(self.client, self.name, prefix))

    def digest(self, prefix: str) -> str:
        """Over the versions and bytes under a prefix: unchanged only if nothing there was touched."""
        text = hashlib.sha256()
        for e in everything(self.client, self.name, prefix):
            body = self.client.get_object(Bucket=self.name, Key=e.key, VersionId=e.id)["Body"].read() if e.kind is Kind.VERSION else b""
            text.update(f"{e.kind} {e.key} {e.id} {e.at}".encode() + body)
        return text.hexdigest()


@pytest.fixture(scope="module")
def keys(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def bucket(ceph: CephGateway, keys: tuple[str, str]) -> Bucket:
    return Bucket(ceph, keys)


@pytest.fixture
def stopped(ceph: CephGateway) -> Iterator[CephGateway]:
    """The gateway of the session, which the test may stop: it is started again afterwards."""
    yield ceph
    ceph.start_gateway()


def test_a_due_day_goes_with_every_version_marker_and_unfinished_upload(bucket: Bucket) -> None:
    for body in ("first", "second", "third"):
        bucket.put("nginx/2025/11/01/access.gz", body)
    bucket.hide("nginx/2025/11/01/access.gz")
    bucket.put("nginx/2025/11/02/accès +%20.gz")
    bucket.begin_upload("nginx/2025/11/02/half.gz")
    bucket.put("nginx/2026/11/02/access.gz")
    bucket.begin_upload("nginx/2026/11/02/half.gz")
    counts = s3.count(bucket.client, bucket.predicate())
    assert (counts.total, counts.due) == (8, 6)
    totals = bucket.delete(bucket.predicate())
    assert (totals.versions, totals.markers, totals.uploads, totals.failed) == (4, 1, 1, 0)
    assert bucket.left() == [("upload", "nginx/2026/11/02/half.gz"), ("version", "nginx/2026/11/02/access.gz")]
    again = bucket.delete(bucket.predicate())
    assert (again.batches, again.deleted) == (0, 0)


def test_the_day_a_year_ago_stays_and_the_day_before_it_goes(bucket: Bucket) -> None:
    bucket.put("nginx/2025/11/23/access.gz")
    bucket.put("nginx/2025/11/24/access.gz")
    assert bucket.delete(bucket.predicate()).deleted == 1
    assert bucket.left() == [("version", "nginx/2025/11/24/access.gz")]


@pytest.mark.parametrize(
    ("as_of", "goes"),
    [("2025-02-28T23:59:00+01:00", []), ("2025-03-01T00:00:00+01:00", ["28", "29"]), ("2025-02-28T23:30:00+00:00", ["28", "29"])],
)
def test_leap_days_go_on_the_first_of_march_paris_time(bucket: Bucket, as_of: str, goes: list[str]) -> None:
    instant = datetime.fromisoformat(as_of)
    for day in ("02/28", "02/29", "03/01"):
        bucket.put(f"nginx/2024/{day}/access.gz")
    bucket.delete(bucket.predicate(as_of=instant, cutoff=cutoff(instant, Period("P12M"), PARIS)))
    stays = {key.split("/")[2] + "/" + key.split("/")[3] for _, key in bucket.left()}
    assert stays == {"02/28", "02/29", "03/01"} - {f"02/{day}" for day in goes}


def test_a_key_that_names_only_a_month_ages_by_its_last_day(bucket: Bucket) -> None:
    clock = ObjectClock(key_date="nginx/%Y-%m.gz")
    bucket.put("nginx/2025-10.gz")
    bucket.put("nginx/2025-11.gz")
    assert bucket.delete(bucket.predicate(clock)).deleted == 1
    assert bucket.left() == [("version", "nginx/2025-11.gz")]


def test_a_day_that_cannot_be_believed_is_quarantined_and_stays(bucket: Bucket) -> None:
    for key in ("nginx/2025/13/01/a", "nginx/2025/02/30/a", "nginx/README", "nginx/0000/00/00/a", "nginx/٢٠٢٥/01/01/a"):
        bucket.put(key)
    bucket.put("nginx/2027/01/01/a")
    bucket.put("nginx/1970/01/01/a")
    bucket.put("nginx/2024/01/01/a")
    counts = s3.count(bucket.client, bucket.predicate())
    assert (counts.quarantined_null, counts.quarantined_future, counts.quarantined_early, counts.due) == (5, 1, 1, 1)
    assert counts.oldest == datetime(2024, 1, 1, tzinfo=PARIS)
    assert bucket.delete(bucket.predicate()).deleted == 1
    assert len(bucket.left()) == 7


def test_neighbouring_prefixes_keep_their_digest(bucket: Bucket) -> None:
    for prefix in ("nginx-old/2025/01/01/", "nginx2/2025/01/01/", "nginx/", "Nginx/2025/01/01/"):
        bucket.put(prefix + "access.gz", prefix)
    bucket.hide("nginx-old/2025/01/01/access.gz")
    bucket.put("nginx/2025/01/01/access.gz")
    before = [bucket.digest(p) for p in ("nginx-old/", "nginx2/", "Nginx/")]
    assert bucket.delete(bucket.predicate(prefix="nginx")).deleted == 1
    assert [bucket.digest(p) for p in ("nginx-old/", "nginx2/", "Nginx/")] == before
    soon = now() + timedelta(hours=1)
    assert bucket.delete(bucket.predicate(BY_UPLOAD, prefix="nginx", cutoff=soon, as_of=soon)).deleted == 1
    assert [bucket.digest(p) for p in ("nginx-old/", "nginx2/", "Nginx/")] == before


def test_by_upload_each_version_has_its_own_age(bucket: Bucket) -> None:
    for body in ("old", "new"):
        bucket.put("nginx/a", body)
    entries = sorted(everything(bucket.client, bucket.name, "nginx/"), key=lambda e: e.at)
    between = entries[1].at
    predicate = bucket.predicate(BY_UPLOAD, cutoff=between, as_of=now())
    assert s3.count(bucket.client, predicate).due == 1
    assert bucket.delete(predicate).versions == 1
    assert [e.id for e in everything(bucket.client, bucket.name, "nginx/")] == [entries[1].id]


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_pages_of_any_size_find_the_same(bucket: Bucket, page_size: int) -> None:
    for day in range(1, 5):
        for body in ("first", "second"):
            bucket.put(f"nginx/2025/01/0{day}/é.gz", body)
        bucket.hide(f"nginx/2025/01/0{day}/é.gz")
        bucket.begin_upload(f"nginx/2025/01/0{day}/half")
    bucket.begin_upload("nginx/2025/01/04/half")
    found = s3.survey(bucket.client, bucket.predicate(), page_size=page_size)
    assert found.kinds == {Kind.VERSION: 8, Kind.MARKER: 4, Kind.UPLOAD: 5}
    assert found.histogram == (("2025-01", 17),)
    totals = bucket.delete(bucket.predicate(), page_size=page_size)
    assert (totals.deleted, totals.xor) == (17, found.xor)
    assert bucket.left() == []


def test_more_than_a_thousand_go_in_batches(bucket: Bucket) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bucket.put, [f"nginx/2025/01/01/{i:04}.gz" for i in range(1010)]))
    intents: list[s3.ObjectBatch] = []
    totals = bucket.delete(bucket.predicate(), on_intent=intents.append)
    assert [b.deleted for b in bucket.batches] == [1000, 10] == [i.entries for i in intents]
    assert totals.deleted == 1010
    assert bucket.left() == []


def test_a_bucket_without_versions_is_emptied_too(ceph: CephGateway, keys: tuple[str, str]) -> None:
    bucket = Bucket(ceph, keys, versioning=False)
    bucket.put("nginx/2025/01/01/a")
    bucket.put("nginx/2026/01/01/a")
    assert bucket.delete(bucket.predicate()).versions == 1
    assert bucket.left() == [("version", "nginx/2026/01/01/a")]


def test_a_hold_on_the_dataset_outranks_expiry(bucket: Bucket) -> None:
    for day in ("2025/01/01", "2025/03/01", "2025/05/01"):
        bucket.put(f"nginx/{day}/a")
    march = HoldScope(id=1, dataset="nginx_logs", since=datetime(2025, 3, 1, tzinfo=PARIS), until=datetime(2025, 3, 31, tzinfo=PARIS))
    others = (HoldScope(id=2, dataset="files"), HoldScope(id=3, tenant="7"), HoldScope(id=4, dataset="files", tenant="7"))
    options: dict[str, Any] = {"dataset": "nginx_logs", "holds": (march, *others)}
    counts = s3.count(bucket.client, bucket.predicate(), **options)
    assert (counts.due, counts.held) == (3, 1)
    assert bucket.delete(bucket.predicate(), **options).deleted == 2
    assert bucket.left() == [("version", "nginx/2025/03/01/a")]
    assert (
        s3.count(bucket.client, bucket.predicate(), dataset="nginx_logs", holds=(HoldScope(id=5, dataset="nginx_logs", tenant="7"),)).held
        == 1
    )


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_locked_version_in_a_200_answer_is_a_failure_and_keeps_its_marker(ceph: CephGateway, keys: tuple[str, str], mode: str) -> None:
    bucket = Bucket(ceph, keys, lock=True)
    version = bucket.put("nginx/2025/01/01/locked")
    until = now() + timedelta(days=1)
    bucket.client.put_object_retention(
        Bucket=bucket.name, Key="nginx/2025/01/01/locked", VersionId=version, Retention={"Mode": mode, "RetainUntilDate": until}
    )
    bucket.hide("nginx/2025/01/01/locked")
    bucket.put("nginx/2025/01/01/free")
    totals = bucket.delete(bucket.predicate())
    assert (totals.deleted, totals.failed) == (1, 2)
    assert totals.errors == {"AccessDenied": 1, "VersionStays": 1}
    assert bucket.left() == [("marker", "nginx/2025/01/01/locked"), ("version", "nginx/2025/01/01/locked")]
    with pytest.raises(ObjectErrors) as refused:
        totals.raise_if_failed()
    assert "locked" not in str(refused.value)


def test_what_a_bucket_policy_refuses_is_counted_as_failed(bucket: Bucket) -> None:
    for day in ("01", "02"):
        bucket.put(f"nginx/2025/01/{day}/a")
    refuse = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
        "Resource": f"arn:aws:s3:::{bucket.name}/nginx/2025/01/01/*",
    }
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [refuse]}))
    totals = bucket.delete(bucket.predicate())
    assert (totals.deleted, totals.failed, totals.errors) == (1, 1, {"AccessDenied": 1})
    assert bucket.left() == [("version", "nginx/2025/01/01/a")]


def test_silence_about_a_key_is_not_a_deletion(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("nginx/2025/01/01/a")
    monkeypatch.setattr(bucket.client, "delete_objects", lambda **_: {"Deleted": []})
    totals = bucket.delete(bucket.predicate())
    assert (totals.deleted, totals.errors) == (0, {"Unanswered": 1})


def test_an_error_that_passes_is_asked_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("01", "02"):
        bucket.put(f"nginx/2025/01/{day}/a")
    real, asked = bucket.client.delete_objects, []

    def busy_once(**arguments: Any) -> Any:
        objects = arguments["Delete"]["Objects"]
        asked.append(len(objects))
        if len(asked) > 1:
            return real(**arguments)
        answer = real(Bucket=arguments["Bucket"], Delete={"Objects": objects[1:]})
        return answer | {"Errors": [objects[0] | {"Code": "SlowDown"}]}

    monkeypatch.setattr(bucket.client, "delete_objects", busy_once)
    totals = bucket.delete(bucket.predicate())
    assert (totals.deleted, totals.failed, asked) == (2, 0, [2, 1])


def test_a_wrong_secret_is_refused(bucket: Bucket) -> None:
    wrong = s3.client(bucket.connection(secret="not-the-secret"))
    with pytest.raises(Unreachable, match="refuses our credentials"):
        s3.count(wrong, bucket.predicate())
    with pytest.raises(Unreachable, match="refuses our credentials"):
        s3.describe(wrong, bucket.name)
    assert "not-the-secret" not in repr(bucket.connection(secret="not-the-secret"))


def test_a_bucket_that_is_not_there_or_not_ours_is_uncountable_not_empty(ceph: CephGateway, bucket: Bucket) -> None:
    with pytest.raises(Uncountable, match="does not exist"):
        s3.count(bucket.client, bucket.predicate().model_copy(update={"bucket": "no-such-bucket"}))
    with pytest.raises(Uncountable, match="does not exist"):
        s3.describe(bucket.client, "no-such-bucket")
    stranger = Bucket(ceph, ceph.new_user())
    with pytest.raises(Uncountable, match="no right"):
        s3.count(stranger.client, bucket.predicate())


def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(Unreachable, match="without TLS"):
        s3.client(Connection(id="spotrak_s3", kind="aws", extra={"endpoint_url": "http://objects.example.com"}))


def test_a_key_without_its_secret_is_refused_by_name() -> None:
    with pytest.raises(Unreachable, match="'spotrak_s3' has one of login and password"):
        s3.client(Connection(id="spotrak_s3", kind="aws", login="k", extra={"endpoint_url": "http://127.0.0.1:1"}))


def test_a_clock_that_names_no_day_is_refused(bucket: Bucket) -> None:
    bucket.put("nginx/2025/01/01/a")
    for text in ("nginx/%d/", "nginx/%Y/%j/", "nginx/%Y/%Y/", "nginx/"):
        with pytest.raises(InvalidFile):
            s3.count(bucket.client, bucket.predicate(ObjectClock(key_date=text)))


def test_a_store_that_stops_mid_run_is_unreachable_and_a_second_run_ends_the_work(
    stopped: CephGateway, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lethe.stores.s3.delete.LIMIT", 10)
    for i in range(13):
        bucket.put(f"nginx/2025/01/01/{i:04}")
    intents: list[s3.ObjectBatch] = []
    done: list[s3.ObjectResult] = []

    def stop_after(result: s3.ObjectResult) -> None:
        done.append(result)
        stopped.stop_gateway()

    with pytest.raises(Unreachable, match="does not answer"):
        s3.delete_due(bucket.client, bucket.predicate(), on_intent=intents.append, on_batch=stop_after)
    stopped.start_gateway()
    assert [d.deleted for d in done] == [10]
    assert [s3.remaining(bucket.client, bucket.name, "nginx/", i.keys) for i in intents] == [0, 3]
    assert bucket.delete(bucket.predicate()).deleted == 3
    assert bucket.left() == []


def test_the_posture_of_a_bucket_is_read(ceph: CephGateway, keys: tuple[str, str], bucket: Bucket) -> None:
    bucket.client.put_bucket_lifecycle_configuration(
        Bucket=bucket.name,
        LifecycleConfiguration={
            "Rules": [{"ID": "logs", "Filter": {"Prefix": "nginx/"}, "Status": "Enabled", "Expiration": {"Days": 365}}]
        },
    )
    posture = s3.describe(bucket.client, bucket.name)
    assert posture.versioning.state == "on"
    assert posture.object_lock.state == posture.encryption.state == "off"
    assert posture.lifecycle is not None
    assert [(r.prefix, r.expires_after, r.old_versions_after) for r in posture.lifecycle] == [("nginx/", 365, None)]
    locked = s3.describe(bucket.client, Bucket(ceph, keys, lock=True).name)
    assert locked.object_lock.state == "on"
    assert locked.unknown == ()


def test_a_posture_that_may_not_be_read_is_unknown(ceph: CephGateway, bucket: Bucket) -> None:
    posture = s3.describe(s3.client(Bucket(ceph, ceph.new_user()).connection()), bucket.name)
    assert posture.versioning.state == posture.object_lock.state == posture.encryption.state == "unknown"
    assert posture.unknown == ("versioning", "encryption", "object lock", "lifecycle")
