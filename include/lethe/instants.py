"""The only place that reads a clock. Everything else is passed an instant."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from lethe.errors import BadAsOf


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)


def local_day(at: datetime, zone: str) -> date:
    """The date of an instant in that zone: a hold begins, and an exemption ends, on a day of the policy's zone."""
    return at.astimezone(ZoneInfo(zone)).date()


def parse_as_of(text: str | None, *, at: datetime) -> datetime:
    """The `as_of` of a run: `text`, or `at` when none is given.

    Raises BadAsOf when it has no zone, is no instant, or lies after `at`.
    """
    if text is None:
        return at
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadAsOf("as_of is not an instant.", fix="Write it as 2026-11-23T02:00:00+01:00.") from None
    if instant.tzinfo is None:
        raise BadAsOf("as_of has no time zone.", fix="Write it as 2026-11-23T02:00:00+01:00.")
    if instant > at:
        raise BadAsOf(f"as_of {instant.isoformat()} lies in the future.", fix="A run can only be as of now or before.")
    return instant
