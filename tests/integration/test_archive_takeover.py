"""Two processes at one archive: whoever lost the lease harms nothing, and what ended, or lies in another bucket, is told apart from what lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.control import ControlDatabase
from helpers.expiring import NOT_YET, OVER, Shelved, Vault, vault
from lethe.archive.bucket import ArchiveBucket, Put
from lethe.errors import StoreBusy, Unreachable
from lethe.purge.context import StepTotals
from lethe.purge.expiry import _Expiry
from lethe.purge.expiry_books import Books
from lethe.purge.run import run_group

HELD = [100, 103, 106, 109]


@pytest.fixture
def made(control: ControlDatabase, postgres: PostgresServer, moto: ObjectServer) -> Vault:
    """One object of twelve rows, four of them held, and one whose day has not come."""
    made = vault(control, postgres.port, moto.endpoint)
    made.put([Shelved(key=100 + n, tenant="held" if n % 3 == 0 else "other") for n in range(12)])
    made.put([Shelved(key=600)], NOT_YET)
    made.hold(tenant="held")
    return made


def stalled_once(patch: pytest.MonkeyPatch, of: type, name: str) -> tuple[Event, Event]:
    """The first call of a method stops before it does anything: the event that says so, and the one that lets it go on."""
    reached, go_on, method = Event(), Event(), getattr(of, name)

    def stalling(self: Any, *given: Any, **named: Any) -> Any:
        if not reached.is_set():
            reached.set()
            assert go_on.wait(60)
        return method(self, *given, **named)

    patch.setattr(of, name, stalling)
    return reached, go_on


@contextmanager
def processes(made: Vault) -> Iterator[Callable[[], Future[StepTotals]]]:
    """Starts the same plan as often as asked, each with a lease and sessions of its own."""

    def run() -> StepTotals:
        ctx = made.where.context()
        try:
            (totals,) = run_group([made.where.step], ctx)
        finally:
            ctx.control.dispose()
        return totals

    with ThreadPoolExecutor(2) as pool:
        yield lambda: pool.submit(run)


def until(reached: Callable[[], bool]) -> None:
    Retrying(retry=retry_if_result(lambda done: not done), wait=wait_fixed(0.02), stop=stop_after_delay(60))(reached)


def assert_every_held_row_is_there_once(made: Vault) -> None:
    assert made.rows() == [*HELD, 600]
    assert {s: n for s, n in made.states().items() if s != "dropped"} == {"replaced": 1, "sealed": 2}
    living = made.sql("SELECT id FROM lethe.archive_objects WHERE state = 'sealed'")
    assert {number for (number,) in living} == set(made.ids()), "and nothing of another object"


def lease_is_waited_for(made: Vault) -> bool:
    waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() "
    return made.sql(waiting + "AND l.locktype = 'advisory' AND NOT l.granted AND l.mode = 'ExclusiveLock'") == [(1,)]


@pytest.mark.parametrize("place", ["_list", "_recover"])
def test_a_process_that_was_taken_over_drops_no_object_of_the_one_that_works(
    made: Vault, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The first stalls before or after its listing; the second is about to delete the old object, and has stored the new one.

    A first one that is in the middle of its recovery keeps the second out until that is over."""
    stalls, resume = stalled_once(monkeypatch, _Expiry, place)
    deletes, delete = stalled_once(monkeypatch, _Expiry, "_delete")
    with processes(made) as start:
        first = start()
        try:
            assert stalls.wait(60)
            second = start()
            until(lambda: deletes.is_set() or lease_is_waited_for(made))
            resume.set()
            if deletes.is_set():
                with suppress(StoreBusy):
                    first.result(60)
        finally:
            resume.set()
            delete.set()
        with suppress(StoreBusy):
            first.result(60)
        assert second.result(60).error is None
    assert_every_held_row_is_there_once(made)


