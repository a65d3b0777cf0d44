"""The objects of a batch's rows, deleted between the rows' DELETE and their COMMIT.

`lethe_db` gets numbers only. Before each request that deletes, both sessions are asked whether they live still: the source's, whose locks
keep the rows, and the one that keeps new holds out. A store that refuses an object or does not answer makes the batch roll back; objects
that it deleted before that are gone, and the next run finds them missing. A key outside of its prefix is refused: it is another dataset's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select, text

from lethe.catalog.model import Prefix, Store
from lethe.errors import ObjectErrors, UnknownName
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.stores.postgres.filing import Filed, Named, still_named
from lethe.stores.postgres.predicate import Target
from lethe.stores.s3.client import client
from lethe.stores.s3.delete import ObjectTotals
from lethe.stores.s3.listing import folder
from lethe.stores.s3.named import delete_named, entries_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, kw_only=True)
class _Going:
    store: Store
    bucket: str
    keys: tuple[str, ...] = field(repr=False)
    rows: int
    shared: int


class Filer:
    """Deletes the objects of a store's rows (`stores.postgres.filing.Filing`)."""

    def __init__(self, ctx: PurgeContext, *, gate: Callable[[], Connection], refuse: Callable[[Mapping[str, int]], None]) -> None:
        """Opens nothing yet. `gate` gives the session whose transaction keeps new holds out; `refuse` raises NotApproved where a batch of
        these rows, by step, may not be: it is asked before an object goes, for nothing brings one back."""
        self.ctx, self._gate, self._refuse = ctx, gate, refuse
        self._clients: dict[str, S3Client] = {}

    def remove(self, connection: Connection, named: Sequence[Named]) -> tuple[Filed | None, ...]:
        """See `Filing`. UnknownName when the catalog has no such prefix."""
        self._refuse({n.target.step.id: n.rows for n in named if n.rows})
        going = [None if n.keys is None else self._going(connection, n.target, n.keys) for n in named]
        return tuple(None if g is None else self._delete(connection, g) for g in going)

    def _going(self, connection: Connection, target: Target, keys: Sequence[str]) -> _Going:
        """Which of these keys' objects go. ObjectErrors for keys that lie elsewhere."""
        store, prefix = self._prefix(target)
        wanted = tuple(dict.fromkeys(keys))
        outside = sum(not k.startswith(folder(prefix.prefix)) for k in wanted)
        if outside:
            raise ObjectErrors(
                f"Step {target.step.id}: {outside} rows name an object outside of the prefix that the catalog gives their files.",
                fix="Correct the keys in these rows, or `files` in the catalog. The batch was rolled back; no object was deleted.",
            )
        if not wanted:
            return _Going(store=store, bucket=prefix.bucket, keys=(), rows=0, shared=0)
        # Two batches whose rows share an object would each see the other's row, and both would leave it.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"lethe:files:{store.id}:{prefix.bucket}", 0))))
        shared = still_named(connection, target.store, target.live, self._columns(target.store, store, prefix), wanted)
        return _Going(
            store=store, bucket=prefix.bucket, keys=tuple(k for k in wanted if k not in shared), rows=len(keys), shared=len(shared)
        )

    def _delete(self, connection: Connection, going: _Going) -> Filed:
        if not going.keys:
            return Filed(rows=going.rows, shared=going.shared)
        s3 = self._client(going.store)
        point("files.delete.before", connection)
        entries = entries_of(s3, going.bucket, going.keys)
        result = delete_named(s3, going.bucket, entries, asking=lambda: self._alive(connection))
        point("files.delete.after", connection)
        ObjectTotals(failed=result.failed, errors=result.errors, versions=result.deleted).raise_if_failed()
        missing = len(set(going.keys) - {e.key for e in entries})
        return Filed(rows=going.rows, entries=result.deleted, missing=missing, shared=going.shared)

    def _prefix(self, target: Target) -> tuple[Store, Prefix]:
        files = target.table.files
        found = self.ctx.catalog.datasets().get(files.dataset) if files else None
        if found is None or not isinstance(found[1], Prefix):
            raise UnknownName(f"The files of {target.dataset!r} lie in no prefix of the catalog.", fix="Correct `files.dataset` there.")
        return found[0], found[1]

    def _columns(self, source: Store, store: Store, prefix: Prefix) -> list[tuple[str, str]]:
        """Every dataset and column of the source whose rows may name an object of this bucket."""
        same = {name for name, there in store.prefixes.items() if there.bucket == prefix.bucket}
        return [(name, t.files.column) for name, t in source.tables.items() if t.files is not None and t.files.dataset in same]

    def _client(self, store: Store) -> S3Client:
        if store.id not in self._clients:
            self._clients[store.id] = client(self.ctx.connections(store.connection), patient=False)
        return self._clients[store.id]

    @contextmanager
    def _alive(self, source: Connection) -> Iterator[None]:
        """A session that was lost keeps neither rows nor holds as they were: then nothing is sent."""
        source.execute(text("select 1"))
        self._gate().execute(text("select 1"))
        yield
