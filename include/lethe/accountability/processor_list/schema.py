"""The JSON Schema (2020-12) of the list's JSON, for the public one and for the internal one, made from the models that the list is made of. Pure.

A field of the register that may not be shown is no property of the public schema: a list that had it would not be valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.model import Words
from lethe.processors.agreements import EndingAgreement
from lethe.processors.model import ProcessorVersion, RecipientVersion, Version
from lethe.processors.shown import internal_fields

_DAY = {"type": "string", "format": "date"}
_TEXT = {"type": "string"}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_MADE_FROM = ("policy", "published_text", "catalog", "disclosure", "register")
_MODELS = (ProcessorVersion, RecipientVersion, Words, EndingAgreement)


def schema(audience: Audience) -> dict[str, Any]:
    """The schema of `content(listed, audience)` as it stands in the file; every key is required, and there is no other."""
    _, whole = models_json_schema([(m, "serialization") for m in _MODELS], by_alias=True)
    # A model's defaults are written out, so in a file every key is there.
    definitions = {n: {**d, "required": sorted(d["properties"])} if "properties" in d else d for n, d in whole["$defs"].items()}
    public = audience is Audience.PUBLIC
    processor = _entry(definitions[ProcessorVersion.__name__], ProcessorVersion, public, works_for={"type": "array", "items": _TEXT})
    recipient = _entry(definitions[RecipientVersion.__name__], RecipientVersion, public)
    internal = {} if public else {"agreements_ending": _list(_ref(EndingAgreement.__name__))}
    found = _object(
        {
            "audience": {"const": audience.value},
            "company": _TEXT,
            "contact": {"type": ["string", "null"]},
            "as_of": _DAY,
            "since": {**_DAY, "type": ["string", "null"], "description": "The day of the list before; null when there was none."},
            "processors": _list(_ref("Processor")),
            "recipients": _list(_ref("Recipient")),
            "changes": {**_list(_ref("Change")), "description": "What changed after the day `since`, in order; empty when that is null."},
            "words": {**_ref(Words.__name__), "description": "What a reader is told for each id that stands in the list."},
            "made_from": _object({"policy_version": _DAY, **dict.fromkeys(_MADE_FROM, _SHA256)}),
            **internal,
        }
    )
    own = {"Processor": processor, "Recipient": recipient, "Change": _change()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"List of processors and recipients ({audience.value})",
        **found,
        "$defs": _reached(found, {**definitions, **own}),
    }


def _entry(version: Mapping[str, Any], model: type[Version], public: bool, **more: Any) -> dict[str, Any]:
    """An entry as it stands in the list: its version, without what is internal, and what the list adds."""
    left_out = set(internal_fields(model)) if public else set()
    own = {name: each for name, each in version["properties"].items() if name not in left_out}
    begun = {**_DAY, "description": "Its first day without a gap."}
    return {**_object({"id": _TEXT, "begun": begun, **more, **own}), "description": version["description"]}


def _change() -> dict[str, Any]:
    field = _object({"field": _TEXT, "old": {}, "new": {}})
    of = {"on": _DAY, "id": _TEXT, "type": {"enum": ["processor", "recipient"]}, "name": _TEXT, "kind": _TEXT}
    return {
        "oneOf": [
            _object({**of, "what": {"enum": ["added", "ended"]}}),
            _object({**of, "what": {"const": "changed"}, "fields": _list(field)}),
        ]
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": sorted(properties), "additionalProperties": False}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _reached(start: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The definitions that are referred to, at any depth: a public schema tells nothing of what is internal."""
    found: dict[str, Any] = {}
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            name = str(here.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = definitions[name]
                waiting.append(definitions[name])
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    return found
