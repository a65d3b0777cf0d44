"""A purge that is killed, cut off or left without an answer, at every point where it does something: the end state and the totals
are those of a purge that nobody disturbed (invariant 3). Each case can be replayed by its name, for example `source.commit.after:kill:1`."""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import PostgresServer
from helpers.purge_once import DATASETS, process, steps
from helpers.purging import AS_OF, CUTOFF, World, plan_of, world_of
from lethe.purge.faults import ROW_POINTS

CASES = [(name, kind) for name, kinds in ROW_POINTS.items() for kind in sorted(kinds)]
COUNTED = ("deleted", "arrived", "failed", "fingerprint", "error", "error_kind")
SEED = int(os.environ.get("LETHE_FAULTS_SEED", "20261123"))
ROUNDS = int(os.environ.get("LETHE_FAULTS_ROUNDS", "1"))


@contextmanager
def filled(postgres: PostgresServer, database: str) -> Iterator[World]:
    """Rows for every technique: windows, partitions, a cycle, locks."""
    with world_of(postgres, database) as made:
        with psycopg.connect(made.url) as c:
            c.execute(
                "INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - 1000) * interval '1 minute', g %% 7, 'x' "
                "FROM generate_series(0, 1999) g",
                [CUTOFF],
            )
            for month in (1, 2, 3):
                c.execute(
                    f"CREATE TABLE app.views_{month} PARTITION OF app.views FOR VALUES FROM ('2025-0{month}-01') TO ('2025-0{month + 1}-01')"
                )
            c.execute(
                "INSERT INTO app.views (id, at) SELECT g, '2025-01-01'::timestamptz + g * interval '1 hour' FROM generate_series(1, 2000) g"
            )
            c.execute("INSERT INTO app.threads SELECT g, '2020-01-01' FROM generate_series(1, 30) g")
            c.execute(
                "INSERT INTO app.messages SELECT g * 10 + n, g, CASE WHEN n > 0 THEN g * 10 + n - 1 END, "
                "CASE WHEN g %% 3 = 0 AND n = 3 THEN %s ELSE timestamptz '2021-01-01' END FROM generate_series(1, 30) g, generate_series(0, 3) n",
                [AS_OF],
            )
            c.execute("INSERT INTO app.consents SELECT md5(g::text)::uuid, '2020-01-01' FROM generate_series(1, 60) g")
            c.execute("INSERT INTO app.audiences SELECT row_number() OVER (), id, %s FROM app.consents ORDER BY id LIMIT 20", [AS_OF])
        made.sql("ANALYZE app.logs")
        made.grant()
        made.context(plan_of(*steps()))
        yield made


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with filled(postgres, database) as made:
        yield made


def start(world: World, *, faults: str = "", log: Path | None = None) -> tuple[BaseProcess, Path]:
    """A purge that runs in a process of its own, and the file where it will leave its totals."""
    folder = Path(tempfile.mkdtemp(dir=world.server.data.parent))
    made = process(world.server.port, world.url.rsplit("/", 1)[1], faults=faults, log=str(log or ""), answer=str(folder / "totals.json"))
    made.start()
    return made, folder / "totals.json"


def run(world: World, **given: Any) -> tuple[int | None, list[dict[str, Any]]]:
    running, answer = start(world, **given)
    running.join(90)
    return running.exitcode, json.loads(answer.read_text()) if running.exitcode == 0 else []


def counted(totals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: t[k] for k in ("step", *COUNTED)} for t in totals]


def end_state(world: World) -> dict[str, Any]:
    left = {d: world.rest(d) for d in (*DATASETS, "audiences")}
    partitions = world.sql("SELECT relname FROM pg_class WHERE relname LIKE 'views\\__' ORDER BY 1")
    open_batches = world.number("SELECT count(*) FROM lethe.batches WHERE state IN ('intent', 'unknown')")
    by_step = world.sql("SELECT step, sum(rows) FROM lethe.batches WHERE state = 'committed' GROUP BY 1 ORDER BY 1")
    return {
        "left": left,
        "partitions": partitions,
        "open": open_batches,
        "rows": by_step,
        "leases": world.number("SELECT count(*) FROM lethe.leases"),
    }


@pytest.fixture(scope="module")
def wanted(postgres: PostgresServer) -> dict[str, Any]:
    """What a purge that nobody disturbs leaves, and the points that it passes."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE undisturbed")
    with filled(postgres, postgres.url("undisturbed")) as made:
        log = postgres.data.parent / "undisturbed.log"
        code, totals = run(made, log=log)
        assert code == 0
        found = {"totals": counted(totals), "state": end_state(made), "passed": log.read_text().split()}
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE undisturbed WITH (FORCE)")
    return found


def test_nobody_disturbs_it(wanted: dict[str, Any]) -> None:
    found = wanted
    assert [t["deleted"] for t in found["totals"]] == [1_000, 2_000, 80, 20, 40]
    assert all(t["error"] is None for t in found["totals"])
    assert found["state"]["leases"] == found["state"]["open"] == 0
    assert set(ROW_POINTS) - set(found["passed"]) == {"recover.close.before", "recover.close.after"}, "those are passed after a crash only"


@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{n}:{k}" for n, k in CASES])
def test_a_fault_changes_neither_the_end_nor_the_totals(world: World, wanted: dict[str, Any], tmp_path: Path, name: str, kind: str) -> None:
    log = tmp_path / "passed.log"
    if name.startswith("recover.close"):
        code, _ = run(world, faults="source.commit.after:kill:2")
        assert code == -signal.SIGKILL
    code, totals = run(world, faults=f"{name}:{kind}:1", log=log)
    assert name in log.read_text().split(), "the point was hit"
    if kind == "kill":
        assert code == -signal.SIGKILL
    if code != 0:
        code, totals = run(world)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world) == wanted["state"]


@pytest.mark.parametrize("number", range(8 * ROUNDS))
def test_killed_at_any_instant(world: World, wanted: dict[str, Any], number: int) -> None:
    chance = random.Random(SEED + number)
    for name in chance.sample(sorted(ROW_POINTS), 2):
        nth = chance.randint(1, 4)
        run(world, faults=f"{name}:kill:{nth}")
    running, _ = start(world)
    time.sleep(chance.uniform(0.1, 1.5))  # the instant of the fault, not a wait for something
    running.kill()
    running.join()
    code, totals = run(world)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world) == wanted["state"]


def test_a_restart_of_the_database_in_the_middle_is_survived(world: World, wanted: dict[str, Any], postgres: PostgresServer) -> None:
    running, _ = start(world)
    with psycopg.connect(world.url, autocommit=True) as watcher:
        while not watcher.execute("SELECT count(*) FROM lethe.batches").fetchone()[0]:  # type: ignore[index]
            assert running.is_alive()
    postgres.stop(mode="immediate")
    postgres.start()
    running.join(90)
    code, totals = run(world)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world) == wanted["state"]


def test_each_interruption_is_in_the_ledger(world: World) -> None:
    run(world, faults="source.commit.after:kill:1")
    run(world, faults="intent.write.after:kill:1")
    code, totals = run(world)
    assert code == 0
    states = [r[0] for r in world.sql("SELECT body::json->>'state' FROM lethe.ledger WHERE kind = 'batch.interrupted' ORDER BY seq")]
    assert states == ["committed", "rolled_back"]
    assert sum(t["interruptions"] for t in totals) == 2
