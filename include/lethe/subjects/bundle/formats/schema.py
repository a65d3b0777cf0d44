"""The JSON Schema (2020-12) of a section's rows: what each column holds, which belong to the copy of Article 20, what was masked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lethe.subjects.bundle.formats.json import extra
from lethe.subjects.found import Section

_NOT_FINITE = ["NaN", "Infinity", "-Infinity"]
_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_NUMBERS = frozenset({"numeric", "real", "double precision"})
_TEXTS = frozenset(
    {
        "text",
        "character varying",
        "character",
        "citext",
        "name",
        "uuid",
        "date",
        "interval",
        "bytea",
        "inet",
        "cidr",
        "macaddr",
        "money",
        "xml",
    }
)


def shape(type_: str) -> dict[str, Any]:
    """What `to_jsonb` makes of a value of a PostgreSQL type, such as `numeric(10,2)` or `text[]`. A type that is not known may be anything."""
    plain = " ".join(re.sub(r"\([^)]*\)", "", type_).split())
    if plain.endswith("[]"):
        return {"type": ["array", "null"]}
    if plain in _INTEGERS:
        return {"type": ["integer", "null"]}
    if plain in _NUMBERS:
        return {"anyOf": [{"type": ["number", "null"]}, {"enum": _NOT_FINITE}]}
    if plain == "boolean":
        return {"type": ["boolean", "null"]}
    if plain in _TEXTS or plain.startswith(("timestamp", "time ")) or plain == "time":
        return {"type": ["string", "null"]}
    return {}


def schema(section: Section, masked: Mapping[str, int]) -> dict[str, Any]:
    """The schema of each of the section's JSON files. `masked`: how often each column was."""
    columns: dict[str, Any] = {}
    for field in section.fields:
        columns[field.name] = {**shape(field.type), "x-postgresql-type": field.type, "x-category": field.category}
        if field.provided:
            columns[field.name]["x-article-20"] = True
        if masked.get(field.name):
            columns[field.name]["x-redacted"] = masked[field.name]
    columns[extra(section, "_shared")] = {"const": True, "description": "The row leads to somebody else too."}
    columns[extra(section, "_redacted")] = {
        "type": "array",
        "items": {"enum": [f.name for f in section.fields]},
        "description": "Columns that are held and not shown: they are about somebody else, or a secret.",
    }
    columns[extra(section, "_file")] = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "name": {"type": "string"}},
        "required": ["path", "name"],
        "additionalProperties": False,
        "description": "The row's file: its path from the bag's folder, and the name it has.",
    }
    about = {
        "x-dataset": section.dataset,
        "x-origin": str(section.origin),
        "x-role": str(section.role),
        "x-retention": section.category,
        "x-purposes": list(section.purposes),
        "x-law": section.law,
        "x-until": section.until.isoformat() if section.until else None,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": section.id,
        **{k: v for k, v in about.items() if v is not None},
        "type": "array",
        "items": {
            "type": "object",
            "properties": columns,
            "required": [f.name for f in section.fields],
            "additionalProperties": False,
        },
    }
