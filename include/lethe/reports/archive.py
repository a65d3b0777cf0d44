"""What a report says of the archive: values only, frozen, without personal data. A tenant is the beginning of its keyed digest.

Numbers are as they were counted, and None means that they could not be.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import AwareDatetime

from lethe.frozen import Frozen
from lethe.policy.period import Period
from lethe.verify.result import Level, Status, Terms


class ArchivedStep(Frozen):
    """What a step of a purge put into the archive, for how long and under which law.

    `archived` and `only_deleted` are the rows that its batches say they archived, and deleted without archiving, because the law's
    period was over already. `unsealed`: objects of it that have no manifest beside them yet, or no lock.
    """

    step: str
    dataset: str
    law: str
    ground: Literal["obligation", "claims"]
    period: Period
    columns: tuple[str, ...]
    archived: int | None = None
    only_deleted: int | None = None
    objects: int | None = None
    first_expiry: date | None = None
    last_expiry: date | None = None
    unsealed: int | None = None


class ExpiredStep(Frozen):
    """What went from the archive, of one dataset under one law: `objects` whole ones; `rewritten` ones of which only held rows are left.

    `past_expiry` is (object id, rows): past their day, and kept by a hold.
    """

    step: str
    dataset: str
    law: str
    rows: int | None = None
    objects: int | None = None
    rewritten: int | None = None
    past_expiry: tuple[tuple[str, int], ...] = ()
    level: Level | None = None
    definitive_on: date | None = None


class TenantSum(Frozen):
    """The sum of one tenant that does not come out. `name`: the first letters of its keyed digest; "" for rows that lead to no tenant."""

    name: str
    planned: int
    archived: int
    deleted: int
    left: int


class SplitReport(Frozen):
    """The rows of one dataset at a contract's end. `tenants` were counted apart; of these the sum of `off` does not come out, `named`
    are the first of them. `check` is what the independent check says, None before it; a row that arrived or changed explains a difference.
    """

    step: str
    dataset: str
    terms: Terms
    archived: int | None = None
    only_deleted: int | None = None
    tenants: int | None = None
    off: int | None = None
    named: tuple[TenantSum, ...] = ()
    check: Status | None = None

    @property
    def balanced(self) -> bool | None:
        """Does planned + arrived = archived + only deleted + held + blocked + changed + failed? None when a term is unknown."""
        t = self.terms
        left = [t.planned, t.arrived]
        right = [self.archived, self.only_deleted, t.held, t.blocked, t.changed, t.failed]
        if None in left or None in right:
            return None
        return sum(n or 0 for n in left) == sum(n or 0 for n in right)


class Protection(Frozen):
    """What the archive's bucket protects its objects by, as read from the store; `read` is False when it did not answer.

    `versioned` and `lock` are None where the store does not say. `encryption` is what is asked for at each upload. `lacks` is in words.
    """

    bucket: str
    read: bool = True
    exists: bool = True
    versioned: bool | None = None
    lock: bool | None = None
    encryption: str | None = None
    lacks: tuple[str, ...] = ()

    @property
    def protects(self) -> bool:
        """Is there anything that is known to bring a deleted object back, or to keep it from being deleted?"""
        return self.versioned is True or self.lock is True


class ShelfReport(Frozen):
    """The objects that the archive has of a dataset under a law: their rows, bytes, first and last expiry; how many are sealed, and locked
    in the store, the last of them until `locked_until`. `encryptions`: (what the store said on reading the object's head, objects)."""

    dataset: str
    law: str
    objects: int
    rows: int
    size: int
    first_expiry: date
    last_expiry: date
    sealed: int
    locked: int
    locked_until: AwareDatetime | None = None
    encryptions: tuple[tuple[str, int], ...] = ()


class ArchivePart(Frozen):
    """The archive in a run's report. `calendar` is (law, `YYYY-MM` of expiry in the policy's zone, rows), of everything in the archive.
    `protection` is None where this installation has no archive."""

    steps: tuple[ArchivedStep, ...] = ()
    expired: tuple[ExpiredStep, ...] = ()
    splits: tuple[SplitReport, ...] = ()
    protection: Protection | None = None
    shelves: tuple[ShelfReport, ...] = ()
    calendar: tuple[tuple[str, str, int], ...] = ()
