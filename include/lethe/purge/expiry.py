"""Archive objects whose period is over go, all versions of them, by the protocol of `purge/objects.py`; a batch has 500 objects at most.

An object of which a hold keeps some rows is first written anew with these alone: announced, uploaded, read back, compared, stored. Only
then the old one goes, and with that the new one counts. Until then the old one does, so no row is lost and none is there twice: recovery
drops a new object whose old one is still there, and confirms it when the old one is gone. It does so only while the lease is ours and stays
so, and nothing goes by an intent that somebody else has ended: else the two, each for a good reason, would delete both.

No object goes whose bytes are not those of its manifest, and no lock is bypassed: such an object stays, and its step fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, select, text

from lethe import settings
from lethe.archive import expiring, manifests, sealing
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.expiring import Judge
from lethe.archive.finding import named
from lethe.archive.keys import manifest_key, parse, slug
from lethe.archive.manifests import Known
from lethe.archive.write import compare
from lethe.control.holds import batch_gate
from lethe.control.tables import archive_objects as objects
from lethe.errors import ArchiveDiffers, LetheError, ObjectErrors
from lethe.plan.model import Step
from lethe.purge.context import PurgeContext, StepTotals
from lethe.purge.expiry_books import REWRITE, Books
from lethe.purge.faults import point
from lethe.purge.lease import PATIENT, Lease, confirm
from lethe.purge.objects import carried_out
from lethe.stores.s3.client import answering
from lethe.stores.s3.delete import ObjectResult, delete_entries
from lethe.stores.s3.listing import Entry, Kind, everything

LIMIT = 500
"""Objects of a batch: with their manifests two requests of a thousand keys at most."""

READERS = 8
"""Objects read at once."""

ENDED = ("expired", "replaced", "dropped")
"""States that nothing leaves: what lies in the bucket under such an object's id belongs to nobody, such as an upload that the store finished
after it was dropped."""


def purge_expiry(step: Step, ctx: PurgeContext, lease: Lease) -> StepTotals:
    """Expires the due objects of one step; its totals, in rows, over all interruptions. A hold waits for one batch at most.

    Raises what `purge_objects` raises.
    """
    return carried_out(step, ctx, lambda: _Expiry(step, ctx, lease).once())


class _Expiry:
    """One pass over a step's due objects."""

    def __init__(self, step: Step, ctx: PurgeContext, lease: Lease) -> None:
        self.step, self.ctx, self.lease, self.predicate = step, ctx, lease, expiring.predicate_of(step)
        self.bucket = ArchiveBucket.of(ctx.connections(settings.ARCHIVE))
        self.client = self.bucket.client
        self.books = Books(step, ctx, lease)
        self.entries: dict[str, list[Entry]] = {}
        self.wrong: dict[str, ArchiveDiffers] = {}
        self._gate: Connection
        self.errors: Counter[str] = Counter()

    def once(self) -> None:
        """To its end. Raises ArchiveDiffers for objects that are not what their manifests say, ObjectErrors for what the store refused."""
        with self._leased():
            self._list()
            self._recover()
            self.books.forget_refusals()
        with self.ctx.control.connect() as book:
            due = expiring.due(book, self.predicate, self.bucket.name)
            opened = self._judge(book).opened(book, self.predicate)
        whole = [k for k in due if k.id not in opened]
        for start in range(0, len(whole), LIMIT):
            opened |= self._expire_whole(self._sound(whole[start : start + LIMIT]))
        for known in (k for k in due if k.id in opened and k.id not in self.wrong):
            self._expire_opened(known)
        self._sweep()
        self._raise_if_left()

    # What the store has

    def _list(self) -> None:
        """One listing of the step's folders: versions, markers and unfinished uploads, by key."""
        self.entries = {}
        for entry in everything(self.client, self.bucket.name, f"dataset={self.predicate.dataset}/law={slug(self.predicate.law)}/"):
            self.entries.setdefault(entry.key, []).append(entry)

    def _own(self, known: Known) -> Entry | None:
        """The entry of the version that was written and read back; None when it is not there."""
        found = (e for e in self.entries.get(known.key, ()) if e.kind is Kind.VERSION and e.id == (known.version or "null"))
        return next(found, None)

    def _sound(self, chunk: Sequence[Known]) -> list[Known]:
        """Those that are what their manifests say. They are read side by side: most of the time goes to waiting for the store."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="expiry") as pool:
            return [known for known, sound in zip(chunk, pool.map(self._is_sound, chunk), strict=True) if sound]

    def _is_sound(self, known: Known) -> bool:
        """Is the object what its manifest says? One that is not stays, and is named in the end."""
        try:
            expiring.read(self.bucket, known)
            self._refuse_unlisted(known)
        except ArchiveDiffers as error:
            self.wrong[known.id] = error
        return known.id not in self.wrong

    def _refuse_unlisted(self, known: Known) -> None:
        if self._own(known) is None:
            raise expiring.differs(known, "is in no listing of its bucket")

    # Batches

    def _judge(self, book: Connection) -> Judge:
        return Judge(bucket=self.bucket, holds=named(self.ctx.holds(book), self.ctx.digest_key, self.ctx.catalog))

    @contextmanager
    def _leased(self) -> Iterator[None]:
        """The lease is ours until it is left: nobody else works on this step, and whoever left something open is dead. No hold waits."""
        with self.ctx.control.connect() as gate, gate.begin():
            confirm(gate, self.lease)
            gate.execute(PATIENT)
            self._gate = gate
            yield

    @contextmanager
    def _holding(self) -> Iterator[Judge]:
        """Judges by the holds in force, and keeps new ones out until it is left."""
        with self._leased():
            point("expiry.gate.before", self._gate)
            batch_gate(self._gate)
            point("expiry.gate.after", self._gate)
            yield self._judge(self._gate)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """A gate whose session was lost keeps no hold and no other process out any more: then nothing is sent."""
        point("expiry.request.before", self._gate)
        self._gate.execute(text("select 1"))
        yield
        point("expiry.request.after", self._gate)

    def _expire_whole(self, chunk: Sequence[Known]) -> frozenset[str]:
        """Expires objects that no hold can keep a row of; those that one may keep by now are left, and returned."""
        if not chunk:
            return frozenset()
        with self._holding() as judge:
            opened = judge.opened(self._gate, self.predicate)
            chosen = [k for k in chunk if k.id not in opened]
            if chosen:
                self._expire(chosen)
        return opened & {k.id for k in chunk}

    def _expire_opened(self, known: Known) -> None:
        """Looks into an object and expires what no hold keeps of it; nothing is done when that is nothing."""
        with self._holding() as judge:
            try:
                found = judge.read(known)
                self._refuse_unlisted(known)
            except ArchiveDiffers as error:
                self.wrong[known.id] = error
                return
            if not found.held:
                self._expire([known])
            elif found.kept is not None:
                self._rewrite(known, found.kept)

    def _expire(self, chosen: Sequence[Known]) -> None:
        rows = sum(k.rows for k in chosen)
        self.books.refuse_above_ceiling(rows)
        number = self.books.intend(chosen, rows)
        gone, answers = self._delete(number, chosen)
        self.books.close(number, gone, [k for k in chosen if k not in gone], answers)

    def _delete(self, number: int, chosen: Sequence[Known]) -> tuple[list[Known], dict[str, Any]]:
        """Deletes the objects, and the manifests of those that are gone; which are, and what the store answered. StoreBusy as `keep_open`."""
        self.books.keep_open(self._gate, number)
        first = self._ask(number, (k.key for k in chosen))
        gone = [k for k in chosen if (own := self._own(k)) is not None and own.key64 not in first.refused]
        then = self._ask(number, (manifest_key(k.key) for k in gone))
        if len(gone) < len(chosen):  # what else is left is swept in the end
            self.errors.update(first.errors)
        counts = {n: getattr(first, n) + getattr(then, n) for n in ("versions", "markers", "uploads", "vanished")}
        return gone, {**counts, "errors": dict(Counter(first.errors) + Counter(then.errors))}

    def _ask(self, number: int, keys: Iterable[str]) -> ObjectResult:
        named_here = [e for key in keys for e in self.entries.get(key, ())]
        with answering(self.bucket.name):
            return delete_entries(self.client, self.bucket.name, number, named_here, {}, self._asking)

    # An object of which some rows are held

    def _rewrite(self, known: Known, kept: Any) -> None:
        dropped = known.rows - kept.num_rows
        self.books.refuse_above_ceiling(dropped)
        prepared = expiring.rewritten(known, kept, plan=self.ctx.plan, attempt=self.ctx.attempt, step=self.step)
        with self.books.open("expiry.announce") as book:
            manifests.announce(book, [prepared.manifest], self.bucket.name)
        try:
            point("expiry.upload.before")
            put = self.bucket.put(prepared.manifest.key, prepared.data)
            point("expiry.upload.after")
            encryption = compare(self.bucket, prepared, kept, put.version)
            point("expiry.readback.after")
        except LetheError:
            with suppress(LetheError):  # where that fails too, the next run does it
                self._drop_unused()
            raise
        new = prepared.manifest.model_copy(update={"encryption": encryption, "etag": put.etag or None})
        number = self.books.intend([known], dropped, new=(new, put.version))
        gone, answers = self._delete(number, [known])
        if not gone:
            self._drop(new.key)
        self.books.close(number, gone, [] if gone else [known], answers)
        self._seal()

    def _drop(self, key: str) -> None:
        point("expiry.drop.before")
        self._gate.execute(text("select 1"))  # as in `_asking`
        self.bucket.drop(key)
        point("expiry.drop.after")

    def _seal(self) -> None:
        """Seals the objects that this step wrote. Their period is over, so none is locked."""
        with self.ctx.control.connect() as book:
            confirmed = manifests.in_states(book, ["confirmed"], steps=[self.step.id])
        manifests.refuse_elsewhere(confirmed, self.bucket.name)
        sealing.seal(self.bucket, self.ctx.control, confirmed, lockable=False, at=self.ctx.clock(), point=_seal_point)

    # What earlier processes left

    def _recover(self) -> None:
        """Ends what a run that died left open, of whatever plan: what is gone from the store was deleted by its batch. Call it `_leased`.

        Uncountable when an object lies in another bucket: it is not gone because it is not here.
        """
        for row in self.books.left_open():
            with self.ctx.control.connect() as book:
                old = manifests.of_ids(book, row.details["objects"])
                new = manifests.of_ids(book, [row.details["new"]] if row.technique == REWRITE else [])
            manifests.refuse_elsewhere([*old, *new], self.bucket.name)
            gone = [k for k in old if self._own(k) is None]
            with self.books.interrupted(row, gone) as is_open:
                for each in new if is_open else ():
                    if not gone:
                        self._drop(each.key)
                    elif self._own(each) is None:
                        raise expiring.differs(each, "is missing: rows that a hold keeps were in it alone")
        self._drop_unused()
        self._seal()

    def _drop_unused(self) -> None:
        """An object that was to replace another one, and did not. Call it `_leased` or `_holding`."""
        with self.ctx.control.connect() as book:
            unused = manifests.in_states(book, ["announced", "stored"], steps=[self.step.id])
        manifests.refuse_elsewhere(unused, self.bucket.name)
        for known in unused:
            with self.books.dropping(known) as is_unused:
                if is_unused:
                    self._drop(known.key)

    def _sweep(self) -> None:
        """Deletes what is left of objects that ended: manifests of a batch that was interrupted, versions that somebody added, an upload that
        came after its drop. Uncountable when one lay in another bucket: whose copy this is, nobody knows."""
        self._list()
        left: dict[str, list[str]] = {}
        for key in self.entries:
            if (parts := parse(key)) is not None:
                left.setdefault(parts.id, []).append(key)
        ended = objects.c.state.in_(ENDED) & manifests.among(objects.c.id, left)
        with self.ctx.control.connect() as book:
            over = manifests.of_ids(book, list(book.scalars(select(objects.c.id).where(ended))))
        manifests.refuse_elsewhere(over, self.bucket.name)
        keys = [key for known in over for key in left[known.id]]
        if keys:
            with self._holding():
                self.errors.update(self._ask(0, keys).errors)

    def _raise_if_left(self) -> None:
        codes = ", ".join(f"{code}: {n}" for code, n in sorted(self.errors.items()))
        refused = f"The object store refused {sum(self.errors.values())} entries ({codes})." if codes else ""
        if self.wrong:
            first = next(iter(self.wrong.values()))
            which = ", ".join(list(self.wrong)[:5]) + (f" and {len(self.wrong) - 5} more" if len(self.wrong) > 5 else "")
            raise ArchiveDiffers(
                f"{len(self.wrong)} due archive objects are not what their manifests say, and were left: {which}. {refused}".strip(),
                fix=first.fix,
            )
        if refused:
            raise ObjectErrors(refused, fix="Look for an object lock, a legal hold or a bucket policy, then run the same plan again.")


def _seal_point(name: str) -> None:
    point(name.replace("archive.", "expiry."))
