"""Keeps what is in the demo's object store while its server does not run: moto holds everything in memory.

Versions with their ids, encryption and locks, delete markers, metadata and unfinished uploads come back in their order. Modification times
and the markers' ids are new, which nothing in the demo looks at; the parts of an unfinished upload cannot be read back, and return as zeros.
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from demo.objects import VERSION_HEADER

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HEADERS = ("ContentType", "ContentEncoding", "Metadata", "ServerSideEncryption", "SSEKMSKeyId")


def keep(client: S3Client, folder: Path) -> int:
    """Writes every bucket to `folder`, whole or not at all; how many entries it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = 0
    new = folder / ".snapshot.new"
    with new.open("w") as file:
        for bucket in (b["Name"] for b in client.list_buckets()["Buckets"]):
            versioned = client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
            file.write(json.dumps({"bucket": bucket, "versioned": versioned, "lock": _lockable(client, bucket)}) + "\n")
            for entry in chain(_versions(client, bucket), _uploads(client, bucket)):
                file.write(json.dumps(entry) + "\n")
                entries += 1
    new.chmod(0o600)
    new.replace(folder / "snapshot.jsonl")
    return entries


def restore(client: S3Client, folder: Path) -> bool:
    """Puts back what `keep` wrote; False when it never did. The store is expected to be new, and empty."""
    file = folder / "snapshot.jsonl"
    if not file.exists():
        return False
    with file.open() as lines:
        for line in lines:
            _put_back(client, json.loads(line))
    return True


def _put_back(client: S3Client, entry: dict[str, Any]) -> None:
    place = {"Bucket": entry["bucket"], "Key": entry.get("key", "")}
    if "versioned" in entry:
        client.create_bucket(Bucket=entry["bucket"], ObjectLockEnabledForBucket=entry.get("lock", False))
        if entry["versioned"]:
            client.put_bucket_versioning(Bucket=entry["bucket"], VersioningConfiguration={"Status": "Enabled"})
    elif "parts" in entry:
        upload = client.create_multipart_upload(**place)["UploadId"]
        for number, size in entry["parts"]:
            client.upload_part(**place, UploadId=upload, PartNumber=number, Body=bytes(size))
    elif entry["marker"]:
        client.delete_object(**place)
    else:
        _put(client, place, entry)


def _put(client: S3Client, place: dict[str, Any], entry: dict[str, Any]) -> None:
    """Puts a version under the id that it had: what is written elsewhere about it must stay true."""
    version = entry.get("version")
    events = client.meta.events
    if version is not None:
        events.register("before-call.s3.PutObject", lambda params, **_: params["headers"].update({VERSION_HEADER: version}), "demo-version")
    try:
        client.put_object(**place, Body=bytes.fromhex(entry["body"]), **entry["headers"])
    finally:
        events.unregister("before-call.s3.PutObject", unique_id="demo-version")
    if entry.get("locked_until"):
        retention: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.fromisoformat(entry["locked_until"])}
        client.put_object_retention(**place, VersionId=version or "null", Retention=retention)


def _lockable(client: S3Client, bucket: str) -> bool:
    try:
        return client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled"
    except ClientError:
        return False


def _versions(client: S3Client, bucket: str) -> list[dict[str, Any]]:
    """Oldest first, as they were made. moto lists them newest first and to the second, so the latest of a key is put last."""
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found += [{"marker": False, **v} for v in reversed(page.get("Versions", []))]
        found += [{"marker": True, **m} for m in reversed(page.get("DeleteMarkers", []))]
    return [_content(client, bucket, entry) for entry in sorted(found, key=lambda e: (e["LastModified"], e["IsLatest"]))]


def _content(client: S3Client, bucket: str, entry: dict[str, Any]) -> dict[str, Any]:
    kept = {"bucket": bucket, "key": entry["Key"], "marker": entry["marker"]}
    if entry["marker"]:
        return kept
    version = {} if entry["VersionId"] == "null" else {"VersionId": entry["VersionId"]}
    answer: Any = client.get_object(Bucket=bucket, Key=entry["Key"], **version)
    headers = {name: answer[name] for name in _HEADERS if name in answer}
    until = answer.get("ObjectLockRetainUntilDate")
    locked = {} if until is None else {"locked_until": until.isoformat()}
    return kept | locked | {"version": version.get("VersionId"), "body": answer["Body"].read().hex(), "headers": headers}


def _uploads(client: S3Client, bucket: str) -> list[dict[str, Any]]:
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [{"bucket": bucket, "key": u["Key"], "parts": _parts(client, bucket, u["Key"], u["UploadId"])} for u in uploads]


def _parts(client: S3Client, bucket: str, key: str, upload: str) -> list[tuple[int, int]]:
    parts = client.list_parts(Bucket=bucket, Key=key, UploadId=upload).get("Parts", [])
    return [(p["PartNumber"], p["Size"]) for p in parts]
