"""Sealing: once the rows are gone from the source, the manifest goes beside the object, and the object is locked until it expires.

Every step may be done again: a seal that was interrupted is set anew by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Engine

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
    for known in objects:
        with control.connect() as book:
            manifest = manifests.full(book, known)
        seal_one(bucket, control, manifest, known.version, has_manifest=known.state == "sealed", lockable=lockable, at=at, point=point)


def seal_one(
    bucket: ArchiveBucket,
    control: Engine,
    manifest: Manifest,
    version: str | None,
    *,
    has_manifest: bool = False,
    lockable: bool,
    at: datetime,
    point: Point = lambda name: None,
) -> None:
    """Puts the manifest beside its object, unless it `has_manifest`, and locks the object, where the bucket is `lockable`. `at` is now,
    aware; an object whose expiry is not after it gets no lock.

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
    with each_by_itself(control) as book:
        manifests.seal(book, manifest.id, until)
