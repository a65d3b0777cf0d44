"""Dates of the demo, all relative to `as_of`: what is due after a period, by the plainest definition there is. Pure.

Written apart from `lethe.policy.period.cutoff` on purpose: the planted rows are the tests' own idea of what is due.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from lethe.policy.period import Period

PARIS = ZoneInfo("Europe/Paris")
START_OF_SERVICE = datetime(2014, 1, 1, tzinfo=PARIS).astimezone(UTC)
"""Spotrak opened then, as its catalog says; a clock before it is quarantined."""
EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def midnight(day: date) -> datetime:
    """The first instant of `day` in Paris, in UTC."""
    return datetime.combine(day, time.min, PARIS).astimezone(UTC)


def paris_date(at: datetime) -> date:
    """The date on a calendar in Paris at that instant."""
    return at.astimezone(PARIS).date()


def is_due(at: datetime, period: str, as_of: datetime) -> bool:
    """Is a row of that instant due? The sentence of PROMISES, "Time": D + P lies before the local date of `as_of`."""
    return Period(period).after(paris_date(at)) < paris_date(as_of)


def first_kept(as_of: datetime, period: str) -> datetime:
    """The midnight in Paris of the oldest date that is not due, in UTC, found day by day."""
    today = paris_date(as_of)
    p = Period(period)
    day = today - timedelta(days=p.months * 31 + p.days + 3)
    while p.after(day) < today:
        day += timedelta(days=1)
    return midnight(day)


def shift_months(day: date, months: int) -> date:
    """The first of the month that lies `months` after the month of `day`."""
    month = day.year * 12 + day.month - 1 + months
    return date(month // 12, month % 12 + 1, 1)


def awkward_instants(as_of: datetime, period: str, *, since: datetime) -> list[tuple[datetime, str]]:
    """Instants between `since` and `as_of` where a retention period is easily computed wrong, each with the reason."""
    kept = first_kept(as_of, period)
    day = paris_date(kept)
    found = [
        (kept - MICROSECOND, "one microsecond before the cutoff"),
        (kept, "the cutoff itself"),
        (kept + MICROSECOND, "one microsecond after the cutoff"),
        (kept + timedelta(minutes=30), "half past midnight in Paris, still the day before in UTC"),
        (kept + timedelta(hours=12), "noon of the first kept day"),
        (kept - timedelta(minutes=30), "half an hour before midnight in Paris"),
        (datetime.combine(day, time.min, UTC), "midnight in UTC of the first kept day"),
        (midnight(day - timedelta(days=1)), "midnight in Paris of the last due day"),
        (midnight(paris_date(as_of)) - MICROSECOND, "the last instant of yesterday"),
    ]
    for year in range(since.year, as_of.year + 1):
        for month in (3, 10):
            change = _last_sunday(year, month)
            for hour, why in ((1, "an hour before"), (2, "in"), (4, "after")):
                local = datetime.combine(change, time(hour, 30), PARIS)
                found.append((local.astimezone(UTC), f"{why} the clock change of {change}"))
        first_march = date(year, 3, 1)
        found += [
            (midnight(first_march) - MICROSECOND, f"the last instant of February {year}"),
            (midnight(first_march), f"the first instant of March {year}"),
            (midnight(date(year, 2, 28)), f"28 February {year}"),
        ]
    return sorted({(at, why) for at, why in found if since <= at < as_of})


def _last_sunday(year: int, month: int) -> date:
    last = date(year, month, 31)
    return last - timedelta(days=(last.weekday() + 1) % 7)
