"""Deleting exactly the objects of given keys: every version, delete marker and unfinished upload of each, and of no other key."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

from lethe.stores.s3.client import answering
from lethe.stores.s3.delete import Asking, ObjectResult, delete_entries
from lethe.stores.s3.listing import Entry, Kind

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LONGEST = 1024
"""Bytes that a key may have: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

THREADS = 8
_PAGE = 100  # entries: a key has few, and keys that only begin with it are read in vain


def entries_of(client: S3Client, bucket: str, keys: Collection[str], *, threads: int = THREADS, page_size: int = _PAGE) -> list[Entry]:
    """Everything that is there of these keys. A text that can be no key (empty, or too long) has nothing.

    A request for each key, `threads` at a time, and one or a few for the unfinished uploads. Raises Unreachable or Uncountable.
    """
    asked = [k for k in dict.fromkeys(keys) if 0 < len(k.encode()) <= LONGEST]
    if not asked:
        return []
    with answering(bucket), ThreadPoolExecutor(threads, thread_name_prefix="files") as pool:
        works = [pool.submit(_versions, client, bucket, key, page_size) for key in asked]
        try:
            found = [entry for work in works for entry in work.result()]
        except BaseException:
            for work in works:
                work.cancel()
            raise
        return [*found, *_uploads(client, bucket, frozenset(asked))]


def delete_named(client: S3Client, bucket: str, entries: Collection[Entry], *, asking: Asking = nullcontext) -> ObjectResult:
    """Deletes these entries, of one key the versions first and its markers after them; `asking` is entered around each request.

    What the store refuses inside a 200 answer is counted as `failed`, by code. Raises Unreachable when it does not answer.
    """
    with answering(bucket):
        return delete_entries(client, bucket, 1, list(entries), {}, asking)


def _versions(client: S3Client, bucket: str, key: str, page_size: int) -> list[Entry]:
    """S3 lists in the order of the keys' bytes, so the key itself comes before every longer one."""
    found = []
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key, PaginationConfig={"PageSize": page_size})
    for page in pages:
        rows = [(Kind.VERSION, r) for r in page.get("Versions", [])] + [(Kind.MARKER, r) for r in page.get("DeleteMarkers", [])]
        found += [Entry(kind=kind, key=key, id=r.get("VersionId") or "null", at=r["LastModified"]) for kind, r in rows if r["Key"] == key]
        if any(r["Key"] != key for _, r in rows):
            break
    return found


def _uploads(client: S3Client, bucket: str, keys: frozenset[str]) -> Iterator[Entry]:
    """Few are ever unfinished, so they are listed once for all keys, by what the keys begin with."""
    low, high = min(keys), max(keys)
    common = low[: next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]
    last = max(k.encode() for k in keys)
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=common):
        uploads = page.get("Uploads", [])
        yield from (Entry(kind=Kind.UPLOAD, key=u["Key"], id=u["UploadId"], at=u["Initiated"]) for u in uploads if u["Key"] in keys)
        if any(u["Key"].encode() > last for u in uploads):
            break
