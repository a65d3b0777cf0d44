"""When a step may be called clean: unknown is not zero, and a number that does not add up proves nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from lethe.policy.period import Period
from lethe.verify.result import Check, Space, Terms, l4_date, level_of, outcome_of

GOOD = Terms(planned=5, arrived=1, deleted=4, held=1, changed=1, blocked=0, failed=0, survivors=0, quarantined=3)
PASSED = Check(name="a", status="passed")


@pytest.mark.parametrize(
    ("checks", "terms", "outcome"),
    [
        ([PASSED], GOOD, "clean"),
        ([], GOOD, "unknown"),
        ([PASSED, Check(name="b", status="unknown")], GOOD, "unknown"),
        ([PASSED, Check(name="b", status="failed")], GOOD, "unknown"),
        ([PASSED], GOOD.model_copy(update={"survivors": 2}), "survivors"),
        ([PASSED, Check(name="b", status="unknown")], GOOD.model_copy(update={"survivors": 2}), "survivors"),
        ([PASSED], GOOD.model_copy(update={"changed": None}), "unknown"),
        ([PASSED], GOOD.model_copy(update={"survivors": None}), "unknown"),
        ([PASSED], GOOD.model_copy(update={"deleted": 5}), "unknown"),
        ([PASSED], GOOD.model_copy(update={"failed": 1, "deleted": 3}), "unknown"),
        ([PASSED], GOOD.model_copy(update={"quarantined": 1000}), "clean"),
    ],
)
def test_only_what_was_counted_and_adds_up_is_clean(checks: list[Check], terms: Terms, outcome: str) -> None:
    assert outcome_of(checks, terms) == outcome


def test_a_level_is_claimed_only_when_clean_and_l2_only_when_space_is_reusable() -> None:
    assert level_of("unknown", Space(reclaimed=True)) is None
    assert level_of("clean", None) == "L1"
    assert level_of("clean", Space(reclaimed=False, reason="an older snapshot")) == "L1"
    assert level_of("clean", Space(reclaimed=True)) == "L2"


def test_definitive_is_the_local_day_of_the_check_plus_the_backup_window() -> None:
    paris = ZoneInfo("Europe/Paris")
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # already the 24th in Paris
    assert l4_date("clean", late, Period("P35D"), paris) == date(2026, 12, 29)
    assert l4_date("survivors", late, Period("P35D"), paris) is None
