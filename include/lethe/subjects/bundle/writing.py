"""Writes a bundle: sections and rows go in as they are found, parts go out as they are made, and neither is ever whole in memory or on a disk.

    data/json/<section>.json       every row, lossless           data/schema/<section>.schema.json   what its columns are
    data/csv/<section>.csv         the same for spreadsheets     data/contact.vcf                    for an address book
    data/ics/<section>.ics         for a calendar                data/files/<section>/<n>-<name>     files, byte for byte
    data/index.html, README.txt    to begin with                 data/files.json                     their names, as they were

A section of many rows has numbered files (`<section>.0001.json` ...); they go on in the next part. A row's file is always in the row's part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from lethe.catalog.model import CalendarColumns
from lethe.subjects.bundle.bag import Stream
from lethe.subjects.bundle.chunk import TEXT, Chunk, Encoder, Texts
from lethe.subjects.bundle.model import About, Part
from lethe.subjects.bundle.part import OpenPart
from lethe.subjects.found import FileRef, Row, Section

LIMIT = 2 << 30
"""Bytes of a part: more than that many programs and disks do not take."""


def write_bundle(
    sections: Iterable[tuple[Section, Iterable[Row]]],
    *,
    about: About,
    open_file: Callable[[FileRef], Iterator[bytes]],
    sink: Callable[[int], Stream],
    calendar: Mapping[str, CalendarColumns] = {},
    limit: int = LIMIT,
) -> tuple[Part, ...]:
    """Writes every row and file into parts 1, 2, ...: `sink(n)` gives the stream of part n, which is closed when the part is whole.

    A section without rows is not told. `calendar`: by dataset, the columns of an event; it counts in a tenant's instruction only. `limit`: bytes
    of a part; only one that has a single row, with a file larger than that, is larger. Where a file lies is in the row's part.
    Raises BundleDiffers when a file has not the bytes its store told, or a row has a column its section does not name, and what `sections`,
    `open_file` and the streams raise. The stream that is open then is left open: a ZIP without a directory, for the caller to abort.
    """
    writer = _Writer(about, open_file, sink, calendar if about.instructed else {}, limit)
    try:
        for section, rows in sections:
            writer.section(section, rows)
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise


class _Writer:
    def __init__(
        self,
        about: About,
        open_file: Callable[[FileRef], Iterator[bytes]],
        sink: Callable[[int], Stream],
        calendar: Mapping[str, CalendarColumns],
        limit: int,
    ) -> None:
        self._about, self._open_file, self._sink, self._calendar, self._limit = about, open_file, sink, calendar, limit
        self._most_text = min(TEXT, limit // 8)
        self._done: list[Part] = []
        self._part: OpenPart | None = None

    def section(self, section: Section, rows: Iterable[Row]) -> None:
        events = self._calendar.get(section.dataset)
        encoder = Encoder(section, request=self._about.request, made_at=self._about.made_at, events=events)
        chunk: Chunk | None = None
        written = 0
        for row in rows:
            texts = encoder.encode(row)
            if chunk is not None and not chunk.takes(texts, self._limit - self._open().size):
                written += 1
                self._open().write(chunk, written, self._open_file)
                chunk = None
            if chunk is None:
                chunk = self._begin(section, texts)
            self._open().tell(section, texts)
            chunk.add(texts, encoder.header)
        if chunk is not None:
            self._open().write(chunk, written + 1 if written else 0, self._open_file)

    def finish(self) -> tuple[Part, ...]:
        self._end(last=True)
        return tuple(self._done)

    def abandon(self) -> None:
        if self._part is not None:
            self._part.abandon()

    def _open(self) -> OpenPart:
        if self._part is None:
            number = len(self._done) + 1
            self._part = OpenPart(number, self._sink(number), self._about)
        return self._part

    def _end(self, *, last: bool) -> None:
        part = self._open()
        self._done.append(part.finish(self._done, last=last))
        self._part = None

    def _begin(self, section: Section, first: Texts) -> Chunk:
        """A run of rows that begins with this one: in the next part, unless there is room in this one for it and a run's text."""
        if not self._open().empty and self._open().size + max(self._most_text, 8 * first.text) + first.cost > self._limit:
            self._end(last=False)
        return Chunk(section=section, most_text=self._most_text)
