"""Sealing: once the rows are gone from the source, the manifest goes beside the object, and the object is locked until it expires.

Every step may be done again: a seal that was interrupted is set anew by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Connection, Engine

from lethe.archive import manifests
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.keys import manifest_key
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.control.commits import each_by_itself

Point = Callable[[str], None]


def seal(
    bucket: ArchiveBucket, control: Engine, objects: Iterable[Known], *, lockable: bool, at: datetime, point: Point = lambda name: None
) -> None:
    """Seals confirmed objects, and locks sealed ones, one after the other, as `seal_one` does."""
    with control.connect() as book, each_by_itself(book):
        for known in objects:
            manifest, has = manifests.full(book, known), known.state == "sealed"
            seal_one(bucket, book, manifest, known.version, has_manifest=has, lockable=lockable, at=at, point=point)


def seal_one(
    bucket: ArchiveBucket,
    book: Connection,
    manifest: Manifest,
    version: str | None,
    *,
    has_manifest: bool = False,
    lockable: bool,
    at: datetime,
    point: Point = lambda name: None,
) -> None:
    """Puts the manifest beside its object, unless it `has_manifest`, and locks the object, where the bucket is `lockable`. `at` is now,
    aware; an object whose expiry is not after it gets no lock. `book` is a session of `lethe_db` whose statements are each by itself.

    Raises what the bucket raises. A seal whose record is lost with the server is set again.
    """
    if not has_manifest:
        point("archive.manifest.before")
        bucket.put(manifest_key(manifest.key), manifest.to_json())
        point("archive.manifest.after")
    until = None
    if lockable and manifest.expires_at > at:
        point("archive.lock.before")
        until = bucket.lock(manifest.key, version, manifest.expires_at)
        point("archive.lock.after")
    manifests.seal(book, manifest.id, until)
