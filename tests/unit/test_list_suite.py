"""Great Expectations over register and list: each thing that could be wrong is found, and by its own check alone."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.lists import DAY, listed
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import files_of
from lethe.accountability.reading import read_back, register_on
from lethe.accountability.suite import COMPLETE, COUNTED, COVERED, NAMED, NOBODY_ELSE, ONCE, READ_BACK, check_list
from lethe.processors.load import FILE
from lethe.settings import SHIPPED


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    return read_back(files_of(listed(), Audience.PUBLIC))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return register_on((SHIPPED / FILE).read_bytes(), DAY)


def verdicts(rows: list[dict[str, Any]], files: dict[str, list[str]], whole: dict[str, bool] | None = None) -> dict[str, str]:
    checks = check_list(rows, files, whole or dict.fromkeys(files, True))
    return {c.name: c.status for c in checks if c.status != "passed"}


def test_the_shipped_list_passes_every_check(rows, found):
    checks = check_list(rows, found, dict.fromkeys(found, True))
    assert {c.name for c in checks} == {ONCE, NAMED, COVERED, COUNTED, COMPLETE, NOBODY_ELSE, READ_BACK}
    assert all(c.status == "passed" and c.measured == {"entries": 9, "files": 6} for c in checks)


def test_the_independent_reading_knows_the_first_and_the_last_day(rows):
    text = (SHIPPED / FILE).read_bytes()
    assert {r["id"] for r in rows} == {e.id for e in listed().entries}
    for day in ("2021-12-31", "2022-01-01", "2023-03-31", "2023-04-01"):
        assert {r["id"] for r in register_on(text, type(DAY).fromisoformat(day))} == {
            e.id for e in listed(as_of=type(DAY).fromisoformat(day)).entries
        }


@pytest.mark.parametrize("name", ["processors.csv", "processors.json", "processors.fr.html", "processors.en.pdf"])
def test_a_file_that_lacks_somebody_or_has_somebody_else_is_found(rows, found, name):
    lacks = {COMPLETE: "failed"} | ({COUNTED: "failed"} if name.endswith("json") else {})
    assert verdicts(rows, {**found, name: found[name][1:]}) == lacks
    assert verdicts(rows, {**found, name: [*found[name], found[name][0]]}) == {NOBODY_ELSE: "failed"}
    assert NOBODY_ELSE in verdicts(rows, {**found, name: [*found[name], "stranger"]})


def test_a_file_that_is_not_what_was_written_is_found(rows, found):
    assert verdicts(rows, found, {**dict.fromkeys(found, True), "processors.csv": False}) == {READ_BACK: "failed"}
    assert verdicts(rows, found, {"processors.csv": True}) == {READ_BACK: "failed"}, "one that nobody read back"


@pytest.mark.parametrize(
    ("change", "check"),
    [({"covered": False}, COVERED), ({"datasets": 0}, NAMED), ({"name": None}, NAMED), ({"id": "vallon"}, ONCE)],
)
def test_a_register_that_is_not_so_is_found(rows, found, change, check):
    (at,) = [n for n, r in enumerate(rows) if r["id"] == "rivage"]
    rows[at] |= change
    assert check in verdicts(rows, found)


def test_a_recipient_needs_no_agreement(rows, found):
    assert [r["covered"] for r in rows if r["type"] == "recipient"] == [None] * 3
    assert verdicts(rows, found) == {}


def test_what_could_not_be_seen_is_unknown_and_its_text_is_not_kept(found):
    checks = check_list([{"type": "processor"}], found, {})
    assert {c.status for c in checks} == {"unknown"} and {c.detail for c in checks} == {"KeyError"}
