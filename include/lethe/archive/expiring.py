"""Which archive objects are due to expire, which of their rows a hold keeps, and an object written anew with those alone.

Nothing here deletes. An object is opened only when a hold may keep rows of it, and never believed: its bytes are compared with its manifest.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, func, select

from lethe.archive import manifests
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.finding import LIVING, NamedHold, held_rows, holding
from lethe.archive.keys import slug
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.archive.parquet import from_parquet
from lethe.archive.write import Prepared, as_object
from lethe.control.plans import Counted
from lethe.control.tables import archive_objects as objects
from lethe.errors import ArchiveDiffers
from lethe.plan.expiry import Archived
from lethe.plan.model import Counts, ExpiryPredicate, Plan, Step

_EVER = (*LIVING, "expired", "replaced")


def kinds(connection: Connection) -> tuple[Archived, ...]:
    """The datasets, laws and rules that the archive has, or had, objects of: a run that is planned again after it was stopped has the
    same steps."""
    rule = objects.c.manifest["rule"].astext
    found = select(objects.c.dataset, objects.c.law, rule).where(objects.c.state.in_(_EVER)).distinct()
    return tuple(sorted(Archived(dataset, law, rule, slug(law)) for dataset, law, rule in connection.execute(found)))


def due(connection: Connection, predicate: ExpiryPredicate, bucket: str) -> tuple[Known, ...]:
    """The objects whose period is over, the earliest first. Uncountable when one lies in another bucket than the archive's."""
    mine = (objects.c.dataset == predicate.dataset) & (objects.c.law == predicate.law) & objects.c.state.in_(LIVING)
    query = select(objects.c.id).where(mine, objects.c.expires_at <= predicate.as_of).order_by(objects.c.expires_at, objects.c.id)
    found = manifests.of_ids(connection, list(connection.scalars(query)))
    manifests.refuse_elsewhere(found, bucket)
    return found


def key64_of(number: str) -> int:
    """The signed 64-bit number by which a plan remembers an object: the first half of its id, which was drawn at random."""
    return int.from_bytes(bytes.fromhex(number)[:8], signed=True)


def numbers_of(keys: bytes | None) -> frozenset[int]:
    """The numbers of a plan's due objects, from the `keys` of `count`."""
    return frozenset(np.frombuffer(keys or b"", dtype=np.int64).tolist())


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A due object: how many of its rows holds keep, and the rows themselves where they are some and not all."""

    known: Known
    held: int
    kept: pa.Table | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges due objects by the holds in force."""

    bucket: ArchiveBucket
    holds: Sequence[NamedHold]

    def opened(self, connection: Connection, predicate: ExpiryPredicate) -> frozenset[str]:
        """The ids of the due objects that may have rows which a hold keeps: the others need not be opened.

        Raises Uncountable, with its id, when a hold names somebody and the names in one were made by another key.
        """
        return frozenset(holding(connection, self.holds, dataset=predicate.dataset, law=predicate.law, due=predicate.as_of))

    def read(self, known: Known) -> Judged:
        """Opens an object and judges its rows. ArchiveDiffers, with its id, when it is not what its manifest says; Uncountable as `opened`."""
        manifest = _manifest(known)
        rows = from_parquet(read(self.bucket, known))
        kept = held_rows(rows, self.holds, manifest)
        held = int(np.count_nonzero(kept))
        return Judged(known=known, held=held, kept=rows.filter(pa.array(kept)) if 0 < held < rows.num_rows else None)


def read(bucket: ArchiveBucket, known: Known) -> bytes:
    """The bytes of an object. ArchiveDiffers, with its id, when it is missing or they are not those of its manifest."""
    try:
        data = bucket.get(known.key, known.version)
    except ArchiveDiffers:
        raise differs(known, "is missing from its bucket") from None
    if hashlib.sha256(data).hexdigest() != _manifest(known).sha256:
        raise differs(known, "has other bytes than its manifest says")
    return data


def count(connection: Connection, step: Step, judge: Judge) -> Counted:
    """The numbers of a step, in rows: all that the archive has of its dataset and law, those due, and of these the held ones.

    `keys` are the 64-bit numbers of all due objects, eight bytes each, signed, in the machine's order. The histogram is by the month of
    expiry. An object that is not what its manifest says counts with no held row, and is named in `details`: whoever expires it finds out
    whether an interrupted run explains that. Raises Uncountable or Unreachable when an object that may hold held rows cannot be read.
    """
    predicate = predicate_of(step)
    started = time.perf_counter()
    mine = (objects.c.dataset == predicate.dataset) & (objects.c.law == predicate.law) & objects.c.state.in_(LIVING)
    months: Counter[str] = Counter()
    number = total = 0
    for at, parts, rows in connection.execute(
        select(objects.c.expires_at, func.count(), func.sum(objects.c.rows)).where(mine).group_by(objects.c.expires_at)
    ):
        months[f"{at.astimezone(ZoneInfo(predicate.zone)):%Y-%m}"] += int(rows)
        number, total = number + int(parts), total + int(rows)
    found = due(connection, predicate, judge.bucket.name)
    opened = judge.opened(connection, predicate) & {k.id for k in found}
    held, unread = 0, []
    for known in (k for k in found if k.id in opened):
        try:
            held += judge.read(known).held
        except ArchiveDiffers:
            unread.append(known.id)
    keys = np.fromiter((key64_of(k.id) for k in found), dtype=np.int64, count=len(found))
    return Counted(
        counts=Counts(total=total, due=sum(k.rows for k in found), held=held, oldest=min((k.expires_at for k in found), default=None)),
        details={
            "histogram": [[month, rows] for month, rows in sorted(months.items())],
            "fingerprint": {"rows": len(found), "xor": reduce(xor, keys.tolist(), 0)},
            "objects": {"total": number, "due": len(found), "opened": len(opened), "unread": unread},
            "snapshot": None,
            "seconds": round(time.perf_counter() - started, 3),
        },
        keys=keys.tobytes(),
    )


def rewritten(known: Known, rows: pa.Table, *, plan: Plan, attempt: int, step: Step) -> Prepared:
    """The object that replaces `known`: these rows of it, with the same columns and expiry, under an id of its own."""
    old = _manifest(known)
    data, found = as_object(
        rows, old.schema_digest, old.expires_on, dataset=old.dataset, law=old.law, rule=old.rule, policy=old.policy_version
    )
    changes: dict[str, Any] = {
        **found,
        "plan": plan.digest,
        "attempt": attempt,
        "step": step.id,
        "encryption": None,
        "etag": None,
        "replaces": old.id,
    }
    return Prepared(manifest=old.model_copy(update=changes), data=data)


def predicate_of(step: Step) -> ExpiryPredicate:
    """The predicate of a step of the expiry; TypeError for another kind of step."""
    if not isinstance(step.predicate, ExpiryPredicate):
        raise TypeError(f"step {step.id} is not about the archive")
    return step.predicate


def _manifest(known: Known) -> Manifest:
    if known.manifest is None:
        raise TypeError(f"archive object {known.id} has no manifest yet")
    return known.manifest


def differs(known: Known, how: str) -> ArchiveDiffers:
    """The error that names an object by its id, and says how it differs from its manifest."""
    return ArchiveDiffers(
        f"Archive object {known.id} {how}.",
        fix="Nothing of it was deleted. `lethe verify --deep` looks at every object; find out who changed the bucket before it expires.",
    )
