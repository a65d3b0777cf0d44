"""What is in a bundle, that it is a bag, that it is split, and what stays when it is broken off."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import unquote

import pytest

from helpers.bundling import MADE_AT, REQUEST, Sink, about, bundle, file, one, paths, read, row, section, valid
from lethe.catalog.model import CalendarColumns
from lethe.control.requests import RequestKind
from lethe.errors import BundleDiffers
from lethe.subjects.bundle import write_bundle
from lethe.subjects.bundle.chunk import ROWS
from lethe.subjects.bundle.writing import LIMIT
from lethe.subjects.found import FileRef, Origin, Row

NOTES = section(text="text", written_at="timestamp with time zone")


def notes(count: int, size: int = 20) -> Iterator[Row]:
    random = Random(1)
    for n in range(count):
        yield row(id=n, text=random.randbytes(size // 2).hex(), written_at=f"{2020 + n % 3}-01-02T03:04:05+00:00")


def test_a_part_is_a_bag_that_the_library_of_congress_takes(tmp_path: Path) -> None:
    rows = [row(text="été", file=file("photo.jpg", b"abc")), row(id=2, text=None)]
    (part,), (body,) = bundle((NOTES, rows), bodies={"photo.jpg": b"abc"})
    bag = valid(body, tmp_path)
    assert bag.info["Bag-Group-Identifier"] == REQUEST and bag.info["Bag-Count"] == "1 of 1"
    assert bag.info["Source-Organization"] == about().policy.company
    assert set(bag.payload_files()) >= {"data/json/notes.json", "data/csv/notes.csv", "data/schema/notes.schema.json", "data/index.html"}
    assert set(bag.payload_files()) >= {"data/files/notes/1-photo.jpg", "data/files.json", "data/README.txt"}
    assert part.bytes == len(body) and part.sha256 == hashlib.sha256(body).hexdigest()
    assert (part.number, dict(part.rows), part.files, part.masked) == (1, {"notes": 2}, 1, 0)


def test_the_same_input_gives_the_same_bytes_dated_by_the_request() -> None:
    made = [bundle((NOTES, notes(50)))[1] for _ in range(2)]
    assert made[0] == made[1]
    dates = {i.date_time for i in zipfile.ZipFile(io.BytesIO(made[0][0])).infolist()}
    assert dates == {(2026, 6, 1, 12, 30, 14)} and MADE_AT.second == 15, "a ZIP counts every other second"


def test_the_json_is_a_list_with_a_line_a_row_and_says_what_a_row_is() -> None:
    rows = [
        row(text="a\nb", shared=True, redacted=("written_at",), written_at=None, file=file("../../my cv.pdf")),
        row(id=2, text="plain", written_at="2026-01-01T00:00:00+00:00"),
    ]
    archive = one((NOTES, rows))
    body = read(archive, "data/json/notes.json")
    assert len(body.splitlines()) == 4
    first, second = json.loads(body)
    at = "data/files/notes/1-my_cv.pdf"
    assert first.pop("_file") == {"path": at, "name": "../../my cv.pdf"}
    assert first == {"id": 1, "text": "a\nb", "written_at": None, "_shared": True, "_redacted": ["written_at"]}
    assert list(second) == ["id", "text", "written_at"]
    assert read(archive, at) == b"x"
    (listed,) = json.loads(read(archive, "data/files.json"))
    assert (listed["path"], listed["name"], listed["bytes"]) == (at, "../../my cv.pdf", 1)
    assert listed["sha256"] == hashlib.sha256(b"x").hexdigest() and listed["section"] == "notes"


def test_a_section_of_many_rows_has_numbered_files_and_one_of_few_has_not() -> None:
    archive = one((NOTES, notes(ROWS + 1)), (section("few"), [row()]), (section("none"), []))
    assert [len(json.loads(read(archive, f"data/json/notes.{n:04}.json"))) for n in (1, 2)] == [ROWS, 1]
    there = paths(archive)
    assert {"data/csv/notes.0001.csv", "data/csv/notes.0002.csv", "data/json/few.json"} <= there
    assert not there & {"data/json/notes.json", "data/json/notes.0003.json", "data/json/few.0001.json", "data/json/none.json"}


def test_exactly_a_file_of_rows_is_one_file_without_a_number() -> None:
    archive = one((NOTES, notes(ROWS)))
    assert "data/json/notes.json" in paths(archive) and "data/json/notes.0001.json" not in paths(archive)


def test_an_empty_bundle_is_a_bag_with_its_page(tmp_path: Path) -> None:
    (part,), (body,) = bundle()
    assert "data/index.html" in valid(body, tmp_path).payload_files() and dict(part.rows) == {}


def test_archived_rows_have_files_of_their_own_beside_the_living() -> None:
    archive = one((NOTES, [row()]), (section(origin=Origin.ARCHIVE), [row(id=2)]))
    assert {"data/json/notes.json", "data/json/notes.archive.json"} <= paths(archive)
    assert json.loads(read(archive, "data/json/notes.archive.json")) == [{"id": 2}]


def test_a_bundle_over_the_limit_is_parts_each_of_which_is_a_bag(tmp_path: Path) -> None:
    limit = 1 << 20
    bodies = {f"f{n}": Random(n).randbytes(90_000) for n in range(40)}
    filed = [row(id=n, file=file(f"f{n}", b)) for n, b in enumerate(bodies.values())]
    parts, made = bundle((NOTES, notes(20_000, 100)), (section("filed"), filed), bodies=bodies, limit=limit)
    assert len(parts) > 4 and all(len(b) <= limit for b in made)
    assert sum(len(b) for b in made) > (len(parts) - 1) * limit * 0.7, "and none of them is nearly empty"
    seen: dict[str, list[int]] = {"notes": [], "filed": []}
    names: list[str] = []
    for part, body in zip(parts, made, strict=True):
        bag = valid(body, tmp_path / str(part.number))
        last = part.number == len(parts)
        assert bag.info["Bag-Count"] == f"{part.number} of {len(parts) if last else '?'}"
        archive = zipfile.ZipFile(io.BytesIO(body))
        for path in sorted(p for p in paths(archive) if p.startswith("data/json/")):
            names.append(path)
            for each in json.loads(read(archive, path)):
                seen[path.split("/")[2].split(".")[0]].append(each["id"])
                if "_file" in each:
                    assert read(archive, each["_file"]["path"]) == bodies[f"f{each['id']}"], "a row's file is in the row's part"
        assert ("data/parts.json" in paths(archive)) is last
        if last:
            listed = json.loads(read(archive, "data/parts.json"))
            assert [p["sha256"] for p in listed[:-1]] == [p.sha256 for p in parts[:-1]] and listed[-1]["rows"] == dict(part.rows)
    assert {s: sorted(ids) for s, ids in seen.items()} == {"notes": list(range(20_000)), "filed": list(range(40))}
    assert len(set(names)) == len(names), "numbers go on in the next part"


def test_a_file_larger_than_the_limit_has_a_part_of_its_own(tmp_path: Path) -> None:
    large = Random(7).randbytes(3 << 20)
    rows = [row(id=1), row(id=2, file=file("large", large)), row(id=3)]
    parts, made = bundle((NOTES, rows), bodies={"large": large}, limit=1 << 20)
    assert [dict(p.rows) for p in parts] == [{"notes": 1}, {"notes": 1}, {"notes": 1}] and [p.files for p in parts] == [0, 1, 0]
    for n, body in enumerate(made):
        valid(body, tmp_path / str(n))
    assert hashlib.sha256(read(zipfile.ZipFile(io.BytesIO(made[1])), "data/files/notes/1-large")).digest() == hashlib.sha256(large).digest()


def test_a_zip_bomb_is_copied_as_it_is() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", bytes(50 << 20))
    body = packed.getvalue()
    (_,), (made,) = bundle((NOTES, [row(file=file("bomb.zip", body))]), bodies={"bomb.zip": body})
    assert read(zipfile.ZipFile(io.BytesIO(made)), "data/files/notes/1-bomb.zip") == body and len(made) < 200_000


@pytest.mark.parametrize(("body", "said"), [(b"abcd", "more"), (b"ab", "fewer"), (b"", "fewer")])
def test_a_file_with_other_bytes_than_its_store_told_ends_it(body: bytes, said: str) -> None:
    with pytest.raises(BundleDiffers, match=f"has {said} bytes than the 3"):
        bundle((NOTES, [row(file=file("canary.pdf", b"abc"))]), bodies={"canary.pdf": body})


def test_no_error_names_a_file_or_a_value() -> None:
    for sections in ((NOTES, [row(file=file("canary.pdf", b"abc"))]), (NOTES, [row(canary="canary")])):
        with pytest.raises(BundleDiffers) as raised:
            bundle(sections)
        assert "canary" not in str(raised.value)


def test_a_column_that_its_section_does_not_name_is_not_left_out_in_silence() -> None:
    with pytest.raises(BundleDiffers, match="does not name"):
        bundle((NOTES, [row(text="a", more="b")]))


def test_what_is_broken_off_is_no_zip_and_its_stream_stays_open() -> None:
    def rows() -> Iterator[Row]:
        yield from notes(ROWS + 5)
        raise KeyboardInterrupt

    sink = Sink()
    with pytest.raises(KeyboardInterrupt):
        write_bundle([(NOTES, rows())], about=about(), open_file=lambda ref: iter(()), sink=sink)
    (stream,) = sink.streams
    assert not stream.done and len(stream.getvalue()) > 1000
    assert not zipfile.is_zipfile(io.BytesIO(stream.getvalue()))


def test_a_file_that_breaks_off_leaves_no_zip_either() -> None:
    def broken(ref: FileRef) -> Iterator[bytes]:
        yield b"ab"
        raise ConnectionError

    sink = Sink()
    with pytest.raises(ConnectionError):
        write_bundle([(NOTES, [row(file=file("a", b"abc"))])], about=about(), open_file=broken, sink=sink)
    assert not sink.streams[0].done and not zipfile.is_zipfile(io.BytesIO(sink.streams[0].getvalue()))


def test_a_large_entry_is_zip64(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10_000)
    body = Random(3).randbytes(20_000)
    _, (made,) = bundle((NOTES, [row(file=file("large", body))]), bodies={"large": body})
    monkeypatch.undo()
    archive = zipfile.ZipFile(io.BytesIO(made))
    large = next(i for i in archive.infolist() if i.filename.endswith("1-large"))
    assert large.extract_version == 45 and valid(made, tmp_path).is_valid()


CONTACTS = section("contacts", name=("text", "user.name"), email=("text", "user.contact.email"))
EVENTS = section("events", title="text", starts="timestamp with time zone", ends="timestamp with time zone")


@pytest.mark.parametrize("kind", [RequestKind.ACCESS, RequestKind.TENANT_INSTRUCTION])
@pytest.mark.parametrize("limit", [LIMIT, 1 << 20])
def test_each_page_links_what_lies_in_its_part_and_nothing_else(kind: RequestKind, limit: int) -> None:
    named = [row(id=n, name=f"Zoé {n}", email=f"z{n}@example.org") for n in range(1500)]
    events = [row(id=n, title="a", starts="2026-01-02T10:00:00+00:00") for n in range(1500)]
    filed = [row(id=n, file=file(f"f{n}", Random(n).randbytes(300_000))) for n in range(3)]
    bodies = {f"f{n}": Random(n).randbytes(300_000) for n in range(3)}
    calendar = {"events": CalendarColumns(starts="starts", ends="ends", title="title", place=None, notes=None)}
    parts, made = bundle(
        (CONTACTS, named), (EVENTS, events), (section("filed"), filed), bodies=bodies, told=about(kind), calendar=calendar, limit=limit
    )
    assert (len(parts) > 1) is (limit < LIMIT)
    cards = calendars = 0
    for body in made:
        archive = zipfile.ZipFile(io.BytesIO(body))
        there = {p.removeprefix("data/") for p in paths(archive) if p.startswith("data/")}
        for page in ("index.html", "index.en.html"):
            found = {unquote(h.removeprefix("./")) for h in re.findall(r'href="(\./[^"]*)"', read(archive, f"data/{page}").decode())}
            lies = there - {page} - ({"files.json"} if not any(p.startswith("files/") for p in there) else set())
            assert found == lies, (page, found ^ lies)
        cards += sum(p.endswith(".vcf") for p in there)
        calendars += sum(p.endswith(".ics") for p in there)
    assert cards and bool(calendars) is (kind is RequestKind.TENANT_INSTRUCTION)
