"""What a run's report is made from: values only, frozen, without personal data. No number is worked out from another:
each is the one that was counted, and None means that it could not be."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import AwareDatetime

from lethe.frozen import Frozen
from lethe.policy.model import Role
from lethe.policy.period import Period
from lethe.reports.archive import ArchivePart
from lethe.verify.result import Outcome, Terms

Level = Literal["L0", "L1", "L2", "L3", "L4"]


class Quarantine(Frozen):
    """Rows whose clock cannot be believed, by what is wrong with it, and who has to look at them by when."""

    null: int | None = 0
    future: int | None = 0
    early: int | None = 0
    owner: str = ""
    look_by: date | None = None

    @property
    def total(self) -> int | None:
        """All of them; None when one number is unknown."""
        numbers = (self.null, self.future, self.early)
        return None if None in numbers else sum(n or 0 for n in numbers)


class Blocker(Frozen):
    """How many due rows a dataset's rows that stay still refer to, and by which relation. Several may hold one row back."""

    dataset: str
    relation: str
    rows: int


class StepReport(Frozen):
    """One rule over one dataset, and what became of it.

    `histogram` is (`YYYY-MM` in the policy's zone, rows) at plan time; `left` the same after the run, None when it was not
    counted. `level` is what was proven; `definitive_on` the day the last backup that could hold a deleted row has expired.
    `blockers` is None where it could not be counted what holds the blocked rows back. `findings` are other things a person must look at, in words.
    """

    id: str
    rule: str
    dataset: str
    store: str
    table: str
    unit: Literal["rows", "objects"] = "rows"
    role: Role
    promise: str
    quote: str | None = None
    period: Period
    why: str
    clock: str
    cutoff: AwareDatetime
    total: int | None = None
    terms: Terms
    quarantined: Quarantine = Quarantine()
    blockers: tuple[Blocker, ...] | None = ()
    outcome: Outcome | None = None
    level: Level | None = None
    definitive_on: date | None = None
    oldest_before: AwareDatetime | None = None
    oldest_after: AwareDatetime | None = None
    histogram: tuple[tuple[str, int], ...] = ()
    left: tuple[tuple[str, int], ...] | None = None
    technique: str = ""
    batches: int | None = None
    seconds: float | None = None
    longest_transaction_ms: float | None = None
    findings: tuple[str, ...] = ()


class WaitingStep(Frozen):
    """A rule of the policy that is not carried out yet, and what it waits for. `due`: rows that it would take if it did not wait, held ones
    too; None where that was not counted."""

    rule: str
    dataset: str | None
    period: Period
    promise: str
    waiting_for: tuple[str, ...]
    why: str = ""
    clock: str = ""
    due: int | None = None
    unit: Literal["rows", "objects"] = "rows"


class HoldReport(Frozen):
    """A hold that was in force. `scope` says by what it was given, never whose it is; `rows` is how many due rows and objects of this
    run it kept, None if unknown."""

    id: int
    scope: tuple[Literal["dataset", "tenant", "person", "dates"], ...]
    dataset: str | None = None
    reason: str
    owner: str
    starts_on: date
    review_on: date | None = None
    rows: int | None = None


class GuardReport(Frozen):
    """A limit that the plan went beyond."""

    step: str
    limit: str
    value: float
    allowed: float


class ApprovalReport(Frozen):
    """An answer of a named person. `ceilings` is (step, rows seen when it was approved)."""

    approver: str
    reason: str
    approved: bool = True
    given_at: AwareDatetime
    ceilings: tuple[tuple[str, int], ...] = ()


class InterruptionReport(Frozen):
    """The run was stopped and taken up again: when, in which step, and what recovery found out about the open batch."""

    at: AwareDatetime
    step: str | None = None
    found: str


class PromiseReport(Frozen):
    """A sentence of the published policy that steps of this run keep, word for word."""

    id: str
    quotes: tuple[str, ...]
    means: str = ""
    steps: tuple[str, ...] = ()


class RunReport(Frozen):
    """One run, whole: `attempt` counts runs of the same plan; `ledger_head` is the digest of its last record.

    `outcome` is None while there is none: a dry run, a plan that waits or was refused. `kind`: a night of the policy's rules, or of the
    archive's expiry. `archive` is None where there is nothing to say of one.
    """

    kind: Literal["purge", "expiry"] = "purge"
    company: str
    time_zone: str
    as_of: AwareDatetime
    policy_version: str
    policy_digest: str
    text_sha256: str
    catalog_digest: str
    plan: str
    attempt: int
    state: Literal["planned", "waiting", "passed", "purging", "verifying", "finished", "failed", "refused"]
    dry_run: bool = False
    pace: str = "full"
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    outcome: Outcome | None = None
    problem: str = ""
    ledger_seq: int | None = None
    ledger_head: str | None = None
    steps: tuple[StepReport, ...] = ()
    archive: ArchivePart | None = None
    waiting: tuple[WaitingStep, ...] = ()
    holds: tuple[HoldReport, ...] = ()
    guard: tuple[GuardReport, ...] = ()
    approvals: tuple[ApprovalReport, ...] = ()
    interruptions: tuple[InterruptionReport, ...] = ()
    promises: tuple[PromiseReport, ...] = ()
    unbound: tuple[str, ...] = ()
