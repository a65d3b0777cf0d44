"""The purge at full and at gentle pace against one big DELETE of the same rows, and what another user of the table feels of it."""

from __future__ import annotations

import time

from benchmarks.ground import OtherUser, latency
from benchmarks.score import Row, at_least, at_most
from benchmarks.world import Ground
from lethe.purge.context import Pace


def measure(ground: Ground) -> list[Row]:
    """Ratios of medians' runs (each purge against the DELETE of its own round), the longest transaction, and p99 beside idle."""
    full, gentle, longest, longest_gentle, base = [], [], [], [], []
    for turn in range(ground.repeat):
        took: dict[str, float] = {}
        for way in ("delete", "full", "gentle")[:: 1 if turn % 2 == 0 else -1]:
            if way == "delete":
                with ground.copy("ordered") as database:
                    took[way] = ground.one_delete(database)
            elif way == "full":
                took[way], transactions = _purge(ground, "full")
                longest.append(max(transactions) * 1000)
            else:
                took[way], transactions = _purge(ground, "gentle")
                longest_gentle.append(max(transactions) * 1000)
        base.append(took["delete"])
        full.append(took["delete"] / took["full"])
        gentle.append(took["delete"] / took["gentle"])
    idle, during, during_gentle = _idle(ground), _beside(ground, "full"), _beside(ground, "gentle")
    detail = f"one DELETE {min(base):.2f}-{max(base):.2f} s"
    return [
        at_least("purge, full pace, against one big DELETE", full, 0.9, detail=detail),
        at_least("purge, gentle pace, against one big DELETE", gentle, 0.4, detail=detail),
        at_most("longest transaction, full pace", longest, 100, "ms"),
        at_most("longest transaction, gentle pace", longest_gentle, 100, "ms"),
        at_most(
            "another user's p99 during a full purge, against idle",
            [d / i for d, i in zip(during, idle, strict=True)],
            4,
            detail=f"idle p99 {_ms(idle)} ms, during {_ms(during)} ms",
        ),
        at_most("another user's p99 during a gentle purge", during_gentle, 6, "ms", detail=f"idle p99 {_ms(idle)} ms"),
    ]


def _purge(ground: Ground, pace: Pace) -> tuple[float, list[float]]:
    with ground.copy("ordered") as database:
        run = ground.run(database)
        return run.timed(pace).seconds, run.batches()


def _ms(values: list[float]) -> str:
    return ", ".join(f"{v:.1f}" for v in values)


def _idle(ground: Ground) -> list[float]:
    """p99 of another user alone, in ms, in as many rounds as the purges have."""
    found = []
    with ground.copy("ordered") as database:
        for _ in range(len(_rounds(ground))):
            values: list[float] = []
            with OtherUser.beside(ground.server, database, values):
                time.sleep(5)
            found.append(latency(values).p99)
    return found


def _beside(ground: Ground, pace: Pace) -> list[float]:
    """p99 of another user while a purge runs, in ms."""
    found = []
    for copies in _rounds(ground):
        values: list[float] = []
        for _ in range(copies):
            with ground.copy("ordered") as database:
                run = ground.run(database)
                with OtherUser.beside(ground.server, database, values):
                    run.purge(pace, reclaim=False)
        found.append(latency(values).p99)
    return found


def _rounds(ground: Ground) -> list[int]:
    """Purges a round: a purge of few rows is over before another user has done enough to speak of a p99, so all are put together."""
    return [1] * ground.repeat if ground.rows >= 2_000_000 else [max(ground.repeat, 4)]
