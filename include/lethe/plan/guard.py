"""The guard: which steps of a plan are out of the ordinary, so that a named person has to look first (invariant 11). Pure.

Limits are values of the policy: a share of the table, a number of rows, a multiple of what the step usually deletes. A step that
reaches further than what ran before (`plan.widened`) waits too, and so does a plan that has grown beyond what was approved.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from lethe.errors import Uncountable
from lethe.plan.model import Counts, Finding, Plan, Step
from lethe.plan.widened import Widening
from lethe.policy.model import Guard, PolicyVersion
from lethe.policy.period import Period

PAST_RUNS_NEEDED = 5
"""Below this many past runs nothing is usual yet."""


def limits_of(policy: PolicyVersion) -> dict[str, Guard]:
    """The guard of each rule: its own, or the policy's."""
    return {rule.id: rule.guard or policy.guard for rule in policy.rules}


def findings(
    plan: Plan,
    counts: Mapping[str, Counts],
    limits: Mapping[str, Guard],
    history: Mapping[str, Sequence[int]] | None = None,
    approved: Mapping[str, int] | None = None,
    wider: Mapping[str, Widening] | None = None,
) -> tuple[Finding, ...]:
    """Why this plan waits for a person; empty when it may go on.

    `counts` by step, of every step that acts: Uncountable names one that is missing, for unknown is not zero. `limits` by rule
    (`limits_of`). `history` by step: what past plans deleted, oldest first. `wider` as `widened` gives it.
    `approved` holds the ceilings of an approval of this very plan: with one, only a step that would go above what was seen
    then is a finding. A step that the approval did not see has a ceiling of 0.
    """
    found: list[Finding] = []
    for step in plan.steps:
        if not step.acts:
            continue
        if step.id not in counts:
            raise Uncountable(
                f"Step {step.id} was not counted.", fix="Count the plan again: a step without a number cannot pass the guard."
            )
        deletable = counts[step.id].deletable
        if approved is not None:
            ceiling = approved.get(step.id, 0)
            if deletable > ceiling:
                found.append(Finding(step=step.id, limit="approved ceiling", value=deletable, allowed=ceiling))
            continue
        guard = limits.get(step.rule)
        if guard is None:
            raise Uncountable(f"Rule {step.rule} has no guard.", fix="Take the limits of the policy version that the plan was made with.")
        found.extend(_beyond(step, counts[step.id], guard, (history or {}).get(step.id, ())))
        if wider and step.id in wider:
            found.append(_wider(step, counts[step.id], wider[step.id]))
    return tuple(found)


def ceilings(
    plan: Plan,
    counts: Mapping[str, Counts],
    limits: Mapping[str, Guard],
    history: Mapping[str, Sequence[int]] | None = None,
    approved: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """How many rows each acting step may delete in all, whatever has become due since it was counted: what was approved, or else what
    would pass without an approval, which is never less than what was counted. Same arguments as `findings`, whose plan has passed."""
    most: dict[str, int] = {}
    for step in plan.steps:
        if not step.acts or step.id not in counts:
            continue
        if approved is not None:
            most[step.id] = approved.get(step.id, 0)
            continue
        guard, counted = limits[step.rule], counts[step.id]
        normal = usual((history or {}).get(step.id, ()))
        allowed = [guard.max_rows, math.floor(guard.max_share * counted.total)]
        allowed += [guard.max_times_usual * max(normal, 1)] if normal is not None else []
        most[step.id] = max(counted.deletable, min(allowed))
    return most


def usual(past: Collection[int]) -> int | None:
    """The 95th percentile (nearest rank) of what past runs deleted; None while fewer than `PAST_RUNS_NEEDED` are known."""
    if len(past) < PAST_RUNS_NEEDED:
        return None
    return sorted(past)[math.ceil(0.95 * len(past)) - 1]


def _wider(step: Step, counts: Counts, why: Widening) -> Finding:
    if why.was and why.now:
        return Finding(step=step.id, limit=why.limit, value=Period(why.now).about_days, allowed=Period(why.was).about_days)
    return Finding(step=step.id, limit=why.limit, value=counts.deletable, allowed=0)


def _beyond(step: Step, counts: Counts, guard: Guard, past: Sequence[int]) -> list[Finding]:
    found = []
    share = counts.deletable / counts.total if counts.total else 0.0
    if share > guard.max_share:
        found.append(Finding(step=step.id, limit="share", value=share, allowed=guard.max_share))
    if counts.deletable > guard.max_rows:
        found.append(Finding(step=step.id, limit="rows", value=counts.deletable, allowed=guard.max_rows))
    normal = usual(past)
    # A step that usually deletes nothing may delete a few rows: ten times nothing would stop it at its very first one.
    if normal is not None and counts.deletable > guard.max_times_usual * max(normal, 1):
        found.append(Finding(step=step.id, limit="usual", value=counts.deletable, allowed=guard.max_times_usual * max(normal, 1)))
    return found
