"""A person's rows as SQL: built once from the catalog's paths, run many times with other keys. Keys and addresses are bound, never written.

A row is somebody's when one of its dataset's paths ends at a row of theirs, or when an address column of its own has their address. Each way
starts at the columns that hold the keys, so that their indexes lead to the rows, whatever the size of the table; several ways are united
over the dataset's key, one alone needs no second reading of the table by it. An address is compared as
`lower(btrim(normalize(column, NFC)))`, which an index on that expression serves; whether it is the same address is then told in Python
(`subjects.identifiers`), for the database folds less.
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
    any_,
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
from sqlalchemy.dialects.postgresql import ARRAY

from lethe.catalog.live import LiveSchema, LiveTable
from lethe.catalog.model import Column, Path, Store, Table
from lethe.errors import Drifted
from lethe.plan.order import hop_to, table_name
from lethe.stores.postgres.person_keys import is_told, left_param, one_key
from lethe.stores.postgres.row_texts import names
from lethe.stores.postgres.tables import key_text, reach, reach_key, row_of

EMAIL = "user.contact.email"
SECRET = "user.authorization"
"""Columns of this category, and below it, protect an account: they are withheld from everybody."""

ADDRESSES, TENANT = "addresses", "tenant"
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


def address_value(column: ColumnElement[Any]) -> ColumnElement[str]:
    """What an address column is compared by. An index on `lower(btrim(normalize(column, NFC)))` serves it."""
    return func.lower(func.btrim(func.normalize(column, literal_column("NFC"))))


def person_table(store: Store, live: LiveSchema, dataset: str, *, by_tenant: bool, one: bool = False) -> PersonTable | None:
    """How a person's rows of a dataset are read; None when none of its rows can be anybody's.

    `by_tenant`: only rows of the tenant that is bound as `tenant`. `one`: for one key of each identity dataset, bound as `key_param` names it,
    NULL for none. PostgreSQL then expects as many rows as one person has, and keeps its plan; a list it takes for ten persons, and plans anew
    each time. Raises Drifted when the table or a column is not there, or it has one that the catalog does not know: a bundle without it would
    not be complete.
    """
    entry = store.tables[dataset]
    there = _checked(store, live, dataset)
    addresses = () if () in entry.persons or by_tenant else tuple(c for c, kind in entry.columns.items() if kind.category == EMAIL)
    if not entry.persons and not addresses:
        return None
    row = row_of(store, dataset, "t")
    ways = [_path_keys(store, live, dataset, path, n, one=one) for n, path in enumerate(entry.persons)]
    ways += [_address_keys(store, live, dataset, column) for column in addresses]
    key = [row.c[c] for c in entry.key]
    if len(ways) > 1:
        chosen: ColumnElement[bool] = (key[0] if len(key) == 1 else tuple_(*key)).in_(union(*ways))
    elif addresses:
        chosen = _has_address(store, live, dataset, row, addresses[0])
    else:
        chosen = _leads_there(store, live, dataset, row, entry.persons[0], one=one)
    withheld = tuple(c for c, kind in entry.columns.items() if kind.category.startswith(SECRET))
    fields = {c: kind for c, kind in entry.columns.items() if c not in withheld}
    read: list[ColumnElement[Any]] = [row.c[c] for c in dict.fromkeys([*fields, *entry.key])]
    if (shared := _shared(store, live, dataset, row, addresses, one=one)) is not None:
        read.append(shared.label(SHARED))
    statement = select(*read).select_from(row).where(chosen)
    if by_tenant:
        if entry.tenant is None:
            return None
        statement = statement.where(_of_tenant(store, dataset, row))
    probes = tuple((_columns_of(store, dataset, path), way) for path, way in zip(entry.persons, ways, strict=False))
    probes += tuple(((c,), way) for c, way in zip(addresses, ways[len(entry.persons) :], strict=True))
    ends = tuple(dict.fromkeys(_end(store, dataset, path) for path in entry.persons))
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
        probes=probes,
    )


def who_statement(store: Store, dataset: str) -> Select[Any] | None:
    """The persons of an identity dataset by an address, with what is stored: key, address, tenant (or NULL); None without an address column."""
    entry = store.tables[dataset]
    columns = [c for c, kind in entry.columns.items() if kind.category == EMAIL]
    if not columns:
        return None
    row = row_of(store, dataset, "t")
    key = key_text(row.c[c] for c in entry.key).label("key")
    tenant = tenant_key(store, dataset, row).label("tenant")
    wanted = bindparam(ADDRESSES, type_=ARRAY(Text))
    parts = [
        select(key, cast(row.c[c], Text).label("address"), tenant).select_from(row).where(address_value(row.c[c]) == any_(wanted))
        for c in columns
    ]
    return union(*parts).subquery().select() if len(parts) > 1 else parts[0]


def key_statement(store: Store, live: LiveSchema, dataset: str) -> Select[Any]:
    """The persons of an identity dataset by their keys (`keys_param`), in the same columns as `who_statement`."""
    entry = store.tables[dataset]
    row = row_of(store, dataset, "t")
    columns = [c for c, kind in entry.columns.items() if kind.category == EMAIL]
    address = cast(row.c[columns[0]], Text) if columns else cast(None, Text)
    mine = is_told(store, live, dataset, dataset, [row.c[c] for c in entry.key])
    return (
        select(
            key_text(row.c[c] for c in entry.key).label("key"), address.label("address"), tenant_key(store, dataset, row).label("tenant")
        )
        .select_from(row)
        .where(mine)
    )


def forward_statement(store: Store, live: LiveSchema, dataset: str) -> Select[Any] | None:
    """How many rows of a dataset that tenants store are the person's, by tenant; None when none can be."""
    found = person_table(store, live, dataset, by_tenant=False)
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


