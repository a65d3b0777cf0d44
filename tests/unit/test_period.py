"""Cutoffs, against PROMISES "Time": its boundary cases word for word, and a slow, obvious definition over leap days and clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lethe.policy.period import Period, cutoff

PARIS = ZoneInfo("Europe/Paris")
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


def slowly_after(start: date, period: Period) -> date:
    """The obvious definition of D + P: a month later is the same day of the next month, or its last one; then the days, one by one."""
    year, month = start.year, start.month
    for _ in range(period.months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    day = start.day
    while True:
        try:
            found = date(year, month, day)
            break
        except ValueError:
            day -= 1
    for _ in range(period.days):
        found += timedelta(days=1)
    return found


def slowly_due(made: datetime, as_of: datetime, period: Period, zone: ZoneInfo) -> bool:
    """A row made on local date D with a period P is due when D + P is before the local date of `as_of`."""
    return slowly_after(made.astimezone(zone).date(), period) < as_of.astimezone(zone).date()


zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.datetimes(min_value=datetime(2009, 1, 1), max_value=datetime(2032, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
periods = st.one_of(
    st.integers(0, 130).map(lambda n: f"P{n}M"),
    st.integers(0, 11).map(lambda n: f"P{n}Y"),
    st.integers(0, 800).map(lambda n: f"P{n}D"),
    st.integers(0, 60).map(lambda n: f"P{n}W"),
    st.tuples(st.integers(0, 3), st.integers(0, 14), st.integers(0, 40)).map(lambda t: f"P{t[0]}Y{t[1]}M{t[2]}D"),
).map(Period)


@given(as_of=instants, made=instants, period=periods, zone=zones)
@example(as_of=datetime(2025, 2, 28, 22, 59, tzinfo=UTC), made=datetime(2024, 2, 29, 12, tzinfo=UTC), period=Period("P12M"), zone=PARIS)
def test_a_row_is_due_exactly_when_it_was_made_before_the_cutoff(as_of: datetime, made: datetime, period: Period, zone: ZoneInfo) -> None:
    assert (made < cutoff(as_of, period, zone)) == slowly_due(made, as_of, period, zone)


@given(as_of=instants, period=periods, zone=zones, step=st.integers(-3, 3), seconds=st.integers(-2, 2))
def test_the_cutoff_is_right_to_the_second_around_itself(as_of: datetime, period: Period, zone: ZoneInfo, step: int, seconds: int) -> None:
    limit = cutoff(as_of, period, zone)
    made = limit + timedelta(days=step, seconds=seconds)
    assert (made < limit) == slowly_due(made, as_of, period, zone)


@given(as_of=instants, later=st.timedeltas(timedelta(0), timedelta(days=800)), period=periods, zone=zones)
def test_what_is_due_stays_due(as_of: datetime, later: timedelta, period: Period, zone: ZoneInfo) -> None:
    assert cutoff(as_of, period, zone) <= cutoff(as_of + later, period, zone)


@given(as_of=instants, period=periods, zone=zones)
def test_the_cutoff_is_utc_and_never_after_as_of(as_of: datetime, period: Period, zone: ZoneInfo) -> None:
    limit = cutoff(as_of, period, zone)
    assert limit.utcoffset() == timedelta(0)
    assert limit <= as_of


@given(start=st.dates(date(2000, 1, 1), date(2040, 1, 1)), period=periods)
def test_a_period_counts_calendar_dates_and_clamps_the_end_of_the_month(start: date, period: Period) -> None:
    assert period.after(start) == slowly_after(start, period)


@pytest.mark.parametrize(
    ("made", "as_of", "period", "due"),
    [
        ("2024-02-28T12:00+01:00", "2025-02-28T23:59:59+01:00", "P12M", False),
        ("2024-02-29T12:00+01:00", "2025-02-28T23:59:59+01:00", "P12M", False),
        ("2024-02-28T12:00+01:00", "2025-03-01T00:00+01:00", "P12M", True),
        ("2024-02-29T12:00+01:00", "2025-03-01T00:00+01:00", "P12M", True),
        ("2025-11-22T23:30+00:00", "2026-11-23T23:59:59+01:00", "P12M", False),  # 23 November in Paris
        ("2025-11-22T23:30+00:00", "2026-11-24T00:00+01:00", "P12M", True),
        ("2025-11-22T22:59:59+00:00", "2026-11-23T00:00+01:00", "P12M", True),
        ("2025-11-23T00:00+01:00", "2026-11-23T23:59:59+01:00", "P12M", False),  # kept through its anniversary
        ("2025-03-30T01:59+01:00", "2026-03-30T23:59+02:00", "P12M", False),  # made in the hour that the clock change skips
        ("2025-03-30T01:59+01:00", "2026-03-31T00:00+02:00", "P12M", True),
        ("2025-10-26T02:30+02:00", "2026-10-27T00:00+01:00", "P12M", True),  # and twice in the hour that comes back
        ("2025-10-26T02:30+01:00", "2026-10-27T00:00+01:00", "P12M", True),
        ("2026-11-23T00:00+01:00", "2026-11-23T12:00+01:00", "P0D", False),
        ("2026-11-22T23:59:59+01:00", "2026-11-23T00:00+01:00", "P0D", True),
    ],
)
def test_the_boundaries_of_the_promises(made: str, as_of: str, period: str, due: bool) -> None:
    assert (datetime.fromisoformat(made) < cutoff(datetime.fromisoformat(as_of), Period(period), PARIS)) is due


def test_the_offset_of_as_of_does_not_matter_only_its_instant() -> None:
    instant = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    assert cutoff(instant, Period("P12M"), PARIS) == cutoff(instant.astimezone(ZoneInfo("Asia/Tokyo")), Period("P12M"), PARIS)


def test_an_as_of_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        cutoff(datetime(2026, 11, 23), Period("P12M"), PARIS)  # noqa: DTZ001


def test_business_days_make_no_cutoff_without_a_calendar() -> None:
    with pytest.raises(ValueError, match="holidays"):
        cutoff(datetime(2026, 11, 23, tzinfo=UTC), Period("P5BD"), PARIS)


@pytest.mark.parametrize(
    "text", ["", "P", "12M", "P1.5M", "-P1M", "PT12H", "P12M5BD", "P12", "p12m", "P1D1M", "P0BD", "P5BD\n", "P٥D", "P9999999999D"]
)
def test_what_is_no_period_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="write P12M"):
        Period(text)
