"""Rows as JSON texts, made by PostgreSQL: one for all rows of a dataset, or one for each; and a statement as psycopg takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Subquery, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

_ARGUMENTS = 100
"""PostgreSQL's limit on the arguments of a function."""


def as_json(statement: Select[Any], name: str, *, limit: int) -> Select[Any]:
    """One text: a JSON array of at most `limit` rows, each an array of its values (`names` are theirs), in no order.

    Sorting in the aggregate costs a quarter of the whole, names in each row a sixth; whoever has the rows can do both. The limit stands
    outside of the statement: one inside keeps PostgreSQL from merging the two, and it then makes every row twice. Rows of more than a hundred
    columns are objects.
    """
    rows: Subquery = statement.subquery(name)
    made = func.json_build_array(*rows.c) if len(rows.c) <= _ARGUMENTS else func.row_to_json(rows.table_valued())
    texts = select(made.label("j")).select_from(rows).limit(literal_column(str(limit))).subquery("x")
    return select(cast(func.json_agg(texts.c.j), Text).label("j")).select_from(texts)


def names(statement: Select[Any]) -> tuple[str, ...]:
    """The names of a row's values in `as_json`."""
    return tuple(str(c.name) for c in statement.selected_columns)


def streamed(statement: Select[Any], name: str, order: Sequence[str]) -> Select[Any]:
    """A JSON text for each row, in the order of their key: for a cursor of the server."""
    rows = statement.subquery(name)
    return select(cast(func.row_to_json(rows.table_valued()), Text)).select_from(rows).order_by(*(rows.c[c] for c in order))


def compiled(statement: Select[Any]) -> str:
    """The statement as psycopg takes it, its parameters by name."""
    return str(statement.compile(dialect=PGDialect_psycopg(), compile_kwargs={"render_postcompile": True}))
