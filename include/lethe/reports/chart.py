"""The age histogram of a dataset, by month, with the cutoff drawn in: geometry here, SVG in `templates/chart.svg`. Pure."""

from __future__ import annotations

import math
from datetime import date, datetime
from zoneinfo import ZoneInfo

from lethe.frozen import Frozen
from lethe.reports.words import MONTHS, short

WIDTH, HEIGHT = 760, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 30, 26
_BARS = 96  # beyond that, months are too thin to see: the oldest are put together


class Bar(Frozen):
    """One month: `kept` is what is left of it, `gone` what was there before and is not any more; heights from the base up.

    Where nobody counted what is left, `gone` is a month wholly past the cutoff, and `kept` any other.
    """

    x: float
    width: float
    kept: float
    gone: float
    label: str


class Tick(Frozen):
    """A mark on an axis, at `at` in the chart's own units."""

    at: float
    label: str


class Chart(Frozen):
    """Everything the template draws. `cutoff_x` is None when the cutoff lies outside of the months shown."""

    bars: tuple[Bar, ...]
    columns: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    cutoff_x: float | None
    cutoff_anchor: str
    base: float = HEIGHT - BOTTOM
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP


def chart(histogram: tuple[tuple[str, int], ...], left: tuple[tuple[str, int], ...] | None, cutoff: datetime, zone: str) -> Chart | None:
    """The chart of (`YYYY-MM`, rows) before and after; None when there is nothing to draw.

    Without an `after`, months wholly past the cutoff are set apart from the others.
    """
    local = cutoff.astimezone(ZoneInfo(zone)).date()
    cut = local.year * 12 + local.month - 1
    before = dict(histogram)
    after = {m: n for m, n in histogram if _index(m) >= cut} if left is None else dict(left)
    indexes = sorted({_index(m) for m, n in [*before.items(), *after.items()] if n})
    if not indexes:
        return None
    first, last = min(indexes[0], cut), max(indexes[-1], cut)
    first = max(first, last - _BARS + 1)
    step = (WIDTH - LEFT - RIGHT) / (last - first + 1)
    rows = {i: (_sum(after, i, first), max(_sum(before, i, first), _sum(after, i, first))) for i in range(first, last + 1)}
    top, gap = scale(max(total for _, total in rows.values()))
    height = HEIGHT - BOTTOM - TOP
    cutoff_x = LEFT + step * (cut - first + (local.day - 1) / _days(cut)) if cut >= first else None
    return Chart(
        bars=tuple(
            Bar(
                x=round(LEFT + step * (i - first) + step * 0.12, 2),
                width=round(step * 0.76, 2),
                kept=_height(kept, top, height),
                gone=_height(total - kept, top, height),
                label=_label(i, i == first and first > indexes[0], total if left is None else kept, total),
            )
            for i, (kept, total) in rows.items()
            if total
        ),
        columns=_columns(first, last, step),
        lines=tuple(Tick(at=round(HEIGHT - BOTTOM - height * n * gap / top, 2), label=short(n * gap)) for n in range(round(top / gap) + 1)),
        cutoff_x=None if cutoff_x is None else round(cutoff_x, 2),
        cutoff_anchor="end" if cutoff_x is not None and cutoff_x > WIDTH / 2 else "start",
    )


def _index(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _month(index: int) -> str:
    return f"{index // 12:04}-{index % 12 + 1:02}"


def _days(index: int) -> int:
    following = index + 1
    return (date(following // 12, following % 12 + 1, 1) - date(index // 12, index % 12 + 1, 1)).days


def _sum(months: dict[str, int], index: int, first: int) -> int:
    """The rows of a month; the first one shown also carries all that are older."""
    if index > first:
        return months.get(_month(index), 0)
    return sum(n for m, n in months.items() if _index(m) <= first)


def _height(rows: int, top: float, height: int) -> float:
    """A month with any row at all is at least a hairline high."""
    return round(max(rows / top * height, 1.2), 2) if rows else 0.0


def scale(most: int) -> tuple[float, float]:
    """A round top of the axis that `most` fits under, and the distance of its lines (three to five of them)."""
    raw = max(most, 1) / 4
    size = 10 ** math.floor(math.log10(raw))
    gap = max(next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw), 1)
    return math.ceil(max(most, 1) / gap) * gap, gap


def _label(index: int, older: bool, kept: int, total: int) -> str:
    name = f"{MONTHS[index % 12]} {index // 12}{' and older' if older else ''}"
    return f"{name}: {total:,} before, {kept:,} left" if kept != total else f"{name}: {total:,}"


def _columns(first: int, last: int, step: float) -> tuple[Tick, ...]:
    every = next(n for n in (1, 3, 6, 12, 24) if n * step >= 62)
    return tuple(
        Tick(at=round(LEFT + step * (i - first + 0.5), 2), label=f"{MONTHS[i % 12][:3]} {i // 12}" if every < 12 else str(i // 12))
        for i in range(first, last + 1)
        if i % every == 0
    )
