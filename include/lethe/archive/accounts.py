"""What a run put into the archive, what an expiry took out of it, and what is left, for a report: from manifests and batches alone.

No object is opened. Every function works in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, Connection, cast, func, select, true

from lethe.archive.finding import LIVING
from lethe.control.tables import archive_objects as objects
from lethe.control.tables import batches

_COUNTED = (*LIVING, "expired", "replaced")
_OPEN = ("announced", "stored", "confirmed")


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """What a step's committed batches say: rows archived, and rows deleted without archiving them."""

    archived: int
    only_deleted: int


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The objects that a step of a run made: how many, their first and last day of expiry, and how many are not sealed."""

    objects: int
    first_expiry: date | None
    last_expiry: date | None
    unsealed: int


@dataclass(frozen=True, kw_only=True)
class Locks:
    """Until when the last lock of a dataset's objects under a law holds, and (encryption as the store said, objects)."""

    until: datetime | None
    encryptions: tuple[tuple[str, int], ...]


def sorted_rows(connection: Connection, plan: str, attempt: int) -> dict[str, Sorted]:
    """By step, of those whose rows are sorted: they are counted by tenant in each batch."""
    each = func.jsonb_each(batches.c.details["tenants"]).table_valued("key", "value").render_derived()
    query = (
        select(
            batches.c.step,
            func.sum(cast(each.c.value.op("->>")(0), BigInteger)).label("archived"),
            func.sum(cast(each.c.value.op("->>")(1), BigInteger)).label("only_deleted"),
        )
        .select_from(batches.join(each, true()))
        .where(batches.c.plan == plan, batches.c.attempt == attempt, batches.c.state == "committed")
        .group_by(batches.c.step)
    )
    return {r.step: Sorted(archived=int(r.archived), only_deleted=int(r.only_deleted)) for r in connection.execute(query)}


def kept_objects(connection: Connection, plan: str, attempt: int) -> dict[str, Kept]:
    """By step; an object that expired or was rewritten since counts with its run."""
    query = (
        select(
            objects.c.step,
            func.count().filter(objects.c.state.in_(_COUNTED)).label("objects"),
            func.min(objects.c.expires_on).filter(objects.c.state.in_(_COUNTED)).label("first"),
            func.max(objects.c.expires_on).filter(objects.c.state.in_(_COUNTED)).label("last"),
            func.count().filter(objects.c.state.in_(_OPEN)).label("unsealed"),
        )
        .where(objects.c.plan == plan, objects.c.attempt == attempt)
        .group_by(objects.c.step)
    )
    return {
        r.step: Kept(objects=r.objects, first_expiry=r.first, last_expiry=r.last, unsealed=r.unsealed) for r in connection.execute(query)
    }


def expired_objects(connection: Connection, plan: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(dataset, law): how many objects a plan of the expiry ended, whole and rewritten."""
    query = (
        select(
            objects.c.dataset,
            objects.c.law,
            func.count().filter(objects.c.state == "expired").label("whole"),
            func.count().filter(objects.c.state == "replaced").label("rewritten"),
        )
        .where(objects.c.ended_by == plan)
        .group_by(objects.c.dataset, objects.c.law)
    )
    return {(r.dataset, r.law): (r.whole, r.rewritten) for r in connection.execute(query)}


def expiries(connection: Connection) -> tuple[tuple[str, str, int], ...]:
    """(law, `YYYY-MM` of expiry in the policy's zone, rows) of everything that the archive has, earliest first."""
    month = func.to_char(objects.c.expires_on, "YYYY-MM")
    query = (
        select(objects.c.law, month.label("month"), func.sum(objects.c.rows).label("rows"))
        .where(objects.c.state.in_(LIVING))
        .group_by(objects.c.law, month)
        .order_by(month, objects.c.law)
    )
    return tuple((r.law, r.month, int(r.rows)) for r in connection.execute(query))


def locks(connection: Connection) -> dict[tuple[str, str], Locks]:
    """(dataset, law): locks and encryption of the living objects, as they were read back from the store."""
    said = func.coalesce(objects.c.manifest["encryption"].astext, "none").label("said")
    query = (
        select(objects.c.dataset, objects.c.law, said, func.count().label("n"), func.max(objects.c.lock_until).label("until"))
        .where(objects.c.state.in_(LIVING))
        .group_by(objects.c.dataset, objects.c.law, said)
        .order_by(objects.c.dataset, objects.c.law, said)
    )
    found: dict[tuple[str, str], Locks] = {}
    for r in connection.execute(query):
        known = found.get((r.dataset, r.law), Locks(until=None, encryptions=()))
        ends = [t for t in (known.until, r.until) if t is not None]
        found[r.dataset, r.law] = Locks(until=max(ends, default=None), encryptions=(*known.encryptions, (r.said, r.n)))
    return found
