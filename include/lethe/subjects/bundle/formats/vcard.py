"""A person's own contact data as vCard 4.0 (RFC 6350), for an address book. Pure.

No library that is kept writes version 4.0: this writes the few properties that a catalog's categories have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lethe.subjects.found import Row, Section

_EMAIL, _PHONE, _ADDRESS = "user.contact.email", "user.contact.phone_number", "user.contact.address"
_NAME, _FIRST, _LAST = "user.name", "user.name.first", "user.name.last"
_TITLE, _ORG = "user.professional_information.job_title", "user.professional_information.workplace"
# Parts of ADR, in its order, after post box and extended address, which RFC 6350 wants empty.
_PARTS = (f"{_ADDRESS}.street", f"{_ADDRESS}.city", f"{_ADDRESS}.state", f"{_ADDRESS}.postal_code", f"{_ADDRESS}.country")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LINE = 75  # bytes of a line, by RFC 6350, 3.2


class Cards:
    """Makes a card of each row of a section that names a person and a way to reach them."""

    def __init__(self, section: Section) -> None:
        """Reads the categories of the section's columns."""
        self._columns: dict[str, list[str]] = {}
        for field in section.fields:
            self._columns.setdefault(field.category, []).append(field.name)
        self._street = [*self._columns.get(_ADDRESS, ()), *self._columns.get(_PARTS[0], ())]

    @property
    def possible(self) -> bool:
        """Has the section a name, and an address or a number?"""
        reach = any(c in {_EMAIL, _PHONE} or c.startswith(_ADDRESS) for c in self._columns)
        return reach and any(c == _NAME or c.startswith(f"{_NAME}.") for c in self._columns)

    def card(self, row: Row) -> bytes | None:
        """The row as a card; None when nothing of it names or reaches anybody."""
        first, last, whole = (self._of(row, c) for c in (_FIRST, _LAST, _NAME))
        emails, phones = self._of(row, _EMAIL), self._of(row, _PHONE)
        place = [_texts(row.values, self._street), *(self._of(row, c) for c in _PARTS[1:])]
        shown = " ".join([*first, *last]) or " ".join(whole)
        if not shown or not (emails or phones or any(place)):
            return None
        lines = ["BEGIN:VCARD", "VERSION:4.0", f"FN:{escape(shown)}"]
        if first or last:
            lines.append(f"N:{_list(last)};{_list(first)};;;")
        lines += [f"EMAIL:{escape(e)}" for e in emails]
        lines += [f"TEL;VALUE=text:{escape(p)}" for p in phones]
        if any(place):
            lines.append(f"ADR:;;{';'.join(_list(p) for p in place)}")
        lines += [f"TITLE:{escape(t)}" for t in self._of(row, _TITLE)]
        lines += [f"ORG:{escape(o)}" for o in self._of(row, _ORG)]
        return b"".join(fold(line) for line in (*lines, "END:VCARD"))

    def _of(self, row: Row, category: str) -> list[str]:
        return _texts(row.values, self._columns.get(category, ()))


def escape(value: str) -> str:
    """A value as text of a property (RFC 6350, 3.4): a line break is `\\n`; what cannot be written there is left out."""
    plain = _CONTROLS.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"([\\,;])", r"\\\1", plain).replace("\n", "\\n")


def fold(line: str) -> bytes:
    """A line in pieces of at most 75 bytes, none of which ends within a character; the next ones begin with a space."""
    pieces, piece = [], b""
    for char in line:
        coded = char.encode()
        if len(piece) + len(coded) > _LINE:
            pieces.append(piece)
            piece = b" "
        piece += coded
    return b"\r\n".join([*pieces, piece]) + b"\r\n"


def _texts(values: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """The texts of these columns, those of a list one by one, without empty ones."""
    found: list[str] = []
    for column in columns:
        value = values.get(column)
        found += [v.strip() for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v.strip()]
    return found


def _list(texts: Iterable[str]) -> str:
    return ",".join(escape(t) for t in texts)
