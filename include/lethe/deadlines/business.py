"""On which days people work. Pure.

Business days are Monday to Friday but for the public holidays of metropolitan France, which the package `holidays` computes; those of
Alsace and Moselle (Good Friday, 26 December) are an argument.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

from holidays.countries.france import France

from lethe.errors import DeadlineUnknown

FIRST_YEAR, LAST_YEAR = max(2000, France.start_year), min(2100, France.end_year)
_MOSELLE = "57"  # the package's subdivision; Alsace (6AE) has the same days


def is_business_day(day: date, *, alsace_moselle: bool = False) -> bool:
    """Whether people work on that day. Raises DeadlineUnknown outside the years that the calendar knows."""
    return known(day).weekday() < 5 and day not in _holidays(day.year, alsace_moselle)


def business_days_after(day: date, count: int, *, alsace_moselle: bool = False) -> date:
    """The `count`-th business day after `day`, which itself does not count, whether people work on it or not.

    Raises DeadlineUnknown when a year on the way is not known, or `count` is less than one.
    """
    if count < 1:
        raise DeadlineUnknown("A deadline of no business days is none.", fix="Count one day or more.")
    for _ in range(count):
        day = next_business_day(known(day) + timedelta(days=1), alsace_moselle=alsace_moselle)
    return day


def next_business_day(day: date, *, alsace_moselle: bool = False) -> date:
    """`day` itself where people work on it, else the first day after it on which they do. Raises DeadlineUnknown."""
    while not is_business_day(day, alsace_moselle=alsace_moselle):
        day += timedelta(days=1)
    return day


def known(day: date) -> date:
    """That day. Raises DeadlineUnknown when its year is not known, or an instant was given in its place."""
    if isinstance(day, datetime):
        raise DeadlineUnknown("A deadline in days was asked for an instant.", fix="Pass its local day: lethe.deadlines.received_on.")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise outside()
    return day


def outside() -> DeadlineUnknown:
    """The refusal of a year that the calendar does not know."""
    return DeadlineUnknown(
        f"The calendar of business days knows the years {FIRST_YEAR} to {LAST_YEAR} only.",
        fix="Look at the date; a year that is meant needs a newer `holidays` package.",
    )


@lru_cache(maxsize=256)
def _holidays(year: int, alsace_moselle: bool) -> frozenset[date]:
    found = frozenset(France(years=year, subdiv=_MOSELLE if alsace_moselle else None))  # type: ignore[no-untyped-call]
    if not found:
        raise outside()
    return found
