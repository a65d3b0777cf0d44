"""The list for programs: JSON with sorted keys, and CSV (RFC 4180) that a spreadsheet may open. Pure.

CSV keeps the rule of a bundle's (`subjects/bundle/formats/csv.py`): a text that a spreadsheet would run gets one `'` before it. A line is an
entry in force; lists of ids are divided by spaces, lists of words by ` | `.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from lethe.accountability.processor_list.view import said
from lethe.subjects.bundle.formats.csv import MARK, guarded

_PLAIN = ("begun", "active_from", "active_to", "legal_name", "address", "country", "kind", "role", "public_contact", "end_of_contract")
_IDS = ("works_for", "sub_processors", "purposes", "data_categories", "person_categories", "datasets")
_TOLD = ("purposes", "data_categories", "person_categories", "datasets", "locations", "guarantees", "why")
_INTERNAL = ("contact", "breach_contact")
_AGREEMENT = ("reference", "in_force_from", "in_force_to")


def as_json(content: Mapping[str, Any]) -> bytes:
    """The content, keys sorted, indented for people who look, in UTF-8 with a line end."""
    return (json.dumps(dict(content), ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1) + "\n").encode()


def as_csv(content: Mapping[str, Any]) -> bytes:
    """A line for each entry, under a line of names; with a byte order mark."""
    internal = content["audience"] == "internal"
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    names = ["type", "id", *_PLAIN, *_IDS, "locations", *(f"{t}_{language}" for t in _TOLD for language in ("fr", "en"))]
    writer.writerow([*names, *((*_INTERNAL, *(f"agreement_{a}" for a in _AGREEMENT), "audit_notes") if internal else ())])
    for kind, entries in (("processor", content["processors"]), ("recipient", content["recipients"])):
        for entry in entries:
            writer.writerow([guarded(text) for text in (kind, entry["id"], *_cells(content, entry), *(_inside(entry) if internal else ()))])
    return MARK + out.getvalue().encode()


def _cells(content: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    found = [str(entry.get(name) or "") for name in _PLAIN]
    found += [" ".join(entry.get(name) or ()) for name in _IDS]
    found.append(" ".join(f"{p['country']}:{p['tool']}" for p in entry["locations"]))
    return found + [" | ".join(said(content, t, entry.get(t), language)) for t in _TOLD for language in ("fr", "en")]


def _inside(entry: Mapping[str, Any]) -> list[str]:
    agreement = entry.get("agreement") or {}
    notes = " | ".join(f"{n['day']}: {n['note']}" for n in entry["audit_notes"])
    return [str(entry.get(n) or "") for n in _INTERNAL] + [str(agreement.get(a) or "") for a in _AGREEMENT] + [notes]
