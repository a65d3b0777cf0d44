"""The same due rows in a table ten times larger: a purge must cost what is due, not what is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.score import Row, at_most
from benchmarks.stores import CUTOFF
from benchmarks.world import Ground

START = datetime(2024, 6, 1, tzinfo=UTC)


def measure(ground: Ground) -> list[Row]:
    """Time of the purge in the large table over that in the small one; both lose a twentieth of the large table's rows."""
    ratios, due = [], 0
    for _ in range(ground.repeat):
        took = []
        for kind, cutoff in (("tenth", CUTOFF), ("ordered", START + timedelta(days=36, hours=12))):
            with ground.copy(kind) as database:
                run = ground.run(database, cutoff=cutoff)
                took.append(run.timed().seconds)
                due = run.due
        ratios.append(took[1] / took[0])
    return [
        at_most(
            "the same due rows in a table ten times larger",
            ratios,
            1.3,
            detail=f"{due:,} due of {ground.rows // 10:,} and of {ground.rows:,}",
        )
    ]
