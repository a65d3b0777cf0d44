"""The ledger as a witness of the archive: what each object was when it was made, where nobody who can change a manifest can change it.

An object, the manifest beside it and its row in `lethe_db` can be changed together by whoever may write to all three. The ledger cannot be
changed after: so each object is put there once, with its sha256 and its rows, and held against it ever after.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection, func, select

from lethe.archive.finding import LIVING
from lethe.archive.manifests import among
from lethe.control.tables import archive_objects as objects
from lethe.control.tables import runs
from lethe.evidence.ledger import LEDGER_LOCK, append, records

KEPT = "archive.kept"
AT_ONCE = 500
"""Objects of one record at most."""


@dataclass(frozen=True, kw_only=True)
class Witnessed:
    """What the ledger says an object was: the sha256 of its bytes and its rows, by the first record of it. `disputed`: a later one differs."""

    sha256: str
    rows: int
    disputed: bool = False


def record_kept(connection: Connection, run: str, attempt: int, *, steps: Collection[str], stores: Collection[str] = ()) -> int:
    """Puts on record each living object of these steps, and those of these stores that other plans left, that is not yet; how many.

    To be called when a group is over: what a run that was killed did not record, the one that goes on for it does. In the caller's
    transaction, which then holds the lock of the ledger.
    """
    connection.execute(select(func.pg_advisory_xact_lock(*LEDGER_LOCK)))
    theirs = objects.c.step.in_(list(steps)) | (objects.c.store.in_(list(stores)) & (objects.c.plan != run))
    columns = (objects.c.step, objects.c.id, objects.c.manifest["sha256"].astext.label("sha256"), objects.c.rows)
    mine = objects.c.state.in_(list(LIVING)) & objects.c.recorded_at.is_(None)
    new = connection.execute(select(*columns).where(mine, theirs).order_by(objects.c.step, objects.c.announced_at, objects.c.id)).all()
    for step, rows in groupby(new, key=lambda row: row.step):
        entries = [[row.id, row.sha256, row.rows] for row in rows]
        for start in range(0, len(entries), AT_ONCE):
            append(connection, KEPT, {"attempt": attempt, "step": step, "objects": entries[start : start + AT_ONCE]}, run=run)
    recorded = objects.update().where(among(objects.c.id, [row.id for row in new])).values(recorded_at=func.now())
    connection.execute(recorded)
    return len(new)


def witnessed(connection: Connection) -> dict[str, Witnessed]:
    """Every object that the ledger has on record, by id."""
    found: dict[str, Witnessed] = {}
    for record in records(connection, kind=KEPT):
        for number, sha256, rows in record.content["objects"]:
            first = found.get(number)
            if first is None:
                found[number] = Witnessed(sha256=sha256, rows=rows)
            elif (first.sha256, first.rows) != (sha256, rows):
                found[number] = Witnessed(sha256=first.sha256, rows=first.rows, disputed=True)
    return found


def at_work(connection: Connection) -> frozenset[tuple[str, int]]:
    """The runs, as plan and attempt, that delete now: what they archive is put on record when a group ends."""
    busy = select(runs.c.plan, runs.c.attempt).where(runs.c.state == "purging")
    return frozenset((row.plan, row.attempt) for row in connection.execute(busy))
