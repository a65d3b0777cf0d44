"""A purge that archives and is killed, cut off, or failed by its database or its bucket, at every point where it does something: nothing
is lost, nothing is double, no object is left without its rows' deletion, and the totals are those of a purge that nobody disturbed.
Each case can be replayed by its name."""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.ceph import CephGateway
from demo.postgres import PostgresServer
from helpers.archive_once import DATASETS, process, steps
from helpers.archiving import Archive, archive_on
from helpers.purging import AS_OF, CUTOFF, World, plan_of, world_of
from helpers.wire import Fault, Kind, wire_to
from lethe.archive.keys import parse
from lethe.purge.faults import ARCHIVE_POINTS, ROW_POINTS

pytestmark = pytest.mark.ceph

OF_THE_BATCH = ("intent.write", "source.delete", "source.commit", "intent.close", "recover.close")
CASES = [(name, kind) for name, kinds in ARCHIVE_POINTS.items() for kind in sorted(kinds)]
CASES += [(name, kind) for name, kinds in ROW_POINTS.items() if name.rpartition(".")[0] in OF_THE_BATCH for kind in sorted(kinds)]
KINDS: tuple[Kind, ...] = ("put", "head", "get", "lock")
FAULTS: tuple[tuple[Fault, bool], ...] = (("error", False), ("lost", False), ("lost", True), ("cut", True))
BROKEN = [(kind, fault, stops) for kind in KINDS for fault, stops in FAULTS]
"""Requests of the bucket, how each fails, and whether nothing is answered any more after it."""
CASES = [
    (n, k) for n, k in CASES if not (k == "cut" and "lost_ack" in (ARCHIVE_POINTS | ROW_POINTS)[n])
]  # after a COMMIT both are one fault
COUNTED = ("deleted", "arrived", "failed", "fingerprint", "error", "error_kind")
SEED = int(os.environ.get("LETHE_FAULTS_SEED", "20261125"))
ROUNDS = int(os.environ.get("LETHE_FAULTS_ROUNDS", "1"))


@contextmanager
def filled(postgres: PostgresServer, database: str) -> Iterator[World]:
    """Rows for every technique that archives: windows, a cycle, locks."""
    with world_of(postgres, database) as made:
        with psycopg.connect(made.url) as c:
            c.execute(
                "INSERT INTO app.logs (id, at, tenant_id, note) SELECT g, %s + (g - 600) * interval '4 minutes', g %% 7, 'n' || g "
                "FROM generate_series(0, 899) g",
                [CUTOFF],
            )
            c.execute("INSERT INTO app.threads SELECT g, '2020-01-01' FROM generate_series(1, 20) g")
            c.execute(
                "INSERT INTO app.messages SELECT g * 10 + n, g, CASE WHEN n > 0 THEN g * 10 + n - 1 END, "
                "CASE WHEN g %% 3 = 0 AND n = 3 THEN %s ELSE timestamptz '2021-01-01' END FROM generate_series(1, 20) g, generate_series(0, 3) n",
                [AS_OF],
            )
            c.execute("INSERT INTO app.consents SELECT md5(g::text)::uuid, '2020-01-01' FROM generate_series(1, 60) g")
            c.execute("INSERT INTO app.audiences SELECT row_number() OVER (), id, %s FROM app.consents ORDER BY id LIMIT 20", [AS_OF])
        made.sql("ANALYZE app.logs")
        made.grant()
        made.context(plan_of(*steps()))
        yield made


@pytest.fixture(scope="module")
def user(ceph: CephGateway) -> tuple[str, str]:
    return ceph.new_user()


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with filled(postgres, database) as made:
        yield made


@pytest.fixture
def archive(ceph: CephGateway, user: tuple[str, str]) -> Archive:
    return archive_on(ceph.endpoint, user)


def run(
    world: World, archive: Archive, *, faults: str = "", log: Path | None = None, endpoint: str | None = None
) -> tuple[int | None, list[dict[str, Any]]]:
    folder = Path(tempfile.mkdtemp(dir=world.server.data.parent))
    to = archive.connection
    given = {"login": to.login, "password": to.password, "extra": to.extra | ({"endpoint_url": endpoint} if endpoint else {})}
    answer = folder / "totals.json"
    running = process(world.server.port, world.url.rsplit("/", 1)[1], given, faults=faults, log=str(log or ""), answer=str(answer))
    running.start()
    running.join(120)
    return running.exitcode, json.loads(answer.read_text()) if running.exitcode == 0 else []


