"""A run of a section's rows as the texts of its files, held until they are written: a ZIP takes one file at a time. Memory is bounded by it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lethe.catalog.model import CalendarColumns
from lethe.errors import BundleDiffers
from lethe.subjects.bundle.bag import ENTRY_COST
from lethe.subjects.bundle.formats import calendar
from lethe.subjects.bundle.formats.csv import CsvRows
from lethe.subjects.bundle.formats.json import JsonRows
from lethe.subjects.bundle.formats.vcard import Cards
from lethe.subjects.bundle.names import safe_name
from lethe.subjects.found import FileRef, Row, Section

ROWS = 20_000
"""Rows of a file at most: each spreadsheet opens it, and memory stays small."""

TEXT = 16 << 20
"""Bytes of text of a run, beyond which the next one begins."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """A row in every format, and its file with its path from the bag's folder."""

    row: Row
    json: bytes
    csv: bytes
    card: bytes | None
    event: bytes | None
    file: FileRef | None
    path: str | None

    @property
    def text(self) -> int:
        """Bytes of all formats."""
        return len(self.json) + len(self.csv) + len(self.card or b"") + len(self.event or b"") + 2

    @property
    def cost(self) -> int:
        """Bytes that the row takes of a part at most, its file with it, and its line in the list of files."""
        if self.file is None:
            return self.text
        # Copied bytes are cut into blocks of at least 16 KiB, each with a head of five bytes.
        return self.text + self.file.size + self.file.size // 2048 + ENTRY_COST + 1024 + 8 * len(self.file.name)


class Encoder:
    """Puts the rows of a section into every format that the section has."""

    def __init__(self, section: Section, *, request: str, made_at: datetime, events: CalendarColumns | None) -> None:
        """`events`: the columns of an event, None when the rows are none."""
        self._section, self._request, self._made_at, self._events = section, request, made_at, events
        self._json, self._csv, cards = JsonRows(section), CsvRows(section), Cards(section)
        self._cards = cards if cards.possible else None
        self._names = {f.name for f in section.fields}
        self._rows = self._files = 0

    @property
    def header(self) -> bytes:
        """What stands first in each CSV file."""
        return self._csv.header

    def encode(self, row: Row) -> Texts:
        """The next row. BundleDiffers when it has a column that its section does not name: it would be left out, and nobody told."""
        if not row.values.keys() <= self._names:
            raise BundleDiffers(
                f"A row of {self._section.id} has a column that its section does not name.",
                fix="`lethe check` shows what the catalog lacks.",
            )
        self._rows += 1
        path = None
        if row.file is not None:
            self._files += 1
            path = f"data/files/{self._section.id}/{self._files}-{safe_name(row.file.name)}"
        return Texts(
            row=row,
            json=self._json.line(row, path),
            csv=self._csv.line(row, path),
            card=self._cards.card(row) if self._cards is not None else None,
            event=self._event(row) if self._events is not None else None,
            file=row.file,
            path=path,
        )

    def _event(self, row: Row) -> bytes | None:
        assert self._events is not None
        named = f"{self._request}/{self._section.id}/{self._rows}"
        uid = f"{hashlib.sha256(named.encode()).hexdigest()[:32]}@lethe"
        return calendar.event(row, self._events, uid=uid, made_at=self._made_at)


@dataclass(kw_only=True)
class Chunk:
    """Rows of a section that become one file of each format."""

    section: Section
    most_text: int
    rows: int = 0
    text: int = 0
    cost: int = 4 * ENTRY_COST
    json: bytearray = field(default_factory=bytearray, repr=False)
    csv: bytearray = field(default_factory=bytearray, repr=False)
    events: bytearray = field(default_factory=bytearray, repr=False)
    cards: list[bytes] = field(default_factory=list, repr=False)
    files: list[tuple[str, FileRef]] = field(default_factory=list, repr=False)

    def takes(self, texts: Texts, room: int) -> bool:
        """May it have one row more? `room`: bytes that the part still has for all of it."""
        return self.rows < ROWS and self.text + texts.text <= self.most_text and self.cost + texts.cost <= room

    def add(self, texts: Texts, header: bytes) -> None:
        """Takes a row. `header`: what stands first in the CSV."""
        self.json += b",\n" if self.rows else b"[\n"
        self.json += texts.json
        self.csv += texts.csv if self.rows else header + texts.csv
        if texts.card is not None:
            self.cards.append(texts.card)
        if texts.event is not None:
            self.events += texts.event
        if texts.file is not None and texts.path is not None:
            self.files.append((texts.path, texts.file))
        self.rows += 1
        self.text += texts.text
        self.cost += texts.cost

    def bodies(self) -> Mapping[str, bytes]:
        """The text of each file that the rows make, by its format."""
        found = {"json": bytes(self.json) + b"\n]\n", "csv": bytes(self.csv)}
        if self.events:
            found["ics"] = calendar.head() + bytes(self.events) + calendar.TAIL
        return found
