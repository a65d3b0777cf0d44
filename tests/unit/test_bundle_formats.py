"""JSON that keeps every digit and passes its schema, CSV that runs nothing and comes back, cards and events that other programs read."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar
from jsonschema import Draft202012Validator

from helpers.bundling import MADE_AT, about, bundle, file, one, paths, read, row, section
from lethe.catalog.model import CalendarColumns
from lethe.control.requests import RequestKind
from lethe.subjects.bundle.formats.csv import cell, guarded, unguarded
from lethe.subjects.bundle.formats.json import text as json_text
from lethe.subjects.bundle.formats.schema import shape
from lethe.subjects.bundle.formats.vcard import fold
from lethe.subjects.found import Row, Section

# ------------------------------------------------------------------------------------------------------------------ JSON


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (-7, "-7"),
        (Decimal("1.50"), "1.50"),
        (Decimal("-0.000000000000000000001"), "-0.000000000000000000001"),
        (Decimal("1E+30"), "1" + "0" * 30),
        (Decimal("1E-30"), "0." + "0" * 29 + "1"),
        (Decimal("12345678901234567890123456789.123456789"), "12345678901234567890123456789.123456789"),
        (Decimal("0E-20000"), "0." + "0" * 20000),
        (Decimal("NaN"), '"NaN"'),
        pytest.param(10**6000, "1" + "0" * 6000, id="more digits than Python prints"),
        (0.1, "0.1"),
        ('a\nb\u2028\u0001"\\é', '"a\\nb\u2028\\u0001\\"\\\\é"'),
        ({"a": [1, {"b": Decimal("2.0")}], "c": None}, '{"a": [1, {"b": 2.0}], "c": null}'),
    ],
)
def test_a_value_is_written_by_all_its_digits(value: Any, written: str) -> None:
    assert json_text(value) == written


def test_what_is_no_value_of_json_is_refused_by_its_type_only() -> None:
    with pytest.raises(TypeError) as raised:
        json_text({"canary": b"canary"})
    assert "canary" not in str(raised.value) and "bytes" in str(raised.value)


WIDE = section(
    count="integer",
    amount="numeric(12,2)",
    ratio="double precision",
    good="boolean",
    tags="text[]",
    more="jsonb",
    mood="app.mood",
    code="character varying(10)",
    at="timestamp(3) with time zone",
    email=("text", "user.contact.email"),
)
WIDE_ROWS = [
    row(
        count=-3,
        amount=Decimal("-1.50"),
        ratio="NaN",
        good=False,
        tags=["a", None],
        more={"a": [1]},
        mood="fine",
        code="x",
        at="infinity",
        email="a@example.org",
    ),
    row(count=None, amount="Infinity", ratio=Decimal("0.1"), shared=True, redacted=("email",), file=file("a")),
]


def test_the_json_passes_its_schema_and_the_schema_refuses_its_neighbours() -> None:
    archive = one((WIDE, WIDE_ROWS))
    schema = json.loads(read(archive, "data/schema/notes.schema.json"))
    Draft202012Validator.check_schema(schema)
    validator, rows = Draft202012Validator(schema), json.loads(read(archive, "data/json/notes.json"))
    assert list(validator.iter_errors(rows)) == []
    for bad in (
        {**rows[0], "count": "3"},
        {**rows[0], "other": 1},
        {k: v for k, v in rows[0].items() if k != "id"},
        {**rows[0], "_shared": False},
    ):
        assert not validator.is_valid([bad])


def test_the_schema_marks_the_copy_of_article_20_what_was_masked_and_whose_it_is() -> None:
    schema = json.loads(read(one((WIDE, WIDE_ROWS)), "data/schema/notes.schema.json"))
    columns = schema["items"]["properties"]
    assert columns["email"] == {
        "type": ["string", "null"],
        "x-postgresql-type": "text",
        "x-category": "user.contact.email",
        "x-article-20": True,
        "x-redacted": 1,
    }
    assert "x-article-20" not in columns["id"] and "x-redacted" not in columns["count"]
    assert (schema["x-role"], schema["x-origin"], schema["x-purposes"]) == ("controller", "live", ["provide-service"])


def test_a_column_named_as_what_a_row_says_of_itself_keeps_its_value() -> None:
    archive = one((section(_shared="text", _file="text"), [row(_shared="mine", _file="kept", shared=True, file=file("a"))]))
    (found,) = json.loads(read(archive, "data/json/notes.json"))
    assert (found["_shared"], found["__shared"], found["_file"], found["__file"]["name"]) == ("mine", True, "kept", "a")
    schema = json.loads(read(archive, "data/schema/notes.schema.json"))
    assert Draft202012Validator(schema).is_valid([found])


def test_a_type_that_is_not_known_may_be_anything() -> None:
    assert shape("app.mood") == {} and shape("bigint") == {"type": ["integer", "null"]}
    assert shape("time without time zone") == shape("timestamp with time zone") == shape("text")
    assert shape("numeric(10,2)[]") == {"type": ["array", "null"]} and shape("tsrange") == {}


# ------------------------------------------------------------------------------------------------------------------- CSV


def records(body: bytes) -> list[list[str]]:
    assert body.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_text_that_a_spreadsheet_would_run_has_an_apostrophe_before_it(start: str) -> None:
    (_, first) = records(read(one((section(t="text"), [row(t=f"{start}1+1")])), "data/csv/notes.csv"))
    assert first[1] == f"'{start}1+1" and unguarded(first[1]) == f"{start}1+1"


@pytest.mark.parametrize("plain", ["a=1", " =1", "1-1", "", "é", '"=1"', "#REF", "a'", "(=1)"])
def test_no_other_text_is_touched(plain: str) -> None:
    assert guarded(plain) == plain


def test_numbers_stay_numbers_and_null_is_no_empty_text() -> None:
    sent = row(t="", n=Decimal("-1.50"), b=True, j={"a": -1}, l=["=1"])
    body = read(one((section(t="text", n="numeric", b="boolean", j="jsonb", l="text[]", z="text"), [sent])), "data/csv/notes.csv")
    assert body.split(b"\r\n")[1] == b'1,"",-1.50,true,"{""a"": -1}","[""=1""]",,,,,'
    assert cell(Decimal("-Infinity")) == '"\'-Infinity"' and cell(float("-inf")) == '"\'-Infinity"' and cell("-Infinity") == '"\'-Infinity"'


def test_a_record_says_what_was_masked_and_where_its_file_lies() -> None:
    made = row(t=None, shared=True, redacted=("t", "id"), file=file("=cmd.pdf"))
    header, first = records(read(one((section(t="text"), [made])), "data/csv/notes.csv"))
    assert header == ["id", "t", "_shared", "_redacted", "_file", "_file_name"]
    assert first == ["1", "", "true", "t id", "data/files/notes/1-_cmd.pdf", "'=cmd.pdf"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=5))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    made = section(**{f"c{n}": "text" for n in range(len(texts))})
    body = read(one((made, [row(**{f"c{n}": t for n, t in enumerate(texts)})])), "data/csv/notes.csv")
    assert body.endswith(b"\r\n")
    (_, found) = records(body)
    assert [unguarded(c) for c in found[1 : len(texts) + 1]] == texts


# ----------------------------------------------------------------------------------------------------------------- vCard

CONTACT = section(
    "clients",
    first=("text", "user.name.first"),
    last=("text", "user.name.last"),
    email=("text", "user.contact.email"),
    phone=("text", "user.contact.phone_number"),
    street=("text", "user.contact.address.street"),
    postcode=("text", "user.contact.address.postal_code"),
    city=("text", "user.contact.address.city"),
    job=("text", "user.professional_information.job_title"),
    firm=("text", "user.professional_information.workplace"),
)
NASTY = "Ørsted; \\Né,\r\nBEGIN:VCARD\n\u0007" + "漢字🎉" * 40


def cards(body: bytes) -> list[list[tuple[str, list[list[str]]]]]:
    """vCards parsed anew: unfolded, then each property's components and values, unescaped."""
    lines = body.split(b"\r\n")
    assert lines.pop() == b"" and all(len(line) <= 75 for line in lines)
    for line in lines:
        line.decode()  # no character is cut
    found: list[list[tuple[str, list[list[str]]]]] = []
    for text in re.sub(rb"\r\n[ \t]", b"", b"\r\n".join(lines)).decode().split("\r\n"):
        name, _, value = text.partition(":")
        if text == "BEGIN:VCARD":
            found.append([])
            continue
        parts: list[list[str]] = [[""]]
        for piece in re.findall(r"\\.|[,;]|[^\\,;]+", value):
            if piece == ";":
                parts.append([""])
            elif piece == ",":
                parts[-1].append("")
            else:
                parts[-1][-1] += {"\\n": "\n"}.get(piece, piece[1:] if piece.startswith("\\") else piece)
        found[-1].append((name, parts))
    return found


