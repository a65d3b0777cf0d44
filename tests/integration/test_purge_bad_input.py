"""What a purge says when something is in its way, and that nothing wrong is deleted then."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import select, update

from demo.postgres import PostgresServer
from helpers.purging import AS_OF, CUTOFF, QUICK, World, plan_of, step, world_of
from lethe.control.tables import batches, leases
from lethe.errors import StoreBusy
from lethe.purge.lease import Lease, release, take
from lethe.purge.sources import Sources, in_words


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        made.sql(
            "INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - 1000) * interval '1 minute', g %% 7, 'x' "
            "FROM generate_series(0, 1999) g",
            [CUTOFF],
        )
        made.sql("ANALYZE app.logs")
        yield made


def due(world: World) -> int:
    return int(world.number(f"SELECT count(*) FROM app.logs WHERE at < '{CUTOFF}'"))


def test_a_trigger_that_swallows_deletions_is_a_wrong_count(world: World) -> None:
    world.sql(
        "CREATE FUNCTION app.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 7 THEN RETURN NULL; END IF; RETURN OLD; END'"
    )
    world.sql("CREATE TRIGGER keep BEFORE DELETE ON app.logs FOR EACH ROW EXECUTE FUNCTION app.keep()")
    totals = world.purge(step("logs"))["logs"]
    assert (totals.error_kind, totals.deleted) == ("WrongCount", 0)
    assert due(world) == 1_000, "the whole batch was rolled back"


def test_a_trigger_that_puts_rows_back_is_a_wrong_count(world: World) -> None:
    world.sql(
        "CREATE FUNCTION app.back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO app.logs SELECT (OLD).*; RETURN NULL; END'"
    )
    world.sql("CREATE TRIGGER back AFTER DELETE ON app.logs FOR EACH ROW EXECUTE FUNCTION app.back()")
    world.sql("ALTER FUNCTION app.back() SECURITY DEFINER")
    totals = world.purge(step("logs"))["logs"]
    assert (totals.error_kind, totals.deleted) == ("WrongCount", 0)
    assert due(world) == 1_000


def test_a_rule_that_rewrites_deletions_is_a_wrong_count(world: World) -> None:
    world.sql("CREATE RULE soft AS ON DELETE TO app.logs DO INSTEAD UPDATE app.logs SET note = 'gone' WHERE id = OLD.id RETURNING OLD.*")
    totals = world.purge(step("logs"))["logs"]
    assert (totals.error_kind, totals.deleted) == ("WrongCount", 0)


def test_row_security_that_hides_rows_is_an_error_not_a_smaller_number(world: World) -> None:
    world.sql("ALTER TABLE app.logs ENABLE ROW LEVEL SECURITY")
    world.sql("CREATE POLICY few ON app.logs USING (id < 5)")
    totals = world.purge(step("logs"))["logs"]
    assert (totals.error_kind, totals.deleted) == ("PartialView", 0)


def test_a_locked_table_is_named_after_a_few_tries(world: World) -> None:
    with psycopg.connect(world.url) as other:
        other.execute("LOCK TABLE app.logs IN SHARE MODE")
        totals = world.purge(step("logs"), reclaim=False)["logs"]
    assert totals.error_kind == "StillLocked"
    assert "rule/logs" in (totals.error or "")
    assert due(world) == 1_000
    assert world.purge(step("logs"))["logs"].deleted == 1_000, "the same plan goes on when the lock is gone"


def test_a_lock_that_ends_is_waited_for(world: World) -> None:
    with psycopg.connect(world.url) as other, ThreadPoolExecutor() as pool:
        other.execute("SELECT FROM app.logs WHERE id = 5 FOR UPDATE")
        running = pool.submit(world.purge, step("logs"))
        with psycopg.connect(world.url, autocommit=True) as watcher:
            while not watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:  # type: ignore[index]
                assert not running.done()
        other.rollback()
        assert running.result()["logs"].deleted == 1_000


def test_a_statement_that_is_killed_is_not_tried_again(world: World) -> None:
    world.sql("CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN OLD; END'")
    world.sql("CREATE TRIGGER slow BEFORE DELETE ON app.logs FOR EACH STATEMENT EXECUTE FUNCTION app.slow()")
    with psycopg.connect(world.url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        running = pool.submit(world.purge, step("logs"))
        while not other.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone():
            assert not running.done()
        totals = running.result()["logs"]
    assert (totals.error_kind, totals.deleted, due(world)) == ("StatementEnded", 0, 1_000)


def test_a_statement_has_a_time_limit(world: World) -> None:
    world.sql("CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN OLD; END'")
    world.sql("CREATE TRIGGER slow BEFORE DELETE ON app.logs FOR EACH STATEMENT EXECUTE FUNCTION app.slow()")
    totals = world.purge(step("logs"), limits=replace(QUICK, statement_timeout=300))["logs"]
    assert (totals.error_kind, due(world)) == ("StatementEnded", 1_000)


def test_a_session_ended_in_the_middle_is_taken_up_again(world: World) -> None:
    world.sql("CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN OLD; END'")
    world.sql("CREATE TRIGGER slow BEFORE DELETE ON app.logs FOR EACH STATEMENT EXECUTE FUNCTION app.slow()")
    with psycopg.connect(world.url, autocommit=True) as other, ThreadPoolExecutor() as pool:
        running = pool.submit(world.purge, step("logs"))
        while not other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone():
            assert not running.done()
        totals = running.result()["logs"]
    assert (totals.error, totals.deleted, due(world)) == (None, 1_000, 0)


def test_a_second_run_at_the_same_time_is_refused(world: World) -> None:
    other = plan_of(step("acts"))
    lease = Lease(store="source", part="x", plan=other.digest, attempt=1, holder="somebody")
    take(world.control.runtime, lease)
    with pytest.raises(StoreBusy, match=other.digest[:12]):
        world.purge(step("logs"))
    assert due(world) == 1_000
    release(world.control.runtime, lease)
    assert world.purge(step("logs"))["logs"].deleted == 1_000
    assert world.number("SELECT count(*) FROM lethe.leases") == 0, "a lease is given back"


def test_an_expired_lease_of_another_plan_is_nobodys(world: World) -> None:
    take(world.control.runtime, Lease(store="source", part="x", plan="f" * 64, attempt=1, holder="somebody", seconds=0))
    assert world.purge(step("logs"))["logs"].deleted == 1_000


def test_a_process_whose_lease_was_taken_over_stops_before_its_next_batch(world: World) -> None:
    calls = []

    def holds(connection: object) -> tuple[()]:
        calls.append(1)
        if len(calls) == 4:
            with world.control.superuser.begin() as c:
                c.execute(update(leases).values(holder="another process"))
        return ()

    with pytest.raises(StoreBusy, match="took over"):
        world.purge(step("logs"), holds=holds, limits=replace(QUICK, lanes=1))
    assert 0 < due(world) < 1_000
    assert world.purge(step("logs"))["logs"].deleted == 1_000, "the totals hold what both did"


def test_a_batch_of_which_the_database_knows_nothing_is_unknown(world: World) -> None:
    plan = plan_of(step("logs"))
    ctx = world.context(plan)
    with world.control.runtime.begin() as c:
        c.execute(
            batches.insert().values(
                plan=plan.digest, attempt=1, step="rule/logs", number=1, state="intent", technique="clock windows", range={}, rows=5,
                xid=2**40, backend=1, backend_start=AS_OF, details={"role": "purge"},
            )
        )  # fmt: skip
    totals_error = pytest.raises(Exception, match=r"cannot say|refused")
    with totals_error:
        world.purge(step("logs"), plan=ctx.plan)
    assert due(world) == 1_000


def test_a_database_that_does_not_answer_is_named(world: World) -> None:
    def gone(name: str) -> object:
        return replace(world.connections(name), port=1)

    with pytest.raises(Exception, match="does not answer") as caught:
        world.purge(step("logs"), connections=gone)
    assert type(caught.value).__name__ == "Unreachable"


def test_errors_of_the_database_come_without_its_words(world: World) -> None:
    sources = Sources(world.context(plan_of()).catalog.stores[0], world.connections, QUICK, "lethe:test")
    full = psycopg.errors.DiskFull("could not extend file: No space left on device, jeanne@example.org")
    error = in_words(full, "Step rule/logs")
    assert type(error).__name__ == "StoreFull"
    assert "jeanne" not in str(error)
    sources.close()


def test_a_row_renewed_between_plan_and_purge_stays_and_one_changed_elsewhere_goes(world: World) -> None:
    with psycopg.connect(world.url) as writer, ThreadPoolExecutor() as pool:
        writer.execute("UPDATE app.logs SET at = %s WHERE id = 5", [AS_OF - timedelta(days=1)])
        writer.execute("UPDATE app.logs SET note = 'new' WHERE id = 6")
        running = pool.submit(world.purge, step("logs"), limits=replace(QUICK, lock_timeout=5_000))
        with psycopg.connect(world.url, autocommit=True) as watcher:
            while not watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:  # type: ignore[index]
                assert not running.done()
        writer.commit()
        totals = running.result()["logs"]
    assert (totals.error, totals.deleted) == (None, 999)
    assert world.sql(f"SELECT id FROM app.logs WHERE id < 10 OR at < '{CUTOFF}'") == [(5,)]


def test_space_is_reusable_unless_something_older_holds_it_back(world: World) -> None:
    assert world.purge(step("logs"))["logs"].space_reusable is True
    world.sql("INSERT INTO app.logs SELECT g, '2020-01-01' FROM generate_series(1, 100) g WHERE g NOT IN (SELECT id FROM app.logs)")
    with psycopg.connect(world.url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM app.logs LIMIT 1")
        totals = world.purge(step("logs"), plan=plan_of(step("logs"), step("acts")))["logs"]
    assert totals.deleted == 100
    assert (totals.space_reusable, totals.error) == (False, None)
    assert "older snapshot" in (totals.space_held_by or "")


def test_vacuum_without_the_right_is_seen_to_do_nothing(world: World) -> None:
    world.sql("REVOKE MAINTAIN ON app.logs FROM lethe_keeper")
    totals = world.purge(step("logs"))["logs"]
    assert (totals.space_reusable, totals.deleted) == (False, 1_000)
    assert "may not" in (totals.space_held_by or "")


def test_every_batch_says_what_postgresql_counted(world: World) -> None:
    world.purge(step("logs"))
    with world.control.runtime.connect() as c:
        rows = c.execute(select(batches.c.rows, batches.c.details, batches.c.state, batches.c.xid)).all()
    assert len(rows) >= 2 and {r.state for r in rows} == {"committed"}, "a slow machine makes more and smaller ones"
    assert all(r.details["statistics"] == {"app.logs": r.rows} and r.xid for r in rows)
