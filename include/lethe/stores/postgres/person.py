"""A person's rows as SQL: built once from the catalog's paths, run many times with other keys. Keys and addresses are bound, never written.

A row is somebody's when one of its dataset's paths ends at a row of theirs, or when their address is in a column of its own or of a row that
it hangs on (`person_addresses`). Each way starts at the columns that hold the keys or the address, so that their indexes lead to the rows,
whatever the size of the table; several ways are united over the dataset's key, one alone needs no second reading of the table by it. Whether
an address of a row that is a person is the same is told once more in Python (`subjects.identifiers`), for the database folds less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union,
)

from lethe.catalog.live import LiveSchema, LiveTable
from lethe.catalog.model import Column, Path, Store, Table
from lethe.errors import Drifted, UnknownName
from lethe.plan.order import table_name
from lethe.stores.postgres.person_addresses import (
    hanging_columns,
    hanging_keys,
    hangs,
    is_theirs,
    other_address,
    own_address,
    own_address_keys,
)
from lethe.stores.postgres.person_keys import end_of, is_told, one_key, reached
from lethe.stores.postgres.row_texts import names
from lethe.stores.postgres.tables import key_text, reach_key, row_of

SECRET = "user.authorization"
"""Columns of this category, and below it, protect an account: they are withheld from everybody."""

TENANT = "tenant"
SHARED = "~shared"
"""In a row that was read: does it lead to somebody else too? Not there where no row of the dataset can. No catalog identifier can be
written so."""


@dataclass(frozen=True, kw_only=True)
class PersonTable:
    """A dataset as a person's rows are read from it. `fields`: the columns that are read, with what the catalog says of them; `withheld`:
    secrets; `names`: what a row of `rows` consists of, in its order."""

    dataset: str
    table: Table
    live: LiveTable
    fields: dict[str, Column]
    withheld: tuple[str, ...]
    ends: tuple[str, ...]
    addresses: tuple[str, ...]
    names: tuple[str, ...]
    rows: Select[Any] = field(repr=False)
    probes: tuple[tuple[tuple[str, ...], Select[Any]], ...] = field(repr=False)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of its key."""
        return self.table.key


def person_table(
    store: Store, live: LiveSchema, dataset: str, *, by_tenant: bool, one: bool = False, fold_local: bool = True
) -> PersonTable | None:
    """How a person's rows of a dataset are read; None when none of its rows can be anybody's.

    `by_tenant`: only rows of the tenant that is bound as `tenant`, and none by an address. `one`: for one key of each identity dataset, bound
    as `key_param` names it, NULL for none. PostgreSQL then expects as many rows as one person has, and keeps its plan; a list it takes for ten
    persons, and plans anew each time. `fold_local`: addresses that differ by the case of what stands before the @ are one. Raises Drifted when
    the table or a column is not there, or it has one that the catalog does not know: a bundle without it would not be complete; UnknownName
    for a path that ends where nobody can be told.
    """
    entry = store.tables[dataset]
    there = _checked(store, live, dataset)
    known, hanging = _split(store, dataset)
    hanging = [] if by_tenant else hanging
    addresses = () if () in entry.persons or by_tenant else entry.addresses
    if not known and not hanging and not addresses:
        return None
    row = row_of(store, dataset, "t")
    ways = [(_columns_of(store, dataset, path), _path_keys(store, live, dataset, path, n, one=one)) for n, path in enumerate(known)]
    ways += [
        (hanging_columns(store, dataset, path, c), hanging_keys(store, live, dataset, path, c, n, fold_local=fold_local))
        for n, (path, c) in enumerate(hanging)
    ]
    ways += [((c,), own_address_keys(store, live, dataset, c, fold_local=fold_local)) for c in addresses]
    key = [row.c[c] for c in entry.key]
    if len(ways) > 1:
        chosen: ColumnElement[bool] = (key[0] if len(key) == 1 else tuple_(*key)).in_(union(*(keys for _, keys in ways)))
    elif addresses:
        chosen = own_address(store, live, dataset, row, addresses[0], fold_local=fold_local)
    elif hanging:
        chosen = hangs(store, live, dataset, row, *hanging[0], fold_local=fold_local)
    else:
        chosen = _leads_there(store, live, dataset, row, known[0], one=one)
    withheld = tuple(c for c, kind in entry.columns.items() if kind.category.startswith(SECRET))
    fields = {c: kind for c, kind in entry.columns.items() if c not in withheld}
    read: list[ColumnElement[Any]] = [row.c[c] for c in dict.fromkeys([*fields, *entry.key])]
    if (shared := _shared(store, live, dataset, row, addresses, one=one, fold_local=fold_local)) is not None:
        read.append(shared.label(SHARED))
    statement = select(*read).select_from(row).where(chosen)
    if by_tenant:
        if entry.tenant is None:
            return None
        statement = statement.where(_of_tenant(store, dataset, row))
    ends = tuple(dict.fromkeys(end_of(store, dataset, path) for path in entry.persons))
    return PersonTable(
        dataset=dataset,
        table=entry,
        live=there,
        fields=fields,
        withheld=withheld,
        ends=ends,
        addresses=addresses,
        names=names(statement),
        rows=statement,
        probes=tuple(ways),
    )


