"""From rows that were read to objects that can be trusted: split by the day on which they expire, written, read back, compared.

Nothing here deletes. A caller announces an object before it is uploaded and commits its deletion after `compare` (invariant 2).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.archive.bucket import ArchiveBucket
from lethe.archive.keys import object_key
from lethe.archive.model import PERSONS, TENANT, ArchivedColumn, Manifest, NamedBy
from lethe.archive.parquet import difference, to_parquet
from lethe.arrays import numbers, of_flags
from lethe.errors import ArchiveDiffers
from lethe.frozen import digest
from lethe.plan.model import ArchiveTerms, Plan, Predicate, Step


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An object that is ready to be uploaded: its manifest but for what only the store can say, and its bytes."""

    manifest: Manifest
    data: bytes = field(repr=False)


def expires_on(day: date, terms: ArchiveTerms) -> date:
    """The first local day on which a row whose clock begins on `day` may leave the archive (PROMISES, "Time")."""
    return terms.period.after(day) + timedelta(days=1)


def over(days: pa.Array, terms: ArchiveTerms, predicate: Predicate) -> tuple[np.ndarray, np.ndarray]:
    """For each row its `expires_on` (datetime64[D]), and whether its period is over already as of the plan."""
    today = predicate.as_of.astimezone(ZoneInfo(predicate.zone)).date()
    coded = pc.dictionary_encode(days)
    if days.null_count:
        raise TypeError("a row that is due has no day")
    ends = np.array([np.datetime64(expires_on(d, terms), "D") for d in coded.dictionary.to_pylist()], dtype="datetime64[D]")
    expires = ends[numbers(coded.indices)] if len(days) else np.empty(0, "datetime64[D]")
    return expires, expires <= np.datetime64(today, "D")


def by_expiry(rows: pa.Table, expires: np.ndarray) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day of expiry, earliest first, in the order in which they were read."""
    if len(expires) and (expires == expires[0]).all():  # as most windows are: told in a fiftieth of the time that sorting takes
        yield expires[0].astype(object), rows
        return
    for day in np.unique(expires):
        yield day.astype(object), rows.filter(of_flags(expires == day))


def prepare(
    rows: pa.Table, columns: Sequence[ArchivedColumn], day: date, *, plan: Plan, attempt: int, step: Step, names: NamedBy
) -> Prepared:
    """The object of rows that expire on `day`: `rows` has the kept columns and Lethe's own (`archive.model`), `names` is how those were named."""
    terms, predicate = step.archive, step.predicate
    if terms is None or not isinstance(predicate, Predicate):
        raise TypeError(f"step {step.id} archives nothing")
    schema = digest([c.model_dump() for c in columns])
    dataset = step.dataset or ""
    data, found = as_object(rows, schema, day, dataset=dataset, law=terms.law, rule=step.rule, policy=plan.policy_version)
    manifest = Manifest(
        **found,
        store=step.store or "",
        dataset=dataset,
        rule=step.rule,
        law=terms.law,
        ground=terms.ground,
        policy_version=plan.policy_version,
        plan=plan.digest,
        attempt=attempt,
        step=step.id,
        zone=predicate.zone,
        clock_is_a_day=predicate.clock.stored_as == "date",
        expires_on=day,
        expires_at=datetime.combine(day, time.min, ZoneInfo(predicate.zone)).astimezone(UTC),
        columns=tuple(columns),
        names=names,
        encryption=None,
    )
    return Prepared(manifest=manifest, data=data)


def as_object(rows: pa.Table, schema: str, day: date, *, dataset: str, law: str, rule: str, policy: str) -> tuple[bytes, dict[str, Any]]:
    """The bytes of an object of these rows under a new id, and what its manifest says of them."""
    number = uuid.uuid4().hex
    described = {"dataset": dataset, "law": law, "rule": rule, "policy": policy, "expires_on": day.isoformat(), "id": number}
    data = bytes(to_parquet(rows, described))
    return data, {
        "id": number,
        "key": object_key(dataset, law, schema, day, number),
        "rows": rows.num_rows,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "persons": _distinct(pc.list_flatten(rows[PERSONS])),
        "tenants": _distinct(rows[TENANT]),
    }


def compare(bucket: ArchiveBucket, prepared: Prepared, rows: pa.Table, version: str | None) -> str:
    """Reads the object back and holds it against what was read from the source; how it is encrypted, as the store says.

    ArchiveDiffers when bytes, number of rows, schema or values differ, NotArchivable when it is not encrypted as asked for.
    """
    manifest = prepared.manifest
    data, encryption = bucket.get_encrypted(manifest.key, version)
    if data != prepared.data:
        raise _differs(manifest, "other bytes")
    if how := difference(data, rows):
        raise _differs(manifest, how)
    return encryption


def _differs(manifest: Manifest, how: str) -> ArchiveDiffers:
    return ArchiveDiffers(
        f"Archive object {manifest.id} of {manifest.dataset} was read back with {how}: its rows were not deleted.",
        fix="Look at the object store and the way to it, then run the same plan again.",
    )


def _distinct(names: pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(sorted(n for n in pc.unique(names).to_pylist() if n is not None))
