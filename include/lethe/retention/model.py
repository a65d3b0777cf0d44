"""What the parts of a retention run hand to each other: ids, counts, digests, and texts for the people who decide."""

from __future__ import annotations

from lethe.frozen import Frozen
from lethe.plan.model import Counts, Finding, Plan


class Group(Frozen):
    """Steps whose tables are connected by foreign keys, children before parents: carried out in this order, by one task."""

    label: str
    steps: tuple[str, ...]


class PlannedRun(Frozen):
    """A plan with its counts, and whether it would wait for a person."""

    plan: Plan
    attempt: int
    dry_run: bool
    resumed: bool
    counts: dict[str, Counts]
    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]

    @property
    def digest(self) -> str:
        """The plan's digest: the identity of the run."""
        return self.plan.digest


class Verdict(Frozen):
    """May a run delete? `waits`: a named person has to say so first. `markdown` is what that person decides on, `notice` what tells
    people that a plan waits."""

    waits: bool
    summary: str
    findings: tuple[Finding, ...] = ()
    markdown: str = ""
    notice: str = ""
