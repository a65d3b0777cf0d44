"""What a purge deletes and what it leaves, technique by technique, on a real database with the store's own roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from demo.postgres import PostgresServer
from helpers.purging import AS_OF, CUTOFF, QUICK, SHIELD, Unread, World, step, world_of
from lethe.errors import LetheError
from lethe.plan.model import HoldScope
from lethe.purge import batch as batch_module
from lethe.purge import faults
from lethe.stores.postgres.partitions import DropPartitions


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        yield made


def logs(world: World, table: str, rows: int, order: str = "g") -> None:
    """Rows around the cutoff, one every minute, half of them due; `order` is how they lie on the disk."""
    world.sql(
        f"INSERT INTO app.{table} (id, at, tenant_id, note) SELECT g, %s + (g - %s) * interval '1 minute', g %% 7, repeat('x', 40) "
        f"FROM generate_series(0, %s) g ORDER BY {order}",
        [CUTOFF, rows // 2, rows - 1],
    )
    world.sql(f"ANALYZE app.{table}")


@pytest.mark.parametrize(
    ("table", "order", "technique"),
    [("logs", "g", "clock windows"), ("acts", "md5(g::text)", "block ranges"), ("uses", "g", "block ranges")],
)
def test_what_is_due_goes_and_its_neighbours_stay_unchanged(world: World, table: str, order: str, technique: str) -> None:
    logs(world, table, 6_000, order)
    kept = world.sql(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM app.{table} t WHERE at >= %s", [CUTOFF])[0]
    fingerprint = world.sql(f"SELECT bit_xor(hashint8extended(id, 0)) FROM app.{table} WHERE at < %s", [CUTOFF])[0][0]

    totals = world.purge(step(table))[table]

    assert totals.error is None
    assert (totals.deleted, totals.arrived, totals.fingerprint) == (3_000, 0, fingerprint)
    assert totals.techniques == (technique,)
    assert totals.batches > 3
    assert world.rest(table) == kept
    assert world.purge(step(table, as_of=CUTOFF + timedelta(days=300)))[table].deleted == 0


def test_partitions_wholly_due_are_dropped_and_the_rest_is_deleted_row_by_row(world: World) -> None:
    for month in range(1, 13):
        low, high = f"2025-{month:02}-01", f"2025-{month + 1:02}-01" if month < 12 else "2026-01-01"
        world.sql(f"CREATE TABLE app.views_{month:02} PARTITION OF app.views FOR VALUES FROM ('{low} 00:00+01') TO ('{high} 00:00+01')")
    world.sql("CREATE TABLE app.views_rest PARTITION OF app.views DEFAULT")
    world.sql(
        "INSERT INTO app.views (id, at, tenant_id) SELECT g, timestamptz '2025-01-01 00:00+01' + g * interval '1 hour', g % 7 "
        "FROM generate_series(0, 8759) g"
    )
    world.sql("INSERT INTO app.views (id, at) VALUES (-1, '2016-01-01'), (-2, '2014-01-01'), (-3, '2030-01-01')")
    world.sql("ANALYZE app.views")
    world.grant()
    due = world.number(f"SELECT count(*) FROM app.views WHERE at < '{CUTOFF}' AND at >= '2015-01-01+00'")

    totals = world.purge(step("views"))["views"]

    assert (totals.error, totals.deleted) == (None, due)
    assert totals.techniques == ("partition drop", "clock windows")
    left = {r[0] for r in world.sql("SELECT relname FROM pg_class WHERE relname ~ '^views_[0-9]+$' AND relkind = 'r'")}
    assert left == {"views_11", "views_12"}
    assert world.number(f"SELECT count(*) FROM app.views WHERE at < '{CUTOFF}'") == 1, "the row before the start of service stays"
    assert world.number("SELECT count(*) FROM app.views WHERE id = -3") == 1


def test_a_partition_with_a_held_row_is_not_dropped(world: World) -> None:
    world.sql("CREATE TABLE app.views_01 PARTITION OF app.views FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')")
    world.sql("INSERT INTO app.views (id, at, tenant_id) SELECT g, '2025-01-05', g % 7 FROM generate_series(1, 700) g")
    world.grant()
    totals = world.purge(step("views"), holds=lambda c: (HoldScope(id=1, tenant="3"),))["views"]
    assert (totals.error, totals.deleted) == (None, 600)
    assert world.sql("SELECT DISTINCT tenant_id FROM app.views") == [(3,)]


def test_a_partition_behind_a_slow_reader_is_dropped_when_the_reader_ends(world: World) -> None:
    world.sql("CREATE TABLE app.views_01 PARTITION OF app.views FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')")
    world.sql("INSERT INTO app.views (id, at) VALUES (1, '2025-01-05')")
    world.grant()
    with psycopg.connect(world.url) as reader:
        reader.execute("SELECT count(*) FROM app.views")
        with ThreadPoolExecutor() as pool:
            running = pool.submit(world.purge, step("views"))
            with psycopg.connect(world.url, autocommit=True) as other:
                while not other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'").fetchone()[0]:  # type: ignore[index]
                    assert not running.done()
            assert not running.done()
            reader.rollback()
            assert running.result()["views"].deleted == 1
    assert world.number("SELECT count(*) FROM pg_class WHERE relname = 'views_01'") == 0


def test_a_hold_outranks_expiry(world: World) -> None:
    logs(world, "logs", 2_000)
    totals = world.purge(step("logs"), holds=lambda c: (HoldScope(id=1, tenant="3"),))["logs"]
    left = world.sql(f"SELECT DISTINCT tenant_id FROM app.logs WHERE at < '{CUTOFF}'")
    assert totals.error is None
    assert left == [(3,)]


def test_a_hold_added_while_the_purge_runs_wins_from_the_next_batch(world: World) -> None:
    logs(world, "logs", 6_000)
    calls = []

    def holds(connection: Connection) -> tuple[HoldScope, ...]:
        calls.append(1)
        return (HoldScope(id=1, tenant="3"),) if len(calls) > 5 else ()

    totals = world.purge(step("logs"), holds=holds)["logs"]
    left = world.sql(f"SELECT count(*), count(*) FILTER (WHERE tenant_id = 3) FROM app.logs WHERE at < '{CUTOFF}'")[0]
    assert totals.error is None
    assert left[0] == left[1] > 0
    assert totals.deleted == 3_000 - left[0]


def test_a_hold_cannot_be_added_in_the_middle_of_a_batch(world: World) -> None:
    logs(world, "logs", 10)
    world.sql("CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN OLD; END'")
    world.sql("CREATE TRIGGER slow BEFORE DELETE ON app.logs FOR EACH STATEMENT EXECUTE FUNCTION app.slow()")
    with psycopg.connect(world.url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        running = pool.submit(world.purge, step("logs"))
        while not other.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()[0]:  # type: ignore[index]
            assert not running.done()
        assert other.execute("SELECT pg_try_advisory_lock(7211, 2)").fetchone() == (False,)
        other.execute("SELECT pg_advisory_lock(7211, 2)")
        assert world.number(f"SELECT count(*) FROM app.logs WHERE at < '{CUTOFF}'") == 0, "the batch was over before the hold came in"
        other.execute("SELECT pg_advisory_unlock(7211, 2)")
        assert running.result()["logs"].deleted == 5


def test_children_go_before_parents_and_no_cascade_ever_fires(world: World) -> None:
    world.sql("INSERT INTO app.threads SELECT g, '2020-01-01' FROM generate_series(1, 200) g")
    world.sql(
        "INSERT INTO app.messages SELECT g * 10 + n, g, CASE WHEN n > 0 THEN g * 10 + n - 1 END, "
        "CASE WHEN g %% 4 = 0 AND n = 3 THEN %s ELSE timestamptz '2021-01-01' END FROM generate_series(1, 200) g, generate_series(0, 3) n",
        [AS_OF],
    )
    totals = world.purge(step("messages"), step("threads"))
    assert {t.error for t in totals.values()} == {None}
    assert totals["messages"].deleted == 600, "a reply keeps the messages it answers"
    assert totals["messages"].techniques == ("cycle",)
    assert totals["threads"].deleted == 150, "a thread ages by its newest message"
    assert world.number("SELECT count(*) FROM app.messages") == 200


def test_a_row_that_a_cascade_or_set_null_would_touch_stays(world: World) -> None:
    world.sql("INSERT INTO app.consents SELECT gen_random_uuid(), '2020-01-01' FROM generate_series(1, 50)")
    world.sql("INSERT INTO app.audiences SELECT row_number() OVER (), id, %s FROM app.consents LIMIT 20", [AS_OF])
    before = world.rest("audiences")
    totals = world.purge(step("audiences"), step("consents"))
    assert (totals["consents"].error, totals["consents"].deleted, totals["audiences"].deleted) == (None, 30, 0)
    assert totals["consents"].techniques == ("careful",)
    assert world.rest("audiences") == before


def test_rows_that_refer_to_each_other_go_in_one_statement(world: World) -> None:
    with psycopg.connect(world.url) as c:
        c.execute("INSERT INTO app.tenants SELECT g, NULL, '2020-01-01' FROM generate_series(1, 120) g")
        c.execute("INSERT INTO app.users SELECT g * 10 + n, g, '2020-01-01' FROM generate_series(1, 120) g, generate_series(0, 2) n")
        c.execute("UPDATE app.users SET at = %s WHERE id %% 10 = 2 AND tenant_id <= 20", [AS_OF])
        c.execute("UPDATE app.tenants SET owner_id = id * 10")
    totals = world.purge(step("tenants"), step("users"))
    assert {t.error for t in totals.values()} == {None}
    assert totals["tenants"].deleted == 100, "a tenant with a younger user stays, and so does its owner"
    assert totals["users"].deleted == 320
    assert world.number("SELECT count(*) FROM app.tenants") == 20
    assert world.number("SELECT count(*) FROM app.users") == 40


def test_a_live_contract_keeps_its_tenants_rows(world: World) -> None:
    world.sql("INSERT INTO app.tenants SELECT g FROM generate_series(0, 6) g")
    world.sql("INSERT INTO app.contracts VALUES (1, 1, NULL), (2, 2, '2024-01-01'), (3, 3, %s)", [AS_OF + timedelta(days=1)])
    logs(world, "logs", 1_400)
    totals = world.purge(step("logs", shield=SHIELD))["logs"]
    assert totals.error is None
    assert totals.techniques == ("careful",)
    assert {r[0] for r in world.sql(f"SELECT DISTINCT tenant_id FROM app.logs WHERE at < '{CUTOFF}'")} == {1, 3}


def test_a_step_that_waits_is_refused(world: World) -> None:
    waiting = step("logs").model_copy(update={"waiting_for": ("archive",)})
    with pytest.raises(LetheError, match="waits for archive"):
        world.purge(waiting)


def test_rows_that_arrived_after_the_plan_are_told_apart(world: World) -> None:
    logs(world, "logs", 2_000)
    keys = {r[0] for r in world.sql(f"SELECT id FROM app.logs WHERE at < '{CUTOFF}'")}
    snapshot = world.number("SELECT pg_current_snapshot()::text")
    fingerprint = world.number(f"SELECT bit_xor(hashint8extended(id, 0)) FROM app.logs WHERE at < '{CUTOFF}'")
    world.sql("INSERT INTO app.logs (id, at) SELECT 100000 + g, '2025-01-01' FROM generate_series(1, 5) g")
    world.sql("UPDATE app.logs SET note = 'changed' WHERE id < 20")
    totals = world.purge(step("logs"), known_keys=lambda s: keys, snapshot=lambda s: snapshot)["logs"]
    assert (totals.deleted, totals.arrived, totals.fingerprint) == (1_005, 5, fingerprint)


@pytest.mark.parametrize("dataset", ["logs", "acts", "threads"])
def test_keys_that_must_be_read_are_read_while_no_row_is_locked(world: World, dataset: str) -> None:
    world.sql(f"INSERT INTO app.{dataset} (id, at) SELECT g, %s + (g - 200) * interval '1 minute' FROM generate_series(0, 399) g", [CUTOFF])
    keys = {r[0] for r in world.sql(f"SELECT id FROM app.{dataset} WHERE at < '{CUTOFF}'")}
    snapshot = world.number("SELECT pg_current_snapshot()::text")
    world.sql(f"INSERT INTO app.{dataset} (id, at) SELECT 100000 + g, '2025-01-01' FROM generate_series(1, 5) g")
    known = Unread(world, keys)
    chosen = replace(QUICK, lanes=1)
    totals = world.purge(step(dataset), known_keys=known, snapshot=lambda s: snapshot, limits=chosen)[dataset]
    assert (totals.error, totals.deleted, totals.arrived) == (None, 205, 5)
    assert known.asked and not known.open


def test_keys_are_not_read_where_no_row_is_young(world: World) -> None:
    logs(world, "logs", 400)
    snapshot = world.number("SELECT pg_current_snapshot()::text")
    known = Unread(world, set())
    assert world.purge(step("logs"), known_keys=known, snapshot=lambda s: snapshot)["logs"].deleted == 200
    assert not known.asked


def test_closings_that_a_crash_of_lethe_db_lost_are_asked_about_before_the_run_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing does not wait for the disk: here one is taken back as a crash would, and the session with it."""
    logs(world, "logs", 4_000)
    point, seen = faults.point, list[str]()

    def crash(name: str, connection: Any = None) -> None:
        seen.append(name)
        if name == "gate.open.after" and seen.count(name) == 3:
            world.sql("ALTER TABLE lethe.batches DISABLE TRIGGER USER")
            world.sql("UPDATE lethe.batches SET state = 'intent', ended_at = NULL WHERE number = 1")
            world.sql("ALTER TABLE lethe.batches ENABLE TRIGGER USER")
            raise psycopg.OperationalError("lethe_db went away")
        point(name, connection)

    monkeypatch.setattr(batch_module, "point", crash)
    totals = world.purge(step("logs"), limits=replace(QUICK, window=200, most=200, lanes=1))["logs"]
    assert (totals.error, totals.deleted, totals.interruptions) == (None, 2_000, 1)
    assert world.sql("SELECT DISTINCT state FROM lethe.batches") == [("committed",)]


