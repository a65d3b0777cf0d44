"""The months by which ages are counted: from the start of service to `as_of`, in the policy's zone.

They are the same for every step of a plan, so each form of them is made once.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from lethe.catalog.model import Clock
from lethe.plan.model import Predicate
from lethe.stores.postgres.predicate import plain

_Span = tuple[date, date, ZoneInfo]


def months(predicate: Predicate) -> tuple[datetime, ...]:
    """The beginnings of the months."""
    return _months(_span(predicate))


def month_names(predicate: Predicate) -> tuple[str, ...]:
    """The months as people write them: 2026-11."""
    return _names(_span(predicate))


def month_array(predicate: Predicate) -> str:
    """Their beginnings as the text of one PostgreSQL array, each as the clock's column stores an instant."""
    return _array(_span(predicate), predicate.clock, predicate.zone)


def _span(predicate: Predicate) -> _Span:
    zone = ZoneInfo(predicate.zone)
    return predicate.start_of_service.astimezone(zone).date(), predicate.as_of.astimezone(zone).date(), zone


@lru_cache(maxsize=64)
def _months(span: _Span) -> tuple[datetime, ...]:
    first, last, zone = span
    places = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return tuple(datetime(m // 12, m % 12 + 1, 1, tzinfo=zone) for m in places)


@lru_cache(maxsize=64)
def _names(span: _Span) -> tuple[str, ...]:
    return tuple(f"{m:%Y-%m}" for m in _months(span))


@lru_cache(maxsize=64)
def _array(span: _Span, clock: Clock, zone: str) -> str:
    return "{" + ",".join(plain(m, clock, zone).isoformat() for m in _months(span)) + "}"
