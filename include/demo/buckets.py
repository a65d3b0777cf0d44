"""Spotrak's buckets: web server logs by day, with old versions, delete markers and unfinished uploads; and tenants' files.

Through boto3 alone, so moto's server and a Ceph gateway are filled alike. A few hundred objects, a few seconds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from botocore.exceptions import ClientError

from demo.calendar import first_kept, paris_date
from demo.garden import CANARY, Expect
from demo.rows.business import content
from demo.rows.logs import since
from lethe.connections import Connection
from lethe.stores.s3.client import client as s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOGS, FILES, LETHE, ARCHIVE = "spotrak-logs", "spotrak-files", "lethe", "lethe-archive"
REQUESTS = ("lethe-bundles", "lethe-proofs", "lethe-intake", "lethe-lists")
"""What persons' requests bring and get, and what is internal of lists of processors."""

PERIOD = "P12M"
"""The policy's period for technical logs, wherever they lie."""

_THREADS = 8
_LINES = 25
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Safari/604.1", "curl/8.14.1")
_PATHS = ("/", "/agenda", "/clients/{}", "/factures/{}/pdf", "/api/v2/appointments/{}")


@dataclass(frozen=True, kw_only=True)
class LogObject:
    """What lies under one key of `spotrak-logs`."""

    key: str
    day: date | None
    expect: Expect
    versions: int = 1
    deleted: bool = False  # a delete marker is the newest of it
    unfinished: bool = False  # an upload that was never completed
    why: str = "a day's log"

    @property
    def entries(self) -> int:
        """Versions, delete markers and unfinished uploads under the key."""
        return self.versions + self.deleted + self.unfinished


def log_objects(as_of: datetime) -> tuple[LogObject, ...]:
    """What the bucket of logs holds for that `as_of`, oldest first, and what a nightly run does with it. Pure."""
    kept, today = paris_date(first_kept(as_of, PERIOD)), paris_date(as_of)
    first = paris_date(since(as_of))
    extras = {
        kept - timedelta(days=1): {
            "versions": 3,
            "deleted": True,
            "unfinished": True,
            "why": "the last due day: old versions, a marker, an upload",
        },
        kept: {"versions": 3, "deleted": True, "unfinished": True, "why": "the first kept day: old versions, a marker, an upload"},
        kept - timedelta(days=20): {"versions": 0, "unfinished": True, "why": "a due day that holds an unfinished upload only"},
    }
    found = []
    for i in range((today - first).days + 1):
        day = first + timedelta(days=i)
        extra: dict[str, Any] = extras.get(day, {})
        if not extra and i % 17 == 3:
            extra = {"versions": 2, "why": "written twice"}
        elif not extra and i % 29 == 5:
            extra = {"deleted": True, "why": "deleted by hand: a marker over a version"}
        expect = Expect.DUE if day < kept else Expect.KEPT
        found.append(LogObject(key=f"nginx/{day:%Y/%m/%d}/web-01.jsonl.gz", day=day, expect=expect, **extra))
    leftover = LogObject(key="nginx/current.jsonl.gz", day=None, expect=Expect.QUARANTINED, why="no day in its key")
    return (*found, leftover)


def client(connection: Connection) -> S3Client:
    """An S3 client for that connection; a store behind an endpoint of its own is spoken to in the region that all of them know."""
    own = connection.extra.get("endpoint_url")
    return s3_client(replace(connection, extra={**connection.extra, "region_name": "us-east-1"}) if own else connection)