def who_statement(store: Store, dataset: str) -> Select[Any] | None:
    """The persons of an identity dataset by an address, with what is stored: key, address, tenant (or NULL); None without an address column."""
    entry = store.tables[dataset]
    if not entry.addresses:
        return None
    row = row_of(store, dataset, "t")
    key = key_text(row.c[c] for c in entry.key).label("key")
    tenant = tenant_key(store, dataset, row).label("tenant")
    parts = [
        select(key, cast(row.c[c], Text).label("address"), tenant).select_from(row).where(is_theirs(row.c[c], fold_local=True))
        for c in entry.addresses
    ]
    return union(*parts).subquery().select() if len(parts) > 1 else parts[0]


def key_statement(store: Store, live: LiveSchema, dataset: str) -> Select[Any]:
    """The persons of an identity dataset by their keys (`keys_param`), in the same columns as `who_statement`."""
    entry = store.tables[dataset]
    row = row_of(store, dataset, "t")
    address = cast(row.c[entry.addresses[0]], Text) if entry.addresses else cast(None, Text)
    mine = is_told(store, live, dataset, dataset, [row.c[c] for c in entry.key])
    return (
        select(
            key_text(row.c[c] for c in entry.key).label("key"), address.label("address"), tenant_key(store, dataset, row).label("tenant")
        )
        .select_from(row)
        .where(mine)
    )


def forward_statement(store: Store, live: LiveSchema, dataset: str, *, fold_local: bool = True) -> Select[Any] | None:
    """How many rows of a dataset that tenants store are the person's, by tenant; None when none can be."""
    found = person_table(store, live, dataset, by_tenant=False, fold_local=fold_local)
    if found is None or found.table.tenant is None:
        return None
    row = row_of(store, dataset, "f")
    mine = found.rows.subquery("mine")
    same = and_(*(row.c[c] == mine.c[c] for c in found.key))
    tenant = tenant_key(store, dataset, row)
    return select(tenant.label("tenant"), func.count().label("rows")).select_from(row.join(mine, same)).group_by(tenant)


def tenant_key(store: Store, dataset: str, row: FromClause) -> ColumnElement[Any]:
    """The tenant of a row as text; NULL where the catalog leads to none."""
    path = store.tables[dataset].tenant
    if path is None:
        return cast(None, Text)
    reached, key = reach_key(store, dataset, row, path, prefix="w")
    return reached.inside(select(func.min(key))).scalar_subquery() if reached.aliases else key


def _checked(store: Store, live: LiveSchema, dataset: str) -> LiveTable:
    entry = store.tables[dataset]
    there = live.tables.get(table_name(entry))
    if there is None:
        raise Drifted(
            f"Table {table_name(entry)} of the catalog is not in the database.",
            fix="Correct the catalog, or find where it went; then run again.",
        )
    gone = sorted(set(entry.columns) - set(there.columns))
    if gone:
        raise Drifted(f"Table {table_name(entry)} has no column {', '.join(gone)}.", fix="Correct the catalog; then run again.")
    unknown = sorted(set(there.columns) - set(entry.columns) - {e.name.rsplit(".", 1)[1] for e in store.exempt if e.name.count(".") == 2})
    if unknown:
        raise Drifted(
            f"Table {table_name(entry)} has columns that the catalog does not know: {', '.join(unknown)}.",
            fix="Classify them, or exempt them with a reason: what nobody knows cannot be given, nor left out in silence.",
        )
    return there


