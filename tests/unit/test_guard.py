"""The guard: what is out of the ordinary waits for a person, and nothing else does."""

from __future__ import annotations

import pytest

from helpers.control import a_plan, a_step, counts
from lethe.errors import Uncountable
from lethe.plan.guard import findings, shortened, usual
from lethe.policy.model import Guard

STEP = "logs/technical_logs"
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
    shorter = shortened(plan, {STEP: "P12M"})
    assert shorter == {STEP: ("P12M", "P12D")}
    found = findings(plan, {STEP: counts(100_000, 1)}, LIMITS, shorter=shorter)
    assert [(f.limit, f.value, f.allowed) for f in found] == [("shortened", 12.0, 365.25)]


@pytest.mark.parametrize(("before", "now"), [("P12M", "P12M"), ("P1Y", "P12M"), ("P6M", "P12M"), ("", "P12M"), ("P12M", "")])
def test_an_equal_or_longer_or_unknown_period_is_not_shortened(before: str, now: str) -> None:
    assert shortened(a_plan(a_step(period=now)), {STEP: before}) == {}
    assert shortened(a_plan(a_step(period=now)), {}) == {}


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
