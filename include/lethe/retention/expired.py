"""A step of the archive's expiry as its report: its dataset is in no catalog any more, and its rule perhaps in no policy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lethe.control.plans import Counted
from lethe.control.results import Verified
from lethe.plan.model import ExpiryPredicate, Step
from lethe.policy.model import PolicyVersion, Role, Rule
from lethe.policy.period import Period
from lethe.reports.model import StepReport
from lethe.verify.result import Terms


def expiry_report(
    step: Step, policy: PolicyVersion, counted: Counted | None, result: Verified | None, note: Mapping[str, Any]
) -> StepReport:
    """What became of the objects of one dataset and law, in rows. TypeError for another kind of step."""
    predicate = step.predicate
    if not isinstance(predicate, ExpiryPredicate):
        raise TypeError(f"step {step.id} is not about the archive")
    rule: Rule | None = next((r for r in policy.rules if r.id == step.rule), None)
    terms: Mapping[str, Any] = result.terms if result else {"planned": counted.counts.due if counted else None}
    details = result.details if result else {}
    return StepReport(
        id=step.id,
        rule=step.rule,
        dataset=step.dataset or "",
        store=step.store or "",
        table=f"objects of {predicate.dataset} under {predicate.law}",
        unit="rows",
        role=rule.role if rule else Role.CONTROLLER,
        promise=step.promise,
        quote=rule.quote if rule else None,
        period=rule.archive.period if rule and rule.archive else Period("P0D"),
        why=rule.why
        if rule
        else "The policy no longer has this rule. What it archived expires on the day that was set when it was archived.",
        clock=rule.clock if rule else "expiry",
        cutoff=predicate.as_of,
        total=counted.counts.total if counted else None,
        terms=Terms(**{k: v for k, v in terms.items() if k in Terms.model_fields}),
        outcome=result.outcome if result else None,
        level=result.level if result else None,
        definitive_on=details.get("l4_on"),
        oldest_before=counted.counts.oldest if counted else None,
        oldest_after=details.get("oldest_after"),
        histogram=tuple((str(m), int(n)) for m, n in counted.details.get("histogram", ())) if counted else (),
        technique=", ".join(note.get("techniques", ())),
        batches=note.get("batches"),
        seconds=note["milliseconds"] / 1000 if "milliseconds" in note else None,
        longest_transaction_ms=note["longest_transaction_us"] / 1000 if "longest_transaction_us" in note else None,
        findings=tuple(_findings(details, note)),
    )


def _findings(details: Mapping[str, Any], note: Mapping[str, Any]) -> Iterator[str]:
    kept: Mapping[str, int] = details.get("past_expiry") or {}
    if kept:
        named = ", ".join(sorted(kept)[:5]) + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")
        yield f"{sum(kept.values())} rows are past their expiry and kept by a hold, in {len(kept)} archive objects: {named}."
    yield from (r for r in (*details.get("reasons", ()), note.get("error")) if r)
