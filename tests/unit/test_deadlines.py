"""Deadlines in French business days, months and elapsed hours, against the vectors that were agreed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.deadlines import (
    business_days_after,
    extended_after,
    is_business_day,
    next_business_day,
    one_month_after,
    plus_72h,
    received_on,
    request_due,
)
from lethe.errors import DeadlineUnknown

VECTORS: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "deadlines.json").read_text())
day = date.fromisoformat


@pytest.mark.parametrize("year", sorted(VECTORS["holidays"]))
def test_nobody_works_on_the_holidays_of_the_vectors_and_on_no_fewer_days(year: str) -> None:
    free = {day(d) for d in VECTORS["holidays"][year]}
    every = [date(int(year), 1, 1) + timedelta(days=n) for n in range(365)]
    assert {d for d in every if d.weekday() < 5 and not is_business_day(d)} == {d for d in free if d.weekday() < 5}


@pytest.mark.parametrize(("received", "due"), sorted(VECTORS["business_days_5"].items()))
def test_five_business_days_do_not_count_the_day_of_receipt(received: str, due: str) -> None:
    assert business_days_after(day(received), 5) == day(due)


@pytest.mark.parametrize("received", sorted(VECTORS["one_month"]))
def test_a_month_is_clamped_and_rolled_and_three_are_counted_from_the_day_itself(received: str) -> None:
    one, three = one_month_after(day(received)), extended_after(day(received))
    found = {"raw": one.raw, "rolled": one.rolled, "extended_3m_raw": three.raw, "extended_3m_rolled": three.rolled}
    assert {k: v.isoformat() for k, v in found.items()} == VECTORS["one_month"][received]


@pytest.mark.parametrize(("aware", "due"), sorted(VECTORS["plus_72h"].items()))
def test_72_hours_are_elapsed_hours(aware: str, due: str) -> None:
    assert plus_72h(datetime.fromisoformat(aware)).isoformat() == due
    assert plus_72h(datetime.fromisoformat(aware).astimezone(UTC)).isoformat() == due


def test_alsace_and_moselle_have_two_days_more() -> None:
    assert is_business_day(day("2027-03-26")) and not is_business_day(day("2027-03-26"), alsace_moselle=True)
    assert business_days_after(day("2025-12-24"), 1) == day("2025-12-26")
    assert business_days_after(day("2025-12-24"), 1, alsace_moselle=True) == day("2025-12-29")
    assert one_month_after(day("2027-02-26"), alsace_moselle=True).rolled == day("2027-03-30")


def test_days_are_those_of_paris_and_not_of_utc() -> None:
    late = datetime(2026, 12, 23, 23, 30, tzinfo=UTC)
    assert received_on(late) == day("2026-12-24") and received_on(late, zone="UTC") == day("2026-12-23")
    assert request_due(late).reply_on == day("2027-01-04")
    assert request_due(late, zone="UTC").reply_on == day("2026-12-31")


@pytest.mark.parametrize("unknown", ["1999-12-31", "2101-01-01", "9999-12-31", "0001-01-01"])
def test_a_year_that_the_calendar_does_not_know_is_refused(unknown: str) -> None:
    for ask in (is_business_day, next_business_day, one_month_after, extended_after, lambda d: business_days_after(d, 5)):
        with pytest.raises(DeadlineUnknown, match="2000 to 2100") as refused:
            ask(day(unknown))  # type: ignore[operator]
        assert refused.value.fix


def test_a_deadline_that_would_run_into_an_unknown_year_is_refused_too() -> None:
    assert business_days_after(day("2100-12-23"), 5) == day("2100-12-30")
    with pytest.raises(DeadlineUnknown):
        business_days_after(day("2100-12-30"), 5)
    with pytest.raises(DeadlineUnknown):
        one_month_after(day("2100-12-15"))


def test_an_instant_without_a_zone_or_in_place_of_a_day_or_too_far_away_is_refused() -> None:
    naive = datetime(2026, 11, 23, 2, 0)  # noqa: DTZ001
    for instant in (naive, datetime.max.replace(tzinfo=UTC), datetime(1999, 12, 31, 22, 59, tzinfo=UTC)):
        for ask in (plus_72h, received_on, request_due):
            with pytest.raises(DeadlineUnknown):
                ask(instant)
    with pytest.raises(DeadlineUnknown, match="instant"):
        business_days_after(datetime(2026, 11, 23, tzinfo=UTC), 5)
    with pytest.raises(DeadlineUnknown):
        business_days_after(day("2026-11-23"), 0)


@given(st.dates(date(2000, 1, 1), date(2100, 8, 1)), st.integers(1, 40), st.booleans())
def test_a_deadline_is_a_business_day_with_that_many_of_them_on_the_way(start: date, count: int, alsace: bool) -> None:
    due = business_days_after(start, count, alsace_moselle=alsace)
    between = [start + timedelta(days=n + 1) for n in range((due - start).days)]
    assert sum(is_business_day(d, alsace_moselle=alsace) for d in between) == count and is_business_day(due, alsace_moselle=alsace)


@given(st.dates(date(2000, 1, 1), date(2100, 8, 1)))
def test_a_rolled_day_is_never_before_the_raw_one_and_a_business_day(start: date) -> None:
    for due in (one_month_after(start), extended_after(start)):
        assert start < due.raw <= due.rolled <= due.raw + timedelta(days=4) and is_business_day(due.rolled)
