"""A purge of objects that is killed, cut off or failed by its store, at every point where it does something: the end state and the
totals are those of a purge that nobody disturbed (invariant 3). Each case can be replayed by its name."""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from demo.objects import ObjectServer
from demo.postgres import PostgresServer, free_port
from helpers.control import ControlDatabase, control_database
from helpers.shelf import STEP, Shelf, process, shelf
from helpers.wire import Fault, Kind, Wire, wire_to
from lethe.purge.faults import ARCHIVE_POINTS, EXPIRY_POINTS, FILE_POINTS, INTAKE_POINTS, OBJECT_POINTS, POINTS, ROW_POINTS

SEED = int(os.environ.get("LETHE_FAULTS_SEED", "20261123"))
ROUNDS = int(os.environ.get("LETHE_FAULTS_ROUNDS", "1"))
CASES = [(name, kind, 1) for name, kinds in OBJECT_POINTS.items() for kind in sorted(kinds)]
CASES += [
    (name, "kill", 3) for name in OBJECT_POINTS if name.split(".")[1] in ("gate", "intent", "request", "close")
]  # in the middle of the work too
BROKEN: list[tuple[Kind, int, Fault, bool]] = [
    (kind, nth, fault, stops)
    for kind in ("list versions", "list uploads", "delete", "abort")
    for nth in ((1, 2) if kind in ("delete", "abort") else (1,))
    for fault in get_args(Fault)
    for stops in ((False, True) if fault in ("cut", "lost") else (False,))
]


@pytest.fixture(scope="module")
def control(postgres: PostgresServer) -> Iterator[ControlDatabase]:
    """One database for all cases: each has a plan and a store of its own."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE object_faults")
    with control_database(postgres, postgres.url("object_faults")) as made:
        yield made
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE object_faults WITH (FORCE)")


@pytest.fixture(scope="module")
def objects() -> Iterator[ObjectServer]:
    with tempfile.TemporaryDirectory(prefix="lethe-moto-") as folder:
        server = ObjectServer(folder=Path(folder), port=free_port())
        server.start()
        yield server
        server.stop()


@pytest.fixture
def wire(objects: ObjectServer) -> Iterator[Wire]:
    with wire_to(objects.endpoint) as made:
        yield made


@pytest.fixture
def due(control: ControlDatabase, postgres: PostgresServer, objects: ObjectServer, wire: Wire) -> Shelf:
    return shelf(control, postgres.port, objects.endpoint, wire.endpoint)


def run(made: Shelf, folder: Path, *, faults: str = "", log: Path | None = None) -> tuple[int | None, dict[str, Any]]:
    """A purge in a process of its own; its exit code and totals."""
    answer = folder / "totals.json"
    answer.unlink(missing_ok=True)
    running = process(made.where, faults=faults, log=str(log or ""), answer=str(answer))
    running.start()
    running.join(90)
    return running.exitcode, json.loads(answer.read_text()) if running.exitcode == 0 else {}


def assert_ended_like_an_undisturbed_run(made: Shelf, totals: dict[str, Any]) -> None:
    """Totals, bucket and books are those of `test_nobody_disturbs_it`, which calls this too."""
    told = {k: totals[k] for k in ("step", "deleted", "arrived", "failed", "fingerprint", "error", "error_kind")}
    due = {"deleted": 31, "arrived": 0, "failed": 0, "fingerprint": made.found.xor, "error": None, "error_kind": None}
    assert told == {"step": STEP, **due}
    assert made.left() == made.stays()
    books = made.sql(
        "SELECT coalesce(sum(rows) FILTER (WHERE state = 'committed'), 0), count(*) FILTER (WHERE state IN ('intent', 'unknown')), "
        "coalesce(sum(CAST(details ->> 'failed' AS bigint)) FILTER (WHERE state = 'committed'), 0) FROM lethe.batches WHERE plan = %(plan)s"
    )
    assert books == [(31, 0, 0)]
    assert made.sql("SELECT count(*) FROM lethe.leases WHERE plan = %(plan)s") == [(0,)]


def until_it_ends(made: Shelf, folder: Path, code: int | None, totals: dict[str, Any]) -> dict[str, Any]:
    """Runs the plan again when it did not end, or ended with an error: as the error's text tells the operator."""
    if code != 0 or totals["error"]:
        code, totals = run(made, folder)
    assert code == 0
    return totals


def test_each_purge_has_its_points_and_together_they_are_all() -> None:
    purges = [set(found) for found in (ROW_POINTS, OBJECT_POINTS, ARCHIVE_POINTS, FILE_POINTS, EXPIRY_POINTS, INTAKE_POINTS)]
    assert set(POINTS) == set().union(*purges)
    assert all(name.startswith("lease.") for one, other in combinations(purges, 2) for name in one & other)


