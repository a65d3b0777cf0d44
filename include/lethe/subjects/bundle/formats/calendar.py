"""Rows that have a start as iCalendar (RFC 5545), for a calendar. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from icalendar import Calendar, Event

from lethe.catalog.model import CalendarColumns
from lethe.subjects.found import Row

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # RFC 5545 has no way to write them


def head() -> bytes:
    """What stands before the events."""
    calendar = Calendar()
    calendar.add("prodid", "-//Lethe//Export//EN")
    calendar.add("version", "2.0")
    whole: bytes = calendar.to_ical()
    return whole.removesuffix(TAIL)


TAIL = b"END:VCALENDAR\r\n"


def event(row: Row, columns: CalendarColumns, *, uid: str, made_at: datetime) -> bytes | None:
    """A row as an event; None when it has no start that a calendar knows. A day is an event of that day; a time without zone stays without."""
    starts, ends = _when(row.values.get(columns.starts)), _when(row.values.get(columns.ends) if columns.ends else None)
    if starts is None:
        return None
    found = Event()
    found.add("uid", uid)
    found.add("dtstamp", made_at)
    found.add("dtstart", starts)
    if ends is not None and _after(ends, starts):
        # DTEND is the first day after the last (RFC 5545, 3.6.1); a database names the last.
        found.add("dtend", ends if isinstance(ends, datetime) else ends + timedelta(days=1))
    for name, column in (("summary", columns.title), ("location", columns.place), ("description", columns.notes)):
        value = row.values.get(column) if column else None
        if isinstance(value, str) and value.strip():
            found.add(name, _CONTROLS.sub("", value.replace("\r\n", "\n").replace("\r", "\n")))
    made: bytes = found.to_ical()
    return made


def _after(ends: date, starts: date) -> bool:
    """Both of one kind, and in order: a calendar refuses others."""
    if isinstance(ends, datetime) and isinstance(starts, datetime):
        return (ends.tzinfo is None) == (starts.tzinfo is None) and ends > starts
    return type(ends) is type(starts) and ends >= starts and ends < date.max


def _when(value: Any) -> datetime | date | None:
    """PostgreSQL's text of an instant or day; None for `infinity`, years before Christ and past 9999."""
    if not isinstance(value, str):
        return None
    try:
        if len(value) == 10:
            return date.fromisoformat(value)
        found = datetime.fromisoformat(value)
        return found if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
