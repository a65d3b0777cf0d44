"""Who and what a hold keeps in the archive, and in which objects a person or tenant is: told by names, without opening an object.

A hold means here what it means in a database (`stores/postgres/holds.py`): everything it gives must match; a bound on time holds
`since <= clock < until`; of a clock that is a whole day of the policy's zone, one instant in the hold's time is enough.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Connection, Select, and_, false, or_, select

from lethe.archive.manifests import Known, of_ids
from lethe.archive.model import CLOCK, PERSONS, TENANT, Manifest, State
from lethe.archive.names import LENGTH, name_of
from lethe.catalog.model import Catalog
from lethe.control.holds import digest_of_key
from lethe.control.tables import archive_objects as objects
from lethe.control.tables import archive_subjects as subjects
from lethe.errors import HoldRefused
from lethe.plan.model import HoldScope

Mask = npt.NDArray[np.bool_]
LIVING: tuple[State, ...] = ("confirmed", "sealed")
"""States of an object that is the only place where its rows still are."""

_DIGEST = re.compile(rf"^[0-9a-f]{{{LENGTH}}}([0-9a-f]{{{64 - LENGTH}}})?$")


@dataclass(frozen=True, kw_only=True)
class NamedHold:
    """A hold as the archive can match it: names (keyed digests) instead of keys. None: it does not ask for that.

    `tenants`: the names that its tenant's key has, one for each store's dataset of tenants, since a hold names a tenant of any store.
    """

    id: int
    dataset: str | None = None
    tenants: frozenset[str] | None = None
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def named(holds: Iterable[HoldScope], digest_key: bytes, catalog: Catalog) -> tuple[NamedHold, ...]:
    """The holds by names. Raises EvidenceRefused when one names a person or tenant and there is no usable key for digests. Pure."""
    return tuple(
        NamedHold(
            id=h.id,
            dataset=h.dataset,
            tenants=None if h.tenant is None else tenant_names(digest_key, h.tenant, catalog),
            person=None if h.person is None else person_name(digest_key, h.person),
            since=h.since,
            until=h.until,
        )
        for h in holds
    )


def person_name(digest_key: bytes, person: tuple[str, str]) -> str:
    """The archive's name of a person: of an identity dataset and a key, or of a key that is written as `digest:` and its digest."""
    given = digest_of_key(person[1])
    return given[:LENGTH] if given is not None else name_of(digest_key, *person)


def tenant_names(digest_key: bytes, tenant: str, catalog: Catalog) -> frozenset[str]:
    """The archive's names of a tenant's key, in whichever store."""
    return frozenset(name_of(digest_key, s.tenants, tenant) for s in catalog.stores if s.tenants)


def may_hold(holds: Sequence[NamedHold], manifest: Manifest) -> bool:
    """May a hold keep a row of this object? False is certain; True needs a look at its rows (`held_rows`). Pure.

    `manifest` is a full one, with persons and tenants (`manifests.full`).
    """
    return any(_may(h, manifest) for h in holds)


def _may(hold: NamedHold, manifest: Manifest) -> bool:
    return (
        hold.dataset in (None, manifest.dataset)
        and (hold.person is None or hold.person in manifest.persons)
        and (hold.tenants is None or not hold.tenants.isdisjoint(manifest.tenants))
        and (hold.since is None or hold.since < manifest.expires_at)  # a row's clock lies before its expiry
    )


def held_rows(table: pa.Table, holds: Sequence[NamedHold], manifest: Manifest) -> Mask:
    """For each row of an object, does a hold keep it? `table` has Lethe's own columns of the object, in its order. Pure."""
    kept: Mask = np.zeros(table.num_rows, dtype=np.bool_)
    for hold in holds:
        if hold.dataset in (None, manifest.dataset):
            kept |= _rows_of(table, hold, manifest)
    return kept


def rows_naming(table: pa.Table, *, persons: Collection[str] = (), tenants: Collection[str] = ()) -> Mask:
    """For each row of an object, does it lead to one of these persons or tenants (names)? Pure."""
    found: Mask = np.zeros(table.num_rows, dtype=np.bool_)
    if persons:
        lists = table[PERSONS].combine_chunks()
        named_here = pc.is_in(pc.list_flatten(lists), pa.array(sorted(persons), pa.string()))
        found[pc.list_parent_indices(lists).filter(named_here).to_numpy(zero_copy_only=False)] = True
    if tenants:
        found |= pc.is_in(table[TENANT], pa.array(sorted(tenants), pa.string())).to_numpy()
    return found


