"""The objects of the intake bucket: the current version of each key, read as it was listed, and deleted with those it took the place of.

What arrives under a key while it is read is another version, and stays. Without versions, or with versions suspended, a version has no id
of its own: it is told by its etag and instant, which are looked at again right before it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from lethe.errors import ObjectErrors
from lethe.stores.s3.client import answering
from lethe.stores.s3.delete import ObjectTotals
from lethe.stores.s3.listing import Entry, Kind
from lethe.stores.s3.named import delete_named, entries_of
from lethe.subjects.places import Place

_GONE = {"NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "412", "MethodNotAllowed", "405"}


@dataclass(frozen=True, kw_only=True)
class Lying:
    """A key whose newest version is no delete marker: that version, and everything that was listed of the key."""

    place: Place
    key: str = field(repr=False)
    id: str
    etag: str
    at: datetime
    size: int
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def version(self) -> str:
        """What tells this version from every other one of its key."""
        return f"{self.etag} {self.at.isoformat()}" if self.id == "null" else self.id

    @property
    def superseded(self) -> int:
        """Older versions that it took the place of."""
        return sum(e.kind is Kind.VERSION for e in self.entries) - 1


def lying(place: Place, key: str | None = None) -> Iterator[Lying]:
    """Everything that lies there, or what lies under one key. Raises Unreachable, Uncountable."""
    pages = place.client.get_paginator("list_object_versions")
    seen: dict[str, list[Entry]] = {}
    newest: dict[str, dict[str, Any]] = {}
    with answering(place.bucket):
        for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix if key is None else key):
            rows: list[tuple[Kind, Any]] = [(Kind.VERSION, row) for row in page.get("Versions", [])]
            rows += [(Kind.MARKER, row) for row in page.get("DeleteMarkers", [])]
            for kind, row in rows:
                if key is None or row["Key"] == key:
                    entry = Entry(kind=kind, key=row["Key"], id=row.get("VersionId") or "null", at=row["LastModified"])
                    seen.setdefault(entry.key, []).append(entry)
                    if kind is Kind.VERSION and row.get("IsLatest"):
                        newest[entry.key] = dict(row)
    for name, row in newest.items():
        yield Lying(
            place=place,
            key=name,
            id=row.get("VersionId") or "null",
            etag=str(row.get("ETag") or "").strip('"'),
            at=row["LastModified"],
            size=int(row["Size"]),
            entries=tuple(seen[name]),
        )


def read(found: Lying, most: int) -> bytes | None:
    """Its bytes, of a larger one `most` and one more; None when that version is gone. Raises Unreachable, Uncountable."""
    which: Any = {"IfMatch": found.etag} if found.id == "null" else {"VersionId": found.id}
    with answering(found.place.bucket):
        try:
            answer = found.place.client.get_object(Bucket=found.place.bucket, Key=found.key, **which)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) in _GONE:
                return None
            raise
        return answer["Body"].read(most + 1)


def delete(found: Lying) -> int:
    """Deletes what was listed of the key, and lists again; how many entries went. What arrived since stays.

    Raises ObjectErrors when the store keeps any of it, Unreachable, Uncountable.
    """
    place = found.place
    there = frozenset(entries_of(place.client, place.bucket, [found.key]))
    # An entry is equal by its instant too, so that a version without an id that was written over is not taken for the one that was read.
    going = [e for e in found.entries if e in there and (e.id != "null" or e.kind is Kind.MARKER or _unchanged(found, e))]
    if going:
        result = delete_named(place.client, place.bucket, going)
        ObjectTotals(failed=result.failed, errors=result.errors, versions=result.deleted).raise_if_failed()
        left = sum(e in going for e in entries_of(place.client, place.bucket, [found.key]))
        if left:
            raise ObjectErrors(
                f"{left} entries of a file of requests are left in bucket {place.bucket!r}.",
                fix="Look for an object lock, a legal hold or a bucket policy; the next run deletes them.",
            )
    return len(going)


def _unchanged(found: Lying, entry: Entry) -> bool:
    if found.id != "null":
        return True  # an older version of the time before versions: nothing can be written over it but by suspending them
    with answering(found.place.bucket):
        try:
            head = found.place.client.head_object(Bucket=found.place.bucket, Key=found.key)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) in _GONE:
                return False
            raise
    return str(head.get("ETag") or "").strip('"') == found.etag and head["LastModified"] == entry.at
