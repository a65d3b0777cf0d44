"""A bundle as a file: a valid bag, lossless, harmless in a spreadsheet, and whatever is done to it is seen."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import bagit
import icalendar
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.catalog.disclosure import load_disclosure
from lethe.catalog.model import CalendarColumns
from lethe.control.requests import Language, RequestKind
from lethe.errors import BundleDiffers
from lethe.policy.load import load_policies
from lethe.policy.model import Role
from lethe.settings import SHIPPED
from lethe.subjects.bundle import About, Part, write_bundle
from lethe.subjects.bundle.cards import calendar, vcard
from lethe.subjects.bundle.formats import csv_row, guarded, json_text, unguarded
from lethe.subjects.bundle.names import LONGEST, safe_name
from lethe.subjects.bundle.verify import contents, problems
from lethe.subjects.found import Field, FileRef, Origin, Row, Section

AT = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
USERS = Section(
    store="s", dataset="users", origin=Origin.LIVE, role=Role.CONTROLLER, category="accounts", purposes=("provide-service",),
    fields=(
        Field(name="id", category="user.unique_id", type="bigint"), Field(name="email", category="user.contact.email", type="text", provided=True),
        Field(name="first", category="user.name.first", type="text"), Field(name="last", category="user.name.last", type="text"),
        Field(name="score", category="user.behavior", type="numeric(30,20)"), Field(name="detail", category="user.behavior", type="jsonb"),
        Field(name="seen", category="user.behavior", type="timestamp with time zone"), Field(name="hash", category="user.authorization.password", type="text"),
    ),
)  # fmt: skip


def row(**values: Any) -> Row:
    given: dict[str, Any] = {
        "id": 1,
        "email": "jeanne@example.org",
        "first": "Jeanne",
        "last": "Dupont",
        "score": Decimal("0.10"),
        "detail": None,
        "seen": None,
    }
    return Row(values=given | {"hash": None} | values, redacted=("hash",))


def about(kind: RequestKind = RequestKind.ACCESS) -> About:
    policy = load_policies(SHIPPED).in_force(AT)
    return About(
        request="R-2026-7K3M9QWX", kind=kind, language=Language.FR, received_at=AT, made_at=AT, policy=policy, disclosure=load_disclosure(SHIPPED),
        purposes={"provide-service": "Provide the service."},
    )  # fmt: skip


def written(
    *sections: tuple[Section, Iterable[Row]], kind: RequestKind = RequestKind.ACCESS, **more: Any
) -> tuple[list[bytes], tuple[Part, ...]]:
    streams: list[io.BytesIO] = []

    class Kept(io.BytesIO):
        def close(self) -> None:
            self.whole = self.getvalue()

    def sink(number: int) -> io.BytesIO:
        streams.append(Kept())
        assert number == len(streams)
        return streams[-1]

    parts = write_bundle(sections, about=about(kind), sink=sink, **{"open_file": no_file, **more})
    return [s.getvalue() for s in streams], parts


def no_file(ref: FileRef) -> Iterator[bytes]:
    raise AssertionError("no file was asked for")


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        opened.extractall(folder)
    (root,) = folder.iterdir()
    return root


def rows_in(data: bytes, section: str = "users") -> list[dict[str, Any]]:
    return [r for s, r in contents(io.BytesIO(data)) if s == section]


def test_the_library_of_congress_takes_it_for_a_valid_bag(tmp_path: Path) -> None:
    (data,), (part,) = written((USERS, [row(id=1), row(id=2)]))
    bag = bagit.Bag(str(unpacked(data, tmp_path)))
    assert bag.validate() and bag.info["Bag-Count"] == "1 of 1" and bag.info["Bag-Group-Identifier"] == "R-2026-7K3M9QWX"
    assert part.rows == {"users": 2} and part.masked == 2 and part.bytes == len(data)
    assert problems(io.BytesIO(data)) == ()


def test_json_is_lossless_and_valid_by_its_own_schema(tmp_path: Path) -> None:
    values = {
        "score": Decimal("12345678901234567890.01234567890123456789"),
        "detail": {"n": [1, Decimal("1E-30"), None, True], "t": "é\u2028\n\x01"},
        "last": 'O"\\Neil',
    }
    (data,), _ = written((USERS, [row(**values), row(id=2**62, seen="2026-11-22T23:30:00.5+00:00")]))
    first, second = rows_in(data)
    assert {k: first[k] for k in values} == values and second["id"] == 2**62
    assert first["_redacted"] == ["hash"] and "_shared" not in first
    root = unpacked(data, tmp_path)
    whole = json.loads((root / "data/json/users.json").read_text())
    schema = json.loads((root / "data/schema/users.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(whole, schema)
    assert [n for n, p in schema["items"]["properties"].items() if p.get("x-article-20")] == ["email"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{**whole[0], "id": "one"}], schema)


@pytest.mark.parametrize("number", ["0.10", "-0", "1E+400", "1E-400", "123456789012345678901234567890.5"])
def test_a_number_keeps_every_digit(number: str) -> None:
    assert json_text(Decimal(number)) == number
    assert json.loads(json_text(Decimal(number)), parse_float=Decimal, parse_int=Decimal) == Decimal(number)


FORMULAS = ["=1+1", "+33 6", "-2", "@SUM(A1)", "\t=1", "\r=1", "'quoted", "''twice", '=HYPERLINK("http://x")']


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula_and_none_is_lost(text: str) -> None:
    (cell,) = next(csv.reader(io.StringIO(csv_row(USERS.fields[1:2], row(email=text)), newline="")))
    assert cell[0] == "'" and unguarded(cell) == text


def test_a_negative_number_stays_a_number_and_null_is_no_empty_text() -> None:
    assert csv_row(USERS.fields[4:5], row(score=Decimal("-2.50"))) == "-2.50\r\n"
    assert csv_row(USERS.fields[1:3], row(email=None, first="")) == ',""\r\n'


@given(st.lists(st.text(), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    fields = [Field(name=f"c{n}", category="user", type="text") for n in range(len(texts))]
    line = csv_row(fields, Row(values={f"c{n}": t for n, t in enumerate(texts)}))
    cells = next(csv.reader(io.StringIO(line, newline=""), strict=True))
    assert [unguarded(c) if guarded(t) != t else c for c, t in zip(cells, texts, strict=True)] == texts
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r"))]


def parsed(card: str) -> dict[str, str]:
    assert all(len(line.encode()) <= 75 for line in card.split("\r\n")) and card.endswith("END:VCARD\r\n")
    lines = card.replace("\r\n ", "").strip().split("\r\n")
    return {line.partition(":")[0].partition(";")[0]: line.partition(":")[2] for line in lines}


def test_a_card_is_read_back_whatever_a_name_holds() -> None:
    odd = row(first="Zoë;, \\n", last="d\u2019Été " * 20, email="zoe@example.org")
    card = parsed(vcard(USERS, odd))
    assert card["VERSION"] == "4.0" and card["EMAIL"] == "zoe@example.org"
    last, first, *_ = [p.replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\") for p in _split(card["N"])]
    assert (first, last) == ("Zoë;, \\n", "d\u2019Été " * 20)
    assert (
        "\x00" not in vcard(USERS, row(first="a\x00b\r\nEMAIL:x@y.z"))
        and parsed(vcard(USERS, row(first="a\r\nEMAIL:x@y.z")))["EMAIL"] == "jeanne@example.org"
    )


def _split(text: str) -> list[str]:
    import re

    return re.split(r"(?<!\\)(?:\\\\)*;", text)


def test_appointments_are_a_calendar_for_the_tenant_that_instructs_only() -> None:
    columns = CalendarColumns(starts="seen", title="first", notes="last")
    visit = row(seen="2026-11-22T23:30:00+00:00", first="Coupe, séchage", last="a\nb")
    event: Any
    (event,) = icalendar.Calendar.from_ical(calendar(USERS, [visit, row(seen=None), row(seen="infinity")], columns, made_at=AT)).walk(
        "VEVENT"
    )
    assert (
        event["summary"] == "Coupe, séchage"
        and event["dtstart"].dt == datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
        and event["description"] == "a\nb"
    )
    for kind, there in ((RequestKind.ACCESS, False), (RequestKind.TENANT_INSTRUCTION, True)):
        (data,), _ = written((USERS, [visit]), kind=kind, calendars={"users": columns})
        assert any(n.endswith(".ics") for n in zipfile.ZipFile(io.BytesIO(data)).namelist()) is there


NAMES = {
    "../../x": "x", "/etc/passwd": "passwd", "C:\\Users\\a.txt": "a.txt", "..": "file", "": "file", ".bashrc": "bashrc", "CON.txt": "_CON.txt", "nul": "_nul",
    "a\x00b\n.pdf": "a_b.pdf", "facture n\u00b0 1.pdf": "facture_n__1.pdf", "\u202egnp.exe": "gnp.exe",
    "\u00e9te\u0301.jpg": "\u00e9t\u00e9.jpg", "=cmd|'x'.csv": "cmd__x.csv",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_a_safe_one(name: str) -> None:
    assert safe_name(name) == NAMES[name]


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_name_leads_anywhere(name: str) -> None:
    safe = safe_name(name)
    assert (
        safe
        and len(safe.encode()) <= LONGEST
        and "/" not in safe
        and "\\" not in safe
        and not safe.startswith(".")
        and ".." not in (safe, safe[:2])
    )


def filed(name: str, body: bytes, size: int | None = None) -> tuple[Row, Callable[[FileRef], Iterator[bytes]]]:
    ref = FileRef(connection="c", bucket="b", key="k", name=name, size=len(body) if size is None else size)
    return Row(values=row().values, file=ref), lambda _: iter([body[:5], body[5:]])


@pytest.mark.parametrize("name", ["../../x", "photo.jpg", "=cmd.csv"])
def test_a_file_comes_byte_for_byte_under_a_safe_name_with_its_own_beside_it(name: str, tmp_path: Path) -> None:
    body = os.urandom(1000)
    one, opened = filed(name, body)
    (data,), (part,) = written((USERS, [one]), open_file=opened)
    (told,) = json.loads((unpacked(data, tmp_path) / "data/files.json").read_text())
    assert told["name"] == name and part.files == 1 and ".." not in told["path"]
    assert (next(tmp_path.iterdir()) / "data" / told["path"]).read_bytes() == body
    assert rows_in(data)[0]["_file"] == {"path": told["path"], "name": name}


def test_a_zip_bomb_is_copied_as_it_is() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(50_000_000))
    one, opened = filed("bomb.zip", bomb.getvalue())
    (data,), _ = written((USERS, [one]), open_file=opened)
    assert len(data) < 200_000 and problems(io.BytesIO(data)) == ()


@pytest.mark.parametrize("size", [999, 1001])
def test_a_file_that_changed_while_it_was_copied_stops_it(size: int) -> None:
    one, opened = filed("a", bytes(1000), size)
    with pytest.raises(BundleDiffers):
        written((USERS, [one]), open_file=opened)


def test_a_large_bundle_comes_in_parts_and_each_is_a_valid_bag(tmp_path: Path) -> None:
    many = (row(id=n, detail={"x": os.urandom(200).hex()}) for n in range(50_000))
    found, parts = written((USERS, many), limit=1_000_000)
    assert len(found) == len(parts) > 1 and sum(p.rows["users"] for p in parts) == 50_000
    assert [r["id"] for data in found for r in rows_in(data)] == list(range(50_000))
    for number, data in enumerate(found, start=1):
        bag = bagit.Bag(str(unpacked(data, tmp_path / str(number))))
        assert bag.validate() and bag.info["Bag-Count"] == (f"{number} of {number}" if number == len(found) else f"{number} of ?")
        assert problems(io.BytesIO(data)) == ()


def test_a_person_without_data_gets_a_bundle_that_says_so() -> None:
    (data,), (part,) = written()
    assert problems(io.BytesIO(data)) == () and part.rows == {}


def test_the_same_input_gives_the_same_bytes() -> None:
    assert written((USERS, [row()]))[0] == written((USERS, [row()]))[0]


def test_a_failure_leaves_no_zip_behind() -> None:
    def broken() -> Iterator[Row]:
        yield row()
        raise RuntimeError("the database went away")

    stream = io.BytesIO()
    with pytest.raises(RuntimeError):
        write_bundle([(USERS, broken())], about=about(), open_file=no_file, sink=lambda n: stream)
    assert not stream.closed and problems(stream)


# What is done to a bundle


def rezipped(data: bytes, change: Callable[[str, bytes], Iterable[tuple[str, bytes]]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for info in old.infolist():
            for name, body in change(info.filename, old.read(info)):
                new.writestr(name, body)
    return made.getvalue()


ROOT = "lethe-R-2026-7K3M9QWX-1"
CHANGES: dict[str, tuple[Callable[[str, bytes], Iterable[tuple[str, bytes]]], str]] = {
    "a changed byte": (lambda n, b: [(n, b.replace(b"Jeanne", b"Joanne") if n.endswith("users.json") else b)], "was changed"),
    "a missing file": (lambda n, b: [] if n.endswith("users.csv") else [(n, b)], "is missing"),
    "an added file": (lambda n, b: [(n, b), (f"{ROOT}/data/more.txt", b"x")] if n.endswith("users.csv") else [(n, b)], "was added"),
    "an added file beside the data": (lambda n, b: [(n, b), (f"{ROOT}/more.txt", b"x")] if n.endswith("users.csv") else [(n, b)], "was added"),
    "a renamed file": (lambda n, b: [(n.replace("users.csv", "other.csv"), b)], "is missing"),
    "a path that leads out": (lambda n, b: [(n, b), (f"{ROOT}/../x", b"x")] if n.endswith("users.csv") else [(n, b)], "lies outside of the bag"),
    "an absolute path": (lambda n, b: [(n, b), ("/etc/x", b"x")] if n.endswith("users.csv") else [(n, b)], "lies outside of the bag"),
    "a changed manifest": (lambda n, b: [(n, b.replace(b"users.csv", b"users.csx") if "/manifest" in n else b)], "was changed"),
    "another count": (lambda n, b: [(n, b.replace(b"Payload-Oxum: ", b"Payload-Oxum: 1") if n.endswith("bag-info.txt") else b)], "Payload-Oxum"),
    "no manifest": (lambda n, b: [] if n.endswith("/manifest-sha256.txt") else [(n, b)], "is missing"),
    "no manifest of tags": (lambda n, b: [] if n.endswith("tagmanifest-sha256.txt") else [(n, b)], "is missing"),
    "two bags": (lambda n, b: [(n, b), ("other/data/x", b"x")] if n.endswith("users.csv") else [(n, b)], "one bag"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_is_done_to_a_bundle_is_seen(what: str) -> None:
    change, said = CHANGES[what]
    (data,), _ = written((USERS, [row()]))
    found = problems(io.BytesIO(rezipped(data, change)))
    assert any(said in p.what for p in found), found
    assert problems(io.BytesIO(rezipped(data, lambda n, b: [(n, b)]))) == ()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_seen() -> None:
    (data,), _ = written((USERS, [row()]))
    twice = rezipped(data, lambda n, b: [(n, b), (n, b"other")] if n.endswith("users.csv") else [(n, b)])
    assert any("twice" in p.what for p in problems(io.BytesIO(twice)))


@pytest.mark.parametrize("cut", [0, 10, -30, -1])
def test_a_bundle_that_was_cut_is_no_bundle(cut: int) -> None:
    (data,), _ = written((USERS, [row()]))
    assert problems(io.BytesIO(data[:cut]))


def test_a_byte_changed_in_the_zip_itself_is_seen_wherever_it_is() -> None:
    (data,), _ = written((USERS, [row()]))
    for at in range(0, len(data) - 1, max(1, len(data) // 40)):
        broken = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        if not problems(io.BytesIO(broken)):  # what is neither content nor name: a time, a flag that readers pass over
            assert list(contents(io.BytesIO(broken))) == list(contents(io.BytesIO(data)))


FLAT = """
import io, resource, sys
sys.path[:0] = sys.argv[2:]
from unit.test_bundle import USERS, about, row
from lethe.subjects.bundle import write_bundle
from lethe.subjects.found import FileRef, Row
class Away(io.RawIOBase):
    def writable(self): return True
    def write(self, b): return len(memoryview(b).cast("B"))
size = int(sys.argv[1])
ref = FileRef(connection="c", bucket="b", key="k", name="large.bin", size=size * 1000)
def rows():
    for n in range(size):
        yield row(id=n)
    yield Row(values=row().values, file=ref)
write_bundle([(USERS, rows())], about=about(), open_file=lambda _: (bytes(1000) for _ in range(size)), sink=lambda n: Away())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_person() -> None:
    def peak(rows: int) -> int:
        done = subprocess.run([sys.executable, "-c", FLAT, str(rows), *sys.path], capture_output=True, text=True, check=True)
        return int(done.stdout) // 1024

    small, large = peak(30_000), peak(200_000)
    assert large < small * 1.15, (small, large)
