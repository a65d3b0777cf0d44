"""The manifests of the archive in `lethe_db`: each object from its announcement to its end. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Text,
    Update,
    any_,
    bindparam,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from lethe.archive.model import Manifest, State
from lethe.control.commits import QUICKLY
from lethe.control.tables import archive_objects as objects
from lethe.control.tables import archive_subjects as subjects
from lethe.control.tables import batches
from lethe.errors import StoreBusy, Uncountable

_STORE = text("""
with stored as (
    update lethe.archive_objects set state = 'stored', version = :version, batch = :batch, manifest = :manifest
    where id = :id and state = 'announced' returning id
), named as (
    insert into lethe.archive_subjects (object, kind, digests)
    select id, kind, array(select substr(names, 1 + 16 * n, 16) from generate_series(0, length(names) / 16 - 1) as n)
    from stored, (values ('person', :persons), ('tenant', :tenants)) as of (kind, names) where length(names) > 0
    on conflict do nothing
) select count(*) from stored
""").bindparams(
    bindparam("id", type_=Text),
    bindparam("version", type_=Text),
    bindparam("batch", type_=Integer),
    bindparam("manifest", type_=JSONB),
    bindparam("persons", type_=LargeBinary),
    bindparam("tenants", type_=LargeBinary),
)
"""One request an object. Names in one string of 16 bytes each: as an array of many they took twice as long, and most of the client's time."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What `lethe_db` knows of an object. `manifest` is None until it is stored, and lacks persons and tenants (`full` has them)."""

    id: str
    bucket: str
    key: str
    version: str | None
    state: State
    dataset: str
    announced_at: datetime
    plan: str
    attempt: int
    step: str
    batch: int | None
    rows: int
    expires_at: datetime
    lock_until: datetime | None
    manifest: Manifest | None


def among(column: ColumnElement[Any], ids: Collection[str]) -> ColumnElement[bool]:
    """Is the column one of these, however many? One array is bound: a statement has 65,535 parameters at most."""
    return column == any_(literal(list(ids), ARRAY(Text)))


def announce(connection: Connection, manifests: Iterable[Manifest], bucket: str) -> None:
    """Writes that these objects are about to be uploaded, so that whatever becomes of the upload they can be found."""
    rows = [
        {
            "id": m.id,
            "bucket": bucket,
            "key": m.key,
            "state": "announced",
            "store": m.store,
            "dataset": m.dataset,
            "law": m.law,
            "plan": m.plan,
            "attempt": m.attempt,
            "step": m.step,
            "expires_on": m.expires_on,
            "expires_at": m.expires_at,
            "rows": m.rows,
        }
        for m in manifests
    ]
    connection.execute(objects.insert(), rows if len(rows) > 1 else rows[0])  # one by itself is half as dear as a list of one


def store(connection: Connection, stored: Mapping[str, tuple[Manifest, str | None]], batch: int | None) -> None:
    """Writes the manifests of objects that were uploaded and read back (by id, with their versions), and who is in them.

    Raises StoreBusy when one is no longer announced: another process took the batch for dead and dropped it.
    """
    for number, (manifest, version) in stored.items():
        values = {
            "id": number,
            "version": version,
            "batch": batch,
            "manifest": manifest.model_copy(update={"persons": (), "tenants": ()}).model_dump(mode="json"),
            "persons": bytes.fromhex("".join(manifest.persons)),
            "tenants": bytes.fromhex("".join(manifest.tenants)),
        }
        if connection.scalar(_STORE, values) != 1:
            raise StoreBusy(
                "Another process took over: archive objects of this batch were dropped.", fix="Nothing to do: it goes on there."
            )


def set_state(connection: Connection, ids: Collection[str], state: State, *, was: Sequence[State], by: str | None = None) -> int:
    """Moves objects on; how many were in one of the states `was`. An end is dated; who was in the object is forgotten with it."""
    if not ids:
        return 0
    values: dict[str, Any] = {"ids": list(ids)}
    if state in _ENDS:
        values |= {"by": by}
        connection.execute(subjects.delete().where(among(subjects.c.object, ids)))
    return connection.execute(_moving(state, tuple(was)), values).rowcount


_ENDS = frozenset({"dropped", "expired", "replaced"})


@cache
def _moving(state: State, was: tuple[State, ...]) -> Update:
    """Built once: to build it takes as long as to send it."""
    values: dict[str, Any] = {"state": state} | (
        {"ended_at": func.now(), "ended_by": bindparam("by", type_=Text)} if state in _ENDS else {}
    )
    these = objects.c.id == any_(bindparam("ids", type_=ARRAY(Text)))
    return update(objects).where(these, objects.c.state.in_(was)).values(values)


