"""What the independent check found for a step, as values, and the rule by which checks become an outcome. Pure.

Source: PROMISES, "What complete means", and invariant 6: unknown is not zero, and only `clean` marks anything done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime

from lethe.frozen import Frozen
from lethe.policy.period import Period

Outcome = Literal["clean", "survivors", "unknown"]
Level = Literal["L1", "L2"]
Status = Literal["passed", "failed", "unknown"]

SURVIVORS = "no due row is left"
EQUATION = "planned rows are accounted for"
CHANGED = "rows that changed are counted"
STATISTICS = "PostgreSQL counted what the batches say"
CUMULATIVE = "the server's statistics hold what the batches say"
BATCHES = "every batch has ended"
ORPHANS = "no row refers to one that is gone"
SIGHT = "the checking role sees the whole table"
REPLICAS = "replicas have caught up"
OBJECTS = "no version, marker or upload is left"
FILES = "no file is left whose row is gone"
THERE = "no archived row is missing"
ARCHIVED = "the archive has the rows that were archived"
SEALED = "every archived object is sealed"
SPLIT = "what came in is archived, deleted or still there, by tenant"


class Check(Frozen):
    """One check of a step. `measured` holds counts only; `detail` never holds a value of a row."""

    name: str
    status: Status
    detail: str = ""
    measured: dict[str, int] = {}


class Terms(Frozen):
    """Rows (or objects), each term counted on its own; None: it could not be counted, which is not zero."""

    planned: int | None = None
    arrived: int | None = None
    deleted: int | None = None
    held: int | None = None
    changed: int | None = None
    blocked: int | None = None
    failed: int | None = None
    survivors: int | None = None
    quarantined: int | None = None

    @property
    def balanced(self) -> bool | None:
        """Does planned + arrived = deleted + held + changed + blocked + failed? None when a term is unknown."""
        left = (self.planned, self.arrived)
        right = (self.deleted, self.held, self.changed, self.blocked, self.failed)
        if any(t is None for t in (*left, *right)):
            return None
        return sum(t for t in left if t is not None) == sum(t for t in right if t is not None)


class Split(Frozen):
    """The rows of one tenant in a step: due when it was planned, and of them archived, only deleted, and still there (held, blocked)."""

    planned: int = 0
    archived: int = 0
    deleted: int = 0
    left: int = 0

    @property
    def missing(self) -> int:
        """Rows that came in and are nowhere, or that are somewhere and did not come in."""
        return abs(self.planned - self.archived - self.deleted - self.left)


class StepResult(Frozen):
    """The verdict on a step, as it is stored (`step_results`, and as JSON on `lethe_s3`): ids, counts and dates only.

    `past_expiry`: rows that a hold keeps in the archive although their period is over, by object. `split`: by tenant (keyed digest; "" for
    rows that lead to none), of a step whose rows are sorted at a contract's end.
    """

    step: str
    outcome: Outcome
    level: Level | None
    l4_on: date | None
    terms: Terms
    oldest_before: AwareDatetime | None = None
    oldest_after: AwareDatetime | None = None
    checks: tuple[Check, ...] = ()
    reasons: tuple[str, ...] = ()
    past_expiry: dict[str, int] = {}
    split: dict[str, Split] = {}
    seconds: float = 0.0


class Space(Frozen):
    """Was the space of the deleted rows given back to be used again (vacuumed, nothing older holding it back), and if not, why."""

    reclaimed: bool
    reason: str = ""


def outcome_of(checks: Iterable[Check], terms: Terms) -> Outcome:
    """`survivors` when due rows were counted that are left; else `clean` only when every check passed and every term is known.

    A number that does not add up is `unknown`: no due row may be left, but what was done cannot be told. No check at all is `unknown`.
    """
    checks = tuple(checks)
    if terms.survivors:
        return "survivors"
    if not checks or any(c.status != "passed" for c in checks) or None in terms.model_dump().values():
        return "unknown"
    return "clean" if terms.balanced and terms.failed == 0 else "unknown"


def reasons_of(checks: Iterable[Check]) -> tuple[str, ...]:
    """Why a step is not clean, for an operator: the checks that did not pass."""
    return tuple(f"{c.name}: {c.status}" + (f" ({c.detail})" if c.detail else "") for c in checks if c.status != "passed")


def level_of(outcome: Outcome, reclaimed: Space | None) -> Level | None:
    """The completeness level that may be claimed: none unless clean, L2 only when the space is known to be reusable."""
    if outcome != "clean":
        return None
    return "L2" if reclaimed is not None and reclaimed.reclaimed else "L1"


def l4_date(outcome: Outcome, at: datetime, window: Period, zone: ZoneInfo) -> date | None:
    """The day on which the last backup that could hold the rows has expired: local date of `at` (aware) plus the backup window."""
    return window.after(at.astimezone(zone).date()) if outcome == "clean" else None


def conclude(
    step: str,
    checks: Iterable[Check],
    terms: Terms,
    *,
    at: datetime,
    window: Period,
    zone: ZoneInfo,
    reclaimed: Space | None = None,
    oldest: Mapping[Literal["before", "after"], datetime | None] | None = None,
    past_expiry: Mapping[str, int] | None = None,
    split: Mapping[str, Split] | None = None,
    seconds: float = 0.0,
) -> StepResult:
    """The result of a step from its checks and terms; `at` is the instant of the check, aware."""
    checks = tuple(checks)
    outcome = outcome_of(checks, terms)
    reasons = reasons_of(checks)
    level = level_of(outcome, reclaimed)
    if level == "L1" and reclaimed is not None and reclaimed.reason:
        reasons = (*reasons, f"space is not yet reusable: {reclaimed.reason}")
    return StepResult(
        step=step,
        outcome=outcome,
        level=level,
        l4_on=l4_date(outcome, at, window, zone),
        terms=terms,
        oldest_before=(oldest or {}).get("before"),
        oldest_after=(oldest or {}).get("after"),
        checks=checks,
        reasons=reasons,
        past_expiry=dict(past_expiry or {}),
        split=dict(split or {}),
        seconds=round(seconds, 3),
    )
