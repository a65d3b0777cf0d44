"""Heads of the chain, kept outside `lethe_db` under other credentials, so that a rewritten chain or a cut tail is found.

A head's name is its record's number and digest, so heads are never overwritten and a listing is all that a comparison reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import Connection

from lethe.errors import Unreachable
from lethe.evidence.ledger import head
from lethe.frozen import canonical_json

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAME = re.compile(r"^(\d{12})-([0-9a-f]{64})\.json$")


class HeadStore(Protocol):
    """A few small objects with names, out of reach of who may write to `lethe_db`."""

    def put(self, name: str, content: bytes) -> None:
        """Keeps `content` under `name`."""

    def names(self) -> Sequence[str]:
        """Every name that is kept."""

    def get(self, name: str) -> bytes:
        """What is kept under `name`."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last record of the chain at some instant: its number and digest."""

    seq: int
    digest: str

    @property
    def name(self) -> str:
        """The name it is kept under."""
        return f"{self.seq:012d}-{self.digest}.json"


def keep_head(connection: Connection, store: HeadStore, run: str) -> Head | None:
    """Keeps the present head outside; call it after the run's last record is committed. None when the ledger is empty.

    Keeping the same head again changes nothing. Raises Unreachable when the store does not take it.
    """
    last = head(connection)
    if last is None:
        return None
    kept = Head(seq=last[0], digest=last[1])
    store.put(kept.name, canonical_json({"seq": kept.seq, "digest": kept.digest, "run": run}).encode())
    return kept


def kept_heads(store: HeadStore) -> tuple[Head, ...]:
    """Every head that was kept, in order; two of one number mean that the chain was written twice. Other names are passed over."""
    matches = (_NAME.match(name) for name in store.names())
    return tuple(sorted((Head(seq=int(m[1]), digest=m[2]) for m in matches if m), key=lambda h: (h.seq, h.digest)))


class S3Heads:
    """Heads under a prefix of a bucket (`lethe_s3`). Raises Unreachable, without the store's own text, when it does not answer."""

    def __init__(self, client: S3Client, bucket: str, prefix: str = "ledger/heads/") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def put(self, name: str, content: bytes) -> None:
        """Keeps `content` under `name`."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content, ContentType="application/json")
        except (BotoCoreError, ClientError) as error:
            raise _unreachable(error) from None

    def names(self) -> Sequence[str]:
        """Every name that is kept, all pages of the listing."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            return [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", [])]
        except (BotoCoreError, ClientError) as error:
            raise _unreachable(error) from None

    def get(self, name: str) -> bytes:
        """What is kept under `name`."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise _unreachable(error) from None


def _unreachable(error: Exception) -> Unreachable:
    return Unreachable(
        f"The heads of the ledger cannot be reached ({type(error).__name__}).",
        fix="Check the connection lethe_s3 and its bucket; the chain alone proves less.",
    )
