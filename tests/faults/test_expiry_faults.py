"""An expiry of the archive that is killed, cut off or failed by its bucket, at every point where it does something: the end state and the
totals are those of an expiry that nobody disturbed, no row that a hold keeps is lost, and none is there twice (invariants 2 and 3)."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from sqlalchemy import create_engine

from demo.ceph import CephGateway
from demo.postgres import PostgresServer
from helpers.control import ControlDatabase, control_database
from helpers.expiring import NOT_YET, Shelved, Vault, clients_made_once, process, vault
from helpers.wire import Fault, Kind, Wire, wire_to
from lethe.instants import now
from lethe.purge.faults import EXPIRY_POINTS

pytestmark = pytest.mark.ceph

SEED = int(os.environ.get("LETHE_FAULTS_SEED", "20261123"))
ROUNDS = int(os.environ.get("LETHE_FAULTS_ROUNDS", "1"))
AFTER_A_CRASH = {"expiry.recover.before", "expiry.recover.after", "expiry.drop.before", "expiry.drop.after"}
# Between these and the point before them nothing is done, only read: a kill there is the kill at that one.
SAME = {"expiry.upload.before", "expiry.intent.before", "expiry.request.before", "expiry.close.before"}
CASES = [(name, kind, 1) for name, kinds in EXPIRY_POINTS.items() for kind in sorted(kinds) if kind != "kill" or name not in SAME]
# In the middle of the work too: the third gate, intent and close, the fifth and sixth request are those of the object that is rewritten.
CASES += [(f"expiry.{name}", "kill", 3) for name in ("gate.before", "gate.after", "intent.after", "close.after")]
CASES += [("expiry.request.after", "kill", nth) for nth in (2, 5, 6)]
REQUESTS: list[tuple[Kind, int]] = [
    ("list versions", 1),
    ("list uploads", 1),
    ("get", 1),
    ("get", 4),
    ("put", 1),
    ("put", 2),
    ("delete", 1),
    ("delete", 5),
]
READS = {"list versions", "list uploads", "get"}
BROKEN: list[tuple[Kind, int, Fault, bool]] = [
    (kind, nth, fault, stops)
    for kind, nth in REQUESTS
    for fault in get_args(Fault)
    for stops in ((False, True) if fault in ("cut", "lost") else (False,))
    if kind not in READS or fault in ("cut", "error")  # the store changes nothing by a read: before and after it are one
]


@pytest.fixture(scope="module")
def control(postgres: PostgresServer) -> Iterator[ControlDatabase]:
    """One database for all cases: each has a plan, a law and a bucket of its own. Its sessions are kept, and looked at: a case restarts it."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE expiry_faults")
    with control_database(postgres, postgres.url("expiry_faults")) as made, clients_made_once():
        runtime = create_engine(made.runtime.url, pool_pre_ping=True)
        yield replace(made, runtime=runtime)
        runtime.dispose()
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE expiry_faults WITH (FORCE)")


