"""Finding a person: who they are in the stores, and every row that is theirs. The catalog's paths are compiled once, and run for each person.

    identifiers -> who() -> persons, by address or account -> counts, forwards to tenants, archive objects
                                                           -> sections() -> rows, streamed

Company data (role controller) gives sections. What tenants store is theirs to answer: it gives counts by tenant, to be forwarded, unless it
is a tenant that instructs; then it is the other way round, of that tenant alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from lethe import settings
from lethe.archive.finding import find, named_otherwise
from lethe.archive.naming import person as person_whom
from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Store
from lethe.errors import AmbiguousPerson, IdentifierRefused, Uncountable
from lethe.policy.model import Role
from lethe.stores.postgres.count import snapshot
from lethe.stores.postgres.person import (
    ADDRESSES,
    EMAIL,
    TENANT,
    PersonTable,
    forward_statement,
    key_statement,
    person_table,
    who_statement,
)
from lethe.stores.postgres.person_keys import key_param, keys_param, left_param
from lethe.stores.postgres.row_texts import as_json, compiled, streamed
from lethe.subjects.found import Counted, Field, Forward, Origin, Person, Row, Section, Slow
from lethe.subjects.identifiers import Identifier, IdentifierKind, normal_address, stored_forms
from lethe.subjects.rows import Reader, rows_read
from lethe.workspace import Workspace

AT_ONCE = 1_000
"""Rows of a dataset that one statement gives with all others; a person who has more is streamed."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of one store, as statements: `small` gives the first rows of every dataset, `counts` how many rows each has. `small_one`:
    the same for one key of each identity dataset, at half the cost."""

    store: Store
    live: LiveSchema = field(repr=False)
    tables: tuple[PersonTable, ...]
    small: str = field(repr=False)
    small_one: str = field(repr=False)
    counts: str = field(repr=False)
    streams: Mapping[str, str] = field(repr=False)
    who: Mapping[str, str] = field(repr=False)
    by_key: Mapping[str, str] = field(repr=False)
    forwards: Mapping[str, str] = field(repr=False)
    probes: tuple[tuple[str, tuple[str, ...], str], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The statements over every store, for company data (`tenant` False) or for what tenants store."""

    asked: tuple[Asked, ...]
    tenant: bool


@dataclass(frozen=True)
class Finder:
    """Finds persons in the stores of a workspace; compiles the catalog once for each kind of question."""

    workspace: Workspace
    _compiled: dict[bool, Compiled] = field(default_factory=dict, repr=False, compare=False)

    def compiled(self, *, tenant: bool = False) -> Compiled:
        """See `compile_catalog`."""
        if tenant not in self._compiled:
            self._compiled[tenant] = compile_catalog(self.workspace, tenant=tenant)
        return self._compiled[tenant]

    def locate(self, identifiers: Sequence[Identifier], *, tenant: str | None = None) -> Located:
        """See `locate`; what the tenant stores when one is named."""
        compiled = self.compiled(tenant=tenant is not None)
        return locate(compiled, self.workspace, identifiers, tenant=tenant, fold_local=settings.fold_local_part())

    def sections(self, located: Located, *, at: datetime) -> Iterator[tuple[Section, Iterator[Row]]]:
        """See `sections`."""
        return sections(self.compiled(tenant=located.tenant is not None), self.workspace, located, at=at)


