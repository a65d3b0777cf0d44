"""The catalog as statements: what a person's rows are read by, built once for every store and run for each person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Text, cast, false, func, literal_column, select
from sqlalchemy.exc import DBAPIError

from lethe.catalog.drift import unmapped_tables
from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Store
from lethe.errors import Drifted
from lethe.policy.model import Role
from lethe.stores.postgres.count import snapshot
from lethe.stores.postgres.person import (
    SHARED,
    TENANT,
    PersonTable,
    forward_statement,
    key_statement,
    person_table,
    who_statement,
)
from lethe.stores.postgres.person_addresses import ADDRESSES, EXACT, ends_statement
from lethe.stores.postgres.person_keys import end_of, key_param, keys_param, left_param
from lethe.stores.postgres.row_texts import as_json, compiled, streamed
from lethe.subjects.found import Located
from lethe.subjects.rows import Reader
from lethe.workspace import Workspace

AT_ONCE = 1_000
"""Rows of a dataset that one statement gives with all others; a person who has more is streamed."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of one store, as statements: `small` gives the first rows of every dataset, `counts` how many rows each has. `small_one`:
    the same for one key of each identity dataset, at half the cost. `hanging`: the keys of rows that are found by their address alone, by
    dataset, where company data hangs on them."""

    store: Store
    live: LiveSchema = field(repr=False)
    tables: tuple[PersonTable, ...]
    small: str = field(repr=False)
    small_one: str = field(repr=False)
    counts: str = field(repr=False)
    streams: Mapping[str, str] = field(repr=False)
    who: Mapping[str, str] = field(repr=False)
    by_key: Mapping[str, str] = field(repr=False)
    forwards: Mapping[str, str] = field(repr=False)
    hanging: Mapping[str, str] = field(repr=False)
    probes: tuple[tuple[str, tuple[str, ...], str], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The statements over every store, for company data (`tenant` False) or for what tenants store. `fold_local`: addresses are one that
    differ by the case of their local part."""

    asked: tuple[Asked, ...]
    tenant: bool
    fold_local: bool = True


def compile_catalog(workspace: Workspace, *, tenant: bool = False, fold_local: bool = True) -> Compiled:
    """Builds the statements of every store; asks each for its schema. Raises Drifted when catalog and database differ where it matters,
    UnknownName for a path that ends where nobody can be told, Unreachable when a store does not answer."""
    role = Role.PROCESSOR if tenant else Role.CONTROLLER
    asked = []
    for store in workspace.catalog.stores:
        if store.kind != "postgresql":
            continue
        live = workspace.live(store, {*store.schemas, *(t.db_schema for t in store.tables.values())})
        _refuse_unmapped(store, live)
        own = [i for i, t in store.tables.items() if t.partition_of is None and t.role is role]
        found = [t for i in own if (t := person_table(store, live, i, by_tenant=tenant, fold_local=fold_local)) is not None]
        alone = [t for i in own if (t := person_table(store, live, i, by_tenant=tenant, one=True, fold_local=fold_local)) is not None]
        theirs = [i for i, t in store.tables.items() if not tenant and t.partition_of is None and t.role is Role.PROCESSOR]
        forwards = {i: f for i in theirs if (f := forward_statement(store, live, i, fold_local=fold_local)) is not None}
        who = {i: w for i in store.identities if (w := who_statement(store, i)) is not None}
        asked.append(
            Asked(
                store=store,
                live=live,
                tables=tuple(found),
                small=_first_rows(found),
                small_one=_first_rows(alone),
                counts=compiled(_counting(found)) if found else "",
                streams={t.dataset: compiled(streamed(t.rows, t.dataset, t.key)) for t in found},
                who={i: compiled(w) for i, w in who.items()},
                by_key={i: compiled(key_statement(store, live, i)) for i in store.identities},
                forwards={i: compiled(f) for i, f in forwards.items()},
                hanging={} if tenant else {i: compiled(ends_statement(store, i, fold_local=fold_local)) for i in _hung_on(store, found)},
                probes=tuple((t.dataset, columns, compiled(way)) for t in found for columns, way in t.probes),
            )
        )
    return Compiled(asked=tuple(asked), tenant=tenant, fold_local=fold_local)


def params(asked: Asked, located: Located) -> dict[str, Any]:
    """What the statements of a store are run with; those for one key of each identity dataset only where there are no more."""
    keys = {i: located.keys.get(i, []) for i in asked.store.identities}
    values: dict[str, Any] = {ADDRESSES: list(located.addresses), EXACT: list(located.exact or ()), TENANT: located.tenant}
    values |= {keys_param(i): found for i, found in keys.items()}
    values |= {left_param(i): [p.key for p in located.others if p.dataset == i] for i in asked.store.identities}
    if all(len(found) <= 1 for found in keys.values()):
        values |= {key_param(i): next(iter(found), None) for i, found in keys.items()}
    return values


@contextmanager
def reading(workspace: Workspace, store: Store) -> Iterator[Reader]:
    """A reader of a store on one snapshot, in the role that reads everything.

    Nothing was written, yet it ends by COMMIT: after a ROLLBACK psycopg forgets what is prepared, and the next person's statements would be
    parsed and planned from their text again.
    """
    with snapshot(workspace.checking(store), holds=None) as connection:
        yield Reader(connection)
        with suppress(DBAPIError):  # every row was read: a connection that is lost now takes nothing away
            connection.commit()


def _refuse_unmapped(store: Store, live: LiveSchema) -> None:
    """Raises Drifted for a table of the catalog's schemas that nobody mapped nor exempted."""
    found = [f.where for f in unmapped_tables(store, live)]
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise Drifted(
            f"The database has tables that the catalog does not know: {', '.join(found[:5])}{more}.",
            fix="Map them, or exempt them with a reason: what nobody knows cannot be given, nor left out in silence.",
        )


def _hung_on(store: Store, tables: Sequence[PersonTable]) -> list[str]:
    """The datasets whose rows are found by their address alone and that rows of these tables hang on."""
    ends = dict.fromkeys(end_of(store, t.dataset, path) for t in tables for path in t.table.persons)
    return [e for e in ends if store.by_address(e)]


def _first_rows(tables: Sequence[PersonTable]) -> str:
    if not tables:
        return ""
    return compiled(select(*(as_json(t.rows, t.dataset, limit=AT_ONCE + 1).scalar_subquery() for t in tables)))


def _counting(tables: Sequence[PersonTable]) -> Any:
    """For each table how many rows there are, how many are shared, and how many name a file."""
    columns: list[Any] = []
    for each in tables:
        rows = each.rows.subquery(f"c_{each.dataset}"[:60])
        columns.append(select(func.count()).select_from(rows).scalar_subquery())
        columns.append(select(func.count()).select_from(rows).where(rows.c[SHARED] if SHARED in rows.c else false()).scalar_subquery())
        files = each.table.files
        if files is None or files.column not in each.fields:
            columns.append(literal_column("0"))
        else:  # '' is none, as in `rows.py`
            named = cast(rows.c[files.column], Text) != literal_column("''")
            columns.append(select(func.count()).select_from(rows).where(named).scalar_subquery())
    return select(*columns)
