"""The records that accountability leaves in the ledger, by kind, where several modules speak of them."""

from __future__ import annotations

LISTED = "processors.listed"
FAILED = "processors.failed"
"""A list of processors was made, or could not be."""