def test_an_intent_waits_for_the_disk_and_its_closing_does_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    logs(world, "logs", 400)
    shown = dict[str, set[str]]()

    def look(name: str, connection: Any = None) -> None:
        if name in {"gate.open.after", "source.delete.after", "intent.write.before", "intent.close.before"}:
            shown.setdefault(name, set()).add(connection.scalar(text("SHOW synchronous_commit")))

    monkeypatch.setattr(batch_module, "point", look)
    assert world.purge(step("logs"))["logs"].deleted == 200
    assert shown == {
        "gate.open.after": {"on"},
        "source.delete.after": {"on"},
        "intent.write.before": {"on"},
        "intent.close.before": {"off"},
    }


def test_gentle_takes_smaller_batches(world: World) -> None:
    logs(world, "logs", 2_000)
    totals = world.purge(step("logs"), pace="gentle")["logs"]
    assert totals.deleted == 1_000
    assert totals.batches >= 10


@pytest.mark.parametrize(("at", "goes"), [(None, True), (AS_OF, False)], ids=["another column", "renewed"])
def test_a_row_that_somebody_changes_while_its_batch_runs_is_read_again(world: World, at: datetime | None, goes: bool) -> None:
    """The batch's snapshot is older than the change, so PostgreSQL refuses it; its next try reads the newest version of the row."""
    logs(world, "logs", 400)
    with psycopg.connect(world.url) as writer, psycopg.connect(world.url, autocommit=True) as watcher, ThreadPoolExecutor() as pool:
        writer.execute("UPDATE app.logs SET note = 'changed', at = coalesce(%s, at) WHERE id = 7", [at])
        running = pool.submit(world.purge, step("logs"), limits=replace(QUICK, lock_timeout=20_000))
        while not watcher.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%'"
        ).fetchone()[0]:  # type: ignore[index]
            assert not running.done()
        writer.commit()
        totals = running.result()["logs"]
    assert (totals.error, totals.deleted) == (None, 200 if goes else 199)
    assert world.sql("SELECT note FROM app.logs WHERE id = 7") == ([] if goes else [("changed",)])
    assert world.number(f"SELECT count(*) FROM app.logs WHERE at < '{CUTOFF}'") == 0


