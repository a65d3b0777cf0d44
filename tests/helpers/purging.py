"""A small source database beside Lethe's own, with the three roles of a store, and a purge over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from demo.postgres import PostgresServer
from helpers.control import ControlDatabase, control_database
from lethe.catalog.model import Catalog, Clock, Column, Relation, Store, Table
from lethe.connections import Connection
from lethe.control.plans import save_plan
from lethe.plan.model import ContractShield, Plan, Predicate, Step
from lethe.policy.model import Role
from lethe.purge.context import Limits, PurgeContext, StepTotals
from lethe.purge.run import run_group

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CUTOFF = datetime(2025, 11, 22, 23, 0, tzinfo=UTC)
SERVICE = datetime(2015, 1, 1, tzinfo=UTC)
ROLES = {"source_db": "lethe_purger", "source_db_check": "lethe_checker", "source_db_maintenance": "lethe_keeper"}
QUICK = Limits(
    window=500,
    most=500,
    gentle_window=100,
    gentle_most=100,
    careful=50,
    lock_timeout=200,
    statement_timeout=20_000,
    tries=4,
    longest_wait=0.1,
)

SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE app.tenants (id bigint PRIMARY KEY, owner_id bigint, at timestamptz);
CREATE TABLE app.users (id bigint PRIMARY KEY, tenant_id bigint, at timestamptz, note text);
ALTER TABLE app.tenants ADD FOREIGN KEY (owner_id) REFERENCES app.users DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE app.users ADD FOREIGN KEY (tenant_id) REFERENCES app.tenants;
CREATE TABLE app.contracts (id bigint PRIMARY KEY, tenant_id bigint REFERENCES app.tenants, ended_at timestamptz);
CREATE TABLE app.logs (id bigint PRIMARY KEY, at timestamptz, tenant_id bigint, note text);
CREATE INDEX ON app.logs (at);
CREATE TABLE app.acts (id bigint PRIMARY KEY, at timestamptz, tenant_id bigint, note text);
CREATE INDEX ON app.acts (at);
CREATE TABLE app.uses (id bigint PRIMARY KEY, at timestamptz, tenant_id bigint, note text);
CREATE TABLE app.views (id bigint, at timestamptz NOT NULL, tenant_id bigint, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE INDEX ON app.views (at);
CREATE TABLE app.threads (id bigint PRIMARY KEY, at timestamptz);
CREATE TABLE app.messages (id bigint PRIMARY KEY, thread_id bigint NOT NULL REFERENCES app.threads ON DELETE CASCADE,
                           parent_id bigint REFERENCES app.messages, at timestamptz);
CREATE INDEX ON app.messages (thread_id);
CREATE INDEX ON app.messages (parent_id);
CREATE TABLE app.consents (id uuid PRIMARY KEY, at timestamptz);
CREATE TABLE app.audiences (id bigint PRIMARY KEY, consent_id uuid REFERENCES app.consents ON DELETE SET NULL, at timestamptz);
CREATE INDEX ON app.audiences (consent_id);
"""


def entry(name: str, clock: Clock | None = None, *, key: tuple[str, ...] = ("id",), **more: Any) -> Table:
    return Table(
        table=name,
        db_schema="app",
        role=Role.CONTROLLER,
        category="c",
        purposes=("p",),
        key=key,
        clocks={"age": clock or Clock(column="at")},
        columns={c: Column(category="system.operations") for c in (*key, "at", *more.pop("columns", ()))},
        **more,
    )


def to(column: str, dataset: str, *, dangle: bool = False) -> Relation:
    return Relation(columns=(column,), to=dataset, may_dangle=dangle)


LOOSE = {"relations": {"tenant": to("tenant_id", "tenants", dangle=True)}, "tenant": ("tenant",), "columns": ("tenant_id", "note")}
STORE = Store(
    id="source",
    kind="postgresql",
    connection="source_db",
    check_connection="source_db_check",
    maintenance_connection="source_db_maintenance",
    start_of_service=SERVICE,
    tenants="tenants",
    identities=("users",),
    tables={
        "tenants": entry("tenants", relations={"owner": to("owner_id", "users")}, tenant=(), columns=("owner_id",)),
        "users": entry(
            "users", relations={"tenant": to("tenant_id", "tenants")}, tenant=("tenant",), persons=((),), columns=("tenant_id", "note")
        ),
        "contracts": entry(
            "contracts",
            Clock(column="ended_at", null_means="not_started"),
            relations={"tenant": to("tenant_id", "tenants")},
            columns=("tenant_id", "ended_at"),
        ),
        "logs": entry("logs", **LOOSE),
        "acts": entry("acts", **LOOSE),
        "uses": entry("uses", **LOOSE),
        "views": entry("views", key=("id", "at"), **LOOSE),
        "threads": entry("threads", Clock(column="at", through=("messages.thread",), otherwise="at")),
        "messages": entry(
            "messages",
            relations={"thread": to("thread_id", "threads"), "parent": to("parent_id", "messages")},
            columns=("thread_id", "parent_id"),
        ),
        "consents": entry("consents"),
        "audiences": entry("audiences", relations={"consent": to("consent_id", "consents")}, columns=("consent_id",)),
    },
)
CATALOG = Catalog(purposes={"p": "a purpose"}, stores=(STORE,))
SHIELD = ContractShield(through=("tenant", "contracts.tenant"), started="at", ended="ended_at")