def counted(totals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: t[k] for k in ("step", *COUNTED)} for t in totals]


def rows_of(archive: Archive, dataset: str) -> list[tuple[Any, ...]]:
    found = archive.rows(dataset)
    return sorted(zip(*(c.to_pylist() for c in found.columns if c.type != found.schema.field("_lethe_persons").type), strict=True))


def end_state(world: World, archive: Archive) -> dict[str, Any]:
    """Rows left in the source; rows in the archive, one by one; objects in `lethe_db` and in the bucket; open batches; leases."""
    keys = archive.keys()
    sealed = [r[0] for r in world.sql("SELECT id FROM lethe.archive_objects WHERE state = 'sealed'")]
    assert {p.id for k in keys if (p := parse(k))} == set(sealed), "no object without its manifest, no manifest without its object"
    assert len([k for k in archive.objects()]) == len(sealed), "one version each"
    for key, version, expires in world.sql("SELECT key, version, expires_at FROM lethe.archive_objects WHERE state = 'sealed'"):
        assert archive.bucket.lock_until(key, version) == expires
    return {
        "left": {d: world.rest(d) for d in (*DATASETS, "audiences")},
        "kept": {d: rows_of(archive, d) for d in ("logs", "messages", "consents")},
        "others": world.number("SELECT count(*) FROM lethe.archive_objects WHERE state NOT IN ('sealed', 'dropped')"),
        "archived": world.number("SELECT sum(rows) FROM lethe.archive_objects WHERE state = 'sealed'"),
        "said": world.number("SELECT sum((details->>'archived')::int) FROM lethe.batches WHERE state = 'committed'"),
        "open": world.number("SELECT count(*) FROM lethe.batches WHERE state IN ('intent', 'unknown')"),
        "rows": world.sql("SELECT step, sum(rows) FROM lethe.batches WHERE state = 'committed' GROUP BY 1 ORDER BY 1"),
        "leases": world.number("SELECT count(*) FROM lethe.leases"),
    }


@pytest.fixture(scope="module")
def wanted(postgres: PostgresServer, ceph: CephGateway, user: tuple[str, str]) -> dict[str, Any]:
    """What a purge that nobody disturbs leaves, and the points that it passes."""
    bucket = archive_on(ceph.endpoint, user)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE undisturbed_archive")
    with filled(postgres, postgres.url("undisturbed_archive")) as made:
        log = postgres.data.parent / "undisturbed-archive.log"
        code, totals = run(made, bucket, log=log)
        assert code == 0
        found = {"totals": counted(totals), "state": end_state(made, bucket), "passed": log.read_text().split()}
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE undisturbed_archive WITH (FORCE)")
    return found


def test_nobody_disturbs_it(wanted: dict[str, Any]) -> None:
    state = wanted["state"]
    assert [(t["deleted"], t["error"]) for t in wanted["totals"]] == [(600, None), (56, None), (14, None), (40, None)]
    assert {d: len(rows) for d, rows in state["kept"].items()} == {"logs": 600, "messages": 56, "consents": 40}
    assert state["archived"] == state["said"] == 696
    assert state["leases"] == state["open"] == state["others"] == 0
    assert set(ARCHIVE_POINTS) - set(wanted["passed"]) == {"archive.drop.before", "archive.drop.after"}, "nothing had to be dropped"


@pytest.mark.parametrize(("name", "kind"), CASES, ids=[f"{n}:{k}" for n, k in CASES])
def test_a_fault_changes_neither_the_end_nor_the_totals(
    world: World, archive: Archive, wanted: dict[str, Any], tmp_path: Path, name: str, kind: str
) -> None:
    log = tmp_path / "passed.log"
    if name.startswith(("archive.drop", "recover.close")):
        before = "intent.write.before:kill:2" if name.startswith("archive.drop") else "source.commit.after:kill:2"
        code, _ = run(world, archive, faults=before)
        assert code == -signal.SIGKILL
    code, totals = run(world, archive, faults=f"{name}:{kind}:1", log=log)
    assert name in log.read_text().split(), "the point was hit"
    if kind == "kill":
        assert code == -signal.SIGKILL
    elif name.startswith("archive."):
        assert (code, {t["error"] for t in totals}) == (0, {None}), "a lost session is tried again by the same process"
    if code != 0:
        code, totals = run(world, archive)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world, archive) == wanted["state"]


