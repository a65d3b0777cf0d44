"""Days, instants and sizes as people write them, in French and in English. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

_MONTHS: Mapping[str, tuple[str, ...]] = {
    "fr": (
        "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre",
    ),
    "en": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
    ),
}  # fmt: skip
_UNITS: Mapping[str, tuple[str, ...]] = {"fr": ("octets", "ko", "Mo", "Go", "To"), "en": ("bytes", "kB", "MB", "GB", "TB")}


def written_day(day: date, language: str) -> str:
    """`1er novembre 2026`, `1 November 2026`."""
    number = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return f"{number} {_MONTHS[language][day.month - 1]} {day.year}"


def written_instant(at: datetime, language: str, *, zone: str) -> str:
    """`9 novembre 2026 à 14 h 05 (heure de Paris)`, `9 November 2026 at 14:05 (Paris time)`; `at` is aware, `zone` an IANA name."""
    local = at.astimezone(ZoneInfo(zone))
    place = zone.rpartition("/")[2].replace("_", " ")
    if language == "fr":
        return f"{written_day(local.date(), language)} à {local.hour} h {local.minute:02} ({_hour_of(place)})"
    return f"{written_day(local.date(), language)} at {local:%H:%M} ({place}{'' if place == 'UTC' else ' time'})"


def written_size(size: int, language: str) -> str:
    """`12,3 Mo`, `12.3 MB`: decimal units, one digit behind the comma from kilobytes on."""
    value, power = float(size), 0
    while value >= 999.95 and power < len(_UNITS[language]) - 1:
        value, power = value / 1000, power + 1
    number = str(size) if power == 0 else f"{value:.1f}"
    return f"{number.replace('.', ',') if language == 'fr' else number} {_UNITS[language][power]}"


def _hour_of(place: str) -> str:
    if place == "UTC":
        return "UTC"
    return f"heure d’{place}" if place[:1] in "AEIOUY" else f"heure de {place}"
