"""A person's rows, counted by the check: queries of its own over the catalog's paths, sharing nothing with those that filled the bundle.

Who it is never stands in a query's text: keys and addresses are read from settings of the session (invariant 9). Keys are compared in
their columns' own types, so that an index serves. Each dataset's answer is one aggregate row: how many rows, and a sum over the digests of
their keys, so that a row too many and one too few do not cancel out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from lethe.catalog.model import Store, Table
from lethe.errors import Uncountable, UnknownName
from lethe.verify.text import Chain, literal, name, relation_name, table_of

PERSONS, LEFT, ADDRESSES, EXACT, TENANT = "lethe.persons", "lethe.left_out", "lethe.addresses", "lethe.exact", "lethe.tenant"
EMAIL = "user.contact.email"
_DIGITS = 15
"""Hex digits of a key's MD5 in the sum: 60 bits, which a bigint holds."""

_TYPES = text(
    "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY(:schemas)"
)

Types = Mapping[tuple[str, str, str], str]
"""The type of each column, by schema, table and column, as PostgreSQL prints it."""


def told(
    persons: Mapping[str, Collection[str]],
    addresses: Collection[str],
    tenant: str | None = None,
    left_out: Mapping[str, Collection[str]] | None = None,
    exact: Collection[str] | None = None,
) -> dict[str, str]:
    """The settings that the queries read: keys by identity dataset, addresses in the form that `rows_of` compares by, a tenant's key, the keys
    of those who have the same address and are not meant, and the addresses as written where the case of their local parts matters."""
    keys, left = ({d: sorted(k) for d, k in given.items()} for given in (persons, left_out or {}))
    lists = {PERSONS: keys, LEFT: left, ADDRESSES: sorted(addresses), EXACT: sorted(exact or ())}
    return {setting: json.dumps(each) for setting, each in lists.items()} | {TENANT: tenant or ""}


def column_types(engine: Engine, schemas: Iterable[str]) -> Types:
    """The types of all columns of these schemas."""
    with engine.connect() as connection:
        return {(s, t, c): kind for s, t, c, kind in connection.execute(_TYPES, {"schemas": list(schemas)})}


@dataclass
class KeySum:
    """How many keys were seen, and the sum over their digests: what `rows_of` gives for the same rows."""

    rows: int = 0
    total: int = 0

    def add(self, key: Sequence[Any]) -> None:
        """Counts the key of one row; its values are those of `to_jsonb`."""
        written = json.dumps(list(key), ensure_ascii=False, default=str)
        self.total += int(hashlib.md5(written.encode(), usedforsecurity=False).hexdigest()[:_DIGITS], 16)
        self.rows += 1


def rows_of(
    store: Store,
    dataset: str,
    types: Types,
    *,
    persons: Collection[str],
    tenant: str | None = None,
    by_address: bool = True,
    by_case: bool = False,
) -> str | None:
    """A query of one row, `rows` and `total`, over the rows of a dataset that lead to somebody told of; None when none can.

    `persons`: the identity datasets that somebody is told of. `by_address`: rows whose own address is one of those told count too, but in an
    identity dataset, whose rows are persons; and rows that lead to one with such an address that is no person. `by_case`: the case
    of what stands before the @ matters. `tenant`: only rows of that tenant.
    """
    table = table_of(store, dataset)
    branches = [b for n, path in enumerate(table.persons) if (b := _branch(store, dataset, path, types, persons, f"p{n}_")) is not None]
    if by_address:
        ways: list[tuple[Sequence[str], str]] = [((), c) for c in ([] if () in table.persons else _address_columns(table))]
        ways += [(path, c) for path in table.persons for c in _nobody_s(store, dataset, path)]
        branches += [_by_address(store, dataset, types, path, c, f"h{n}_", by_case=by_case) for n, (path, c) in enumerate(ways)]
    if not branches:
        return None
    key = ", ".join(f"r.{name(c)}" for c in table.key)
    restricted = ""
    if tenant is not None:
        if table.tenant is None:
            return None
        chain = Chain(store, dataset, table.tenant, root="r", prefix="t")
        kind = _kind(types, chain.table, chain.table.key[0])
        restricted = f" JOIN (SELECT {key}{chain_from(table, chain)} WHERE {chain.last}.{name(chain.table.key[0])} = CAST(current_setting('{TENANT}') AS {kind})) AS own"
        restricted += f" USING ({', '.join(name(c) for c in table.key)})"
    found = " UNION ".join(branches) if len(branches) > 1 else f"SELECT DISTINCT * FROM ({branches[0]}) AS one"
    written = "md5(CAST(jsonb_build_array(" + ", ".join(f"f.{name(c)}" for c in table.key) + ") AS text))"
    digest = f"CAST(CAST(CAST('x' || substr({written}, 1, {_DIGITS}) AS bit({4 * _DIGITS})) AS bigint) AS numeric)"
    return f"SELECT count(*) AS rows, coalesce(sum({digest}), 0) AS total FROM (SELECT * FROM ({found}) AS found{restricted}) AS f"


