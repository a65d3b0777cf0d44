"""An archived value is given to a person as `to_jsonb` gives the living one: every type, through the reader, Parquet and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import create_engine, func, select

from helpers.kinds import KINDS, TYPES, has_xml_in
from lethe.archive.model import ArchivedColumn
from lethe.archive.parquet import from_parquet, to_parquet
from lethe.connections import parse
from lethe.stores.postgres.archived import as_kept, projection
from lethe.stores.postgres.arrow import ArrowReader
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.tables import unmapped
from lethe.subjects.archived_rows import _values
from lethe.subjects.archived_values import as_json
from lethe.subjects.rows import loads
from lethe.verify.archived_person import _as_shown
from lethe.workspace import CHECK_OPTIONS

STAYS_TEXT = {"a_host": "192.0.2.1/32", "a_domain": "12.50", "a_domain_of_domain": "1.00", "some_domains": ["1.0", None]}
"""Domains: the manifest says the domain and not what is below it."""

ROWS = max(len(values) for *_, values in KINDS)
Given = dict[str, list[Any]]


@pytest.fixture(scope="module")
def both(postgres: Any) -> Iterator[tuple[Given, Given]]:
    """Every value as the archive gives it and as `to_jsonb` does, by column."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("create database archived_values")
    url = postgres.url("archived_values")
    columns = ", ".join(f"{name} {kind}" for name, kind, _, _ in KINDS)
    with psycopg.connect(url) as db:
        db.execute(TYPES)
        has_xml = has_xml_in(db)
        db.execute(f"create table kinds (n int, {columns})")
        for n in range(ROWS + 1):
            row = [values[n] if n < len(values) and (has_xml or kind != "xml") else None for _, kind, _, values in KINDS]
            db.execute(f"insert into kinds values (%s, {', '.join(f'%s::{kind}' for _, kind, _, _ in KINDS)})", [n, *row])
    with psycopg.connect(url, options=" ".join(f"-c {o}" for o in CHECK_OPTIONS)) as db:
        living = [loads(row) for (row,) in db.execute("select to_jsonb(t)::text from public.kinds t order by n")]
    yield archived(url), {name: [row[name] for row in living] for name, *_ in KINDS}
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("drop database archived_values with (force)")


def archived(url: str) -> Given:
    """The table by the archive's own way, as `archived_rows` shows it."""
    reader = ArrowReader(parse("source", url), "group:0:archive", lock_timeout=1_000, statement_timeout=60_000)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as source:
        projected = projection(describe(source).tables["public.kinds"], [name for name, *_ in KINDS])
        row = unmapped("public.kinds", ["n", *(p.name for p in projected)])
        reader.with_holds([])
        snapshot = str(source.scalar(select(func.pg_export_snapshot())))
        table = reader.read(snapshot, select(*(p.of(row) for p in projected)).select_from(row).order_by(row.c.n), [{}], quoting=source)
    reader.close()
    engine.dispose()
    kept = from_parquet(to_parquet(as_kept(table, projected), {}))
    columns = [ArchivedColumn(name=p.name, source=p.source, kept_as=p.kept_as) for p in projected]
    return {c.name: [as_json(v, c) for v in _values(kept[c.name])] for c in columns}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind, *_ in KINDS])
def test_an_archived_value_is_what_to_jsonb_gives(both: tuple[Given, Given], name: str, kind: str) -> None:
    given, living = (found[name] for found in both)
    assert len(given) == ROWS + 1 and given[-1] is None
    if name in STAYS_TEXT:
        assert given[0] == STAYS_TEXT[name] and given[0] != living[0] and given[1:] == living[1:]
        return
    assert given == living
    assert typed(given) == typed(living), "1 is not True, and not 1.0"


def typed(value: Any) -> Any:
    """The types of a value and of all in it."""
    if isinstance(value, list):
        return [typed(v) for v in value]
    return {k: typed(v) for k, v in value.items()} if isinstance(value, dict) else type(value).__name__


def test_an_instant_whose_number_is_a_day_s_infinity_is_an_instant() -> None:
    """Days and instants are endless by different numbers."""
    stamp = ArchivedColumn(name="a", source="timestamp(6) with time zone", kept_as="timestamp[us, tz=UTC]")
    day = ArchivedColumn(name="a", source="public.local_day", kept_as="date32[day]")
    assert [as_json(n, stamp) for n in (2**31 - 1, 2**63 - 1, -(2**63) + 1)] == [
        "1970-01-01T00:35:47.483647+00:00",
        "infinity",
        "-infinity",
    ]
    assert [as_json(n, day) for n in (0, 2**31 - 1, -(2**31) + 1)] == ["1970-01-01", "infinity", "-infinity"]


def test_every_day_at_a_turn_of_years_is_the_one_that_python_says() -> None:
    """Python's calendar is left where it ends, and on both sides of its ends days go on."""
    day = ArchivedColumn(name="a", source="date", kept_as="date32[day]")
    first, last = -719_162, 2_932_896
    assert [as_json(n, day) for n in (first - 1, first, last, last + 1)] == ["0001-12-31 BC", "0001-01-01", "9999-12-31", "10000-01-01"]
    assert pa.scalar(first, pa.date32()).as_py().isoformat() == "0001-01-01"


@pytest.mark.parametrize(
    ("source", "kept_as", "value", "number"),
    [
        ("bigint", "int64", 7, 7),
        ("uuid", "extension<arrow.uuid>", UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None),
        ("numeric(10,2)", "string", "7.10", None),
        ("numeric(10,0)", "string", "7", None),
        ("inet", "string", "192.0.2.1/32", None),
        ("inet", "string", "2001:db8::1/128", None),
        ("bytea", "binary", b"\x00\xff", None),
        ("date", "date32[day]", date(2026, 1, 1), 20_454),
        ("timestamp without time zone", "timestamp[us]", datetime.fromisoformat("2026-01-01T00:00:00.1"), 1_767_225_600_100_000),
        ("timestamp with time zone", "timestamp[us, tz=UTC]", datetime(2026, 1, 1, tzinfo=UTC), 1_767_225_600_000_000),
    ],
)
def test_the_check_writes_a_key_as_a_bundle_shows_it(source: str, kept_as: str, value: Any, number: int | None) -> None:
    """The check reads the archive by code of its own."""
    shown = as_json(value if number is None else number, ArchivedColumn(name="a", source=source, kept_as=kept_as))
    written = _as_shown(value, source)
    assert (written, type(written)) == (shown, type(shown))
