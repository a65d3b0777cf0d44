"""One person's data: the rows of twelve tables against counting them, of a thousand persons against one COPY, of a person with millions of rows.

The floor is twelve count(*) in one statement, written by hand, prepared, on one warm connection, with `enable_indexonlyscan = off`: it visits
every row that is to be read. Without that PostgreSQL counts most of it in the indexes, which no reading of rows can do; that is told too. Floors
and library take turns, each with another person, so that none finds what another has just read.

What the target speaks of is the statement, as it was set: its answer fetched. What comes after it in Python is told apart: its rows as `Row` on
a snapshot that is open, and `rows_of_store`, which a bundle is written from, with a snapshot of its own. A thousand persons likewise.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import psycopg
from psycopg import sql

from benchmarks.ground import admin
from benchmarks.people import A_PERSON, FLOOD, PEOPLE, USERS, build, person, workspace_of
from benchmarks.person_child import in_child
from benchmarks.score import Row, at_least, at_most, told
from benchmarks.world import Ground
from lethe.subjects.found import Located
from lethe.subjects.locating import Finder, rows_of_store
from lethe.subjects.rows import Reader, rows_read
from lethe.subjects.statements import AT_ONCE, Asked, params, reading
from lethe.workspace import Workspace

TURNS, WARM, MANY = 60, 10, 1_000
"""Persons of a round that are timed, those before them that are not, and the persons of one run."""

PEOPLE_DB, FLOOD_DB = "people", "flood"
FLAT = 1.1
"""Ten times the rows may take that much more memory: what is left of an allocator's luck."""


