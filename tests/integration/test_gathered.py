"""Columns that the server gathered hold what its rows hold: held against the same rows as psycopg reads them, one by one."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Json, Jsonb

from lethe.errors import NotArchivable
from lethe.purge.sources import is_lost
from lethe.stores.postgres.gathered import gather

TEXTS = st.text(st.sampled_from("a\x01\x02\x7fÿé😀'\"\\,%{}\n "), max_size=6)
"""The characters that stand between two texts and for none, and those that mean something to a reader of texts."""
WHOLE = st.integers(-(2**31), 2**31 - 1)
DOCUMENTS = st.recursive(st.none() | st.booleans() | WHOLE | TEXTS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
COLUMNS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "flag": ("boolean", st.booleans()),
    "small": ("smallint", st.integers(-(2**15), 2**15 - 1)),
    "whole": ("integer", WHOLE),
    "big": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "single": ("real", st.floats(width=32)),
    "double": ("double precision", st.floats()),
    "note": ("text", TEXTS),
    "short": ("varchar(6)", TEXTS),
    "padded": ("char(6)", TEXTS),
    "named": ("name", TEXTS),
    "document": ("json", DOCUMENTS.map(Json)),
    "binary_document": ("jsonb", DOCUMENTS.map(Jsonb)),
    "raw": ("bytea", st.binary(max_size=5)),
    "number": ("uuid", st.uuids()),
    "day": ("date", st.dates()),
    "local": ("timestamp", st.datetimes()),
    "instant": ("timestamptz", st.datetimes(timezones=st.just(UTC))),
    "host": ("inet", st.ip_addresses().map(str)),
    "net": ("cidr", st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)),
    "texts": ("text[]", st.lists(st.none() | TEXTS, max_size=3)),
}
SHOWN = {
    "single": "single::float8",
    "document": "document::text",
    "binary_document": "binary_document::text",
    "host": "inet_send(host)",
    "net": "cidr_send(net)",
}
"""What psycopg is asked for where it would make something of a value that Arrow does not."""
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()}), max_size=9)


@pytest.fixture(scope="module")
def session(postgres: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.url(), options="-c timezone=UTC", autocommit=True) as found:
        columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
        found.execute(f"CREATE TEMP TABLE things (n serial, {columns})".encode())
        yield found


def filled(session: psycopg.Connection[Any], rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The table with these rows and no others, as psycopg reads them."""
    session.execute("TRUNCATE things RESTART IDENTITY")
    names, places = ", ".join(COLUMNS), ", ".join(f"%s::{kind}" for kind, _ in COLUMNS.values())
    for row in rows:
        session.execute(f"INSERT INTO things ({names}) VALUES ({places})".encode(), [row[name] for name in COLUMNS])
    shown = ", ".join(SHOWN.get(name, name) for name in COLUMNS)
    return session.execute(f"SELECT {shown} FROM things ORDER BY n".encode()).fetchall()


def values(column: pa.ChunkedArray) -> list[Any]:
    """As Python has them, infinite and not a number by their bits."""
    if isinstance(column.type, pa.OpaqueType):
        column = pa.chunked_array([c.storage for c in column.chunks], pa.binary())
    return [same(v) for v in column.to_pylist()]


def same(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    return bytes(value) if isinstance(value, memoryview) else value


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=ROWS, certain=st.sets(st.sampled_from(list(COLUMNS))), at_once=st.none() | st.integers(1, 4), parts=st.integers(1, 3))
def test_gathered_rows_are_those_that_are_there(
    session: psycopg.Connection[Any], rows: list[dict[str, Any]], certain: set[str], at_once: int | None, parts: int
) -> None:
    """Whatever is said to have no NULL and has one all the same, and however many pieces they come in."""
    wanted = filled(session, rows)
    asked = f"SELECT {', '.join(COLUMNS)} FROM things WHERE n % {parts} = "
    found = gather(session, [f"{asked}{part} ORDER BY n" for part in range(parts)], certain, at_once=at_once)
    order = [n for part in range(parts) for n in range(1, len(rows) + 1) if n % parts == part]
    assert found.column_names == list(COLUMNS)
    for n, name in enumerate(COLUMNS):
        assert values(found[name]) == [same(wanted[at - 1][n]) for at in order], name
    for column in found.columns:
        column.validate(full=True)
    assert found.schema == gather(session, ["SELECT " + ", ".join(COLUMNS) + " FROM things WHERE false"]).schema


