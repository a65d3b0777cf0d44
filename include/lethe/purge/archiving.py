"""What a purge does with rows before it deletes them: those that a law needs go to the archive, all are counted by tenant.

The order is the promise (invariant 2). Inside the batch's transaction: read on its snapshot; announce in `lethe_db`; upload; read back and
compare; only then does the technique delete, and compare the number. What becomes of the objects then is in `archive_books.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, FromClause, Text, func, select, text
from sqlalchemy.sql.compiler import SQLCompiler

from lethe.archive.memory import keep_for_the_next_batch
from lethe.archive.model import CLOCK, KEY64, PERSONS, TENANT, ArchivedColumn, NamedBy
from lethe.archive.names import fingerprint, names_of, person_lists
from lethe.archive.write import Prepared, by_expiry, compare, over, prepare
from lethe.arrays import numbers, of_flags
from lethe.plan.model import HoldScope, Predicate, Step
from lethe.plan.order import table_name, visited
from lethe.purge.archive_books import ArchiveBooks
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.purge.sources import Sources
from lethe.stores.postgres import taking
from lethe.stores.postgres.archived import Projected, as_kept, projection
from lethe.stores.postgres.arrow import ArrowReader, compiled_for
from lethe.stores.postgres.delete import younger
from lethe.stores.postgres.predicate import Target
from lethe.stores.postgres.taking import Reading, Taken


def is_sorted(step: Step, ctx: PurgeContext) -> bool:
    """Are this step's rows sorted: some kept by a law, or going because a contract ended?"""
    if step.archive is not None:
        return True
    store = ctx.catalog.store(step.store or "")
    if store.contracts is None or not isinstance(step.predicate, Predicate) or step.dataset not in store.tables:
        return False
    return store.contracts.dataset in visited(store, step.dataset, step.predicate.clock.through)


