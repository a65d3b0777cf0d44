"""The guard: which steps of a plan are out of the ordinary, so that a named person has to look first (invariant 11). Pure.

Limits are values of the policy: a share of the table, a number of rows, a multiple of what the step usually deletes. A shortened
period waits too, and so does a plan that has grown beyond what was approved.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from lethe.errors import Uncountable
from lethe.plan.model import Counts, Finding, Plan, Step
from lethe.policy.model import Guard, PolicyVersion
from lethe.policy.period import Period

PAST_RUNS_NEEDED = 5
"""Below this many past runs nothing is usual yet."""


def limits_of(policy: PolicyVersion) -> dict[str, Guard]:
    """The guard of each rule: its own, or the policy's."""
    return {rule.id: rule.guard or policy.guard for rule in policy.rules}


def shortened(plan: Plan, before: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The steps whose period is shorter than the one that was last applied, with both: step -> (before, now).

    `before` is the period each step had in its last finished run (`control.history.last_periods`); a step that never ran has none.
    """
    pairs = {s.id: (before[s.id], s.period) for s in plan.steps if s.acts and s.period and before.get(s.id)}
    return {step: (was, now) for step, (was, now) in pairs.items() if Period(now) < Period(was)}


def findings(
    plan: Plan,
    counts: Mapping[str, Counts],
    limits: Mapping[str, Guard],
    history: Mapping[str, Sequence[int]] | None = None,
    approved: Mapping[str, int] | None = None,
    shorter: Mapping[str, tuple[str, str]] | None = None,
) -> tuple[Finding, ...]:
    """Why this plan waits for a person; empty when it may go on.

    `counts` by step, of every step that acts: Uncountable names one that is missing, for unknown is not zero. `limits` by rule
    (`limits_of`). `history` by step: what past plans deleted, oldest first. `shorter` as `shortened` gives it.
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
        if shorter and step.id in shorter:
            was, now = (Period(p) for p in shorter[step.id])
            found.append(Finding(step=step.id, limit="shortened", value=now.about_days, allowed=was.about_days))
    return tuple(found)


def usual(past: Collection[int]) -> int | None:
    """The 95th percentile (nearest rank) of what past runs deleted; None while fewer than `PAST_RUNS_NEEDED` are known."""
    if len(past) < PAST_RUNS_NEEDED:
        return None
    return sorted(past)[math.ceil(0.95 * len(past)) - 1]


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