def test_a_process_that_was_taken_over_before_it_looked_ends_and_says_so(made: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    stalls, resume = stalled_once(monkeypatch, _Expiry, "once")
    deletes, delete = stalled_once(monkeypatch, _Expiry, "_delete")
    with processes(made) as start:
        first = start()
        try:
            assert stalls.wait(60)
            second = start()
            assert deletes.wait(60)
            resume.set()
            with pytest.raises(StoreBusy):
                first.result(60)
        finally:
            resume.set()
            delete.set()
        totals = second.result(60)
    assert (totals.error, totals.deleted) == (None, 8)
    assert_every_held_row_is_there_once(made)


def test_nothing_goes_by_an_intent_that_another_process_has_ended(made: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the session was lost that kept the other one out: it has dropped the new object, and rolled the intent back."""
    intend = Books.intend

    def ended(self: Books, *given: Any, new: Any = None, **named: Any) -> int:
        number = intend(self, *given, new=new, **named)
        made.archive.bucket.drop(new[0].key)
        made.sql("UPDATE lethe.batches SET state = 'rolled_back' WHERE plan = %(plan)s")
        made.sql("UPDATE lethe.archive_objects SET state = 'dropped' WHERE id = %(id)s", {"id": new[0].id})
        return number

    monkeypatch.setattr(Books, "intend", ended)
    with pytest.raises(StoreBusy):
        made.where.expire()
    assert made.rows() == [*range(100, 112), 600], "the old object is there with all its rows"
    monkeypatch.setattr(Books, "intend", intend)
    assert made.where.expire().error is None
    assert_every_held_row_is_there_once(made)


def test_a_recovery_waits_for_whoever_deletes_by_an_intent_and_leaves_its_object(made: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery whose session was lost, and with it the lease, is still at work."""
    deleting, go_on = stalled_once(monkeypatch, _Expiry, "_ask")
    with processes(made) as start:
        working = start()
        try:
            assert deleting.wait(60)
            ctx = made.where.context()
            stale = Books(made.where.step, ctx, lease=None)  # type: ignore[arg-type]
            (row,) = stale.left_open()
            with ThreadPoolExecutor(1) as pool:

                def end() -> bool:
                    with stale.interrupted(row, []) as is_open:
                        return is_open

                ending = pool.submit(end)
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
                until(lambda: ending.done() or made.sql(waits) == [(1,)])
                go_on.set()
                assert not ending.result(60)
            ctx.control.dispose()
        finally:
            go_on.set()
        assert working.result(60).error is None
    assert_every_held_row_is_there_once(made)


def test_an_object_that_is_stored_by_now_is_not_dropped_as_one_announced(made: Vault) -> None:
    """Nor is who is in it forgotten."""
    ctx = made.where.context()
    due = made.put([Shelved(key=50, tenant="held")], OVER)
    made.sql("UPDATE lethe.archive_objects SET state = 'announced' WHERE id = %(id)s", {"id": due.id})
    seen = made.known(due.id)
    made.sql("UPDATE lethe.archive_objects SET state = 'stored' WHERE id = %(id)s", {"id": due.id})
    with Books(made.where.step, ctx, lease=None).dropping(seen) as is_unused:  # type: ignore[arg-type]
        assert not is_unused
    ctx.control.dispose()
    assert made.known(due.id).state == "stored"
    assert made.sql("SELECT count(*) FROM lethe.archive_subjects WHERE object = %(id)s", {"id": due.id}) == [(1,)]


def test_an_upload_that_the_store_finishes_after_its_drop_is_swept_and_the_living_stay(
    made: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[tuple[str, Any]] = []
    put = ArchiveBucket.put

    def given_up(self: ArchiveBucket, key: str, data: Any) -> Put:
        late.append((key, data))
        raise Unreachable("The object store does not answer.", fix="Try again.")

    monkeypatch.setattr(ArchiveBucket, "put", given_up)
    assert made.where.expire().error_kind == "Unreachable"
    monkeypatch.setattr(ArchiveBucket, "put", put)
    assert made.states() == {"dropped": 1, "sealed": 2}
    ((key, data),) = late
    made.archive.bucket.put(key, data)
    assert len(made.rows()) == 13 + len(HELD), "four rows are there twice"
    totals = made.where.expire()
    assert (totals.error, totals.deleted) == (None, 8)
    assert_every_held_row_is_there_once(made)
    made.archive.bucket.put(key, data)
    assert made.where.expire().error is None, "with nothing else to do too"
    assert_every_held_row_is_there_once(made)


# Objects in another bucket than today's


def elsewhere(made: Vault, number: str) -> None:
    made.sql("UPDATE lethe.archive_objects SET bucket = 'another-archive' WHERE id = %(id)s", {"id": number})


def assert_uncountable_and_untouched(made: Vault) -> None:
    states, keys = made.states(), made.archive.keys()
    totals = made.where.expire()
    assert (totals.error_kind, totals.deleted) == ("Uncountable", 0)
    assert "another bucket" in str(totals.error)
    assert (made.states(), made.archive.keys()) == (states, keys)


def test_an_object_that_is_not_here_because_it_lies_in_another_bucket_is_not_taken_for_expired(made: Vault) -> None:
    gone = made.put([Shelved(key=n) for n in range(5)])
    made.sql(
        "INSERT INTO lethe.batches (plan, attempt, step, number, state, technique, range, rows, details) VALUES "
        "('another', 1, %(step)s, 1, 'intent', 'archive expiry', '{}', 5, jsonb_build_object('objects', jsonb_build_array(%(id)s::text), "
        "'young', '[]'::jsonb, 'new', null))",
        {"step": made.where.step.id, "id": gone.id},
    )
    made.archive.bucket.drop(gone.key)
    elsewhere(made, gone.id)
    assert_uncountable_and_untouched(made)
    assert made.sql("SELECT state FROM lethe.batches WHERE plan = 'another'") == [("intent",)]


def test_an_unused_rewrite_in_another_bucket_is_not_written_down_as_dropped(made: Vault) -> None:
    unused = made.put([Shelved(key=n) for n in HELD], seal=False)
    made.sql(
        "UPDATE lethe.archive_objects SET state = 'stored', step = %(s)s WHERE id = %(id)s", {"s": made.where.step.id, "id": unused.id}
    )
    elsewhere(made, unused.id)
    assert_uncountable_and_untouched(made)


def test_a_confirmed_rewrite_in_another_bucket_gets_no_manifest_here(made: Vault) -> None:
    new = made.put([Shelved(key=n) for n in HELD], NOT_YET, seal=False)
    made.sql("UPDATE lethe.archive_objects SET step = %(s)s WHERE id = %(id)s", {"s": made.where.step.id, "id": new.id})
    elsewhere(made, new.id)
    assert_uncountable_and_untouched(made)


@pytest.mark.parametrize("state", ["expired", "replaced", "dropped"])
def test_what_is_left_of_an_object_of_another_bucket_is_not_swept_here(made: Vault, state: str) -> None:
    assert made.where.expire().error is None
    ended = made.put([Shelved(key=50)])
    made.sql("UPDATE lethe.archive_objects SET state = %(state)s WHERE id = %(id)s", {"state": state, "id": ended.id})
    elsewhere(made, ended.id)
    states, keys = made.states(), made.archive.keys()
    totals = made.where.expire()
    assert (totals.error_kind, "another bucket" in str(totals.error)) == ("Uncountable", True)
    assert (made.states(), made.archive.keys()) == (states, keys)
    made.archive.bucket.drop(ended.key)