_EXPORT = select(func.pg_export_snapshot(type_=Text))


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A statement that reads, and what it was built of."""

    reading: Reading
    where: Sequence[ColumnElement[bool]]
    snapshot: str | None
    statement: SQLCompiler


class Archiver:
    """Takes the rows of a group's sorted steps (`stores.postgres.taking.Taking`). Shared by the lanes: each takes in its own thread."""

    def __init__(self, ctx: PurgeContext, sources: Sources) -> None:
        """Opens nothing yet."""
        self.ctx, self.sources = ctx, sources
        self.books = ArchiveBooks(ctx)
        self._idle: list[ArrowReader] = []
        self._readings: dict[str, Reading] = {}
        self._lock = threading.Lock()
        self._mine = threading.local()

    def serves(self, step: Step) -> bool:
        """Does this step's technique need it?"""
        return is_sorted(step, self.ctx)

    def close(self) -> None:
        """Closes the readers' sessions, and ends the sealing."""
        self.books.close()
        with self._lock:
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()

    def ready(self, holds: Sequence[HoldScope], book: Connection) -> None:
        """Before a batch's transaction begins: this thread has a session that reads, with these holds, and writes what it will upload
        with `book`, its session of `lethe_db`."""
        self._mine.book = book
        keep_for_the_next_batch()
        if getattr(self._mine, "reader", None) is None:
            with self._lock:
                self._mine.reader = self._idle.pop() if self._idle else None
        if self._mine.reader is None:
            limits = self.ctx.limits
            given = {"lock_timeout": limits.lock_timeout, "statement_timeout": limits.statement_timeout}
            self._mine.reader = ArrowReader(self.sources.connection("purge"), self.sources.name("reader"), **given)
        self._mine.reader.with_holds(holds)

    def rest(self) -> None:
        """After a batch: another thread may have this one's session."""
        reader, self._mine.reader = getattr(self._mine, "reader", None), None
        if reader is not None:
            with self._lock:
                self._idle.append(reader)

    def take(
        self,
        connection: Connection,
        target: Target,
        row: FromClause,
        where: Sequence[ColumnElement[bool]],
        holds: Sequence[HoldScope],
        values: Sequence[Mapping[str, Any]],
        snapshot: str | None,
    ) -> Taken:
        """See `Taking`. Raises what the reader, the bucket and `archive.write.compare` raise; then nothing was deleted."""
        reading = self._reading(target)
        statement = self._asked(connection, reading, row, where, snapshot)
        exported = connection.scalar(_EXPORT)
        point("archive.read.before", connection)
        try:
            found = self._mine.reader.read(exported, statement, values, quoting=connection, certain=reading.certain)
        except psycopg.Error:
            connection.execute(text("select 1"))  # a snapshot ends with its session: when that is lost, it is the error
            raise
        point("archive.read.after", connection)
        if not found.num_rows:
            return Taken(rows=0, fingerprint=0)
        found = reading.completed(row, found)
        kept = np.zeros(found.num_rows, dtype=bool)
        stored: tuple[str, ...] = ()
        tenants = names_of(self.ctx.digest_key, target.store.tenants or "", found[taking.TENANT].combine_chunks(), again=True)
        if target.step.archive is not None and isinstance(target.step.predicate, Predicate):
            expires, is_over = over(found[taking.DAY].combine_chunks(), target.step.archive, target.step.predicate)
            kept = ~is_over
            if kept.any():
                rows = self._rows(found, reading, tenants)
                rows = rows if kept.all() else rows.filter(of_flags(kept))
                named = NamedBy(
                    key=fingerprint(self.ctx.digest_key),
                    tenants=target.store.tenants,
                    identities=tuple(sorted({i for i in reading.identities if not target.store.by_address(i)})),
                )
                stored = self._keep(rows, expires[kept], reading.projected, target.step, named)
        young = found[taking.KEY].filter(found[taking.YOUNG])
        return Taken(
            rows=found.num_rows,
            fingerprint=int(np.bitwise_xor.reduce(numbers(found[taking.HASH]))),
            young=tuple(young.to_pylist()),
            archived=int(kept.sum()),
            objects=stored,
            tenants=_by_tenant(tenants, kept),
        )

    def _asked(
        self, connection: Connection, reading: Reading, row: FromClause, where: Sequence[ColumnElement[bool]], snapshot: str | None
    ) -> SQLCompiler:
        """The statement that reads the rows. A technique that asks for the same as in its last batch hands over the very same `where`; then
        this thread has it already."""
        known: _Question | None = getattr(self._mine, "asked", None)
        if known is None or known.reading is not reading or known.where is not where or known.snapshot != snapshot:
            statement = compiled_for(connection, reading.statement(row, where, younger(row, snapshot)))
            known = self._mine.asked = _Question(reading=reading, where=where, snapshot=snapshot, statement=statement)
        return known.statement

    def _reading(self, target: Target) -> Reading:
        step = target.step
        with self._lock:
            if step.id not in self._readings:
                columns = step.archive.columns if step.archive else ()
                if columns and target.live is None:
                    raise TypeError(f"step {step.id}: what its columns are kept as cannot be told without the live schema")
                projected = projection(target.live.tables[table_name(target.table)], columns) if columns and target.live else ()
                self._readings[step.id] = Reading(target=target, projected=projected)
            return self._readings[step.id]

    def _rows(self, found: pa.Table, reading: Reading, tenants: pa.DictionaryArray) -> pa.Table:
        """The rows as they are kept: the law's columns, then Lethe's own."""
        ways = [(d, found[f"{taking.PERSON}{n}"].combine_chunks()) for n, d in enumerate(reading.identities)]
        kept = as_kept(found, reading.projected)
        own = {
            CLOCK: found[taking.CLOCK].cast(pa.timestamp("us", "UTC")),
            TENANT: tenants.cast(pa.string()),
            PERSONS: person_lists(self.ctx.digest_key, ways, found.num_rows),
            KEY64: found[taking.KEY],
        }
        for name, values in own.items():
            kept = kept.append_column(pa.field(name, values.type), values)
        return kept

    def _keep(self, rows: pa.Table, expires: np.ndarray, projected: Sequence[Projected], step: Step, named: NamedBy) -> tuple[str, ...]:
        """Announces, uploads, reads back and compares the objects of these rows; their ids."""
        columns = [ArchivedColumn(name=p.name, source=p.source, kept_as=p.kept_as) for p in projected]
        parts = [
            (part, prepare(part, columns, day, plan=self.ctx.plan, attempt=self.ctx.attempt, step=step, names=named))
            for day, part in by_expiry(rows, expires)
        ]
        self.books.announce([p.manifest for _, p in parts], self._mine.book)
        for part, prepared in parts:
            self._upload(part, prepared)
        return tuple(p.manifest.id for _, p in parts)

    def _upload(self, part: pa.Table, prepared: Prepared) -> None:
        manifest, bucket = prepared.manifest, self.books.bucket
        point("archive.upload.before")
        put = bucket.put(manifest.key, prepared.data)
        point("archive.upload.after")
        self.books.uploaded(manifest, put.version)
        encryption = compare(bucket, prepared, part, put.version)
        point("archive.readback.after")
        self.books.uploaded(manifest.model_copy(update={"encryption": encryption, "etag": put.etag or None}), put.version)


def _by_tenant(tenants: pa.DictionaryArray, kept: np.ndarray) -> dict[str, tuple[int, int]]:
    """Rows archived and rows only deleted, by the tenant's name in the archive; "" for rows that lead to none."""
    codes, names = numbers(tenants.indices), tenants.dictionary.to_pylist()
    rows, archived = np.bincount(codes, minlength=len(names)), np.bincount(codes[kept], minlength=len(names))
    return {name or "": (int(a), int(n - a)) for name, a, n in zip(names, archived, rows, strict=True)}