def measure(ground: Ground) -> list[Row]:
    """Ratios of each round; memory and rows a second of a person who has as many rows as a log table."""
    persons = max(MANY, ground.rows // A_PERSON)
    with _database(ground, PEOPLE_DB):
        with psycopg.connect(ground.server.url(PEOPLE_DB)) as connection:
            build(connection, PEOPLE, lambda kind: kind.each * persons, persons)
            for kind in PEOPLE:  # into the server's memory
                connection.execute(sql.SQL("SELECT count(t) FROM {} t").format(sql.Identifier("app", kind.name)))
        with workspace_of(PEOPLE, lambda name: ground.connection(name, PEOPLE_DB)) as workspace:
            (asked,) = Finder(workspace).compiled().asked
            found = _one(ground, workspace, asked, persons) + _many(ground, workspace, asked, persons)
    return found + _millions(ground)


# One person


def _one(ground: Ground, workspace: Workspace, asked: Asked, persons: int) -> list[Row]:
    random, rounds = Random(1), list[list[float]]()
    url = ground.server.url(PEOPLE_DB)
    with psycopg.connect(url, autocommit=True) as floor, psycopg.connect(url, autocommit=True) as visiting:
        visiting.execute("SET enable_indexonlyscan = off")
        for _ in range(ground.repeat):
            rounds.append(_round((floor, visiting), workspace, asked, lambda: random.randint(1, persons)))
    told_ms = ", ".join(
        f"{name} {statistics.median(r[n] for r in rounds):.2f} ms"
        for n, name in enumerate(
            ("the floor", "visiting every row", "the statement", "with its rows as Row", "rows_of_store with its snapshot")
        )
    )
    detail = f"{len(PEOPLE)} tables, {A_PERSON} rows a person, {persons:,} persons; {told_ms}"
    return [
        at_most(
            "one person's rows by one statement, against counting them, every row visited",
            [r[2] / r[1] for r in rounds],
            1.5,
            detail=detail,
        ),
        told("one person's rows by one statement, against counting them in the indexes", [r[2] / r[0] for r in rounds]),
        told("one person's rows as Row, against counting them, every row visited", [r[3] / r[1] for r in rounds]),
        told(
            "one person's rows as Row, on a snapshot of their own, against counting them, every row visited", [r[4] / r[1] for r in rounds]
        ),
    ]


def _round(
    floors: tuple[psycopg.Connection, psycopg.Connection], workspace: Workspace, asked: Asked, draw: Callable[[], int]
) -> list[float]:
    """Medians in ms: both floors, the statement, the statement with its rows, and `rows_of_store`. RuntimeError when they give other rows."""
    statement = sql.SQL("SELECT ({})").format(sql.SQL("), (").join(sql.SQL(k.floor) for k in PEOPLE))
    took: list[tuple[float, ...]] = []
    with reading(workspace, asked.store) as reader:

        def counted(floor: psycopg.Connection) -> int:
            return sum(floor.execute(statement, {"key": draw()}, prepare=True).fetchone() or ())

        def stated() -> int:
            reader.one(asked.small_one, params(asked, person(draw())), "rows")
            return A_PERSON

        steps: tuple[Callable[[], int], ...] = (
            lambda: counted(floors[0]),
            lambda: counted(floors[1]),
            stated,
            lambda: _rows_of(reader, workspace, asked, person(draw())),
            lambda: _taken(workspace, asked, draw()),
        )
        for _ in range(WARM + TURNS):
            took.append(tuple(_timed(step) for step in steps))
    return [statistics.median(step) for step in zip(*took[WARM:], strict=True)]


def _timed(step: Callable[[], int]) -> float:
    began = time.perf_counter()
    rows = step()
    took = time.perf_counter() - began
    if rows != A_PERSON:
        raise RuntimeError(f"{rows} rows of one person, not {A_PERSON}")
    return took * 1000


def _rows_of(reader: Reader, workspace: Workspace, asked: Asked, located: Located) -> int:
    """How many rows there are, each made a `Row`, on a snapshot that is open."""
    values = params(asked, located)
    texts = reader.one(asked.small_one, values, "rows")
    return sum(
        sum(1 for _ in rows_read(workspace, asked.store, t, located, reader.rows(text, AT_ONCE, asked.streams[t.dataset], values, t)))
        for t, text in zip(asked.tables, texts, strict=True)
        if text is not None
    )


def _taken(workspace: Workspace, asked: Asked, key: int) -> int:
    """How many rows `rows_of_store` gives of a person."""
    return sum(sum(1 for _ in rows) for _, rows in rows_of_store(workspace, asked, person(key)))


# A thousand


def _many(ground: Ground, workspace: Workspace, asked: Asked, persons: int) -> list[Row]:
    """As a run over many requests takes them, one after the other, against one COPY of the same rows as JSON, joined with the persons' keys."""
    random, floors, stated, took = Random(2), list[float](), list[float](), list[float]()
    for _ in range(ground.repeat):
        keys = random.sample(range(1, persons + 1), MANY)
        began = time.perf_counter()
        copied = _copied(ground, keys)
        floors.append(time.perf_counter() - began)
        began = time.perf_counter()
        with reading(workspace, asked.store) as reader:
            for key in keys:
                reader.one(asked.small_one, params(asked, person(key)), "rows")
        stated.append(time.perf_counter() - began)
        began = time.perf_counter()
        read = sum(_taken(workspace, asked, key) for key in keys)
        took.append(time.perf_counter() - began)
        if not copied == read == MANY * A_PERSON:
            raise RuntimeError(f"{copied} rows copied, {read} read, of {MANY * A_PERSON}")
    median = statistics.median
    detail = f"{MANY * A_PERSON:,} rows; one COPY join {median(floors):.2f} s, statements {median(stated):.2f} s, rows {median(took):.2f} s"
    return [
        at_least(
            f"{MANY:,} persons by a statement each, against one COPY join",
            [f / t for f, t in zip(floors, stated, strict=True)],
            0.6,
            detail=detail,
        ),
        told(
            f"{MANY:,} persons as Row, each on a snapshot of their own, against one COPY join",
            [f / t for f, t in zip(floors, took, strict=True)],
        ),
    ]


_JOINS = {
    USERS: "t JOIN mine ON mine.key = t.id",
    "order_lines": "t JOIN app.orders o ON o.id = t.order_id JOIN mine ON mine.key = o.user_id",
    "messages": "t JOIN mine ON mine.key = t.author_id",  # by the thread they are the same
}


def _copied(ground: Ground, keys: list[int]) -> int:
    """How many rows one COPY gives; what it gives is thrown away."""
    parts = [
        sql.SQL("SELECT row_to_json(t)::text FROM {} {}").format(
            sql.Identifier("app", k.name),
            sql.SQL(_JOINS.get(k.name, "t JOIN mine ON mine.key = t.user_id")),
        )
        for k in PEOPLE
    ]
    with psycopg.connect(ground.server.url(PEOPLE_DB)) as connection, connection.cursor() as cursor:
        cursor.execute("SET random_page_cost = 1.1")
        cursor.execute("CREATE TEMP TABLE mine (key bigint PRIMARY KEY)")
        with cursor.copy("COPY mine FROM STDIN") as given:
            for key in keys:
                given.write_row((key,))
        cursor.execute("ANALYZE mine")
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(sql.SQL(" UNION ALL ").join(parts))) as copy:
            for _ in copy:
                pass
        return cursor.rowcount


# Millions


def _millions(ground: Ground) -> list[Row]:
    """A person with a tenth of the events and one with all of them, each written as a bundle in a process of its own and thrown away."""
    few, many = ground.rows // 10, ground.rows
    with _database(ground, FLOOD_DB):
        with psycopg.connect(ground.server.url(FLOOD_DB)) as connection:
            build(connection, FLOOD, lambda kind: 2 if kind.name == USERS else few + many, 1)
        small, large = (in_child(port=ground.server.port, database=FLOOD_DB, key=key) for key in (1, 2))
    if (small.rows, large.rows) != (few + 1, many + 1):
        raise RuntimeError(f"{small.rows} and {large.rows} rows in the bundles of {few + 1} and {many + 1}")
    told = f"{small.peak:.0f} MB at {few:,} rows, {large.peak:.0f} MB at {many:,}, of them {large.imported:.0f} MB imports"
    speed = f"{many:,} rows as a bundle of {large.size / 1e9:.2f} GB in {large.seconds:.0f} s; as rows only, {large.read:.0f} s"
    return [
        at_most("memory of a person's bundle at ten times the rows", [large.peak / small.peak], FLAT, detail=told),
        Row(
            name="rows a second of a person's bundle",
            value=round(large.rows / large.seconds),
            unit="rows/s",
            target="none",
            met=True,
            detail=speed,
        ),
    ]


@contextmanager
def _database(ground: Ground, name: str) -> Iterator[None]:
    admin(ground.server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield
    finally:
        admin(ground.server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
