"""moto's server, which the demo runs on: it starts, serves the same code, and ends without leaving a process."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.objects import ObjectServer
from demo.postgres import free_port
from lethe.catalog.model import ObjectClock
from lethe.connections import Connection
from lethe.plan.model import ObjectPredicate
from lethe.stores import s3


def _client(server: ObjectServer) -> Any:
    return s3.client(Connection(id="spotrak_s3", kind="aws", login="demo", password="demo", extra={"endpoint_url": server.endpoint}))


def test_the_demo_store_is_purged_by_the_same_code(moto: ObjectServer) -> None:
    client = _client(moto)
    client.create_bucket(Bucket="same-code-logs")
    client.put_bucket_versioning(Bucket="same-code-logs", VersioningConfiguration={"Status": "Enabled"})
    for key in ("nginx/2025/11/23/a.gz", "nginx/2025/11/23/a.gz", "nginx/2025/11/24/a.gz"):
        client.put_object(Bucket="same-code-logs", Key=key, Body=b"a line")
    client.delete_object(Bucket="same-code-logs", Key="nginx/2025/11/23/a.gz")
    client.create_multipart_upload(Bucket="same-code-logs", Key="nginx/2025/11/23/half.gz")
    predicate = ObjectPredicate(
        bucket="same-code-logs",
        prefix="nginx/",
        clock=ObjectClock(key_date="nginx/%Y/%m/%d/"),
        cutoff=datetime(2025, 11, 23, 23, tzinfo=UTC),
        start_of_service=datetime(2024, 1, 1, tzinfo=UTC),
        as_of=datetime(2026, 11, 24, 1, tzinfo=UTC),
        zone="Europe/Paris",
    )
    found = s3.survey(client, predicate)
    assert (found.counts.total, found.counts.due) == (5, 4)
    totals = s3.delete_due(client, predicate, on_batch=lambda _: None)
    assert (totals.versions, totals.markers, totals.uploads, totals.failed, totals.xor) == (2, 1, 1, 0, found.xor)
    assert s3.count(client, predicate).total == 1


def test_starting_twice_and_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server = ObjectServer(folder=tmp_path, port=free_port())
    server.start()
    pid = (tmp_path / "moto.pid").read_text()
    server.start()
    assert (tmp_path / "moto.pid").read_text() == pid
    server.stop()
    assert not server.running()
    assert not Path(f"/proc/{pid.split()[0]}").exists()
    server.stop()


def test_a_pid_that_is_not_ours_any_more_is_left_alone(tmp_path: Path) -> None:
    server = ObjectServer(folder=tmp_path, port=free_port())
    (tmp_path / "moto.pid").write_text("1 0")
    server.stop()
    assert not (tmp_path / "moto.pid").exists()
