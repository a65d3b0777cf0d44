"""Partitions that are wholly due: how long each is locked, how much log they write, and what others feel behind a reader that stays."""

from __future__ import annotations

import threading
import time

import psycopg

from benchmarks.ground import OtherUser, latency
from benchmarks.score import Row, at_most
from benchmarks.world import Ground

READS = 3.0  # seconds


def measure(ground: Ground) -> list[Row]:
    """ms a partition (the slowest of each run), bytes of log of each whole run (Lethe's own records too), p99 behind a reader."""
    slowest, middle, logged, behind, waited = [], [], [], [], []
    partitions = 0
    for _ in range(ground.repeat):
        with ground.copy("partitioned") as database:
            run = ground.run(database, key=("id", "occurred_at"))
            before = _position(ground)
            totals = run.purge(reclaim=False)
            logged.append((_position(ground) - before) / 1e6)
            if "partition drop" not in totals.techniques:
                raise RuntimeError(f"partitions were not dropped but purged by {', '.join(totals.techniques)}")
            took = sorted(run.batches())
            partitions = len(took)
            slowest.append(took[-1] * 1000)
            middle.append(took[len(took) // 2] * 1000)
        with ground.copy("partitioned") as database:
            run = ground.run(database, key=("id", "occurred_at"))
            values: list[float] = []
            reading = threading.Event()
            reader = threading.Thread(target=_read, args=(ground.server.url(database), reading))
            with OtherUser.beside(ground.server, database, values):
                reader.start()
                reading.wait(10)
                began = time.monotonic()
                run.purge(reclaim=False)
                waited.append(time.monotonic() - began)
                reader.join()
            behind.append(latency(values).p99)
    return [
        at_most(
            "partition drop, the slowest of a run",
            slowest,
            50,
            "ms",
            detail=f"{partitions} partitions of {run.due // max(partitions, 1):,} rows, each counted before its transaction and seen unchanged under its lock; "
            f"median {sorted(middle)[len(middle) // 2]:.1f} ms",
        ),
        at_most("partition drop, log written in all", logged, 1, "MB", detail="Lethe's own records included"),
        at_most(
            "another user's p99 while partitions are dropped behind a 3 s reader",
            behind,
            250,
            "ms",
            detail=f"the purge took {min(waited):.1f}-{max(waited):.1f} s",
        ),
    ]


def _position(ground: Ground) -> int:
    with psycopg.connect(ground.server.url()) as connection:
        row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    return int(row[0]) if row else 0


def _read(url: str, reading: threading.Event) -> None:
    """A reader of the oldest month who keeps his transaction open."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT count(*) FROM (SELECT 1 FROM app.technical_logs ORDER BY occurred_at LIMIT 100) AS few")
        reading.set()
        time.sleep(READS)
