"""What may be shown to a person who asks: exactly what the models mark, and never what nobody marked."""

from __future__ import annotations

import json

from pydantic import BaseModel

from helpers.registers import recipient, version
from lethe.frozen import Frozen
from lethe.processors.model import ProcessorVersion, RecipientVersion
from lethe.processors.shown import internal_fields, shown, shown_fields

INTERNAL = {"contact", "audit_notes", "agreement", "breach_contact"}


def test_contacts_agreements_and_notes_are_internal_and_the_rest_is_shown() -> None:
    assert set(internal_fields(ProcessorVersion)) == INTERNAL
    assert set(internal_fields(RecipientVersion)) == {"contact", "audit_notes"}
    for model in (ProcessorVersion, RecipientVersion):
        assert set(shown_fields(model)) | set(internal_fields(model)) == set(model.model_fields)
        assert not set(shown_fields(model)) & INTERNAL


def test_what_is_shown_has_nothing_internal_in_it() -> None:
    notes = [{"day": "2026-01-01", "note": "SECRET note"}]
    hidden = {"contact": "SECRET desk", "audit_notes": notes}
    processor = version(**hidden, breach_contact="SECRET night", agreement={"reference": "SECRET-1", "in_force_from": "2020-01-01"})
    made: tuple[BaseModel, ...] = (ProcessorVersion.model_validate(processor), RecipientVersion.model_validate(recipient(**hidden)))
    for value in made:
        text = json.dumps(shown(value))
        assert "SECRET" in value.model_dump_json() and "SECRET" not in text and "Host SAS" in text


def test_a_field_that_nobody_marked_is_internal() -> None:
    class Later(ProcessorVersion):
        forgotten: str = "x"

    class Plain(Frozen):
        name: str = "x"

    assert "forgotten" in internal_fields(Later) and shown(Plain()) == {}
