"""What lies under a prefix, to its last page: versions, delete markers, unfinished uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from lethe.stores.s3.client import answering

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Kind(StrEnum):
    """The three things a key can leave behind."""

    VERSION = "version"
    MARKER = "marker"
    UPLOAD = "upload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One version, delete marker or unfinished upload. `id` is its version id or upload id; `at` when it was made."""

    kind: Kind
    key: str
    id: str
    at: datetime

    @property
    def key64(self) -> int:
        """A signed 64-bit digest of it: what is written down instead of its key."""
        text = f"{self.kind}\0{self.key}\0{self.id}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def folder(prefix: str) -> str:
    """`prefix` as a folder: `nginx` would list `nginx-old/` too, which is another dataset."""
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


def by_key(client: S3Client, bucket: str, prefix: str, *, page_size: int = 1000) -> Iterator[list[Entry]]:
    """Every version and delete marker under `prefix`, all those of one key together, in the order of the keys.

    Memory: one page and the versions of one key. A key's entries are handed out only after the page behind them was
    read, so deleting them cannot lose the listing its place. Raises Unreachable or Uncountable.
    """
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=folder(prefix), PaginationConfig={"PageSize": page_size}
    )
    waiting: dict[str, list[Entry]] = {}
    with answering(bucket):
        for page in pages:
            for kind, rows in ((Kind.VERSION, page.get("Versions", [])), (Kind.MARKER, page.get("DeleteMarkers", []))):
                for row in rows:
                    waiting.setdefault(row["Key"], []).append(
                        Entry(kind=kind, key=row["Key"], id=row.get("VersionId") or "null", at=row["LastModified"])
                    )
            last = max(waiting, key=str.encode, default=None)  # S3 lists in the order of the UTF-8 bytes
            for key in sorted(waiting, key=str.encode):
                if key != last:
                    yield waiting.pop(key)
    yield from waiting.values()


def uploads(client: S3Client, bucket: str, prefix: str, *, page_size: int = 1000) -> Iterator[Entry]:
    """Every unfinished upload under `prefix`. Raises Unreachable or Uncountable."""
    pages = client.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Prefix=folder(prefix), PaginationConfig={"PageSize": page_size}
    )
    with answering(bucket):
        for page in pages:
            for row in page.get("Uploads", []):
                yield Entry(kind=Kind.UPLOAD, key=row["Key"], id=row["UploadId"], at=row["Initiated"])


def everything(client: S3Client, bucket: str, prefix: str, *, page_size: int = 1000) -> Iterator[Entry]:
    """`by_key` and `uploads`, one after the other."""
    for entries in by_key(client, bucket, prefix, page_size=page_size):
        yield from entries
    yield from uploads(client, bucket, prefix, page_size=page_size)