def _rows_of(table: pa.Table, hold: NamedHold, manifest: Manifest) -> Mask:
    kept: Mask = np.ones(table.num_rows, dtype=np.bool_)
    if hold.person is not None:
        kept &= rows_naming(table, persons=(hold.person,))
    if hold.tenants is not None:
        kept &= rows_naming(table, tenants=hold.tenants)
    if hold.since is None and hold.until is None:
        return kept
    begins = table[CLOCK].cast(pa.timestamp("us", "UTC"))
    if hold.until is not None:
        kept &= _true(pc.less(begins, _instant(hold.until)))
    if hold.since is not None and manifest.clock_is_a_day:
        kept &= _true(pc.greater(_day_ends(begins, manifest.zone), _instant(hold.since)))
    elif hold.since is not None:
        kept &= _true(pc.greater_equal(begins, _instant(hold.since)))
    return kept


def _true(answers: pa.ChunkedArray) -> Mask:
    """NULL is no."""
    found: Mask = pc.fill_null(answers, False).to_numpy()
    return found


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at.astimezone(UTC), pa.timestamp("us", "UTC"))


def _day_ends(begins: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """The midnight after the local midnights at which days begin: 23 to 25 hours later. Computed once for each different day."""
    coded = pc.dictionary_encode(begins).combine_chunks()
    local = ZoneInfo(zone)
    ends = [None if d is None else (d.astimezone(local) + timedelta(days=1)).astimezone(UTC) for d in coded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(ends, pa.timestamp("us", "UTC")).take(coded.indices)])


# In lethe_db


def find(connection: Connection, names: Collection[str], *, states: Sequence[State] = LIVING) -> tuple[Known, ...]:
    """The objects that these persons or tenants are in, oldest first. A name is a keyed digest of 32 or 64 hex digits. Opens nothing.

    By the primary key of archive_subjects. Raises HoldRefused for what is no digest.
    """
    asked = [bytes.fromhex(short_name(n)) for n in names]
    query = (
        select(objects.c.id)
        .where(objects.c.id.in_(select(subjects.c.object).where(subjects.c.digest.in_(asked))), objects.c.state.in_(list(states)))
        .order_by(objects.c.announced_at, objects.c.id)
    )
    return of_ids(connection, connection.scalars(query).all())


def short_name(digest: str) -> str:
    """The archive's name from a keyed digest: its first 32 hex digits. Raises HoldRefused when it is none."""
    if not _DIGEST.match(digest):
        raise HoldRefused("That is no keyed digest.", fix="`lethe hold digest DATASET:KEY` prints one: 64 hex digits.")
    return digest[:LENGTH]


def holding(
    connection: Connection,
    holds: Sequence[NamedHold],
    *,
    dataset: str | None = None,
    law: str | None = None,
    states: Sequence[State] = LIVING,
) -> dict[str, int]:
    """The objects in which a hold may keep rows, with how many rows each has (an upper bound); of a dataset and law when given.

    An object that is not in it has no held row. Asks `lethe_db` once; opens nothing.
    """
    if not holds:
        return {}
    query = _living(dataset, law, states).where(or_(false(), *(_asked(h) for h in holds)))
    return {row.id: row.rows for row in connection.execute(query)}


def _living(dataset: str | None, law: str | None, states: Sequence[State]) -> Select[tuple[str, int]]:
    query = select(objects.c.id, objects.c.rows).where(objects.c.state.in_(list(states))).order_by(objects.c.announced_at, objects.c.id)
    for column, wanted in ((objects.c.dataset, dataset), (objects.c.law, law)):
        query = query if wanted is None else query.where(column == wanted)
    return query


def _asked(hold: NamedHold) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [objects.c.state.is_not(None)]
    if hold.dataset is not None:
        conditions.append(objects.c.dataset == hold.dataset)
    for kind, names in (("person", None if hold.person is None else [hold.person]), ("tenant", hold.tenants)):
        if names is not None:
            digests = [bytes.fromhex(n) for n in names]
            mine = select(subjects.c.object).where(subjects.c.digest.in_(digests), subjects.c.kind == kind)
            conditions.append(objects.c.id.in_(mine))
    if hold.since is not None:
        conditions.append(objects.c.expires_at > hold.since)
    return and_(*conditions)
