"""What the promise report says, as values: one verdict a control, one a promise, and the text they are about. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum

from pydantic import AwareDatetime

from lethe.frozen import Frozen
from lethe.policy.controls import ControlKind
from lethe.policy.sentences import Sentence
from lethe.processors.transfers import UnnamedTransfer


class Verdict(StrEnum):
    """From the best to the worst. `attested`: a person vouches for it, which is not the same as seeing it."""

    FRESH = "fresh"
    ATTESTED = "attested"
    STALE = "stale"
    FAILING = "failing"
    MISSING = "missing"


def worst(found: Iterable[Verdict]) -> Verdict:
    """The worst of several verdicts; missing when there is none: nothing was shown."""
    order = list(Verdict)
    return max(found, key=order.index, default=Verdict.MISSING)


class Evidence(Frozen):
    """What shows that a control did its work. `seq` and `digest` of its record in the ledger; None for a look that was taken for this report.

    `at`: the instant that it is about (a run's `as_of`), from which its age counts; `recorded_at`: when it was written down.
    """

    kind: str
    at: AwareDatetime
    recorded_at: AwareDatetime
    seq: int | None = None
    digest: str | None = None


class Attested(Frozen):
    """Who vouches for something, from when, and until which day (that day included)."""

    by: str
    until: date
    reference: str | None = None


class Seen(Frozen):
    """What was found of one control, before it is judged. At most one of the first three says why there is nothing to judge.

    `absent`: the control itself is not there, and why; `waits_for`: what the policy's own files say it still needs; `unknown`: why it could not
    be told. `faults`: what its evidence says is wrong.
    """

    absent: str = ""
    waits_for: tuple[str, ...] = ()
    unknown: str = ""
    evidence: Evidence | None = None
    faults: tuple[str, ...] = ()
    attested: Attested | None = None


class ControlVerdict(Frozen):
    """One control of one promise, judged. `by_itself`: the verdict on its own evidence, before the text and the ledger it rests on are looked
    at. `declared`: it is missing because the policy's own files say that it is still to be built. `says`: what it does, in words."""

    kind: ControlKind
    name: str
    verdict: Verdict
    by_itself: Verdict
    reason: str
    declared: bool = False
    says: str = ""
    evidence: Evidence | None = None
    stale_at: AwareDatetime | None = None
    attested: Attested | None = None

    @property
    def id(self) -> str:
        """Kind and name: `rule:technical-logs`."""
        return f"{self.kind.value}:{self.name}"

    @property
    def broken(self) -> bool:
        """Was it built, and does it not hold now? That is what makes the report's own run red."""
        return self.verdict in {Verdict.STALE, Verdict.FAILING} or (self.verdict is Verdict.MISSING and not self.declared)


class PromiseVerdict(Frozen):
    """One promise, with the worst verdict of its controls; without a control it is missing."""

    id: str
    quotes: tuple[str, ...]
    means: str
    proof: str
    controls: tuple[ControlVerdict, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its controls."""
        return worst(c.verdict for c in self.controls)

    @property
    def broken(self) -> bool:
        """Is a control broken, or is there none?"""
        return not self.controls or any(c.broken for c in self.controls)


class LedgerState(Frozen):
    """The ledger that evidence lies in, as it was walked for this report. `unknown`: why it could not be."""

    records: int = 0
    seq: int | None = None
    digest: str | None = None
    witnessed_to: int = 0
    findings: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def problem(self) -> str:
        """Why nothing may rest on it; empty when it is sound."""
        if self.unknown:
            return f"The ledger could not be walked: {self.unknown}"
        return f"The ledger is not sound: {self.findings[0]}" if self.findings else ""


class Unpublished(Frozen):
    """A period that is applied and that the text does not name. `waits_for`: what its rule still needs before it is applied."""

    rule: str
    promise: str
    period: str
    category: str
    why: str
    waits_for: tuple[str, ...] = ()


class Transfers(Frozen):
    """Transfers that the register has and the policy does not name, and the promise they are listed under. `unknown`: why it could not be told."""

    promise: str | None = None
    unnamed: tuple[UnnamedTransfer, ...] = ()
    unknown: str = ""


class PromiseReport(Frozen):
    """Every sentence of the published text with what keeps it, as of one instant."""

    company: str
    authority: str
    policy_version: str
    policy_digest: str
    text_file: str
    text_sha256: str
    time_zone: str
    at: AwareDatetime
    published: str = ""
    ledger: LedgerState
    promises: tuple[PromiseVerdict, ...]
    sentences: tuple[Sentence, ...]
    unpublished: tuple[Unpublished, ...]
    transfers: Transfers = Transfers()
    refers_to: tuple[str, ...]
    looks: Mapping[str, tuple[str, ...]] = {}

    @property
    def unbound(self) -> tuple[str, ...]:
        """What of the text no promise quotes."""
        return tuple(text for s in self.sentences for text in s.unbound)

    @property
    def broken(self) -> tuple[PromiseVerdict, ...]:
        """The promises of which a control that was built does not hold now."""
        return tuple(p for p in self.promises if p.broken)

    @property
    def counts(self) -> dict[str, int]:
        """Promises by verdict, the best first, none left out."""
        return {v.value: sum(p.verdict is v for p in self.promises) for v in Verdict}

    @property
    def kept(self) -> bool:
        """Is every promise fresh or attested?"""
        return all(p.verdict in {Verdict.FRESH, Verdict.ATTESTED} for p in self.promises) and not self.unbound
