"""Who and what a hold keeps in the archive, and in which objects a person or tenant is: told by names, without opening an object.

A hold means here what it means in a database (`stores/postgres/holds.py`): everything it gives must match; a bound on time holds
`since <= clock < until`; of a clock that is a whole day of the policy's zone, one instant in the hold's time is enough.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ARRAY, ColumnElement, Connection, LargeBinary, Select, and_, false, func, literal, or_, select, union_all

from lethe.archive.manifests import Known, of_ids
from lethe.archive.model import CLOCK, PERSONS, TENANT, Manifest, NamedBy, State
from lethe.archive.names import LENGTH
from lethe.archive.naming import NamedHold, Whom, named, other_key, person_name, refuse_unlike, tenant_names
from lethe.control.tables import archive_objects as objects
from lethe.errors import HoldRefused

__all__ = [
    "LIVING", "NamedHold", "Whom", "find", "held_rows", "holding", "made_by", "may_hold", "named", "named_otherwise", "person_name",
    "rows_naming", "short_name", "tenant_names",
]  # fmt: skip

Mask = npt.NDArray[np.bool_]
LIVING: tuple[State, ...] = ("confirmed", "sealed")
"""States of an object that is the only place where its rows still are."""

_DIGEST = re.compile(rf"^[0-9a-f]{{{LENGTH}}}([0-9a-f]{{{64 - LENGTH}}})?$")


def may_hold(holds: Sequence[NamedHold], manifest: Manifest) -> bool:
    """May a hold keep a row of this object? False is certain; True needs a look at its rows (`held_rows`). Pure.

    `manifest` is a full one, with persons and tenants (`manifests.full`). Uncountable, with its id, as `held_rows`.
    """
    refuse_unlike(holds, manifest)
    return any(_may(h, manifest) for h in holds)


def _may(hold: NamedHold, manifest: Manifest) -> bool:
    return (
        hold.dataset in (None, manifest.dataset)
        and ((persons := hold.persons_in([manifest.names])) is None or not persons.isdisjoint(manifest.persons))
        and ((tenants := hold.tenants_in([manifest.names])) is None or not tenants.isdisjoint(manifest.tenants))
        and (hold.since is None or hold.since < manifest.expires_at)  # a row's clock lies before its expiry
    )


def held_rows(table: pa.Table, holds: Sequence[NamedHold], manifest: Manifest) -> Mask:
    """For each row of an object, does a hold keep it? `table` has Lethe's own columns of the object, in its order. Pure.

    Raises Uncountable, with its id, when a hold names somebody and the names in the object were made by another key.
    """
    refuse_unlike(holds, manifest)
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
    if (persons := hold.persons_in([manifest.names])) is not None:
        kept &= rows_naming(table, persons=persons)
    if (tenants := hold.tenants_in([manifest.names])) is not None:
        kept &= rows_naming(table, tenants=tenants)
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

    Raises HoldRefused for what is no digest.
    """
    asked = [short_name(n) for n in names]
    named = union_all(_naming("person", asked), _naming("tenant", asked))  # not an OR of two: that looks at every object
    query = (
        select(objects.c.id)
        .where(objects.c.id.in_(named), objects.c.state.in_(list(states)))
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
    due: datetime | None = None,
    states: Sequence[State] = LIVING,
    unsure: bool = False,
) -> dict[str, int]:
    """The objects in which a hold may keep rows, with how many rows each has (an upper bound); of a dataset and law when given, and of
    those whose period is over at `due`.

    An object that is not in it has no held row. Opens nothing. Where a hold names somebody and the names in an object were made by another
    key, Uncountable is raised with its id; `unsure` counts it instead: a hold may keep rows of it.
    """
    if not holds:
        return {}
    among = _among(dataset, law, due, states)
    unlike = or_(false(), *(_unlike(h) for h in holds if h.key is not None))
    made: tuple[NamedBy, ...] = ()
    if any(h.key is not None for h in holds):
        if not unsure and (others := _ids(connection, and_(among, unlike))):
            raise other_key(others)
        made = _made(connection, among)
    asked = or_(unlike, *(_asked(h, made) for h in holds))
    query = select(objects.c.id, objects.c.rows).where(among, asked).order_by(objects.c.announced_at, objects.c.id)
    return {row.id: row.rows for row in connection.execute(query)}


def made_by(connection: Connection, *, dataset: str | None = None, law: str | None = None) -> tuple[NamedBy, ...]:
    """Each way in which names were made in the living objects, of a dataset and law when given."""
    return _made(connection, _among(dataset, law, None, LIVING))


def named_otherwise(connection: Connection, key: str, *, dataset: str | None = None, law: str | None = None) -> tuple[str, ...]:
    """The living objects whose names were made by another key than that of this fingerprint: nobody can be found in them. Oldest first."""
    return _ids(connection, and_(_among(dataset, law, None, LIVING), _KEY.is_distinct_from(key)))


_KEY = objects.c.manifest["names"]["key"].astext


def _among(dataset: str | None, law: str | None, due: datetime | None, states: Sequence[State]) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [objects.c.state.in_(list(states))]
    conditions += [column == wanted for column, wanted in ((objects.c.dataset, dataset), (objects.c.law, law)) if wanted is not None]
    return and_(*conditions, *([] if due is None else [objects.c.expires_at <= due]))


def _ids(connection: Connection, which: ColumnElement[bool]) -> tuple[str, ...]:
    return tuple(connection.scalars(select(objects.c.id).where(which).order_by(objects.c.announced_at, objects.c.id)))


def _made(connection: Connection, among: ColumnElement[bool]) -> tuple[NamedBy, ...]:
    found = connection.scalars(select(objects.c.manifest["names"]).where(among).distinct())
    return tuple(NamedBy.model_validate(each) for each in found if each is not None)


def _unlike(hold: NamedHold) -> ColumnElement[bool]:
    """What `naming.unlike` says, asked of `lethe_db`."""
    return and_(_KEY.is_distinct_from(hold.key), *_bounds(hold))


def _bounds(hold: NamedHold) -> list[ColumnElement[bool]]:
    dataset = [] if hold.dataset is None else [objects.c.dataset == hold.dataset]
    return dataset + ([] if hold.since is None else [objects.c.expires_at > hold.since])


def _asked(hold: NamedHold, made: Sequence[NamedBy]) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [objects.c.state.is_not(None), *_bounds(hold)]
    for kind, names in (("person", hold.persons_in(made)), ("tenant", hold.tenants_in(made))):
        if names is not None:
            conditions.append(objects.c.id.in_(_naming(kind, names)))
    return and_(*conditions)


def _naming(kind: str, names: Collection[str]) -> Select[tuple[str]]:
    """The objects that one of these persons or tenants is in: by the index, however few objects there are (`lethe.objects_naming`)."""
    digests = literal([bytes.fromhex(n) for n in names], ARRAY(LargeBinary))
    return select(func.lethe.objects_naming(kind, digests))