def test_nobody_disturbs_it(due: Shelf, wire: Wire, tmp_path: Path) -> None:
    log = tmp_path / "passed.log"
    assert (due.found.counts.due, len(due.before) - len(due.stays())) == (31, 31)
    code, totals = run(due, tmp_path, log=log)
    assert code == 0
    assert_ended_like_an_undisturbed_run(due, totals)
    passed = Counter(log.read_text().split())
    assert set(OBJECT_POINTS) - set(passed) == {"object.recover.before", "object.recover.after"}, "those are passed after a crash only"
    assert passed["object.request.after"] == wire.seen["delete"] + wire.seen["abort"], "no request goes past the points"
    assert {k: wire.seen[k] for k in ("delete", "abort")} == {"delete": 6, "abort": 3}
    assert passed["object.intent.after"] == passed["object.close.after"] == passed["object.gate.after"] == 5


@pytest.mark.parametrize(("name", "kind", "nth"), CASES, ids=[f"{n}:{k}:{i}" for n, k, i in CASES])
def test_a_fault_changes_neither_the_end_nor_the_totals(due: Shelf, tmp_path: Path, name: str, kind: str, nth: int) -> None:
    log = tmp_path / "passed.log"
    if name.startswith("object.recover"):
        code, _ = run(due, tmp_path, faults="object.request.after:kill:2")
        assert code == -signal.SIGKILL
    code, totals = run(due, tmp_path, faults=f"{name}:{kind}:{nth}", log=log)
    assert log.read_text().split().count(name) >= nth, "the point was hit"
    if kind == "kill":
        assert code == -signal.SIGKILL
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


@pytest.mark.parametrize(
    ("kind", "nth", "fault", "stops"), BROKEN, ids=[f"{k}:{n}:{f}{':and stops' if s else ''}" for k, n, f, s in BROKEN]
)
def test_a_store_that_fails_changes_neither_the_end_nor_the_totals(
    due: Shelf, wire: Wire, tmp_path: Path, kind: Kind, nth: int, fault: Fault, stops: bool
) -> None:
    wire.fail(kind, nth, fault, and_stop=stops)
    code, totals = run(due, tmp_path)
    assert wire.seen[kind] >= nth, "the request was made"
    assert code == 0
    assert (totals["error_kind"] == "Unreachable") == stops, "one failure is asked again, a store that stops is named"
    wire.mend()
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


@pytest.mark.parametrize("code", ["AccessDenied", "InternalError"])
def test_keys_refused_inside_a_200_fail_the_run_and_the_next_one_ends_clean(due: Shelf, wire: Wire, tmp_path: Path, code: str) -> None:
    wire.refused = {"nginx/2025/11/01/a.gz": code, "nginx/2025/11/12/a.gz": code}
    ended, totals = run(due, tmp_path)
    assert (ended, totals["error_kind"], totals["failed"], totals["deleted"]) == (0, "ObjectErrors", 5, 26)
    assert due.due_left() == 5
    wire.mend()
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, ended, totals))


@pytest.mark.parametrize("number", range(4 * ROUNDS))
def test_killed_at_any_instant(due: Shelf, tmp_path: Path, number: int) -> None:
    chance = random.Random(SEED + number)
    for name in chance.sample(sorted(OBJECT_POINTS), 2):
        run(due, tmp_path, faults=f"{name}:kill:{chance.randint(1, 4)}")
    running = process(due.where, faults="", log="", answer=str(tmp_path / "killed.json"))
    running.start()
    time.sleep(chance.uniform(0.05, 0.6))  # the instant of the fault, not a wait for something
    running.kill()
    running.join()
    code, totals = run(due, tmp_path)
    assert code == 0
    assert_ended_like_an_undisturbed_run(due, totals)


@pytest.mark.parametrize(("kind", "nth"), [("delete", 1), ("delete", 4), ("abort", 2)])
def test_a_restart_of_the_database_while_a_request_is_on_its_way_is_survived(
    due: Shelf, wire: Wire, tmp_path: Path, postgres: PostgresServer, kind: Kind, nth: int
) -> None:
    def restart() -> None:
        postgres.stop(mode="immediate")
        postgres.start()

    wire.at(kind, nth, restart)
    code, totals = run(due, tmp_path)
    assert_ended_like_an_undisturbed_run(due, until_it_ends(due, tmp_path, code, totals))


def test_each_interruption_is_in_the_ledger(due: Shelf, tmp_path: Path) -> None:
    run(due, tmp_path, faults="object.request.after:kill:1")
    run(due, tmp_path, faults="object.intent.after:kill:1")
    code, totals = run(due, tmp_path)
    assert code == 0
    found = due.sql(
        "SELECT body::json->>'state', (body::json->>'rows')::int FROM lethe.ledger "
        "WHERE kind = 'batch.interrupted' AND run = %(plan)s ORDER BY seq"
    )
    assert found == [("committed", 8), ("rolled_back", 0)], "what was sent before the first kill is gone, nothing was before the second"
    assert totals["interruptions"] == 2


def test_a_recovery_that_takes_every_intent_for_done_is_caught(due: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin: without a look at the store, what was not deleted is counted, and then counted again."""
    run(due, tmp_path, faults="object.intent.after:kill:2")
    monkeypatch.setattr("lethe.purge.objects._ObjectPurge._still_there", lambda self, keys: frozenset())
    totals = asdict(due.where.purge())
    with pytest.raises(AssertionError):
        assert_ended_like_an_undisturbed_run(due, totals)
