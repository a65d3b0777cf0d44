"""Rows as JSON texts, made by PostgreSQL: one for all rows of a dataset, or one for each; and a statement as psycopg takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Subquery, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg


def as_json(statement: Select[Any], name: str, *, limit: int | None, order: Sequence[str]) -> Select[Any]:
    """One text: a JSON array of the rows, in the order of their key; of at most `limit` rows."""
    rows: Subquery = (statement if limit is None else statement.limit(literal_column(str(limit)))).subquery(name)
    whole = func.row_to_json(rows.table_valued())
    array = func.json_agg(literal_column("x.j")).label("j")
    inner = select(whole.label("j")).select_from(rows).order_by(*(rows.c[c] for c in order)).subquery("x")
    return select(cast(array, Text)).select_from(inner)


def streamed(statement: Select[Any], name: str, order: Sequence[str]) -> Select[Any]:
    """A JSON text for each row, in the order of their key: for a cursor of the server."""
    rows = statement.subquery(name)
    return select(cast(func.row_to_json(rows.table_valued()), Text)).select_from(rows).order_by(*(rows.c[c] for c in order))


def compiled(statement: Select[Any]) -> str:
    """The statement as psycopg takes it, its parameters by name."""
    return str(statement.compile(dialect=PGDialect_psycopg(), compile_kwargs={"render_postcompile": True}))
