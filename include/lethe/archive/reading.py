"""Reading the archive is an act: somebody named does it, for a reason, and that is on record before the first byte is asked for.

The record is committed first (`archive.read`); then each object is fetched and its sha256 compared with its manifest; a last record says
what was returned (`archive.returned`), also when the reading broke off. Neither holds a key: a person or tenant is a keyed digest there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DBAPIError

from lethe.archive import manifests
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.finding import LIVING, find, rows_naming
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.archive.parquet import from_parquet
from lethe.control.tables import archive_objects as objects
from lethe.errors import ArchiveDiffers, EvidenceRefused, ReadingRefused, UnknownName
from lethe.evidence.ledger import append

ROLE = "lethe_archivist"
_WHO = text(
    "SELECT session_user, EXISTS (SELECT FROM pg_roles WHERE rolname = :role AND pg_has_role(session_user, oid, 'MEMBER')), "
    "(SELECT rolsuper FROM pg_roles WHERE rolname = session_user)"
)


class ReadingReason(StrEnum):
    """Why the archive is read: a choice, no free text."""

    CLAIM = "claim"
    TAX_AUDIT = "tax_audit"
    COURT_ORDER = "court_order"
    ACCESS_REQUEST = "access_request"
    AUTHORITY_REQUEST = "authority_request"
    INTEGRITY_CHECK = "integrity_check"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be read: a dataset, under one law or any; the rows of a person or of a tenant (names), or all."""

    dataset: str
    law: str | None = None
    persons: frozenset[str] | None = None
    tenants: frozenset[str] | None = None

    @property
    def whose(self) -> str:
        """In the words of the record."""
        return "person" if self.persons is not None else "tenant" if self.tenants is not None else "everybody"

    @property
    def names(self) -> list[str] | None:
        """The names of whom it is about; None for everybody."""
        return (
            None if self.persons is None and self.tenants is None else sorted((self.persons or frozenset()) | (self.tenants or frozenset()))
        )


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a reading gave: objects opened, rows, and the ids of objects that are not what their manifests say, of which nothing was given."""

    objects: int
    rows: int
    damaged: tuple[str, ...] = ()


Give = Callable[[Manifest, pa.Table], None]
"""Takes the wanted rows of one object, with Lethe's own columns."""

Giver = Callable[[Sequence[Manifest]], Give]
"""Is told which objects will be opened, once that is on record and before the first is."""


def read(engine: Engine, bucket: ArchiveBucket, wanted: Wanted, *, reason: str | None, giver: Giver, at: datetime) -> Returned:
    """Reads what is wanted, object by object, oldest first. `engine` is the archivist's (connection lethe_archivist), `at` now.

    Raises ReadingRefused, with nothing read, without a reason or for a login that is no member of lethe_archivist, UnknownName for a
    dataset or law that the archive has nothing of; ArchiveDiffers, after all the others were given, when objects are missing or not what
    their manifests say; what the bucket raises.
    """
    chosen = _reason(reason)
    with engine.connect() as book:
        who = archivist(book)
        found = _objects(book, wanted)
    recorded(engine, who, chosen, wanted.dataset, found, at=at, law=wanted.law, whose=wanted.whose, names=wanted.names)
    opened = rows = 0
    damaged: list[str] = []
    give = giver([manifest for _, manifest in found])
    with _returning(engine, lambda: Returned(objects=opened, rows=rows, damaged=tuple(damaged)), who, wanted.dataset) as returned:
        for known, manifest in found:
            try:
                table = fetch(bucket, known, manifest)
            except ArchiveDiffers:
                damaged.append(known.id)
                continue
            opened += 1
            if wanted.names is not None:
                table = table.filter(pa.array(rows_naming(table, persons=wanted.persons or (), tenants=wanted.tenants or ())))
            if table.num_rows:
                give(manifest, table)
                rows += table.num_rows
    if damaged:
        raise ArchiveDiffers(
            f"{len(damaged)} of {len(found)} objects are missing or not what their manifests say: {', '.join(damaged[:5])}.",
            fix="`lethe verify --deep` looks at all of them. The rows of the other objects were given.",
        )
    return returned()


