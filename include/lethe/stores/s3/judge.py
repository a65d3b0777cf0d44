"""Is an object due, and does a hold keep it? Pure: the one predicate of counting and of deleting.

An object's clock is a span of time: the day (or month) that its key names, in the policy's zone, or the instant of its
upload. A span is due when all of it lies before the cutoff, so a key that names only a month ages by its last day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from zoneinfo import ZoneInfo

from lethe.errors import InvalidFile
from lethe.plan.model import HoldScope, ObjectPredicate
from lethe.stores.s3.listing import Entry

_FIELDS = {"%Y": r"(?P<Y>\d{4})", "%m": r"(?P<m>\d{2})", "%d": r"(?P<d>\d{2})"}
_INSTANT = timedelta(microseconds=1)


class Verdict(StrEnum):
    """What the clock says of an object. The last three are quarantined: never deleted by age."""

    KEPT = "kept"
    DUE = "due"
    NULL = "null"
    FUTURE = "future"
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class Span:
    """From `begins` up to, not including, `ends`; both UTC."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Judge:
    """Judges the entries of one predicate. `dataset` and `holds` decide who is held."""

    predicate: ObjectPredicate
    dataset: str | None = None
    holds: Sequence[HoldScope] = ()

    def span(self, entry: Entry) -> Span | None:
        """When the entry is from; None when its key names no day that exists."""
        if self._pattern is None:
            return Span(entry.at, entry.at + _INSTANT)
        found = self._pattern.match(entry.key)
        if found is None:
            return None
        year, *rest = (int(found[f]) for f in "Ymd" if f in found.groupdict())
        try:
            first = date(year, *[*rest, 1, 1][:2])
            after = _next(first, len(rest))
        except (ValueError, OverflowError):
            return None
        return Span(self._midnight(first), self._midnight(after))

    def verdict(self, span: Span | None) -> Verdict:
        """What the clock says of an entry of that span."""
        p = self.predicate
        if span is None:
            return Verdict.NULL
        if span.begins > p.as_of:
            return Verdict.FUTURE
        if span.ends <= p.start_of_service:
            return Verdict.EARLY
        return Verdict.DUE if span.ends <= p.cutoff else Verdict.KEPT

    def held(self, span: Span) -> bool:
        """Does a hold keep an entry of that span?

        An object does not lead to a tenant or a person. A hold that names this dataset keeps it all the same; one that
        names only a tenant or a person is about other datasets.
        """
        return any(self._keeps(hold, span) for hold in self.holds)

    def goes(self, entry: Entry) -> bool:
        """Due, and not held."""
        span = self.span(entry)
        return span is not None and self.verdict(span) is Verdict.DUE and not self.held(span)

    def _keeps(self, hold: HoldScope, span: Span) -> bool:
        if hold.dataset is None:
            if hold.tenant is not None or hold.person is not None:
                return False
        elif hold.dataset != self.dataset:
            return False
        return (hold.since is None or span.ends > hold.since) and (hold.until is None or span.begins <= hold.until)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        text = self.predicate.clock.key_date
        if text is None:
            return None
        if sorted(re.findall("%.", text)) not in (["%Y"], ["%Y", "%m"], ["%Y", "%d", "%m"]):
            raise InvalidFile(f"key_date {text!r} does not name a day.", fix="Write %Y, %m and %d once each, for example nginx/%Y/%m/%d/.")
        return re.compile("".join(_FIELDS.get(part, re.escape(part)) for part in re.split("(%.)", text)), re.ASCII)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.predicate.zone)

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, self._zone).astimezone(UTC)


def _next(first: date, fields: int) -> date:
    """The first day after the year (0 fields), the month (1) or the day (2) that begins on `first`."""
    if fields == 0:
        return date(first.year + 1, 1, 1)
    if fields == 1:
        return date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return first + timedelta(days=1)
