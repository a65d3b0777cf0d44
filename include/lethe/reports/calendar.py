"""What expires when: the archive's rows by month or year of expiry, stacked by law. Geometry here, SVG in `templates/calendar.svg`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lethe.frozen import Frozen
from lethe.reports.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick, scale
from lethe.reports.words import MONTHS, number, short

COLOURS = 5
"""Laws that have a colour of their own; the smallest of more than these share the last."""

_MONTHS = 24  # a longer time is drawn by year
_BARS = 30  # years beyond that are put together


class Part(Frozen):
    """The rows of one law in a bar: `y` is its upper edge, `colour` its number."""

    y: float
    height: float
    colour: int


class Column(Frozen):
    """A month or a year. `total` stands above it, and is empty where there is no room."""

    x: float
    width: float
    parts: tuple[Part, ...]
    label: str
    total: str
    top: float


class Calendar(Frozen):
    """Everything the template draws; `laws` in the order of their colours."""

    laws: tuple[str, ...]
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[Tick, ...]
    by: str
    base: float = HEIGHT - BOTTOM
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT


def calendar(rows: Sequence[tuple[str, str, int]]) -> Calendar | None:
    """The chart of (law, `YYYY-MM` of expiry, rows); None when there is nothing to draw."""
    found = [(law, int(month[:4]) * 12 + int(month[5:7]) - 1, n) for law, month, n in rows if n]
    if not found:
        return None
    months = [at for _, at, _ in found]
    by_year = max(months) - min(months) >= _MONTHS
    size = 12 if by_year else 1
    first = min(months) // size
    last = min(max(months) // size, first + _BARS - 1)
    laws = _laws(found)
    stacks: dict[int, Counter[int]] = {}
    for law, at, n in found:
        stacks.setdefault(min(at // size, last), Counter())[min(laws.index(law) if law in laws else COLOURS - 1, COLOURS - 1)] += n
    top, gap = scale(max(sum(s.values()) for s in stacks.values()))
    step = (WIDTH - LEFT - RIGHT) / (last - first + 1)
    cut = max(months) // size > last
    return Calendar(
        laws=laws,
        columns=tuple(_column(at, first, step, stacks[at], laws, top, by_year, cut and at == last) for at in sorted(stacks)),
        ticks=_ticks(first, last, step, by_year),
        lines=tuple(Tick(at=round(HEIGHT - BOTTOM - _high(n * gap, top), 2), label=short(n * gap)) for n in range(round(top / gap) + 1)),
        by="year" if by_year else "month",
    )


def _laws(found: Sequence[tuple[str, int, int]]) -> tuple[str, ...]:
    """Those with most rows first, so that the biggest is at the bottom."""
    sums: Counter[str] = Counter()
    for law, _, n in found:
        sums[law] += n
    laws = [law for law, _ in sorted(sums.items(), key=lambda item: (-item[1], item[0]))]
    return tuple(laws) if len(laws) <= COLOURS else (*laws[: COLOURS - 1], "other laws")


def _column(at: int, first: int, step: float, stack: Counter[int], laws: Sequence[str], top: float, by_year: bool, later: bool) -> Column:
    y, parts = float(HEIGHT - BOTTOM), []
    for colour in sorted(stack):
        height = max(_high(stack[colour], top), 1.2)
        y -= height
        parts.append(Part(y=round(y, 2), height=round(height, 2), colour=colour))
    width = min(step * 0.62, 46)
    total = sum(stack.values())
    name = f"{_name(at, by_year)}{' and later' if later else ''}"
    return Column(
        x=round(LEFT + step * (at - first + 0.5) - width / 2, 2),
        width=round(width, 2),
        parts=tuple(parts),
        label=f"{name}: " + ", ".join(f"{stack[c]:,} under {laws[c]}" for c in sorted(stack)),
        total=number(total) if step >= 44 else "",
        top=round(y - 5, 2),
    )


def _high(rows: float, top: float) -> float:
    return rows / top * (HEIGHT - BOTTOM - TOP)


def _name(at: int, by_year: bool) -> str:
    return str(at) if by_year else f"{MONTHS[at % 12]} {at // 12}"


def _ticks(first: int, last: int, step: float, by_year: bool) -> tuple[Tick, ...]:
    every = next(n for n in (1, 2, 3, 6, 12) if n * step >= (40 if by_year else 62))
    return tuple(
        Tick(at=round(LEFT + step * (i - first + 0.5), 2), label=str(i) if by_year else f"{MONTHS[i % 12][:3]} {i // 12}")
        for i in range(first, last + 1)
        if (i - first) % every == 0
    )