@pytest.fixture(scope="module")
def user(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def wire(ceph: CephGateway) -> Iterator[Wire]:
    with wire_to(ceph.endpoint) as made:
        yield made


@pytest.fixture
def due(control: ControlDatabase, postgres: PostgresServer, ceph: CephGateway, user: tuple[str, str], wire: Wire) -> Vault:
    """Three objects that go whole, two of them in one batch, one with a marker over it; one that a hold keeps in part, one that it keeps
    whole; and neighbours: one whose day has not come, which is locked until then, and one under another law."""
    made = vault(control, postgres.port, ceph.endpoint, wire.endpoint, lock=True, keys=user)
    held = f"{made.tag}-held"
    for first in (100, 200, 300):
        last = made.put([Shelved(key=first + n) for n in range(40)])
    made.archive.bucket._client.delete_object(Bucket=made.archive.bucket.name, Key=last.key)
    made.put([Shelved(key=400 + n, tenant=held if n % 3 == 0 else "other") for n in range(30)])
    made.put([Shelved(key=500 + n, tenant=held) for n in range(20)])
    made.put([Shelved(key=600)], NOT_YET)
    made.put([Shelved(key=700)], law=f"Other {made.where.law}")
    made.hold(tenant=held)
    made.sql("DELETE FROM lethe.leases")
    return made


KEPT = [*(400 + n for n in range(0, 30, 3)), *range(500, 520), 600]


def run(made: Vault, folder: Path, *, faults: str = "", log: Path | None = None) -> tuple[int | None, dict[str, Any]]:
    """An expiry in a process of its own; its exit code and totals."""
    answer = folder / "totals.json"
    answer.unlink(missing_ok=True)
    running = process(made.where, faults=faults, log=str(log or ""), answer=str(answer))
    running.start()
    running.join(90)
    return running.exitcode, json.loads(answer.read_text()) if running.exitcode == 0 else {}


def assert_ended_like_an_undisturbed_run(made: Vault, totals: dict[str, Any]) -> None:
    """Totals, bucket and books are those of `test_nobody_disturbs_it`, which calls this too."""
    told = {k: totals[k] for k in ("deleted", "failed", "error", "error_kind")}
    assert told == {"deleted": 140, "failed": 0, "error": None, "error_kind": None}
    assert made.rows() == KEPT, "every held row is there once, and nothing else that is due"
    assert made.rows(law=f"Other {made.where.law}") == [700]
    there = made.ids()
    # A seal that was interrupted puts the same manifest there once more.
    assert [sorted(set(kinds)) for kinds in there.values()] == [["manifest", "object"]] * 4, "four objects, each with its manifest"
    assert all(kinds.count("object") == 1 for kinds in there.values()), "no old version, no marker, no upload"
    books = "SELECT coalesce(sum(rows) FILTER (WHERE state = 'committed'), 0), count(*) FILTER (WHERE state IN ('intent', 'unknown')) "
    assert made.sql(books + "FROM lethe.batches WHERE plan = %(plan)s") == [(140, 0)]
    states = {state: n for state, n in made.states().items() if state != "dropped"}
    assert states == {"expired": 3, "replaced": 1, "sealed": 3}
    living = made.sql("SELECT id, rows FROM lethe.archive_objects WHERE state = 'sealed' AND law = %(law)s")
    assert sum(rows for _, rows in living) == len(KEPT) and {number for number, _ in living} < set(there)
    locked = made.sql("SELECT rows FROM lethe.archive_objects WHERE lock_until IS NOT NULL AND law = %(law)s")
    assert locked == [(1,)], "the one whose day has not come, and nothing that is past its expiry"
    assert made.sql("SELECT count(*) FROM lethe.leases WHERE plan = %(plan)s") == [(0,)]


def until_it_ends(made: Vault, folder: Path, code: int | None, totals: dict[str, Any]) -> dict[str, Any]:
    """Runs the plan again when it did not end, or ended with an error: as the error's text tells the operator."""
    if code != 0 or totals["error"]:
        code, totals = run(made, folder)
    assert code == 0
    return totals


def test_nobody_disturbs_it(due: Vault, wire: Wire, tmp_path: Path) -> None:
    log = tmp_path / "passed.log"
    code, totals = run(due, tmp_path, log=log)
    assert code == 0
    assert_ended_like_an_undisturbed_run(due, totals)
    passed = log.read_text().split()
    assert set(EXPIRY_POINTS) - set(passed) == AFTER_A_CRASH, "those are passed after a crash only"
    assert passed.count("expiry.request.after") == wire.seen["delete"] + wire.seen["abort"], "no request goes past the points"


@pytest.mark.parametrize(("name", "kind", "nth"), CASES, ids=[f"{n}:{k}:{i}" for n, k, i in CASES])
def test_a_fault_changes_neither_the_end_nor_the_totals(due: Vault, tmp_path: Path, name: str, kind: str, nth: int) -> None:
    log = tmp_path / "passed.log"
    if name in AFTER_A_CRASH:
        before = "expiry.request.after:kill:2" if "recover" in name else "expiry.readback.after:kill:1"
        code, _ = run(due, tmp_path, faults=before)
        assert code == -signal.SIGKILL
    code, totals = run(due, tmp_path, faults=f"{name}:{kind}:{nth}", log=log)
    assert log.read_text().split().count(name) >= nth, "the point was hit"
    if kind == "kill":
        assert code == -signal.SIGKILL
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


@pytest.mark.parametrize(
    ("kind", "nth", "fault", "stops"), BROKEN, ids=[f"{k}:{n}:{f}{':and stops' if s else ''}" for k, n, f, s in BROKEN]
)
def test_a_bucket_that_fails_changes_neither_the_end_nor_the_totals(
    due: Vault, wire: Wire, tmp_path: Path, kind: Kind, nth: int, fault: Fault, stops: bool
) -> None:
    wire.fail(kind, nth, fault, and_stop=stops)
    code, totals = run(due, tmp_path)
    assert wire.seen[kind] >= nth, "the request was made"
    assert code == 0
    assert (totals["error_kind"] == "Unreachable") == stops, "one failure is asked again, a store that stops is named"
    wire.mend()
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


@pytest.mark.parametrize("which", ["whole", "rewritten"])
def test_an_object_refused_inside_a_200_stays_and_the_next_run_ends_clean(due: Vault, tmp_path: Path, which: str) -> None:
    """The store refuses it itself: somebody locked the object."""
    rows, gone = {"whole": (40, 40), "rewritten": (30, 20)}[which]
    ((number,), *_) = due.sql("SELECT id FROM lethe.archive_objects WHERE law = %(law)s AND rows = %(rows)s ORDER BY id", {"rows": rows})
    known, bucket = due.known(number), due.archive.bucket
    bucket.lock(known.key, known.version, now() + timedelta(hours=1))
    ended, totals = run(due, tmp_path)
    assert (ended, totals["error_kind"], totals["failed"], totals["deleted"]) == (0, "ObjectErrors", gone, 140 - gone)
    assert "AccessDenied" in totals["error"]
    assert "object" in due.ids()[number], "it is still there"
    assert len(due.rows()) == len(KEPT) + gone, "and nothing is there twice"
    end = now() + timedelta(seconds=2)
    shortened: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": end}
    bucket._client.put_object_retention(
        Bucket=bucket.name, Key=known.key, VersionId=known.version or "", Retention=shortened, BypassGovernanceRetention=True
    )
    time.sleep(max(0.0, (end - now()).total_seconds()) + 1)  # a lock of a real store ends when it ends
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, ended, totals))


