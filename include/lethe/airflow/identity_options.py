"""What a person may answer who decides who asks: each a decision and its reason in one choice. No field takes text."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, tuple[str, str]] = {
    "Accept: document seen": ("accept", "document_seen"),
    "Accept: known address": ("accept", "known_address"),
    "Accept: signed in": ("accept", "signed_in"),
    "Accept: mandate seen": ("accept", "mandate_seen"),
    "Accept: no identity needed": ("accept", "no_identity_needed"),
    "Refuse: not proven": ("refuse", "not_proven"),
    "Refuse: proof differs": ("refuse", "proof_differs"),
    "Refuse: no answer": ("refuse", "no_answer"),
    "Refuse: no mandate": ("refuse", "no_mandate"),
    "Ask for more: proof missing": ("ask_more", "proof_missing"),
    "Ask for more: proof unreadable": ("ask_more", "proof_unreadable"),
    "Ask for more: several persons": ("ask_more", "several_persons"),
}
"""Those of lethe.subjects.requests.REASONS, which a DAG file does not import."""

NEEDS_NO_IDENTITY = "Accept: no identity needed"
"""Offered for a list of processors alone."""