@dataclass(frozen=True, kw_only=True)
class Located:
    """Who the person is, and how many rows they have where. `emails` are normal forms, `addresses` what stores are asked by; `left_out`:
    persons with the same address who are not meant, because the request names accounts (`others`). `own`: addresses of the accounts that it
    names, by which nothing is searched: who has proved an account has not proved the address that was typed into it."""

    persons: tuple[Person, ...]
    emails: tuple[str, ...] = field(repr=False)
    addresses: tuple[str, ...] = field(repr=False)
    counted: tuple[Counted, ...]
    forwards: tuple[Forward, ...]
    archive_objects: int
    left_out: int
    slow: tuple[Slow, ...] = ()
    tenant: str | None = field(default=None, repr=False)
    own: tuple[str, ...] = field(default=(), repr=False)
    others: tuple[Person, ...] = field(default=(), repr=False)

    @property
    def known(self) -> frozenset[str]:
        """The addresses by which it is told whom columns are about: those of the request, and those of the accounts that it names."""
        return frozenset({*self.emails, *self.own})

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys of the persons by dataset."""
        found: dict[str, list[str]] = {}
        for each in self.persons:
            found.setdefault(each.dataset, []).append(each.key)
        return found


def compile_catalog(workspace: Workspace, *, tenant: bool = False) -> Compiled:
    """Builds the statements of every store; asks each for its schema. Raises Drifted when catalog and database differ where it matters,
    Unreachable when a store does not answer."""
    role = Role.PROCESSOR if tenant else Role.CONTROLLER
    asked = []
    for store in workspace.catalog.stores:
        if store.kind != "postgresql":
            continue
        live = workspace.live(store, store.schemas or {t.db_schema for t in store.tables.values()})
        own = [i for i, t in store.tables.items() if t.partition_of is None and t.role is role]
        found = [t for i in own if (t := person_table(store, live, i, by_tenant=tenant)) is not None]
        alone = [t for i in own if (t := person_table(store, live, i, by_tenant=tenant, one=True)) is not None]
        theirs = [i for i, t in store.tables.items() if not tenant and t.partition_of is None and t.role is Role.PROCESSOR]
        forwards = {i: f for i in theirs if (f := forward_statement(store, live, i)) is not None}
        who = {i: w for i in store.identities if (w := who_statement(store, i)) is not None}
        asked.append(
            Asked(
                store=store,
                live=live,
                tables=tuple(found),
                small=_first_rows(found),
                small_one=_first_rows(alone),
                counts=compiled(_counting(found)) if found else "",
                streams={t.dataset: compiled(streamed(t.rows, t.dataset, t.key)) for t in found},
                who={i: compiled(w) for i, w in who.items()},
                by_key={i: compiled(key_statement(store, live, i)) for i in store.identities},
                forwards={i: compiled(f) for i, f in forwards.items()},
                probes=tuple((t.dataset, columns, compiled(way)) for t in found for columns, way in t.probes),
            )
        )
    return Compiled(asked=tuple(asked), tenant=tenant)


def locate(
    compiled: Compiled, workspace: Workspace, identifiers: Sequence[Identifier], *, tenant: str | None = None, fold_local: bool = True
) -> Located:
    """Who the identifiers name, and what there is of them. Changes nothing.

    Raises AmbiguousPerson when they do not name one person; Uncountable, Unreachable or Drifted when something cannot be counted: what is
    not known is never left out.
    """
    emails = tuple(dict.fromkeys(i.normal for i in identifiers if i.kind is IdentifierKind.EMAIL))
    addresses = tuple(dict.fromkeys(a for e in emails for a in stored_forms(e)))
    counted: list[Counted] = []
    forwards: dict[str, dict[str, int]] = {}
    found: list[_Match] = []
    for asked in compiled.asked:
        with reading(workspace, asked.store) as reader:
            refuse_half_lowered(reader, addresses)
            found += _matches(reader, asked, identifiers, addresses, emails, tenant=tenant, fold_local=fold_local)
    given = {
        i
        for a in compiled.asked
        for i in a.store.identities
        if a.store.tables[i].role is (Role.PROCESSOR if compiled.tenant else Role.CONTROLLER)
    }
    persons, others = _one_person(found, emails, given)
    own = tuple(sorted({m.email for m in found if m.by_account and m.there and m.email is not None}))
    told = Located(
        persons=persons,
        emails=emails,
        addresses=addresses,
        counted=(),
        forwards=(),
        archive_objects=0,
        left_out=len(others),
        tenant=tenant,
        own=own,
        others=others,
    )
    for asked in compiled.asked:
        with reading(workspace, asked.store) as reader:
            values = params(asked, told)
            if asked.counts:
                row = reader.one(asked.counts, values, "The person's rows")
                for each, (rows, shared) in zip(asked.tables, _pairs(row), strict=True):
                    counted.append(Counted(section=each.dataset, rows=rows, shared=shared, files=0))
            for dataset, statement in asked.forwards.items():
                for key, rows in reader.all(statement, values, f"The person's rows of {dataset}"):
                    if key is None:
                        raise Uncountable(
                            f"{rows} rows of {dataset} about the person lead to no tenant: nobody could be told of them.",
                            fix="Correct their tenant in the source; then run again.",
                        )
                    forwards.setdefault(str(key), {})[dataset] = rows
    return replace(
        told,
        counted=tuple(counted),
        forwards=tuple(Forward(tenant=t, rows=rows) for t, rows in sorted(forwards.items())),
        archive_objects=0 if compiled.tenant else len(archived(workspace, persons)),
    )


def sections(compiled: Compiled, workspace: Workspace, located: Located, *, at: datetime) -> Iterator[tuple[Section, Iterator[Row]]]:
    """Every dataset with rows of the person, living and then archived; the rows of one must be taken before the next is asked for."""
    from lethe.subjects.archived_rows import archived_sections

    for asked in compiled.asked:
        yield from rows_of_store(workspace, asked, located)
    if not compiled.tenant:
        yield from archived_sections(workspace, located, at=at)


def rows_of_store(workspace: Workspace, asked: Asked, located: Located) -> Iterator[tuple[Section, Iterator[Row]]]:
    """The sections of one store, on one snapshot: what is small by one statement, the rest streamed."""
    if not asked.tables:
        return
    with reading(workspace, asked.store) as reader:
        values = params(asked, located)
        one = all(key_param(i) in values for i in asked.store.identities)
        texts = reader.one(asked.small_one if one else asked.small, values, "The person's rows")
        for each, text in zip(asked.tables, texts, strict=True):
            if text is None:
                continue
            section = section_of(asked.store, each)
            yield section, rows_read(workspace, asked.store, each, located, reader.rows(text, AT_ONCE, asked.streams[each.dataset], values))


def section_of(store: Store, each: PersonTable) -> Section:
    """A dataset as a bundle shows it."""
    entry = each.table
    fields = tuple(
        Field(name=c, category=entry.columns[c].category, type=each.live.columns[c].type, provided=c in entry.portable)
        for c in entry.columns
    )
    return Section(
        store=store.id,
        dataset=each.dataset,
        origin=Origin.LIVE,
        role=entry.role,
        category=entry.category,
        purposes=entry.purposes,
        fields=fields,
    )


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


def params(asked: Asked, located: Located) -> dict[str, Any]:
    """What the statements of a store are run with; those for one key of each identity dataset only where there are no more."""
    keys = {i: located.keys.get(i, []) for i in asked.store.identities}
    values: dict[str, Any] = {ADDRESSES: list(located.addresses), TENANT: located.tenant}
    values |= {keys_param(i): found for i, found in keys.items()}
    values |= {left_param(i): [p.key for p in located.others if p.dataset == i] for i in asked.store.identities}
    if all(len(found) <= 1 for found in keys.values()):
        values |= {key_param(i): next(iter(found), None) for i, found in keys.items()}
    return values


def archived(workspace: Workspace, persons: Iterable[Person]) -> tuple[str, ...]:
    """The ids of the archive's objects that a person is in, told by their manifests. Raises Uncountable when some were named by another key."""
    names = archive_names(workspace, persons)
    if not names:
        return ()
    from lethe.archive.names import fingerprint

    key = settings.digest_key(workspace.connections(settings.CONTROL))
    with workspace.control.connect() as control:
        unlike = named_otherwise(control, fingerprint(key))
        if unlike:
            raise Uncountable(
                f"Who is in {len(unlike)} objects of the archive cannot be told: they were named by another key.",
                fix="Set the key for digests that they were made by; a bundle without them would not be complete.",
            )
        return tuple(k.id for k in find(control, names))


