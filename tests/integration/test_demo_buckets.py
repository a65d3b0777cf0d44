"""The demo's buckets, on moto's server and on a Ceph gateway, and the loader's command."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from demo import buckets, load
from demo.buckets import FILES, LETHE, LOGS, log_objects
from demo.ceph import CephGateway
from demo.garden import CANARY, Expect
from demo.objects import ObjectServer
from lethe.connections import Connection

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)


@pytest.fixture(params=["moto", "ceph"])
def s3(request: pytest.FixtureRequest) -> Any:
    """A client of an empty account's store."""
    if request.param == "moto":
        server: ObjectServer = request.getfixturevalue("moto")
        return buckets.client(load.object_store(server.endpoint))
    gateway: CephGateway = request.getfixturevalue("ceph")
    access, secret = gateway.new_user()
    return buckets.client(Connection(id="spotrak_s3", kind="aws", login=access, password=secret, extra={"endpoint_url": gateway.endpoint}))


def entries(s3: Any, bucket: str) -> Counter[str]:
    """How many versions, delete markers and unfinished uploads each key has."""
    found: Counter[str] = Counter()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found.update(row["Key"] for kind in ("Versions", "DeleteMarkers") for row in page.get(kind, []))
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        found.update(row["Key"] for row in page.get("Uploads", []))
    return found


def test_a_bucket_holds_what_the_manifest_says_and_filling_again_changes_nothing(s3: Any) -> None:
    wanted = Counter({o.key: o.entries for o in log_objects(AS_OF)})
    for _ in range(2):
        buckets.fill(s3, as_of=AS_OF, files=["attachments/1/00000001"], canary=True)
        assert entries(s3, LOGS) == wanted
        assert entries(s3, FILES) == {"attachments/1/00000001": 1}
    assert s3.get_bucket_versioning(Bucket=LOGS)["Status"] == "Enabled"
    last = next(o for o in log_objects(AS_OF) if not o.deleted and o.versions and o.expect is Expect.DUE)
    lines = [json.loads(line) for line in gzip.decompress(s3.get_object(Bucket=LOGS, Key=last.key)["Body"].read()).splitlines()]
    assert len(lines) == 26
    assert CANARY in lines[-1]["path"]
    buckets.empty(s3, LOGS)
    assert entries(s3, LOGS) == {}
    buckets.empty(s3, FILES)


def test_lethes_own_bucket_is_made_once_and_never_emptied(s3: Any) -> None:
    buckets.ensure_lethe(s3)
    s3.put_object(Bucket=LETHE, Key="heads/1.json", Body=b"{}")
    buckets.ensure_lethe(s3)
    assert entries(s3, LETHE) == {"heads/1.json": 1}
    assert s3.get_bucket_versioning(Bucket=LETHE)["Status"] == "Enabled"
    buckets.empty(s3, LETHE)
    s3.delete_bucket(Bucket=LETHE)


def test_the_boundary_days_have_old_versions_markers_and_uploads() -> None:
    by_day = {str(o.day): o for o in log_objects(AS_OF)}
    assert by_day["2025-11-23"].expect is Expect.DUE
    assert by_day["2025-11-24"].expect is Expect.KEPT
    assert by_day["2025-11-23"].entries == by_day["2025-11-24"].entries == 5
    due = [o for o in by_day.values() if o.expect is Expect.DUE]
    assert 0.15 < len(due) / len(by_day) < 0.25


def test_the_command_loads_database_and_buckets_and_every_file_of_a_row_is_there(moto: ObjectServer, database: str) -> None:
    runner = CliRunner()
    at = "2025-03-01T02:00:00+01:00"
    environment = {
        "AIRFLOW_CONN_SPOTRAK_S3": f"aws://demo:demo@/?endpoint_url={moto.endpoint}",
        "AIRFLOW_CONN_SPOTRAK_DB": "postgresql://lethe_purger:secret@127.0.0.1/x",
    }
    result = runner.invoke(load.app, ["--database", database, "--scale", "0.001", "--as-of", at], env=environment)
    assert result.exit_code == 0, result.output
    assert "technical_logs" in result.output
    s3 = buckets.client(load.object_store(moto.endpoint))
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT object_key, size_bytes, sha256 FROM app.attachments").fetchall()
    assert set(entries(s3, FILES)) == {key for key, _, _ in rows}
    key, size, _ = rows[0]
    assert len(s3.get_object(Bucket=FILES, Key=key)["Body"].read()) == size


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--as-of", "2026-11-24T01:00:00"], "time zone"),
        (["--as-of", "2999-01-01T00:00:00Z"], "future"),
        ([], "does not answer"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(load.app, ["--database", "postgresql://postgres@127.0.0.1:1/spotrak", *arguments])
    assert result.exit_code == 1
    assert says in result.output


def test_passwords_are_read_from_the_connections() -> None:
    found = load.passwords_of(
        {
            "AIRFLOW_CONN_SPOTRAK_DB": "postgresql://lethe_purger:s%40cret@127.0.0.1:5432/spotrak",
            "AIRFLOW_CONN_SPOTRAK_DB_CHECK": json.dumps({"conn_type": "postgres", "login": "lethe_checker", "password": "x"}),
        }
    )
    assert found == {"lethe_purger": "s@cret", "lethe_checker": "x"}
