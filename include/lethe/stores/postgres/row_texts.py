"""Rows as JSON texts, made by PostgreSQL: one for all rows of a dataset, or one for each; and a statement as psycopg takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Subquery, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg


def as_json(statement: Select[Any], name: str, *, limit: int | None, order: Sequence[str]) -> Select[Any]:
    """One text: a JSON array of the rows, in the order of their key; of at most `limit` rows.

    The limit stands outside of the statement: one inside keeps PostgreSQL from merging the two, and it then makes every row twice.
    """
    rows: Subquery = statement.subquery(name)
    keys = [rows.c[c].label(f"k{n}") for n, c in enumerate(order)]
    texts = select(func.row_to_json(rows.table_valued()).label("j"), *keys).select_from(rows)
    inner = (texts if limit is None else texts.limit(literal_column(str(limit)))).subquery("x")
    array = func.json_agg(aggregate_order_by(inner.c.j, *(inner.c[k.name] for k in keys)))
    return select(cast(array, Text).label("j")).select_from(inner)


def streamed(statement: Select[Any], name: str, order: Sequence[str]) -> Select[Any]:
    """A JSON text for each row, in the order of their key: for a cursor of the server."""
    rows = statement.subquery(name)
    return select(cast(func.row_to_json(rows.table_valued()), Text)).select_from(rows).order_by(*(rows.c[c] for c in order))


def compiled(statement: Select[Any]) -> str:
    """The statement as psycopg takes it, its parameters by name."""
    return str(statement.compile(dialect=PGDialect_psycopg(), compile_kwargs={"render_postcompile": True}))
