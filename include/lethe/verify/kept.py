"""Which rows of an archive object a hold keeps, judged one by one: the check's own reading of what `archive.finding` says by columns."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from lethe.archive.names import LENGTH, name_of
from lethe.catalog.model import Catalog
from lethe.errors import Uncountable
from lethe.evidence.record import keyed_digest
from lethe.plan.model import HoldScope

_DIGEST = re.compile(r"digest:([0-9a-f]{32,64})")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a hold asks of a row. None: it does not ask for that. Keys are kept to be named anew for each object, and are never printed."""

    dataset: str | None
    tenant: str | None = field(repr=False)
    person: tuple[str, str] | None = field(repr=False)
    since: datetime | None
    until: datetime | None

    @property
    def names_somebody(self) -> bool:
        """Does it name a tenant or a person?"""
        return self.tenant is not None or self.person is not None


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The holds in force, today's key for digests, and the datasets of tenants and of persons that today's catalog has."""

    holds: tuple[Kept, ...]
    key: bytes = field(repr=False)
    tenants: frozenset[str]
    identities: frozenset[str]

    @classmethod
    def of(cls, holds: Iterable[HoldScope], digest_key: bytes, catalog: Catalog) -> Self:
        """The holds in force."""
        kept = (Kept(dataset=h.dataset, tenant=h.tenant, person=h.person, since=h.since, until=h.until) for h in holds)
        identities = frozenset(i for s in catalog.stores for i in s.identities)
        tenants = frozenset(s.tenants for s in catalog.stores if s.tenants)
        return cls(holds=tuple(kept), key=digest_key, tenants=tenants, identities=identities)

    def tenants_of(self, hold: Kept, manifest: Any) -> frozenset[str] | None:
        """The names of a hold's tenant in an object, by today's datasets and by that of its manifest."""
        if hold.tenant is None:
            return None
        also = {manifest.named_tenants} if manifest.named_tenants else set()
        return self._names(hold.tenant, self.tenants | also)

    def persons_of(self, hold: Kept, manifest: Any) -> frozenset[str] | None:
        """The names of a hold's person in an object: by its own dataset, and by those of the manifest that the catalog has no more."""
        if hold.person is None:
            return None
        dataset, key = hold.person
        return self._names(key, {dataset, *(set(manifest.named_identities) - self.identities)})

    def _names(self, key: str, datasets: Iterable[str]) -> frozenset[str]:
        given = _DIGEST.fullmatch(key)
        return frozenset({given[1][:LENGTH]} if given else (name_of(self.key, d, key) for d in datasets))

    def names(self, manifests: Iterable[Any]) -> frozenset[str]:
        """Everybody that a hold names, by the names of these objects. Raises EvidenceRefused when there is no key for digests."""
        ways = {(m.named_tenants, tuple(m.named_identities)): m for m in manifests}.values()
        found = (names for m in ways for h in self.holds for names in (self.tenants_of(h, m), self.persons_of(h, m)))
        return frozenset(n for names in found for n in names or ())

    @property
    def names_nobody(self) -> bool:
        """Is there a hold that names neither a tenant nor a person?"""
        return any(not h.names_somebody for h in self.holds)

    def refuse_other_key(self, manifests: Iterable[Any]) -> None:
        """Raises Uncountable, with its id, for an object whose names are by another key than today's, where a hold may name one of them."""
        naming = [h for h in self.holds if h.names_somebody]
        if not naming:
            return
        mine = keyed_digest(self.key, "lethe", "names")[:16]
        for manifest in (m for m in manifests if m.named_key != mine):
            if any(h.dataset in (None, manifest.dataset) and (h.since is None or h.since < manifest.expires_at) for h in naming):
                raise Uncountable(
                    f"Whom archive object {manifest.id} is about cannot be compared with a hold: it was named by another key.",
                    fix="Set `digest_key` of lethe_db to the key that it was archived with.",
                )


def kept_rows(data: bytes, manifest: Any, holder: Holder) -> int:
    """How many rows of an object a hold keeps. `manifest`: id, dataset, sha256, rows, zone, whole_days, expires_at, and how its names were
    made (named_key, named_tenants, named_identities). Uncountable when its bytes are others, or its names by another key (`Holder`)."""
    import pyarrow.parquet as pq

    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise Uncountable(f"Archive object {manifest.id} is not what its manifest says.", fix="Find out who changed it.")
    holder.refuse_other_key([manifest])
    mine = (h for h in holder.holds if h.dataset in (None, manifest.dataset))
    holds = [(h, holder.tenants_of(h, manifest), holder.persons_of(h, manifest)) for h in mine]
    columns = ("_lethe_clock", "_lethe_tenant", "_lethe_persons")
    table = pq.read_table(io.BytesIO(data), columns=list(columns))
    rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
    return sum(
        any(_names(tenants, whom, tenant, persons) and _keeps(h, clock, manifest) for h, tenants, whom in holds)
        for clock, tenant, persons in rows
    )


def _names(tenants: frozenset[str] | None, whom: frozenset[str] | None, tenant: str | None, persons: list[str] | None) -> bool:
    return (tenants is None or tenant in tenants) and (whom is None or not whom.isdisjoint(persons or ()))


def _keeps(hold: Kept, clock: datetime | None, manifest: Any) -> bool:
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
