"""A purge that archives among others: a process that was taken for dead goes on, an application works on the same rows, `lethe_db` goes
away between two records, a store or a bucket is another than before. No row is lost, none is archived twice."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import QueuePool, create_engine, func, select, text

from demo.ceph import CephGateway
from demo.postgres import PostgresServer
from helpers.archive_once import process, steps
from helpers.archiving import Archive, archive_on, archiving, connections_of, purge
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, CUTOFF, QUICK, STORE, World, plan_of, step, world_of
from lethe.archive import posture
from lethe.control.commits import QUICKLY, durably, each_by_itself, without_waiting
from lethe.errors import StoreBusy
from lethe.plan.model import Step
from lethe.purge import archiving as archiving_module
from lethe.purge import batch as batch_module
from lethe.purge import run as run_module
from lethe.purge.context import PurgeContext
from lethe.purge.run import run_group
from lethe.purge.sources import Sources
from lethe.purge.space import make_room

pytestmark = pytest.mark.ceph
DUE = 200


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    """Two hundred due rows of `logs`, and one of `acts`."""
    with world_of(postgres, database) as made:
        made.sql(
            "INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - %s) * interval '1 minute', g %% 7, 'n' || g FROM generate_series(0, %s) g",
            [CUTOFF, DUE, 2 * DUE - 1],
        )
        made.sql("INSERT INTO app.acts (id, at) VALUES (1, '2020-01-01')")
        made.sql("ANALYZE app.logs, app.acts")
        yield made


@pytest.fixture(scope="module")
def user(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def archive(ceph: CephGateway, user: tuple[str, str]) -> Archive:
    return archive_on(ceph.endpoint, user)


def context(world: World, archive: Archive, *chosen: Step) -> PurgeContext:
    return world.context(plan_of(*chosen), connections=connections_of(world, archive), digest_key=DIGEST_KEY)


def each_row_once(world: World, archive: Archive) -> None:
    """Every due row is in the source or in the archive, and in one of them only."""
    live = [r[0] for r in world.sql("SELECT id FROM app.logs WHERE at < %s", [CUTOFF])]
    kept = archive.rows("logs")["id"].to_pylist() if archive.objects() else []
    assert sorted(live + kept) == list(range(DUE))


def killed(world: World, archive: Archive, fault: str) -> None:
    """A purge that died there."""
    to = archive.connection
    given = {"login": to.login, "password": to.password, "extra": to.extra}
    answer = Path(tempfile.mkdtemp(dir=world.server.data.parent)) / "totals.json"
    world.context(plan_of(*steps()))
    running = process(world.server.port, world.url.rsplit("/", 1)[1], given, faults=fault, log="", answer=str(answer))
    running.start()
    running.join(60)
    assert running.exitcode == -signal.SIGKILL
    world.sql("DELETE FROM lethe.leases")


def at_point(patch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[], object], *, thread: str | None = None) -> None:
    """Does something once, when that point is passed (by the lanes of a thread of that name's run, or by any)."""
    real = module.point
    once: list[int] = []

    def hook(passed: str, connection: Any = None) -> None:
        if passed == name and not once and (thread is None or threading.current_thread().name != thread):
            once.append(1)
            act()
        real(passed, connection)

    patch.setattr(module, "point", hook)


def test_a_process_that_was_taken_for_dead_drops_nothing_of_the_one_that_took_over(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [archiving("logs"), step("acts")]
    stalls, may_go = threading.Event(), threading.Event()

    def long_vacuum(of: Any, runner: Any) -> Any:
        if threading.current_thread().name == "first":
            stalls.set()
            assert may_go.wait(60)
        return make_room(of, runner)

    monkeypatch.setattr(run_module, "make_room", long_vacuum)
    ended: list[Any] = []

    def first() -> None:
        try:
            ended.append(run_group(chosen, context(world, archive, *chosen)))
        except StoreBusy as error:
            ended.append(error)

    with psycopg.connect(world.url) as other:
        other.execute("SELECT * FROM app.logs FOR UPDATE")  # the first process fails on these rows, and goes on to its VACUUM
        thread = threading.Thread(target=first, name="first")
        thread.start()
        assert stalls.wait(60)
        other.rollback()

    def let_the_first_end() -> None:
        """The second process has announced and uploaded, and not yet written its intent."""
        may_go.set()
        thread.join(60)

    at_point(monkeypatch, batch_module, "intent.write.before", let_the_first_end, thread="first")
    second = run_group(chosen, context(world, archive, *chosen))
    assert isinstance(ended[0], StoreBusy)
    assert [t.error for t in second] == [None, None]
    each_row_once(world, archive)
    assert archive.rows("logs").num_rows == DUE


class Flaky:
    """An engine of `lethe_db` that can be away."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.down = engine, False

    def _there(self) -> Any:
        if self.down:
            raise psycopg.OperationalError("away")
        return self.engine

    def connect(self) -> Any:
        return self._there().connect()

    def begin(self) -> Any:
        return self._there().begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def test_what_one_step_left_in_doubt_is_not_confirmed_by_the_next(world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [archiving("logs"), step("acts")]
    ctx = context(world, archive, *chosen)
    flaky: Any = Flaky(ctx.control)
    failed = run_module._failed

    def away() -> None:
        flaky.down = True
        world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lethe_runtime' AND datname = current_database()")

    def back(*given: Any) -> Any:
        flaky.down = False
        return failed(*given)

    at_point(monkeypatch, batch_module, "source.commit.before", away)
    monkeypatch.setattr(run_module, "_failed", back)
    first = run_group(chosen, replace(ctx, control=flaky))
    assert [t.error_kind for t in first] == ["Unreachable", None]
    monkeypatch.undo()
    second = run_group(chosen, context(world, archive, *chosen))
    assert [t.error for t in second] == [None, None]
    each_row_once(world, archive)
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state NOT IN ('sealed', 'dropped')") == 0


def test_ordinary_work_on_rows_that_refer_to_the_archived_ones_makes_no_wrong_count(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sql("INSERT INTO app.consents SELECT md5(g::text)::uuid, '2020-01-01' FROM generate_series(1, 10) g")
    world.sql("INSERT INTO app.audiences SELECT row_number() OVER (), id, %s FROM app.consents ORDER BY id LIMIT 3", [AS_OF])
    at_point(monkeypatch, archiving_module, "archive.readback.after", lambda: world.sql("DELETE FROM app.audiences WHERE id = 1"))
    totals = purge(world, archive, archiving("consents", ("id", "at")))["consents"]
    assert (totals.error, archive.rows("consents").num_rows) == (None, totals.deleted)
    assert world.rest("consents")[0] + totals.deleted == 10


def test_an_object_in_another_bucket_is_not_called_dropped(
    world: World, archive: Archive, ceph: CephGateway, user: tuple[str, str]
) -> None:
    killed(world, archive, "intent.write.before:kill:1")
    before = archive.keys()
    assert before
    totals = purge(world, archive_on(ceph.endpoint, user), archiving("logs"))["logs"]
    assert totals.error_kind == "Uncountable" and totals.deleted == 0
    assert archive.keys() == before
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE state = 'dropped'") == 0
    assert purge(world, archive, archiving("logs"))["logs"].error is None
    each_row_once(world, archive)


def test_a_lock_that_was_missing_is_added_by_the_next_run(world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = posture._asked

    def says_nothing(ask: Any) -> Any:
        answer = asked(ask)
        return None if answer and "ObjectLockConfiguration" in answer else answer

    monkeypatch.setattr(posture, "_asked", says_nothing)
    assert purge(world, archive, archiving("logs"))["logs"].error is None
    monkeypatch.undo()
    assert {r[0] for r in world.sql("SELECT lock_until FROM lethe.archive_objects")} == {None}
    assert purge(world, archive, archiving("logs"))["logs"].error is None
    found = world.sql("SELECT key, version, lock_until, expires_at FROM lethe.archive_objects WHERE state = 'sealed'")
    assert found
    for key, version, locked, expires in found:
        assert locked == expires == archive.bucket.lock_until(key, version)


@pytest.mark.parametrize("fault", ["source.commit.before:kill:1", "source.commit.after:kill:1"])
def test_a_batch_in_doubt_ends_when_the_database_can_tell(world: World, archive: Archive, fault: str) -> None:
    killed(world, archive, fault)
    assert world.number("UPDATE lethe.batches SET state = 'unknown' WHERE state = 'intent' RETURNING 1") == 1
    assert purge(world, archive, archiving("logs"))["logs"].error is None
    each_row_once(world, archive)
    assert world.number("SELECT count(*) FROM lethe.batches WHERE state IN ('intent', 'unknown')") == 0


def test_a_database_that_never_heard_of_a_transaction_leaves_its_batch_in_doubt_and_hinders_no_other_step(
    world: World, archive: Archive
) -> None:
    killed(world, archive, "source.commit.after:kill:1")
    world.sql("UPDATE lethe.batches SET xid = 999999999")
    before = archive.keys()
    totals = purge(world, archive, step("acts"), archiving("logs"))
    assert (totals["acts"].error, totals["acts"].deleted) == (None, 1)
    assert world.sql("SELECT DISTINCT state FROM lethe.batches WHERE xid = 999999999") == [("unknown",)]
    assert set(before) <= set(archive.keys()), "its object stays until a person has looked"


def test_a_commit_waits_for_the_disk_whatever_its_role_says(world: World) -> None:
    world.sql("ALTER ROLE lethe_purger SET synchronous_commit = off")
    try:
        sources = Sources(STORE, world.connections, QUICK, "lethe:test")
        assert sources.get("purge").scalar(text("SHOW synchronous_commit")) == "on"
        sources.close()
    finally:
        world.sql("ALTER ROLE lethe_purger RESET synchronous_commit")


@pytest.mark.parametrize("before", ["off", "on", "local"])
def test_what_is_recorded_waits_for_the_disk_whatever_is_said_before_or_later(world: World, before: str) -> None:
    world.sql(f"ALTER ROLE lethe_runtime SET synchronous_commit = {before}")
    engine = create_engine(world.control.runtime.url, poolclass=QueuePool, pool_size=1, max_overflow=0)
    shown = text("SHOW synchronous_commit")
    try:
        for _ in range(2):
            with engine.connect() as book:
                durably(book)
                with book.begin() as work:
                    assert book.scalar(shown) == ("on" if before == "off" else before)
                    without_waiting(book)
                    assert book.scalar(shown) == "off"
                    work.rollback()
                with book.begin():
                    assert book.scalar(shown) == ("on" if before == "off" else before), "an end of a transaction undoes nothing"
        with engine.connect() as book:
            book.invalidate()
        with engine.connect() as book:
            assert book.scalar(shown) == before, "a control: a new session has what its role says"
            book.rollback()
            durably(book)
            assert book.scalar(shown) != "off"
    finally:
        engine.dispose()
        world.sql("ALTER ROLE lethe_runtime RESET synchronous_commit")


def test_one_statement_need_not_wait_and_the_session_is_afterwards_what_it_was(world: World) -> None:
    engine = create_engine(world.control.runtime.url, poolclass=QueuePool, pool_size=1, max_overflow=0)
    shown = text("SHOW synchronous_commit")
    try:
        with engine.connect() as book:
            durably(book)
            with each_by_itself(book):
                within = select(func.current_setting("synchronous_commit")).where(QUICKLY)
                assert (book.scalar(within), book.scalar(shown)) == ("off", "on")
                book.execute(text("CREATE TEMPORARY TABLE kept AS SELECT 1 AS n"))
            with book.begin() as work:
                book.execute(text("INSERT INTO pg_temp.kept VALUES (2)"))
                work.rollback()
            assert book.scalars(text("SELECT n FROM pg_temp.kept")).all() == [1], "each statement was a transaction, and none is by now"
    finally:
        engine.dispose()