def _split(store: Store, dataset: str) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The paths to persons; and those to rows that are found by their address alone, with each address column there."""
    known, hanging = list[Path](), list[tuple[Path, str]]()
    for path in store.tables[dataset].persons:
        end = end_of(store, dataset, path)
        addresses = store.by_address(end)
        if end not in store.identities and not addresses:
            raise UnknownName(
                f"A path of `persons` of {dataset} ends at {end}, whose rows are no persons and have no address.",
                fix="`lethe check` shows it; correct the path in the catalog.",
            )
        if end in store.identities:
            known.append(path)
        hanging += [(path, c) for c in addresses]
    return known, hanging


def _path_keys(store: Store, live: LiveSchema, dataset: str, path: Path, number: int, *, one: bool) -> Select[Any]:
    """The keys of the rows that lead to a person along a path."""
    row = row_of(store, dataset, f"r{number}")
    end = end_of(store, dataset, path)
    aliases, conditions, holder, columns = reached(store, dataset, row, path, f"p{number}_")
    mine = is_told(store, live, end, holder, columns, one=one)
    return select(*(row.c[c] for c in store.tables[dataset].key)).select_from(row, *aliases).where(*conditions, mine)


def _leads_there(store: Store, live: LiveSchema, dataset: str, row: FromClause, path: Path, *, one: bool) -> ColumnElement[bool]:
    """Does the row lead to a person along a path?"""
    aliases, conditions, holder, columns = reached(store, dataset, row, path, "p0_")
    mine = is_told(store, live, end_of(store, dataset, path), holder, columns, one=one)
    if not aliases:
        return mine
    return select(literal_column("1")).select_from(*aliases).where(*conditions, mine).correlate(row).exists()


def _columns_of(store: Store, dataset: str, path: Path) -> tuple[str, ...]:
    return tuple(str(c.name) for c in reached(store, dataset, row_of(store, dataset, "t"), path, "p")[3])


def _shared(
    store: Store, live: LiveSchema, dataset: str, row: FromClause, addresses: Sequence[str], *, one: bool, fold_local: bool
) -> ColumnElement[bool] | None:
    """Does the row lead to somebody who is not bound? None where no row can lead to several."""
    entry = store.tables[dataset]
    several = len(entry.persons) + len(addresses) > 1 or any("." in hop for path in entry.persons for hop in path)
    several = several or any(len(store.by_address(end_of(store, dataset, path))) > 1 for path in entry.persons)
    if not several or () in entry.persons:
        return None
    others: list[ColumnElement[bool]] = []
    for number, path in enumerate(entry.persons):
        end = end_of(store, dataset, path)
        if end not in store.identities:
            others.append(other_address(store, dataset, row, path, f"s{number}_", fold_local=fold_local))
            continue
        aliases, conditions, holder, columns = reached(store, dataset, row, path, f"s{number}_")
        other = ~is_told(store, live, end, holder, columns, one=one)
        if one:  # a comparison with no key is NULL, where one with an empty list is false
            other = or_(one_key(end).is_(None), other)
        stranger = and_(columns[0].is_not(None), other)
        if aliases:
            joined = aliases[0]
            for alias, condition in zip(aliases[1:], conditions[1:], strict=True):
                joined = joined.join(alias, condition)
            others.append(
                select(literal_column("1")).select_from(joined).where(conditions[0], stranger).correlate_except(*aliases).exists()
            )
        else:
            others.append(stranger)
    return or_(false(), *others)


def _of_tenant(store: Store, dataset: str, row: FromClause) -> ColumnElement[bool]:
    return tenant_key(store, dataset, row) == bindparam(TENANT, type_=Text)
