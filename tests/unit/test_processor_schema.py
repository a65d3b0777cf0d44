"""The JSON Schema beside the list's JSON: real lists are valid, and one that has anything else, or lacks anything, is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from helpers.lists import BEFORE, listed, shipped
from helpers.registers import entry, register, version
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import files_of
from lethe.accountability.processor_list.schema import schema
from lethe.accountability.processor_list.tables import as_json
from lethe.processors.model import ProcessorVersion, RecipientVersion
from lethe.processors.shown import internal_fields

PUBLIC, INTERNAL = Audience.PUBLIC, Audience.INTERNAL
ENDING = version(agreement={"reference": "A-77", "in_force_from": "2020-01-01", "in_force_to": "2026-12-24"})
LISTS = {
    "shipped": listed(),
    "with changes": listed(since=BEFORE),
    "nobody": listed(register()),
    "an agreement that ends": listed(register(entry("host", ENDING))),
    "without an address": listed(contact=None),
}


def problems(told: Any, audience: Audience) -> list[str]:
    validator = Draft202012Validator(schema(audience), format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(told)]


def told(of: str = "shipped", audience: Audience = PUBLIC) -> dict[str, Any]:
    """The list as anybody's program reads it."""
    found: dict[str, Any] = json.loads(files_of_json(of, audience))
    return found


def files_of_json(of: str, audience: Audience) -> bytes:
    from lethe.accountability.processor_list.content import content

    return as_json(content(LISTS[of], audience))


@pytest.mark.parametrize("audience", Audience)
def test_the_schema_is_one_and_the_same_each_time_and_the_file_is_what_is_stored(audience: Audience) -> None:
    Draft202012Validator.check_schema(schema(audience))
    assert as_json(schema(audience)) == as_json(schema(audience))
    assert files_of(LISTS["shipped"], audience)["processors.json"] == files_of_json("shipped", audience)


@pytest.mark.parametrize("audience", Audience)
@pytest.mark.parametrize("of", LISTS)
def test_a_real_list_is_valid_for_its_own_audience_and_for_no_other(of: str, audience: Audience) -> None:
    assert problems(told(of, audience), audience) == []
    assert problems(told(of, audience), INTERNAL if audience is PUBLIC else PUBLIC)


def test_lists_with_everything_in_them_were_looked_at() -> None:
    assert {c["what"] for c in told("with changes")["changes"]} == {"added", "ended", "changed"}
    assert told("an agreement that ends", INTERNAL)["agreements_ending"] and told()["recipients"] and told()["contact"]


def test_the_public_schema_knows_no_internal_field_and_the_internal_one_every_one() -> None:
    internal = {*internal_fields(ProcessorVersion), *internal_fields(RecipientVersion)}
    outside, inside = (json.dumps(schema(a)) for a in (PUBLIC, INTERNAL))
    definitions = schema(PUBLIC)["$defs"]
    assert internal.isdisjoint({*definitions["Processor"]["properties"], *definitions["Recipient"]["properties"]})
    assert {"Agreement", "AuditNote", "EndingAgreement"}.isdisjoint(definitions) and "Internal" not in outside
    assert internal <= {*schema(INTERNAL)["$defs"]["Processor"]["properties"]} | {*schema(INTERNAL)["$defs"]["Recipient"]["properties"]}
    assert all(f'"{name}"' in inside for name in internal)


def _first(found: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = found["processors"][0]
    return entry


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an internal field": lambda v: _first(v).update(contact="desk, +33 1"),
    "a field that nobody knows": lambda v: v.update(more=1),
    "no name": lambda v: _first(v).pop("legal_name"),
    "no day": lambda v: v.update(as_of="28/11/2026"),
    "a fourth kind": lambda v: _first(v).update(kind="analytics"),
    "a country in words": lambda v: _first(v).update(country="France"),
    "a recipient among processors": lambda v: v["processors"].append(v["recipients"][0]),
    "a location without its ground": lambda v: _first(v)["locations"][0].pop("tool"),
    "no digest": lambda v: v["made_from"].update(policy="x"),
    "a word in one language": lambda v: v["words"]["countries"]["FR"].pop("fr"),
    "a change to nothing": lambda v: v["changes"].append({"what": "changed"}),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=list(WRONG))
def test_what_is_no_list_is_not_valid(change: Callable[[dict[str, Any]], Any]) -> None:
    found = copy.deepcopy(told("with changes"))
    change(found)
    assert problems(found, PUBLIC)


def test_every_entry_of_the_shipped_register_on_any_day_is_valid() -> None:
    days = sorted({v.active_from for e in shipped()[0].entries for v in e.versions})
    for day in days:
        LISTS[day.isoformat()] = listed(as_of=day)
        for audience in Audience:
            assert problems(told(day.isoformat(), audience), audience) == [], day
