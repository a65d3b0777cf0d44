"""What the demo plants: one awkward row, what is expected of it, and the garden that collects them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from demo.calendar import EPOCH_1970, MICROSECOND, START_OF_SERVICE, first_kept


class Expect(StrEnum):
    """What a nightly run that runs the row's rule does with it."""

    DUE = "due"
    KEPT = "kept"  # not old enough
    QUARANTINED = "quarantined"  # its clock is NULL, in the future, or before the start of service
    NOT_STARTED = "not_started"  # its clock does not run yet
    ARCHIVED = "archived"  # due, and a law needs some of it: that goes to the archive, where there is one, and the row goes
    BLOCKED = "blocked"  # due, but a row that stays refers to it
    SHIELDED = "shielded"  # old enough, but its tenant's contract lives
    NEEDED = "needed"  # old enough, but a login by which its tenant can still retrieve its data
    WAITS = "waits"  # its rule needs something that is not there yet: a record of return, a warning
    SUPPORT = "support"  # is there only for other planted rows to refer to or to be referred by


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One planted row."""

    table: str
    key: tuple[Any, ...]
    values: Mapping[str, Any]
    expect: Expect
    why: str
    clock: str | None = None
    period: str | None = None


CANARY = "canari-7d1f@sentinelle.example"
"""Planted in every personal text column when the load is asked for it; must be found nowhere in Lethe's own traces."""

NFC_EMAIL, NFD_EMAIL = "zo\u00e9@exemple.example", "zoe\u0301@exemple.example"
"""One address, written with a composed and with a decomposed é: equal to a reader, different in bytes."""

LIVE_TENANT, LEFT_TENANT, HOLD_TENANT, TRIAL_TENANT, SECOND_TENANT, LEAVING_TENANT = range(1, 7)
RENEWED_TENANT, CORRECTED_TENANT, RETURNING_TENANT, GONE_TENANT, TWICE_TENANT, PAST_TENANT, STRANGE_TENANT = range(7, 14)
HOLD_THREAD = 90
"""A due thread of HOLD_TENANT: a hold on the tenant or on the thread keeps it, else it goes."""


@dataclass
class Garden:
    """Collects planted rows; keys are given in order of planting."""

    as_of: datetime
    rows: list[Planted] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)

    def plant(
        self, table: str, values: Mapping[str, Any], expect: Expect, why: str, *, key: tuple[Any, ...] | None = None, **rest: Any
    ) -> tuple[Any, ...]:
        """Plants a row; its key, the next free one of its table where none is given."""
        if key is None:
            self.keys[table] += 1
            key = (100 + self.keys[table],)
        self.rows.append(Planted(table=table, key=key, values=values, expect=expect, why=why, **rest))
        return key

    def ago(self, **period: int) -> datetime:
        """So long before `as_of`."""
        return self.as_of - timedelta(**period)

    def around(self, period: str) -> list[tuple[datetime, Expect, str]]:
        """The three instants at a cutoff, with what is expected."""
        kept = first_kept(self.as_of, period)
        return [
            (kept - MICROSECOND, Expect.DUE, "one microsecond before the cutoff"),
            (kept, Expect.KEPT, "the cutoff itself"),
            (kept + MICROSECOND, Expect.KEPT, "one microsecond after the cutoff"),
            (kept + timedelta(minutes=30), Expect.KEPT, "half past midnight in Paris, still the day before in UTC"),
        ]

    def strange(self) -> list[tuple[datetime | None, str]]:
        """Clocks that are never deleted by age."""
        return [
            (None, "a clock that is NULL"),
            (EPOCH_1970, "a clock of 1970"),
            (START_OF_SERVICE - MICROSECOND, "a clock one microsecond before the start of service"),
            (self.as_of + timedelta(days=400), "a clock in the future"),
        ]
