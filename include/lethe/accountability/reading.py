"""An independent reading: the register as plain YAML, and the files of a list as anybody's programs read them. Pure.

Nothing here is shared with the code that made the files: other parsers, and a comparison of days of its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import date
from html.parser import HTMLParser
from typing import Any

import yaml


def register_on(text: bytes, day: date) -> list[dict[str, Any]]:
    """Each version that is in force on a day: type, id, name, how many datasets it receives, and whether its agreement covers the day (None for a
    recipient)."""
    found = []
    register = yaml.safe_load(text)
    for kind in ("processor", "recipient"):
        for entry in register.get(f"{kind}s") or ():
            for version in entry["versions"]:
                if not _within(day, version["active_from"], version.get("active_to")):
                    continue
                agreement = version.get("agreement")
                covered = agreement is not None and _within(day, agreement["in_force_from"], agreement.get("in_force_to"))
                found.append(
                    {
                        "type": kind,
                        "id": entry["id"],
                        "name": version["legal_name"].strip(),
                        "covered": covered if kind == "processor" else None,
                        "datasets": len(version["datasets"]),
                    }
                )
    return found


def in_json(content: bytes) -> list[str]:
    """The ids in the JSON file."""
    found = json.loads(content)
    return [entry["id"] for kind in ("processors", "recipients") for entry in found[kind]]


def in_csv(content: bytes) -> list[str]:
    """The ids in the CSV file; a cell that a spreadsheet would have run has one `'` too many."""
    return [row["id"].removeprefix("'") for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))]


def in_html(content: bytes) -> list[str]:
    """The ids in the page."""
    reader = _Entries()
    reader.feed(content.decode())
    return reader.ids


def in_pdf(content: bytes) -> list[str]:
    """The names in the outline of the pages: everything one level below a chapter."""
    import pypdfium2

    document = pypdfium2.PdfDocument(content)
    try:
        return [bookmark.get_title() for bookmark in document.get_toc() if bookmark.level == 1]
    finally:
        document.close()


def read_back(files: Mapping[str, bytes]) -> dict[str, list[str]]:
    """What each file of a list has: ids, or names where it is a PDF."""
    readers = {"json": in_json, "csv": in_csv, "html": in_html, "pdf": in_pdf}
    return {name: readers[name.rpartition(".")[2]](content) for name, content in files.items()}


def _within(day: date, first: date, last: date | None) -> bool:
    return not (day < first or (last is not None and day > last))


class _Entries(HTMLParser):
    """Collects what the attribute `data-entry` names."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag, with its attributes."""
        self.ids += [value for name, value in attrs if name == "data-entry" and value]