def test_a_persons_own_contact_data_is_a_card() -> None:
    given = row(
        first="Zoé",
        last="Lévy",
        email="z@example.org",
        phone="+33 1 02",
        street="1, rue A",
        postcode="75001",
        city="Paris",
        job="Chef",
        firm="A;B",
    )
    (card,) = cards(read(one((CONTACT, [given])), "data/contact.vcf"))
    assert card == [
        ("VERSION", [["4.0"]]),
        ("FN", [["Zoé Lévy"]]),
        ("N", [["Lévy"], ["Zoé"], [""], [""], [""]]),
        ("EMAIL", [["z@example.org"]]),
        ("TEL;VALUE=text", [["+33 1 02"]]),
        ("ADR", [[""], [""], ["1, rue A"], ["Paris"], [""], ["75001"], [""]]),
        ("TITLE", [["Chef"]]),
        ("ORG", [["A;B"]]),
        ("END", [["VCARD"]]),
    ]


def test_no_value_breaks_out_of_its_property() -> None:
    (card,) = cards(read(one((CONTACT, [row(first=NASTY, email=NASTY, street=NASTY)])), "data/contact.vcf"))
    kept = NASTY.replace("\r\n", "\n").replace("\u0007", "").strip()
    by_name = dict(card)
    assert by_name["FN"] == [[kept]] and by_name["N"] == [[""], [kept], [""], [""], [""]] and by_name["ADR"][2] == [kept]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_a_folded_line_has_75_bytes_at_most_and_unfolds_to_itself(line: str) -> None:
    made = fold(line)
    assert all(len(each) <= 75 and each.decode() is not None for each in made.split(b"\r\n"))
    assert made.removesuffix(b"\r\n").replace(b"\r\n ", b"").decode() == line


