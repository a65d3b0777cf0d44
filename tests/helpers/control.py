"""Lethe's own database for a test, migrated by its owner, with an engine for each role that works on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.engine import make_url

from demo.postgres import PostgresServer
from lethe.catalog.model import Clock
from lethe.control.migrate import migrate
from lethe.plan.model import Counts, Plan, Predicate, Step

ROLES = ("lethe_owner", "lethe_runtime", "lethe_approver", "lethe_archivist")
AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
DIGEST_KEY = b"a key of the tests, 32 bytes lon"


@dataclass(frozen=True, kw_only=True)
class ControlDatabase:
    """One migrated database: its superuser's URL, and an engine for each role."""

    url: str
    owner: Engine
    runtime: Engine
    approver: Engine
    archivist: Engine
    superuser: Engine


def engine(url: str) -> Engine:
    """An engine that keeps no connection open, so that a test's database can be dropped."""
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)


@contextmanager
def control_database(server: PostgresServer, url: str, *, migrated: bool = False) -> Iterator[ControlDatabase]:
    """Makes the roles, lets the owner migrate unless the database is a copy of one that is `migrated`, and hands out the engines."""
    name = make_url(url).database or ""
    with psycopg.connect(url, autocommit=True) as admin:
        for role in ROLES:
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO lethe_owner").format(sql.Identifier(name)))
    engines = {role: engine(server.url(name, user=role)) for role in ROLES}
    if not migrated:
        migrate(engines["lethe_owner"])
    yield ControlDatabase(
        url=url,
        owner=engines["lethe_owner"],
        runtime=engines["lethe_runtime"],
        approver=engines["lethe_approver"],
        archivist=engines["lethe_archivist"],
        superuser=engine(url),
    )


def a_step(step_id: str = "logs/technical_logs", *, period: str = "P12M", **changes: object) -> Step:
    """A step that acts, over a table of that name."""
    rule, dataset = re.split("/", step_id)
    predicate = Predicate(clock=Clock(column="occurred_at"), cutoff=AS_OF, start_of_service=datetime(2019, 1, 1, tzinfo=UTC), as_of=AS_OF)
    values = {"id": step_id, "rule": rule, "promise": "p", "dataset": dataset, "store": "spotrak", "predicate": predicate, "period": period}
    return Step.model_validate({**values, **changes})


def a_plan(*steps: Step, as_of: datetime = AS_OF) -> Plan:
    """A plan of these steps, one over technical logs when none is given."""
    chosen = steps or (a_step(),)
    return Plan(
        as_of=as_of,
        policy_version="2026-05-01",
        policy_digest="a" * 64,
        text_sha256="b" * 64,
        catalog_digest="c" * 64,
        rules=tuple(s.rule for s in chosen),
        steps=chosen,
    )


def counts(total: int, due: int, **more: int) -> Counts:
    """Counts of a step."""
    return Counts(total=total, due=due, **more)
