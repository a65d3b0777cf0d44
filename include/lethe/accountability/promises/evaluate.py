"""From what was found to verdicts. Pure: no clock, no database; whatever is not shown is not fresh.

The order of the questions is the order of their weight. Evidence from the future is never fresh: somebody's clock, or somebody, is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from lethe.accountability.promises.model import ControlVerdict, Evidence, PromiseVerdict, Seen, Verdict, worst
from lethe.instants import local_day
from lethe.policy.controls import Control, ControlKind, FreshFor
from lethe.policy.model import PolicyVersion
from lethe.reports.words import NEEDS, period

NOT_LOOKED_AT = Seen(unknown="nobody looked at it.")


def judge(policy: PolicyVersion, seen: Mapping[str, Seen], *, at: datetime, published: str, ledger: str) -> tuple[PromiseVerdict, ...]:
    """The verdict of every promise of `policy` as of `at`. `seen`: what was found, by the control's key.

    `published`: why the text is not the one that people were promised; `ledger`: why no record of the ledger may be rested on. Empty: all is well.
    """
    return tuple(
        PromiseVerdict(
            id=promise.id,
            quotes=promise.quotes,
            means=promise.means,
            proof=promise.proof,
            controls=tuple(
                judge_control(
                    c,
                    seen.get(c.key, NOT_LOOKED_AT),
                    at=at,
                    fresh_for=policy.fresh_for,
                    zone=policy.time_zone,
                    published=published,
                    ledger=ledger,
                ).model_copy(update={"says": _says(c, policy)})
                for c in promise.controls
            ),
        )
        for promise in policy.promises
    )


def _says(control: Control, policy: PolicyVersion) -> str:
    """What a rule does, in words."""
    rule = next((r for r in policy.rules if control.kind is ControlKind.RULE and r.id == control.name), None)
    if rule is None:
        return ""
    kept = "" if rule.archive is None else f", then archived for {period(rule.archive.period)} under {rule.archive.law}"
    return f"{rule.category.replace('-', ' ').capitalize()}: kept for {period(rule.period)}, by the clock {rule.clock.replace('_', ' ')}{kept}."


def judge_control(
    control: Control, seen: Seen, *, at: datetime, fresh_for: FreshFor, zone: str, published: str = "", ledger: str = ""
) -> ControlVerdict:
    """One control. Its own verdict first; then the text and the ledger, which can only make it worse."""
    age = fresh_for.of(control)
    own, reason, declared = _own(control, seen, at, age, zone)
    because = [why for why, holds in ((published, True), (ledger, _rests_on_ledger(seen))) if why and holds]
    verdict = worst((own, Verdict.FAILING)) if because else own
    stale_at = None
    if seen.attested is None and seen.evidence is not None and seen.evidence.seq is not None and age is not None:
        stale_at = seen.evidence.at + age
    return ControlVerdict(
        kind=control.kind,
        name=control.name,
        verdict=verdict,
        by_itself=own,
        reason=" ".join((*because, reason)),
        declared=declared and not because,
        evidence=seen.evidence,
        stale_at=stale_at,
        attested=seen.attested,
    )


def _own(control: Control, seen: Seen, at: datetime, age: timedelta | None, zone: str) -> tuple[Verdict, str, bool]:
    """The verdict on its own evidence, in words, and whether the policy's files declare it to be missing."""
    if control.kind is ControlKind.UNBUILT:
        return Verdict.MISSING, "Still to be built.", True
    if seen.absent:
        return Verdict.MISSING, seen.absent, False
    if seen.waits_for:
        return Verdict.MISSING, f"It does not run yet: it waits for {' and '.join(NEEDS.get(n, n) for n in seen.waits_for)}.", True
    if seen.unknown:
        return Verdict.FAILING, f"It could not be told: {seen.unknown}", False
    if seen.evidence is None or age is None:
        return Verdict.MISSING, "There is no evidence.", False
    if _ahead(seen.evidence, at):
        return (
            Verdict.FAILING,
            "Its evidence is dated after this report: a clock is wrong, or somebody wrote it down before it happened.",
            False,
        )
    if seen.faults:
        return Verdict.FAILING, " ".join(seen.faults), False
    if control.kind is ControlKind.ATTESTATION:
        return *_of_attestation(seen, at, age, zone), False
    if at - seen.evidence.at > age:
        return Verdict.STALE, "Its evidence is older than it may be.", False
    return Verdict.FRESH, "", False


def _of_attestation(seen: Seen, at: datetime, longest: timedelta, zone: str) -> tuple[Verdict, str]:
    if seen.attested is None or seen.evidence is None:
        return Verdict.MISSING, "Nobody vouches for it."
    ends = min(seen.attested.until, local_day(seen.evidence.recorded_at + longest, zone))
    if local_day(at, zone) > ends:
        return Verdict.STALE, f"Nobody has vouched for it since {ends}."
    return Verdict.ATTESTED, ""


def _ahead(evidence: Evidence, at: datetime) -> bool:
    return evidence.at > at or evidence.recorded_at > at


def _rests_on_ledger(seen: Seen) -> bool:
    return seen.evidence is not None and seen.evidence.seq is not None
