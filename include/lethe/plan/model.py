"""The plan: the frozen list of what a run will do. A plan is a value: printable, storable, hashable.

Its digest is the run's identity. It covers `as_of`, the hashes of policy and catalog, and each step's rule, store, predicate
and cutoff; not counts, pace, technique, dry run or the time (invariant 12).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from lethe.catalog.model import Clock, Condition, ObjectClock, Path
from lethe.errors import UnknownName
from lethe.frozen import Frozen, digest
from lethe.policy.period import CalendarPeriod


class ContractShield(Frozen):
    """A live contract of the row's tenant keeps the row: the path to the contracts, and the columns that say which live."""

    through: Path
    started: str
    ended: str


class KeptFor(Frozen):
    """The row is not due while a row of `dataset` has in `columns` what this row has in `own`."""

    dataset: str
    columns: tuple[str, ...]
    own: tuple[str, ...]


class Predicate(Frozen):
    """Which rows of a table are due: compiled to SQL twice, by readers that share nothing (invariant 5)."""

    clock: Clock
    cutoff: AwareDatetime
    start_of_service: AwareDatetime
    as_of: AwareDatetime
    zone: str = Field(default="UTC", description="The policy's time zone: the dates of `stored_as: date` are local dates there.")
    subset: tuple[Condition, ...] = ()
    shield: ContractShield | None = None
    kept_for: tuple[KeptFor, ...] = ()


class ArchiveTerms(Frozen):
    """What becomes of a row that a law still needs: these columns of it go to the archive for `period`, counted from the clock.

    A row whose period is over already is deleted and not archived (decision order 2).
    """

    law: str
    ground: Literal["obligation", "claims"]
    period: CalendarPeriod
    columns: tuple[str, ...]


class ExpiryPredicate(Frozen):
    """Which archive objects are due: those of a dataset under a law whose `expires_at` is not after `as_of`."""

    dataset: str
    law: str
    as_of: AwareDatetime
    zone: str


class ObjectPredicate(Frozen):
    """Which objects of a prefix are due."""

    bucket: str
    prefix: str
    clock: ObjectClock
    cutoff: AwareDatetime
    start_of_service: AwareDatetime
    as_of: AwareDatetime
    zone: str


class Step(Frozen):
    """One rule over one dataset.

    `waiting_for` names what the rule still needs (an archive, a record of return, a warning): such a step never acts.
    """

    id: str
    rule: str
    promise: str
    dataset: str | None
    store: str | None
    predicate: Predicate | ObjectPredicate | ExpiryPredicate | None
    archive: ArchiveTerms | None = None
    waiting_for: tuple[str, ...] = ()
    period: str = Field(
        default="", description="The rule's period as written (P12M), so that the next plan can tell that it was shortened."
    )

    @property
    def acts(self) -> bool:
        """Will this step delete anything?"""
        return self.predicate is not None and not self.waiting_for

    @property
    def due_before(self) -> datetime | None:
        """The instant before which its clocks are due: the cutoff, or for archive objects, whose expiry is an instant of its own, `as_of`."""
        if self.predicate is None:
            return None
        return self.predicate.as_of if isinstance(self.predicate, ExpiryPredicate) else self.predicate.cutoff


class Plan(Frozen):
    """What a run will do, as of one instant, under one version of the policy and one catalog."""

    as_of: AwareDatetime
    policy_version: str
    policy_digest: str
    text_sha256: str
    catalog_digest: str
    rules: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def digest(self) -> str:
        """sha256 of the plan: the identity of the run that carries it out."""
        return digest(self)

    def step(self, step_id: str) -> Step:
        """The step of that id; UnknownName when there is none."""
        found = next((s for s in self.steps if s.id == step_id), None)
        if found is None:
            raise UnknownName(f"Plan {self.digest[:12]} has no step {step_id[:80]!r}.", fix="`lethe plan` lists its steps.")
        return found


class Counts(Frozen):
    """What one counting query found for a step. `due` = rows that the clock says must go; of them `held` are under a hold or
    a restriction and `blocked` are referred to by a row that stays; quarantined clocks are never due."""

    total: int
    due: int
    held: int = 0
    blocked: int = 0
    quarantined_null: int = 0
    quarantined_future: int = 0
    quarantined_early: int = 0
    oldest: AwareDatetime | None = None

    @property
    def deletable(self) -> int:
        """Rows that would be deleted if nothing changed until then: due, neither held nor blocked."""
        return self.due - self.held - self.blocked

    @property
    def quarantined(self) -> int:
        """Rows whose clock cannot be believed."""
        return self.quarantined_null + self.quarantined_future + self.quarantined_early


class Finding(Frozen):
    """A step of a plan that goes beyond its guard, and which limit it passed."""

    step: str
    limit: Literal[
        "share", "rows", "usual", "shortened", "contract ignored", "other clock", "need dropped", "further reach", "approved ceiling"
    ]
    value: float
    allowed: float


class HoldScope(Frozen):
    """Rows that a hold keeps. Everything that is given must match; nothing given is refused by `lethe hold add`.

    `person` is an identity dataset and a key (`users`, `123`), never an e-mail; `tenant` a tenant's key.
    `since` and `until` bound the clock of the rule that would delete the row.
    """

    id: int
    dataset: str | None = None
    tenant: str | None = None
    person: tuple[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
