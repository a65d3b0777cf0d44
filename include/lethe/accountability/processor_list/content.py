"""What the list says, as plain JSON: to anybody who asks, or inside the company. Every file of the list is made from this alone. Pure.

What is internal is left out here, by the register's own marker: a file for the public cannot hold what was never given to it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from lethe.accountability.processor_list.model import ProcessorList, chain
from lethe.processors.history import Change
from lethe.processors.model import InForce
from lethe.processors.shown import shown


class Audience(StrEnum):
    """For whom: anybody who asks, or the company and its authority."""

    PUBLIC = "public"
    INTERNAL = "internal"


def content(listed: ProcessorList, audience: Audience) -> dict[str, Any]:
    """The list for that audience: keys in no order that matters, days as ISO 8601."""
    public = audience is Audience.PUBLIC
    works_for: dict[str, list[str]] = {e.id: [] for e in listed.processors}
    for above, passed in chain(listed.processors).items():
        for sub in passed:
            works_for[sub].append(above)
    found: dict[str, Any] = {
        "audience": audience.value,
        "company": listed.company,
        "contact": listed.contact,
        "as_of": listed.as_of.isoformat(),
        "since": listed.since.isoformat() if listed.since else None,
        "processors": [{**_entry(listed, e, public), "works_for": works_for[e.id]} for e in listed.processors],
        "recipients": [_entry(listed, e, public) for e in listed.recipients],
        "changes": [told for c in listed.changed if (told := _change(c, public)) is not None],
        "words": listed.words.model_dump(mode="json"),
        "made_from": {
            "policy_version": listed.inputs.policy_version,
            "policy": listed.inputs.policy,
            "published_text": listed.inputs.text_sha256,
            "catalog": listed.inputs.catalog,
            "disclosure": listed.inputs.disclosure,
            "register": listed.inputs.register_,
        },
    }
    if not public:
        found["agreements_ending"] = [e.model_dump(mode="json") for e in listed.ending]
    return found


def _entry(listed: ProcessorList, entry: InForce, public: bool) -> dict[str, Any]:
    begun = listed.begun[entry.id].isoformat()
    return {"id": entry.id, "begun": begun, **(shown(entry.version) if public else entry.version.model_dump(mode="json"))}


def _change(change: Change, public: bool) -> dict[str, Any] | None:
    """A change; None when all that changed is internal and the list is public."""
    found: dict[str, Any] = {"on": change.on.isoformat(), "what": change.what, "id": change.id, "type": change.type}
    if change.what != "changed":
        return {**found, "name": change.version.legal_name, "kind": str(change.version.kind)}
    fields = [f.model_dump(mode="json", include={"field", "old", "new"}) for f in change.fields if not (public and f.internal)]
    if not fields and change.fields:
        return None
    return {**found, "name": change.after.legal_name, "kind": str(change.after.kind), "fields": fields}
