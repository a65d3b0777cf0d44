"""Two versions of a policy beside each other: which rules would now delete more, and which fewer. Pure."""

from __future__ import annotations

from typing import Literal

from lethe.frozen import Frozen
from lethe.policy.model import Archive, PolicyVersion, Rule

_REACH = ("category", "subset", "role", "clock", "then", "archive", "needs")
"""What decides which rows a rule reaches, besides its period and the live contract."""


class RuleChange(Frozen):
    """What an edit does to one rule. `widens`: it may now delete rows that it kept before, so a person must look."""

    rule: str
    kind: Literal["added", "removed", "changed"]
    fields: tuple[str, ...] = ()
    widens: bool


def diff(old: PolicyVersion, new: PolicyVersion) -> tuple[RuleChange, ...]:
    """Every rule that was added, removed or changed in what it deletes, in the order of the new version, removed ones last."""
    before = {r.id: r for r in old.rules}
    after = {r.id: r for r in new.rules}
    zone_moved = old.time_zone != new.time_zone
    changes = [
        RuleChange(rule=i, kind="added", widens=True) if i not in before else _compare(before[i], r, zone_moved=zone_moved)
        for i, r in after.items()
    ]
    changes += [RuleChange(rule=i, kind="removed", widens=False) for i in before if i not in after]
    return tuple(c for c in changes if c is not None)


def _archives_less(old: Archive | None, new: Archive | None) -> bool:
    """Would something that went to the archive now be gone, or gone sooner?"""
    if old is None or new is None:
        return old is not None
    lost = any(set(columns) - set(new.columns.get(dataset, ())) for dataset, columns in old.columns.items())
    return lost or new.period < old.period


def _compare(old: Rule, new: Rule, *, zone_moved: bool) -> RuleChange | None:
    fields = [f for f in ("period", "live_contract", "kept_for", *_REACH) if getattr(old, f) != getattr(new, f)]
    if zone_moved:
        fields.append("time_zone")
    if not fields:
        return None
    widens = (
        new.period < old.period
        or (old.live_contract == "keeps" and new.live_contract == "ignored")
        or any(f in fields for f in ("category", "subset", "clock", "then", "time_zone"))
        or bool(set(old.needs) - set(new.needs))
        or bool(set(old.kept_for) - set(new.kept_for))
        or _archives_less(old.archive, new.archive)
    )
    return RuleChange(rule=new.id, kind="changed", fields=tuple(fields), widens=widens)
