"""The demo's database: deterministic, of the shape the issue asks for, its awkward rows planted where the manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from demo.canary import PERSONAL, canary_rows
from demo.garden import CANARY, Expect, Planted
from demo.generate import TABLES, load
from demo.planted import planted
from demo.postgres import PostgresServer

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
LOGS = ("technical_logs", "user_actions", "page_views")
CLOCKS = {
    "leads": "greatest(created_at, last_contact_at)",
    "support_threads": "coalesce((SELECT max(m.sent_at) FROM app.support_messages m WHERE m.thread_id = r.id), opened_at)",
}
"""Clocks that are no column of the row."""
DATED = {Expect.DUE, Expect.KEPT, Expect.ARCHIVED, Expect.BLOCKED, Expect.SHIELDED, Expect.NEEDED}
"""What is expected of a row whose age can be told."""


@pytest.fixture(scope="module")
def spotrak(postgres: PostgresServer) -> Iterator[str]:
    """A database with the demo at scale 0.01, canary included; its superuser's URL."""
    name = "test_demo"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    load(postgres.url(name), scale=0.01, as_of=AS_OF, canary=True)
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def rows(spotrak: str) -> Iterator[psycopg.Connection]:
    """A connection to it whose changes are rolled back."""
    with psycopg.connect(spotrak) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection
        connection.rollback()


def value(connection: psycopg.Connection, query: str, *parameters: Any) -> Any:
    """The one value of a query."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def digest(url: str) -> str:
    """sha256 over every row of every table."""
    found = hashlib.sha256()
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        for table in TABLES:
            with cursor.copy(sql.SQL("COPY (SELECT * FROM {} ORDER BY 1, 2) TO STDOUT").format(sql.Identifier("app", table.name))) as copy:
                for data in copy:
                    found.update(data)
    return found.hexdigest()


def test_the_same_seed_gives_the_same_rows_and_a_second_load_replaces_the_first(database: str) -> None:
    first = load(database, scale=0.001, as_of=AS_OF)
    once = digest(database)
    assert load(database, scale=0.001, as_of=AS_OF) == first
    assert digest(database) == once
    load(database, scale=0.001, as_of=AS_OF, seed=2)
    assert digest(database) != once


def test_a_load_that_fails_leaves_the_old_rows(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load(database, scale=0.001, as_of=AS_OF)
    before = digest(database)

    def broken(connection: psycopg.Connection) -> None:
        raise RuntimeError("stopped on purpose")

    monkeypatch.setattr("demo.generate.grant", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        load(database, scale=0.001, as_of=AS_OF, seed=2)
    assert digest(database) == before


def test_an_as_of_without_a_zone_is_refused(database: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        load(database, as_of=datetime(2026, 11, 24))  # noqa: DTZ001


def test_it_loads_whatever_the_date(database: str) -> None:
    for as_of in (
        datetime(2024, 2, 29, 12, tzinfo=UTC),
        datetime(2025, 2, 28, 22, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 1, tzinfo=UTC),
    ):
        load(database, scale=0.001, as_of=as_of)


@pytest.mark.parametrize("table", [t.name for t in TABLES])
def test_every_planted_row_is_there(rows: psycopg.Connection, table: str) -> None:
    wanted = {tuple(map(str, p.key[:1])) if table == "page_views" else tuple(map(str, p.key)) for p in planted(AS_OF) if p.table == table}
    key = "appointment_id::text, client_id::text" if table == "appointment_clients" else "id::text"
    found = set(rows.execute(f"SELECT {key} FROM app.{table}").fetchall())
    assert wanted, "nothing planted"
    assert wanted <= found


def due_by_paris_date(row: Planted) -> str:
    """SQL, written apart from Lethe's: is the row past its period by the dates of Paris?"""
    clock = CLOCKS.get(row.table, row.clock)
    return f"(({clock}) AT TIME ZONE 'Europe/Paris')::date + interval '{row.period}' < (timestamptz '{AS_OF.isoformat()}' AT TIME ZONE 'Europe/Paris')::date"