@pytest.mark.parametrize("rows", [1, 2, 5_000])
@pytest.mark.parametrize("certain", [(), tuple(COLUMNS)])
def test_columns_of_nothing_but_null_are_that(session: psycopg.Connection[Any], rows: int, certain: tuple[str, ...]) -> None:
    filled(session, [])
    session.execute("INSERT INTO things (flag) SELECT NULL FROM generate_series(1, %s)", [rows])
    found = gather(session, [f"SELECT {', '.join(COLUMNS)} FROM things"], certain)
    assert found.num_rows == rows
    assert {name: found[name].null_count for name in COLUMNS} == dict.fromkeys(COLUMNS, rows)


@pytest.mark.parametrize("at_once", [None, 1_000])
def test_columns_stay_beside_each_other_over_many_rows(session: psycopg.Connection[Any], at_once: int | None) -> None:
    filled(session, [])
    session.execute(
        "INSERT INTO things (big, note, host, raw) SELECT g, CASE WHEN g % 3 = 0 THEN NULL ELSE repeat('x', (g % 7)::int) || g END, "
        "CASE WHEN g % 2 = 0 THEN '10.0.0.0'::inet + g ELSE '2001:db8::'::inet + g END, decode(lpad(to_hex(g), 8, '0'), 'hex') "
        "FROM generate_series(1::bigint, 30000) AS g"
    )
    found = gather(session, ["SELECT big, note, host, raw FROM things"], ("big", "host", "raw"), at_once=at_once)
    assert found["big"].num_chunks == (1 if at_once is None else 30)
    rows = zip(*(values(found[name]) for name in ("big", "note", "host", "raw")), strict=True)
    for big, note, host, raw in rows:
        assert note == (None if big % 3 == 0 else "x" * (big % 7) + str(big))
        assert int.from_bytes(host[-4:], "big") - (10 << 24 if big % 2 == 0 else 0) == big == int.from_bytes(raw, "big")


def test_a_type_that_is_not_known_is_refused_by_its_column(session: psycopg.Connection[Any]) -> None:
    session.execute("DROP TYPE IF EXISTS pg_temp.mood; CREATE TYPE pg_temp.mood AS ENUM ('sad')")
    for expression, kind in (
        ("point(1, 2)", "point"),
        ("1.5", "numeric"),
        ("'sad'::pg_temp.mood", "a type of its own"),
        ("array[1::int2]", r"int2\[\]"),
    ):
        with pytest.raises(NotArchivable, match=f"Column odd came as {kind}"):
            gather(session, [f"SELECT 1 AS fine, {expression} AS odd"])


def test_two_columns_of_one_name_are_two(session: psycopg.Connection[Any]) -> None:
    found = gather(session, ["SELECT 1 AS a, 'x' AS a, NULL::int AS a"], ("a",))
    assert [column.to_pylist() for column in found.columns] == [[1], ["x"], [None]]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_texts_of_a_database_of_another_encoding(postgres: Any, encoding: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'".encode())
    try:
        with psycopg.connect(postgres.url("other"), client_encoding="UTF8", autocommit=True) as session:
            found = gather(session, ["SELECT v AS a FROM (VALUES ('é'), (NULL), (''), ('\x01'), ('b')) AS t(v)"])
            assert found["a"].to_pylist() == ["é", None, "", "\x01", "b"]
            if encoding == "SQL_ASCII":  # which takes any bytes, and sends none that are not UTF-8
                asked = "SELECT convert_from(decode('{}', 'hex'), 'SQL_ASCII') AS a UNION ALL SELECT 'b'"
                assert gather(session, [asked.format("02")])["a"].to_pylist() == ["\x02", "b"]
                for raw in ("ff", "e9", "0201ff"):
                    with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
                        gather(session, [asked.format(raw)])
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute("DROP DATABASE other WITH (FORCE)")


def test_an_array_of_two_dimensions_is_refused(session: psycopg.Connection[Any]) -> None:
    with pytest.raises(NotArchivable, match="Column a holds an array of more than one dimension"):
        gather(session, ["SELECT ARRAY[['a', 'b'], ['c', 'd']] AS a"])


def test_an_error_leaves_the_session_usable_and_keeps_its_sqlstate(session: psycopg.Connection[Any]) -> None:
    for statement, error in (
        ("SELECT nothing FROM things", psycopg.errors.UndefinedColumn),
        ("SELECT 1 / (g - 20000) AS a FROM generate_series(1, 30000) AS g", psycopg.errors.DivisionByZero),
    ):
        with pytest.raises(error):
            gather(session, [statement])
        assert gather(session, ["SELECT 1 AS a"])["a"].to_pylist() == [1]


def test_a_session_that_was_ended_is_lost_whether_it_is_told_or_not(postgres: Any) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as one, psycopg.connect(postgres.url(), autocommit=True) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [one.info.backend_pid]).fetchone() == (True,)
        with pytest.raises(psycopg.OperationalError) as lost:
            gather(one, ["SELECT 1 AS a"])
        assert is_lost(lost.value)
