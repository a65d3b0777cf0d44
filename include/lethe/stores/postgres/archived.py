"""How a column of a table is read for the archive, and what it is kept as: nothing may be lost on the way, and no type is guessed.

A type that Arrow holds exactly is read natively; one that PostgreSQL's own text gives back exactly is kept as text (a numeric has more
digits than Arrow's decimals, an array has lower bounds). A time is text too: Arrow has no 24:00, and reads it as midnight. Any other
type is refused by name. Checked by a round trip of every type through Parquet (`tests/integration/test_arrow.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, FromClause, Text, cast

from lethe.catalog.live import LiveColumn, LiveTable
from lethe.errors import NotArchivable
from lethe.stores.postgres.addresses import texts

SOURCE = "lethe.source"
"""The key of a field's metadata: its column's PostgreSQL type, as format_type prints it."""

_OURS = "_lethe_"
_FOLDERS = frozenset({"dataset", "law", "schema", "expires"})
"""Readers of the archive take these from the folders of a key: a column of the same name would be in the way."""

_NATIVE: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "character varying": pa.string(),
    "character": pa.string(),  # never by a cast, which strips its blanks
    "name": pa.string(),
    "bytea": pa.binary(),
    "uuid": pa.uuid(),
    "json": pa.string(),
    "jsonb": pa.string(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
_AS_TEXT = frozenset(
    {
        "numeric",
        "xml",
        "macaddr",
        "macaddr8",
        "interval",
        "time without time zone",
        "time with time zone",
        "bit",
        "bit varying",
        "tsvector",
        '"char"',
        "enum",
    }
)


_SENT = frozenset({"inet", "cidr"})
"""Read as PostgreSQL sends them, and written as its text here (`addresses.py`)."""


@dataclass(frozen=True, kw_only=True)
class Projected:
    """A column as it is read and kept: its name, its PostgreSQL type (`source`), and the Arrow type it is kept as. `as_text`: the server is
    asked for its text; `sent`: it comes as bytes that are written as text here; `nullable`: may it be NULL, as the schema was described?"""

    name: str
    source: str
    type: pa.DataType
    as_text: bool
    sent: bool = False
    nullable: bool = True

    @property
    def kept_as(self) -> str:
        """The Arrow type as Arrow prints it, such as timestamp[us, tz=UTC]."""
        return str(self.type)

    @property
    def field(self) -> pa.Field:
        """The Arrow field, with the PostgreSQL type as its metadata."""
        return pa.field(self.name, self.type, nullable=True, metadata={SOURCE: self.source})

    def of(self, row: FromClause) -> ColumnElement[Any]:
        """The column of `row` as it is read, under its own name."""
        column = row.c[self.name]
        return cast(column, Text).label(self.name) if self.as_text else column


def projection(live: LiveTable, columns: Sequence[str]) -> tuple[Projected, ...]:
    """How these columns of a table are read and kept, in this order.

    Raises NotArchivable for a column that is not there, one named twice or like Lethe's own, and a type that could not be given back
    exactly.
    """
    found = tuple(_projected(live, name) for name in columns)
    twice = {p.name for p in found if list(columns).count(p.name) > 1}
    if twice or not found:
        what = f"column {min(twice)} twice" if twice else "no column"
        raise NotArchivable(f"Table {live.name}: a rule archives {what}.", fix="Name each column to keep once in the rule's `columns`.")
    return found


def schema_of(projected: Sequence[Projected]) -> pa.Schema:
    """The Arrow schema of the kept columns: each field's metadata has its PostgreSQL type under `lethe.source`."""
    return pa.schema([p.field for p in projected])


def as_kept(table: pa.Table, projected: Sequence[Projected]) -> pa.Table:
    """The kept columns of a table that was read, with exactly `schema_of`. Copies no values but those that were sent as bytes. A table
    that it made already is given back as it is.

    Raises NotArchivable when a column came as another type than its PostgreSQL type says: the table was altered meanwhile.
    """
    return pa.Table.from_arrays([_column(table.column(p.name), p) for p in projected], schema=schema_of(projected))


def _column(column: pa.ChunkedArray, p: Projected) -> pa.ChunkedArray:
    if p.sent and isinstance(column.type, pa.OpaqueType) and column.type.type_name in _SENT:
        column = texts(pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type))
    if column.type != p.type:
        raise NotArchivable(
            f"Column {p.name} was described as {p.source} and came as {column.type}.",
            fix="The table was altered, or is not what the catalog says: plan anew.",
        )
    return column


def _projected(live: LiveTable, name: str) -> Projected:
    column = live.columns.get(name)
    if column is None:
        raise NotArchivable(f"Table {live.name} has no column {name}.", fix="Leave it out of the rule's `columns`.")
    if name.startswith(_OURS) or name in _FOLDERS:
        raise NotArchivable(
            f"Column {name} of {live.name} is named as one that Lethe adds to the archive.", fix="Leave it out of the rule's `columns`."
        )
    kinds = _undomained(column.kinds)
    native, sent = (_NATIVE.get(kinds[0]), kinds[0] in _SENT) if kinds else (None, False)
    if native is None and not sent and not _has_exact_text(kinds):
        raise _refused(live, name, column)
    as_text = native is None and not sent
    return Projected(name=name, source=column.type, type=native or pa.string(), as_text=as_text, sent=sent, nullable=column.nullable)


def _undomained(kinds: tuple[str, ...]) -> tuple[str, ...]:
    while kinds and kinds[0] == "domain":
        kinds = kinds[1:]
    return kinds


def _has_exact_text(kinds: tuple[str, ...]) -> bool:
    """Does PostgreSQL read the text of such a value back as the same value? For arrays and ranges: when it does for their elements."""
    kinds = _undomained(kinds)
    if kinds and kinds[0] in {"array", "range", "multirange"}:
        inner = _undomained(kinds[1:])
        return bool(inner) and (inner[0] in _NATIVE or inner[0] in _SENT or _has_exact_text(inner))
    return bool(kinds) and kinds[0] in _AS_TEXT


def _refused(live: LiveTable, name: str, column: LiveColumn) -> NotArchivable:
    what = "whose kind was not read" if not column.kinds else "which the archive cannot give back exactly"
    return NotArchivable(
        f"Column {name} of {live.name} is of type {column.type}, {what}.",
        fix="Leave it out of the rule's `columns`, or let the application keep what is needed of it in a column of a plain type.",
    )
