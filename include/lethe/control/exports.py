"""Exports of a person's data as stored: which bundle answers which request, where its parts lie, how far it is. The acts are in `subjects/exporting.py`.

`begun`: parts may lie in the bucket, none is known. `stored`: all parts are known and none was given out. `verified`: an independent count
agrees, it may be given out. `failed`: it does not, the parts are deleted; another export may follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, select

from lethe.control.tables import export_parts, exports
from lethe.errors import StoreBusy
from lethe.frozen import Frozen, canonical_json

ExportState = Literal["begun", "stored", "verified", "failed"]
EXPORT_LOCK = 7212
"""The first of the two numbers of the advisory lock that keeps a request to one exporting process."""


class StoredPart(Frozen):
    """A part of a bundle, where it lies. `key` has the request's id and random digits."""

    number: int
    name: str
    bucket: str
    key: str
    version: str | None
    bytes: int
    sha256: str

    @property
    def place(self) -> str:
        """sha256, in hex, of name, bucket, key and version: evidence of where the part lies, which is nobody's to guess."""
        return hashlib.sha256(canonical_json([self.name, self.bucket, self.key, self.version]).encode()).hexdigest()

    @property
    def evidence(self) -> dict[str, Any]:
        """What the ledger says of it."""
        return {"bytes": self.bytes, "sha256": self.sha256, "place": self.place}


class Export(Frozen):
    """One export of a request. `counts`: rows by section; `checked`: the checks by name with their status."""

    id: int
    request: str
    number: int
    state: ExportState
    policy_version: str
    made_at: datetime
    counts: Mapping[str, int]
    checked: tuple[Mapping[str, Any], ...]


LOCATED, STORED, JUDGED = "request.located", "bundle.stored", "bundle.judged"
"""The records of an export: it begins with the first, and each is written with its row."""

_SHOWN = [exports.c[name] for name in Export.model_fields]


@contextmanager
def exporting_alone(engine: Engine, request: str) -> Iterator[None]:
    """Lets one process at a time export a request: a lock of a session of its own, which ends with the process. StoreBusy when it is taken."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        key = (EXPORT_LOCK, func.hashtext(request))
        if not connection.scalar(select(func.pg_try_advisory_lock(*key))):
            raise StoreBusy(f"Request {request} is being exported by another run.", fix="Wait for it to end; nothing was done twice.")
        try:
            yield
        finally:
            connection.execute(select(func.pg_advisory_unlock(*key)))


def current_export(connection: Connection, request: str) -> Export | None:
    """The request's export that has not failed; None when there is none."""
    row = connection.execute(select(*_SHOWN).where(exports.c.request == request, exports.c.state != "failed")).one_or_none()
    return None if row is None else Export(**row._mapping)


def begin_export(connection: Connection, request: str, *, policy_version: str, made_at: datetime) -> Export:
    """Stores that an export begins. The caller holds the lock and knows that there is no other."""
    number = connection.scalar(select(func.coalesce(func.max(exports.c.number), 0) + 1).where(exports.c.request == request))
    values = {"request": request, "number": number, "state": "begun", "policy_version": policy_version, "made_at": made_at}
    row = connection.execute(exports.insert().values(values).returning(*_SHOWN)).one()
    return Export(**row._mapping)


def store_parts(connection: Connection, export: Export, parts: Sequence[StoredPart], counts: Mapping[str, int]) -> Export:
    """Stores where all parts lie, and how many rows they have by section: the export is `stored`."""
    connection.execute(export_parts.insert(), [{"export": export.id, **p.model_dump()} for p in parts])
    return _update(connection, export, state="stored", counts=dict(counts))


def judge_export(connection: Connection, export: Export, *, passed: bool, checked: Sequence[Mapping[str, Any]]) -> Export:
    """Stores what the independent check found: the export is `verified`, or `failed`."""
    return _update(connection, export, state="verified" if passed else "failed", checked=list(checked))


def parts_of(connection: Connection, export: Export) -> tuple[StoredPart, ...]:
    """The parts of an export, in order."""
    columns = [export_parts.c[name] for name in StoredPart.model_fields]
    query = select(*columns).where(export_parts.c.export == export.id).order_by(export_parts.c.number)
    return tuple(StoredPart(**row._mapping) for row in connection.execute(query))


def checked_digest(checked: Sequence[Mapping[str, Any]]) -> str:
    """sha256, in hex, of what the independent check found: its evidence."""
    return hashlib.sha256(canonical_json([dict(c) for c in checked]).encode()).hexdigest()


def _update(connection: Connection, export: Export, **values: Any) -> Export:
    row = connection.execute(exports.update().where(exports.c.id == export.id).values(values).returning(*_SHOWN)).one()
    return Export(**row._mapping)