@pytest.mark.parametrize(
    ("kind", "fault", "stops"), BROKEN, ids=[f"{k}:{f}{':for good' if s else ''}".replace(" ", "-") for k, f, s in BROKEN]
)
def test_a_bucket_that_fails_changes_neither_the_end_nor_the_totals(
    world: World, archive: Archive, wanted: dict[str, Any], ceph: CephGateway, kind: Kind, fault: Fault, stops: bool
) -> None:
    with wire_to(ceph.endpoint) as wire:
        nth = random.Random(f"{SEED}{kind}{fault}{stops}").randint(1, 5)
        wire.fail(kind, nth, fault, and_stop=stops)
        code, totals = run(world, archive, endpoint=wire.endpoint)
        assert wire.seen[kind] >= nth, "the request was made"
    assert code == 0
    if stops:
        assert {t["error_kind"] for t in totals} & {"Unreachable"}, "a bucket that stays away is said"
        code, totals = run(world, archive)
    assert counted(totals) == wanted["totals"]
    assert end_state(world, archive) == wanted["state"]


@pytest.mark.parametrize(("kind", "fault"), [(k, f) for k in ("list versions", "list uploads", "remove") for f in ("error", "lost")])
def test_a_bucket_that_fails_while_a_dead_runs_objects_are_dropped(
    world: World, archive: Archive, wanted: dict[str, Any], ceph: CephGateway, kind: Kind, fault: Fault
) -> None:
    code, _ = run(world, archive, faults="intent.write.before:kill:2")
    assert code == -signal.SIGKILL
    assert archive.objects()
    with wire_to(ceph.endpoint) as wire:
        wire.fail(kind, 1, fault, and_stop=fault == "lost")
        code, totals = run(world, archive, endpoint=wire.endpoint)
        assert wire.seen[kind]
    if fault == "lost":
        assert {t["error_kind"] for t in totals} & {"Unreachable"}, "a bucket that stays away is said"
        code, totals = run(world, archive)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world, archive) == wanted["state"]


@pytest.mark.parametrize("number", range(4 * ROUNDS))
def test_killed_at_any_points_one_after_the_other(world: World, archive: Archive, wanted: dict[str, Any], number: int) -> None:
    chance = random.Random(SEED + number)
    for name in chance.sample(sorted(ARCHIVE_POINTS | {p: ROW_POINTS[p] for p in ROW_POINTS if p.rpartition(".")[0] in OF_THE_BATCH}), 3):
        run(world, archive, faults=f"{name}:kill:{chance.randint(1, 4)}")
    code, totals = run(world, archive)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world, archive) == wanted["state"]


def test_bytes_that_change_on_the_way_keep_the_rows(
    world: World, archive: Archive, ceph: CephGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload says success; what is read back is not what was written: a flipped byte, on the way back."""
    before = {d: world.rest(d) for d in DATASETS}
    with wire_to(ceph.endpoint) as wire:
        answering = wire._forward

        def flipped(request: Any, body: bytes, kind: Kind) -> tuple[int, dict[str, str], bytes]:
            status, headers, answer = answering(request, body, kind)
            return (
                status,
                headers,
                answer[:100] + bytes([answer[100] ^ 1]) + answer[101:] if kind == "get" and len(answer) > 200 else answer,
            )

        monkeypatch.setattr(wire, "_forward", flipped)
        code, totals = run(world, archive, endpoint=wire.endpoint)
    assert code == 0
    archived = [t for t in totals if t["step"] != "rule/threads"]
    assert {t["error_kind"] for t in archived} == {"ArchiveDiffers"}
    assert {d: world.rest(d) for d in DATASETS} == before
    assert archive.keys() == [], "nothing of it is left in the bucket"


def test_objects_of_a_plan_that_is_never_taken_up_again_are_dropped_by_the_next_run(
    world: World, archive: Archive, wanted: dict[str, Any]
) -> None:
    code, _ = run(world, archive, faults="archive.readback.after:kill:1")  # the first: no other lane's batch is committed yet
    assert code == -signal.SIGKILL
    assert archive.keys()
    world.sql("UPDATE lethe.archive_objects SET plan = repeat('e', 64)")
    code, totals = run(world, archive)
    assert code == 0
    assert counted(totals) == wanted["totals"]
    assert end_state(world, archive) == wanted["state"]
    assert world.number("SELECT count(*) FROM lethe.archive_objects WHERE plan = repeat('e', 64) AND state = 'dropped'") >= 1
