"""Does somebody look after every hold?"""

from __future__ import annotations

from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.control.holds import hold_findings, list_holds
from lethe.instants import local_day


def reviewed(look: Look) -> Seen:
    """Holds without a day of review, or past it; their rows are kept all the same."""
    red = hold_findings(list_holds(look.control), local_day(look.at, look.policy.time_zone))
    found = sorted(f"hold {h.hold} ({h.problem})" for h in red)
    return look.now(f"Nobody looks after {judges.named(found)}." if found else "")
