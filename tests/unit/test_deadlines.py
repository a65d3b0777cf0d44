"""The calendar: French business days, months, elapsed hours, notices and periods of rows, against the vectors that were agreed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.deadlines import (
    after,
    business_days_after,
    due_after,
    hours_after,
    is_business_day,
    last_notice,
    next_business_day,
    received_on,
    request_due,
    row_due,
)
from lethe.errors import DeadlineUnknown
from lethe.policy.period import Period, cutoff
from lethe.policy.terms import Terms

VECTORS: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "deadlines.json").read_text())
MONTH, THREE = Period("P1M"), Period("P3M")
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
    one, three = due_after(day(received), MONTH), due_after(day(received), THREE)
    found = {"raw": one.raw, "rolled": one.rolled, "extended_3m_raw": three.raw, "extended_3m_rolled": three.rolled}
    assert {k: v.isoformat() for k, v in found.items()} == VECTORS["one_month"][received]


@pytest.mark.parametrize(("aware", "due"), sorted(VECTORS["plus_72h"].items()))
def test_72_hours_are_elapsed_hours(aware: str, due: str) -> None:
    assert hours_after(datetime.fromisoformat(aware), 72).isoformat() == due
    assert hours_after(datetime.fromisoformat(aware).astimezone(UTC), 72).isoformat() == due


@pytest.mark.parametrize(("effective", "last"), sorted(VECTORS["notice_15_days"].items()))
def test_a_notice_is_sent_fifteen_whole_days_before_the_midnight_of_the_effective_day(effective: str, last: str) -> None:
    assert last_notice(day(effective), Period("P15D")).isoformat() == last


def test_days_of_notice_are_calendar_days_over_a_change_of_the_clocks() -> None:
    assert last_notice(day("2027-04-05"), Period("P15D")).isoformat() == "2027-03-21T00:00:00+01:00"
    assert last_notice(day("2026-11-01"), Period("P15D")).isoformat() == "2026-10-17T00:00:00+02:00"


def test_alsace_and_moselle_have_two_days_more() -> None:
    assert is_business_day(day("2027-03-26")) and not is_business_day(day("2027-03-26"), alsace_moselle=True)
    assert business_days_after(day("2025-12-24"), 1) == day("2025-12-26")
    assert business_days_after(day("2025-12-24"), 1, alsace_moselle=True) == day("2025-12-29")
    assert due_after(day("2027-02-26"), MONTH, alsace_moselle=True).rolled == day("2027-03-30")


def test_days_are_those_of_paris_and_not_of_utc() -> None:
    late = datetime(2026, 12, 23, 23, 30, tzinfo=UTC)
    assert received_on(late) == day("2026-12-24") and received_on(late, zone="UTC") == day("2026-12-23")
    assert request_due(late).reply_on == day("2027-01-04")
    assert request_due(late, zone="UTC").reply_on == day("2026-12-31")


@pytest.mark.parametrize("unknown", ["1999-12-31", "2101-01-01", "9999-12-31", "0001-01-01"])
def test_a_year_that_the_calendar_does_not_know_is_refused(unknown: str) -> None:
    def month(of: date) -> Any:
        return due_after(of, MONTH)

    def notice(of: date) -> Any:
        return last_notice(of, Period("P15D"))

    for ask in (is_business_day, next_business_day, month, notice, lambda d: business_days_after(d, 5)):
        with pytest.raises(DeadlineUnknown, match="2000 to 2100") as refused:
            ask(day(unknown))  # type: ignore[operator]
        assert refused.value.fix


def test_a_deadline_that_would_run_into_an_unknown_year_is_refused_too() -> None:
    assert business_days_after(day("2100-12-23"), 5) == day("2100-12-30")
    with pytest.raises(DeadlineUnknown):
        business_days_after(day("2100-12-30"), 5)
    with pytest.raises(DeadlineUnknown):
        due_after(day("2100-12-15"), MONTH)
    with pytest.raises(DeadlineUnknown):
        last_notice(day("2000-01-10"), Period("P15D"))
    for endless in ("P99999Y", "P999999999D", "P99999BD"):
        with pytest.raises(DeadlineUnknown):
            after(day("2026-11-23"), Period(endless))


def test_an_instant_without_a_zone_or_in_place_of_a_day_or_too_far_away_is_refused() -> None:
    naive = datetime(2026, 11, 23, 2, 0)  # noqa: DTZ001
    for instant in (naive, datetime.max.replace(tzinfo=UTC), datetime(1999, 12, 31, 22, 59, tzinfo=UTC)):
        for ask in (lambda i: hours_after(i, 72), received_on, request_due):
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
    for due in (due_after(start, MONTH), due_after(start, THREE)):
        assert start < due.raw <= due.rolled <= due.raw + timedelta(days=4) and is_business_day(due.rolled)


def test_a_period_of_business_days_counts_them_and_any_other_calendar_time() -> None:
    assert after(day("2026-12-24"), Period("P5BD")) == day("2027-01-04")
    assert after(day("2026-12-24"), Period("P5D")) == day("2026-12-29")
    assert after(day("2027-01-31"), Period("P1M")) == day("2027-02-28")


def test_the_periods_of_a_request_are_those_of_the_policy() -> None:
    late = datetime(2025, 12, 19, 9, 0, tzinfo=UTC)
    shipped, other = request_due(late), request_due(late, terms=Terms(reply=Period("P10D"), warned=Period("P2BD"), alsace_moselle=True))
    assert (shipped.warn_on, shipped.reply_on) == (day("2025-12-24"), day("2025-12-29"))
    assert (other.warn_on, other.reply_on) == (day("2025-12-23"), day("2025-12-29"))
    assert request_due(late, terms=Terms(alsace_moselle=True)).reply_on == day("2025-12-30")
    assert shipped.legal == other.legal and shipped.extended.raw == day("2026-03-19")


@pytest.mark.parametrize(
    ("made", "period", "due"),
    [
        ("2024-02-28T12:00+01:00", "P12M", "2025-03-01T00:00:00+01:00"),
        ("2024-02-29T12:00+01:00", "P12M", "2025-03-01T00:00:00+01:00"),
        ("2025-11-22T23:30+00:00", "P12M", "2026-11-24T00:00:00+01:00"),
        ("2025-03-30T01:59+01:00", "P12M", "2026-03-31T00:00:00+02:00"),
        ("2026-11-22T23:59:59+01:00", "P0D", "2026-11-23T00:00:00+01:00"),
        ("1985-06-01T00:00+02:00", "P10Y", "1995-06-02T00:00:00+02:00"),
    ],
)
def test_a_row_is_kept_through_its_last_day_and_due_from_the_next_midnight(made: str, period: str, due: str) -> None:
    assert row_due(datetime.fromisoformat(made), Period(period)).isoformat() == due


def test_a_row_without_a_day_or_a_period_or_an_end_is_refused() -> None:
    made = datetime(2026, 11, 23, tzinfo=UTC)
    refused = [(datetime(2026, 11, 23), "P12M"), (made, "P5BD"), (made, "P9999Y"), (datetime.max.replace(tzinfo=UTC), "P1D")]  # noqa: DTZ001
    for instant, period in refused:
        with pytest.raises(DeadlineUnknown) as told:
            row_due(instant, Period(period))
        assert told.value.fix


ZONES = [
    "Europe/Paris",
    "America/New_York",
    "Asia/Beirut",
    "America/Havana",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "UTC",
]
rows = st.datetimes(min_value=datetime(2009, 1, 1), max_value=datetime(2032, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
kept = st.one_of(
    st.integers(0, 130).map(lambda n: f"P{n}M"),
    st.integers(0, 800).map(lambda n: f"P{n}D"),
    st.tuples(st.integers(0, 3), st.integers(0, 14), st.integers(0, 40)).map(lambda t: f"P{t[0]}Y{t[1]}M{t[2]}D"),
).map(Period)


@given(made=rows, period=kept, zone=st.sampled_from(ZONES))
def test_the_planner_finds_a_row_due_at_that_instant_and_not_one_microsecond_before(made: datetime, period: Period, zone: str) -> None:
    due = row_due(made, period, zone=zone)
    assert made < cutoff(due, period, ZoneInfo(zone))
    assert not made < cutoff(due.astimezone(UTC) - timedelta(microseconds=1), period, ZoneInfo(zone))


@given(one=rows, other=rows, period=kept, zone=st.sampled_from(ZONES))
def test_an_older_row_is_never_due_later(one: datetime, other: datetime, period: Period, zone: str) -> None:
    old, young = sorted((one, other))
    assert row_due(old, period, zone=zone) <= row_due(young, period, zone=zone)


@given(st.dates(date(2000, 2, 1), date(2100, 12, 31)), st.integers(1, 20), st.sampled_from(ZONES))
def test_a_later_effective_day_never_has_an_earlier_last_notice(effective: date, days: int, zone: str) -> None:
    notice = Period(f"P{days}D")
    last = last_notice(effective, notice, zone=zone)
    assert last_notice(effective - timedelta(days=1), notice, zone=zone) <= last
    assert effective - timedelta(days=days) <= last.date() <= effective