def test_what_the_manifest_calls_due_is_due_by_paris_dates_and_what_it_calls_kept_is_not(rows: psycopg.Connection) -> None:
    judged = 0
    for row in planted(AS_OF):
        if row.clock and row.period and row.expect in DATED:
            key = sql.SQL("appointment_id" if row.table == "appointment_clients" else "id")
            query = sql.SQL("SELECT {} FROM app.{} r WHERE {} = {}").format(
                sql.SQL(due_by_paris_date(row)),
                sql.Identifier(row.table),
                key,
                sql.Literal(row.key[0]),
            )
            found = rows.execute(query).fetchone()
            assert found == (row.expect is not Expect.KEPT,), f"{row.table} {row.key}: {row.why}"
            judged += 1
    assert judged > 90


def test_quarantined_rows_have_clocks_that_no_age_can_be_told_from(rows: psycopg.Connection) -> None:
    for row in planted(AS_OF):
        if row.expect is Expect.QUARANTINED:
            clock = CLOCKS.get(row.table, row.clock)
            if row.table == "support_threads":  # its opening counts only when there is no message
                clock = "(SELECT max(m.sent_at) FROM app.support_messages m WHERE m.thread_id = r.id)"
            at = value(rows, f"SELECT ({clock})::timestamptz FROM app.{row.table} r WHERE id = %s", row.key[0])
            assert at is None or at > AS_OF or at < datetime(2013, 12, 31, 23, tzinfo=UTC), f"{row.table} {row.key}: {row.why}"


