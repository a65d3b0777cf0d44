"""Writes a bundle: sections as JSON, CSV, cards and calendars, each person's file, the index page, in bags that come in parts when large.

Rows pass once. What has to wait for the end of a JSON file (the same rows as CSV, their files) waits in memory for `CHUNK` rows at most, then
another JSON file of the section begins. A part ends between two chunks once it has passed `limit`; a file is never split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lethe.catalog.model import CalendarColumns
from lethe.errors import BundleDiffers
from lethe.subjects.bundle.bag import Bag
from lethe.subjects.bundle.cards import calendar, is_card, vcard
from lethe.subjects.bundle.formats import csv_header, csv_row, json_row, schema_of
from lethe.subjects.bundle.model import FIRST, About, FileTold, Part, SectionTold
from lethe.subjects.bundle.names import safe_name
from lethe.subjects.bundle.page import pages
from lethe.subjects.found import FileRef, Row, Section

CHUNK = 20_000
"""Rows of one JSON file."""

CHUNK_BYTES = 32 << 20
"""Bytes of CSV text that may wait."""

LARGEST_PART = 2 << 30

OpenFile = Callable[[FileRef], Iterator[bytes]]
Sink = Callable[[int], Any]
"""Gives a writable stream for part n, which is closed once the part is whole, and not when it is not."""


def write_bundle(
    sections: Iterable[tuple[Section, Iterable[Row]]],
    *,
    about: About,
    open_file: OpenFile,
    sink: Sink,
    calendars: Mapping[str, CalendarColumns] | None = None,
    limit: int = LARGEST_PART,
) -> tuple[Part, ...]:
    """Writes every section; the parts, at least one. Raises BundleDiffers when a file is longer or shorter than was said, and what the sections,
    `open_file` and the streams raise: then the part that is open is no ZIP, and the caller gives it up."""
    writer = _Writer(about, open_file, sink, calendars or {})
    for section, rows in sections:
        waiting = iter(rows)
        number = 0
        while chunk := _first_of(waiting):
            number += 1
            if writer.size > limit:
                writer.end()
            writer.chunk(section, chunk, waiting, number)
    writer.end(last=True)
    return tuple(writer.parts)


def _first_of(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, 1))


@dataclass(kw_only=True)
class _Open:
    bag: Bag
    stream: Any
    told: dict[str, SectionTold] = field(default_factory=dict)


class _Writer:
    def __init__(self, about: About, open_file: OpenFile, sink: Sink, calendars: Mapping[str, CalendarColumns]) -> None:
        self._about, self._open_file, self._sink, self._calendars = about, open_file, sink, calendars
        self.parts: list[Part] = []
        self._open: _Open | None = None
        self._files = 0

    @property
    def size(self) -> int:
        return self._open.bag.stream.bytes if self._open else 0

    def _part(self) -> _Open:
        if self._open is None:
            number = len(self.parts) + 1
            stream = self._sink(number)
            self._open = _Open(bag=Bag(stream, f"lethe-{self._about.request}-{number}", at=self._about.made_at), stream=stream)
        return self._open

    def chunk(self, section: Section, first: list[Row], rest: Iterator[Row], number: int) -> None:
        """Writes up to CHUNK rows of a section: their JSON while they pass, then their CSV, cards, calendar and files."""
        opened = self._part()
        told = opened.told.setdefault(section.id, SectionTold(section=section))
        suffix = "" if number == 1 else f".{number:04}"
        lines, cards, dated = _Lines(csv_header(section)), [], []
        filed: list[tuple[str, FileRef]] = []
        keeps_cards, columns = is_card(section), self._calendars.get(section.dataset) if self._about.instructed else None
        path = f"json/{section.id}{suffix}.json"
        with opened.bag.entry(path) as entry:
            entry.write(b"[")
            for n, row in enumerate(_at_most(first, rest, lines)):
                file = self._file(section, row, filed)
                entry.write(("\n" if n == 0 else ",\n").encode() + json_row(section, row, file).encode())
                lines.add(csv_row(section.fields, row))
                if keeps_cards:
                    cards.append(vcard(section, row))
                if columns is not None:
                    dated.append(row)
                _tell(told, row)
            entry.write(b"\n]\n")
        told.json.append(path)
        csv = f"csv/{section.id}{suffix}.csv"
        opened.bag.add(csv, lines.text)
        told.csv.append(csv)
        if cards:
            opened.bag.add(f"contacts/{section.id}{suffix}.vcf", "".join(cards))
        if dated and columns is not None:
            with opened.bag.entry(f"calendar/{section.id}{suffix}.ics") as entry:
                entry.write(calendar(section, dated, columns, made_at=self._about.made_at))
        for path, ref in filed:
            told.files.append(self._copy(opened.bag, path, ref))

    def _file(self, section: Section, row: Row, filed: list[tuple[str, FileRef]]) -> Mapping[str, Any] | None:
        if row.file is None:
            return None
        self._files += 1
        path = f"files/{section.id}/{self._files:06}-{safe_name(row.file.name)}"
        filed.append((path, row.file))
        return {"path": path, "name": row.file.name}

    def _copy(self, bag: Bag, path: str, ref: FileRef) -> FileTold:
        """A person's file, byte for byte, whatever it is."""
        with bag.entry(path, squeeze=False) as entry:
            for piece in self._open_file(ref):
                entry.write(piece)
        if entry.size != ref.size:
            raise BundleDiffers(
                f"A file has {entry.size} bytes, and was said to have {ref.size}.",
                fix="It changed while it was copied: run the export again.",
            )
        return FileTold(path=path, name=ref.name, size=entry.size, sha256=entry.sha256)

    def end(self, *, last: bool = False) -> None:
        """Ends the part that is open; with `last`, one at least there is."""
        if self._open is None and (not last or self.parts):
            return
        opened = self._part()
        told = list(opened.told.values())
        number = len(self.parts) + 1
        for each in told:
            each.schema = f"schema/{each.section.id}.schema.json"
            opened.bag.add(each.schema, schema_of(each.section))
        files = [{"path": f.path, "name": f.name, "size": f.size, "sha256": f.sha256} for each in told for f in each.files]
        if files:
            opened.bag.add("files.json", json.dumps(files, ensure_ascii=False, indent=1) + "\n")
        for path, text in pages(self._about, told).items():
            opened.bag.add(path, text)
        opened.bag.add("about.json", _about_text(self._about, told, number, last))
        count = str(number) if last else "?"
        opened.bag.finish(
            {
                "Source-Organization": self._about.policy.company,
                "External-Identifier": self._about.request,
                "External-Description": "Data of one person, on request",
                "Bag-Group-Identifier": self._about.request,
                "Bag-Count": f"{number} of {count}",
            }
        )
        opened.stream.close()
        self.parts.append(
            Part(
                number=number,
                bytes=opened.bag.stream.bytes,
                sha256=opened.bag.stream.sha256,
                rows={each.section.id: each.rows for each in told},
                files=len(files),
                masked=sum(sum(each.masked.values()) for each in told),
            )
        )
        self._open = None