def test_lanes_share_a_table_and_one_that_loses_its_session_leaves_the_other_alone(world: World) -> None:
    logs(world, "logs", 20_000)
    fingerprint = world.number(f"SELECT bit_xor(hashint8extended(id, 0)) FROM app.logs WHERE at < '{CUTOFF}'")
    with psycopg.connect(world.url, autocommit=True) as watcher, ThreadPoolExecutor() as pool:
        running = pool.submit(world.purge, step("logs"), limits=replace(QUICK, window=100, most=100))
        ended = None
        while ended is None:
            assert not running.done(), "the second lane was never seen"
            ended = watcher.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'lethe:%%:1:purge' LIMIT 1"
            ).fetchone()
        totals = running.result()["logs"]
    assert (totals.error, totals.deleted, totals.fingerprint) == (None, 10_000, fingerprint)
    lanes = world.number("SELECT count(DISTINCT backend) FROM lethe.batches WHERE state = 'committed'")
    assert lanes >= 2
    assert world.number("SELECT count(*) FROM lethe.batches WHERE state NOT IN ('committed', 'rolled_back')") == 0
    assert world.number("SELECT count(*) - count(DISTINCT range) FROM lethe.batches WHERE state = 'committed'") == 0, (
        "no window was taken twice"
    )


def test_nothing_goes_above_what_the_guard_let_pass(world: World) -> None:
    logs(world, "logs", 4_000)
    totals = world.purge(step("logs"), ceilings={"rule/logs": 1_200})["logs"]
    assert totals.error_kind == "NotApproved"
    assert "more than the 1200 rows that the guard let pass" in (totals.error or "")
    assert 0 < totals.deleted <= 1_200, "the batch that would have gone above it did not happen; a slow machine's are smaller"
    assert world.number(f"SELECT count(*) FROM app.logs WHERE at < '{CUTOFF}'") == 2_000 - totals.deleted
    again = world.purge(step("logs"), ceilings={"rule/logs": 1_200})["logs"]
    assert again.error_kind == "NotApproved"
    assert totals.deleted <= again.deleted <= 1_200, "what earlier processes of the run deleted counts"
    assert world.purge(step("logs"), ceilings={"rule/logs": 2_000})["logs"].deleted == 2_000


