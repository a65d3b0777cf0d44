"""Values of a row as a page shows them: instants in the company's zone, numbers to the right, long texts cut. Pure.

The page is for reading; the JSON beside it is the lossless copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from lethe.subjects.found import Field, Row

LONGEST = 600
"""Characters of a value that the page shows."""

_MONTHS = {
    "fr": ("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}
_NBSP = "\N{NO-BREAK SPACE}"
_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value: `kind` is `text`, `number`, `instant`, `nothing` (NULL), `others` (about somebody else) or `secret`."""

    text: str = field(repr=False)
    kind: str = "text"
    cut: bool = False


def cells(row: Row, fields: tuple[Field, ...], language: str, zone: str, hidden: Mapping[str, str]) -> tuple[Cell, ...]:
    """The values of a row in the order of `fields`. `hidden` says why a masked column is: `others` or `secret`."""
    return tuple(
        Cell(text="", kind=hidden[f.name]) if f.name in row.redacted else cell(row.values.get(f.name), f.type, language, zone)
        for f in fields
    )


def cell(value: Any, kind: str, language: str, zone: str) -> Cell:
    """One value of a column of PostgreSQL's type `kind`."""
    if value is None:
        return Cell(text="", kind="nothing")
    if isinstance(value, bool):
        return Cell(text=("oui" if value else "non") if language == "fr" else ("yes" if value else "no"))
    if isinstance(value, int | Decimal | float):
        return Cell(
            text=str(value) if isinstance(value, float) else format(Decimal(value), "f"), kind="number"
        )  # str() has a limit of digits
    if isinstance(value, str):
        shown = _time(value, kind, language, zone)
        return Cell(text=shown, kind="instant") if shown is not None else _text(value)
    return _text(json.dumps(value, ensure_ascii=False, default=float))


def shown(text: str) -> str:
    """`text` without what no page can show (control characters, halves of characters), or what would show it as another: `exe.png` that is
    `gnp.exe` behind a mark that turns the direction of reading."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def short_day(day: date, language: str) -> str:
    """`9 nov. 2026`, `9 Nov 2026`."""
    number = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return f"{number}{_NBSP}{_MONTHS[language][day.month - 1]}{_NBSP}{day.year}"


def _text(text: str) -> Cell:
    text = shown(text)
    return Cell(text=f"{text[:LONGEST].rstrip()}…", cut=True) if len(text) > LONGEST else Cell(text=text)


def _time(value: str, kind: str, language: str, zone: str) -> str | None:
    """An instant or a day in words; None when it is neither, or is one that no calendar has, such as `infinity`."""
    try:
        if kind == "date":
            return short_day(date.fromisoformat(value), language)
        if kind.startswith("timestamp"):
            at = datetime.fromisoformat(value)
            local = at.astimezone(ZoneInfo(zone)) if at.tzinfo is not None else at
            return f"{short_day(local.date(), language)},{_NBSP}{local:%H:%M}"
    except (ValueError, OverflowError):
        return None
    return None
