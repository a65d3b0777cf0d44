"""From a day or an instant to the day or instant by which something must be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from lethe.deadlines.business import business_days_after, known, next_business_day, outside
from lethe.errors import DeadlineUnknown
from lethe.instants import local_day
from lethe.policy.period import Period, cutoff
from lethe.policy.terms import Terms

PARIS = "Europe/Paris"
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A deadline in calendar time: `raw` is clamped to the end of the month, `rolled` is that day or the next business day."""

    raw: date
    rolled: date


@dataclass(frozen=True, kw_only=True)
class RequestDue:
    """When a request that came in on `received_on` is due.

    `reply_on`: by the policy; `warn_on`: from when on who answers is warned of it. `legal`, and `extended` where it was extended: by
    Article 12(3), counted from receipt both.
    """

    received_on: date
    warn_on: date
    reply_on: date
    legal: Due
    extended: Due


def after(day: date, period: Period, *, alsace_moselle: bool = False) -> date:
    """`day` plus a period of business days, or of calendar time with the end of the month clamped. Raises DeadlineUnknown."""
    if period.business_days:
        return business_days_after(day, period.business_days, alsace_moselle=alsace_moselle)
    try:
        return known(period.after(known(day)))
    except (ValueError, OverflowError):
        raise outside() from None


def due_after(day: date, period: Period, *, alsace_moselle: bool = False) -> Due:
    """The deadline a period after `day`, as it is and moved to a business day. Raises DeadlineUnknown."""
    raw = after(day, period, alsace_moselle=alsace_moselle)
    return Due(raw=raw, rolled=next_business_day(raw, alsace_moselle=alsace_moselle))


def received_on(instant: datetime, *, zone: str = PARIS) -> date:
    """The local day of an instant, from which days and months are counted.

    Raises DeadlineUnknown when the instant has no time zone or lies outside the known years.
    """
    _refuse_naive(instant)
    try:
        return known(local_day(instant, zone))
    except OverflowError:
        raise outside() from None


def request_due(received_at: datetime, *, zone: str = PARIS, terms: Terms | None = None) -> RequestDue:
    """Every deadline of a request, from the instant at which it came in. `terms`: those of the law and the shipped policy when None.

    Raises DeadlineUnknown.
    """
    terms = terms or Terms()
    day, alsace = received_on(received_at, zone=zone), terms.alsace_moselle
    return RequestDue(
        received_on=day,
        warn_on=after(day, terms.warned, alsace_moselle=alsace),
        reply_on=after(day, terms.reply, alsace_moselle=alsace),
        legal=due_after(day, terms.legal, alsace_moselle=alsace),
        extended=due_after(day, terms.extended, alsace_moselle=alsace),
    )


def hours_after(instant: datetime, hours: int, *, zone: str = PARIS) -> datetime:
    """The instant that many elapsed hours later, in that zone: a change of clocks makes it another hour of the day.

    Raises DeadlineUnknown as `received_on` does.
    """
    received_on(instant, zone=zone)
    return (instant.astimezone(UTC) + timedelta(hours=hours)).astimezone(ZoneInfo(zone))


def last_notice(effective_on: date, notice: Period, *, zone: str = PARIS) -> datetime:
    """The last instant, in that zone, at which what takes effect at 00:00 of that day may be sent: so many whole local days before.

    `notice` is whole days. Raises DeadlineUnknown when a year is not known.
    """
    try:
        return midnight(known(known(effective_on) - timedelta(days=notice.days)), zone)
    except OverflowError:
        raise outside() from None


def row_due(made: datetime, period: Period, *, zone: str = PARIS) -> datetime:
    """The first instant, in that zone, as of which the planner finds a row of the instant `made` due.

    It is the inverse of the planner's own `cutoff`, which grows with the day: the first local day whose cutoff lies behind the row. The
    period is calendar time. Raises DeadlineUnknown when `made` has no zone, the period counts business days, or the answer is no date.
    """
    _refuse_naive(made)
    if period.business_days:
        raise DeadlineUnknown("Business days age no data.", fix="Write calendar days, months or years, such as P30D, P12M or P5Y.")
    where = ZoneInfo(zone)

    def is_due(day: date) -> bool:
        return made < cutoff(midnight(day, zone), period, where)

    try:
        day = period.after(local_day(made, zone))
        while not is_due(day):
            day += _DAY
        while is_due(day - _DAY):
            day -= _DAY
    except (ValueError, OverflowError):
        raise DeadlineUnknown("That row is due on no day that a calendar has.", fix="Look at the instant and the period.") from None
    return midnight(day, zone)


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a local day, in that zone; a time that a change of clocks skips is written as the clocks then show it."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))


def _refuse_naive(instant: datetime) -> None:
    if instant.tzinfo is None:
        raise DeadlineUnknown("An instant without a time zone has no day.", fix="Write it as 2026-11-23T02:00:00+01:00.")
