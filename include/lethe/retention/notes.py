"""What a run leaves in the ledger for its own later tasks: what the batches did, and the server's statistics before them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from lethe.evidence.ledger import records

if TYPE_CHECKING:
    from lethe.purge.context import StepTotals

PURGED = "step.purged"
BASELINE = "run.baseline"


def note_of(attempt: int, totals: StepTotals) -> dict[str, Any]:
    """A step's totals as evidence: no fractions, which have no canonical text."""
    body = asdict(totals)
    body["techniques"] = list(totals.techniques)
    body["milliseconds"] = round(body.pop("seconds") * 1000)
    body["longest_transaction_us"] = round(body.pop("longest_transaction") * 1e6)
    body["fingerprint"] = str(totals.fingerprint)
    return {"attempt": attempt, **body}


def purged(control: Connection, plan: str, attempt: int) -> dict[str, dict[str, Any]]:
    """The last note of each step of an attempt, by step."""
    found = (r.content for r in records(control, run=plan, kind=PURGED))
    return {note["step"]: note for note in found if note["attempt"] == attempt}


def baselines(control: Connection, plan: str, attempt: int) -> dict[str, dict[str, int]]:
    """What each store's statistics said before the first deletion of an attempt, by store."""
    found = (r.content for r in records(control, run=plan, kind=BASELINE))
    return {note["store"]: note["deleted"] for note in found if note["attempt"] == attempt}
