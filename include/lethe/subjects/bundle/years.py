"""Rows by year as bars: heights in percent, a gap for a year without rows, and the oldest put together when there are many. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from lethe.frozen import Frozen

MOST = 12
"""Bars that fit a phone."""


class YearBar(Frozen):
    """A year with its rows; `older`: all years up to it. `height` is a percentage of the tallest."""

    year: int
    rows: int
    height: float
    older: bool = False


def year_bars(years: Mapping[int | None, int]) -> tuple[YearBar, ...]:
    """The bars, oldest first; empty when fewer than two years have rows, which a number says better."""
    found = {y: n for y, n in years.items() if y is not None and n > 0}
    if len(found) < 2:
        return ()
    first, last = min(found), max(found)
    shown = list(range(first, last + 1)) if last - first < MOST else sorted(found)  # one row of the year 1 makes no thousand bars
    older = shown[: -(MOST - 1)] if len(shown) > MOST else []
    counts = [(y, found.get(y, 0)) for y in shown[len(older) :]]
    if older:
        counts.insert(0, (older[-1], sum(found[y] for y in older)))
    tallest = max(n for _, n in counts)
    return tuple(
        YearBar(year=y, rows=n, height=round(max(n / tallest * 100, 1.5), 1) if n else 0.0, older=bool(older) and at == 0)
        for at, (y, n) in enumerate(counts)
    )
