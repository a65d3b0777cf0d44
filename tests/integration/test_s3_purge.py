"""The purge of a bucket beside `lethe_db`: what a hold, another run and a refusal of the store do to it while it works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.purging import AS_OF
from helpers.shelf import STEP, Shelf, shelf
from helpers.wire import Wire, wire_to
from lethe.connections import Connection
from lethe.control.holds import active_scopes, add_hold
from lethe.control.plans import Counted, save_counts, save_plan
from lethe.errors import StoreBusy
from lethe.policy.period import Period
from lethe.purge.lease import Lease, take
from lethe.verify.result import StepResult
from lethe.verify.run import verify_run

FIRST = 10
"""Entries of the first batch: four keys of two versions each, and the markers that hide two of them."""


@pytest.fixture
def wire(moto: ObjectServer) -> Iterator[Wire]:
    with wire_to(moto.endpoint) as made:
        yield made


@pytest.fixture
def due(control: ControlDatabase, postgres: PostgresServer, moto: ObjectServer, wire: Wire) -> Shelf:
    made = shelf(control, postgres.port, moto.endpoint, wire.endpoint)
    counted = Counted(
        counts=made.found.counts, details={"fingerprint": {"rows": made.found.counts.due, "xor": made.found.xor}}, keys=made.found.keys
    )
    with control.runtime.begin() as connection:
        save_plan(connection, made.where.plan)
        save_counts(connection, made.where.plan.digest, 1, {STEP: counted})
    return made


class Beside:
    """Work of somebody else, in a thread: it begins while a request of the purge is on its way."""

    def __init__(self, due: Shelf, work: Callable[[], object]) -> None:
        self.due, self.work = due, work
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._do)

    def _do(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def begin(self) -> None:
        """Starts it and waits until it is over, or waits for a lock of the purge."""
        self.thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while self.thread.is_alive() and not self.due.sql(waiting)[0][0]:
            self.thread.join(0.01)

    def is_over(self) -> None:
        """It ended while the purge goes on."""
        self.thread.join(20)
        assert not self.thread.is_alive()


def hold(due: Shelf) -> None:
    with due.control.runtime.begin() as connection:
        add_hold(
            connection,
            reason="litigation",
            owner="j.dupont",
            starts_on=date(2020, 1, 1),
            review_on=None,
            digest_key=DIGEST_KEY,
            dataset="nginx",
            catalog=due.where.catalog,
            at=AS_OF,
        )


def another(due: Shelf) -> Lease:
    return Lease(store=due.where.bucket, part="", plan="another", attempt=1, holder="somebody")


def verify(due: Shelf) -> StepResult:
    def connections(name: str) -> Any:
        if name != "lethe_db":
            return due.where.connection(name)
        return Connection(
            id=name, kind="postgres", host="127.0.0.1", port=due.where.port, login="lethe_runtime", database=due.where.database
        )

    with due.control.runtime.connect() as connection:
        holds = active_scopes(connection, AS_OF.date())
    (result,) = verify_run(
        due.where.plan, catalog=due.where.catalog, connections=connections, control=due.control.runtime, attempt=1, holds=holds,
        backup_window=Period("P35D"), zone="Europe/Paris", at=AS_OF,
    )  # fmt: skip
    return result


def test_a_hold_waits_for_one_batch_and_keeps_the_next(due: Shelf, wire: Wire) -> None:
    person = Beside(due, lambda: hold(due))
    wire.at("delete", 1, person.begin)
    totals = due.where.purge()
    person.is_over()
    assert person.error is None
    assert (totals.deleted, totals.error, due.due_left()) == (FIRST, None, due.found.counts.due - FIRST)
    assert not {e for e in due.stays() if e not in due.left()}
    result = verify(due)
    assert (result.outcome, result.terms.deleted, result.terms.held) == ("clean", FIRST, 31 - FIRST), result.reasons


@pytest.mark.parametrize(("kind", "nth", "sent"), [("delete", 1, 8), ("delete", 2, 10), ("abort", 1, 29)])
def test_nothing_is_sent_once_the_session_that_keeps_holds_out_is_lost(due: Shelf, wire: Wire, kind: Any, nth: int, sent: int) -> None:
    """The database ends the session during a request; a hold is accepted at once. Only what was on its way is gone."""

    def lose_the_gate() -> None:
        ended = due.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks "
            "WHERE locktype = 'advisory' AND (classid, objid) = (7211, 2) AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert ended == [(True,)]
        hold(due)

    wire.at(kind, nth, lose_the_gate)
    totals = due.where.purge()
    assert (totals.deleted, due.due_left()) == (sent, 31 - sent)
    assert (totals.error, totals.interruptions) == (None, 0 if (kind, nth) == ("delete", 2) else 1)


def test_a_time_limit_of_the_server_does_not_end_that_session(due: Shelf, wire: Wire) -> None:
    name = psycopg.sql.Identifier(due.where.database)
    with psycopg.connect(due.control.url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '50ms'").format(name))
    over = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' AND state_change < now() - interval '1s'"

    def until_the_limit_is_long_over() -> None:
        while due.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) = (7211, 2)") != [(0,)]:
            if due.sql(over) == [(1,)]:
                return

    wire.at("delete", 1, until_the_limit_is_long_over)
    totals = due.where.purge()
    assert (totals.deleted, totals.interruptions) == (31, 0)


def test_a_second_run_is_told_that_the_store_is_busy_while_the_first_goes_on(due: Shelf, wire: Wire) -> None:
    second = Beside(due, lambda: take(due.control.runtime, another(due)))
    wire.at("delete", 1, second.begin)
    wire.at("delete", 3, second.is_over)
    totals = due.where.purge()
    assert isinstance(second.error, StoreBusy)
    assert (totals.deleted, totals.error) == (31, None)


def test_a_lease_that_was_taken_over_stops_the_purge_before_its_next_batch(due: Shelf, wire: Wire) -> None:
    wire.at("delete", 1, lambda: due.sql("UPDATE lethe.leases SET holder = 'somebody' WHERE plan = %(plan)s"))
    with pytest.raises(StoreBusy, match="took over"):
        due.where.purge()
    assert due.due_left() == 31 - FIRST
    assert due.sql("SELECT count(*) FROM lethe.batches WHERE state = 'intent'") == [(0,)]


def test_every_batch_puts_off_the_end_of_the_lease(due: Shelf, wire: Wire) -> None:
    seen: list[timedelta] = []

    def run_down() -> None:
        seen.append(due.sql("SELECT expires_at - clock_timestamp() FROM lethe.leases WHERE plan = %(plan)s")[0][0])
        due.sql("UPDATE lethe.leases SET expires_at = now() - interval '1 hour' WHERE plan = %(plan)s")

    for nth in (1, 3, 5):
        wire.at("delete", nth, run_down)
    assert due.where.purge().deleted == 31
    assert len(seen) == 3
    assert all(left > timedelta(minutes=10) for left in seen)


def test_a_slow_batch_leaves_its_lease_renewed_for_whoever_waits(due: Shelf, wire: Wire) -> None:
    """The lease runs out during a request, while another run waits for it: it is told StoreBusy, not let in between two batches."""
    second = Beside(due, lambda: take(due.control.runtime, another(due)))

    def slow() -> None:
        due.sql("UPDATE lethe.leases SET expires_at = now() - interval '1 hour' WHERE plan = %(plan)s")
        second.begin()

    wire.at("delete", 1, slow)
    assert due.where.purge().deleted == 31
    second.is_over()
    assert isinstance(second.error, StoreBusy)


def test_a_refusal_that_a_rerun_overcame_ends_clean_and_stays_on_record(due: Shelf, wire: Wire) -> None:
    wire.refused = {"nginx/2025/11/01/a.gz": "AccessDenied", "nginx/2025/11/12/a.gz": "AccessDenied"}
    first = due.where.purge()
    assert (first.error_kind, first.failed, first.deleted) == ("ObjectErrors", 5, 26)
    assert "run the same plan again" in str(first.error) and "nginx" not in str(first.error).replace(STEP, "")
    result = verify(due)
    assert (result.outcome, result.terms.failed, result.terms.survivors) == ("survivors", 5, 5)

    wire.refused = {"nginx/2025/11/12/a.gz": "AccessDenied"}
    second = due.where.purge()
    assert (second.error_kind, second.failed, second.deleted) == ("ObjectErrors", 2, 29), "what is still refused stays counted"
    assert (verify(due).terms.failed, verify(due).outcome) == (2, "survivors")

    wire.refused = {}
    third = due.where.purge()
    assert (third.error, third.failed, third.deleted) == (None, 0, 31)
    result = verify(due)
    assert (result.outcome, result.terms.failed, result.terms.deleted) == ("clean", 0, 31), result.reasons
    assert due.left() == due.stays()

    told = due.sql("SELECT (body::json->>'failed')::int, body::json->'errors' FROM lethe.ledger WHERE kind = 'batch.refused' ORDER BY seq")
    assert told == [(3, {"AccessDenied": 2, "VersionStays": 1}), (2, {"AccessDenied": 2}), (2, {"AccessDenied": 2})]
    kept = due.sql("SELECT (details->>'failed_at_first')::int FROM lethe.batches WHERE details ? 'failed_at_first' ORDER BY number")
    assert kept == [(3,), (2,), (2,)]


def test_a_pass_that_stops_half_way_counts_a_refused_entry_once(due: Shelf, wire: Wire) -> None:
    wire.refused = {"nginx/2025/11/01/a.gz": "AccessDenied", "nginx/2025/11/12/a.gz": "AccessDenied"}
    due.where.purge()
    due.client.put_object(Bucket=due.where.bucket, Key="nginx/2025/10/01/late.gz", Body=b"arrived")
    wire.fail("abort", wire.seen["abort"] + 1, "cut", and_stop=True)
    due.client.create_multipart_upload(Bucket=due.where.bucket, Key="nginx/2025/11/05/half.gz")
    stopped = due.where.purge()
    assert (stopped.error_kind, stopped.failed) == ("Unreachable", 5)


def test_a_refused_object_that_a_hold_keeps_or_another_deleted_is_no_failure_any_more(due: Shelf, wire: Wire) -> None:
    wire.refused = {"nginx/2025/11/02/a.gz": "AccessDenied", "nginx/2025/11/12/a.gz": "AccessDenied"}
    assert due.where.purge().failed == 4
    for entry in due.left():
        if entry.key == "nginx/2025/11/02/a.gz":
            due.client.delete_object(Bucket=due.where.bucket, Key=entry.key, VersionId=entry.id)
    hold(due)
    totals = due.where.purge()
    assert (totals.error, totals.failed, totals.deleted, due.due_left()) == (None, 0, 27, 2)
    assert (verify(due).outcome, verify(due).terms.held) == ("clean", 2)


def test_a_key_of_more_versions_than_a_batch_holds_is_split_and_its_markers_go_last(due: Shelf, wire: Wire) -> None:
    for n in range(25):
        due.client.put_object(Bucket=due.where.bucket, Key="nginx/2025/10/01/many.gz", Body=str(n).encode())
    due.client.delete_object(Bucket=due.where.bucket, Key="nginx/2025/10/01/many.gz")
    totals = due.where.purge()
    assert totals.deleted == 31 + 26
    assert due.left() == due.stays()
    sizes = due.sql("SELECT (range->>'entries')::int, rows, details->'markers' FROM lethe.batches ORDER BY number")
    assert max(s[0] for s in sizes) <= 10
    assert [s[2] for s in sizes[:3]] == [0, 0, 2], "the last batch of this key holds its marker, and the one of the next key"


def test_a_marker_stays_when_a_version_of_an_earlier_batch_was_refused(due: Shelf, wire: Wire) -> None:
    for n in range(25):
        due.client.put_object(Bucket=due.where.bucket, Key="nginx/2025/10/01/many.gz", Body=str(n).encode())
    due.client.delete_object(Bucket=due.where.bucket, Key="nginx/2025/10/01/many.gz")
    real, asked = wire.refused, "nginx/2025/10/01/many.gz"
    wire.at("delete", 1, lambda: real.update({asked: "AccessDenied"}))
    wire.at("delete", 2, real.clear)
    totals = due.where.purge()
    assert (totals.deleted, totals.failed) == (31 + 15, 11), "ten versions of the first batch, and the marker that hides them"
    left = [e.kind.value for e in due.left() if e.key == asked]
    assert sorted(left) == ["marker"] + ["version"] * 10


@pytest.mark.ceph
@pytest.mark.timeout(180)
def test_a_gateway_that_stops_mid_run_is_named_and_a_second_run_ends_the_work(
    ceph: CephGateway, control: ControlDatabase, postgres: PostgresServer
) -> None:
    with wire_to(ceph.endpoint) as wire:
        made = shelf(control, postgres.port, ceph.endpoint, wire.endpoint, keys=ceph.new_user())

        def stop() -> None:
            wire.down = True
            ceph.stop_gateway()

        wire.at("delete", 4, stop)
        try:
            stopped = made.where.purge()
        finally:
            ceph.start_gateway()
        assert (stopped.error_kind, stopped.failed) == ("Unreachable", 0)
        assert 0 < stopped.deleted < 31
        wire.mend()
        totals = made.where.purge()
    assert (totals.deleted, totals.error, totals.fingerprint) == (31, None, made.found.xor)
    assert made.left() == made.stays()
