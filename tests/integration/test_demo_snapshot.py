"""What the demo's object store holds comes back as it was when its server starts again: an archive's manifests must stay true."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from demo import snapshot
from demo.buckets import ARCHIVE, ensure_archive
from demo.objects import ObjectServer
from demo.postgres import free_port

UNTIL = datetime(2036, 1, 1, tzinfo=UTC)


def client(server: ObjectServer) -> Any:
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")


def test_an_archive_object_keeps_its_version_its_encryption_and_its_lock(tmp_path: Path) -> None:
    server = ObjectServer(folder=tmp_path / "objects", port=free_port())
    server.start()
    try:
        s3 = client(server)
        ensure_archive(s3)
        first, second = (
            s3.put_object(Bucket=ARCHIVE, Key="a", Body=body, ServerSideEncryption="aws:kms")["VersionId"] for body in (b"1", b"2")
        )
        s3.put_object_retention(Bucket=ARCHIVE, Key="a", VersionId=first, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL})
        snapshot.keep(s3, tmp_path / "kept")
        server.stop()
        server.start()
        s3 = client(server)
        assert snapshot.restore(s3, tmp_path / "kept")
        ensure_archive(s3)
        got = s3.get_object(Bucket=ARCHIVE, Key="a", VersionId=first)
        assert (got["Body"].read(), got["ServerSideEncryption"], got["ObjectLockRetainUntilDate"]) == (b"1", "aws:kms", UNTIL)
        assert s3.get_object(Bucket=ARCHIVE, Key="a")["VersionId"] == second
        assert s3.get_object_lock_configuration(Bucket=ARCHIVE)["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"
    finally:
        server.stop()
