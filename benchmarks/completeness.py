"""The independent check (every query, the equation, the batches' statistics, Great Expectations) against the purge it checks."""

from __future__ import annotations

import statistics

from benchmarks.ground import seconds
from benchmarks.score import Row, at_most
from benchmarks.world import Ground


def measure(ground: Ground) -> list[Row]:
    """Time of the check after VACUUM as a share of the purge's. Great Expectations is loaded before; VACUUM is told apart."""
    shares, vacuums, checks = [], [], []
    for _ in range(ground.repeat):
        with ground.copy("ordered") as database:
            run = ground.run(database)
            purge = run.timed()
            vacuums.append(purge.vacuum / purge.seconds)
            check = seconds(run.verify)
            checks.append(check)
            shares.append(check / purge.seconds)
    detail = f"check {statistics.median(checks):.2f} s; VACUUM apart: {statistics.median(vacuums):.2f} of the purge"
    return [at_most("completeness check, against the purge", shares, 0.1, detail=detail)]
