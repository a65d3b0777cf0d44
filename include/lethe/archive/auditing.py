"""Is the archive what its manifests say? `lethe_db` against the ledger and a fresh listing of the bucket, and with `deep` against every byte.

The manifests are read before and after the listing, so that a purge or an expiry at work beside it is no finding. Objects are named by
their ids and datasets. Whatever else lies in the bucket is counted and never named: its key could say anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy import Engine, func, select

from lethe.archive import manifests
from lethe.archive.bucket import ArchiveBucket, refuse_unfit
from lethe.archive.differences import ArchiveFinding, Seen, lock, of_object, on_record, others, schemas
from lethe.archive.finding import LIVING
from lethe.archive.keys import manifest_key, parse
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.archive.reading import ReadingReason, fetch, recorded
from lethe.archive.witness import Witnessed, at_work, witnessed
from lethe.control.tables import archive_objects
from lethe.errors import ArchiveDiffers, NotArchivable
from lethe.frozen import Frozen

_AT_ONCE = 8  # requests for locks side by side


class ArchiveVerdict(Frozen):
    """What the check saw: living objects, their rows, whether every byte was read, and its findings."""

    objects: int
    rows: int
    deep: bool
    findings: tuple[ArchiveFinding, ...]

    @property
    def sound(self) -> bool:
        """Is nothing wrong?"""
        return not any(f.wrong for f in self.findings)


def audit_archive(control: Engine, bucket: ArchiveBucket, *, at: datetime, deep: bool = False) -> ArchiveVerdict:
    """Compares every manifest with the ledger and the bucket. `control` is lethe_db, `at` now. `deep` reads every object, on record in the ledger.

    Raises Uncountable or Unreachable when the bucket cannot be listed: then nothing is known, which is not sound.
    """
    posture = bucket.posture()
    if not posture.exists:
        gone = ArchiveFinding(kind="bucket", text=f"The archive's bucket {bucket.name!r} does not exist.")
        return ArchiveVerdict(objects=0, rows=0, deep=deep, findings=(gone,))
    before = _known(control)
    seen, foreign = _listed(bucket)
    after, ended = _known(control), _ended(control)
    living = [(k, k.manifest) for i, k in after.items() if k.state in LIVING and i in before and before[i].state in LIVING and k.manifest]
    found = [ArchiveFinding(kind="bucket", text=f"The bucket has {lack}.", wrong=False) for lack in posture.lacks]
    try:
        refuse_unfit(posture)
    except NotArchivable as unfit:
        found.append(ArchiveFinding(kind="bucket", text=unfit.problem))
    said, busy = _said(control)
    for known, manifest in living:
        found += on_record(known, manifest, said.get(known.id), at, busy=busy)
        found += of_object(known, manifest, seen.get(known.id, Seen()), at)
    present = [(k, m) for k, m in living if k.id in seen and seen[k.id].object]
    found += _locks(bucket, present, lockable=posture.lock, at=at)
    found += others(after, {i: e for i, e in ended.items() if i not in before}, seen, at)
    if foreign:
        found.append(
            ArchiveFinding(kind="not ours", text=f"{foreign} entries of the bucket were not put there by Lethe, or not as it names them.")
        )
    found += schemas(living)
    if deep:
        found += _bytes(control, bucket, present, {f.object for f in found if f.wrong}, at)
    rows = sum(k.rows for k, _ in living)
    return ArchiveVerdict(objects=len(living), rows=rows, deep=deep, findings=tuple(found))


def living_objects(control: Engine) -> int:
    """How many objects the manifests say there are: to be asked where no archive is set."""
    with control.connect() as book:
        return book.scalar(select(func.count()).where(archive_objects.c.state.in_(list(LIVING)))) or 0


def _known(control: Engine) -> dict[str, Known]:
    """Every object that has not ended, oldest first."""
    with control.connect() as book:
        return {k.id: k for k in manifests.in_states(book, ("announced", "stored", *LIVING))}


def _ended(control: Engine) -> dict[str, tuple[str, str]]:
    """Dataset and state of every object that ended: nothing of it may be left."""
    with control.connect() as book:
        query = select(archive_objects.c.id, archive_objects.c.dataset, archive_objects.c.state)
        query = query.where(archive_objects.c.state.in_(["dropped", "expired", "replaced"]))
        return {row.id: (row.dataset, row.state) for row in book.execute(query)}


def _said(control: Engine) -> tuple[dict[str, Witnessed], frozenset[tuple[str, int]]]:
    """What the ledger has on record, and the runs that may not have done so yet."""
    with control.connect() as book:
        busy = at_work(book)
        return witnessed(book), busy


def _listed(bucket: ArchiveBucket) -> tuple[dict[str, Seen], int]:
    """What is there, by id; and how many entries are not Lethe's."""
    seen: dict[str, Seen] = {}
    foreign = 0
    for entry in bucket.listing():
        parts = parse(entry.key)
        if parts is None:
            foreign += 1
            continue
        place = seen.setdefault(parts.id, Seen())
        (place.manifest if parts.is_manifest else place.object).append(entry)
    for key in bucket.unfinished():
        parts = parse(key)
        if parts is None:
            foreign += 1
        else:
            seen.setdefault(parts.id, Seen()).uploads += 1
    return seen, foreign


def _locks(
    bucket: ArchiveBucket, present: list[tuple[Known, Manifest]], *, lockable: bool | None, at: datetime
) -> Iterator[ArchiveFinding]:
    """Asks the store for the lock of every sealed object, where it can have one."""
    asked = [(k, m) for k, m in present if k.state == "sealed" and (lockable or k.lock_until is not None)]

    def ask(known: Known) -> datetime | None:
        try:
            return bucket.lock_until(known.key, known.version)
        except ArchiveDiffers:
            return None  # gone since it was listed, or lost: said above

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for (known, manifest), until in zip(asked, pool.map(ask, [k for k, _ in asked]), strict=True):
            yield from lock(known, manifest, until, at)


def _bytes(
    control: Engine, bucket: ArchiveBucket, present: list[tuple[Known, Manifest]], named: set[str | None], at: datetime
) -> Iterator[ArchiveFinding]:
    """Reads every object that is there, after putting that on record, and the manifest beside it."""
    with control.connect() as book:
        who = str(book.scalar(select(func.session_user())))
    counts = Counter(m.dataset for _, m in present)
    for dataset in sorted(counts):
        recorded(control, who, ReadingReason.INTEGRITY_CHECK, dataset, [(k, m) for k, m in present if m.dataset == dataset], at=at)
    for known, manifest in present:
        name = f"Archive object {known.id} of {manifest.dataset}"
        try:
            fetch(bucket, known, manifest)
        except ArchiveDiffers:
            if known.id not in named:
                text = f"{name} is not what its manifest says: its bytes are others."
                yield ArchiveFinding(kind="tampered", text=text, dataset=manifest.dataset, object=known.id)
        if known.state == "sealed":
            yield from _beside(control, bucket, known, name)


def _beside(control: Engine, bucket: ArchiveBucket, known: Known, name: str) -> Iterator[ArchiveFinding]:
    with control.connect() as book:
        wanted = manifests.full(book, known)
    try:
        same = bucket.get(manifest_key(known.key), None) == wanted.to_json()
    except ArchiveDiffers:
        return  # it is not there: said above
    if not same:
        text = f"The manifest beside {name[0].lower()}{name[1:]} is not the one in Lethe's database."
        yield ArchiveFinding(kind="tampered", text=text, dataset=wanted.dataset, object=known.id)
