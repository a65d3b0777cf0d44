"""Counting a plan through its stores: each step's numbers, ages by month and due keys, or an error that names the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lethe.errors import UnknownName
from lethe.plan.model import Counts, Plan, Step


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """What was found for a step at one instant of its store.

    `histogram`: (`YYYY-MM` of the policy's zone, rows of the rule whose clock is believable), oldest month first.
    `keys`: the key64s of all due rows, compressed (`stores/postgres/keys.py`). `fingerprint`: `{"rows": due, "xor": bit_xor of the
    hashes of their key64s}`. `snapshot`: PostgreSQL's `pg_current_snapshot()` as text, None for a store without one.
    """

    counts: Counts
    histogram: tuple[tuple[str, int], ...] = ()
    keys: bytes | None = field(default=None, repr=False)
    fingerprint: Mapping[str, int] = field(default_factory=dict)
    snapshot: str | None = None
    seconds: float = 0.0

    def details(self) -> dict[str, Any]:
        """Everything but counts and keys, as JSON knows it: what is stored beside the counts."""
        return {
            "histogram": [list(pair) for pair in self.histogram],
            "fingerprint": dict(self.fingerprint),
            "snapshot": self.snapshot,
            "seconds": round(self.seconds, 3),
        }


class Counter(Protocol):
    """A store as the planner sees it: it counts steps, all at one instant."""

    def count(self, step: Step) -> StepCount:
        """The step's numbers; raises Uncountable (PartialView, when only part can be seen) or Unreachable, never a hopeful zero."""
        ...


def count_plan(plan: Plan, counters: Mapping[str, Counter]) -> dict[str, StepCount]:
    """What each step with a predicate would find, by step; the steps that wait are counted too, for the report.

    `counters` by store id. Raises UnknownName for a store that has none, and whatever a count raises: one set that cannot be
    counted stops the whole run (invariant 6).
    """
    found: dict[str, StepCount] = {}
    for step in plan.steps:
        if step.predicate is None or step.store is None:
            continue
        if step.store not in counters:
            raise UnknownName(
                f"Step {step.id!r} needs store {step.store!r}, which was not opened.", fix="Open every store of the plan first."
            )
        found[step.id] = counters[step.store].count(step)
    return found
