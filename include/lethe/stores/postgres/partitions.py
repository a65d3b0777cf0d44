"""Dropping partitions that are wholly due, which costs next to nothing whatever their size.

Only where both bounds lie between start of service and cutoff, the clock is the partition key itself, no contract or subset
matters, nothing refers to the table, nothing fires on deletion and no row is held. The content is counted before the transaction begins,
and under a SHARE lock, which lets readers read, it is seen to be the same still: by its keys, which an index gives without the rows. Where
holds are in force all of it is counted again under the lock. Then the drop waits 100 ms at most for its lock and tries again, so that a slow
reader stops nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, FromClause, Text, and_, cast, func, literal_column, or_, select, text
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from lethe.plan.model import HoldScope
from lethe.plan.order import table_name
from lethe.stores.postgres.delete import Isolation, Outcome, Piece, going, qualified, younger
from lethe.stores.postgres.keys import fingerprint_of, key64
from lethe.stores.postgres.predicate import Target, at, predicate_of

_RANGE = re.compile(r"^FOR VALUES FROM \(('(?:[^']|'')*')\) TO \(('(?:[^']|'')*')\)$")
INTEGERS = {"smallint", "integer", "bigint"}
_BOUNDS = text(
    "select n.nspname as schema, c.relname as name, pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound, c.relkind::text as kind, "
    "exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgtype & 8 > 0) as watched, "
    "exists (select from pg_catalog.pg_constraint k where k.confrelid = c.oid and k.contype = 'f') as referred, "
    "exists (select from pg_catalog.pg_depend d where d.refobjid = c.oid and d.deptype = 'n' and d.classid = 'pg_rewrite'::regclass) as viewed "
    "from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where i.inhparent = to_regclass(:parent) and not i.inhdetachpending order by n.nspname, c.relname"
)


def droppable(target: Target, *, watched: bool) -> bool:
    """May partitions of this table be dropped at all?"""
    predicate = predicate_of(target.step)
    live = target.live.tables.get(table_name(target.table)) if target.live else None
    return (
        live is not None
        and live.kind == "partitioned"
        and live.partition_strategy == "range"
        and live.partition_key == (predicate.clock.column,)
        and predicate.clock.own
        and not predicate.subset
        and predicate.shield is None
        and not predicate.kept_for
        and not target.incoming
        and not watched
    )


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a partition holds: rows, their fingerprint, the keys of young ones, how many rows have to stay, and its mark."""

    rows: int
    fingerprint: int
    young: tuple[int, ...]
    stay: int
    mark: tuple[Any, ...]


