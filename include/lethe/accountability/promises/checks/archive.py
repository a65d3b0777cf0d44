"""The archive: is it what its manifests say, is it apart from everything else, and is every reading on record?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from lethe import settings
from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.records import evidence_of
from lethe.errors import Unreachable
from lethe.retention.shelving import check_archive

MAY_READ = frozenset({"lethe_runtime", "lethe_archivist"})

# Who else may read what tells whom the archive has: grants on the two tables, PUBLIC among them (0 has no name). No index: a catalog.
_READERS = text(
    "SELECT DISTINCT coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC') FROM pg_class c "
    "CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a "
    "WHERE c.oid IN ('lethe.archive_objects'::regclass, 'lethe.archive_subjects'::regclass) AND a.grantee <> c.relowner"
)


def sound(look: Look) -> Seen:
    """Every object as its manifest says, by a fresh listing. Without an archive there is nothing that could be sound."""
    if settings.ARCHIVE in _unset(look):
        return Seen(absent=f"There is no archive: connection {settings.ARCHIVE} is not set.")
    return look.now(*(f.text for f in check_archive(look.workspace, at=look.at).findings if f.wrong))


def apart(look: Look) -> Seen:
    """Credentials and a bucket of its own; manifests that no other role reads."""
    if settings.ARCHIVE in _unset(look):
        return Seen(absent=f"There is no archive: connection {settings.ARCHIVE} is not set.")
    return look.now(*_shared(look), *_readers(look))


def readings(look: Look) -> Seen:
    """Each row that was given out was asked for before, on record. What was read last is the evidence; where nobody read, the look is."""
    asked = 0
    returned = 0
    last = None
    for record in look.records.descending("archive.read", "archive.returned"):
        last = last or record
        if record.kind == "archive.returned":
            returned += 1
        else:
            asked += 1
    fault = f"{returned} readings of the archive were answered, and only {asked} asked for on record." if returned > asked else ""
    return look.now(fault) if last is None else Seen(evidence=evidence_of(last, at=look.at), faults=(fault,) if fault else ())


def _shared(look: Look) -> Iterator[str]:
    mine = look.workspace.connections(settings.ARCHIVE)
    others = {store.connection for store in look.workspace.catalog.stores if store.kind == "s3"} | {settings.EVIDENCE_BUCKET}
    same = []
    for name in sorted(others - _unset(look, *others)):
        other = look.workspace.connections(name)
        if (mine.login, mine.extra.get("endpoint_url")) == (other.login, other.extra.get("endpoint_url")):
            same.append(name)
    if same:
        yield f"The archive has the credentials of {judges.named(same)}: whoever has those reads it."
    bucket = mine.extra.get("bucket")
    sharing = [n for s in look.workspace.catalog.stores for n, p in s.prefixes.items() if p.bucket == bucket]
    if sharing:
        yield f"The archive shares its bucket with {judges.named(sharing)}."


def _readers(look: Look) -> Iterator[str]:
    found = sorted(set(look.control.scalars(_READERS)) - MAY_READ)
    if found:
        yield f"Roles that have no business with the archive read its manifests: {judges.named(found)}."


def _unset(look: Look, *names: str) -> set[str]:
    found = set()
    for name in names or (settings.ARCHIVE,):
        try:
            look.workspace.connections(name)
        except Unreachable:
            found.add(name)
    return found
