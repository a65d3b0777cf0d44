"""Rows held against their records: what they have in common whatever they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from lethe.evidence.verdict import LedgerFinding

Name = TypeVar("Name", int, str)


def differ(what: str, said: Mapping[Name, tuple[int, dict[str, Any]]], there: Mapping[Name, dict[str, Any]]) -> Iterator[LedgerFinding]:
    """Rows of `there` that are not what the record with that number says, are gone, or have none."""
    last = max((seq for seq, _ in said.values()), default=0)
    for number, (seq, body) in said.items():
        if number not in there:
            yield contradicted(seq, f"{what} {number} is gone from its table, though record {seq} says that it was added.")
        elif other := [k for k, v in body.items() if not _same(v, there[number][k])]:
            yield contradicted(seq, f"{what} {number} is not what record {seq} says: {', '.join(other)} differs.")
    for number in there.keys() - said.keys():
        yield contradicted(last, f"{what} {number} was added to its table, and no record says so.")


def plain(value: Any) -> Any:
    """A value as a record's body has it."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def recorded(value: datetime | None) -> str | None:
    """An instant as a record writes it."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")


def contradicted(seq: int, said: str) -> LedgerFinding:
    """A table says something else than record `seq`."""
    return LedgerFinding(how="contradicted", seq=seq, text=said)


def _same(one: Any, other: Any) -> bool:
    """Equal, or the same instant written with another offset."""
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        return bool(one == other)
    try:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False
