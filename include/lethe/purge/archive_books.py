"""The records of what a group's batches archive: announced, stored with the intent, confirmed with its closing, sealed, or dropped.

An object whose deletion did not commit is dropped: at once where this process lives on, else by the next run. All of it may be done again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lethe import settings
from lethe.archive import manifests, sealing
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.manifests import Known
from lethe.archive.model import Manifest
from lethe.archive.posture import refuse_unfit
from lethe.control.commits import durably, each_by_itself
from lethe.errors import LetheError, ObjectErrors
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.purge.sources import abandon, is_lost

log = logging.getLogger(__name__)
_WAITING = 4
"""Batches whose sealing may wait while lanes go on."""


class ArchiveBooks:
    """Shared by the lanes of a group; what a batch has announced is its own thread's.

    Sealing has a thread of its own, beside the lanes: a row that is gone waits for nothing there, and it took a fifth of the lanes' time.
    """

    def __init__(self, ctx: PurgeContext) -> None:
        """Opens nothing yet."""
        self.ctx = ctx
        self._bucket: ArchiveBucket | None = None
        self._lockable: bool | None = None
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="sealer")
        self._sealing: list[Future[None]] = []
        self._clerk: Connection | None = None

    def close(self) -> None:
        """Ends the sealing: what waits for it is left to the next run."""
        self._sealer.shutdown(wait=True, cancel_futures=True)
        self._drop_clerk()

    def look_ahead(self) -> None:
        """Has a client of the bucket made while the first rows are read, for that takes long. The store is asked nothing; what hinders it is told
        when the client is needed."""
        self._sealer.submit(self._client)

    @property
    def bucket(self) -> ArchiveBucket:
        """The archive's bucket. Raises Unreachable when the connection is not set, NotArchivable when it cannot be the archive."""
        return self._looked_at()[0]

    @property
    def lockable(self) -> bool:
        """Has the bucket object lock, as it says itself?"""
        return self._looked_at()[1]

    def _looked_at(self) -> tuple[ArchiveBucket, bool]:
        """The bucket and whether it locks: asked once."""
        bucket = self._client()
        with self._looking:
            if self._lockable is None:
                posture = bucket.posture()
                refuse_unfit(posture)
                self._lockable = posture.lock is True
            return bucket, self._lockable

    def _client(self) -> ArchiveBucket:
        """The bucket, of which nothing was asked yet."""
        with self._looking:
            self._bucket = self._bucket or ArchiveBucket.of(self.ctx.connections(settings.ARCHIVE))
            return self._bucket

    # Around a batch

    @property
    def _pending(self) -> dict[str, tuple[Manifest, str | None]]:
        """What this thread has announced and not sealed: manifests by object, each with the version that the store gave it."""
        if not hasattr(self._mine, "pending"):
            self._mine.pending = {}
        found: dict[str, tuple[Manifest, str | None]] = self._mine.pending
        return found

    def announce(self, made: Sequence[Manifest], book: Connection) -> None:
        """Writes, before anything is uploaded, what will be. `book` is this thread's session, outside of a transaction."""
        bucket = self.bucket  # where it cannot be had, nothing is announced
        self._pending.update({m.id: (m, None) for m in made})
        durably(book)
        with each_by_itself(book):
            point("archive.announce.before", book)
            manifests.announce(book, made, bucket.name)
            point("archive.announce.after", book)

    def uploaded(self, manifest: Manifest, version: str | None) -> None:
        """Takes down what the store said of an announced object."""
        self._pending[manifest.id] = (manifest, version)

    def forget(self) -> None:
        """Before a batch: this thread has nothing announced. What an earlier batch that failed left is settled at the end of the group."""
        self._pending.clear()
        self._mine.closed = False

    def store(self, book: Connection, numbers: Mapping[str, int]) -> None:
        """Writes the manifests of what this thread has uploaded, in the transaction of the intent."""
        for step, number in numbers.items():
            manifests.store(book, {i: (m, v) for i, (m, v) in self._pending.items() if m.step == step}, number)

    def confirm(self, book: Connection, numbers: Mapping[str, int]) -> None:
        """The deletion committed: in the transaction that closes the intents of these steps. Where all objects are as they are known here,
        `seal` need not ask."""
        mine = [i for i, (m, _) in self._pending.items() if m.step in numbers]
        moved = manifests.set_state(book, mine, "confirmed", was=["stored"])
        self._mine.closed = moved == len(self._pending)

    def seal(self) -> None:
        """Has what this thread's batch archived sealed, and goes on. What cannot be sealed now is sealed at the end of the group
        (`seal_left`). Where too many batches wait for it, the lane waits too: an object without its lock is to be the exception. Raises what
        ended the sealing of an earlier batch, where that is no operator's error."""
        mine, closed = dict(self._pending), self._mine.closed
        self.forget()
        with self._lock:
            done = [s for s in self._sealing if s.done()]
            self._sealing = [s for s in self._sealing if s not in done]
            if mine:
                self._sealing.append(self._sealer.submit(self._seal_of, mine, closed))
            behind = self._sealing[:-_WAITING]
        for each in [*done, *behind]:
            each.result()

    def sealed(self) -> None:
        """Waits until nothing is being sealed. Raises as `seal`."""
        with self._lock:
            found, self._sealing = self._sealing, []
        for each in found:
            each.result()

    def _seal_of(self, mine: Mapping[str, tuple[Manifest, str | None]], closed: bool) -> None:
        """`closed`: the batch ended as it should, so its objects are as they are known here; else `lethe_db` is asked. A process that slept so
        long that another one sealed them, too, puts the same manifests once more."""
        try:
            if not closed:
                with self.ctx.control.connect() as book:
                    known = manifests.of_ids(book, tuple(mine))
                return self._seal([k for k in known if k.state == "confirmed"])
            try:
                self._seal_mine(mine)
            except (DBAPIError, psycopg.Error) as error:
                self._drop_clerk()
                if not is_lost(error):
                    raise
                self._seal_mine(mine)  # the session may have ended long ago, while nothing was sealed
        except (LetheError, DBAPIError, psycopg.Error) as error:
            log.warning("archive objects are not sealed yet", extra={"objects": len(mine), "error": type(error).__name__})

    def _seal_mine(self, mine: Mapping[str, tuple[Manifest, str | None]]) -> None:
        """With a session that the sealing keeps: to take one from the pool is a request more."""
        if self._clerk is None:
            self._clerk = self.ctx.control.connect().execution_options(isolation_level="AUTOCOMMIT")
        for manifest, version in mine.values():
            sealing.seal_one(self.bucket, self._clerk, manifest, version, lockable=self.lockable, at=self.ctx.clock(), point=point)

    def _drop_clerk(self) -> None:
        session, self._clerk = self._clerk, None
        if session is not None:
            abandon(session)

    def resolve(self) -> None:
        """After recovery told what became of this thread's batch: what committed is confirmed, and still to be sealed; the rest is dropped."""
        self._mine.closed = False
        ids = tuple(self._pending)
        if ids:
            self._settle(ids)

    def discard(self) -> None:
        """The batch was rolled back and no intent speaks of its objects: they are dropped. Where that fails too, the end of the group, or
        the next run, does it."""
        ids = tuple(self._pending)
        if not ids:
            return
        try:
            self._settle(ids)
        except (LetheError, DBAPIError, psycopg.Error) as error:
            self._pending.clear()
            log.warning("archive objects are not dropped yet", extra={"objects": len(ids), "error": type(error).__name__})

    def _settle(self, ids: Collection[str]) -> None:
        """Confirms or drops objects by what became of their batches, and forgets those that this thread dropped."""
        with self.ctx.control.begin() as book:
            known = manifests.of_ids(book, tuple(ids))
            found = [k for k in known if k.state in {"announced", "stored"}]
            fates = {k.id: manifests.fate(book, k) for k in found}
            manifests.set_state(book, [i for i, fate in fates.items() if fate == "committed"], "confirmed", was=["stored"])
        gone = [k for k in found if fates[k.id] == "gone"]
        if gone:
            drop(self.bucket, self.ctx, gone)
        # An announcement that was lost on the way left nothing; should it arrive yet, the end of the group drops its object.
        never = set(ids) - {k.id for k in known}
        for number in {k.id for k in gone} | never:
            self._pending.pop(number, None)

    # Around a group

    def recover(self, steps: Collection[str]) -> None:
        """When no batch of these steps runs, of whatever plan, and recovery has closed their intents: objects of committed batches are
        confirmed and sealed, all others dropped. Objects of a batch in doubt are left alone."""
        self.sealed()
        with self.ctx.control.connect() as book:
            open_ = manifests.in_states(book, ["announced", "stored"], steps=steps)
        try:
            self._settle([k.id for k in open_])
        finally:
            self.seal_left(steps)

    def seal_left(self, steps: Collection[str]) -> None:
        """Seals every confirmed object of these steps that is not sealed yet, and locks those that were sealed when the bucket did not say
        that it can. Raises what hinders it."""
        with self.ctx.control.connect() as book:
            known = [*manifests.in_states(book, ["confirmed"], steps=steps)]
            if manifests.any_unlocked(book, steps, self.ctx.clock()) and self.lockable:
                known += manifests.unlocked(book, steps, self.ctx.clock())
        if known:
            self._seal(known)

    def _seal(self, known: Sequence[Known]) -> None:
        bucket = self.bucket
        manifests.refuse_elsewhere(known, bucket.name)
        sealing.seal(bucket, self.ctx.control, known, lockable=self.lockable, at=self.ctx.clock(), point=point)


def drop(bucket: ArchiveBucket, ctx: PurgeContext, known: Sequence[Known]) -> None:
    """Deletes objects whose deletion did not commit, all versions and unfinished uploads, and writes it down. One that the store refuses is
    told at the end: the others go all the same."""
    manifests.refuse_elsewhere(known, bucket.name)
    refused: list[LetheError] = []
    for each in known:
        point("archive.drop.before")
        try:
            bucket.drop(each.key)
        except ObjectErrors as error:
            refused.append(error)
            continue
        point("archive.drop.after")
        with ctx.control.begin() as book:
            manifests.set_state(book, [each.id], "dropped", was=["announced", "stored"])
    if refused:
        raise refused[0]
