"""Is the ledger what was written, and do the tables that it tells of agree with it?"""

from __future__ import annotations

from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen


def sound(look: Look) -> Seen:
    """Every finding of the walk."""
    return look.now(*(f.text for f in look.ledger.findings))
