"""What the register claims falsely is found by name: flows, agreements, the chain, transfers; the shipped one has nothing."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from helpers.registers import Edit, entry, register, version
from lethe.catalog.disclosure import Disclosure, load_disclosure
from lethe.catalog.load import load_catalog
from lethe.processors.agreements import agreements_ending
from lethe.processors.chain import Link, links
from lethe.processors.check import check_register, flows, no_register
from lethe.processors.history import as_of
from lethe.processors.load import load_register
from lethe.processors.model import Register
from lethe.settings import SHIPPED

ON = date(2026, 11, 28)
CATALOG = load_catalog(SHIPPED / "catalog")
DISCLOSURE = load_disclosure(SHIPPED)
SHIPPED_VALUES = load_register(SHIPPED).model_dump(mode="json")


def last(value: dict[str, Any], id_: str) -> dict[str, Any]:
    """The newest version of an entry."""
    found: dict[str, Any] = next(e for e in (*value["processors"], *value["recipients"]) if e["id"] == id_)["versions"][-1]
    return found


def findings(edit: Edit = lambda v: None, *, on: date = ON, disclosure: Disclosure = DISCLOSURE) -> list[tuple[str, str]]:
    """(kind, where) after an edit of the shipped register."""
    value = copy.deepcopy(SHIPPED_VALUES)
    edit(value)
    found = check_register(Register.model_validate(value), CATALOG, disclosure, on=on)
    assert all(f.problem and f.fix and not f.stops for f in found)
    return [(f.kind, f.where.removeprefix("processors.yaml ")) for f in found]


@pytest.mark.parametrize("on", [date(2026, 5, 1), ON, date(2034, 12, 31)])
def test_the_shipped_register_has_nothing_against_it(on: date) -> None:
    assert findings(on=on) == []


def test_no_agreement_of_the_shipped_register_ends_soon() -> None:
    assert agreements_ending(load_register(SHIPPED), ON) == ()


def colombe_from_us(value: dict[str, Any]) -> None:
    last(value, "colombe").update(country="US")


def without(value: dict[str, Any], id_: str) -> None:
    value["processors"] = [p for p in value["processors"] if p["id"] != id_]


FOUND: dict[str, tuple[Edit, list[tuple[str, str]]]] = {
    "a flow to nobody": (
        lambda v: last(v, "colombe")["datasets"].remove("leads"),
        [("flow not declared", "pigeonhole leads"), ("flow to nobody", "disclosure.yaml leads transactional-email")],
    ),
    "an entry that ended leaves its flows to nobody": (
        lambda v: last(v, "guichet").update(active_to="2026-11-27"),
        [("flow to nobody", "disclosure.yaml billing_invoices payment"), ("flow to nobody", "disclosure.yaml tenants payment")],
    ),
    "a flow that nobody is told of": (
        lambda v: last(v, "guichet")["datasets"].append("contracts"), [("flow not declared", "guichet contracts")],
    ),
    "an entry with no flow": (
        lambda v: last(v, "tax-office").update(datasets=[], kind="bank"),
        [("flow to nobody", "disclosure.yaml billing_invoices authority"), ("entry without flow", "tax-office")],
    ),
    "a sub-processor that nobody passes data on to": (
        lambda v: last(v, "vallon").update(sub_processors=[]), [("entry without flow", "lagerhof")],
    ),
    "a sub-processor with data that nobody above it has": (
        lambda v: last(v, "pigeonhole")["datasets"].append("contracts"), [("flow not declared", "pigeonhole contracts")],
    ),
    "no agreement": (lambda v: last(v, "guichet").update(agreement=None), [("agreement missing", "guichet")]),
    "an agreement that begins later": (
        lambda v: last(v, "guichet")["agreement"].update(in_force_from="2016-09-02"), [("agreement missing", "guichet")],
    ),
    "an agreement that is over": (
        lambda v: last(v, "guichet")["agreement"].update(in_force_to="2026-11-27"), [("agreement over", "guichet")],
    ),
    "an agreement whose last day it is": (lambda v: last(v, "guichet")["agreement"].update(in_force_to="2026-11-28"), []),
    "a gap between two agreements, long ago": (
        lambda v: next(p for p in v["processors"] if p["id"] == "rivage")["versions"][0]["agreement"].update(in_force_to="2024-12-30"),
        [("agreement over", "rivage")],
    ),
    "an agreement that never covers": (
        lambda v: last(v, "guichet")["agreement"].update(in_force_from="2030-01-01"), [("agreement missing", "guichet")],
    ),
    "a sub-processor's agreement over": (
        lambda v: last(v, "pigeonhole")["agreement"].update(in_force_to="2022-01-01"), [("agreement over", "pigeonhole")],
    ),
    "a loop of two": (
        lambda v: last(v, "pigeonhole").update(sub_processors=["colombe"]), [("loop of sub-processors", "colombe, pigeonhole")],
    ),
    "a loop of three": (
        lambda v: last(v, "lagerhof").update(sub_processors=["rivage"]), [("loop of sub-processors", "lagerhof, rivage, vallon")],
    ),
    "a loop of one": (lambda v: last(v, "guichet").update(sub_processors=["guichet"]), [("loop of sub-processors", "guichet")]),
    "an unknown sub-processor": (
        lambda v: last(v, "guichet").update(sub_processors=["nobody"]), [("sub-processor unknown", "guichet")],
    ),
    "a recipient as a sub-processor": (
        lambda v: last(v, "guichet").update(sub_processors=["clairval"]), [("sub-processor unknown", "guichet")],
    ),
    "a sub-processor that is not there yet": (
        lambda v: last(v, "lagerhof").update(active_from="2023-04-02"), [("sub-processor unknown", "vallon")],
    ),
    "a sub-processor that is gone": (lambda v: last(v, "lagerhof").update(active_to="2026-11-28"), [("sub-processor unknown", "vallon")]),
    "a location outside the EEA without a tool": (
        lambda v: last(v, "pigeonhole").update(locations=[{"country": "US"}]), [("transfer without tool", "pigeonhole US")],
    ),
    "a seat outside the EEA that is no location": (colombe_from_us, [("transfer without tool", "colombe US")]),
    "a tool without a transfer": (
        lambda v: last(v, "guichet").update(locations=[{"country": "NO", "tool": "scc"}]), [("tool without transfer", "guichet NO")],
    ),
    "a purpose that the catalog does not have": (
        lambda v: last(v, "guichet")["purposes"].append("resale"), [("purpose not known", "guichet resale")],
    ),
    "a purpose that none of its datasets has": (
        lambda v: last(v, "guichet")["purposes"].append("audience"), [("purpose not known", "guichet audience")],
    ),
    "a category of data that none of its datasets has": (
        lambda v: last(v, "guichet")["data_categories"].append("user.health_and_medical"), [("name not known", "guichet user.health_and_medical")],
    ),
    "an unknown category of persons": (
        lambda v: last(v, "guichet")["person_categories"].append("children"), [("name not known", "guichet children")],
    ),
    "a dataset that the catalog does not have": (
        lambda v: last(v, "guichet")["datasets"].append("newsletters"), [("name not known", "guichet newsletters")],
    ),
    "what a dead version says of today's catalog": (lambda v: v["processors"][0]["versions"][0]["datasets"].append("gone_since"), []),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_each_false_claim_is_found_by_name(case: str) -> None:
    edit, expected = FOUND[case]
    assert findings(edit) == expected


def test_a_recipient_of_a_kind_that_the_register_does_not_know_is_a_flow_to_nobody() -> None:
    told = DISCLOSURE.model_dump(mode="json")
    told["recipients"]["adverts"] = {"fr": "des annonceurs", "en": "advertisers"}
    told["datasets"]["leads"]["recipients"].append("adverts")
    assert findings(disclosure=Disclosure.model_validate(told)) == [("flow to nobody", "disclosure.yaml leads adverts")]


def test_a_day_before_the_register_is_one_finding() -> None:
    assert findings(on=date(2013, 12, 31)) == [("register begins later", "processors.yaml")]


def test_no_file_is_a_finding() -> None:
    assert no_register().kind == "no register" and no_register().where == "processors.yaml"


def test_two_that_swapped_places_are_no_loop() -> None:
    def side(below: str, first: str, last_: str | None) -> dict[str, Any]:
        return version(first, last_, sub_processors=[below] if below else [])

    swapped = register(
        entry("a", side("b", "2020-01-01", "2020-12-31"), side("", "2021-01-01", None)),
        entry("b", side("", "2020-01-01", "2020-12-31"), side("a", "2021-01-01", None)),
    )
    found = check_register(swapped, CATALOG, Disclosure(datasets={}), on=ON)
    assert "loop of sub-processors" not in {f.kind for f in found}


def test_the_chain_has_every_link_and_the_flows_only_the_companys_own() -> None:
    entries = as_of(load_register(SHIPPED), ON)
    expected = {("colombe", "pigeonhole"), ("rivage", "vallon"), ("vallon", "lagerhof")}
    assert {(x.above, x.below) for x in links(entries)} == expected and all(isinstance(x, Link) for x in links(entries))
    assert {f.entry for f in flows(entries)} == {"rivage", "colombe", "guichet", "tax-office", "vieux-phare", "clairval"}
    assert ("users", "transactional-email", "colombe") in {(f.dataset, f.kind.value, f.entry) for f in flows(entries)}


def ending(in_force_to: str, *later: dict[str, Any], active_to: str | None = None, warn: str = "P60D") -> list[tuple[str, int]]:
    agreement = {"reference": "A-1", "in_force_from": "2020-01-01", "in_force_to": in_force_to}
    of = register(entry("host", version(active_to=active_to, agreement=agreement), *later))
    of = Register.model_validate(of.model_dump(mode="json") | {"warn_before_end": warn})
    return [(e.last_day.isoformat(), e.days_left) for e in agreements_ending(of, ON)]


def test_an_agreement_is_warned_of_sixty_days_before_and_not_when_it_is_renewed() -> None:
    assert ending("2027-01-27") == [("2027-01-27", 60)] and ending("2027-01-28") == []
    assert ending("2026-11-28") == [("2026-11-28", 0)] and ending("2026-11-27") == [], "what is over is a finding, no warning"
    renewed = version("2027-01-01", agreement={"reference": "A-2", "in_force_from": "2027-01-01"})
    assert ending("2026-12-31", renewed, active_to="2026-12-31") == []
    unsigned = version("2027-01-01", agreement=None)
    assert ending("2026-12-31", unsigned, active_to="2026-12-31") == [("2026-12-31", 33)]
    assert ending("2026-12-31", active_to="2026-12-31") == [], "the processor ends with it"
    assert ending("2027-01-27", warn="P30D") == [] and ending("2026-12-28", warn="P30D") == [("2026-12-28", 30)]
