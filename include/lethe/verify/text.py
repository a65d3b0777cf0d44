"""How the check writes SQL: identifiers quoted, values as typed literals. Written apart from the purge's predicate (invariant 5).

Great Expectations takes a query as one text, so values cannot be bound; what could name a person (hold keys, sampled keys) never
enters the text at all: it is read from a setting of the session (`session.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from psycopg import sql

from lethe.catalog.model import Clock, Condition, Relation, Store, Table
from lethe.errors import UnknownName

REL, TUP, AT = '"~rel"', '"~tup"', '"~at"'
"""The columns by which a frame names a row: its table's oid, its place, and its clock's value. No catalog identifier can be one."""


def name(identifier: str) -> str:
    """An identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str | int) -> str:
    """A value as a literal; quotes doubled by psycopg."""
    return sql.Literal(value).as_string(None)


def relation_name(table: Table) -> str:
    """schema.table, quoted."""
    return f"{name(table.db_schema)}.{name(table.table)}"


def instant(value: datetime, clock: Clock, zone: ZoneInfo) -> str:
    """An instant as the literal that a clock's column compares with: its local date in `zone` for a date, naive in the clock's own zone for a timestamp."""
    if clock.stored_as == "date":
        return f"DATE '{value.astimezone(zone).date().isoformat()}'"
    if clock.stored_as == "timestamp":
        local = value.astimezone(ZoneInfo(clock.zone or "UTC")).replace(tzinfo=None)
        return f"TIMESTAMP '{local.isoformat(sep=' ')}'"
    return aware(value)


def aware(value: datetime) -> str:
    """An instant as a timestamptz literal."""
    return f"TIMESTAMPTZ '{value.isoformat(sep=' ')}'"


def as_instant(expression: str, clock: Clock, zone: ZoneInfo) -> str:
    """A clock's value as timestamptz, whatever its column's type."""
    if clock.stored_as == "timestamptz":
        return expression
    own = clock.zone if clock.stored_as == "timestamp" else zone.key
    return f"(CAST({expression} AS timestamp) AT TIME ZONE {literal(own or 'UTC')})"


def conditions(alias: str, subset: Sequence[Condition]) -> list[str]:
    """The conditions of a subset, on the row `alias`."""
    tests = {"null": "IS NULL", "not_null": "IS NOT NULL", "true": "IS TRUE", "false": "IS FALSE"}
    return [
        f"{alias}.{name(c.column)} {tests[c.is_]}" if c.is_ else f"{alias}.{name(c.column)} = {literal(c.equals)}"  # type: ignore[arg-type]
        for c in subset
    ]


class Chain:
    """The joins along a path of hops, from the row `root` of a dataset; `last` is the alias and `table` the table it ends at.

    UnknownName when a hop leads nowhere in the store: a path that crosses stores cannot be followed by one query.
    """

    def __init__(self, store: Store, dataset: str, hops: Sequence[str], *, root: str, prefix: str) -> None:
        self.dataset, self.table, self.last = dataset, table_of(store, dataset), root
        self._joined: list[tuple[str, str]] = []
        for number, hop in enumerate(hops):
            alias = f"{prefix}{number}"
            if "." in hop:
                there, relation_id = hop.split(".")
                relation = _relation(store, there, relation_id, hop)
                here_columns = relation.to_columns or self.table.key
                there_columns = relation.columns
            else:
                relation = _relation(store, self.dataset, hop, hop)
                there = relation.to
                here_columns = relation.columns
                there_columns = relation.to_columns or table_of(store, there).key
            table = table_of(store, there)
            on = equal(self.last, here_columns, alias, there_columns)
            self._joined.append((f"{relation_name(table)} AS {alias}", on))
            self.dataset, self.table, self.last = there, table, alias

    def inner(self) -> str:
        """Inner joins, to be put behind `root`."""
        return "".join(f" JOIN {table} ON {on}" for table, on in self._joined)

    def outer(self) -> str:
        """One left join of the whole chain: a row that reaches nothing stays, with NULLs."""
        (first, on), rest = self._joined[0], self._joined[1:]
        inner = first + "".join(f" JOIN {table} ON {condition}" for table, condition in rest)
        return f" LEFT JOIN {f'({inner})' if rest else inner} ON {on}"


def equal(left: str, left_columns: Sequence[str], right: str, right_columns: Sequence[str]) -> str:
    """Column by column equality of two rows; ValueError when the columns do not match one to one."""
    return " AND ".join(f"{left}.{name(a)} = {right}.{name(b)}" for a, b in zip(left_columns, right_columns, strict=True))


def table_of(store: Store, dataset: str) -> Table:
    """The table of a dataset of a store; UnknownName when it has none."""
    if dataset not in store.tables:
        raise UnknownName(f"Dataset {dataset!r} is no table of store {store.id!r}.", fix="Correct the path or relation in the catalog.")
    return store.tables[dataset]


def _relation(store: Store, dataset: str, relation_id: str, hop: str) -> Relation:
    relation = table_of(store, dataset).relations.get(relation_id)
    if relation is None:
        raise UnknownName(f"Hop {hop!r} names no relation of {dataset!r}.", fix="Correct the path in the catalog.")
    return relation


def for_great_expectations(query: str) -> str:
    """A query as Great Expectations takes it: braces doubled, colons that SQLAlchemy would take for a parameter escaped, and the
    batch joined in (it warns on every query without its batch)."""
    text = query.replace("{", "{{").replace("}", "}}")
    text = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", text)
    return f"SELECT violated.* FROM ({text}) AS violated CROSS JOIN {{batch}} AS one"
