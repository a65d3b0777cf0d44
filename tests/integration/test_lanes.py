"""Which batches of a sweep may be under way at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from demo.ceph import CephGateway
from demo.postgres import PostgresServer
from helpers.archiving import Archive, archive_on, archiving, purge
from helpers.purging import CUTOFF, QUICK, World, step, world_of
from lethe.archive import manifests

pytestmark = pytest.mark.ceph
SMALL = replace(QUICK, window=100, most=100, archive_window=100)
"""Ten batches and more of the thousand due rows."""

TRIGGER = """
CREATE FUNCTION app.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE TRIGGER nothing BEFORE DELETE ON app.logs FOR EACH ROW EXECUTE FUNCTION app.nothing();
"""


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        with psycopg.connect(made.url) as c:
            c.execute(
                "INSERT INTO app.logs (id, at, note) SELECT g, %s + (g - 1000) * interval '1 minute', 'n' FROM generate_series(0, 1999) g",
                [CUTOFF],
            )
        made.sql("ANALYZE app.logs")
        yield made


@pytest.fixture(scope="module")
def user(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def archive(ceph: CephGateway, user: tuple[str, str]) -> Archive:
    return archive_on(ceph.endpoint, user)


class Entered:
    """A loader of no holds that knows which lanes have entered a batch, and how many batches were committed when each first did. The first
    `meet` lanes wait for each other there, half a minute at most."""

    def __init__(self, world: World, meet: int = 1) -> None:
        self.committed: dict[str, int] = {}
        self._world, self._meet = world, threading.Barrier(meet)

    def __call__(self, connection: Connection) -> tuple[()]:
        lane = threading.current_thread().name
        if lane.startswith("lane") and lane not in self.committed:
            self.committed[lane] = self._world.number("SELECT count(*) FROM lethe.batches WHERE state = 'committed'")
            if len(self.committed) <= self._meet.parties > 1:
                self._meet.wait(30)
        return ()


@pytest.mark.parametrize("archives", [False, True])
def test_two_lanes_begin_together(world: World, archive: Archive, archives: bool) -> None:
    entered = Entered(world, meet=2)
    given: Any = {"limits": SMALL, "holds": entered}
    totals = (purge(world, archive, archiving("logs"), **given) if archives else world.purge(step("logs"), **given))["logs"]
    assert (totals.error, totals.deleted) == (None, 1_000)
    assert entered.committed == {"lane_0": 0, "lane_1": 0}
    assert not archives or archive.rows("logs").num_rows == 1_000


@pytest.mark.parametrize("archives", [False, True])
def test_where_a_trigger_fires_the_first_batch_goes_alone(world: World, archive: Archive, archives: bool) -> None:
    world.sql(TRIGGER)
    entered = Entered(world)
    given: Any = {"limits": SMALL, "holds": entered}
    totals = (purge(world, archive, archiving("logs"), **given) if archives else world.purge(step("logs"), **given))["logs"]
    assert (totals.error, totals.deleted) == (None, 1_000)
    first, *others = sorted(entered.committed.values())
    assert first == 0 and others and min(others) >= 1, "the others began when it was committed"


def test_rows_of_one_batch_need_no_second_lane(world: World) -> None:
    entered = Entered(world)
    assert world.purge(step("logs"), limits=replace(SMALL, window=5_000, most=5_000), holds=entered)["logs"].deleted == 1_000
    assert entered.committed == {"lane_0": 0}


def test_at_gentle_pace_there_is_one_lane(world: World, archive: Archive) -> None:
    entered = Entered(world)
    limits = replace(SMALL, gentle_rest=0.0)
    assert purge(world, archive, archiving("logs"), limits=limits, holds=entered, pace="gentle")["logs"].deleted == 1_000
    assert len(entered.committed) == 1


def test_a_session_that_is_lost_while_an_object_is_sealed_is_opened_anew(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it could not put on record is sealed once more with the new one, as are the objects after it."""
    seal, backends = manifests.seal, list[int]()

    def once(book: Connection, *given: Any) -> None:
        backends.append(book.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        if len(backends) == 2:
            world.sql("SELECT pg_terminate_backend(%s, 5000)", [backends[-1]])
        seal(book, *given)

    monkeypatch.setattr(manifests, "seal", once)
    totals = purge(world, archive, archiving("logs"), limits=SMALL)["logs"]
    assert (totals.error, totals.deleted) == (None, 1_000)
    assert backends[0] == backends[1] and len(set(backends[2:])) == 1 and backends[1] not in backends[2:]
    assert len(backends) == len(archive.objects()) + 1, "one was sealed twice"
    assert world.sql("SELECT DISTINCT state, lock_until = expires_at FROM lethe.archive_objects") == [("sealed", True)]


def test_a_session_that_is_lost_for_good_at_an_announcement_fails_its_step_and_no_other(
    world: World, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same session writes the records of the steps after it."""
    world.sql("INSERT INTO app.acts (id, at, note) SELECT id, at, note FROM app.logs")
    world.sql("ANALYZE app.acts")
    announce, ended = manifests.announce, list[int]()

    def once(book: Connection, *given: Any) -> None:
        if not ended:
            ended.append(book.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            world.sql("SELECT pg_terminate_backend(%s, 5000)", [ended[0]])
        announce(book, *given)

    monkeypatch.setattr(manifests, "announce", once)
    limits = replace(QUICK, tries=1, archive_window=5_000)
    totals = purge(world, archive, archiving("logs"), step("acts"), limits=limits)
    assert (totals["logs"].error_kind, totals["logs"].deleted) == ("Unreachable", 0)
    assert (totals["acts"].error, totals["acts"].deleted) == (None, 1_000)
    assert purge(world, archive, archiving("logs"), limits=limits)["logs"].deleted == 1_000
    assert archive.rows("logs").num_rows == 1_000
