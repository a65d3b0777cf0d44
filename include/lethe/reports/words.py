"""Numbers, dates and states as an auditor reads them. Pure."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from lethe.policy.period import Period

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_THIN = "\N{NARROW NO-BREAK SPACE}"
_NBSP = "\N{NO-BREAK SPACE}"

LEVELS = {
    "L0": "hidden only: not deleted",
    "L1": "gone from the live store",
    "L2": "gone, and its space is reusable",
    "L3": "gone from derived data too: complete",
    "L4": "gone from the backups too: definitive",
}
MEANINGS = (
    ("Planned", "due when the plan was counted: older than the cutoff, and no live contract keeps it"),
    ("Arrived", "became due while the run went on, by an insert or an update"),
    ("Deleted", "removed, in transactions that the database confirmed; what a law needs went to the archive first"),
    ("Held", "due, and kept by a legal hold or a restriction"),
    ("Changed", "planned, and no longer due or no longer there when its turn came"),
    ("Blocked", "due, and kept because a row that stays still refers to it"),
    ("Failed", "the store refused to delete it"),
    ("Survivors", "due and still there afterwards, and nothing above explains it"),
    ("Quarantined", "its clock cannot be believed (none, in the future, or before the service began), so age never deletes it"),
    ("Level", "L1 gone from the live store; L2 its space is reusable; L3 gone from derived data; L4 gone from the backups"),
)
"""What each number of a step counts, for a reader who was not there."""
OUTCOMES = {"clean": "Clean", "survivors": "Survivors", "unknown": "Unknown", None: "Not run"}
NEEDS = {
    "archive": "an archive to keep what a law requires",
    "return_record": "a record that the tenant got its data back, or waived it",
    "warning": "a warning that was sent at least 30 days before",
    "requests": "the handling of persons’ requests",
    "incidents": "the incident register",
    "processors": "the processors’ register",
    "sealed_segments": "sealed yearly segments of the ledger",
    "backups": "control over the backups’ expiry",
    "contract_end": "the end of a contract",
}
LIMITS = {
    "share": "share of the table",
    "rows": "number of rows",
    "usual": "times the usual number of rows",
    "shortened": "rows under a shortened period",
    "contract ignored": "rows that a live contract kept before",
    "other clock": "rows by another clock than before",
    "need dropped": "rows of a rule that waited before",
    "further reach": "rows that no rule took before",
    "approved ceiling": "rows approved before",
}


def number(value: int | None) -> str:
    """1234567 as `1 234 567`; None as `unknown`, because unknown is not zero."""
    return "unknown" if value is None else f"{value:,}".replace(",", _THIN)


def short(value: float) -> str:
    """An axis label: 950, 12k, 1.5M."""
    for size, mark in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + mark
    return f"{value:g}"


def size(value: int) -> str:
    """Bytes: 950 B, 12 kB, 1.5 MB."""
    for unit, mark in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= unit:
            return f"{value / unit:.1f}".removesuffix(".0") + _NBSP + mark
    return f"{value}{_NBSP}B"


def day(value: date | None) -> str:
    """24 November 2026."""
    return "" if value is None else f"{value.day}{_NBSP}{MONTHS[value.month - 1]}{_NBSP}{value.year}"


def instant(value: datetime | None, zone: str) -> str:
    """24 November 2026, 02:00, in `zone`; with seconds when there are any."""
    if value is None:
        return ""
    local = value.astimezone(ZoneInfo(zone))
    return f"{day(local.date())}, {local:%H:%M:%S}" if local.second else f"{day(local.date())}, {local:%H:%M}"


def local_day(value: datetime | None, zone: str) -> str:
    """The local date of an instant."""
    return "" if value is None else day(value.astimezone(ZoneInfo(zone)).date())


def period(value: Period) -> str:
    """P12M as `12 months`, P5Y as `5 years`."""
    if value.business_days:
        return _count(value.business_days, "business day")
    years, months = divmod(value.months, 12)
    if years and "Y" not in value.text:
        years, months = 0, value.months
    parts = [_count(n, unit) for n, unit in ((years, "year"), (months, "month"), (value.days, "day")) if n]
    return " and ".join(parts) or "0 days"


def seconds(value: float | None) -> str:
    """0.31 s, 12 s, 3 min 5 s; empty when it was not measured."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.2g}{_NBSP}s" if value < 10 else f"{value:.0f}{_NBSP}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{_NBSP}min {rest}{_NBSP}s"


def _count(n: int, unit: str) -> str:
    return f"{n}{_NBSP}{unit}{'' if n == 1 else 's'}"
