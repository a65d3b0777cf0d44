"""A person's own contact data as vCard 4.0 (RFC 6350), and appointments as iCalendar (RFC 5545). Columns are known by their categories. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from icalendar import Calendar, Event

from lethe.catalog.model import CalendarColumns
from lethe.subjects.found import Row, Section

_LINE = 75
"""Octets of a line before it is folded."""

_FIRST, _LAST, _WHOLE = "user.name.first", "user.name.last", "user.name"
_EMAIL, _PHONE = "user.contact.email", "user.contact.phone_number"
_STREET, _CODE, _CITY = "user.contact.address.street", "user.contact.address.postal_code", "user.contact.address.city"
_COMPANY, _TITLE, _BORN = (
    "user.professional_information.workplace",
    "user.professional_information.job_title",
    "user.demographic.date_of_birth",
)


def is_card(section: Section) -> bool:
    """Do rows of this section say how to reach a person, by a name of theirs?"""
    there = {f.category for f in section.fields}
    return bool(there & {_FIRST, _LAST}) and bool(there & {_EMAIL, _PHONE})


def vcard(section: Section, row: Row) -> str:
    """One card. Only what the row has; masked columns have no value."""
    of: dict[str, list[str]] = {}
    for field in section.fields:
        value = row.values.get(field.name)
        if value not in (None, ""):
            of.setdefault(field.category, []).append(str(value))
    first, last = _one(of, _FIRST), _one(of, _LAST)
    shown = " ".join(n for n in (first, last) if n) or _one(of, _WHOLE) or _one(of, _EMAIL) or _one(of, _PHONE) or "-"
    lines = ["BEGIN:VCARD", "VERSION:4.0", f"FN:{_text(shown)}", f"N:{_text(last)};{_text(first)};;;"]
    lines += [f"EMAIL:{_text(v)}" for v in of.get(_EMAIL, [])]
    lines += [f"TEL;VALUE=text:{_text(v)}" for v in of.get(_PHONE, [])]
    if any(c in of for c in (_STREET, _CODE, _CITY)):
        lines.append(f"ADR:;;{_text(_one(of, _STREET))};{_text(_one(of, _CITY))};;{_text(_one(of, _CODE))};")
    lines += [f"ORG:{_text(v)}" for v in of.get(_COMPANY, [])[:1]]
    lines += [f"TITLE:{_text(v)}" for v in of.get(_TITLE, [])[:1]]
    if (born := _one(of, _BORN))[:4].isdigit():
        lines.append(f"BDAY:{born[:10].replace('-', '')}")
    return "".join(_folded(line) for line in [*lines, "END:VCARD"])


def calendar(section: Section, rows: Iterable[Row], columns: CalendarColumns, *, made_at: datetime) -> bytes:
    """The appointments of a section, one event a row that has a start. Instants in UTC."""
    found = Calendar()
    found.add("prodid", "-//Lethe//export//EN")
    found.add("version", "2.0")
    keys = [f.name for f in section.fields]
    for row in rows:
        begins = _instant(row.values.get(columns.starts))
        if begins is None:
            continue
        event = Event()
        event.add("uid", f"{section.dataset}-{row.values.get(keys[0])}@lethe.invalid")
        event.add("dtstamp", made_at.astimezone(UTC))
        event.add("dtstart", begins)
        ends = _instant(row.values.get(columns.ends)) if columns.ends else None
        if ends is not None and ends >= begins:
            event.add("dtend", ends)
        for name, column in (("summary", columns.title), ("location", columns.place), ("description", columns.notes)):
            value = row.values.get(column) if column else None
            if value not in (None, ""):
                event.add(name, str(value))
        found.add_component(event)
    return bytes(found.to_ical())


def _instant(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC) if value is not None else None
    except ValueError:  # infinity
        return None


def _one(of: dict[str, list[str]], category: str) -> str:
    values: Sequence[str] = of.get(category, [])
    return values[0] if values else ""


def _text(value: str) -> str:
    """Escaped (RFC 6350, 3.4); control characters that no card may hold are left out."""
    kept = "".join(c for c in value.replace("\r\n", "\n").replace("\r", "\n") if c == "\n" or c == "\t" or ord(c) >= 32)
    return kept.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;").replace("\n", "\\n")


def _folded(line: str) -> str:
    """Lines of at most 75 octets, broken between characters (RFC 6350, 3.2)."""
    pieces, here, room = [], "", _LINE
    for character in line:
        size = len(character.encode())
        if size > room:
            pieces.append(here)
            here, room = "", _LINE - 1
        here += character
        room -= size
    return "\r\n ".join([*pieces, here]) + "\r\n"
