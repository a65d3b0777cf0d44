"""The days and instants by which something must be answered. Source: PROMISES, "Time". Pure.

Business days are Monday to Friday but for the public holidays of metropolitan France, which the package `holidays` computes; those of
Alsace and Moselle (Good Friday, 26 December) are an argument. A day is a local date of the policy's zone, never a UTC one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import isodate
from holidays.countries.france import France

from lethe.errors import DeadlineUnknown
from lethe.instants import local_day

PARIS = "Europe/Paris"
REPLY_BUSINESS_DAYS = 5
FIRST_YEAR, LAST_YEAR = max(2000, France.start_year), min(2100, France.end_year)
_MOSELLE = "57"  # the package's subdivision; Alsace (6AE) has the same days


@dataclass(frozen=True, kw_only=True)
class Due:
    """A deadline counted in months: `raw` is clamped to the end of the month, `rolled` is that day or the next business day."""

    raw: date
    rolled: date


@dataclass(frozen=True, kw_only=True)
class RequestDue:
    """When a request received at some instant is due: `reply_on` by the policy (5 business days), `legal` by Article 12(3) (one month)."""

    received_on: date
    reply_on: date
    legal: Due


def is_business_day(day: date, *, alsace_moselle: bool = False) -> bool:
    """Whether people work on that day. Raises DeadlineUnknown outside the years that the calendar knows."""
    return _known(day).weekday() < 5 and day not in _holidays(day.year, alsace_moselle)


def business_days_after(day: date, count: int, *, alsace_moselle: bool = False) -> date:
    """The `count`-th business day after `day`, which itself does not count, whether people work on it or not.

    Raises DeadlineUnknown when a year on the way is not known, or `count` is less than one.
    """
    if count < 1:
        raise DeadlineUnknown("A deadline of no business days is none.", fix="Count one day or more.")
    for _ in range(count):
        day = next_business_day(_known(day) + timedelta(days=1), alsace_moselle=alsace_moselle)
    return day


def next_business_day(day: date, *, alsace_moselle: bool = False) -> date:
    """`day` itself where people work on it, else the first day after it on which they do. Raises DeadlineUnknown."""
    while not is_business_day(day, alsace_moselle=alsace_moselle):
        day += timedelta(days=1)
    return day


def one_month_after(day: date, *, alsace_moselle: bool = False) -> Due:
    """The legal deadline of a request received on `day` (GDPR, Article 12(3)). Raises DeadlineUnknown."""
    return _months_after(day, 1, alsace_moselle)


def extended_after(day: date, *, alsace_moselle: bool = False) -> Due:
    """That deadline extended by two further months: three from `day`, not two from the first deadline. Raises DeadlineUnknown."""
    return _months_after(day, 3, alsace_moselle)


def plus_72h(instant: datetime, *, zone: str = PARIS) -> datetime:
    """The instant 72 elapsed hours later, in that zone: a change of clocks makes it another hour of the day.

    Raises DeadlineUnknown when the instant has no time zone or lies outside the known years.
    """
    received_on(instant, zone=zone)
    return (instant.astimezone(UTC) + timedelta(hours=72)).astimezone(ZoneInfo(zone))


def received_on(instant: datetime, *, zone: str = PARIS) -> date:
    """The local day of an instant, from which days and months are counted. Raises DeadlineUnknown as `plus_72h` does."""
    if instant.tzinfo is None:
        raise DeadlineUnknown("An instant without a time zone has no day.", fix="Write it as 2026-11-23T02:00:00+01:00.")
    try:
        return _known(local_day(instant, zone))
    except OverflowError:
        raise _outside() from None


def request_due(received_at: datetime, *, zone: str = PARIS, alsace_moselle: bool = False) -> RequestDue:
    """Both deadlines of a request, from the instant at which it came in. Raises DeadlineUnknown."""
    day = received_on(received_at, zone=zone)
    return RequestDue(
        received_on=day,
        reply_on=business_days_after(day, REPLY_BUSINESS_DAYS, alsace_moselle=alsace_moselle),
        legal=one_month_after(day, alsace_moselle=alsace_moselle),
    )


def _months_after(day: date, months: int, alsace_moselle: bool) -> Due:
    raw: date = _known(day) + isodate.Duration(months=months)
    return Due(raw=raw, rolled=next_business_day(raw, alsace_moselle=alsace_moselle))


def _known(day: date) -> date:
    if isinstance(day, datetime):
        raise DeadlineUnknown("A deadline in days was asked for an instant.", fix="Pass its local day: lethe.deadlines.received_on.")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise _outside()
    return day


def _outside() -> DeadlineUnknown:
    return DeadlineUnknown(
        f"The calendar of business days knows the years {FIRST_YEAR} to {LAST_YEAR} only.",
        fix="Look at the date; a year that is meant needs a newer `holidays` package.",
    )


@lru_cache(maxsize=256)
def _holidays(year: int, alsace_moselle: bool) -> frozenset[date]:
    found = frozenset(France(years=year, subdiv=_MOSELLE if alsace_moselle else None))  # type: ignore[no-untyped-call]
    if not found:
        raise _outside()
    return found