_SEAL = (
    update(objects)
    .where(objects.c.id == bindparam("number"), objects.c.state.in_(["confirmed", "sealed"]), QUICKLY)
    .values(state="sealed", sealed_at=func.now(), lock_until=bindparam("until"))
)


def seal(connection: Connection, number: str, lock_until: datetime | None) -> None:
    """Writes that the manifest lies beside the object and until when the object is locked, as read back. The caller's transaction does not
    wait for the disk: it should be nothing but this."""
    connection.execute(_SEAL, {"number": number, "until": lock_until})


def in_states(connection: Connection, states: Sequence[State], *, steps: Collection[str] | None = None) -> tuple[Known, ...]:
    """The objects in these states, of these steps or of all, oldest first."""
    query = select(objects).where(objects.c.state.in_(list(states))).order_by(objects.c.announced_at, objects.c.id)
    if steps is not None:
        query = query.where(objects.c.step.in_(list(steps)))
    return tuple(_known(row) for row in connection.execute(query))


def fate(connection: Connection, known: Known) -> Literal["committed", "gone", "in doubt"]:
    """What became of the batch that an announced or stored object belongs to: gone, so that the object must be dropped, unless its batch
    committed or cannot be told. Ask after recovery has closed every intent."""
    mine = (batches.c.plan == known.plan) & (batches.c.attempt == known.attempt) & (batches.c.step == known.step)
    state = connection.scalar(select(batches.c.state).where(mine, batches.c.number == known.batch))
    if state == "committed":
        return "committed"
    return "in doubt" if state in {"intent", "unknown"} else "gone"


def open_steps(connection: Connection, store: str) -> frozenset[str]:
    """The steps of a store that have objects which are neither sealed nor ended."""
    open_ = objects.c.state.in_(["announced", "stored", "confirmed"]) & (objects.c.store == store)
    return frozenset(connection.scalars(select(objects.c.step).where(open_).distinct()))


def any_unlocked(connection: Connection, steps: Collection[str], at: datetime) -> bool:
    """Is there one for `unlocked`? In a bucket without locks that is every object, so it is asked before they are read."""
    return bool(connection.scalar(select(_unlocked(steps, at).exists())))


def unlocked(connection: Connection, steps: Collection[str], at: datetime) -> tuple[Known, ...]:
    """Sealed objects of these steps without a lock although they expire after `at`; not those rewritten to what holds keep."""
    return tuple(_known(row) for row in connection.execute(_unlocked(steps, at)))


def _unlocked(steps: Collection[str], at: datetime) -> Select[Any]:
    rewritten = objects.c.manifest["replaces"].astext.is_not(None)
    query = select(objects).where(objects.c.state == "sealed", objects.c.lock_until.is_(None), objects.c.expires_at > at, ~rewritten)
    return query.where(objects.c.step.in_(list(steps)))


def of_ids(connection: Connection, ids: Collection[str]) -> tuple[Known, ...]:
    """The objects of these ids, in the order of the ids."""
    found = {row.id: _known(row) for row in connection.execute(select(objects).where(among(objects.c.id, ids)))}
    return tuple(found[i] for i in ids if i in found)


def refuse_elsewhere(found: Iterable[Known], bucket: str) -> None:
    """Uncountable when an object was written to another bucket than this one: what is missing here may lie there."""
    elsewhere = [k for k in found if k.bucket != bucket]
    if elsewhere:
        raise Uncountable(
            f"{len(elsewhere)} archive objects of {elsewhere[0].dataset!r} lie in another bucket than {bucket!r}.",
            fix="Name the bucket that they were written to in the connection archive_s3, or move them and correct their manifests.",
        )


def full(connection: Connection, known: Known) -> Manifest:
    """The manifest with the persons and tenants in it; TypeError for an object that was never stored."""
    if known.manifest is None:
        raise TypeError(f"archive object {known.id} has no manifest yet")
    names: dict[str, list[str]] = {"person": [], "tenant": []}
    name = func.encode(func.unnest(subjects.c.digests), literal("hex")).label("name")
    asked = select(subjects.c.kind, name).where(subjects.c.object == known.id)
    for row in connection.execute(asked):
        names[row.kind].append(row.name)
    return known.manifest.model_copy(update={"persons": tuple(sorted(names["person"])), "tenants": tuple(sorted(names["tenant"]))})


def _known(row: Any) -> Known:
    return Known(
        id=row.id,
        bucket=row.bucket,
        key=row.key,
        version=row.version,
        state=row.state,
        dataset=row.dataset,
        announced_at=row.announced_at,
        plan=row.plan,
        attempt=row.attempt,
        step=row.step,
        batch=row.batch,
        rows=row.rows,
        expires_at=row.expires_at,
        lock_until=row.lock_until,
        manifest=Manifest.model_validate(row.manifest) if row.manifest is not None else None,
    )