@pytest.mark.parametrize(
    ("meanwhile", "rows", "counts"),
    [
        ("INSERT INTO app.views (id, at, tenant_id) VALUES (9000, '2025-01-20', 3)", 71, 2),
        ("DELETE FROM app.views WHERE id = 5", 69, 2),
        ("UPDATE app.views SET id = 9001 WHERE id = 5", 70, 2),
        ("UPDATE app.views SET at = '2025-01-21' WHERE id = 5", 70, 2),
        ("UPDATE app.views SET note = 'changed' WHERE id = 5", 70, 1),
    ],
    ids=["a row came", "one went", "another key", "another clock", "another column"],
)
def test_a_partition_that_changes_after_it_was_counted_is_counted_again_under_the_lock(
    world: World, meanwhile: str, rows: int, counts: int
) -> None:
    world.sql("CREATE TABLE app.views_01 PARTITION OF app.views FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')")
    world.sql("INSERT INTO app.views (id, at, tenant_id) SELECT g, '2025-01-05', g % 7 FROM generate_series(1, 70) g")
    world.grant()
    prepare, content, counted = DropPartitions.prepare, DropPartitions._content, []

    def prepare_and_change(self: DropPartitions, cursor: Any, holds: Sequence[HoldScope]) -> None:
        prepare(self, cursor, holds)
        world.sql(meanwhile)

    def count(self: DropPartitions, *given: Any) -> Any:
        counted.append(content(self, *given))
        return counted[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DropPartitions, "prepare", prepare_and_change)
        patch.setattr(DropPartitions, "_content", count)
        totals = world.purge(step("views"))["views"]
    assert (totals.error, totals.techniques, totals.deleted) == (None, ("partition drop",), rows)
    assert len(counted) == counts
    assert (totals.fingerprint, counted[-1].rows) == (counted[-1].fingerprint, rows)
    assert world.rest("views")[0] == 0
