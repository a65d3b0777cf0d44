"""A part of a bundle while it is written: its bag, and what is told of it in its list of files, its schemas and its page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any

from lethe.errors import BundleDiffers
from lethe.subjects.bundle.bag import ENTRY_COST, BagWriter, Stream
from lethe.subjects.bundle.chunk import Chunk, Texts
from lethe.subjects.bundle.formats.json import document
from lethe.subjects.bundle.formats.schema import schema
from lethe.subjects.bundle.model import FIRST, About, Beside, FileTold, Part, SectionTold
from lethe.subjects.bundle.page import pages
from lethe.subjects.found import FileRef, Row, Section

_ENDING = 96 << 10  # what a part's page, its README and its manifests take at most, beside what grows with it
_CARDS = 4 << 20  # bytes of cards that wait for their file
_TIMES = ("timestamp", "date")


class OpenPart:
    """One part. Its memory grows with its files and entries, not with its rows."""

    def __init__(self, number: int, stream: Stream, about: About) -> None:
        """Begins the ZIP."""
        self.number, self._stream, self._about = number, stream, about
        self._bag = BagWriter(stream, folder=f"lethe-{about.request}-{number}", made_at=about.made_at)
        self._told: dict[str, SectionTold] = {}
        self._listed: list[dict[str, Any]] = []
        self._cards: list[bytes] = []
        self._cards_paths: list[str] = []
        self._seen: set[bytes] = set()
        self._cards_bytes = 0
        self._later = _ENDING

    @property
    def empty(self) -> bool:
        """Is no row in it?"""
        return not self._told

    @property
    def size(self) -> int:
        """What it will have when it is ended now, at most: what went out, and what waits for the end."""
        return self._bag.size + self._later + self._cards_bytes + self._bag.entries * ENTRY_COST

    def tell(self, section: Section, texts: Texts) -> None:
        """Takes note of a row that this part will have."""
        told = self._told.get(section.id)
        if told is None:
            told = self._told[section.id] = SectionTold(section=section)
            self._later += 512 * (len(section.fields) + 4) + ENTRY_COST
        row = texts.row
        told.rows += 1
        told.shared += row.shared
        if len(told.first) < FIRST:
            told.first.append(row)
            self._later += 4 * len(texts.json)
        year = _year(section, row)
        told.years[year] = told.years.get(year, 0) + 1
        for column in row.redacted:
            told.masked[column] = told.masked.get(column, 0) + 1

    def write(self, chunk: Chunk, number: int, open_file: Callable[[FileRef], Iterator[bytes]]) -> None:
        """Writes the files of a run of rows, then the rows' own files. `number`: of this run; 0 when the section has no other."""
        told = self._told[chunk.section.id]
        for kind, body in chunk.bodies().items():
            path = f"{kind}/{chunk.section.id}{f'.{number:04}' if number else ''}.{kind}"
            self._bag.add(f"data/{path}", body)
            {"json": told.json, "csv": told.csv, "ics": told.ics}[kind].append(path)
        for card in chunk.cards:
            self._card(card)
        for path, ref in chunk.files:
            self._file(told, path, ref, open_file(ref))

    def finish(self, earlier: Sequence[Part], *, last: bool) -> Part:
        """Writes what tells of the part, ends the ZIP and closes the stream. `earlier`: the parts before; the last one lists them."""
        for told in self._told.values():
            told.schema = f"schema/{told.section.id}.schema.json"
            self._bag.add(f"data/{told.schema}", document(schema(told.section, told.masked)))
        self._flush_cards(last=True)
        self._bag.add("data/files.json", document(self._listed))
        beside = Beside(cards=tuple(self._cards_paths), parts=last and bool(earlier))
        for name, page in pages(self._about, list(self._told.values()), beside).items():
            self._bag.add(f"data/{name}", page.encode())
        self._bag.add("data/README.txt", files("lethe.subjects.bundle").joinpath("README.txt").read_bytes())
        rows = {section: told.rows for section, told in self._told.items()}
        masked = sum(n for told in self._told.values() for n in told.masked.values())
        if last and earlier:
            listed = [{"number": p.number, "bytes": p.bytes, "sha256": p.sha256, "rows": dict(p.rows)} for p in earlier]
            self._bag.add("data/parts.json", document([*listed, {"number": self.number, "rows": rows}]))
        sealed = self._bag.finish(self._info(last=last))
        self._stream.close()
        return Part(number=self.number, bytes=sealed.bytes, sha256=sealed.sha256, rows=rows, files=len(self._listed), masked=masked)

    def abandon(self) -> None:
        """Leaves it unfinished, and its stream open."""
        self._bag.abandon()

    def _card(self, card: bytes) -> None:
        """Takes a card, once: many rows may name the same person."""
        digest = hashlib.sha256(card).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        self._cards.append(card)
        self._cards_bytes += len(card)
        if self._cards_bytes > _CARDS:
            self._flush_cards(last=False)

    def _flush_cards(self, *, last: bool) -> None:
        if not self._cards:
            return
        number = f".{len(self._cards_paths) + 1:04}" if self._cards_paths or not last else ""
        self._cards_paths.append(f"contact{number}.vcf")
        self._bag.add(f"data/{self._cards_paths[-1]}", b"".join(self._cards))
        self._cards.clear()
        self._seen.clear()
        self._cards_bytes = 0

    def _file(self, told: SectionTold, path: str, ref: FileRef, body: Iterator[bytes]) -> None:
        """Copies a file as it is. BundleDiffers when it has not the bytes that the store said it has."""
        with self._bag.entry(path, size=ref.size, deflate=False) as entry:
            for piece in body:
                entry.write(piece)
                if entry.bytes > ref.size:
                    break
            if entry.bytes != ref.size:
                raise BundleDiffers(
                    f"A file of {told.section.id} has {'more' if entry.bytes > ref.size else 'fewer'} bytes than the {ref.size} its store told.",
                    fix="It was changed or cut while it was read: run again.",
                )
        told.files.append(FileTold(path=path.removeprefix("data/"), name=ref.name, size=entry.bytes, sha256=entry.sha256))
        listed = {"path": path, "name": ref.name, "bytes": entry.bytes, "sha256": entry.sha256, "media_type": ref.media_type}
        self._listed.append({**listed, "section": told.section.id})
        self._later += len(document(listed)) + 64

    def _info(self, *, last: bool) -> list[tuple[str, str]]:
        about = self._about
        return [
            ("Source-Organization", about.policy.company),
            ("External-Description", "Personal data held about one person, with what is told about it (GDPR, Article 15)."),
            ("External-Identifier", about.request),
            ("Bagging-Date", about.made_at.date().isoformat()),
            ("Bag-Group-Identifier", about.request),
            # How many there will be is not known before the last (RFC 8493, 2.2.2).
            ("Bag-Count", f"{self.number} of {self.number if last else '?'}"),
        ]


def _year(section: Section, row: Row) -> int | None:
    """The year of the first instant or day that the row has."""
    for field in section.fields:
        value = row.values.get(field.name) if field.type.startswith(_TIMES) else None
        year = value.split("-")[0] if isinstance(value, str) and not value.endswith("BC") else ""
        if year.isascii() and year.isdigit():
            return int(year)
    return None
