"""A person's rows as JSON (the lossless copy, with its JSON Schema) and as CSV for spreadsheets. Pure.

**Formulas.** A text cell of a CSV file that begins with `=`, `+`, `-`, `@`, a tab, a carriage return or an apostrophe gets one apostrophe before
it, and no other does: so taking one apostrophe from the beginning of a text cell, where there is one, always gives the original. Numbers of
columns of numbers are not touched. NULL is an empty cell without quotes, an empty text one with quotes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lethe.subjects.found import Field, Row, Section

RISKY = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet takes for the beginning of a formula, and the apostrophe that guards it."""

_quoted: Callable[[str], str] = json.encoder.encode_basestring
_INTEGERS = {"smallint", "integer", "bigint", "oid"}
_NUMBERS = {"numeric", "real", "double precision"}


def json_text(value: Any) -> str:
    """A value as JSON, a Decimal with all its digits."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(k))}: {json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def json_row(section: Section, row: Row, file: Mapping[str, Any] | None) -> str:
    """One row as a JSON object on one line. `file`: where its file lies in the bag, and what it was called."""
    cells = [f"{_quoted(f.name)}: {json_text(row.values.get(f.name))}" for f in section.fields]
    if row.shared:
        cells.append('"_shared": true')
    if row.redacted:
        cells.append(f'"_redacted": {json_text(list(row.redacted))}')
    if file is not None:
        cells.append(f'"_file": {json_text(file)}')
    return "{" + ", ".join(cells) + "}"


def schema_of(section: Section) -> str:
    """The JSON Schema (2020-12) of a section's files. `x-category` is the Fideslang key of a column, `x-article-20` marks the portable copy."""
    columns: dict[str, Any] = {f.name: _property(f) for f in section.fields}
    columns["_shared"] = {"type": "boolean", "description": "The row leads to somebody else too."}
    columns["_redacted"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Columns that are left out: about others, or secret.",
    }
    columns["_file"] = {"type": "object", "properties": {"path": {"type": "string"}, "name": {"type": "string"}}}
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": section.id,
        "type": "array",
        "items": {
            "type": "object",
            "properties": columns,
            "required": [f.name for f in section.fields],
            "additionalProperties": False,
        },
    }
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _property(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {**_type(field.type), "x-postgresql-type": field.type, "x-category": field.category}
    return found | ({"x-article-20": True} if field.provided else {})


def _type(kind: str) -> dict[str, Any]:
    plain = kind.split("(")[0].strip()
    if kind.endswith("[]"):
        return {"type": ["array", "string", "null"]}
    if plain in _INTEGERS:
        return {"type": ["integer", "null"]}
    if plain in _NUMBERS:
        return {"type": ["number", "string", "null"], "description": "A text for NaN and the infinities, which JSON has no number for."}
    if plain == "boolean":
        return {"type": ["boolean", "null"]}
    if plain in {"json", "jsonb"}:
        return {"description": "As it was stored."}
    return {"type": ["string", "null"]}


def csv_header(section: Section) -> str:
    """The first line."""
    return ",".join(_cell(f.name) for f in section.fields) + "\r\n"


def csv_row(fields: Sequence[Field], row: Row) -> str:
    """One line (RFC 4180)."""
    return ",".join([_cell(row.values.get(f.name)) for f in fields]) + "\r\n"


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula; `unguarded` gives it back."""
    return f"'{text}" if text.startswith(RISKY) else text


def unguarded(cell: str) -> str:
    """The text that was guarded."""
    return cell.removeprefix("'")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    text = guarded(value if isinstance(value, str) else json_text(value))
    if text and not any(c in text for c in ',"\r\n') and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'
