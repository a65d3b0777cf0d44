"""`processors.yaml` is taken or refused at the edge: each kind of bad input with its line, what is wrong and the fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.registers import Edit, entry, recipient, values, version
from lethe.errors import InvalidFile
from lethe.processors.countries import EEA, codes, country_name
from lethe.processors.load import FILE, load_register
from lethe.settings import SHIPPED


def write(folder: Path, value: Any) -> Path:
    (folder / FILE).write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder


def first(value: dict[str, Any]) -> dict[str, Any]:
    """The first version of the first processor."""
    found: dict[str, Any] = value["processors"][0]["versions"][0]
    return found


def test_the_shipped_register_is_taken() -> None:
    register = load_register(SHIPPED)
    assert {v.kind.value for p in register.processors for v in p.versions} == {"hosting", "transactional-email", "payment"}
    assert {v.kind.value for r in register.recipients for v in r.versions} == {"authority", "bank", "payment-controller"}
    assert str(register.warn_before_end) == "P60D"


BAD: dict[str, tuple[Edit, str, str]] = {
    "unknown country": (lambda v: first(v).update(country="XX"), "versions.0.country", "it is no country"),
    "a country of two letters that ISO has not given": (lambda v: first(v).update(country="EU"), "versions.0.country", "it is no country"),
    "a country in words": (lambda v: first(v).update(country="France"), "versions.0.country", "does not have the accepted form"),
    "unknown location": (lambda v: first(v).update(locations=[{"country": "UK"}]), "locations.0.country", "it is no country"),
    "Norway unquoted": (lambda v: first(v).update(country=False), "versions.0.country", 'Write "NO", in quotes, for Norway'),
    "a day that does not exist": (lambda v: first(v).update(active_from="2026-02-30"), "active_from", "day value is outside expected range"),
    "a month that does not exist": (lambda v: first(v).update(active_to="2026-13-01"), "active_to", "month value is outside expected range"),
    "a year alone": (lambda v: first(v).update(active_from=2026), "active_from", "Write a day, such as 2026-05-01"),
    "ends before it begins": (lambda v: first(v).update(active_to="2019-12-31"), "versions.0", "ends before it begins"),
    "agreement ends before it begins": (lambda v: first(v)["agreement"].update(in_force_to="2019-12-31"), "agreement", "ends before it begins"),
    "two versions in force at once": (
        lambda v: v["processors"][0]["versions"].append(version("2021-01-01")) or first(v).update(active_to="2021-01-01"),
        "processors.0",
        "End the older with `active_to:`",
    ),
    "an open version before another": (lambda v: v["processors"][0]["versions"].append(version("2021-01-01")), "processors.0", "one after the other"),
    "versions in the wrong order": (
        lambda v: v["processors"][0].update(versions=[version("2022-01-01"), version("2020-01-01", "2021-12-31")]), "processors.0", "one after the other",
    ),
    "no version": (lambda v: v["processors"][0].update(versions=[]), "processors.0.versions", "Name at least one"),
    "a fourth kind": (lambda v: first(v).update(kind="analytics"), "versions.0.kind", "three kinds of processor only"),
    "a recipient's kind in a processor": (lambda v: first(v).update(kind="bank"), "versions.0.kind", "hosting, transactional-email, payment"),
    "a buyer": (lambda v: v["recipients"][0]["versions"][0].update(kind="advertiser"), "recipients.0.versions.0.kind", "sold to nobody"),
    "one id twice": (lambda v: v["recipients"][0].update(id="host"), "the file", "twice under ids"),
    "one dataset twice": (lambda v: first(v).update(datasets=["users", "users"]), "versions.0", "twice under datasets"),
    "one location twice": (lambda v: first(v).update(locations=[{"country": "FR"}] * 2), "versions.0", "twice under locations"),
    "a name of two lines": (lambda v: first(v).update(legal_name="Host\nSAS"), "versions.0.legal_name", "accepted form"),
    "an unknown tool": (lambda v: first(v).update(locations=[{"country": "US", "tool": "shield"}]), "locations.0.tool", "none of the accepted words"),
    "a misspelt key": (lambda v: first(v).update(sub_procesors=[]), "versions.0", "Did you mean `sub_processors`"),
    "no purpose": (lambda v: first(v).update(purposes=[]), "versions.0.purposes", "Name at least one"),
    "no location": (lambda v: first(v).update(locations=[]), "versions.0.locations", "Name at least one"),
    "a recipient with an agreement": (lambda v: v["recipients"][0]["versions"][0].update(agreement=None), "recipients.0", "unknown key `agreement`"),
    "nothing to warn by": (lambda v: v.pop("warn_before_end"), "the file", "`warn_before_end` is missing"),
    "warned in business days": (lambda v: v.update(warn_before_end="P5BD"), "warn_before_end", "business days"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_each_kind_of_bad_input_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    edit, where, said = BAD[case]
    value = values(entry("host", version()), recipients=(entry("bank", recipient()),))
    load_register(write(tmp_path, value))
    value = json.loads(json.dumps(value))
    edit(value)
    with pytest.raises(InvalidFile) as error:
        load_register(write(tmp_path, value))
    text = str(error.value)
    assert f"{FILE}:" in text and said in text and (where in text or where == "the file")
    for typed in ("XX", "France", "2026-02-30", "analytics", "advertiser", "shield", "Host\nSAS"):
        assert typed not in text.replace(str(tmp_path), ""), "what was typed is not repeated"


def test_a_day_that_does_not_exist_is_refused_unquoted_too(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("warn_before_end: P60D\nprocessors:\n  - id: host\n    versions:\n      - active_from: 2026-02-30\n")
    with pytest.raises(InvalidFile, match=r"processors\.yaml:5: .*active_from.*a day that does not exist"):
        load_register(tmp_path)


def test_a_register_of_nobody_is_a_register(tmp_path: Path) -> None:
    assert load_register(write(tmp_path, {"warn_before_end": "P60D", "processors": []})).entries == ()
    with pytest.raises(InvalidFile, match="there is no such file"):
        load_register(tmp_path / "elsewhere")


def test_every_country_has_a_name_in_both_languages() -> None:
    assert len(codes()) == 249 and codes() >= EEA and len(EEA) == 30
    assert all(country_name(c, "fr") and country_name(c, "en") for c in codes())
    assert (country_name("DE", "fr"), country_name("DE", "en")) == ("Allemagne", "Germany")
    assert not {"GB", "CH", "US"} & EEA
