"""Files of requests as remembered: which one was opened, into which requests, or why it was refused. A file is a keyed digest here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.tables import request_intake
from lethe.frozen import Frozen


class FileState(StrEnum):
    """What became of a file."""

    OPENED = "opened"
    REFUSED = "refused"


class IntakeFile(Frozen):
    """What is remembered of a file: the ids opened from it in its order, or the problem and the number of the entry that has it."""

    state: FileState
    requests: tuple[str, ...]
    problem: str | None
    entry: int | None
    at: datetime


def file_of(connection: Connection, file: bytes) -> IntakeFile | None:
    """What is remembered of the file with that digest; None when it was never looked at."""
    columns = [request_intake.c[name] for name in IntakeFile.model_fields]
    row = connection.execute(select(*columns).where(request_intake.c.file == file)).one_or_none()
    return None if row is None else IntakeFile(**row._mapping)


def claim_file(connection: Connection, file: bytes, *, at: datetime) -> bool:
    """Says that this transaction opens the file; false when another one did. Waits for one that is about to."""
    values = {"file": file, "state": FileState.OPENED.value, "requests": [], "at": at}
    made = insert(request_intake).values(values)
    again = made.on_conflict_do_update(
        index_elements=["file"],
        set_={"state": FileState.OPENED.value, "problem": None, "entry": None, "at": at},
        where=request_intake.c.state == FileState.REFUSED.value,
    )
    return connection.execute(again.returning(request_intake.c.state)).one_or_none() is not None


def name_requests(connection: Connection, file: bytes, requests: Sequence[str]) -> None:
    """Stores which requests were opened from a file that this transaction claimed."""
    connection.execute(request_intake.update().where(request_intake.c.file == file).values(requests=list(requests)))


def refuse_file(connection: Connection, file: bytes, *, problem: str, entry: int | None, at: datetime) -> bool:
    """Remembers why a file was refused; false when that was known, or it was opened."""
    values = {"file": file, "state": FileState.REFUSED.value, "problem": problem, "entry": entry, "at": at}
    made = insert(request_intake).values(values)
    known = (request_intake.c.problem == problem) & request_intake.c.entry.is_not_distinct_from(entry)
    again = made.on_conflict_do_update(
        index_elements=["file"],
        set_={"problem": problem, "entry": entry, "at": at},
        where=(request_intake.c.state == FileState.REFUSED.value) & ~known,
    )
    return connection.execute(again.returning(request_intake.c.state)).one_or_none() is not None