class _Lines:
    """The CSV of a chunk while it waits."""

    def __init__(self, header: str) -> None:
        self._lines, self.size = [header], 0

    def add(self, line: str) -> None:
        self._lines.append(line)
        self.size += len(line)

    @property
    def text(self) -> str:
        return "".join(self._lines)


def _at_most(first: list[Row], rest: Iterator[Row], lines: _Lines) -> Iterator[Row]:
    """The rows of a chunk: the first, and more until there are CHUNK or their CSV text is long."""
    yield from first
    count = len(first)
    while count < CHUNK and lines.size < CHUNK_BYTES:
        row = next(rest, None)
        if row is None:
            return
        count += 1
        yield row


def _tell(told: SectionTold, row: Row) -> None:
    told.rows += 1
    told.shared += row.shared
    if len(told.first) < FIRST:
        told.first.append(row)
    for column in row.redacted:
        told.masked[column] = told.masked.get(column, 0) + 1
    year = _year(told.section, row)
    told.years[year] = told.years.get(year, 0) + 1


def _year(section: Section, row: Row) -> int | None:
    """Of the first instant or day that the row has."""
    for each in section.fields:
        value = row.values.get(each.name)
        if isinstance(value, str) and each.type.startswith(("timestamp", "date")) and value[:4].isdigit():
            return int(value[:4])
    return None


def _about_text(about: About, told: list[SectionTold], number: int, last: bool) -> str:
    """What this part is, for a program."""
    found = {
        "request": about.request,
        "kind": about.kind.value,
        "controller": about.policy.company,
        "policy": {"version": about.policy.version, "text_sha256": about.policy.text_sha256},
        "made_at": about.made_at.isoformat(),
        "part": number,
        "last": last,
        "sections": [
            {
                "id": each.section.id,
                "origin": each.section.origin.value,
                "purposes": list(each.section.purposes),
                "law": each.section.law,
                "until": each.section.until.isoformat() if each.section.until else None,
                "rows": each.rows,
                "masked": each.masked,
                "article_20": [f.name for f in each.section.fields if f.provided],
                "json": each.json,
                "csv": each.csv,
                "schema": each.schema,
            }
            for each in told
        ],
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"
