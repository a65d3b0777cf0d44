"""An archived value in the form of PostgreSQL's `to_jsonb`, so that a person reads it as a living one. Pure.

The archive keeps some types as Arrow's own and all others as PostgreSQL's text (`stores/postgres/archived.py`). What neither tells is the type
below a domain: a domain over a number, JSON or an address that is kept as text stays the text. Held against `to_jsonb` for every type of the archive
(`tests/integration/test_archived_values.py`).
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from lethe.archive.model import ArchivedColumn
from lethe.stores.postgres.decoded import DAY_INFINITY, INSTANT_INFINITY
from lethe.subjects.rows import loads

_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric"})
_FLOATS = frozenset({"real", "double precision"})
_MODIFIER = re.compile(r"\s*\([^)]*\)")
_INSTANT = re.compile(r"(\S+) ([\d:.]+)(\+00)?( BC)?")
_ITEM = re.compile(r'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_FIRST_DAY, _FIRST_INSTANT = date(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = range((date.min - _FIRST_DAY).days, (date.max - _FIRST_DAY).days + 1)  # what Python's calendar has
_DAY = 86_400_000_000  # microseconds


def as_json(value: Any, column: ArchivedColumn) -> Any:
    """The value as `to_jsonb` gives it: numbers as int or Decimal, arrays as lists, most other types as text, NULL as None.

    Instants come as microseconds since 1970, days as days since then: Python's calendar has neither infinity nor all of PostgreSQL's years.
    """
    if value is None:
        return None
    kept = column.kept_as
    if kept.startswith("timestamp"):
        return _endless(value, INSTANT_INFINITY) or _instant(value, aware="tz=" in kept)
    if kept == "date32[day]":
        return _endless(value, DAY_INFINITY) or _day(value)
    if kept in {"float", "double"}:
        return _float(value, str(np.float32(value)) if kept == "float" else repr(value))
    if kept == "binary":
        return "\\x" + value.hex()
    if isinstance(value, UUID):
        return str(value)
    return _text(value, _MODIFIER.sub("", column.source)) if kept == "string" else value


def _text(value: str, kind: str) -> Any:
    """The text of a value of that type, without modifiers."""
    if kind.endswith("[]"):
        return _array(value, kind.removesuffix("[]"))
    if kind in _NUMBERS:
        return value if value in _NOT_FINITE else loads(value)
    if kind in {"json", "jsonb"}:
        return loads(value)
    if kind == "inet":  # its cast to text says the mask of a single address, which its output leaves out
        return value.removesuffix("/128" if ":" in value else "/32")
    return value


def _item(text: str, kind: str) -> Any:
    """An array's item, which is written as the type's output, not as its cast to text."""
    if kind in _FLOATS:
        return _float(float(text), text)
    if kind == "boolean":
        return text == "t"
    if kind.startswith("timestamp"):
        found = _INSTANT.fullmatch(text)
        return text if found is None else f"{found[1]}T{found[2]}{found[3] + ':00' if found[3] else ''}{found[4] or ''}"
    return _text(text, kind)


def _array(text: str, kind: str) -> Any:
    """An array of any number of dimensions as lists; lower bounds, which JSON has not, are dropped as `to_jsonb` does."""
    top: list[Any] = []
    open_lists = [top]
    for found in _ITEM.finditer(text, text.index("{")):
        if found[0] == "{":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif found[0] == "}":
            open_lists.pop()
        elif found[1] is not None:
            open_lists[-1].append(_item(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), kind))
        elif found[2] is not None:
            open_lists[-1].append(None if found[2] == "NULL" else _item(found[2], kind))
    return top[0]


def _float(value: float, text: str) -> Any:
    """A floating-point number with the digits of `text`, the fewest that tell it from its neighbours.

    Where two texts are as short (1e+23, 9.999999999999999e+22), PostgreSQL and Python may write the same number differently.
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    exact = Decimal(text)
    return int(exact) if value.is_integer() else exact


def _endless(value: int, infinity: int) -> str | None:
    return "infinity" if value == infinity else "-infinity" if value == -infinity else None


def _day(days: int) -> str:
    if days in _DAYS:
        return (_FIRST_DAY + timedelta(days=days)).isoformat()
    day, before = _far(days)
    return day + before


def _instant(microseconds: int, *, aware: bool) -> str:
    days, rest = divmod(microseconds, _DAY)
    day, before = ((_FIRST_DAY + timedelta(days=days)).isoformat(), "") if days in _DAYS else _far(days)
    time = (_FIRST_INSTANT + timedelta(microseconds=rest)).time()
    clock = time.isoformat() if not time.microsecond else time.isoformat("microseconds").rstrip("0")
    return f"{day}T{clock}{'+00:00' if aware else ''}{before}"


def _far(days: int) -> tuple[str, str]:
    """A day that Python's calendar has not, and ` BC` where it lies before our era."""
    at = np.datetime64(days, "D")
    year, month = int(at.astype("datetime64[Y]").astype(int)) + 1970, int(at.astype("datetime64[M]").astype(int)) % 12 + 1
    day = int((at - at.astype("datetime64[M]").astype("datetime64[D]")).astype(int)) + 1
    return f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}", "" if year > 0 else " BC"
