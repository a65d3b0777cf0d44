"""What a purge that archives does: rows go to the archive and then from the source, all of them or none (invariant 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from demo.ceph import CephGateway
from demo.postgres import PostgresServer
from helpers.archiving import Archive, archive_on, archiving, purge
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, CUTOFF, QUICK, Unread, World, step, world_of
from lethe.archive.names import name_of
from lethe.plan.model import HoldScope
from lethe.stores.postgres import arrow, plain
from lethe.stores.postgres.gathered import gather
from lethe.stores.s3.client import client

pytestmark = pytest.mark.ceph


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        yield made


@pytest.fixture(scope="module")
def user(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def archive(ceph: CephGateway, user: tuple[str, str]) -> Archive:
    return archive_on(ceph.endpoint, user)


def logs(world: World, rows: int = 2_000) -> None:
    """Half of the rows are due, a minute apart."""
    with psycopg.connect(world.url) as c:
        c.execute(
            "INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - %s) * interval '1 minute', g %% 7, 'n' || g FROM generate_series(0, %s) g",
            [CUTOFF, rows // 2, rows - 1],
        )
    world.sql("ANALYZE app.logs")


def test_due_rows_are_in_the_archive_and_no_longer_in_the_table(world: World, archive: Archive) -> None:
    logs(world)
    wanted = world.sql("SELECT id, at, tenant_id, note FROM app.logs WHERE at < %s ORDER BY id", [CUTOFF])
    young = world.sql("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM app.logs t WHERE at >= %s", [CUTOFF])
    totals = purge(world, archive, archiving("logs"))["logs"]
    assert (totals.error, totals.deleted) == (None, 1_000)
    assert world.sql("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) FROM app.logs t") == young
    kept = archive.rows("logs").sort_by("id")
    assert list(zip(*(kept[c].to_pylist() for c in ("id", "at", "tenant_id", "note")), strict=True)) == wanted


def test_every_object_is_sealed_locked_and_has_its_manifest_beside_it(world: World, archive: Archive) -> None:
    logs(world)
    purge(world, archive, archiving("logs"))
    found = world.sql("SELECT key, version, state, expires_at, lock_until, rows, batch FROM lethe.archive_objects")
    assert {state for _, _, state, *_ in found} == {"sealed"}
    assert sum(rows for *_, rows, _ in found) == 1_000
    for key, version, _, expires, until, _, batch in found:
        assert until == expires == archive.bucket.lock_until(key, version)
        assert batch is not None
    folder = {k.rpartition("/")[0] for k in archive.objects()}
    assert all("dataset=logs/law=code-de-commerce-l123-22/" in f and f.endswith("expires=2035-11") for f in folder)
    assert len(archive.keys()) == 2 * len(archive.objects()) == 2 * len(found)


def test_rows_of_one_day_of_expiry_lie_together_and_each_day_apart(world: World, archive: Archive) -> None:
    logs(world, rows=6_000)
    purge(world, archive, archiving("logs"))
    by_day = dict(world.sql("SELECT expires_on, sum(rows) FROM lethe.archive_objects GROUP BY 1"))
    assert len(by_day) == 3, "the 3,000 due rows, a minute apart, lie on three local days"
    assert sum(by_day.values()) == 3_000
    assert max(by_day).isoformat() == "2035-11-23", "the day after the tenth anniversary of 22 November 2025"


def test_a_batch_ends_with_a_local_day_so_that_each_day_that_fits_is_one_object(world: World, archive: Archive) -> None:
    logs(world, rows=16_000)
    purge(world, archive, archiving("logs"), limits=replace(QUICK, archive_window=2_000))
    objects = dict(world.sql("SELECT expires_on, count(*) FROM lethe.archive_objects GROUP BY 1"))
    assert len(objects) == 6 and set(objects.values()) == {1}, "8,000 minutes are on six days, each with fewer rows than a batch"
    assert world.number("SELECT sum(rows) FROM lethe.archive_objects") == 8_000


def test_a_day_with_more_rows_than_a_batch_is_cut_where_the_batch_is_full(world: World, archive: Archive) -> None:
    logs(world, rows=6_000)
    purge(world, archive, archiving("logs"), limits=replace(QUICK, archive_window=400))
    sizes = world.sql("SELECT expires_on, array_agg(rows) FROM lethe.archive_objects GROUP BY 1")
    assert sum(sum(rows) for _, rows in sizes) == 3_000
    assert max(max(rows) for _, rows in sizes) <= 400 and max(len(rows) for _, rows in sizes) >= 4


@pytest.mark.parametrize("order", ["g", "md5(g::text)"], ids=["clock windows", "block ranges"])
def test_a_batch_that_is_read_in_parts_has_each_of_its_rows_once(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    asked: list[int] = []

    def noted(session: Any, statements: Any, *given: Any, **more: Any) -> Any:
        asked.append(len(statements))
        return gather(session, statements, *given, **more)

    monkeypatch.setattr(arrow, "gather", noted)
    monkeypatch.setattr(plain, "READ_AT_ONCE", 90)
    with psycopg.connect(world.url) as c:
        c.execute(
            f"INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - 1000) * interval '1 minute', g %% 7, 'n' || g "
            f"FROM generate_series(0, 1999) g ORDER BY {order}".encode(),
            [CUTOFF],
        )
    world.sql("ANALYZE app.logs")
    wanted = world.sql("SELECT id, at, tenant_id, note FROM app.logs WHERE at < %s ORDER BY id", [CUTOFF])
    totals = purge(world, archive, archiving("logs"))["logs"]
    assert (totals.error, totals.deleted, totals.techniques) == (None, 1_000, ("clock windows",) if order == "g" else ("block ranges",))
    kept = archive.rows("logs").sort_by("id")
    assert list(zip(*(kept[c].to_pylist() for c in ("id", "at", "tenant_id", "note")), strict=True)) == wanted
    assert max(asked) > 1


def test_a_row_whose_period_is_over_is_deleted_and_not_archived(world: World, archive: Archive) -> None:
    logs(world)
    world.sql("UPDATE app.logs SET at = at - interval '10 years' WHERE id < 100")
    totals = purge(world, archive, archiving("logs"))["logs"]
    assert totals.deleted == 1_000
    assert archive.rows("logs").num_rows == 900
    assert world.number("SELECT sum((details->>'archived')::int) FROM lethe.batches") == 900


def test_a_batch_that_had_to_wait_for_its_keys_leaves_one_object_a_day_and_no_other(world: World, archive: Archive) -> None:
    """It was rolled back after its upload, and done again."""
    logs(world)
    keys = {r[0] for r in world.sql("SELECT id FROM app.logs WHERE at < %s", [CUTOFF])}
    snapshot = world.number("SELECT pg_current_snapshot()::text")
    world.sql("INSERT INTO app.logs (id, at) VALUES (100001, %s)", [CUTOFF - timedelta(hours=1)])
    known = Unread(world, keys)
    totals = purge(world, archive, archiving("logs"), known_keys=known, snapshot=lambda s: snapshot)["logs"]
    assert (totals.error, totals.deleted, totals.arrived, known.open) == (None, 1_001, 1, 0)
    assert sorted(archive.rows("logs")["id"].to_pylist()) == sorted([*keys, 100_001])
    states = dict(world.sql("SELECT state, count(*) FROM lethe.archive_objects GROUP BY 1"))
    assert set(states) == {"sealed", "dropped"} and len(archive.objects()) == states["sealed"]


def test_rows_are_counted_by_tenant_under_a_keyed_digest(world: World, archive: Archive) -> None:
    logs(world)
    due = dict(world.sql("SELECT tenant_id, count(*) FROM app.logs WHERE at < %s GROUP BY 1", [CUTOFF]))
    purge(world, archive, archiving("logs"))
    found: dict[str, int] = {}
    for (tenants,) in world.sql("SELECT details->'tenants' FROM lethe.batches"):
        for name, (archived, deleted) in tenants.items():
            assert deleted == 0
            found[name] = found.get(name, 0) + archived
    assert found == {name_of(DIGEST_KEY, "tenants", str(t)): n for t, n in due.items()}
    tenants = set(archive.rows("logs")["_lethe_tenant"].to_pylist())
    assert tenants == set(found)
    assert world.number("SELECT count(DISTINCT d) FROM lethe.archive_subjects, unnest(digests) AS d WHERE kind = 'tenant'") == 7


def test_tables_with_references_are_archived_under_their_locks(world: World, archive: Archive) -> None:
    world.sql("INSERT INTO app.consents SELECT md5(g::text)::uuid, '2020-01-01' FROM generate_series(1, 60) g")
    world.sql("INSERT INTO app.audiences SELECT row_number() OVER (), id, %s FROM app.consents ORDER BY id LIMIT 20", [AS_OF])
    totals = purge(world, archive, archiving("consents", ("id", "at")))["consents"]
    assert (totals.error, totals.deleted) == (None, 40)
    assert archive.rows("consents").num_rows == 40
    kept = {str(r[0]) for r in world.sql("SELECT id FROM app.consents")}
    assert len(kept) == 20 and not kept & set(archive.rows("consents")["id"].to_pylist())


def test_rows_of_a_cycle_are_archived_with_those_that_are_only_deleted(world: World, archive: Archive) -> None:
    world.sql("INSERT INTO app.threads SELECT g, '2020-01-01' FROM generate_series(1, 30) g")
    world.sql(
        "INSERT INTO app.messages SELECT g * 10 + n, g, CASE WHEN n > 0 THEN g * 10 + n - 1 END, timestamptz '2021-01-01' "
        "FROM generate_series(1, 30) g, generate_series(0, 3) n"
    )
    totals = purge(world, archive, archiving("messages", ("id", "thread_id", "at")), step("threads"))
    assert [t.error for t in totals.values()] == [None, None]
    assert archive.rows("messages").num_rows == 120
    assert world.rest("messages")[0] == world.rest("threads")[0] == 0


def test_a_row_that_changes_while_it_is_archived_stays_and_is_not_in_the_archive(world: World, archive: Archive) -> None:
    logs(world)
    with psycopg.connect(world.url) as other:
        other.execute("UPDATE app.logs SET at = %s WHERE id = 500", [AS_OF])
        # It commits only when the purge waits for the row.
        import threading

        def let_go() -> None:
            with psycopg.connect(world.url, autocommit=True) as watch:
                while not watch.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:
                    pass
            other.commit()

        thread = threading.Thread(target=let_go)
        thread.start()
        totals = purge(world, archive, archiving("logs"), limits=QUICK)["logs"]
        thread.join()
    assert totals.deleted == 999
    ids = archive.rows("logs")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 999 and 500 not in ids
    assert world.number("SELECT at FROM app.logs WHERE id = 500") == AS_OF
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state NOT IN ('sealed', 'dropped')") == 0
    assert len(archive.objects()) == world.number("SELECT count(*) FROM lethe.archive_objects WHERE state = 'sealed'")


def test_a_bucket_without_lock_is_used_and_said_and_one_that_is_missing_stops_the_step(
    world: World, ceph: CephGateway, user: tuple[str, str]
) -> None:
    logs(world)
    plain = archive_on(ceph.endpoint, user, lock=False, versioned=False)
    totals = purge(world, plain, archiving("logs"))["logs"]
    assert (totals.error, totals.deleted, plain.rows("logs").num_rows) == (None, 1_000, 1_000)
    assert world.sql("SELECT DISTINCT state, lock_until FROM lethe.archive_objects") == [("sealed", None)]
    assert plain.bucket.posture().lacks


def test_an_archive_that_is_not_there_keeps_the_rows(world: World, archive: Archive) -> None:
    logs(world)
    before = world.rest("logs")
    archive.connection.extra["bucket"] = "nobody-made-this"
    totals = purge(world, archive, archiving("logs"))["logs"]
    assert totals.error_kind == "NotArchivable" and totals.deleted == 0
    assert world.rest("logs") == before


def test_what_is_read_back_in_another_zone_and_year_expires_on_the_policys_own_day(world: World, archive: Archive) -> None:
    world.sql("INSERT INTO app.logs VALUES (1, %s, 1, 'x')", [datetime(2024, 2, 28, 23, 30, tzinfo=UTC)])  # 29 February in Paris
    world.sql("ANALYZE app.logs")
    purge(world, archive, archiving("logs"))
    assert world.number("SELECT expires_on::text FROM lethe.archive_objects") == "2034-03-01"


KEEPS_ONE = """
CREATE FUNCTION app.keeps_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN OLD.id::text = '{key}' THEN NULL ELSE OLD END;
END $$;
CREATE TRIGGER keeps_one BEFORE DELETE ON app.{table} FOR EACH ROW EXECUTE FUNCTION app.keeps_one();
"""


@pytest.mark.parametrize(
    ("dataset", "columns", "rows", "key"),
    [
        ("logs", ("id", "at"), "INSERT INTO app.logs (id, at) SELECT g, '2024-01-01' FROM generate_series(1, 300) g", "7"),
        ("consents", ("id", "at"), "INSERT INTO app.consents SELECT md5(g::text)::uuid, '2020-01-01' FROM generate_series(1, 40) g", None),
        (
            "messages",
            ("id", "at"),
            "INSERT INTO app.threads SELECT 1, '2020-01-01'; "
            "INSERT INTO app.messages SELECT g, 1, CASE WHEN g > 1 THEN g - 1 END, '2021-01-01' FROM generate_series(1, 40) g",
            "1",
        ),
    ],
    ids=["plain", "careful", "cycle"],
)
def test_a_row_that_was_written_and_not_deleted_rolls_the_batch_back(
    world: World, archive: Archive, dataset: str, columns: tuple[str, ...], rows: str, key: str | None
) -> None:
    """The number of rows written is the number deleted, or nothing happens: here a trigger keeps one."""
    for statement in rows.split("; "):
        world.sql(statement)
    world.sql(f"ANALYZE app.{dataset}")
    key = key or world.sql("SELECT min(id::text) FROM app.consents")[0][0]
    with psycopg.connect(world.url, autocommit=True) as admin:
        admin.execute(KEEPS_ONE.format(key=key, table=dataset))
    before = world.rest(dataset)
    totals = purge(world, archive, archiving(dataset, columns))[dataset]
    assert (totals.error_kind, totals.deleted) == ("WrongCount", 0)
    assert world.rest(dataset) == before
    assert archive.keys() == []
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state <> 'dropped'") == 0


def test_a_hold_that_was_accepted_between_plan_and_purge_keeps_its_rows_out_of_the_archive(world: World, archive: Archive) -> None:
    logs(world)
    world.sql("INSERT INTO app.tenants (id) SELECT generate_series(0, 6)")
    added: list[int] = []

    def holds(connection: Any) -> Any:
        """After the first batch somebody adds a hold: every later one obeys it."""
        done = world.number("SELECT coalesce(sum(rows), 0) FROM lethe.batches WHERE state = 'committed'")
        if done and not added:
            added.append(int(done))
        return (HoldScope(id=1, tenant="3"),) if added else ()

    limits = replace(QUICK, archive_window=100)
    totals = purge(world, archive, archiving("logs"), holds=holds, limits=limits)["logs"]
    assert totals.error is None and added and added[0] < 500
    kept = world.sql("SELECT tenant_id, count(*) FROM app.logs WHERE at < %s GROUP BY 1", [CUTOFF])
    assert [t for t, _ in kept] == [3], "only rows of that tenant are left, and there are some"
    archived = archive.rows("logs")
    assert archived.num_rows == totals.deleted == 1_000 - kept[0][1]
    live = {r[0] for r in world.sql("SELECT id FROM app.logs")}
    assert not live & set(archived["id"].to_pylist())


def test_what_a_dead_run_left_of_a_rule_that_no_longer_archives_is_dropped(world: World, archive: Archive) -> None:
    logs(world)
    purge(world, archive, archiving("logs"), limits=replace(QUICK, archive_window=300))
    left = "UPDATE lethe.archive_objects SET state = '{}', step = '{}', batch = NULL WHERE id = (SELECT min(id) FROM lethe.archive_objects WHERE state = 'sealed')"
    world.sql(left.format("announced", "rule/logs"))
    world.sql(left.format("stored", "a-rule-that-is-gone/logs"))
    # The objects are locked, as no announced one is: their locks are taken off by the bucket's owner.
    seen = client(archive.connection)
    for (key,) in world.sql("SELECT key FROM lethe.archive_objects WHERE state <> 'sealed'"):
        for entry in [e for e in archive.bucket.listing() if e.key == key]:
            seen.delete_object(Bucket=archive.bucket.name, Key=key, VersionId=entry.version, BypassGovernanceRetention=True)
        seen.put_object(Bucket=archive.bucket.name, Key=key, Body=b"left by a dead run")
    totals = purge(world, archive, step("logs"))["logs"]
    assert totals.error is None
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state = 'dropped'") == 2
    sealed = {r[0] for r in world.sql("SELECT key FROM lethe.archive_objects WHERE state = 'sealed'")}
    assert set(archive.objects()) == sealed