def step(dataset: str, **changes: Any) -> Step:
    """A step of twelve months over a dataset, by its own clock unless told."""
    values = {"clock": STORE.tables[dataset].clocks["age"], "cutoff": CUTOFF, "start_of_service": SERVICE, "as_of": AS_OF}
    predicate = Predicate(**{**values, "zone": "Europe/Paris", **changes})
    return Step(id=f"rule/{dataset}", rule="rule", promise="p", dataset=dataset, store="source", predicate=predicate)


def plan_of(*steps: Step) -> Plan:
    return Plan(
        as_of=AS_OF,
        policy_version="2026-05-01",
        policy_digest="a" * 64,
        text_sha256="b" * 64,
        catalog_digest=CATALOG.digest,
        rules=("rule",),
        steps=steps,
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """One database that is both the source and Lethe's own: its superuser's URL, and what a purge is given."""

    url: str
    server: PostgresServer
    control: ControlDatabase

    def connections(self, name: str) -> Connection:
        """The store's connections, each as its own role."""
        return Connection(
            id=name,
            kind="postgres",
            host="127.0.0.1",
            port=self.server.port,
            login=ROLES[name],
            database=self.url.rsplit("/", 1)[1],
        )

    def sql(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """A statement as superuser, committed; its rows."""
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def number(self, statement: str) -> Any:
        return self.sql(statement)[0][0]

    def grant(self) -> None:
        """Gives the store's roles their rights on every table there is."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("GRANT USAGE ON SCHEMA app TO lethe_purger, lethe_checker, lethe_keeper")
            admin.execute("GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA app TO lethe_purger")
            admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA app TO lethe_checker")
            admin.execute("GRANT pg_read_all_stats TO lethe_checker")
            admin.execute("GRANT CREATE ON SCHEMA app TO lethe_keeper")
            for (name,) in admin.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p')"
            ).fetchall():
                table = sql.Identifier("app", name)
                admin.execute(sql.SQL("GRANT UPDATE (id) ON {} TO lethe_purger").format(table))
                if name.startswith("views"):
                    admin.execute(sql.SQL("ALTER TABLE {} OWNER TO lethe_keeper").format(table))
                else:
                    admin.execute(sql.SQL("GRANT MAINTAIN ON {} TO lethe_keeper").format(table))

    def context(self, plan: Plan, **changes: Any) -> PurgeContext:
        """What a purge of this plan is given; its plan is stored."""
        with self.control.runtime.begin() as connection:
            save_plan(connection, plan)
        base = PurgeContext(
            plan=plan,
            attempt=1,
            catalog=CATALOG,
            connections=self.connections,
            control=self.control.runtime,
            limits=QUICK,
        )
        return replace(base, **changes)

    def purge(self, *steps: Step, **changes: Any) -> dict[str, StepTotals]:
        """Purges these steps as one group; their totals by dataset."""
        ctx = self.context(changes.pop("plan", None) or plan_of(*steps), **changes)
        return {t.step.partition("/")[2]: t for t in run_group(steps, ctx)}

    def rest(self, dataset: str) -> tuple[int, str]:
        """Rows of a table and a digest over all of them."""
        query = f"SELECT count(*), coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM app.{dataset} t"
        return self.sql(query)[0]  # type: ignore[return-value]


class Unread:
    """Keys that take their time: what the source's sessions do meanwhile is noted."""

    def __init__(self, world: World, keys: set[int]) -> None:
        self.world, self.keys, self.asked, self.open = world, keys, 0, 0

    def is_read(self, step: str) -> bool:
        return self.asked > 0

    def __call__(self, step: str) -> set[int]:
        if not self.asked:
            self.open = self.world.number(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'lethe_purger' AND state LIKE 'idle in transaction%'"
            )
        self.asked += 1
        return self.keys


@contextmanager
def world_of(server: PostgresServer, url: str) -> Iterator[World]:
    """The source's tables and roles, and Lethe's own, in one database."""
    with psycopg.connect(url, autocommit=True) as admin:
        for role in ROLES.values():
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        admin.execute(SCHEMA)
    with control_database(server, url) as control:
        world = World(url=url, server=server, control=control)
        world.grant()
        yield world
