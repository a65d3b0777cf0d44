"""What a plan would delete and past runs would have kept: a shorter period, another clock, a contract that protects no longer. Pure.

Plans are compared step by step over the same dataset and the same rows of it, never by the names of rules: a rule that is renamed, or
replaced by one that reaches further, is compared with what ran before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from lethe.catalog.model import Clock
from lethe.plan.model import ArchiveTerms, ObjectPredicate, Plan, Predicate, Step
from lethe.policy.period import Period

Limit = Literal["shortened", "contract ignored", "other clock", "need dropped", "further reach"]


class Widening(NamedTuple):
    """Why a step reaches further than anything that ran on its dataset, and the period that was and is applied there, if it is that."""

    limit: Limit
    was: str = ""
    now: str = ""


def widened(plan: Plan, before: Mapping[str, Sequence[Step]]) -> dict[str, Widening]:
    """The acting steps that may delete rows which no step of the last runs on their dataset would have deleted, and why.

    `before` holds, by dataset, the steps of the last finished runs over it, those that waited too (`control.history.last_steps`). A
    dataset that no run has looked at has nothing to compare with: the other limits of the guard are for it.
    """
    found = {s.id: _widening(s, before[s.dataset]) for s in plan.steps if s.acts and s.dataset is not None and s.dataset in before}
    return {step: widening for step, widening in found.items() if widening is not None}


def _widening(step: Step, before: Sequence[Step]) -> Widening | None:
    """None when one earlier step would have deleted every row that this one does."""
    acted = [(old, _kept_apart(old, step)) for old in before if old.acts]
    if any(not apart for _, apart in acted):
        return None
    longer = [old.period for old, apart in acted if apart == {"shortened"}]
    if longer:
        return Widening("shortened", min(longer, key=Period), step.period)
    if any(old.rule == step.rule and not old.acts for old in before) or not acted:
        return Widening("need dropped")
    closest = min((apart for _, apart in acted), key=len)
    found: tuple[Limit, ...] = ("contract ignored", "other clock", "further reach")
    return Widening(next((limit for limit in found if limit in closest), "shortened"))


def _kept_apart(old: Step, new: Step) -> set[Limit]:
    """Why the rows of `new` are not all rows of `old`; empty when they are."""
    was, now = old.predicate, new.predicate
    found: set[Limit] = set()
    if old.period and new.period and Period(new.period) < Period(old.period):
        found.add("shortened")
    if _archives_less(old.archive, new.archive):
        found.add("further reach")
    if isinstance(was, Predicate) and isinstance(now, Predicate):
        if _aged(was) != _aged(now) or was.zone != now.zone:
            found.add("other clock")
        if was.shield is not None and was.shield != now.shield:
            found.add("contract ignored")
        fewer = not set(was.kept_for) <= set(now.kept_for)
        if fewer or not set(was.subset) <= set(now.subset) or now.start_of_service < was.start_of_service:
            found.add("further reach")
    elif isinstance(was, ObjectPredicate) and isinstance(now, ObjectPredicate):
        if was.clock != now.clock or was.zone != now.zone:
            found.add("other clock")
        if was.bucket != now.bucket or not now.prefix.startswith(was.prefix) or now.start_of_service < was.start_of_service:
            found.add("further reach")
    else:
        found.add("further reach")
    return found


def _aged(predicate: Predicate) -> Clock:
    """The clock by which rows become due. What a NULL or a date to come means only decides what is quarantined."""
    return predicate.clock.model_copy(update={"null_means": "unknown", "future_means": "unknown"})


def _archives_less(old: ArchiveTerms | None, new: ArchiveTerms | None) -> bool:
    """Would something that went to the archive now be gone, or gone sooner?"""
    if old is None or new is None:
        return old is not None
    return not set(old.columns) <= set(new.columns) or new.period < old.period
