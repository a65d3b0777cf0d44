"""What the last list of processors found of the register."""

from __future__ import annotations

from collections.abc import Collection

from lethe.accountability.kinds import LISTED
from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.records import evidence_of, latest

AGREEMENTS = frozenset({"agreement missing", "agreement over"})


def processors(look: Look) -> Seen:
    """Anything at all: a fourth kind of processor, a flow to nobody, an entry without a flow."""
    return _listed(look, None)


def agreements(look: Look) -> Seen:
    """An agreement that is missing or over."""
    return _listed(look, AGREEMENTS)


def _listed(look: Look, kinds: Collection[str] | None) -> Seen:
    last = latest(look.records, LISTED)
    return Seen() if last is None else Seen(evidence=evidence_of(last), faults=judges.listed(last.content, kinds))
