"""Is a bundle the person's data, all of it and nobody else's? Great Expectations asks the stores by the check's own queries (`person.py`).

The bundle's side is what was read back out of the stored file; the store's side is counted anew by the checking role. What cannot be asked
is unknown, and an unknown bundle is not given out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lethe.catalog.model import Store
from lethe.connections import Connections
from lethe.errors import LetheError
from lethe.policy.model import Role
from lethe.verify.person import broken_rows, broken_who, column_types, rows_of, strangers, told
from lethe.verify.result import Check
from lethe.verify.session import check_engine, failure
from lethe.verify.suite import Expected, judge

_TABLES = text(
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY(:schemas) "
    "AND c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class p ON "
    "p.oid = i.inhparent JOIN pg_namespace o ON o.oid = p.relnamespace WHERE i.inhrelid = c.oid AND o.nspname = ANY(:schemas)) ORDER BY 1, 2"
)
"""Every table but views, which hold nothing of their own, and partitions, which stand under their parent."""

COMPLETE = "the bundle has the person's rows, all of them and no other"
WHO = "nobody with an address of the person was left out"


@dataclass(frozen=True, kw_only=True)
class Whose:
    """Whom a bundle is about: keys by identity dataset, addresses in the form that the check compares by, and the tenant that instructs.

    `left_out`: keys of those who have the same address and were left out on purpose, because the request names accounts. `exact`: the
    addresses as they are, with the domain in lower case, where the case of what stands before the @ matters; None where it does not.
    """

    persons: Mapping[str, Collection[str]] = field(repr=False)
    addresses: Collection[str] = field(repr=False)
    left_out: Mapping[str, Collection[str]] = field(default_factory=dict, repr=False)
    tenant: str | None = field(default=None, repr=False)
    exact: Collection[str] | None = field(default=None, repr=False)

    @property
    def by_case(self) -> bool:
        """Does the case of what stands before the @ matter?"""
        return self.exact is not None

    @property
    def role(self) -> Role:
        """Whose data it may have: the company's own, or what the tenant that instructs stores."""
        return Role.CONTROLLER if self.tenant is None else Role.PROCESSOR


def check_bundle(
    connections: Connections, stores: Sequence[Store], whose: Whose, contents: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[Check, ...]]:
    """The checks by dataset, every one that can hold rows of the person, found there or not.

    `contents`: what was read out of the bundle, rows and sum (`person.fingerprint`) of the living rows by dataset. A dataset that is in the
    bundle and that no store can answer for is `unknown`; so is a table that is in no catalog, by its own name: it may hold more of the person.
    """
    found: dict[str, tuple[Check, ...]] = {}
    for store in stores:
        if store.kind != "postgresql":
            continue
        asked: list[Expected] = []
        try:
            queries, unmapped = _queries(connections, store, whose)
        except (LetheError, SQLAlchemyError) as error:
            why = type(error).__name__ if isinstance(error, LetheError) else failure(error)
            found |= {d: (Check(name=COMPLETE, status="unknown", detail=why),) for d, t in store.tables.items() if t.role is whose.role}
            continue
        found |= {name: (Check(name=COMPLETE, status="unknown", detail="the table is in no catalog"),) for name in unmapped}
        for dataset, query in queries.items():
            rows, total = contents.get(dataset, (0, 0))
            measured = (("rows", rows),)
            asked.append(Expected(step=dataset, check=COMPLETE, query=broken_rows(query, rows, total), measured=measured))
            if dataset in store.identities and whose.tenant is None:
                asked.append(Expected(step=dataset, check=WHO, query=broken_who(strangers(store, dataset, by_case=whose.by_case))))
        verdicts = judge(
            connections(store.check_connection or store.connection),
            asked,
            told=told(whose.persons, whose.addresses, whose.tenant, whose.left_out, whose.exact),
        )
        found |= {dataset: tuple(checks) for dataset, checks in verdicts.items()}
    for dataset in contents:
        found.setdefault(dataset, (Check(name=COMPLETE, status="unknown", detail="no store can be asked about it"),))
    return found


def _queries(connections: Connections, store: Store, whose: Whose) -> tuple[dict[str, str], list[str]]:
    """The query of each dataset that can hold rows of the person, partitions counted with their partitioned table; and the tables of the
    catalog's schemas that nobody mapped nor exempted."""
    engine = check_engine(connections(store.check_connection or store.connection))
    try:
        types = column_types(engine, {t.db_schema for t in store.tables.values()})
        unmapped = _unmapped(engine, store)
    finally:
        engine.dispose()
    found: dict[str, str] = {}
    for dataset, table in store.tables.items():
        if table.role is not whose.role or table.partition_of is not None:
            continue
        by = {"by_address": whose.tenant is None, "by_case": whose.by_case}
        query = rows_of(store, dataset, types, persons=whose.persons, tenant=whose.tenant, **by)
        if query is not None:
            found[dataset] = query
    return found, unmapped


def _unmapped(engine: Engine, store: Store) -> list[str]:
    schemas = {*store.schemas, *(t.db_schema for t in store.tables.values())}
    known = {f"{t.db_schema}.{t.table}" for t in store.tables.values()} | {e.name for e in store.exempt}
    with engine.connect() as connection:
        there = connection.execute(_TABLES, {"schemas": list(schemas)}).all()
    return [f"{schema}.{table}" for schema, table in there if known.isdisjoint({schema, f"{schema}.{table}"})]
