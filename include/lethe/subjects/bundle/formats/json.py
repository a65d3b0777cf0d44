"""Rows as JSON, a row a line: the lossless copy. Numbers keep every digit they have in the database. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from lethe.subjects.found import Row, Section

_LARGE = 1 << 63  # beyond it an int is printed by Decimal: Python refuses to print one of more than 4,300 digits


def extra(section: Section, name: str) -> str:
    """The key under which a row says `name` (`_shared`, `_redacted`, `_file`) of itself: with more underscores where a column has that name."""
    columns = {f.name for f in section.fields}
    while name in columns:
        name = f"_{name}"
    return name


def text(value: Any) -> str:
    """A value of PostgreSQL's `to_jsonb` as JSON on one line. TypeError, which names the type only, for anything else."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -_LARGE < value < _LARGE else format(Decimal(value), "f")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else f'"{value}"'
    if isinstance(value, float):
        return text(Decimal(repr(value)))
    if isinstance(value, list | tuple):
        return f"[{', '.join(text(v) for v in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{encode_basestring(str(k))}: {text(v)}' for k, v in value.items())}}}"
    raise TypeError(f"no value of JSON: {type(value).__name__}")


class JsonRows:
    """Makes lines of the rows of a section."""

    def __init__(self, section: Section) -> None:
        """Keys stand in the order of the section's fields."""
        self._fields = [(f.name, encode_basestring(f.name)) for f in section.fields]
        self._shared, self._redacted, self._file = (encode_basestring(extra(section, n)) for n in ("_shared", "_redacted", "_file"))

    def line(self, row: Row, path: str | None) -> bytes:
        """A row as one JSON object. `path`: where its file lies, from the bag's folder."""
        parts = [f"{key}: {text(row.values.get(name))}" for name, key in self._fields]
        if row.shared:
            parts.append(f"{self._shared}: true")
        if row.redacted:
            parts.append(f"{self._redacted}: {text(row.redacted)}")
        if row.file is not None:
            parts.append(f"{self._file}: {text({'path': path, 'name': row.file.name})}")
        return f"{{{', '.join(parts)}}}".encode()


def document(value: Any) -> bytes:
    """A small value as a JSON document, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
