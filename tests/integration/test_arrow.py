"""Rows read into Arrow: every type comes back from Parquet as it was, what cannot is refused, and only the snapshot is seen."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import ARRAY, Connection, Engine, Integer, Text, bindparam, cast, create_engine, func, literal, literal_column, select, text

from demo.postgres import PostgresServer, free_port
from helpers.kinds import KINDS, TYPES, UNICODE, has_xml_in
from lethe.catalog.live import LiveColumn, LiveTable
from lethe.connections import parse
from lethe.errors import LetheError, NotArchivable, Unreachable
from lethe.plan.model import HoldScope
from lethe.purge.sources import in_words, is_locked, is_lost
from lethe.stores.postgres import arrow, decoded
from lethe.stores.postgres.archived import SOURCE, Projected, as_kept, projection, schema_of
from lethe.stores.postgres.arrow import ArrowReader, rendered
from lethe.stores.postgres.decoded import DAY_INFINITY, INSTANT_INFINITY
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.gathered import gather
from lethe.stores.postgres.holds import HOLDS
from lethe.stores.postgres.tables import unmapped

_MISLEADING = [
    "datestyle to 'German'",
    "timezone to 'Asia/Kathmandu'",
    "intervalstyle to 'sql_standard'",
    "extra_float_digits to -9",
    "bytea_output to 'escape'",
    "client_encoding to 'LATIN1'",
    "search_path to 'public', 'pg_catalog'",
]
"""What a database may have as its own settings, each of which changes the text of some value."""

REFUSED = ["pair", "pair[]", "pair_domain", "money", "regclass", "pg_lsn", "oid", "point", "tsquery", "jsonpath", "bytebag", "pair_range"]


def _engine(url: str, **options: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"), connect_args=options)


@pytest.fixture
def source(database: str) -> Iterator[Connection]:
    """A session of the superuser on an empty database: it stands for the deleting one."""
    engine = _engine(database)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def reader(database: str) -> Iterator[ArrowReader]:
    made = _reader(database)
    made.with_holds([])
    yield made
    made.close()


def _reader(url: str, **limits: int) -> ArrowReader:
    return ArrowReader(parse("source", url), "group:0:archive", **({"lock_timeout": 1_000, "statement_timeout": 60_000} | limits))


def _run(source: Connection, *statements: str) -> None:
    for statement in statements:
        source.exec_driver_sql(statement)
    source.commit()


def _snapshot(source: Connection) -> str:
    return str(source.scalar(select(func.pg_export_snapshot())))


def _read(reader: ArrowReader, source: Connection, statement: Any, **values: Any) -> pa.Table:
    return reader.read(_snapshot(source), statement, [values], quoting=source)


def _selected(name: str, projected: tuple[Projected, ...]) -> Any:
    row = unmapped(f"public.{name}", [p.name for p in projected])
    return select(*(p.of(row) for p in projected)).select_from(row)


def _through_parquet(table: pa.Table) -> pa.Table:
    held = io.BytesIO()
    pq.write_table(table, held, compression="zstd")
    return pq.read_table(io.BytesIO(held.getvalue()))


def _given_back(kept: Projected, value: pa.Scalar) -> tuple[str, list[Any]]:
    """An expression of PostgreSQL, and its parameters, that a person would write to have the value back in its column."""
    if not value.is_valid:
        return "NULL", []
    if pa.types.is_date32(kept.type) or pa.types.is_timestamp(kept.type):
        is_day = pa.types.is_date32(kept.type)
        number, highest = value.cast(pa.int32() if is_day else pa.int64()).as_py(), DAY_INFINITY if is_day else INSTANT_INFINITY
        if abs(number) == highest:
            return f"%s::{kept.source}", ["infinity" if number > 0 else "-infinity"]
        if is_day:
            return f"(date '1970-01-01' + %s::int)::{kept.source}", [number]
        expression = "((date '1970-01-01' + %s::int)::timestamp + (%s || ' microseconds')::interval)"
        return expression + (" at time zone 'UTC'" if "UTC" in kept.kept_as else ""), [*divmod(number, 86_400_000_000)]
    return f"%s::{kept.source}", [value.as_py()]


def _round_trip(url: str) -> tuple[pa.Table, tuple[Projected, ...], list[Any]]:
    """One table of every type, through the reader and Parquet, into a second table; and the rows that only one of them has."""
    columns = ", ".join(f"{name} {kind}" for name, kind, _, _ in KINDS)
    with psycopg.connect(url) as db:
        db.execute(TYPES)
        has_xml = has_xml_in(db)
        db.execute(f"create table kinds ({columns}); create table back ({columns})")
        for n in range(max(len(values) for *_, values in KINDS)):
            row = [values[n] if n < len(values) and (has_xml or kind != "xml") else None for _, kind, _, values in KINDS]
            db.execute(f"insert into kinds values ({', '.join(f'%s::{kind}' for _, kind, _, _ in KINDS)})", row)
        db.execute("insert into kinds default values")
    engine = _engine(url)
    with engine.connect() as source:
        live = describe(source).tables["public.kinds"]
        projected = projection(live, [name for name, *_ in KINDS])
        with psycopg.connect(url, autocommit=True) as db:
            for setting in _MISLEADING:
                db.execute(f"alter database {db.info.dbname} set {setting}")
            reader = _reader(url)
            reader.with_holds([])
            for setting in _MISLEADING:
                db.execute(f"alter database {db.info.dbname} reset {setting.split()[0]}")
        kept = as_kept(_read(reader, source, _selected("kinds", projected)), projected)
        reader.close()
    engine.dispose()
    found = _through_parquet(kept)
    with psycopg.connect(url) as db:
        for n in range(found.num_rows):
            parts = [_given_back(p, found.column(p.name)[n]) for p in projected]
            db.execute(f"insert into back values ({', '.join(e for e, _ in parts)})", [v for _, values in parts for v in values])
        other = db.execute(
            "(select 'kinds', t::text from kinds t except all select 'kinds', t::text from back t) "
            "union all (select 'back', t::text from back t except all select 'back', t::text from kinds t)"
        ).fetchall()
    return found, projected, other


def test_every_type_comes_back_from_parquet_as_it_was(database: str) -> None:
    found, projected, other = _round_trip(database)
    assert other == []
    assert found.num_rows == max(len(values) for *_, values in KINDS) + 1
    assert [(p.name, p.kept_as) for p in projected] == [(name, kept_as) for name, _, kept_as, _ in KINDS]
    assert all(column.null_count for column in found.columns)
    assert found.schema.equals(schema_of(projected), check_metadata=True)
    texts = {name: found.column(name)[0].as_py() for name in ("a_interval", "some_stamps", "some_bytes", "a_timetz")}
    assert texts == {
        "a_interval": "10 mons 3 days -04:05:06.000007",
        "some_stamps": '{infinity,NULL,"2026-01-01 00:00:00.000001+00"}',
        "some_bytes": '{"\\\\x00ff",NULL}',
        "a_timetz": "24:00:00-15:59",
    }
    sources = {f.name: f.metadata[SOURCE.encode()].decode() for f in found.schema}
    assert (sources["a_money"], sources["a_varchar"], sources["a_stamptz"]) == (
        "numeric(10,2)",
        "character varying(40)",
        "timestamp with time zone",
    )


@pytest.fixture(scope="module")
def old_server() -> Iterator[str]:
    """An older PostgreSQL of Debian's, its URL. Skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("1[4-7]/bin/initdb"))
    if not found or os.geteuid() != 0:
        pytest.skip("no older PostgreSQL here (Debian: apt-get install postgresql-15, and root)")
    bins, port = found[0].parent, free_port()
    with tempfile.TemporaryDirectory(prefix="lethe-old-pg-") as folder:
        shutil.chown(folder, "postgres")

        def run(program: str, *arguments: str) -> None:
            asked = ["runuser", "-u", "postgres", "--", str(bins / program), "-D", f"{folder}/data", *arguments]
            subprocess.run(asked, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", f"-h 127.0.0.1 -p {port} -c unix_socket_directories= -c fsync=off", "start")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        run("pg_ctl", "-w", "-m", "immediate", "stop")


def test_every_type_comes_back_from_an_older_server_too(old_server: str) -> None:
    found, _, other = _round_trip(old_server)
    assert other == []
    assert found.num_rows == max(len(values) for *_, values in KINDS) + 1
    assert found.column("a_xml").null_count < found.num_rows


def test_infinity_is_the_highest_number_and_an_instant_beyond_arrow_is_refused(reader: ArrowReader, source: Connection) -> None:
    values = "(values ('infinity'::timestamptz, 'infinity'::date), ('-infinity', '-infinity'), (null, null), ('2026-01-01', '2026-01-01'))"
    columns: list[Any] = [literal_column("t.a"), literal_column("t.b")]
    found = _read(reader, source, select(*columns).select_from(text(f"{values} as t(a, b)")))
    assert found["a"].cast(pa.int64()).to_pylist() == [INSTANT_INFINITY, -INSTANT_INFINITY, None, 1_767_225_600_000_000]
    assert found["b"].cast(pa.int32()).to_pylist() == [DAY_INFINITY, -DAY_INFINITY, None, 20_454]
    last = "294247-01-10 04:00:54.775806+00"
    assert _read(reader, source, select(literal_column(f"'{last}'::timestamptz").label("a")))["a"].cast(pa.int64()).to_pylist() == [
        INSTANT_INFINITY - 1
    ]
    for beyond in ("294247-01-10 04:00:54.775807+00", "294247-01-10 04:00:54.775808+00", "294276-12-31 23:59:59.999999+00"):
        for kind in ("timestamptz", "timestamp"):
            with pytest.raises(NotArchivable, match="Column a holds an instant after the year 294246"):
                _read(reader, source, select(literal_column(f"'{beyond}'::{kind}").label("a")))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_type_that_cannot_be_given_back_is_refused_by_name(source: Connection, kind: str) -> None:
    _run(
        source,
        "create type pair as (a int, b text)",
        "create domain pair_domain as pair",
        "create type pair_range as range (subtype = pair)",
        "create type bytebag",
        "create function bytebag_in(cstring) returns bytebag language internal immutable strict as 'textin'",
        "create function bytebag_out(bytebag) returns cstring language internal immutable strict as 'textout'",
        "create type bytebag (input = bytebag_in, output = bytebag_out)",
        f"create table odd (id int, strange {kind})",
    )
    live = describe(source).tables["public.odd"]
    with pytest.raises(NotArchivable) as refused:
        projection(live, ["id", "strange"])
    assert "Column strange of public.odd is of type" in refused.value.problem
    assert live.columns["strange"].type in refused.value.problem
    assert "Leave it out" in refused.value.fix
    assert [p.kept_as for p in projection(live, ["id"])] == ["int32"]


def test_a_type_of_somebody_elses_is_not_taken_for_postgresqls_own_of_that_name(source: Connection) -> None:
    _run(source, "create type public.text as (a int)", "create table odd (ours pg_catalog.text, theirs public.text)")
    live = describe(source).tables["public.odd"]
    assert live.columns["ours"].kinds == ("text",)
    assert live.columns["theirs"].kinds == ("composite",)


def test_a_column_is_refused_that_is_not_there_or_twice_or_lethes_own_or_not_described() -> None:
    text_, unknown = LiveColumn(type="text", nullable=True, kinds=("text",)), LiveColumn(type="text", nullable=True)
    live = LiveTable(name="public.t", kind="table", columns={"a": text_, "b": unknown, "_lethe_key": text_})
    cases: dict[tuple[str, ...], str] = {
        ("a", "x"): "no column x",
        ("a", "a"): "column a twice",
        ("_lethe_key",): "Lethe adds",
        ("b",): "kind was not read",
        (): "no column",
    }
    for columns, problem in cases.items():
        with pytest.raises(NotArchivable, match=problem):
            projection(live, columns)


def test_a_column_that_was_altered_since_it_was_described_is_refused(reader: ArrowReader, source: Connection) -> None:
    _run(source, "create table t (a int)", "insert into t values (1)")
    projected = projection(describe(source).tables["public.t"], ["a"])
    source.commit()
    assert as_kept(_read(reader, source, _selected("t", projected)), projected)["a"].to_pylist() == [1]
    source.commit()
    _run(source, "alter table t alter a type text")
    with pytest.raises(NotArchivable, match="Column a was described as integer and came as string"):
        as_kept(_read(reader, source, _selected("t", projected)), projected)


def test_the_reader_sees_the_snapshot_and_nothing_that_came_later(database: str, reader: ArrowReader, source: Connection) -> None:
    _run(source, "create table t (a int)", "insert into t select generate_series(1, 3)")
    statement = _selected("t", (Projected(name="a", source="integer", type=pa.int32(), as_text=False),))
    snapshot = _snapshot(source)
    with psycopg.connect(database) as other:
        other.execute("insert into t values (4); delete from t where a = 1")
    source.exec_driver_sql("delete from t where a = 2")
    assert sorted(reader.read(snapshot, statement, [{}], quoting=source)["a"].to_pylist()) == [1, 2, 3]
    source.commit()
    assert sorted(_read(reader, source, statement)["a"].to_pylist()) == [3, 4]


def test_rows_are_read_at_the_places_that_are_bound(reader: ArrowReader, source: Connection) -> None:
    _run(source, "create table t (a int)", "insert into t select generate_series(1, 1000)")
    places = source.exec_driver_sql("select ctid::text from t where mod(a, 2) = 0").scalars().all()
    row = unmapped("public.t", ["a", "ctid"])
    wanted = row.c.ctid.cast(Text) == bindparam("places", type_=ARRAY(Text)).any_()
    found = _read(reader, source, select(row.c.a).where(wanted), places=places)
    assert sorted(found["a"].to_pylist()) == list(range(2, 1001, 2))
    assert _read(reader, source, select(row.c.a).where(wanted), places=[]).num_rows == 0


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_value_is_never_taken_for_sql(reader: ArrowReader, source: Connection, setting: str) -> None:
    source.exec_driver_sql(f"set standard_conforming_strings = {setting}")
    awkward = ["'; drop table t; --", "\\'", "\\", "%s %(a)s %%", "$1 :a {}", UNICODE, "E'\\x'", '"']
    columns = [bindparam(f"p{n}", type_=Text).label(f"p{n}") for n in range(len(awkward))]
    listed: list[Any] = [bindparam("all", type_=ARRAY(Text)).label("all")]
    values: dict[str, Any] = {f"p{n}": v for n, v in enumerate(awkward)} | {
        "all": awkward,
        "none": None,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    more = [literal("50%").label("half"), cast(bindparam("none"), Integer).label("none"), cast(bindparam("at"), Text).label("at")]
    found = _read(reader, source, select(*[*columns, *listed, *more]).where(literal(1).in_([1, 2])), **values).to_pylist()
    expected = values | {"half": "50%", "none": None}
    assert found[0].pop("at").startswith("2026-01-01 00:00:00+00")
    assert found == [{k: v for k, v in expected.items() if k != "at"}]


def test_a_parameter_without_a_value_is_an_error_and_not_null(source: Connection) -> None:
    with pytest.raises(Exception, match="value is required"):
        rendered(source, select(bindparam("a", type_=Text)), {})


def test_holds_are_loaded_and_replaced(reader: ArrowReader, source: Connection) -> None:
    since = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
    holds = [
        HoldScope(id=1, dataset="leads", tenant="7"),
        HoldScope(id=2, person=("users", "o'brien\\ 😀"), since=since, until=datetime(2027, 1, 1, tzinfo=UTC)),
    ]
    there = select(HOLDS).order_by(HOLDS.c.id)
    assert _read(reader, source, there).num_rows == 0
    reader.with_holds(holds)
    source.commit()
    found = _read(reader, source, there).to_pylist()
    names = [c.name for c in HOLDS.columns]
    assert [list(row.values()) for row in found] == [
        [1, "leads", "7", None, None, None, None],
        [2, None, None, "users", "o'brien\\ 😀", since, datetime(2027, 1, 1, tzinfo=UTC)],
    ]
    assert list(found[0]) == names
    source.commit()
    reader.with_holds(holds[:1])
    assert _read(reader, source, there)["id"].to_pylist() == [1]


def test_the_table_of_holds_is_the_one_of_the_deleting_session(reader: ArrowReader, source: Connection) -> None:
    from lethe.stores.postgres.holds import prepare_holds

    shape = (
        "(select array_agg(a.attname || ' ' || a.atttypid::regtype || ' ' || a.attnotnull order by a.attnum) from pg_attribute a "
        "where a.attrelid = 'pg_temp.lethe_holds'::regclass and a.attnum > 0)::text"
    )
    prepare_holds(source)
    source.commit()
    ours = source.scalar(select(literal_column(shape)))
    assert _read(reader, source, select(literal_column(shape).label("a")))["a"].to_pylist() == [ours]


def test_no_statement_text_and_no_error_has_a_holds_key(database: str, reader: ArrowReader, source: Connection) -> None:
    canary = "canary-4711"
    reader.with_holds([HoldScope(id=1, person=("users", canary))])
    texts = source.exec_driver_sql("select query from pg_stat_activity where application_name = 'group:0:archive'").scalars().all()
    assert len(texts) == 1
    assert canary not in texts[0]
    with pytest.raises(psycopg.DataError) as failed:
        reader.with_holds([HoldScope(id=1, person=("us\0ers", canary))])
    source.commit()
    texts = source.exec_driver_sql("select query from pg_stat_activity where application_name = 'group:0:archive'").scalars().all()
    assert canary not in "".join([*texts, *traceback.format_exception(failed.value)])


def test_a_snapshot_that_does_not_see_the_holds_is_not_read(reader: ArrowReader, source: Connection) -> None:
    snapshot = _snapshot(source)
    reader.with_holds([HoldScope(id=1, tenant="7")])
    with pytest.raises(RuntimeError, match="holds were loaded after the snapshot"):
        reader.read(snapshot, select(literal(1).label("a")), [{}], quoting=source)
    source.commit()
    assert _read(reader, source, select(literal(1).label("a")))["a"].to_pylist() == [1]


def test_nothing_is_read_before_the_holds_are_loaded(database: str, source: Connection) -> None:
    reader = _reader(database)
    with pytest.raises(RuntimeError, match="load the holds"):
        _read(reader, source, select(literal(1)))


def test_the_session_is_found_by_its_name_has_its_settings_and_cannot_write(database: str, source: Connection) -> None:
    reader = _reader(database, lock_timeout=123, statement_timeout=4_567)
    reader.with_holds([])
    names = [
        "lock_timeout",
        "statement_timeout",
        "row_security",
        "search_path",
        "TimeZone",
        "client_encoding",
        "jit",
        "transaction_read_only",
    ]
    found = _read(reader, source, select(*(func.current_setting(n).label(n) for n in names))).to_pylist()
    assert list(found[0].values()) == ["123ms", "4567ms", "off", "pg_catalog", "UTC", "UTF8", "off", "on"]
    assert source.exec_driver_sql("select count(*) from pg_stat_activity where application_name = 'group:0:archive'").scalar() == 1
    source.commit()
    _run(source, "create sequence s")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        _read(reader, source, select(literal_column("nextval('public.s')").label("a")))
    reader.close()
    with pytest.raises(RuntimeError):
        _read(reader, source, select(literal(1)))


def test_a_lost_session_is_told_as_one_and_the_next_is_a_new_one(database: str, reader: ArrowReader, source: Connection) -> None:
    end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'group:0:archive'"
    one = select(literal(1).label("a"))
    with psycopg.connect(database, autocommit=True) as other:
        assert other.execute(end).fetchall() == [(True,)]
        with pytest.raises(psycopg.OperationalError) as lost:
            _read(reader, source, one)
        assert is_lost(lost.value)
        assert isinstance(in_words(lost.value, "step"), Unreachable)
        source.rollback()
        reader.with_holds([HoldScope(id=1, tenant="7")])
        assert _read(reader, source, select(HOLDS.c.tenant))["tenant"].to_pylist() == ["7"]
        source.rollback()
        assert other.execute(end).fetchall() == [(True,)]
        with pytest.raises(psycopg.OperationalError) as lost:
            reader.with_holds([])
        assert is_lost(lost.value)
    reader.with_holds([])
    assert _read(reader, source, one)["a"].to_pylist() == [1]


def test_a_session_that_ends_while_rows_come_is_lost_and_gives_no_part_of_them(reader: ArrowReader, source: Connection) -> None:
    rows = "(select n, repeat('x', 1000) as a, case n when 50000 then pg_terminate_backend(pg_backend_pid()) end from generate_series(1, 100000) n) t"
    with pytest.raises(psycopg.Error) as lost:
        _read(
            reader,
            source,
            select(literal_column("t.n"), literal_column("t.a"))
            .select_from(text(rows.replace("end from", "end as e from")))
            .where(text("t.e is null")),
        )
    assert is_lost(lost.value)


def test_bytes_that_are_no_text_are_refused_as_a_text() -> None:
    assert decoded.texts(b"a\0\xc3\xa9", 2, b"\0", b"none", "a").to_pylist() == ["a", "é"]
    with pytest.raises(NotArchivable, match="Column a holds a value that is not what its type says"):
        decoded.texts(b"a\0\xff", 2, b"\0", b"none", "a")


def test_rows_that_would_be_a_string_above_a_gigabyte_are_read_in_pieces(
    reader: ArrowReader, source: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's refusal is made up, as it takes some gigabytes to have it; what comes after it is not."""
    _run(source, "create table t (a int)", "insert into t select generate_series(1, 10000)")
    most: list[int] = []

    def refused(session: Any, statements: Any, certain: Any, *, at_once: int | None = None) -> pa.Table:
        if at_once is None or at_once > most[-1]:
            with pytest.raises(psycopg.errors.DivisionByZero):
                session.execute("select 1 / 0")  # the transaction is as it would be
            raise psycopg.errors.lookup("54000")("a gigabyte")
        return gather(session, statements, certain, at_once=at_once)

    monkeypatch.setattr(arrow, "gather", refused)
    row = unmapped("public.t", ["a"])
    for limit, pieces in ((4_096, 3), (300, 40)):
        most.append(limit)
        found = _read(reader, source, select(row.c.a).order_by(row.c.a))["a"]
        assert (found.num_chunks, found.to_pylist()) == (pieces, list(range(1, 10_001)))
    most.append(0)
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="SQLSTATE 54000"):
        _read(reader, source, select(row.c.a))


def test_a_server_that_does_not_answer_is_lost(database: str) -> None:
    with pytest.raises(psycopg.OperationalError) as lost:
        _reader("postgresql://nobody@127.0.0.1:1/none").with_holds([])
    assert is_lost(lost.value)
    with pytest.raises(psycopg.OperationalError) as lost:
        _reader(f"{database}?sslmode=require").with_holds([])  # the test's server speaks no TLS
    assert is_lost(lost.value)


def test_a_locked_table_is_told_as_one_and_the_session_goes_on(database: str, source: Connection) -> None:
    _run(source, "create table t (a int)", "insert into t values (1)")
    reader = _reader(database, lock_timeout=50)
    reader.with_holds([])
    statement = _selected("t", (Projected(name="a", source="integer", type=pa.int32(), as_text=False),))
    with psycopg.connect(database) as other:
        other.execute("lock table t")
        with pytest.raises(psycopg.Error) as locked:
            _read(reader, source, statement)
    assert is_locked(locked.value)
    assert _read(reader, source, statement)["a"].to_pylist() == [1]
    reader.close()


def test_an_error_has_its_sqlstate_and_no_value_of_a_row(reader: ArrowReader, source: Connection) -> None:
    _run(
        source,
        "create table t (a text)",
        "insert into t select case when n > 50000 then 'canary-4711' else n::text end from generate_series(1, 60000) n",
    )
    row, canary = unmapped("public.t", ["a"]), "canary-4711"
    for statement in (select(cast(row.c.a, Integer)), select(cast(bindparam("p", type_=Text), Integer).label("a"))):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as failed:
            _read(reader, source, statement, p=canary)
        assert canary not in "".join(traceback.format_exception(failed.value))
        words = in_words(failed.value, "step")
        assert isinstance(words, LetheError)
        assert "22P02" in words.problem
    with pytest.raises(psycopg.errors.UndefinedObject):
        reader.read("00000003-00000099-1", select(literal(1)), [{}], quoting=source)
    with pytest.raises(ValueError, match="no snapshot"):
        reader.read("1'; drop table t; --", select(literal(1)), [{}], quoting=source)
    assert _read(reader, source, select(func.count().label("a")).select_from(row))["a"].to_pylist() == [60_000]


def test_a_connection_is_opened_as_sqlalchemy_would() -> None:
    def options(text_: str) -> dict[str, Any]:
        return conninfo_to_dict(ArrowReader(parse("c", text_), "it's a \\name", lock_timeout=1, statement_timeout=1)._conninfo)

    made = {"application_name": "it's a \\name", "client_encoding": "UTF8"}
    tls = options("postgresql://u:p%20'w@db.example.com:5433/x?sslmode=verify-full&sslrootcert=/etc/my ca.pem&connect_timeout=3")
    assert tls == {"host": "db.example.com", "port": "5433", "dbname": "x", "user": "u", "password": "p 'w"} | made | {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/my ca.pem",
        "connect_timeout": "3",
    }
    assert options("postgresql://u@/x?host=/run/postgresql") == {"host": "/run/postgresql", "dbname": "x", "user": "u"} | made
    with pytest.raises(Unreachable):
        options("postgresql://u@db.example.com/x")


@pytest.fixture
def encoded(postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Makes a database of another encoding; its URL."""
    made: list[str] = []

    def make(encoding: str) -> str:
        made.append(f"t_{encoding.lower()}")
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(f"create database {made[-1]} encoding '{encoding}' locale 'C' template template0")
        return postgres.url(made[-1])

    yield make
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for name in made:
            admin.execute(f"drop database {name} with (force)")


def test_a_database_of_another_encoding_is_read_as_text_and_bad_text_is_refused(encoded: Callable[[str], str]) -> None:
    for encoding in ("LATIN1", "SQL_ASCII"):
        url = encoded(encoding)
        engine, reader = _engine(url, client_encoding=("utf8" if encoding == "SQL_ASCII" else "latin1")), _reader(url)
        reader.with_holds([])
        row = unmapped("public.t", ["a"])
        with engine.connect() as source:
            _run(source, "create table t (a text)", r"insert into t values (convert_from('\xe9', 'LATIN1'))")
            if encoding == "LATIN1":
                found = _read(reader, source, select(row.c.a).where(row.c.a == bindparam("p", type_=Text)), p="é")
                assert found["a"].to_pylist() == ["é"]
            else:
                with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
                    _read(reader, source, select(row.c.a))
        reader.close()
        engine.dispose()


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SQL_ASCII"])
def test_holds_come_as_they_are_whatever_the_server_s_encoding(encoded: Callable[[str], str], encoding: str) -> None:
    url = encoded(encoding)
    engine, reader = _engine(url, client_encoding="utf8"), _reader(url)
    since, until = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=timezone(timedelta(hours=2)))
    given = [
        HoldScope(id=1, dataset="logs", tenant='é"\\', since=since, until=until),
        HoldScope(id=2**62, person=("users", "7'\u00a0x")),
        HoldScope(id=3, tenant=""),
    ]
    reader.with_holds(given)
    kept: Any = literal_column("(select jsonb_agg(to_jsonb(h) order by id) from pg_temp.lethe_holds h)::text").label("a")
    with engine.connect() as source:
        found = json.loads(_read(reader, source, select(kept))["a"][0].as_py())
    reader.close()
    engine.dispose()
    assert [(h["id"], h["dataset"], h["tenant"], h["person_dataset"], h["person_key"]) for h in found] == [
        (1, "logs", 'é"\\', None, None),
        (3, None, "", None, None),
        (2**62, None, None, "users", "7'\u00a0x"),
    ]
    assert [datetime.fromisoformat(found[0][name]) for name in ("since", "until")] == [since, until]
    assert found[1]["since"] is None and found[2]["until"] is None
