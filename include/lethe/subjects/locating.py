"""Finding a person: who they are in the stores, and every row that is theirs. The catalog's paths are compiled once, and run for each person.

    identifiers -> who() -> persons, by address or account -> counts, forwards to tenants, archive objects
                                                           -> sections() -> rows, streamed

Company data (role controller) gives sections. What tenants store is theirs to answer: it gives counts by tenant, to be forwarded, unless it
is a tenant that instructs; then it is the other way round, of that tenant alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lethe import settings
from lethe.catalog.model import Store
from lethe.errors import Uncountable
from lethe.policy.model import Role
from lethe.stores.postgres.person import PersonTable
from lethe.stores.postgres.person_keys import key_param
from lethe.subjects.found import Counted, Field, Forward, Located, Origin, Person, Row, Section
from lethe.subjects.identifiers import Identifier, IdentifierKind, exact_forms, stored_forms
from lethe.subjects.in_archive import archived
from lethe.subjects.rows import rows_read
from lethe.subjects.statements import AT_ONCE, Asked, Compiled, compile_catalog, params, reading
from lethe.subjects.who import Match, matches, one_person, refuse_half_lowered
from lethe.workspace import Workspace


@dataclass(frozen=True)
class Finder:
    """Finds persons in the stores of a workspace; compiles the catalog once for each kind of question."""

    workspace: Workspace
    _compiled: dict[tuple[bool, bool], Compiled] = field(default_factory=dict, repr=False, compare=False)

    def compiled(self, *, tenant: bool = False) -> Compiled:
        """See `compile_catalog`; `LETHE_FOLD_LOCAL_PART` says whether the case of a local part matters."""
        key = tenant, settings.fold_local_part()
        if key not in self._compiled:
            self._compiled[key] = compile_catalog(self.workspace, tenant=tenant, fold_local=key[1])
        return self._compiled[key]

    def locate(self, identifiers: Sequence[Identifier], *, tenant: str | None = None) -> Located:
        """See `locate`; what the tenant stores when one is named."""
        compiled = self.compiled(tenant=tenant is not None)
        return locate(compiled, self.workspace, identifiers, tenant=tenant)

    def sections(self, located: Located, *, at: datetime) -> Iterator[tuple[Section, Iterator[Row]]]:
        """See `sections`."""
        return sections(self.compiled(tenant=located.tenant is not None), self.workspace, located, at=at)


def locate(compiled: Compiled, workspace: Workspace, identifiers: Sequence[Identifier], *, tenant: str | None = None) -> Located:
    """Who the identifiers name, and what there is of them. Changes nothing.

    Raises AmbiguousPerson when they do not name one person; Uncountable, Unreachable or Drifted when something cannot be counted: what is
    not known is never left out.
    """
    emails = tuple(dict.fromkeys(i.normal for i in identifiers if i.kind is IdentifierKind.EMAIL))
    addresses = tuple(dict.fromkeys(a for e in emails for a in stored_forms(e)))
    counted: list[Counted] = []
    forwards: dict[str, dict[str, int]] = {}
    found: list[Match] = []
    for asked in compiled.asked:
        with reading(workspace, asked.store) as reader:
            refuse_half_lowered(reader, addresses)
            found += matches(reader, asked, identifiers, addresses, emails, tenant=tenant, fold_local=compiled.fold_local)
    given = {
        i
        for a in compiled.asked
        for i in a.store.identities
        if a.store.tables[i].role is (Role.PROCESSOR if compiled.tenant else Role.CONTROLLER)
    }
    persons, others = one_person(found, emails, given)
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
        exact=None if compiled.fold_local else tuple(dict.fromkeys(a for e in emails for a in exact_forms(e))),
    )
    hanging: list[Person] = []
    for asked in compiled.asked:
        with reading(workspace, asked.store) as reader:
            values = params(asked, told)
            if asked.counts:
                row = reader.one(asked.counts, values, "The person's rows")
                for each, (rows, shared, files) in zip(asked.tables, _threes(row), strict=True):
                    counted.append(Counted(section=each.dataset, rows=rows, shared=shared, files=files))
            for dataset, statement in asked.hanging.items() if addresses else ():
                hanging += [Person(dataset=dataset, key=key) for (key,) in reader.all(statement, values, f"The person's rows of {dataset}")]
            for dataset, statement in asked.forwards.items():
                for key, rows in reader.all(statement, values, f"The person's rows of {dataset}"):
                    if key is None:
                        raise Uncountable(
                            f"{rows} rows of {dataset} about the person lead to no tenant: nobody could be told of them.",
                            fix="Correct their tenant in the source; then run again.",
                        )
                    forwards.setdefault(str(key), {})[dataset] = rows
    told = replace(told, hanging=tuple(sorted(hanging)))
    return replace(
        told,
        counted=tuple(counted),
        forwards=tuple(Forward(tenant=t, rows=rows) for t, rows in sorted(forwards.items())),
        archive_objects=0 if compiled.tenant else len(archived(workspace, told.named)),
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
            found = reader.rows(text, AT_ONCE, asked.streams[each.dataset], values, each)
            yield section, rows_read(workspace, asked.store, each, located, found)


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


def _threes(row: Sequence[Any]) -> Iterator[tuple[int, int, int]]:
    for n in range(0, len(row), 3):
        yield int(row[n]), int(row[n + 1]), int(row[n + 2])