def addressed_datasets(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """The datasets of the company's own that the archive has living objects of and that have address columns, with these."""
    from lethe.archive.finding import LIVING
    from lethe.control.tables import archive_objects

    query = select(archive_objects.c.dataset).where(archive_objects.c.state.in_(list(LIVING))).distinct()
    with workspace.control.connect() as control:
        there = set(control.scalars(query))
    tables = {i: t for s in workspace.catalog.stores for i, t in s.tables.items() if i in there and t.role is Role.CONTROLLER}
    found = {i: tuple(c for c, kind in t.columns.items() if kind.category == EMAIL) for i, t in tables.items()}
    return {i: columns for i, columns in found.items() if columns}


def archive_names(workspace: Workspace, persons: Iterable[Person]) -> frozenset[str]:
    """The archive's names of these persons, by today's datasets."""
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    return frozenset(
        n for p in persons for n in person_whom(key, (p.dataset, p.key), workspace.catalog).names(workspace.catalog.identities)
    )


@contextmanager
def reading(workspace: Workspace, store: Store) -> Iterator[Reader]:
    """A reader of a store on one snapshot, in the role that reads everything.

    Nothing was written, yet it ends by COMMIT: after a ROLLBACK psycopg forgets what is prepared, and the next person's statements would be
    parsed and planned from their text again.
    """
    with snapshot(workspace.checking(store), holds=None) as connection:
        yield Reader(connection)
        with suppress(DBAPIError):  # every row was read: a connection that is lost now takes nothing away
            connection.commit()


# Who


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A row that is a person, and why it was found."""

    person: Person
    tenant: str | None = field(repr=False)
    email: str | None = field(repr=False)
    by_account: bool
    there: bool = True


def _matches(
    reader: Reader,
    asked: Asked,
    identifiers: Sequence[Identifier],
    addresses: Sequence[str],
    emails: Sequence[str],
    *,
    tenant: str | None,
    fold_local: bool,
) -> Iterator[_Match]:
    if addresses:
        for dataset, statement in asked.who.items():
            for key, stored, of in reader.all(statement, {ADDRESSES: list(addresses)}, f"The persons of {dataset}"):
                normal = normal_address(stored, fold_local=fold_local)
                if normal in emails and (tenant is None or of == tenant):
                    yield _Match(person=Person(dataset=dataset, key=key), tenant=of, email=normal, by_account=False)
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
                yield _Match(
                    person=Person(dataset=dataset, key=key), tenant=of, email=normal_address(stored, fold_local=fold_local), by_account=True
                )
        for key in set(keys) - seen:  # a log may outlive the user: the rows that lead to the key are the person's
            yield _Match(person=Person(dataset=dataset, key=key), tenant=None, email=None, by_account=True, there=False)


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


def _one_person(found: Sequence[_Match], emails: Sequence[str], given: Collection[str]) -> tuple[tuple[Person, ...], tuple[Person, ...]]:
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


def _pairs(row: Sequence[Any]) -> Iterator[tuple[int, int]]:
    for n in range(0, len(row), 2):
        yield int(row[n]), int(row[n + 1])


def _first_rows(tables: Sequence[PersonTable]) -> str:
    if not tables:
        return ""
    return compiled(select(*(as_json(t.rows, t.dataset, limit=AT_ONCE + 1, order=t.key).scalar_subquery() for t in tables)))


def _counting(tables: Sequence[PersonTable]) -> Any:
    from sqlalchemy import func

    from lethe.stores.postgres.person import SHARED

    columns = []
    for each in tables:
        rows = each.rows.subquery(f"c_{each.dataset}"[:60])
        columns.append(select(func.count()).select_from(rows).scalar_subquery())
        columns.append(select(func.count()).select_from(rows).where(rows.c[SHARED]).scalar_subquery())
    return select(*columns)
