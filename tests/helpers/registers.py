"""Registers of processors for tests: a small one of plain values to edit, and the models made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lethe.processors.model import Register

Edit = Callable[[dict[str, Any]], Any]


def version(active_from: str = "2020-01-01", active_to: str | None = None, **changes: Any) -> dict[str, Any]:
    """A version of a hosting processor, as it would stand in the file."""
    values = {
        "active_from": active_from, "active_to": active_to, "legal_name": "Host SAS", "address": "1 rue Haute, Lyon", "country": "FR",
        "public_contact": "dpo@host.example", "kind": "hosting", "purposes": ["provide-service"], "data_categories": ["user.contact.email"],
        "person_categories": ["customers"], "datasets": ["users"], "locations": [{"country": "FR"}], "end_of_contract": "delete",
        "agreement": {"reference": "A-1", "in_force_from": "2020-01-01"}, "contact": "desk, +33 1", "breach_contact": "night desk, +33 2",
    }  # fmt: skip
    return values | changes


def recipient(active_from: str = "2020-01-01", active_to: str | None = None, **changes: Any) -> dict[str, Any]:
    """A version of a recipient that is no processor."""
    unknown = {"end_of_contract", "agreement", "breach_contact"}
    values = {k: v for k, v in version(active_from, active_to).items() if k not in unknown}
    return values | {"kind": "bank", "why": {"fr": "une loi", "en": "a law"}} | changes


def entry(id_: str, *versions: dict[str, Any]) -> dict[str, Any]:
    """An entry with its history."""
    return {"id": id_, "versions": list(versions)}


def values(*processors: dict[str, Any], recipients: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """A register, as it would stand in the file."""
    return {
        "warn_before_end": "P60D",
        "person_categories": {"customers": {"fr": "les clients", "en": "customers"}},
        "processors": list(processors),
        "recipients": list(recipients),
    }


def register(*processors: dict[str, Any], recipients: tuple[dict[str, Any], ...] = ()) -> Register:
    """A register as a value."""
    return Register.model_validate(values(*processors, recipients=recipients))
