"""A table whose rows lie in another order than their clock, against one big DELETE of the same rows."""

from __future__ import annotations

from benchmarks.score import Row, at_least
from benchmarks.world import Ground


def measure(ground: Ground) -> list[Row]:
    """Ratio of the purge at full pace to the DELETE of the same round."""
    ratios, base, longest = [], [], 0.0
    techniques: set[str] = set()
    for _ in range(ground.repeat):
        with ground.copy("unordered") as database:
            one = ground.one_delete(database)
        with ground.copy("unordered") as database:
            run = ground.run(database)
            timed = run.timed()
            took = timed.seconds
            techniques.update(timed.totals.techniques)
            longest = max(longest, *run.batches())
        ratios.append(one / took)
        base.append(one)
    detail = (
        f"by {', '.join(sorted(techniques))}; one DELETE {min(base):.2f}-{max(base):.2f} s; longest transaction {longest * 1000:.0f} ms"
    )
    return [at_least("purge of a table out of order, against one big DELETE", ratios, 0.9, detail=detail)]