def test_a_card_is_written_once_and_none_for_who_has_no_name_or_no_way_to_be_reached() -> None:
    known = row(first="Zoé", email="z@example.org")
    rows = [known, known, row(first="Zoé"), row(email="z@example.org"), row(first=" ", email="z@example.org")]
    assert len(cards(read(one((CONTACT, rows)), "data/contact.vcf"))) == 1
    assert "data/contact.vcf" not in paths(one((CONTACT, rows[2:])))
    assert "data/contact.vcf" not in paths(one((section(email=("text", "user.contact.email")), [row(email="z@example.org")])))


def test_a_masked_column_is_on_no_card() -> None:
    (card,) = cards(read(one((CONTACT, [row(first="Zoé", email="z@example.org", phone=None, redacted=("phone",))])), "data/contact.vcf"))
    assert not [name for name, _ in card if name.startswith("TEL")]


# ------------------------------------------------------------------------------------------------------------- iCalendar

EVENTS = section(
    "appointments", title="text", place="text", notes="text", starts="timestamp with time zone", ends="timestamp with time zone"
)
COLUMNS = {"appointments": CalendarColumns(starts="starts", ends="ends", title="title", place="place", notes="notes")}


def calendar(*rows: Row, shown: Section = EVENTS) -> list[Any]:
    (_,), (body,) = bundle((shown, rows), told=about(RequestKind.TENANT_INSTRUCTION), calendar=COLUMNS)
    archive = zipfile.ZipFile(io.BytesIO(body))
    if "data/ics/appointments.ics" not in paths(archive):
        return []
    made = read(archive, "data/ics/appointments.ics")
    assert all(len(line) <= 75 for line in made.split(b"\r\n"))
    return list(Calendar.from_ical(made).walk("VEVENT"))


def test_an_appointment_is_an_event() -> None:
    note = "a;b,c\\d\r\nBEGIN:VEVENT\n\u0007" + "é" * 100
    (event,) = calendar(
        row(title="Été", place="Paris, 1", notes=note, starts="2026-01-02T10:00:00.12345+02:00", ends="2026-01-02T11:00:00+02:00")
    )
    assert event.decoded("dtstart") == datetime(2026, 1, 2, 8, 0, tzinfo=UTC) and event.decoded("dtend") == datetime(
        2026, 1, 2, 9, 0, tzinfo=UTC
    )
    assert (event["summary"], event["location"]) == ("Été", "Paris, 1")
    assert event["description"] == note.replace("\r\n", "\n").replace("\u0007", "")
    assert event.decoded("dtstamp") == MADE_AT


def test_a_day_ends_with_the_next_and_a_time_without_zone_stays_without() -> None:
    days, local = calendar(row(starts="2026-01-02", ends="2026-01-02"), row(starts="2026-01-02T10:00:00", ends=None))
    assert (days.decoded("dtstart"), days.decoded("dtend")) == (date(2026, 1, 2), date(2026, 1, 3))
    assert local.decoded("dtstart") == datetime.fromisoformat("2026-01-02T10:00") and "dtend" not in local


@pytest.mark.parametrize("starts", [None, "infinity", "-infinity", "0044-03-15T00:00:00 BC", "12026-01-01T00:00:00+00:00", "2026-13-01"])
def test_what_has_no_start_that_a_calendar_knows_is_no_event(starts: str | None) -> None:
    assert calendar(row(title="a", starts=starts)) == []


@pytest.mark.parametrize("ends", [None, "infinity", "2026-01-01T10:00:00+00:00", "2026-01-03", "2026-01-03T10:00:00"])
def test_an_end_that_a_calendar_would_refuse_is_left_out(ends: str | None) -> None:
    (event,) = calendar(row(title="a", starts="2026-01-02T10:00:00+00:00", ends=ends))
    assert "dtend" not in event


def test_only_a_tenants_instruction_has_a_calendar_and_only_where_the_catalog_says_so() -> None:
    given = [row(title="a", starts="2026-01-02T10:00:00+00:00")]
    assert "data/ics/appointments.ics" not in paths(one((EVENTS, given), calendar=COLUMNS))
    other = Section(**{**{f: getattr(EVENTS, f) for f in EVENTS.__dataclass_fields__}, "dataset": "others"})
    assert calendar(*given) and not calendar(*given, shown=other)


def test_two_events_have_two_ids_and_the_same_ones_each_time() -> None:
    given = [row(title="a", starts="2026-01-02T10:00:00+00:00")] * 2
    first, second = (([e["uid"] for e in calendar(*given)]) for _ in range(2))
    assert first == second and len(set(first)) == 2