@dataclass(kw_only=True)
class DropPartitions:
    """One partition a batch. `reader` gives the purging role's connection: it sees every table that holds lead to."""

    target: Target
    reader: Callable[[Sequence[HoldScope]], Connection]
    lock_timeout: int
    tries: int
    before: Callable[[Connection], None] = lambda connection: None
    after: Callable[[Connection], None] = lambda connection: None
    snapshot: str | None = None
    role: str = "maintenance"
    name: str = "partition drop"
    isolation: Isolation = "READ COMMITTED"
    _before: Content | None = field(default=None, repr=False)

    @property
    def steps(self) -> tuple[str, ...]:
        """The one step."""
        return (self.target.step.id,)

    def start(self, connection: Connection) -> Any:
        """The partitions wholly due, with their bounds as texts that PostgreSQL printed."""
        parent = qualified(self.target.table.db_schema, self.target.table.table)
        found = []
        for partition in connection.execute(_BOUNDS, {"parent": parent}).all():
            bounds = _RANGE.match(partition.bound or "")
            if bounds is None or partition.kind != "r" or partition.watched or partition.referred or partition.viewed:
                continue
            low, high = (b[1:-1].replace("''", "'") for b in bounds.groups())
            if self._wholly_due(connection, low, high):
                found.append((partition.schema, partition.name, low, high))
        return found or None

    def _wholly_due(self, connection: Connection, low: str, high: str) -> bool:
        p = predicate_of(self.target.step)
        kind = self.target.row().c[p.clock.column or ""].type
        inside = select(
            (cast(low, kind) >= at(p.start_of_service, p.clock, p.zone)) & (cast(high, kind) <= at(min(p.cutoff, p.as_of), p.clock, p.zone))
        )
        return bool(connection.scalar(inside))

    def prepare(self, cursor: Any, holds: Sequence[HoldScope]) -> None:
        """Counts the next partition's content before its transaction begins: nobody waits for that."""
        (_, _, low, high), *_ = cursor
        self._before = self._content(low, high, holds)

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """Sees what the next partition holds now, and drops it; nothing when a row of it has to stay."""
        (schema, name, low, high), *rest = cursor
        where = {"partition": name}
        nothing = Outcome(pieces=(Piece(step=self.target.step.id, rows=0, fingerprint=0),), range=where, cursor=rest, done=not rest)
        partition = qualified(schema, name)
        connection.execute(text(f"LOCK TABLE {partition} IN SHARE MODE"))
        content = self._before
        if holds or content is None or self._mark(low, high) != content.mark:
            content = self._content(low, high, holds)
        if content.stay:
            return nothing
        self.before(connection)
        self._drop(connection, partition)
        self.after(connection)
        xid = connection.scalar(text("select pg_current_xact_id()::text::bigint"))
        piece = Piece(step=self.target.step.id, rows=content.rows, fingerprint=content.fingerprint, young=content.young)
        return Outcome(pieces=(piece,), range=where, cursor=rest, done=not rest, xid=xid)

    def _mark(self, low: str, high: str) -> tuple[Any, ...]:
        """What changes when a row comes, goes, or gets another key or clock; an index on key and clock gives it without the rows."""
        row, inside = self._inside(low, high)
        reader = self.reader(())
        with reader.begin():
            return tuple(reader.execute(select(*self._marks(row, low)).select_from(row).where(inside)).one())

    def _marks(self, row: FromClause, low: str) -> list[ColumnElement[Any]]:
        """Rows, the exclusive or of their keys' hashes, the sum of their clocks' distances. Cheaper than key64s, which of several columns are
        hashes of texts."""
        clock = row.c[predicate_of(self.target.step).clock.column or ""]
        hashes = [func.bit_xor(func.hashtextextended(cast(row.c[k], Text), literal_column("0"))) for k in self._keys[1]]
        hashes += [func.bit_xor(func.hashint8extended(cast(row.c[k], BigInteger), literal_column("0"))) for k in self._keys[0]]
        return [func.count(), *hashes, func.sum(clock - cast(low, clock.type))]

    @property
    def _keys(self) -> tuple[list[str], list[str]]:
        """The key's columns besides the clock: whole numbers, and others."""
        live = self.target.live.tables[table_name(self.target.table)] if self.target.live else None
        names = [k for k in self.target.table.key if k != predicate_of(self.target.step).clock.column]
        whole = [k for k in names if live is not None and live.columns[k].type in INTEGERS]
        return whole, [k for k in names if k not in whole]

    def _inside(self, low: str, high: str) -> tuple[FromClause, ColumnElement[bool]]:
        row = self.target.row()
        column = row.c[predicate_of(self.target.step).clock.column or ""]
        return row, and_(column >= cast(low, column.type), column < cast(high, column.type))

    def _content(self, low: str, high: str, holds: Sequence[HoldScope]) -> Content:
        """Rows, fingerprint and young keys of what would go, and how many rows would have to stay."""
        reader = self.reader(holds)
        row, inside = self._inside(low, high)
        key = key64(row, self.target.table, self.target.live)
        takes = going(row, self.target, holds)
        query = select(
            func.count(),
            fingerprint_of(key),
            func.array_agg(key).filter(younger(row, self.snapshot)),
            func.count().filter(or_(takes.is_(None), ~takes)),
            *self._marks(row, low),
        )
        with reader.begin():
            found = reader.execute(query.select_from(row).where(inside)).one()
        return Content(rows=found[0], fingerprint=found[1] or 0, young=tuple(found[2] or ()), stay=found[3], mark=tuple(found[4:]))

    def _drop(self, connection: Connection, partition: str) -> None:
        """Waits for the lock in short turns: behind a reader that stays open, a long wait would stop everybody who comes after it."""
        connection.execute(text(f"SET LOCAL lock_timeout = {int(self.lock_timeout)}"))
        turns = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, DBAPIError) and getattr(e.orig, "sqlstate", None) == "55P03"),
            stop=stop_after_attempt(self.tries),
            wait=wait_random(0.05, 0.15),
            reraise=True,
        )
        for turn in turns:
            with turn, connection.begin_nested():
                connection.execute(text(f"DROP TABLE {partition}"))
