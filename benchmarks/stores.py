"""The store that is measured, as values: its catalog, its plans, its connections, and the days that they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lethe.catalog.model import Catalog, Clock, Column, Relation, Store, Table
from lethe.connections import Connection
from lethe.plan.model import ArchiveTerms, Plan, Predicate, Step
from lethe.policy.model import Role

LOGS = "technical_logs"
CUTOFF = datetime(2025, 6, 1, tzinfo=UTC)
AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)
SERVICE = datetime(2019, 1, 1, tzinfo=UTC)
ROWS_A_DAY = 50_000
"""Of the table that is archived: rows of one day expire together, and a batch has about as many."""

DIGEST_KEY = b"a key for the benchmarks' digests"

LOGINS = {
    "source_db": "lethe_purger",
    "source_db_check": "lethe_checker",
    "source_db_maintenance": "lethe_keeper",
    "lethe_db": "lethe_runtime",
}


def store_of(tables: Sequence[str], *, key: tuple[str, ...] = ("id",), kept: Sequence[str] = ()) -> Store:
    """A store of tables in schema `app` that age by `occurred_at`; the category of each is its name.

    With `kept`, columns that an archive keeps, a row leads to its tenant by `tenant_id`; no table of tenants is ever read for it.
    """
    columns = {c: Column(category="system.operations") for c in dict.fromkeys((*key, "occurred_at", *kept))}
    led: dict[str, Any] = {"relations": {"tenant": Relation(columns=("tenant_id",), to="tenants")}, "tenant": ("tenant",)}

    def table(name: str, **more: Any) -> Table:
        return Table(
            table=name,
            db_schema="app",
            role=Role.CONTROLLER,
            category=name,
            purposes=("run",),
            key=key,
            clocks={"age": Clock(column="occurred_at")},
            columns=columns,
            **more,
        )

    made = {name: table(name, **(led if kept else {})) for name in tables}
    return Store(
        id="source",
        kind="postgresql",
        connection="source_db",
        check_connection="source_db_check",
        maintenance_connection="source_db_maintenance",
        start_of_service=SERVICE,
        tables=made | ({"tenants": table("tenants")} if kept else {}),
        tenants="tenants" if kept else None,
    )


def catalog_of(dataset: str, *, key: tuple[str, ...] = ("id",), kept: Sequence[str] = ()) -> Catalog:
    """A catalog of one store with this dataset."""
    return Catalog(purposes={"run": "running the service"}, stores=(store_of([dataset], key=key, kept=kept),))


def plan_of(catalog: Catalog, dataset: str, cutoff: datetime, archive: ArchiveTerms | None = None) -> Plan:
    """A plan of one step, which archives where it is given terms."""
    predicate = Predicate(clock=Clock(column="occurred_at"), cutoff=cutoff, start_of_service=SERVICE, as_of=AS_OF)
    step = Step(id=f"logs/{dataset}", rule="logs", promise="p", dataset=dataset, store="source", predicate=predicate, archive=archive)
    return Plan(
        as_of=AS_OF,
        policy_version="2026-05-01",
        policy_digest="a" * 64,
        text_sha256="b" * 64,
        catalog_digest=catalog.digest,
        rules=("logs",),
        steps=(step,),
    )


def connection_of(name: str, port: int, database: str) -> Connection:
    """A connection of the server on that port, as its own role; `lethe_db` is Lethe's own database."""
    chosen = "lethe" if name == "lethe_db" else database
    return Connection(id=name, kind="postgres", host="127.0.0.1", port=port, login=LOGINS[name], database=chosen)
