"""Which rows of an archive object a hold keeps, judged one by one: the check's own reading of what `archive.finding` says by columns."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from lethe.archive.names import LENGTH, name_of
from lethe.catalog.model import Catalog
from lethe.errors import Uncountable
from lethe.plan.model import HoldScope

_DIGEST = re.compile(r"digest:([0-9a-f]{32,64})")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a hold asks of a row. None: it does not ask for that."""

    dataset: str | None
    tenants: frozenset[str] | None
    person: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The holds in force, with the names (keyed digests) that their tenants and persons have in the archive."""

    holds: tuple[Kept, ...]

    @classmethod
    def of(cls, holds: Iterable[HoldScope], digest_key: bytes, catalog: Catalog) -> Self:
        """Raises EvidenceRefused when a hold names somebody and there is no key for digests."""
        found = []
        for hold in holds:
            tenants = None
            if hold.tenant is not None:
                tenants = frozenset(name_of(digest_key, s.tenants, hold.tenant) for s in catalog.stores if s.tenants)
            person = None
            if hold.person is not None:
                given = _DIGEST.fullmatch(hold.person[1])
                person = given[1][:LENGTH] if given else name_of(digest_key, *hold.person)
            found.append(Kept(dataset=hold.dataset, tenants=tenants, person=person, since=hold.since, until=hold.until))
        return cls(holds=tuple(found))

    @property
    def names(self) -> frozenset[str]:
        """Everybody that a hold names."""
        persons = {h.person for h in self.holds if h.person is not None}
        return frozenset(persons | {t for h in self.holds for t in h.tenants or ()})

    @property
    def names_nobody(self) -> bool:
        """Is there a hold that names neither a tenant nor a person?"""
        return any(h.tenants is None and h.person is None for h in self.holds)


def kept_rows(data: bytes, manifest: Any, holder: Holder) -> int:
    """How many rows of an object a hold keeps. `manifest`: dataset, sha256, rows, zone, whole_days. Uncountable when its bytes are others."""
    import pyarrow.parquet as pq

    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise Uncountable(f"Archive object {manifest.id} is not what its manifest says.", fix="Find out who changed it.")
    holds = [h for h in holder.holds if h.dataset in (None, manifest.dataset)]
    columns = ("_lethe_clock", "_lethe_tenant", "_lethe_persons")
    table = pq.read_table(io.BytesIO(data), columns=list(columns))
    rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
    return sum(any(_keeps(h, clock, tenant, persons, manifest) for h in holds) for clock, tenant, persons in rows)


def _keeps(hold: Kept, clock: datetime | None, tenant: str | None, persons: list[str] | None, manifest: Any) -> bool:
    if hold.tenants is not None and tenant not in hold.tenants:
        return False
    if hold.person is not None and hold.person not in (persons or ()):
        return False
    if hold.since is None and hold.until is None:
        return True
    if clock is None or (hold.until is not None and clock >= hold.until):
        return False
    if hold.since is None:
        return True
    if not manifest.whole_days:
        return clock >= hold.since
    # A whole day of the policy's zone: one instant of it is enough. Its end is the next local midnight.
    return (clock.astimezone(ZoneInfo(manifest.zone)) + timedelta(days=1)).astimezone(UTC) > hold.since
