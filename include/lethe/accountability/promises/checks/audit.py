"""What the last audit found of the catalog, by the promise that it is about."""

from __future__ import annotations

from collections.abc import Collection

from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.records import evidence_of

AUDIT = "audit.finished"

NEEDED = frozenset(
    {
        "personal column not covered",
        "column not mapped",
        "guessed category",
        "category without rule",
        "category without dataset",
        "role differs",
        "purpose not known",
    }
)
PURPOSES = frozenset({"purpose not known", "not disclosed", "personal column not covered"})


def drift(look: Look) -> Seen:
    """Every difference."""
    return _audited(look, None)


def needed_data(look: Look) -> Seen:
    """Personal columns that lack a purpose, role, category or rule."""
    return _audited(look, NEEDED)


def purposes_named(look: Look) -> Seen:
    """Datasets that lack a purpose, or words about it for a person who asks."""
    return _audited(look, PURPOSES)


def _audited(look: Look, kinds: Collection[str] | None) -> Seen:
    last = look.records.newest(AUDIT)
    return Seen() if last is None else Seen(evidence=evidence_of(last), faults=judges.drift(last.content, kinds))
