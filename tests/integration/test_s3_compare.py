"""What an edit of the policy would do to objects: one listing, judged by both versions."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.objects import ObjectServer
from lethe.catalog.model import ObjectClock
from lethe.connections import Connection
from lethe.plan.model import ObjectPredicate
from lethe.stores import s3
from lethe.stores.s3.listing import Entry, Kind

AS_OF = datetime(2026, 11, 23, 1, tzinfo=UTC)
DAYS = ("2018/01/01", "2025/01/31", "2025/02/01", "2025/03/01", "2025/04/01", "2027/01/01")


def predicate(bucket: str, cutoff: str, prefix: str = "nginx/", key_date: str = "nginx/%Y/%m/%d/") -> ObjectPredicate:
    return ObjectPredicate(
        bucket=bucket,
        prefix=prefix,
        clock=ObjectClock(key_date=key_date),
        cutoff=datetime.fromisoformat(f"{cutoff}T00:00:00+00:00"),
        start_of_service=datetime(2019, 1, 1, tzinfo=UTC),
        as_of=AS_OF,
        zone="UTC",
    )


@pytest.fixture
def bucket(moto: ObjectServer) -> tuple[Any, str]:
    extra = {"endpoint_url": moto.endpoint, "region_name": "us-east-1"}
    client = s3.client(Connection(id="x", kind="aws", login="k", password="s", extra=extra))
    name = f"diff-{uuid.uuid4().hex[:10]}"
    client.create_bucket(Bucket=name)
    for day in DAYS:
        client.put_object(Bucket=name, Key=f"nginx/{day}/a.gz", Body=b"1")
    client.create_multipart_upload(Bucket=name, Key="nginx/2025/03/01/half.gz")
    return client, name


def numbers(found: s3.Difference) -> tuple[int, ...]:
    return (found.before, found.after, found.more, found.fewer)


def test_a_later_cutoff_takes_more_and_the_oldest_of_those_is_told(bucket: tuple[Any, str]) -> None:
    client, name = bucket
    early, late = predicate(name, "2025-02-01"), predicate(name, "2025-03-02")
    found = s3.difference(client, [early], [late])
    assert numbers(found) == (1, 4, 3, 0)
    assert found.oldest == datetime(2025, 2, 1, tzinfo=UTC), "the oldest of what is newly due, not of what was due or is kept"
    back = s3.difference(client, [late], [early])
    assert (numbers(back), back.oldest) == ((4, 1, 0, 3), None)
    assert numbers(s3.difference(client, [], [early])) == (0, 1, 1, 0)
    assert numbers(s3.difference(client, [early], [])) == (1, 0, 0, 1)
    assert numbers(s3.difference(client, [], [])) == (0, 0, 0, 0)


def test_an_entry_that_two_rules_take_is_counted_once(bucket: tuple[Any, str]) -> None:
    client, name = bucket
    early, late = predicate(name, "2025-02-01"), predicate(name, "2025-03-02")
    assert numbers(s3.difference(client, [early, late], [late])) == (4, 4, 0, 0)
    assert numbers(s3.difference(client, [early], [early, late])) == (1, 4, 3, 0)
    assert numbers(s3.difference(client, [early], [predicate(name, "2025-03-02", prefix="nginx")])) == (1, 4, 3, 0), "the same folder"


def test_memory_does_not_grow_with_the_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def many(*_: Any, **__: Any) -> Iterator[Entry]:
        day = datetime(2025, 1, 1, tzinfo=UTC)
        for n in range(20_000):
            at = day + timedelta(days=n % 90)
            yield Entry(kind=Kind.VERSION, key=f"nginx/{at:%Y/%m/%d}/{n}.gz", id=str(n), at=at)

    monkeypatch.setattr("lethe.stores.s3.compare.everything", many)
    tracemalloc.start()
    found = s3.difference(None, [predicate("b", "2025-02-01")], [predicate("b", "2025-03-01")])  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.after - found.before, found.fewer) == (found.more, 0)
    assert found.more > 6_000
    assert peak < 200_000, "the digests alone of what is due would take more"
