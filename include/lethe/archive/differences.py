"""Where the archive's bucket is not what the manifests say: one object, its lock, what should not be there, schemas that changed. Pure.

Objects are named by their ids and datasets, never by anything of a source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from lethe.archive.bucket import Listed
from lethe.archive.keys import manifest_key
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.archive.witness import Witnessed
from lethe.frozen import Frozen

SETTLED = timedelta(hours=1)
"""An object is announced, stored, confirmed and sealed within a batch, which takes seconds. After this it is not at work, but left."""

UNWITNESSED = timedelta(days=1)
"""So long may a run that is at work have made an object without having put it on record."""

Kind = Literal[
    "bucket", "missing", "deleted", "tampered", "not on record", "no manifest", "not sealed", "not locked", "unlocked early", "locked too long",
    "left over", "left behind", "not ours", "schema",
]  # fmt: skip


class ArchiveFinding(Frozen):
    """One thing about the archive. `wrong`: a person must see to it, and the check fails; else it is information. `object` is an id."""

    kind: Kind
    text: str
    dataset: str | None = None
    object: str | None = None
    wrong: bool = True


@dataclass(kw_only=True)
class Seen:
    """What the bucket lists under one id: versions and delete markers of the object, those of its manifest, unfinished uploads."""

    object: list[Listed] = field(default_factory=list)
    manifest: list[Listed] = field(default_factory=list)
    uploads: int = 0


def of_object(known: Known, manifest: Manifest, seen: Seen, at: datetime) -> Iterator[ArchiveFinding]:
    """What the listing says about one living object."""
    name = f"Archive object {known.id} of {manifest.dataset}"

    def finding(kind: Kind, text: str) -> ArchiveFinding:
        return ArchiveFinding(kind=kind, text=f"{name} {text}", dataset=manifest.dataset, object=known.id)

    entries = [e for e in seen.object if e.key == known.key]
    mine = [e for e in entries if e.version == known.version and not e.is_marker]
    if not mine:
        yield finding(
            "missing", "is not in the bucket: its rows are nowhere else." if not entries else "has lost the version that was written."
        )
    elif mine[0].size != manifest.size:
        yield finding("tampered", f"has {mine[0].size} bytes where its manifest says {manifest.size}.")
    elif mine[0].etag and manifest.etag and mine[0].etag != manifest.etag:
        yield finding("tampered", "has other bytes than were written, as many as before: the store's tag of them is another.")
    others = [e for e in seen.object if e not in mine]
    if any(e.is_marker for e in others):
        yield finding("deleted", "was deleted: a delete marker lies over it.")
    if any(not e.is_marker for e in others):
        yield finding("tampered", "was written again: there is a version that Lethe did not write.")
    if seen.uploads:
        yield finding("left behind", f"has {seen.uploads} unfinished uploads beside it.")
    if known.state != "sealed":
        if at - known.announced_at > SETTLED:
            yield finding(
                "not sealed", "is not sealed: its manifest is not beside it and it is not locked. The next purge of its step does that."
            )
    elif not any(e.is_latest and not e.is_marker and e.key == manifest_key(known.key) for e in seen.manifest):
        yield finding("no manifest", "has no manifest beside it.")


def on_record(
    known: Known, manifest: Manifest, said: Witnessed | None, at: datetime, *, busy: frozenset[tuple[str, int]]
) -> Iterator[ArchiveFinding]:
    """What the ledger says about one living object. `busy`: the runs that delete now, which put what they archive on record when they are done."""
    name = f"Archive object {known.id} of {manifest.dataset}"
    if said is None:
        age = at - known.announced_at
        if age > UNWITNESSED or (age > SETTLED and (known.plan, known.attempt) not in busy):
            text = f"{name} is not in the ledger: nothing says that Lethe made it so."
            yield ArchiveFinding(kind="not on record", text=text, dataset=manifest.dataset, object=known.id)
    elif said.disputed or (said.sha256, said.rows) != (manifest.sha256, known.rows) or manifest.rows != known.rows:
        text = f"{name} is not what the ledger says: its manifest was changed after it was made."
        yield ArchiveFinding(kind="tampered", text=text, dataset=manifest.dataset, object=known.id)


def lock(known: Known, manifest: Manifest, until: datetime | None, at: datetime) -> Iterator[ArchiveFinding]:
    """What the lock of a sealed object says, as read from the store: None is no lock."""
    end = manifest.expires_at
    name = f"Archive object {known.id} of {manifest.dataset}"
    if until is not None and until > end:
        text = f"{name} is locked until {until.isoformat()}, longer than until its expiry: it cannot go on its day."
        yield ArchiveFinding(kind="locked too long", text=text, dataset=manifest.dataset, object=known.id)
    elif at < end and until != end and manifest.replaces is None:
        early = known.lock_until is not None or until is not None
        state = "is locked no longer" if until is None else f"is locked only until {until.isoformat()}"
        text = f"{name} {state if early else 'has no lock'}, though it expires on {manifest.expires_on.isoformat()}."
        yield ArchiveFinding(kind="unlocked early" if early else "not locked", text=text, dataset=manifest.dataset, object=known.id)


def others(
    known: Mapping[str, Known], ended: Mapping[str, tuple[str, str]], seen: Mapping[str, Seen], at: datetime
) -> Iterator[ArchiveFinding]:
    """Objects that should not be there: of no manifest, ended ones (dataset and state), and those that a dead batch left behind."""
    for number, place in seen.items():
        what = f"{len(place.object) + len(place.manifest) + place.uploads} entries"
        if number in ended:
            dataset, state = ended[number]
            text = f"Archive object {number} of {dataset} ended ({state}), and {what} of it are left in the bucket."
            yield ArchiveFinding(kind="left over", text=text, object=number, dataset=dataset)
        elif number not in known:
            text = f"Object {number} has {what} in the bucket and no manifest: nobody knows when it expires."
            yield ArchiveFinding(kind="no manifest", text=text, object=number, dataset=None)
    for number, each in known.items():
        if each.state in {"announced", "stored"} and at - each.announced_at > SETTLED:
            text = f"Archive object {number} of {each.dataset} was {each.state}, and its batch never ended. The next purge of its step settles it."
            yield ArchiveFinding(kind="left behind", text=text, object=number, dataset=each.dataset)


def schemas(living: Sequence[tuple[Known, Manifest]]) -> Iterator[ArchiveFinding]:
    """Where the archived columns of a dataset under a law changed from one run to the next: information for whoever reads them together."""
    last: dict[tuple[str, str], Manifest] = {}
    for _, manifest in living:
        place = (manifest.dataset, manifest.law)
        old = last.get(place)
        last[place] = manifest
        if old is None or old.schema_digest == manifest.schema_digest:
            continue
        had, has = ({(c.name, c.source, c.kept_as) for c in m.columns} for m in (old, manifest))
        changed = sorted({name for name, *_ in had ^ has})
        text = f"The archived columns of {manifest.dataset} under {manifest.law} changed with object {manifest.id}: {', '.join(changed) or 'their order'}."
        yield ArchiveFinding(kind="schema", text=text, dataset=manifest.dataset, object=manifest.id, wrong=False)
