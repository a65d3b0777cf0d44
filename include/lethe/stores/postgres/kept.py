"""What one hold names and keeps in a database: is its key one that rows can have, is it there, and which rows does it keep now.

The hold is read from the session's own table of holds (`snapshot` loads it), so its key stands in no statement's text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, FromClause, Text, and_, cast, false, func, literal, or_, select, text, union_all
from sqlalchemy.exc import DBAPIError

from lethe.catalog.model import Store
from lethe.errors import HoldRefused
from lethe.plan.model import HoldScope, Predicate, Step
from lethe.plan.order import table_name
from lethe.stores.postgres.failures import meaning
from lethe.stores.postgres.holds import held
from lethe.stores.postgres.predicate import in_subset
from lethe.stores.postgres.tables import bound_value, dataset_table, row_of

_TYPE = text(
    "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relname = :table AND a.attname = :column"
)


def refuse_wrong_kind(connection: Connection, store: Store, dataset: str, key: str) -> None:
    """Raises HoldRefused, without the key, when no row of the dataset can have a key that is written so: `007` is no bigint's text.

    Keys are compared as PostgreSQL prints them, wherever a row refers to them.
    """
    entry = dataset_table(store, dataset)
    if len(entry.key) > 1:
        raise HoldRefused(
            f"The key of {dataset} has several columns: a hold cannot name it.", fix="Hold the rows by a dataset that has one."
        )
    with _asked(connection, f"The key of {dataset}"):
        kind = connection.scalar(_TYPE, {"schema": entry.db_schema, "table": entry.table, "column": entry.key[0]})
    row = row_of(store, dataset)
    column = row.c[entry.key[0]]
    # The key takes the column's type here, whatever that is.
    typed = union_all(select(column.label("key")).where(false()), select(bound_value(key))).subquery()
    try:
        with connection.begin_nested():
            printed = connection.scalar(select(cast(typed.c.key, Text)))
    except DBAPIError as error:
        if not str(getattr(error.orig, "sqlstate", "")).startswith("22"):
            raise meaning(error, f"The key of {dataset}") from None
        printed = None
    if printed != key:
        raise HoldRefused(
            f"This hold would keep nothing: the key of {dataset} is a {kind}, and this is not how one is written.",
            fix="Give the key exactly as the database prints it.",
        )


def is_there(connection: Connection, store: Store, dataset: str, key: str) -> bool:
    """Has the dataset a row with that key? Needs the index of its key. Call `refuse_wrong_kind` first."""
    entry = dataset_table(store, dataset)
    row = row_of(store, dataset)
    with _asked(connection, f"The key of {dataset}"):
        found = connection.scalar(select(select(literal(1)).select_from(row).where(row.c[entry.key[0]] == bound_value(key)).exists()))
    return bool(found)


def kept_rows(connection: Connection, store: Store, dataset: str, scope: HoldScope, steps: Sequence[Step], *, any_one: bool = False) -> int:
    """How many rows of a dataset a hold keeps, due or not; with `any_one`, 1 or 0 for whether it keeps any.

    `connection` is one of `snapshot` with this hold and no other; `steps` are the plan's for the dataset: by their clocks a hold that
    is bounded in time tells the rows. Reads the table, or the index of the columns that lead to the tenant or person.
    """
    row = row_of(store, dataset)
    statement = select(literal(1)).select_from(row).where(_kept(row, store, dataset, scope, steps))
    if any_one:
        statement = statement.limit(1)
    with _asked(connection, f"What the hold keeps of {table_name(dataset_table(store, dataset))}"):
        return connection.scalar(select(func.count()).select_from(statement.subquery())) or 0


def _kept(row: FromClause, store: Store, dataset: str, scope: HoldScope, steps: Sequence[Step]) -> ColumnElement[bool]:
    aged = [s for s in steps if s.dataset == dataset and isinstance(s.predicate, Predicate)]
    if scope.since is None and scope.until is None:
        return held(row, dataset, None, store, (scope,))
    return or_(false(), *(and_(in_subset(row, s), held(row, dataset, s, store, (scope,))) for s in aged))


@contextmanager
def _asked(connection: Connection, what: str) -> Iterator[None]:
    try:
        with connection.begin_nested():
            yield
    except DBAPIError as error:
        raise meaning(error, what) from None