def test_due_users_are_referred_to_by_nobody_but_where_the_manifest_says_blocked(rows: psycopg.Connection) -> None:
    references = rows.execute(
        "SELECT conrelid::regclass::text, (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]) "
        "FROM pg_constraint WHERE contype = 'f' AND confrelid = 'app.users'::regclass"
    ).fetchall()
    assert len(references) >= 6
    referred = " UNION ".join(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL" for table, column in references)
    found = {
        u for (u,) in rows.execute(f"SELECT id FROM app.users WHERE removed_at < '{AS_OF.isoformat()}' AND id IN ({referred})").fetchall()
    }
    assert found == {p.key[0] for p in planted(AS_OF) if p.table == "users" and p.expect is Expect.BLOCKED}


@pytest.mark.parametrize("table", LOGS)
def test_about_a_fifth_of_the_logs_is_due_and_none_is_strange(rows: psycopg.Connection, table: str) -> None:
    at = AS_OF.isoformat()
    due, early, late, total = rows.execute(
        "SELECT count(*) FILTER (WHERE (occurred_at AT TIME ZONE 'Europe/Paris')::date + interval '12 months' "
        f"< (timestamptz '{at}' AT TIME ZONE 'Europe/Paris')::date), "
        f"count(*) FILTER (WHERE occurred_at < timestamptz '{at}' - interval '17 months'), count(*) FILTER (WHERE occurred_at >= '{at}'), count(*) FROM app.{table}"
    ).fetchone() or (0, 1, 1, 1)
    assert 0.15 < due / total < 0.25
    assert (early, late) == (0, 0)


def test_nothing_refers_to_the_logs_and_they_refer_to_nothing(rows: psycopg.Connection) -> None:
    for table in LOGS:
        assert (
            value(rows, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND %s::regclass IN (conrelid, confrelid)", f"app.{table}")
            == 0
        )


def test_logs_name_living_tenants_only_and_none_that_a_hold_of_the_demo_covers(rows: psycopg.Connection) -> None:
    for table in LOGS:
        odd = value(
            rows,
            f"SELECT count(*) FROM app.{table} l WHERE id > 1000 AND tenant_id IS NOT NULL AND NOT EXISTS "
            "(SELECT FROM app.contracts c WHERE c.tenant_id = l.tenant_id AND (c.ended_at IS NULL OR c.ended_at > %s))",
            AS_OF,
        )
        assert odd == 0


def test_technical_logs_lie_in_clock_order_and_user_actions_do_not(rows: psycopg.Connection) -> None:
    def correlation(table: str) -> float:
        return float(
            value(rows, "SELECT correlation FROM pg_stats WHERE schemaname = 'app' AND tablename = %s AND attname = 'occurred_at'", table)
        )

    assert correlation("technical_logs") > 0.99
    assert abs(correlation("user_actions")) < 0.2
    assert (
        value(
            rows,
            "SELECT count(*) FROM (SELECT occurred_at < lag(occurred_at) OVER (ORDER BY ctid) AS back FROM app.technical_logs) s WHERE back",
        )
        == 0
    )


def test_a_log_row_is_about_300_bytes(rows: psycopg.Connection) -> None:
    assert 250 < value(rows, "SELECT avg(pg_column_size(l.*)) FROM app.technical_logs l") < 450


def test_page_views_are_partitioned_at_midnights_in_paris(rows: psycopg.Connection) -> None:
    bounds = rows.execute(
        "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relnamespace = 'app'::regnamespace AND relkind = 'r' ORDER BY 1"
    ).fetchall()
    assert len(bounds) == 18
    names = {name for name, _ in bounds}
    assert {"page_views_2025_08", "page_views_2026_11", "page_views_2027_01"} <= names
    assert ("page_views_2026_03", "FOR VALUES FROM ('2026-02-28 23:00:00+00') TO ('2026-03-31 22:00:00+00')") in bounds


def test_every_foreign_key_column_and_every_clock_has_an_index(rows: psycopg.Connection) -> None:
    indexed = set(
        rows.execute(
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
            "WHERE c.relnamespace = 'app'::regnamespace AND i.indisvalid"
        ).fetchall()
    )
    keys = set(
        rows.execute(
            "SELECT c.relname, a.attname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1] "
            "WHERE k.contype = 'f' AND k.connamespace = 'app'::regnamespace"
        ).fetchall()
    )
    clocks = {(p.table, p.clock) for p in planted(AS_OF) if p.clock and p.clock.isidentifier()}
    assert keys <= indexed
    assert clocks <= indexed


def test_tenants_and_owners_refer_to_each_other_and_replies_form_cycles(rows: psycopg.Connection) -> None:
    assert value(rows, "SELECT count(*) FROM app.tenants t JOIN app.users u ON u.id = t.owner_user_id AND u.tenant_id = t.id") == value(
        rows, "SELECT count(*) FROM app.tenants"
    )
    assert value(rows, "SELECT count(*) FROM app.support_messages WHERE parent_id = id") == 1
    assert (
        value(
            rows,
            "SELECT count(*) FROM app.support_messages a JOIN app.support_messages b ON a.parent_id = b.id AND b.parent_id = a.id AND a.id < b.id",
        )
        == 1
    )


def test_one_person_is_in_two_tenants_and_one_address_in_two_forms(rows: psycopg.Connection) -> None:
    assert value(rows, "SELECT count(DISTINCT tenant_id) FROM app.users WHERE email = 'deux.fois@exemple.example'") == 2
    forms = rows.execute(
        "SELECT DISTINCT email FROM app.users WHERE normalize(email, NFC) = normalize('zoé@exemple.example', NFC)"
    ).fetchall()
    assert len(forms) == 2


def test_generated_events_lie_within_their_consent(rows: psycopg.Connection) -> None:
    outside = value(
        rows,
        "SELECT count(*) FROM app.audience_events e JOIN app.consents c ON c.id = e.consent_id WHERE e.id > 1000 AND NOT "
        "(c.granted AND c.chosen_at <= e.occurred_at AND e.occurred_at < least(c.withdrawn_at, c.chosen_at + interval '6 months'))",
    )
    assert outside == 0
    assert value(rows, "SELECT count(*) FROM app.consents WHERE ended_at > %s", AS_OF) == 0


def test_the_generated_rows_have_no_strange_clock(rows: psycopg.Connection) -> None:
    for table, clock in [
        ("leads", "created_at"),
        ("email_log", "sent_at"),
        ("audience_events", "occurred_at"),
        ("support_messages", "sent_at"),
    ]:
        assert (
            value(
                rows,
                f"SELECT count(*) FROM app.{table} WHERE id > 1000 AND ({clock} IS NULL OR {clock} >= %s OR {clock} < '2014-01-01')",
                AS_OF,
            )
            == 0
        )


def test_the_application_can_insert_after_the_load(rows: psycopg.Connection) -> None:
    rows.execute("SET ROLE spotrak_app")
    for table in TABLES:
        if table.columns[0] == "id" and table.name not in {"consents", "attachments", *LOGS[2:]}:
            columns = [c for c in table.columns if c != "id"]
            values = ["email || 2" if c == "email" else c for c in columns]
            source = f"SELECT {', '.join(values)} FROM app.{table.name} WHERE id > 1000 LIMIT 1"
            rows.execute(f"INSERT INTO app.{table.name} ({', '.join(columns)}) {source}")
    rows.execute("INSERT INTO app.page_views (occurred_at, path) VALUES (%s, '/')", [AS_OF])


def test_the_canary_is_in_every_personal_column(rows: psycopg.Connection) -> None:
    assert set(PERSONAL) == {t.name for t in TABLES} - {"appointment_clients"}
    for table, columns in PERSONAL.items():
        for column in columns:
            assert value(rows, f"SELECT count(*) FROM app.{table} WHERE {column}::text LIKE %s", f"%{CANARY}%") >= 1, f"{table}.{column}"
    assert {r.expect for r in canary_rows(AS_OF)} >= {Expect.DUE, Expect.KEPT}


def test_the_manifest_has_every_kind_and_unique_keys() -> None:
    manifest = [*planted(AS_OF), *canary_rows(AS_OF)]
    assert {p.expect for p in manifest} == set(Expect)
    assert len({(p.table, p.key[:1] if p.table == "page_views" else p.key) for p in manifest}) == len(manifest)


def test_leap_days_and_clock_changes_are_among_the_logs() -> None:
    reasons = " ".join(p.why for p in planted(datetime(2025, 2, 28, 22, tzinfo=UTC)) if p.table == "technical_logs")
    assert "the last instant of February 2024" in reasons
    assert "clock change of 2024-10-27" in reasons
    leap = [
        p for p in planted(datetime(2025, 3, 1, 12, tzinfo=UTC)) if p.table == "technical_logs" and "last instant of February 2024" in p.why
    ]
    assert [p.expect for p in leap] == [Expect.DUE]
    none_due = [p for p in planted(datetime(2025, 2, 28, 22, tzinfo=UTC)) if p.table == "technical_logs" and "28 February 2024" in p.why]
    assert [p.expect for p in none_due] == [Expect.KEPT]
    assert date(2024, 2, 29) == none_due[0].values["occurred_at"].date().replace(day=29)


class TestRoles:
    """What each role may do, tried as that role."""

    @staticmethod
    def as_role(connection: psycopg.Connection, role: str) -> None:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    def test_the_purger_deletes_and_locks_and_changes_nothing(self, rows: psycopg.Connection) -> None:
        self.as_role(rows, "lethe_purger")
        assert rows.execute("DELETE FROM app.technical_logs WHERE id < 110").rowcount > 0
        rows.execute("SELECT id FROM app.users LIMIT 1 FOR UPDATE")
        rows.execute("SELECT 1 FROM app.appointment_clients LIMIT 1 FOR SHARE")
        for refused in (
            "UPDATE app.users SET email = 'x'",
            "INSERT INTO app.email_log (subject) VALUES ('x')",
            "TRUNCATE app.leads",
            "DROP TABLE app.leads",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), rows.transaction():
                rows.execute(refused)

    def test_the_checker_reads_everything_and_writes_nothing(self, rows: psycopg.Connection) -> None:
        assert rows.execute("SELECT rolbypassrls FROM pg_roles WHERE rolname = 'lethe_checker'").fetchone() == (True,)
        assert value(rows, "SELECT pg_has_role('lethe_checker', 'pg_read_all_stats', 'USAGE')")
        self.as_role(rows, "lethe_checker")
        for table in TABLES:
            assert value(rows, f"SELECT count(*) FROM app.{table.name}") > 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), rows.transaction():
            rows.execute("DELETE FROM app.leads")

    def test_the_keeper_drops_a_partition_and_reads_nobody_else(self, rows: psycopg.Connection) -> None:
        self.as_role(rows, "lethe_keeper")
        rows.execute("DROP TABLE app.page_views_2025_08")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), rows.transaction():
            rows.execute("SELECT * FROM app.leads")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), rows.transaction():
            rows.execute("DROP TABLE app.leads")

    def test_the_keeper_can_vacuum_every_table(self, spotrak: str) -> None:
        with psycopg.connect(spotrak, autocommit=True) as connection:
            warnings: list[str] = []
            connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
            self.as_role(connection, "lethe_keeper")
            for table in TABLES:
                connection.execute(f"VACUUM app.{table.name}")
            assert warnings == []

    def test_passwords_come_from_the_loader_and_unknown_roles_are_refused(self, database: str) -> None:
        load(database, scale=0.001, as_of=AS_OF, passwords={"lethe_purger": "un mot de passe"})
        with psycopg.connect(database) as connection:
            assert str(value(connection, "SELECT rolpassword FROM pg_authid WHERE rolname = 'lethe_purger'")).startswith("SCRAM-SHA-256$")
        with pytest.raises(ValueError, match="no such role"):
            load(database, scale=0.001, as_of=AS_OF, passwords={"postgres": "non"})
