"""A policy of one promise, for tests without a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lethe.policy.model import PolicyVersion

RULE: dict[str, Any] = {
    "id": "logs",
    "promise": "p",
    "quote": None,
    "category": "logs",
    "role": "controller",
    "clock": "event",
    "period": "P12M",
    "why": "A test.",
}


def policy_of(
    *,
    quotes: Sequence[str] = (),
    controls: Sequence[dict[str, Any]] = (),
    rules: Sequence[dict[str, Any]] = (RULE,),
    fresh_for: dict[str, str] | None = None,
    **changes: Any,
) -> PolicyVersion:
    """One version with one promise, `p`."""
    ages = {"rule": "PT26H", "check": "PT26H", "attestation": "P366D"} if fresh_for is None else fresh_for
    return PolicyVersion.model_validate(
        {
            "company": "Small LLC",
            "published_on": "2026-05-01",
            "effective_on": "2026-05-01",
            "time_zone": "Europe/Paris",
            "authority": "CNIL",
            "text_sha256": "0" * 64,
            "backup_window": "P35D",
            "guard": {"max_share": 0.1, "max_rows": 10},
            "rules": list(rules),
            "promises": [{"id": "p", "quotes": list(quotes), "means": "m", "proof": "p", "controls": list(controls)}],
            "fresh_for": ages,
            **changes,
        }
    )
