"""Retention periods and the instant before which a row is due. Source: PROMISES, "Time". Pure.

A row made on local date D with a period P is due when D + P is before the local date of `as_of`. `due(D)` is
monotonic, so all of it becomes one cutoff instant that an index can use.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import total_ordering
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import isodate
from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_BUSINESS = re.compile(r"P([1-9][0-9]*)BD")


@total_ordering
class Period:
    """An ISO 8601 period of years, months, weeks or days (`P12M`, `P5Y`, `P30D`), or business days (`P5BD`)."""

    __slots__ = ("business_days", "days", "months", "text")

    def __init__(self, text: str) -> None:
        """Parses `text`; ValueError, with what is accepted, for anything else (times of day, fractions, signs)."""
        self.text = text
        self.months = self.days = self.business_days = 0
        if business := _BUSINESS.fullmatch(text):
            self.business_days = int(business[1])
            return
        if not re.fullmatch(r"P(?=\d)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?", text, re.ASCII):
            raise ValueError(f"{text!r} is not a period: write P12M, P5Y, P30D or P5BD")
        try:
            duration = isodate.parse_duration(text, as_timedelta_if_possible=False)
        except OverflowError:
            raise ValueError(f"{text!r} is longer than any calendar: write P12M, P5Y, P30D or P5BD") from None
        self.months = int(duration.years) * 12 + int(duration.months)
        self.days = duration.tdelta.days

    def after(self, start: date) -> date:
        """`start` plus this period: months first, the end of the month clamped, then days."""
        if self.business_days:
            raise ValueError(f"{self.text} counts business days: it needs a calendar of holidays")
        month = start.month - 1 + self.months
        year, month = start.year + month // 12, month % 12 + 1
        first_of_next = date(year + month // 12, month % 12 + 1, 1)
        day = min(start.day, (first_of_next - timedelta(days=1)).day)
        return date(year, month, day) + timedelta(days=self.days)

    @property
    def about_days(self) -> float:
        """Its length in days, a month taken as a twelfth of a year: to compare periods with, never to compute a cutoff."""
        return self._key()[0]

    def __repr__(self) -> str:
        return f"Period({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Period) and self._key() == other._key()

    def __lt__(self, other: Period) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[float, int, int]:
        return (self.months * 30.4375 + self.days + self.business_days * 1.4, self.months, self.business_days)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value) if isinstance(value, str) else _refuse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": r"^P((?=\d)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?|[1-9]\d*BD)$",
            "description": "ISO 8601: P12M, P5Y, P30D; business days: P5BD",
        }


def _of_calendar(period: Period) -> Period:
    if period.business_days:
        raise ValueError(
            f"{period.text!r} counts business days, which age no data: write calendar days, months or years, such as P7D or P12M"
        )
    return period


CalendarPeriod = Annotated[
    Period,
    AfterValidator(_of_calendar),
    WithJsonSchema({"type": "string", "pattern": r"^P(?=\d)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?$", "description": "ISO 8601: P12M, P5Y, P30D"}),
]
"""A period that ages data: no business days, which need a calendar of holidays and are for deadlines of answers."""


def _refuse(value: object) -> Period:
    raise ValueError(f"a period is a text such as P12M, not {type(value).__name__}")


def cutoff(as_of: datetime, period: Period, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, before which a row is due as of `as_of` (aware; ValueError when it is not).

    It is the midnight, in `zone`, of the first local date that is not yet due.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone: write 2026-11-23T02:00:00+01:00")
    today = as_of.astimezone(zone).date()
    first_kept = _months_before(today, period)
    while period.after(first_kept) < today:
        first_kept += timedelta(days=1)
    while period.after(first_kept - timedelta(days=1)) >= today:
        first_kept -= timedelta(days=1)
    return datetime.combine(first_kept, time.min, zone).astimezone(UTC)


def _months_before(day: date, period: Period) -> date:
    """A first guess at the first kept date, a few days off at most."""
    month = day.year * 12 + day.month - 1 - period.months
    return date(month // 12, month % 12 + 1, min(day.day, 28)) - timedelta(days=period.days)
