"""Who received a dataset, by name: the company's own processors first, each followed by whom it passed the data to, and only that data."""

from __future__ import annotations

from datetime import date
from typing import Any

from helpers.registers import entry, recipient, register, version
from lethe.processors.history import as_of
from lethe.processors.model import Register
from lethe.processors.receivers import receivers


def named(name: str, *below: str, **changes: Any) -> dict[str, Any]:
    return version(legal_name=name, sub_processors=list(below), **changes)


def told(of: Register, dataset: str = "users", kind: str = "hosting") -> list[tuple[str, str | None]]:
    return [(r.name, r.through) for r in receivers(as_of(of, date(2026, 1, 1)), dataset, kind)]


SUB = {"role": "sub-processor"}


def test_the_chain_is_followed_to_any_depth() -> None:
    ids = [f"p{n}" for n in range(1500)]
    chain = [entry(i, named(i.upper(), *ids[n + 1 : n + 2], **(SUB if n else {}))) for n, i in enumerate(ids)]
    assert told(register(*chain)) == [("P0", None), *[(f"P{n}", f"P{n - 1}") for n in range(1, 1500)]]


def test_only_those_that_receive_the_dataset_and_are_of_the_kind_are_named() -> None:
    of = register(
        entry("host", named("Host", "sub", "other")),
        entry("sub", named("Sub", datasets=["leads"], **SUB)),
        entry("other", named("Other", kind="payment", **SUB)),
        entry("mail", named("Mail", kind="transactional-email")),
        entry("gone", named("Gone") | {"active_to": "2025-12-31"}),
        recipients=(entry("bank", recipient(legal_name="Bank")),),
    )
    assert told(of) == [("Host", None), ("Other", "Host")], "a sub-processor of another kind received it all the same"
    assert told(of, kind="transactional-email") == [("Mail", None)] and told(of, kind="bank") == [("Bank", None)]
    assert told(of, "leads") == [] and told(of, kind="nobody") == []


def test_a_loop_ends_and_a_company_is_named_once() -> None:
    of = register(entry("a", named("AA", "b", "c")), entry("b", named("BB", "a", "c", **SUB)), entry("c", named("CC", **SUB)))
    assert told(of) == [("AA", None), ("BB", "AA"), ("CC", "BB")]


def test_transfers_are_those_out_of_the_eea() -> None:
    places = [{"country": "FR"}, {"country": "US", "tool": "scc"}, {"country": "NO"}, {"country": "GB", "tool": "adequacy"}]
    (found,) = receivers(as_of(register(entry("host", named("Host", locations=places))), date(2026, 1, 1)), "users", "hosting")
    assert [(x.country, x.tool.value) for x in found.transfers] == [("US", "scc"), ("GB", "adequacy")]
