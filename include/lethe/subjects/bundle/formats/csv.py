"""Rows as CSV (RFC 4180) that a spreadsheet may open: no cell is run as a formula. Pure.

**The rule**: a text that begins with `=`, `+`, `-`, `@` (also in full width), TAB, CR, LF or `'` gets one `'` before it, and no other does.
So to have the text that is held: of a cell that begins with `'`, take away that one. Numbers are no text: `-5` stays `-5`.

Texts are always quoted, numbers and truth values never; NULL is an empty cell without quotes, an empty text is `""`. Many readers take both
for the same: the JSON is the lossless copy. A byte order mark stands first: without it Excel takes UTF-8 for an older encoding.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any

from lethe.subjects.bundle.formats.json import extra
from lethe.subjects.bundle.formats.json import text as json_text
from lethe.subjects.found import Row, Section

MARK = "\ufeff".encode()
_STARTS = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")


def guarded(text: str) -> str:
    """`text` by the rule."""
    return f"'{text}" if text.startswith(_STARTS) else text


def unguarded(cell: str) -> str:
    """The text of a cell by the rule."""
    return cell.removeprefix("'")


def cell(value: Any) -> str:
    """A value as a cell: lists and objects as their JSON."""
    if value is None:
        return ""
    if isinstance(value, float | Decimal) and not isfinite(value):
        value = str(Decimal(value))
    if isinstance(value, bool | int | float | Decimal):
        return json_text(value)
    shown = guarded(value if isinstance(value, str) else json_text(value))
    return '"' + shown.replace('"', '""') + '"'


class CsvRows:
    """Makes lines of the rows of a section. Behind its columns: is it shared, what was masked, where its file lies, and how that was named."""

    def __init__(self, section: Section) -> None:
        """Columns stand in the order of the section's fields."""
        self._fields = [f.name for f in section.fields]
        self._extra = [extra(section, n) for n in ("_shared", "_redacted", "_file", "_file_name")]

    @property
    def header(self) -> bytes:
        """The byte order mark and the first line."""
        return MARK + _line([cell(n) for n in (*self._fields, *self._extra)])

    def line(self, row: Row, path: str | None) -> bytes:
        """A row as one record. `path`: where its file lies, from the bag's folder."""
        found = [cell(row.values.get(n)) for n in self._fields]
        found.append("true" if row.shared else "")
        found.append(cell(" ".join(row.redacted)) if row.redacted else "")
        found += [cell(path), cell(row.file.name)] if row.file is not None else ["", ""]
        return _line(found)


def _line(cells: list[str]) -> bytes:
    return (",".join(cells) + "\r\n").encode()
