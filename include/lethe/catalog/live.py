"""A database as it is, as values: what the catalog is compared with, and what plans and purges take their order from. Pure.

`stores/postgres/describe.py` fills it.
"""

from __future__ import annotations

from typing import Literal

from lethe.frozen import Frozen

TableKind = Literal["table", "partitioned", "partition", "view", "matview", "foreign"]
OnDelete = Literal["no action", "restrict", "cascade", "set null", "set default"]


class LiveColumn(Frozen):
    """A column's type as PostgreSQL prints it (`timestamp with time zone`), and whether it may be NULL.

    `kinds` says what the type is made of, outermost first: `domain`, `array`, `range`, `multirange` lead on to the next; the last is
    `enum`, `composite`, `other` (an extension's), or a type of PostgreSQL's own without its modifiers (`numeric`). Empty: not read.
    """

    type: str
    nullable: bool
    kinds: tuple[str, ...] = ()


class LiveIndex(Frozen):
    """An index: its columns in order (an expression is an empty name), its predicate when partial, and whether it is valid."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    valid: bool
    predicate: str | None = None
    method: str = "btree"


class LiveTable(Frozen):
    """One table, view or foreign table. `rows` is PostgreSQL's estimate, None when it was never analysed.

    `partition_of` is `schema.table` of the parent; `partition_key` names the columns of a partitioned table (an expression
    is an empty name); `bound` is a partition's bound as PostgreSQL prints it. `inherits` is true for a child by plain inheritance.
    """

    name: str
    kind: TableKind
    columns: dict[str, LiveColumn]
    primary_key: tuple[str, ...] = ()
    indexes: tuple[LiveIndex, ...] = ()
    partition_of: str | None = None
    partition_key: tuple[str, ...] = ()
    partition_strategy: Literal["range", "list", "hash"] | None = None
    bound: str | None = None
    inherits: bool = False
    row_security: bool = False
    triggers: tuple[str, ...] = ()
    rows: int | None = None

    def indexed(self, *columns: str) -> bool:
        """Is there a valid, ordered index that begins with these columns, over every row that has a value in them?"""
        whole = {None, *(f"({c} IS NOT NULL)" for c in columns)}
        return any(
            i.valid and i.method in ("btree", "brin") and i.predicate in whole and i.columns[: len(columns)] == columns
            for i in self.indexes
        )

    def unique_on(self, columns: tuple[str, ...]) -> bool:
        """Do these columns, in any order, name one row?"""
        keys = [self.primary_key, *(i.columns for i in self.indexes if i.unique and i.valid and i.predicate is None)]
        return any(k and set(k) <= set(columns) for k in keys)


class ForeignKey(Frozen):
    """A foreign key of `table` (`schema.table`) to `to`; the columns match one to one."""

    name: str
    table: str
    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    on_delete: OnDelete
    deferrable: bool
    validated: bool


class LiveSchema(Frozen):
    """Every table of a database (system schemas left out), by `schema.table`, and every foreign key between them."""

    tables: dict[str, LiveTable]
    foreign_keys: tuple[ForeignKey, ...] = ()

    def partitions(self, name: str) -> tuple[str, ...]:
        """The direct partitions of a table, by name."""
        return tuple(sorted(t for t, table in self.tables.items() if table.partition_of == name))

    def referring_to(self, name: str) -> tuple[ForeignKey, ...]:
        """The foreign keys that point at a table."""
        return tuple(k for k in self.foreign_keys if k.to == name)
