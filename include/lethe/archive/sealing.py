"""Sealing: once the rows are gone from the source, the manifest goes beside the object, and the object is locked until it expires.

Every step may be done again: a seal that was interrupted is set anew by the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from sqlalchemy import Engine

from lethe.archive import manifests
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.keys import manifest_key
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.control.commits import without_waiting

Point = Callable[[str], None]


def seal(
    bucket: ArchiveBucket,
    control: Engine,
    objects: Iterable[Known],
    *,
    lockable: bool,
    at: datetime,
    mine: Mapping[str, Manifest] | None = None,
    point: Point = lambda name: None,
) -> None:
    """Seals confirmed objects, and locks sealed ones, one after the other. `lockable`: the bucket has object lock. `at` is now, aware; an
    object whose expiry is not after it gets no lock. `mine`: by id, manifests that this process has just stored; others are read.

    Raises what the bucket raises; what was sealed before stays sealed. A seal whose record is lost with the server is set again.
    """
    with control.connect() as book:
        for known in objects:
            manifest = (mine or {}).get(known.id) or manifests.full(book, known)
            book.rollback()
            if known.state != "sealed":
                point("archive.manifest.before")
                bucket.put(manifest_key(manifest.key), manifest.to_json())
                point("archive.manifest.after")
            until = None
            if lockable and manifest.expires_at > at:
                point("archive.lock.before")
                until = bucket.lock(known.key, known.version, manifest.expires_at)
                point("archive.lock.after")
            with book.begin():
                without_waiting(book)
                manifests.seal(book, known.id, until)