def archivist(connection: Connection) -> str:
    """The login of a connection; ReadingRefused unless it is a member of lethe_archivist by a grant, which a superuser is not."""
    who, member, superuser = connection.execute(_WHO, {"role": ROLE}).one()
    if not member or superuser:
        raise ReadingRefused(
            "This login may not read the archive: it is no member of lethe_archivist.",
            fix="Set connection lethe_archivist to the login of a person who may, and archive_read_s3 to credentials that only read the bucket.",
        )
    return str(who)


def recorded(
    engine: Engine,
    who: str,
    reason: ReadingReason,
    dataset: str | None,
    found: Sequence[tuple[Known, Manifest]],
    *,
    at: datetime,
    law: str | None = None,
    whose: str = "everybody",
    names: Sequence[str] | None = None,
) -> None:
    """Commits the record of a reading that is about to begin; ReadingRefused when it cannot be: then nothing may be read."""
    body = {
        "who": who,
        "reason": reason.value,
        "dataset": dataset,
        "law": law,
        "whose": whose,
        "digests": names,
        "objects": len(found),
        "rows_in_them": sum(k.rows for k, _ in found),
    }
    try:
        with engine.begin() as book:
            append(book, "archive.read", body, at=at)
    except (DBAPIError, EvidenceRefused) as error:
        raise ReadingRefused(
            f"The reading could not be put on record ({type(error).__name__}): nothing was read.",
            fix="Look at Lethe's database and at the login's name: it may not be an address. What is not on record is not read.",
        ) from None


def fetch(bucket: ArchiveBucket, known: Known, manifest: Manifest) -> pa.Table:
    """The rows of an object, whose bytes are those of its manifest. Raises ArchiveDiffers when they are not; what the bucket raises.

    Whoever calls it has put the reading on record.
    """
    data = bucket.get(known.key, known.version)
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ArchiveDiffers(f"Archive object {known.id} is not what its manifest says.", fix="`lethe verify` names what was done to it.")
    return from_parquet(data, threads=True)


@contextmanager
def _returning(engine: Engine, so_far: Callable[[], Returned], who: str, dataset: str) -> Iterator[Callable[[], Returned]]:
    """Records what was returned, however the reading ends."""
    broke: str | None = None
    try:
        yield so_far
    except BaseException as error:
        broke = type(error).__name__
        raise
    finally:
        ended = so_far()
        body: dict[str, Any] = {"who": who, "dataset": dataset, "objects": ended.objects, "rows": ended.rows}
        with engine.begin() as book:
            append(book, "archive.returned", body | {"damaged": list(ended.damaged), "broken_off_by": broke})


def _objects(connection: Connection, wanted: Wanted) -> list[tuple[Known, Manifest]]:
    """The living objects to open. UnknownName for a dataset or law that the archive never had: what was typed goes into no record."""
    laws = set(connection.scalars(select(objects.c.law).where(objects.c.dataset == wanted.dataset).distinct()))
    if not laws or (wanted.law is not None and wanted.law not in laws):
        raise UnknownName("The archive has nothing of that dataset and law.", fix="`lethe archive list` shows what it has.")
    if wanted.names is not None:
        known = [k for k in find(connection, wanted.names) if k.manifest is not None and k.manifest.dataset == wanted.dataset]
    else:
        query = select(objects.c.id).where(objects.c.dataset == wanted.dataset, objects.c.state.in_(list(LIVING)))
        known = list(manifests.of_ids(connection, connection.scalars(query.order_by(objects.c.announced_at, objects.c.id)).all()))
    return [(k, k.manifest) for k in known if k.manifest is not None and wanted.law in (None, k.manifest.law)]


def _reason(reason: str | None) -> ReadingReason:
    try:
        return ReadingReason(reason or "")
    except ValueError:
        raise ReadingRefused(
            "The archive is not read without a reason.", fix=f"Give --reason, one of: {', '.join(ReadingReason)}."
        ) from None
