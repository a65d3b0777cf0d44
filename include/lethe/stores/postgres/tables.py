"""A table of the catalog as a SQLAlchemy table, and how a row leads to other rows. Identifiers are quoted by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, ColumnElement, Date, DateTime, FromClause, Select, Text, and_, cast, column, func, literal, table, true
from sqlalchemy.types import NullType, TypeEngine

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Clock, Path, Store, Table
from lethe.errors import UnknownName
from lethe.plan.order import hop_to, table_name

_TYPES: dict[str, TypeEngine[Any]] = {"timestamptz": DateTime(timezone=True), "timestamp": DateTime(), "date": Date()}


def clock_type(clock: Clock) -> TypeEngine[Any]:
    """The SQL type of a clock's values."""
    return _TYPES[clock.stored_as]


def dataset_table(store: Store, dataset: str) -> Table:
    """The catalog's table of a dataset; UnknownName when the store has none of that name."""
    if dataset not in store.tables:
        raise UnknownName(f"Dataset {dataset!r} is no table of store {store.id!r}.", fix="Add it to the catalog.")
    return store.tables[dataset]


def row_of(store: Store, dataset: str, name: str | None = "t", *, columns: Iterable[str] = ()) -> FromClause:
    """The table of a dataset, aliased; `columns` are further ones, beside those that the catalog names (a foreign key's, say).

    `name` None gives the bare table, for DELETE.
    """
    entry = dataset_table(store, dataset)
    names: dict[str, TypeEngine[Any]] = {c: NullType() for c in [*entry.columns, *entry.key, *columns]}
    for other in store.tables.values():
        for relation in other.relations.values():
            if relation.to == dataset and relation.to_columns:
                names.update({c: NullType() for c in relation.to_columns})
    for relation in entry.relations.values():
        names.update({c: NullType() for c in relation.columns})
    for conditions in entry.subsets.values():
        names.update({c.column: NullType() for c in conditions})
    if store.contracts and store.contracts.dataset == dataset:
        names.update({c: DateTime(timezone=True) for c in (store.contracts.started, store.contracts.ended)})
    for held, clock in _clocks(store, dataset):
        names.update({c: clock_type(clock) for c in held})
    return _table(entry.db_schema, entry.table, names, name)


def _clocks(store: Store, dataset: str) -> list[tuple[list[str], Clock]]:
    """The columns of this dataset that are clocks, its own or those of rows that reach it."""
    found: list[tuple[list[str], Clock]] = []
    for other, entry in store.tables.items():
        for clock in entry.clocks.values():
            if not clock.through:
                if other == dataset:
                    found.append(([*clock.latest_of] or [clock.column or ""], clock))
                continue
            if other == dataset and clock.otherwise:
                found.append(([clock.otherwise], clock))
            here = other
            for hop in clock.through:
                here = hop_to(store, here, hop)
            if here == dataset:
                found.append(([clock.column or ""], clock))
    return found


def unmapped(name: str, columns: Iterable[str], alias: str | None = "t") -> FromClause:
    """A table that the catalog does not know (`schema.table`), with these columns: it may still refer to rows that are due."""
    schema, _, bare = name.partition(".")
    return _table(schema, bare, {c: NullType() for c in columns}, alias)


def _table(schema: str, name: str, columns: dict[str, TypeEngine[Any]], alias: str | None) -> FromClause:
    made: list[ColumnClause[Any]] = [column(c, t) for c, t in columns.items()]
    bare = table(name, *made, schema=schema)
    return bare if alias is None else bare.alias(alias)


def key_text(columns: Iterable[ColumnElement[Any]]) -> ColumnElement[str]:
    """A key as text: the value of one column, or the row of several as PostgreSQL prints it, such as (1,2)."""
    parts = list(columns)
    return cast(parts[0] if len(parts) == 1 else func.row(*parts), Text)


def is_integer_key(entry: Table, live: LiveSchema | None) -> bool:
    """Is the key one integer column? Without a live schema it cannot be known, so no."""
    found = live.tables.get(table_name(entry)) if live else None
    kind = found.columns.get(entry.key[0]) if found else None
    return len(entry.key) == 1 and kind is not None and kind.type in {"smallint", "integer", "bigint"}


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Where a path from a row ends: the dataset, its row (an alias, or the row itself for an empty path), and the joins to it.

    Of `aliases` and `conditions`, the n-th condition joins the n-th alias to the one before, the first one to the starting row.
    """

    dataset: str
    row: FromClause
    aliases: tuple[FromClause, ...] = ()
    conditions: tuple[ColumnElement[bool], ...] = ()

    @property
    def where(self) -> ColumnElement[bool]:
        """The join conditions, the one to the starting row among them."""
        return and_(true(), *self.conditions)

    def inside(self, statement: Select[Any]) -> Select[Any]:
        """`statement` over the reached rows of the starting row, which it is correlated to. Not for an empty path."""
        joined = self.aliases[0]
        for alias, condition in zip(self.aliases[1:], self.conditions[1:], strict=True):
            joined = joined.join(alias, condition)
        return statement.select_from(joined).where(self.conditions[0]).correlate_except(*self.aliases)


def reach(store: Store, dataset: str, row: FromClause, path: Path, *, prefix: str = "p") -> Reached:
    """Follows a path from `row`. Aliases are named by `prefix`, so that several paths can stand in one query.

    Needs an index on the referring columns of each hop that goes the other way. UnknownName for a hop that does not exist.
    """
    aliases: list[FromClause] = []
    conditions: list[ColumnElement[bool]] = []
    for number, hop in enumerate(path):
        to = hop_to(store, dataset, hop)
        other, _, name = hop.rpartition(".")
        target = dataset if other else to
        relation = store.tables[other or dataset].relations[name]
        keys = relation.to_columns or store.tables[target].key
        there = row_of(store, to, f"{prefix}{number}")
        refers, referred = (there, row) if other else (row, there)
        conditions.append(and_(true(), *(refers.c[a] == referred.c[b] for a, b in zip(relation.columns, keys, strict=True))))
        aliases.append(there)
        dataset, row = to, there
    return Reached(dataset=dataset, row=row, aliases=tuple(aliases), conditions=tuple(conditions))


def reach_key(store: Store, dataset: str, row: FromClause, path: Path, *, prefix: str = "p") -> tuple[Reached, ColumnElement[str]]:
    """Follows a path to a key: the joins, and the key it ends at, as text.

    The last hop is not joined when the row before it holds the key already: a log still leads to its tenant when that is gone.
    """
    if path and "." not in path[-1]:
        before = reach(store, dataset, row, path[:-1], prefix=prefix)
        relation = store.tables[before.dataset].relations.get(path[-1])
        if relation and relation.to in store.tables and relation.to_columns in ((), store.tables[relation.to].key):
            return (
                Reached(dataset=relation.to, row=before.row, aliases=before.aliases, conditions=before.conditions),
                key_text(before.row.c[c] for c in relation.columns),
            )
    end = reach(store, dataset, row, path, prefix=prefix)
    return end, key_text(end.row.c[c] for c in store.tables[end.dataset].key)


def bound_value(value: str | int) -> ColumnElement[Any]:
    """A value whose type PostgreSQL takes from the column it meets, so that enums and uuids compare and indexes serve."""
    return literal(value, NullType())