@pytest.mark.parametrize("number", range(4 * ROUNDS))
def test_killed_at_any_instant(due: Vault, tmp_path: Path, number: int) -> None:
    chance = random.Random(SEED + number)
    for name in chance.sample(sorted(EXPIRY_POINTS), 2):
        run(due, tmp_path, faults=f"{name}:kill:{chance.randint(1, 4)}")
    running = process(due.where, faults="", log="", answer=str(tmp_path / "killed.json"))
    running.start()
    time.sleep(chance.uniform(0.05, 0.6))  # the instant of the fault, not a wait for something
    running.kill()
    running.join()
    code, totals = run(due, tmp_path)
    assert code == 0
    assert_ended_like_an_undisturbed_run(due, totals)


def test_a_restart_of_the_database_while_a_request_is_on_its_way_is_survived(
    due: Vault, wire: Wire, tmp_path: Path, postgres: PostgresServer
) -> None:
    def restart() -> None:
        postgres.stop(mode="immediate")
        postgres.start()

    wire.at("delete", 1, restart)
    code, totals = run(due, tmp_path)
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


def test_a_recovery_that_forgets_the_new_object_leaves_rows_twice_and_is_caught(
    due: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken twin."""
    run(due, tmp_path, faults="expiry.readback.after:kill:1")
    monkeypatch.setattr("lethe.purge.expiry._Expiry._drop_unused", lambda self: None)
    totals = due.where.expire()
    assert totals.deleted == 140
    with pytest.raises(AssertionError):
        assert_ended_like_an_undisturbed_run(due, {"deleted": 140, "failed": 0, "error": None, "error_kind": None})