def strangers(store: Store, dataset: str, *, by_case: bool = False) -> str:
    """A query of one row, `n`: how many rows of an identity dataset have an address that was told, and are no person that was told, meant or left out."""
    table = table_of(store, dataset)
    keys = f"r.{name(table.key[0])}" if len(table.key) == 1 else "ROW(" + ", ".join(f"r.{name(c)}" for c in table.key) + ")"
    known = " UNION ALL ".join(
        f"SELECT v FROM jsonb_array_elements_text(CAST(current_setting('{told_of}') AS jsonb) -> {literal(dataset)}) AS v"
        for told_of in (PERSONS, LEFT)
    )
    where = " OR ".join(_is_told("r", c, by_case=by_case) for c in _address_columns(table)) or "false"
    return f"SELECT count(*) AS n FROM {relation_name(table)} AS r WHERE ({where}) AND NOT CAST({keys} AS text) = ANY(ARRAY({known}))"


def broken_who(query: str) -> str:
    """One row when somebody with an address of the person was left out."""
    return f"SELECT w.n FROM ({query}) AS w WHERE w.n > 0"


def chain_from(table: Table, chain: Chain) -> str:
    """FROM the table, along a chain."""
    return f" FROM {relation_name(table)} AS r{chain.inner()}"


def broken_rows(query: str, rows: int, total: int) -> str:
    """One row when a dataset has other rows of the person than the bundle."""
    return f"SELECT n.rows, n.total FROM ({query}) AS n WHERE n.rows <> {int(rows)} OR n.total <> {int(total)}"


def _branch(
    store: Store, dataset: str, path: Sequence[str], types: Types, persons: Collection[str], prefix: str, setting: str = PERSONS
) -> str | None:
    """The keys of the rows that lead to a person along one path."""
    table = table_of(store, dataset)
    chain = Chain(store, dataset, path, root="r", prefix=prefix)
    if chain.dataset not in persons:
        return None
    holder, at, columns = chain, chain.last, chain.table.key
    if path and "." not in path[-1]:  # the row before holds the key already: it still leads there when the person is gone
        before = Chain(store, dataset, path[:-1], root="r", prefix=prefix)
        relation = before.table.relations[path[-1]]
        if relation.to_columns in ((), chain.table.key):
            holder, at, columns = before, before.last, relation.columns
    keys = ", ".join(f"r.{name(c)}" for c in table.key)
    told_of = f"jsonb_array_elements_text(CAST(current_setting('{setting}') AS jsonb) -> {literal(chain.dataset)})"
    if len(columns) == 1:
        kind = _kind(types, holder.table, columns[0])
        return f"SELECT {keys}{chain_from(table, holder)} WHERE {at}.{name(columns[0])} = ANY(ARRAY(SELECT CAST(v AS {kind}) FROM {told_of} AS v))"
    row = ", ".join(f"{at}.{name(c)}" for c in columns)
    return f"SELECT {keys}{chain_from(table, holder)} WHERE CAST(ROW({row}) AS text) = ANY(ARRAY(SELECT v FROM {told_of} AS v))"


def _by_address(store: Store, dataset: str, types: Types, path: Sequence[str], column: str, prefix: str, *, by_case: bool) -> str:
    """The keys of the rows that have an address that was told, or lead to one along a path; but those that lead to somebody with the same
    address who is not meant, themselves or by a row on the path or at its end."""
    table = table_of(store, dataset)
    keys = ", ".join(f"r.{name(c)}" for c in table.key)
    chain = Chain(store, dataset, path, root="r", prefix=prefix)
    found = [f"SELECT {keys}{chain_from(table, chain)} WHERE {_is_told(chain.last, column, by_case=by_case)}"]
    for n in range(len(path) + 1):
        here = Chain(store, dataset, path[:n], root="r", prefix=prefix).table
        for m, way in enumerate(here.persons):
            left = _branch(store, dataset, (*path[:n], *way), types, set(store.identities), f"x{n}_{m}_", LEFT)
            found += [] if left is None else [left]
    return f"SELECT * FROM ({' EXCEPT '.join(found)}) AS by_address"


def _is_told(alias: str, column: str, *, by_case: bool) -> str:
    """Is an address one of those told?"""
    written = f"btrim(normalize({alias}.{name(column)}, NFC))"
    told_of = "ANY(ARRAY(SELECT v FROM jsonb_array_elements_text(CAST(current_setting('{}') AS jsonb)) AS v))"
    found = f"lower({written}) = {told_of.format(ADDRESSES)}"
    if not by_case:
        return found
    at = f"strpos({written}, '@')"
    return f"({found} AND left({written}, {at}) || lower(substr({written}, {at} + 1)) = {told_of.format(EXACT)})"


def _address_columns(table: Table) -> list[str]:
    return [c for c, column in table.columns.items() if column.category == EMAIL]


def _nobody_s(store: Store, dataset: str, path: Sequence[str]) -> list[str]:
    """The address columns at the end of a path, where the rows there are no persons. UnknownName when there is no such column: whom the path
    leads to could not be told."""
    chain = Chain(store, dataset, path, root="r", prefix="e")
    if chain.dataset in store.identities:
        return []
    columns = [] if () in chain.table.persons or chain.dataset == store.tenants else _address_columns(chain.table)
    if not columns:
        raise UnknownName(
            f"A path of `persons` of {dataset} ends at {chain.dataset}, where nobody can be told.", fix="Correct the path in the catalog."
        )
    return columns


def _kind(types: Types, table: Table, column: str) -> str:
    try:
        return types[table.db_schema, table.table, column]
    except KeyError:
        raise Uncountable(
            f"Column {table.db_schema}.{table.table}.{column} of the catalog is not in the database.",
            fix="`lethe scan` shows what is there; correct the catalog, then export again.",
        ) from None
