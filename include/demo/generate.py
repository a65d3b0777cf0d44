"""Fills Spotrak's database: schema `app`, deterministic by seed, dated relative to an `as_of`, streamed in by COPY.

One transaction: a load that fails leaves the old data as it was. Rows are copied before keys and indexes exist, and
frozen (COPY FREEZE), so that the first night's figures are not those of a table that was filled a moment ago.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg
from psycopg import sql

from demo import pools
from demo.calendar import START_OF_SERVICE
from demo.canary import canary_rows
from demo.garden import Planted
from demo.planted import planted
from demo.roles import create_roles, grant
from demo.rows.audience import AUDIENCE_TABLES
from demo.rows.base import Chunk, TableRows, World, text_of
from demo.rows.business import BUSINESS_TABLES, content, object_key
from demo.rows.customers import CUSTOMER_TABLES
from demo.rows.logs import LOG_TABLES, months
from demo.rows.messages import MESSAGE_TABLES

__all__ = ["START_OF_SERVICE", "TABLES", "Progress", "load"]

TABLES: tuple[TableRows, ...] = (*CUSTOMER_TABLES, *BUSINESS_TABLES, *AUDIENCE_TABLES, *MESSAGE_TABLES, *LOG_TABLES)
"""Every table, in an order in which the keys that later ones refer to are made first."""

Progress = Callable[[str, int, int | None], None]
"""Told (what is being done, rows done, rows there will be, about; None when that has no number)."""

_SCHEMA = Path(__file__).parent / "schema.sql"
_AFTER = "\n-- after the load\n"
_KEYS = {"appointment_clients": ("appointment_id", "client_id"), "page_views": ("id", "occurred_at")}
_MEMORY = ("SET LOCAL maintenance_work_mem = '256MB'", "SET LOCAL synchronous_commit = off", "SET LOCAL timezone = 'UTC'")


def load(
    url: str,
    *,
    scale: float = 1.0,
    as_of: datetime,
    seed: int = 1,
    canary: bool = False,
    passwords: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Drops schema `app` of the database at `url` (a superuser's libpq URL), builds it anew, and returns rows per table.

    `scale` 1 is about 1.5 million rows. `as_of` is aware (ValueError otherwise): rows are dated relative to it.
    `passwords` sets those of the roles by name; a role without one keeps what it has. `canary` plants
    `demo.garden.CANARY` in every personal column. Raises psycopg.Error when the database refuses; nothing is changed then.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone: write 2026-11-23T02:00:00+01:00")
    as_of = as_of.astimezone(UTC)
    tell = progress or (lambda what, done, total: None)
    tell("pools of French values", 0, None)
    world = World(as_of=as_of, seed=seed, scale=scale, pools=pools.build(seed))
    by_table: dict[str, list[Planted]] = defaultdict(list)
    for row in (*planted(as_of), *(canary_rows(as_of) if canary else ())):
        by_table[row.table].append(row)
    before, after = _SCHEMA.read_text().split(_AFTER)
    with psycopg.connect(url) as connection:
        create_roles(connection, passwords or {})
        for setting in _MEMORY:
            connection.execute(setting)
        connection.execute("DROP SCHEMA IF EXISTS app CASCADE")
        connection.execute(before)
        partitions = _make_partitions(connection, as_of)
        counts = {table.name: _copy_table(connection, table, world, by_table[table.name], partitions, tell) for table in TABLES}
        statements = [s for s in after.split(";") if s.strip()]
        for i, statement in enumerate(statements):
            tell("keys and indexes", i, len(statements))
            connection.execute(statement)
        _set_sequences(connection)
        grant(connection)
    with psycopg.connect(url, autocommit=True) as connection:
        tell("statistics", 0, None)
        connection.execute("VACUUM (ANALYZE)")
    tell("done", sum(counts.values()), sum(counts.values()))
    return counts


def _make_partitions(connection: psycopg.Connection, as_of: datetime) -> list[tuple[str, datetime, datetime]]:
    partitions = months(as_of)
    for name, start, end in partitions:
        connection.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF app.page_views FOR VALUES FROM ({}) TO ({})").format(
                sql.Identifier("app", name), sql.Literal(start.isoformat()), sql.Literal(end.isoformat())
            )
        )
    return partitions


def _copy_table(
    connection: psycopg.Connection,
    table: TableRows,
    world: World,
    rows: Sequence[Planted],
    partitions: list[tuple[str, datetime, datetime]],
    tell: Progress,
) -> int:
    extra = [_texts(table, row) for row in rows]
    chunks = table.make(world)
    expected = world.count(table.at_scale_1)
    clock = table.columns.index("occurred_at") if "occurred_at" in table.columns else None
    if table.name == "technical_logs" and clock is not None:
        chunks = _merged(chunks, extra, clock)
    elif extra:
        chunks = _with_first(chunks, extra)
    if table.name == "page_views" and clock is not None:
        return _copy_partitioned(connection, table, chunks, clock, partitions, expected, tell)
    return _copy(connection, table.name, table.columns, chunks, expected, tell)


def _copy(connection: psycopg.Connection, name: str, columns: Sequence[str], chunks: Iterable[Chunk], expected: int, tell: Progress) -> int:
    done = 0
    with connection.cursor() as cursor, cursor.copy(_copy_statement(name, columns)) as copy:
        for chunk in chunks:
            copy.write(_lines(chunk))
            done += len(chunk[0])
            tell(name, done, max(expected, done))
    return done


def _copy_partitioned(
    connection: psycopg.Connection,
    table: TableRows,
    chunks: Iterable[Chunk],
    clock: int,
    partitions: list[tuple[str, datetime, datetime]],
    expected: int,
    tell: Progress,
) -> int:
    """Each partition on its own: COPY FREEZE is refused on a partitioned table, and routing every row costs a third more."""
    starts = [start.replace(tzinfo=None).isoformat() for _, start, _ in partitions]
    done = 0
    for chunk in chunks:
        order = sorted(range(len(chunk[0])), key=chunk[clock].__getitem__)
        columns = [[column[i] for i in order] for column in chunk]
        edges = [0, *(bisect_left(columns[clock], s) for s in starts[1:]), len(order)]
        for (name, _, _), (low, high) in zip(partitions, pairwise(edges), strict=True):
            if low < high:
                _copy(connection, name, table.columns, [[c[low:high] for c in columns]], expected, lambda *_: None)
        done += len(order)
        tell(table.name, done, max(expected, done))
    return done


def _copy_statement(name: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FREEZE)").format(sql.Identifier("app", name), sql.SQL(", ").join(map(sql.Identifier, columns)))


def _lines(chunk: Chunk) -> str:
    return "\n".join(map("\t".join, zip(*chunk, strict=True))) + "\n"


def _texts(table: TableRows, row: Planted) -> list[str]:
    key = dict(zip(_KEYS.get(table.name, ("id",)), row.key, strict=True))
    values = {**table.defaults, **row.values, **key}
    if table.name == "attachments":
        place = object_key(values["tenant_id"], values["id"])
        values |= {"object_key": place, "size_bytes": len(content(place)), "sha256": hashlib.sha256(content(place)).hexdigest()}
    unknown = set(values) - set(table.columns)
    if unknown:
        raise ValueError(f"planted row of {table.name} names columns that are not there: {', '.join(sorted(unknown))}")
    return [_clock_text(values[c]) for c in table.columns]


def _clock_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")  # sorts like numpy's texts
    return text_of(value)


def _with_first(chunks: Iterator[Chunk], rows: list[list[str]]) -> Iterator[Chunk]:
    yield [list(column) for column in zip(*rows, strict=True)]
    yield from chunks


def _merged(chunks: Iterator[Chunk], rows: list[list[str]], clock: int) -> Iterator[Chunk]:
    """The chunks with `rows` put where their clock belongs, so that the table stays physically in clock order."""
    waiting = sorted(rows, key=lambda row: row[clock])
    last: Chunk | None = None
    for chunk in chunks:
        if last is not None:
            yield last
        last = [list(column) for column in chunk]
        while waiting and waiting[0][clock] <= last[clock][-1]:
            _insert(last, waiting.pop(0), clock)
    if last is not None:
        for row in waiting:
            _insert(last, row, clock)
        yield last


def _insert(chunk: Chunk, row: list[str], clock: int) -> None:
    place = bisect_left(chunk[clock], row[clock])
    for column, value in zip(chunk, row, strict=True):
        column.insert(place, value)  # type: ignore[attr-defined]


def _set_sequences(connection: psycopg.Connection) -> None:
    """Every identity goes on after the highest key: the application can insert at once."""
    for table in TABLES:
        if table.columns[0] != "id" or table.name == "consents":
            continue
        sequence = "app.page_views_id_seq" if table.name == "page_views" else None
        connection.execute(
            sql.SQL("SELECT setval(coalesce({}::text, pg_get_serial_sequence({}, 'id')), (SELECT max(id) FROM {}))").format(
                sql.Literal(sequence), sql.Literal(f"app.{table.name}"), sql.Identifier("app", table.name)
            )
        )
