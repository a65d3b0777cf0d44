"""The guard: what is out of the ordinary waits for a person, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.control import a_plan, a_step, counts
from lethe.catalog.model import Clock, Condition
from lethe.errors import Uncountable
from lethe.plan.guard import ceilings, findings, usual
from lethe.plan.model import ArchiveTerms, ContractShield, KeptFor, Predicate
from lethe.plan.widened import Widening, widened
from lethe.policy.model import Guard
from lethe.policy.period import Period

STEP = "logs/technical_logs"
DATASET = "technical_logs"
LIMITS = {"logs": Guard(max_share=0.2, max_rows=1000)}


@pytest.mark.parametrize(
    ("total", "due", "held", "blocked", "expected"),
    [
        (10_000, 1000, 0, 0, []),
        (10_000, 1001, 0, 0, ["rows"]),
        (1000, 200, 0, 0, []),
        (1000, 201, 0, 0, ["share"]),
        (2000, 2000, 0, 0, ["share", "rows"]),
        (1000, 300, 60, 40, []),
        (0, 0, 0, 0, []),
    ],
)
def test_a_step_over_its_share_or_its_rows_waits(total: int, due: int, held: int, blocked: int, expected: list[str]) -> None:
    found = findings(a_plan(), {STEP: counts(total, due, held=held, blocked=blocked)}, LIMITS)
    assert [f.limit for f in found] == expected


@pytest.mark.parametrize(
    ("past", "due", "waits"),
    [
        ((10, 10, 10, 10, 10), 100, False),
        ((10, 10, 10, 10, 10), 101, True),
        ((10, 10, 10, 10), 999, False),
        ((1, 1, 1, 1, 90), 900, False),
        ((0, 0, 0, 0, 0), 10, False),
        ((0, 0, 0, 0, 0), 11, True),
        ((10,) * 19 + (1000,), 101, True),
    ],
)
def test_more_than_ten_times_the_usual_waits_once_five_runs_are_known(past: tuple[int, ...], due: int, waits: bool) -> None:
    found = findings(a_plan(), {STEP: counts(100_000, due)}, LIMITS, {STEP: past})
    assert [f.limit for f in found] == (["usual"] if waits else [])


def test_the_usual_is_the_95th_percentile_of_past_runs() -> None:
    assert usual(tuple(range(1, 101))) == 95
    assert usual((3, 1, 2, 5, 4)) == 5
    assert usual((1, 2, 3, 4)) is None


def test_a_shortened_period_waits_whatever_the_number_of_rows() -> None:
    plan = a_plan(a_step(period="P12D"))
    wider = widened(plan, {DATASET: [a_step(period="P12M")]})
    assert wider == {STEP: Widening("shortened", "P12M", "P12D")}
    found = findings(plan, {STEP: counts(100_000, 1)}, LIMITS, wider=wider)
    assert [(f.limit, f.value, f.allowed) for f in found] == [("shortened", 12.0, 365.25)]


@pytest.mark.parametrize(("before", "now"), [("P12M", "P12M"), ("P1Y", "P12M"), ("P6M", "P12M"), ("", "P12M"), ("P12M", "")])
def test_an_equal_or_longer_or_unknown_period_is_not_shortened(before: str, now: str) -> None:
    assert widened(a_plan(a_step(period=now)), {DATASET: [a_step(period=before)]}) == {}
    assert widened(a_plan(a_step(period=now)), {}) == {}


def test_a_period_is_compared_over_the_dataset_whatever_the_rule_is_called() -> None:
    renamed = a_plan(a_step("traces/technical_logs", period="P11M"))
    assert widened(renamed, {DATASET: [a_step(period="P12M")]}) == {"traces/technical_logs": Widening("shortened", "P12M", "P11M")}
    assert widened(renamed, {DATASET: [a_step(period="P12M"), a_step("more/technical_logs", period="P11M")]}) == {}
    assert widened(renamed, {"another": [a_step("logs/another", period="P12M")]}) == {}


def predicate(**changes: object) -> dict[str, object]:
    base = a_step().predicate
    assert isinstance(base, Predicate)
    return {"predicate": base.model_copy(update=changes)}


SHIELD = ContractShield(through=("tenant",), started="s", ended="e")
NEEDED = KeptFor(dataset="clients", columns=("tenant_id",), own=("tenant_id",))
TERMS = ArchiveTerms(law="Code civil 2224", ground="claims", period=Period("P5Y"), columns=("id", "name"))
TO_COME = Clock(column="occurred_at", future_means="not_started")
NOTICES, OLD_ONES = Condition(column="kind", equals="notice"), Condition.model_validate({"column": "old", "is": "true"})


@pytest.mark.parametrize(
    ("before", "now", "limit"),
    [
        (predicate(shield=SHIELD), predicate(), "contract ignored"),
        (predicate(), predicate(shield=SHIELD), None),
        (predicate(clock=Clock(column="seen_at")), predicate(), "other clock"),
        (predicate(zone="Asia/Tokyo"), predicate(zone="Europe/Paris"), "other clock"),
        (predicate(subset=(NOTICES,)), predicate(), "further reach"),
        (predicate(subset=(NOTICES,)), predicate(subset=(OLD_ONES,)), "further reach"),
        (predicate(), predicate(subset=(NOTICES,)), None),
        (predicate(subset=(NOTICES,)), predicate(subset=(NOTICES, OLD_ONES)), None),
        ({"waiting_for": ("warning",)}, predicate(), "need dropped"),
        (predicate(kept_for=(NEEDED,)), predicate(), "further reach"),
        (predicate(), predicate(kept_for=(NEEDED,)), None),
        (predicate(clock=TO_COME), predicate(), None),
        (predicate(), predicate(clock=TO_COME), None),
        ({"archive": TERMS}, {}, "further reach"),
        ({}, {"archive": TERMS}, None),
        ({"archive": TERMS}, {"archive": TERMS.model_copy(update={"period": Period("P4Y")})}, "further reach"),
        ({"archive": TERMS}, {"archive": TERMS.model_copy(update={"columns": ("id",)})}, "further reach"),
        ({"archive": TERMS}, {"archive": TERMS.model_copy(update={"period": Period("P6Y"), "columns": ("id", "name", "sum")})}, None),
        (predicate(shield=SHIELD) | {"period": "P24M"}, predicate() | {"period": "P12M"}, "contract ignored"),
        (predicate(shield=SHIELD) | {"period": "P6M"}, predicate() | {"period": "P12M"}, "contract ignored"),
    ],
)
def test_a_step_that_reaches_further_than_what_ran_before_waits(before: dict[str, Any], now: dict[str, Any], limit: str | None) -> None:
    plan = a_plan(a_step(**now))
    wider = widened(plan, {DATASET: [a_step(**before)]})
    found = findings(plan, {STEP: counts(100_000, 7)}, LIMITS, wider=wider)
    assert [(f.limit, f.value, f.allowed) for f in found] == ([(limit, 7, 0)] if limit else [])


def test_a_rule_that_waited_waits_for_a_person_when_it_acts_although_another_rule_ran_on_its_dataset() -> None:
    ended = predicate(clock=Clock(column="ended_at"))
    before = [a_step("usage/technical_logs"), a_step("after/technical_logs", waiting_for=("return_record",), **ended)]
    now = a_plan(a_step("usage/technical_logs"), a_step("after/technical_logs", **ended))
    assert widened(now, {DATASET: before}) == {"after/technical_logs": Widening("need dropped")}


def test_a_step_that_waits_deletes_nothing_so_it_widens_nothing() -> None:
    assert widened(a_plan(a_step(period="P1D", waiting_for=("archive",))), {DATASET: [a_step()]}) == {}


def test_an_approved_plan_goes_on_up_to_what_was_seen_and_waits_again_above() -> None:
    seen = {STEP: counts(2000, 2000)}
    assert findings(a_plan(), seen, LIMITS, approved={STEP: 2000}) == ()
    (found,) = findings(a_plan(), seen, LIMITS, approved={STEP: 1999})
    assert (found.limit, found.value, found.allowed) == ("approved ceiling", 2000, 1999)


def test_a_step_that_the_approval_did_not_see_has_a_ceiling_of_zero() -> None:
    plan = a_plan(a_step(), a_step("logs/other"))
    both = {STEP: counts(100, 5), "logs/other": counts(100, 1)}
    assert [f.step for f in findings(plan, both, LIMITS, approved={STEP: 5})] == ["logs/other"]


def test_a_step_that_was_not_counted_cannot_pass() -> None:
    with pytest.raises(Uncountable, match=STEP):
        findings(a_plan(), {}, LIMITS)
    with pytest.raises(Uncountable, match="logs"):
        findings(a_plan(), {STEP: counts(1, 1)}, {})


def test_a_step_that_never_acts_needs_no_approval() -> None:
    assert findings(a_plan(a_step(waiting_for=("archive",))), {}, LIMITS) == ()


def test_what_passed_unapproved_may_grow_to_its_limits_and_what_was_approved_not_at_all() -> None:
    found = {STEP: counts(4_000, 40)}
    assert ceilings(a_plan(), found, LIMITS) == {STEP: 800}
    assert ceilings(a_plan(), found, LIMITS, {STEP: [3] * 5}) == {STEP: 40}, "ten times the usual is less than what was counted and passed"
    assert ceilings(a_plan(), found, LIMITS, approved={STEP: 41}) == {STEP: 41}
    assert ceilings(a_plan(), found, LIMITS, approved={}) == {STEP: 0}, "a step that the approval did not see"
