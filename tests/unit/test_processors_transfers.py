"""A transfer that the register has and the policy does not name is told by entry and country; one that is named, adequate or in the EEA is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from helpers.registers import entry, recipient, register, version
from lethe.policy.load import load_policies
from lethe.processors.history import as_of
from lethe.processors.load import load_register
from lethe.processors.transfers import unnamed_transfers
from lethe.settings import SHIPPED

ON = date(2026, 11, 28)


def unnamed(*locations: dict[str, Any], named: tuple[str, ...] = (), **changes: Any) -> list[tuple[str, str, str]]:
    """What is found of an entry with these locations."""
    there = register(entry("host", version(locations=list(locations), **changes)))
    return [(t.entry, t.country, t.tool.value) for t in unnamed_transfers(as_of(there, ON), named)]


US, JAPAN, HOME = {"country": "US", "tool": "scc"}, {"country": "JP", "tool": "adequacy"}, {"country": "DE"}


def test_the_shipped_register_has_one_transfer_that_the_shipped_text_does_not_name() -> None:
    policy = load_policies(SHIPPED).in_force(ON)
    found = unnamed_transfers(as_of(load_register(SHIPPED), ON), policy.transfers)
    assert [(t.entry, t.country) for t in found] == [("pigeonhole", "US")] and policy.transfers_promise == "needed-processors"


def test_what_stays_in_the_eea_or_goes_where_data_is_adequately_protected_is_none() -> None:
    assert unnamed(HOME, JAPAN, US) == [("host", "US", "scc")]
    assert unnamed(HOME, {"country": "NO"}) == []


@pytest.mark.parametrize("tool", ["scc", "bcr", "derogation", "none-needed"])
def test_a_transfer_on_any_other_ground_or_on_none_is_one(tool: str) -> None:
    assert unnamed({"country": "US", "tool": tool}) == [("host", "US", tool)]


@pytest.mark.parametrize("text", ["US: standard clauses", "United States: SCC", "États-Unis : clauses types", "us", " united states "])
def test_a_transfer_that_the_policy_names_by_its_country_is_none(text: str) -> None:
    assert unnamed(US, {"country": "IN", "tool": "scc"}, named=("Japan: adequacy", text)) == [("host", "IN", "scc")]


@pytest.mark.parametrize(("country", "text"), [
    ("NE", "Nigeria: SCC"), ("GW", "Guinea: SCC"), ("GN", "Guinea-Bissau: SCC"), ("US", "India: to a firm of the United States"), ("US", ""),
])  # fmt: skip
def test_a_text_that_names_another_country_names_no_transfer(country: str, text: str) -> None:
    assert unnamed({"country": country, "tool": "scc"}, named=(text,)) == [("host", country, "scc")]


def test_what_is_over_or_yet_to_come_is_none_and_recipients_and_sub_processors_count() -> None:
    there = register(
        entry("over", version("2020-01-01", "2026-11-27", locations=[US])),
        entry("next", version("2026-11-29", locations=[US])),
        entry("host", version(sub_processors=["sub"])),
        entry("sub", version(role="sub-processor", locations=[US])),
        recipients=(entry("bank", recipient(locations=[US])),),
    )
    assert [t.entry for t in unnamed_transfers(as_of(there, ON), ())] == ["sub", "bank"]
