"""Rows that are a person's by an address: one in a column of their own, or one of the row that they hang on, by joins of any depth.

An address is compared as `lower(btrim(normalize(column, NFC)))`, which an index on that expression serves. Where the case of a local part
matters (`subjects.identifiers`), what stands before the @ is compared as it is written, too. A row is left out when it, or a row on its way,
leads to somebody with the same address who is not meant: it would be theirs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Text, and_, any_, bindparam, false, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Path, Store
from lethe.catalog.paths import follow
from lethe.plan.order import visited
from lethe.stores.postgres.person_keys import end_of, is_told, left_param, reached
from lethe.stores.postgres.tables import key_text, reach, row_of

ADDRESSES, EXACT = "addresses", "exact"
"""The parameters that have the person's addresses: in lower case, and as they are, with the domain in lower case."""


def address_value(column: ColumnElement[Any]) -> ColumnElement[str]:
    """What an address column is compared by. An index on `lower(btrim(normalize(column, NFC)))` serves it."""
    return func.lower(func.btrim(func.normalize(column, literal_column("NFC"))))


def is_theirs(column: ColumnElement[Any], *, fold_local: bool) -> ColumnElement[bool]:
    """Has the column an address that is bound? `fold_local`: whatever the case of what stands before the @."""
    found = address_value(column) == any_(bindparam(ADDRESSES, type_=ARRAY(Text)))
    return found if fold_local else and_(found, _exact_value(column) == any_(bindparam(EXACT, type_=ARRAY(Text))))


def own_address(store: Store, live: LiveSchema, dataset: str, row: FromClause, column: str, *, fold_local: bool) -> ColumnElement[bool]:
    """Has the row an address that is bound, and leads to nobody with the same address who is not meant?"""
    return _but_left(store, live, dataset, row, (), is_theirs(row.c[column], fold_local=fold_local))


def own_address_keys(store: Store, live: LiveSchema, dataset: str, column: str, *, fold_local: bool) -> Select[Any]:
    """The keys of the rows with such an address."""
    row = row_of(store, dataset, f"a_{column}"[:60])
    mine = own_address(store, live, dataset, row, column, fold_local=fold_local)
    return select(*(row.c[c] for c in store.tables[dataset].key)).select_from(row).where(mine)


def hangs(
    store: Store, live: LiveSchema, dataset: str, row: FromClause, path: Path, column: str, *, fold_local: bool
) -> ColumnElement[bool]:
    """Does the row lead along a path to one that has an address that is bound, and to nobody with the same address who is not meant?"""
    end = reach(store, dataset, row, path, prefix="h")
    mine = is_theirs(end.row.c[column], fold_local=fold_local)
    there = select(literal_column("1")).select_from(*end.aliases).where(*end.conditions, mine).correlate(row).exists()
    return _but_left(store, live, dataset, row, path, there)


def hanging_keys(store: Store, live: LiveSchema, dataset: str, path: Path, column: str, number: int, *, fold_local: bool) -> Select[Any]:
    """The keys of the rows that lead along a path to such an address: by the index on it, then by those on the columns that refer there."""
    row = row_of(store, dataset, f"h{number}")
    end = reach(store, dataset, row, path, prefix=f"h{number}_")
    mine = _but_left(store, live, dataset, row, path, is_theirs(end.row.c[column], fold_local=fold_local))
    keys = (row.c[c] for c in store.tables[dataset].key)
    return select(*keys).select_from(row, *end.aliases).where(*end.conditions, mine)


def hanging_columns(store: Store, dataset: str, path: Path, column: str) -> tuple[str, ...]:
    """The columns that need an index for that: those of each hop that refer onwards, and the address."""
    steps = follow(store, dataset, path)
    refer = [f"{s.start}.{c}" for s in steps if not s.back for c in s.relation.columns]
    return tuple(c.removeprefix(f"{dataset}.") for c in [*refer, f"{steps[-1].end}.{column}"])


def other_address(store: Store, dataset: str, row: FromClause, path: Path, prefix: str, *, fold_local: bool) -> ColumnElement[bool]:
    """Does the row lead along a path to one with an address that is not bound?"""
    end = reach(store, dataset, row, path, prefix=prefix)
    others = [and_(end.row.c[c].is_not(None), ~is_theirs(end.row.c[c], fold_local=fold_local)) for c in store.tables[end.dataset].addresses]
    return end.inside(select(literal_column("1")).where(or_(false(), *others))).exists()


def ends_statement(store: Store, dataset: str, *, fold_local: bool) -> Select[Any]:
    """The keys, as texts, of the rows of such a dataset that have an address that is bound: the archive knows by them what hung on them."""
    row = row_of(store, dataset, "t")
    mine = (is_theirs(row.c[c], fold_local=fold_local) for c in store.by_address(dataset))
    return select(key_text(row.c[c] for c in store.tables[dataset].key)).select_from(row).where(or_(false(), *mine))


def _but_left(store: Store, live: LiveSchema, dataset: str, row: FromClause, path: Path, found: ColumnElement[bool]) -> ColumnElement[bool]:
    """`found`, and neither the row nor one that its path goes through leads to somebody with the same address who is not meant."""
    others: list[ColumnElement[bool]] = []
    for number, way in enumerate(ways_to_persons(store, dataset, path)):
        end = end_of(store, dataset, way)
        aliases, conditions, holder, columns = reached(store, dataset, row, way, f"l{number}_")
        left = is_told(store, live, end, holder, columns, name=left_param(end))
        if aliases:
            left = select(literal_column("1")).select_from(*aliases).where(*conditions, left).correlate(row).exists()
        others.append(func.coalesce(left, false()))
    return and_(found, ~or_(false(), *others)) if others else found


def ways_to_persons(store: Store, dataset: str, path: Path) -> tuple[Path, ...]:
    """From the row to persons: by its own ways, by those of each row on its path, and by those of the row at its end."""
    here = (dataset, *visited(store, dataset, path))
    ways = (
        (*path[:n], *way) for n, at in enumerate(here) for way in store.tables[at].persons if end_of(store, at, way) in store.identities
    )
    return tuple(dict.fromkeys(ways))


def _exact_value(column: ColumnElement[Any]) -> ColumnElement[str]:
    """An address as it is written, but for spaces around it and the case of its domain. One that is compared has exactly one @."""
    value, at = func.btrim(func.normalize(column, literal_column("NFC"))), literal_column("'@'", Text)
    local, domain = (func.split_part(value, at, literal_column(n), type_=Text) for n in ("1", "2"))
    return local.concat(at).concat(func.lower(domain, type_=Text))
