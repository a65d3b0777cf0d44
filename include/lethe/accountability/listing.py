"""Makes the list of processors and the record of processing activities, stores both, has them checked, and writes the evidence."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lethe import settings
from lethe.accountability.kinds import FAILED, LISTED
from lethe.accountability.processing_record.files import files_of as record_files
from lethe.accountability.processing_record.view import Sources
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import NAME, files_of
from lethe.accountability.processor_list.model import ProcessorList, list_of
from lethe.accountability.processor_list.schema import schema
from lethe.accountability.processor_list.tables import as_json
from lethe.accountability.reading import read_back, register_on
from lethe.accountability.shelving import shelve
from lethe.accountability.suite import check_list
from lethe.catalog.disclosure import load_disclosure
from lethe.errors import BadAsOf, LetheError, UntrueList
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append, records
from lethe.findings import CheckFinding
from lethe.instants import local_day, now
from lethe.processors.check import check_register
from lethe.processors.load import FILE, load_register
from lethe.reports.whole import write_whole
from lethe.workspace import Workspace

FOLDER = "processors"
_SCHEMA = ".schema.json"


@dataclass(frozen=True, kw_only=True)
class Drafted:
    """A list that was made and not yet stored: the value, what it was made from, and what the register's check says of it."""

    listed: ProcessorList
    sources: Sources
    findings: tuple[CheckFinding, ...]


def draft(workspace: Workspace, *, as_of: date | None = None, since: date | None = None, at: datetime) -> Drafted:
    """The list as of a day (that of `at` when None). `since` None: the day of the last list before it that stood.

    Raises BadAsOf for a day to come or a `since` that is not before it, NotInForce, BeforeRegister, InvalidFile.
    """
    today = local_day(at, workspace.policy(at).time_zone)
    day = as_of or today
    if day > today:
        raise BadAsOf("as_of lies in the future: nobody knows who receives data then.", fix="Ask for today, or for a day before.")
    if since is not None and since >= day:
        raise BadAsOf("since is not before as_of: there is nothing to compare.", fix="Leave it out, or give an earlier day.")
    if since is None:
        with workspace.control.connect() as control:
            since = _last_before(control, day)
    sources = Sources(
        register_=load_register(workspace.folder),
        policy=workspace.policy(day),
        catalog=workspace.catalog,
        disclosure=load_disclosure(workspace.folder),
        as_of=day,
    )
    listed = list_of(sources.register_, sources.policy, sources.catalog, sources.disclosure, day, since)
    findings = check_register(sources.register_, sources.catalog, sources.disclosure, on=day)
    return Drafted(listed=listed, sources=sources, findings=tuple(findings))


def make_list(workspace: Workspace, *, as_of: date | None = None, since: date | None = None, at: datetime | None = None) -> dict[str, Any]:
    """Makes every file, stores them under `processors/<as_of>/<id>/` (and in LETHE_REPORTS_DIR): public ones in the bucket of `lethe_s3`, internal
    ones in that of the dataset of category `internal-lists`. Reads them back, has them checked, and records it; ids, counts, keys and digests.

    Raises UntrueList last, when the register's check or Great Expectations found anything: all is written by then. A list that cannot be
    made at all leaves evidence too, and raises what `draft` and `shelve` raise.
    """
    at = at or now()
    try:
        drafted = draft(workspace, as_of=as_of, since=since, at=at)
        files = _files(drafted)
        shelved = shelve(workspace, _folder(drafted.listed), files)
    except LetheError as error:
        with workspace.control.begin() as control:
            append(control, FAILED, {"as_of": as_of.isoformat() if as_of else None, "problem": type(error).__name__}, run=FOLDER, at=at)
        raise
    listed = drafted.listed
    back = shelved.files
    told = {name: found for name, found in back.items() if not (name.startswith("internal/record.") or name.endswith(_SCHEMA))}
    register = register_on((workspace.folder / FILE).read_bytes(), listed.as_of)
    checks = check_list(register, read_back(told), {name: back[name] == content for name, content in files.items()})
    body: dict[str, Any] = {
        "as_of": listed.as_of.isoformat(),
        "since": listed.since.isoformat() if listed.since else None,
        "list": listed.id,
        "folder": _folder(listed),
        "internal": shelved.dataset,
        "processors": [e.id for e in listed.processors],
        "recipients": [e.id for e in listed.recipients],
        "changes": len(listed.changed),
        "ending": [{"id": e.id, "last_day": e.last_day.isoformat(), "days_left": e.days_left} for e in listed.ending],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "made_from": listed.inputs.model_dump(),
        "findings": [f"{f.kind}: {f.where}" for f in drafted.findings],
        "checks": [{"check": c.name, "status": c.status} | ({"detail": c.detail} if c.detail else {}) for c in checks],
    }
    with workspace.control.begin() as control:
        append(control, LISTED, body, run=f"{FOLDER}:{listed.as_of}", at=at)
    with workspace.control.connect() as control:
        keep_head(control, S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET)), FOLDER)
    _publish(_folder(listed), files)
    problems = [f"{f.where}: {f.problem}" for f in drafted.findings]
    problems += [f"{c.name}: {'not so' if c.status == 'failed' else 'could not be seen'}" for c in checks if c.status != "passed"]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UntrueList(
            f"The list of processors has {len(problems)} findings: {'; '.join(problems[:8])}{more}",
            fix="`lethe check` shows those of the register. The list is stored and sent to nobody.",
        )
    return body


def _last_before(control: Connection, day: date) -> date | None:
    """The latest day before `day` of which a list is on record that nothing was found against: what changed since another is not lost."""
    told = (r.content for r in records(control, kind=LISTED))
    days = (date.fromisoformat(t["as_of"]) for t in told if not t["findings"] and all(c["status"] == "passed" for c in t["checks"]))
    return max((d for d in days if d < day), default=None)


def _files(drafted: Drafted) -> dict[str, bytes]:
    """By name under the list's folder: what may be given to anybody, and what is internal."""
    made = {f"{a}/{name}": content for a in Audience for name, content in files_of(drafted.listed, a).items()}
    made |= {f"{a}/{NAME}{_SCHEMA}": as_json(schema(a)) for a in Audience}
    return made | {f"{Audience.INTERNAL}/{name}": content for name, content in record_files(drafted.sources).items()}


def _folder(listed: ProcessorList) -> str:
    """Another list of the same day, made from other files, lies beside it: neither replaces the other."""
    return f"{FOLDER}/{listed.as_of}/{listed.id[:12]}"


def _publish(folder: str, files: Mapping[str, bytes]) -> None:
    """A copy for people, in LETHE_REPORTS_DIR where that is set. Raises ReportNotWritten."""
    if reports := os.environ.get("LETHE_REPORTS_DIR"):
        for name, content in files.items():
            write_whole(Path(reports) / folder / name, content)