def fill(
    s3: S3Client,
    *,
    as_of: datetime,
    seed: int = 1,
    files: Iterable[str] = (),
    canary: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Empties `spotrak-logs` and `spotrak-files`, fills them anew, and returns how many keys were written.

    `files` are the object keys of app.attachments. `progress` is told (done, all). Raises botocore's errors: the store
    refused or did not answer, and what is there then is part of a load; run it again.
    """
    for bucket in (LOGS, FILES):
        ensure_bucket(s3, bucket, versioned=bucket == LOGS)
        empty(s3, bucket)
    logs, keys = log_objects(as_of), list(files)
    work: list[Callable[[], None]] = [lambda o=o, i=i: _put_log(s3, o, seed=seed + i, canary=canary) for i, o in enumerate(logs)]  # type: ignore[misc]
    work += [lambda k=k: _put_file(s3, k) for k in keys]  # type: ignore[misc]
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, _ in enumerate(pool.map(lambda put: put(), work), start=1):
            if progress:
                progress(done, len(work))
    return len(work)


def ensure_bucket(s3: S3Client, bucket: str, *, versioned: bool, lock: bool = False) -> None:
    """Creates the bucket when it is missing. `lock` allows object lock, which a store gives only to a new bucket."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        region = s3.meta.region_name
        where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock, **where)
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def ensure_lethe(s3: S3Client) -> None:
    """Creates Lethe's own bucket when it is missing, versioned and with object lock allowed; what is in it stays."""
    ensure_bucket(s3, LETHE, versioned=True, lock=True)


def ensure_archive(s3: S3Client, bucket: str = ARCHIVE) -> None:
    """Creates the archive's bucket when it is missing, versioned and with object lock allowed, without a default retention."""
    ensure_bucket(s3, bucket, versioned=True, lock=True)


def ensure_requests(s3: S3Client) -> None:
    """Creates the buckets of requests where they are missing, versioned."""
    for bucket in REQUESTS:
        ensure_bucket(s3, bucket, versioned=True)


def empty(s3: S3Client, bucket: str) -> None:
    """Deletes every version, delete marker and unfinished upload; RuntimeError when the store refuses one."""
    for upload in list(_pages(s3, "list_multipart_uploads", bucket, "Uploads")):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    found = [
        {"Key": row["Key"], "VersionId": row["VersionId"]}
        for kind in ("Versions", "DeleteMarkers")
        for row in _pages(s3, "list_object_versions", bucket, kind)
    ]
    for start in range(0, len(found), 1000):
        objects: Any = found[start : start + 1000]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if answer.get("Errors"):
            raise RuntimeError(f"bucket {bucket} could not be emptied: {answer['Errors'][0].get('Code', 'unknown')}")


def _pages(s3: S3Client, call: Any, bucket: str, field: str) -> Iterator[Any]:
    for page in s3.get_paginator(call).paginate(Bucket=bucket):
        yield from page.get(field, [])


def _put_log(s3: S3Client, log: LogObject, *, seed: int, canary: bool) -> None:
    for version in range(log.versions):
        body = _lines(log, seed=seed * 10 + version, canary=canary)
        s3.put_object(Bucket=LOGS, Key=log.key, Body=body, ContentType="application/x-ndjson", ContentEncoding="gzip")
    if log.deleted:
        s3.delete_object(Bucket=LOGS, Key=log.key)
    if log.unfinished:
        upload = s3.create_multipart_upload(Bucket=LOGS, Key=log.key)
        s3.upload_part(Bucket=LOGS, Key=log.key, UploadId=upload["UploadId"], PartNumber=1, Body=_lines(log, seed=seed, canary=canary))


def _put_file(s3: S3Client, key: str) -> None:
    s3.put_object(Bucket=FILES, Key=key, Body=content(key), ContentType="application/pdf")


def _lines(log: LogObject, *, seed: int, canary: bool) -> bytes:
    """A day's log: gzip of one JSON object a line, the same bytes for the same seed."""
    rng = np.random.default_rng([seed, 3])
    seconds = np.sort(rng.integers(0, 86_400, _LINES))
    lines = []
    for second in seconds.tolist():
        agent, path, status, size = (int(v) for v in rng.integers((0, 0, 0, 200), (len(_AGENTS), len(_PATHS), 20, 60_000)))
        lines.append(
            {
                "time": f"{log.day or 'undated'}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}",
                "ip": f"203.0.113.{rng.integers(1, 255)}",
                "method": "GET",
                "path": _PATHS[path].format(int(rng.integers(1, 90_000))),
                "status": 500 if status == 0 else 200,
                "bytes": size,
                "agent": _AGENTS[agent],
            }
        )
    if canary:
        lines.append({"path": f"/connexion?email={CANARY}"})
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return gzip.compress(text.encode(), mtime=0)
