"""The objects that rows name in a column (`Files` of the catalog): which of them go when the rows have gone, and what takes them.

A technique deletes the rows first, inside its transaction, so that the keys are those of exactly these rows and everything that can
refuse a row has spoken, also what is put off to the COMMIT. Then the objects go, then the transaction commits. A process that dies in
between leaves rows that are still due, and the next run does all of it again. A key may carry a name: it is held in memory for one
batch, and written down nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import ARRAY, ColumnElement, Connection, FromClause, Text, cast, func, literal, select, text

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Store
from lethe.errors import UnknownName
from lethe.plan.order import table_name
from lethe.stores.postgres.predicate import Target
from lethe.stores.postgres.tables import dataset_table, row_of

TEXTS = frozenset({"text", "character varying"})
"""Types, as PostgreSQL prints them without a length, whose index serves a comparison with texts."""

_SPEAK_NOW = text("set constraints all immediate")
"""Checks at once what DEFERRABLE constraints and constraint triggers put off to the COMMIT: no object comes back after a refusal there."""


@dataclass(frozen=True, kw_only=True)
class Filed:
    """What became of the objects of deleted rows: `rows` that named one; `entries` deleted (versions, delete markers, unfinished uploads);
    keys of which nothing was there (`missing`); keys left because a row that stays names them too (`shared`)."""

    rows: int = 0
    entries: int = 0
    missing: int = 0
    shared: int = 0


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a batch has deleted for one step: how many rows, and the keys of their objects, one for each row that names one; None for a
    table without files."""

    target: Target
    rows: int
    keys: Sequence[str] | None = field(repr=False)


class Filing(Protocol):
    """Deletes the objects of rows."""

    def remove(self, connection: Connection, named: Sequence[Named]) -> tuple[Filed | None, ...]:
        """Deletes the objects of all rows that the open transaction of `connection` has deleted; what became of them, in order, None for a
        table without files. Raises NotApproved, before any object goes, when these rows may not; ObjectErrors when the store refuses an
        object, and Unreachable when it does not answer: the transaction is then to be rolled back."""
        ...


def removed(connection: Connection, filing: Filing | None, named: Sequence[Named]) -> tuple[Filed | None, ...]:
    """`Filing.remove`, where any of these tables has files, once no deferred constraint is left that could refuse the COMMIT; DBAPIError
    when one refuses. Write nothing in the transaction after that. TypeError when there are files, and nothing deletes them."""
    if all(n.keys is None for n in named):
        return tuple(None for _ in named)
    if filing is None:
        raise TypeError(f"step {named[0].target.step.id}: its rows have files, and nothing deletes them")
    connection.execute(_SPEAK_NOW)
    return filing.remove(connection, named)


def file_of(row: FromClause, target: Target) -> ColumnElement[str] | None:
    """The key of a row's object, as text; None for a table without files. UnknownName when the catalog lacks the column."""
    files = target.table.files
    if files is None:
        return None
    if files.column not in row.c:
        raise UnknownName(f"The files of {target.dataset!r} are named by no column of the catalog.", fix="Correct `files.column` there.")
    return cast(row.c[files.column], Text)


def still_named(
    connection: Connection, store: Store, live: LiveSchema | None, columns: Iterable[tuple[str, str]], keys: Sequence[str]
) -> frozenset[str]:
    """Those of `keys` that a row which is there now names, in any of these columns (dataset, column).

    Needs an index on each column. What another session inserts meanwhile is not seen, unless a unique index makes it wait.
    """
    found: set[str] = set()
    for dataset, name in columns:
        row = row_of(store, dataset, "f", columns=[name])
        column = row.c[name] if _is_text(store, live, dataset, name) else cast(row.c[name], Text)
        asked = cast(literal(list(keys), ARRAY(Text)), ARRAY(Text))
        query = select(cast(column, Text)).select_from(row).where(column == func.any(asked)).distinct()
        found.update(connection.scalars(query))
    return frozenset(found)


def _is_text(store: Store, live: LiveSchema | None, dataset: str, name: str) -> bool:
    """Without a live schema the column is taken for a text."""
    table = live.tables.get(table_name(dataset_table(store, dataset))) if live else None
    kind = table.columns.get(name) if table else None
    return kind is None or kind.type.partition("(")[0] in TEXTS