def _path_keys(store: Store, live: LiveSchema, dataset: str, path: Path, number: int, *, one: bool) -> Select[Any]:
    """The keys of the rows that lead to a person along a path."""
    row = row_of(store, dataset, f"r{number}")
    end = _end(store, dataset, path)
    aliases, conditions, holder, columns = _reached(store, dataset, row, path, f"p{number}_")
    mine = is_told(store, live, end, holder, columns, one=one)
    return select(*(row.c[c] for c in store.tables[dataset].key)).select_from(row, *aliases).where(*conditions, mine)


def _leads_there(store: Store, live: LiveSchema, dataset: str, row: FromClause, path: Path, *, one: bool) -> ColumnElement[bool]:
    """Does the row lead to a person along a path?"""
    aliases, conditions, holder, columns = _reached(store, dataset, row, path, "p0_")
    mine = is_told(store, live, _end(store, dataset, path), holder, columns, one=one)
    if not aliases:
        return mine
    return select(literal_column("1")).select_from(*aliases).where(*conditions, mine).correlate(row).exists()


def _address_keys(store: Store, live: LiveSchema, dataset: str, column: str) -> Select[Any]:
    row = row_of(store, dataset, f"a_{column}"[:60])
    return select(*(row.c[c] for c in store.tables[dataset].key)).select_from(row).where(_has_address(store, live, dataset, row, column))


def _has_address(store: Store, live: LiveSchema, dataset: str, row: FromClause, column: str) -> ColumnElement[bool]:
    """Has the row an address that is bound, and leads to nobody with the same address who is not meant?"""
    found = address_value(row.c[column]) == any_(bindparam(ADDRESSES, type_=ARRAY(Text)))
    others: list[ColumnElement[bool]] = []
    for number, path in enumerate(store.tables[dataset].persons):
        end = _end(store, dataset, path)
        aliases, conditions, holder, columns = _reached(store, dataset, row, path, f"l{number}_")
        left = is_told(store, live, end, holder, columns, name=left_param(end))
        if aliases:
            left = select(literal_column("1")).select_from(*aliases).where(*conditions, left).correlate(row).exists()
        others.append(func.coalesce(left, false()))
    return and_(found, ~or_(false(), *others)) if others else found


def _reached(
    store: Store, dataset: str, row: FromClause, path: Path, prefix: str
) -> tuple[tuple[FromClause, ...], tuple[ColumnElement[bool], ...], str, list[ColumnElement[Any]]]:
    """Joins along a path, and the columns at its end that hold the key: of the dataset `holder`. A last hop that refers by the key is not joined."""
    if path and "." not in path[-1]:
        before = reach(store, dataset, row, path[:-1], prefix=prefix)
        relation = store.tables[before.dataset].relations[path[-1]]
        if relation.to_columns in ((), store.tables[relation.to].key):
            return before.aliases, before.conditions, before.dataset, [before.row.c[c] for c in relation.columns]
    end = reach(store, dataset, row, path, prefix=prefix)
    return end.aliases, end.conditions, end.dataset, [end.row.c[c] for c in store.tables[end.dataset].key]


def _columns_of(store: Store, dataset: str, path: Path) -> tuple[str, ...]:
    return tuple(str(c.name) for c in _reached(store, dataset, row_of(store, dataset, "t"), path, "p")[3])


def _shared(
    store: Store, live: LiveSchema, dataset: str, row: FromClause, addresses: Sequence[str], *, one: bool
) -> ColumnElement[bool] | None:
    """Does the row lead to somebody who is not bound? None where no row can lead to several."""
    entry = store.tables[dataset]
    several = len(entry.persons) + len(addresses) > 1 or any("." in hop for path in entry.persons for hop in path)
    if not several or () in entry.persons:
        return None
    others: list[ColumnElement[bool]] = []
    for number, path in enumerate(entry.persons):
        end = _end(store, dataset, path)
        aliases, conditions, holder, columns = _reached(store, dataset, row, path, f"s{number}_")
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


def _end(store: Store, dataset: str, path: Path) -> str:
    for hop in path:
        dataset = hop_to(store, dataset, hop)
    return dataset
