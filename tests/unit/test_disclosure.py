"""What persons are told is complete: each gap is found by name, each word about nothing too, and the shipped file has neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe.catalog.disclosure import FILE, Disclosure, check_disclosure, load_disclosure, no_disclosure
from lethe.catalog.load import load_catalog
from lethe.errors import InvalidFile
from lethe.policy.load import load_version
from lethe.settings import SHIPPED

Edit = Callable[[dict[str, Any]], Any]


def findings(edit: Edit) -> list[tuple[str, str, bool]]:
    """(kind, where, stops) after an edit of the shipped file."""
    values = load_disclosure(SHIPPED).model_dump(mode="json")
    edit(values)
    found = check_disclosure(Disclosure.model_validate(values), load_catalog(SHIPPED / "catalog"), load_version(SHIPPED / "2026-05-01"))
    return [(f.kind, f.where, f.stops) for f in found]


def test_the_shipped_file_tells_of_everything() -> None:
    assert findings(lambda d: None) == []


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda d: d["datasets"].pop("leads"), ("not disclosed", "leads")),
        (lambda d: d["datasets"].pop("clients"), ("not disclosed", "clients")),
        (lambda d: d["datasets"]["leads"].update(source=None), ("not disclosed", "leads")),
        (lambda d: d["datasets"].update(gone=d["datasets"]["leads"]), ("name not known", "disclosure.yaml gone")),
        (lambda d: d["datasets"]["clients"].update(recipients=["nobody"]), ("name not known", "disclosure.yaml clients")),
        (lambda d: d["purposes"].pop("comply"), ("not disclosed", "purpose comply")),
        (lambda d: d["purposes"].update(resale="Vendre."), ("purpose not known", "disclosure.yaml resale")),
        (lambda d: d["clocks"].pop("last_message"), ("not disclosed", "clock last_message")),
        (lambda d: d["subsets"].pop("refused"), ("not disclosed", "subset refused")),
        (lambda d: d["subsets"]["refused"].update(en="TO-DECIDE: refused"), ("not disclosed", "disclosure.yaml subsets.refused")),
        (lambda d: d["purposes"].update(comply="TO-DECIDE"), ("not disclosed", "disclosure.yaml purposes.comply")),
    ],
)
def test_each_gap_is_found_by_name(edit: Edit, expected: tuple[str, str]) -> None:
    assert findings(edit) == [(*expected, True)]


def test_what_tenants_store_needs_a_title_only() -> None:
    assert findings(lambda d: d["datasets"]["clients"].update(source=None, recipients=[])) == []


def test_no_file_is_a_finding_that_stops(tmp_path: Path) -> None:
    assert no_disclosure().stops and no_disclosure().where == FILE
    with pytest.raises(InvalidFile, match="there is no such file"):
        load_disclosure(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datasets: {leads: {title: {fr: Contact}}}", "`en` is missing"),
        ("datasets: {leads: {title: {fr: '', en: Enquiry}}}", "datasets.leads.title.fr"),
        ("datasets: {leads: {titel: {fr: Contact, en: Enquiry}}}", "Did you mean `title`"),
        ("datasets: {}\nrecipient: {}", "Did you mean `recipients`"),
        ("datasets: {}\ndatasets: {}", "there twice"),
        ("datasets: {Leads: {title: {fr: Contact, en: Enquiry}}}", "does not have the accepted form"),
        ("- datasets", "must be a mapping"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile) as error:
        load_disclosure(tmp_path)
    assert said in str(error.value) and f"{FILE}:" in str(error.value)
