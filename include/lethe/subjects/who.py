"""Who the identifiers of a request name: the rows of identity datasets that have the address or the account, and which of them are meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lethe.errors import AmbiguousPerson, IdentifierRefused, Uncountable
from lethe.stores.postgres.person_addresses import ADDRESSES
from lethe.stores.postgres.person_keys import keys_param
from lethe.subjects.found import Person
from lethe.subjects.identifiers import Identifier, IdentifierKind, normal_address
from lethe.subjects.rows import Reader
from lethe.subjects.statements import Asked


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row that is a person, and why it was found."""

    person: Person
    tenant: str | None = field(repr=False)
    email: str | None = field(repr=False)
    by_account: bool
    there: bool = True


def matches(
    reader: Reader,
    asked: Asked,
    identifiers: Sequence[Identifier],
    addresses: Sequence[str],
    emails: Sequence[str],
    *,
    tenant: str | None,
    fold_local: bool,
) -> Iterator[Match]:
    """The rows of one store that have an address of the request, or an account that it names, there or not. Raises IdentifierRefused."""
    if addresses:
        for dataset, statement in asked.who.items():
            for key, stored, of in reader.all(statement, {ADDRESSES: list(addresses)}, f"The persons of {dataset}"):
                normal = normal_address(stored, fold_local=fold_local)
                if normal in emails and (tenant is None or of == tenant):
                    yield Match(person=Person(dataset=dataset, key=key), tenant=of, email=normal, by_account=False)
    accounts: dict[str, list[str]] = {}
    for each in identifiers:
        dataset, _, key = each.value.partition(":")
        if each.kind is IdentifierKind.ACCOUNT and dataset in asked.by_key:
            accounts.setdefault(dataset, []).append(key)
    for dataset, keys in accounts.items():
        seen = set()
        for key, stored, of in _by_key(reader, asked, dataset, keys):
            seen.add(key)
            if tenant is None or of == tenant:
                yield Match(
                    person=Person(dataset=dataset, key=key), tenant=of, email=normal_address(stored, fold_local=fold_local), by_account=True
                )
        for key in set(keys) - seen:  # a log may outlive the user: the rows that lead to the key are the person's
            yield Match(person=Person(dataset=dataset, key=key), tenant=None, email=None, by_account=True, there=False)


def _by_key(reader: Reader, asked: Asked, dataset: str, keys: Sequence[str]) -> list[Any]:
    try:
        return reader.all(
            asked.by_key[dataset],
            {keys_param(i): list(keys) if i == dataset else [] for i in asked.store.identities},
            f"The persons of {dataset}",
        )
    except Uncountable:
        raise IdentifierRefused(
            f"An account of {dataset} is not written as its keys are.", fix="Give the key exactly as the database prints it."
        ) from None


def one_person(found: Sequence[Match], emails: Sequence[str], given: Collection[str]) -> tuple[tuple[Person, ...], tuple[Person, ...]]:
    """The persons that are meant, and those of the matches that are not. Raises AmbiguousPerson.

    `given`: the identity datasets whose data is given out. Whether a tenant has somebody twice is for the tenant to see.
    """
    for match in found:
        if match.by_account and emails and match.there and match.email not in emails:
            raise AmbiguousPerson(
                f"The account of {match.person.dataset} has another address than the request.",
                fix="It may be somebody else's: ask for more, or open the request anew with what belongs together.",
            )
    narrowed = {m.person.dataset for m in found if m.by_account and m.there}  # an account that is gone says nothing against the others
    meant = [m for m in found if m.by_account or m.person.dataset not in narrowed]
    twice = Counter((m.person.dataset, m.tenant, m.email) for m in {(m.person, m.email): m for m in meant if not m.by_account}.values())
    several = sorted({dataset for (dataset, tenant, _), n in twice.items() if n > 1 and dataset in given and tenant is not None})
    if several:
        raise AmbiguousPerson(
            f"One address is that of several persons in {', '.join(several)}, of the same tenant.",
            fix="Find out which of them asks (`lethe locate` shows them), and open the request anew with the account.",
        )
    persons = tuple(sorted({m.person for m in meant}))
    return persons, tuple(sorted({m.person for m in found} - set(persons)))


def refuse_half_lowered(reader: Reader, addresses: Sequence[str]) -> None:
    """Uncountable when an address has letters outside ASCII and the database, by its collation, lowers only those of ASCII: it could miss them."""
    if all(a.isascii() for a in addresses):
        return
    (lowered,) = reader.one("SELECT lower('\u00c9')", {}, "The collation")
    if lowered != "\u00e9":
        raise Uncountable(
            "The database compares letters outside ASCII by case, and the address has some: it could be missed.",
            fix="Give the account instead of the address, or a database whose collation knows these letters.",
        )
