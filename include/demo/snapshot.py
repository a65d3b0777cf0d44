"""Keeps what is in the demo's object store while its server does not run: moto holds everything in memory.

Versions, delete markers, metadata and unfinished uploads come back in their order. Their version ids and modification times
are new, which nothing in the demo looks at; the parts of an unfinished upload cannot be read back, and return as zeros.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keep(client: S3Client, folder: Path) -> int:
    """Writes every bucket to `folder`, whole or not at all; how many entries it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = 0
    new = folder / ".snapshot.new"
    with new.open("w") as file:
        for bucket in (b["Name"] for b in client.list_buckets()["Buckets"]):
            versioned = client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
            file.write(json.dumps({"bucket": bucket, "versioned": versioned}) + "\n")
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
        client.create_bucket(Bucket=entry["bucket"])
        if entry["versioned"]:
            client.put_bucket_versioning(Bucket=entry["bucket"], VersioningConfiguration={"Status": "Enabled"})
    elif "parts" in entry:
        upload = client.create_multipart_upload(**place)["UploadId"]
        for number, size in entry["parts"]:
            client.upload_part(**place, UploadId=upload, PartNumber=number, Body=bytes(size))
    elif entry["marker"]:
        client.delete_object(**place)
    else:
        client.put_object(**place, Body=bytes.fromhex(entry["body"]), **entry["headers"])


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
    answer = client.get_object(Bucket=bucket, Key=entry["Key"], **version)
    headers = {name: answer[name] for name in ("ContentType", "ContentEncoding", "Metadata") if name in answer}
    return kept | {"body": answer["Body"].read().hex(), "headers": headers}


def _uploads(client: S3Client, bucket: str) -> list[dict[str, Any]]:
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [{"bucket": bucket, "key": u["Key"], "parts": _parts(client, bucket, u["Key"], u["UploadId"])} for u in uploads]


def _parts(client: S3Client, bucket: str, key: str, upload: str) -> list[tuple[int, int]]:
    parts = client.list_parts(Bucket=bucket, Key=key, UploadId=upload).get("Parts", [])
    return [(p["PartNumber"], p["Size"]) for p in parts]
