"""Whom a hold, or a question, means in the archive: names made by today's key and catalog, and by the datasets that an object's manifest says.

The archive outlives both. A dataset that the catalog calls otherwise today is still found by what the manifest calls it. An object whose
names were made by another key can be matched with nobody: that is never taken for "nobody is in it", but raised (`refuse_unlike`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lethe.archive.model import Manifest, NamedBy
from lethe.archive.names import LENGTH, fingerprint, name_of
from lethe.catalog.model import Catalog
from lethe.control.holds import digest_of_key
from lethe.errors import Uncountable
from lethe.plan.model import HoldScope


@dataclass(frozen=True, kw_only=True)
class Whom:
    """One person or tenant. `today`: the names by today's catalog, `datasets`: its datasets of such; `of`: the name by another dataset, None
    for somebody who is known by a digest alone."""

    today: frozenset[str]
    datasets: frozenset[str]
    of: Callable[[str], str] | None = field(default=None, repr=False, compare=False)

    def names(self, made: Iterable[str | None]) -> frozenset[str]:
        """Every name that this one has where names were made by these datasets. A dataset that the catalog still has is not asked twice: the
        same key of another dataset of today is somebody else."""
        if self.of is None:
            return self.today
        return self.today | {self.of(d) for d in made if d and d not in self.datasets}


@dataclass(frozen=True, kw_only=True)
class NamedHold:
    """A hold as the archive can match it. None: it does not ask for that. `key`: the fingerprint of the key that names are made by today,
    None for a hold that names nobody."""

    id: int
    dataset: str | None = None
    tenant: Whom | None = None
    person: Whom | None = None
    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None

    def tenants_in(self, made: Iterable[NamedBy]) -> frozenset[str] | None:
        """The names of its tenant in objects that were named so; None when it names none."""
        return None if self.tenant is None else self.tenant.names(m.tenants for m in made)

    def persons_in(self, made: Iterable[NamedBy]) -> frozenset[str] | None:
        """The names of its person in objects that were named so; None when it names none."""
        return None if self.person is None else self.person.names(d for m in made for d in m.identities)


def named(holds: Iterable[HoldScope], digest_key: bytes, catalog: Catalog) -> tuple[NamedHold, ...]:
    """The holds by names. Raises EvidenceRefused when one names a person or tenant and there is no usable key for digests."""
    return tuple(
        NamedHold(
            id=h.id,
            dataset=h.dataset,
            tenant=None if h.tenant is None else tenant(digest_key, h.tenant, catalog),
            person=None if h.person is None else person(digest_key, h.person, catalog),
            since=h.since,
            until=h.until,
            key=None if h.tenant is None and h.person is None else fingerprint(digest_key),
        )
        for h in holds
    )


def person(digest_key: bytes, who: tuple[str, str], catalog: Catalog) -> Whom:
    """A person, of an identity dataset and a key."""
    today = {who[0], *(i for s in catalog.stores for i in s.identities)}
    return _whom(digest_key, who[1], frozenset({person_name(digest_key, who)}), today)


def tenant(digest_key: bytes, key: str, catalog: Catalog) -> Whom:
    """A tenant, of a key in whichever store."""
    return _whom(digest_key, key, tenant_names(digest_key, key, catalog), (s.tenants for s in catalog.stores if s.tenants))


def person_name(digest_key: bytes, person: tuple[str, str]) -> str:
    """The archive's name of a person: of an identity dataset and a key, or of a key that is written as `digest:` and its digest."""
    given = digest_of_key(person[1])
    return given[:LENGTH] if given is not None else name_of(digest_key, *person)


def tenant_names(digest_key: bytes, tenant: str, catalog: Catalog) -> frozenset[str]:
    """The archive's names of a tenant's key, in whichever store; of a key that is written as `digest:` and its digest, that one."""
    if (given := digest_of_key(tenant)) is not None:
        return frozenset({given[:LENGTH]})
    return frozenset(name_of(digest_key, s.tenants, tenant) for s in catalog.stores if s.tenants)


def unlike(hold: NamedHold, manifest: Manifest) -> bool:
    """Does this hold name somebody whom nobody can tell in this object, because its names were made by another key?"""
    return (
        hold.key is not None
        and hold.key != manifest.names.key
        and hold.dataset in (None, manifest.dataset)
        and (hold.since is None or hold.since < manifest.expires_at)
    )


def refuse_unlike(holds: Sequence[NamedHold], manifest: Manifest) -> None:
    """Raises Uncountable when a hold may keep rows of this object and nobody can tell which."""
    if any(unlike(h, manifest) for h in holds):
        raise other_key([manifest.id])


def other_key(ids: Sequence[str]) -> Uncountable:
    """The error for objects whose names were made by another key than today's, by their ids."""
    which = ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
    return Uncountable(
        f"Who is in archive object {which} cannot be told: persons and tenants were named there by another key than today's.",
        fix="Set `digest_key` of lethe_db to the key that it was archived with. Holds that name a person or tenant cannot be kept there until"
        " then, so while one is in force nothing of it expires.",
    )


def _whom(digest_key: bytes, key: str, today: frozenset[str], datasets: Iterable[str]) -> Whom:
    if digest_of_key(key) is not None:
        return Whom(today=today, datasets=frozenset(datasets))
    return Whom(today=today, datasets=frozenset(datasets), of=lambda dataset: name_of(digest_key, dataset, key))
