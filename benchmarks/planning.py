"""Planning 100 rules over 200 tables: the schema read, the plan made, every step counted."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from benchmarks.ground import admin, seconds
from benchmarks.score import Row, at_most
from benchmarks.stores import AS_OF, store_of
from benchmarks.world import Ground
from lethe.catalog.model import Catalog
from lethe.plan.counting import count_plan
from lethe.plan.make import make_plan
from lethe.policy.model import Guard, PolicyVersion, Promise, Role, Rule
from lethe.policy.period import Period
from lethe.stores.postgres.count import PostgresCounter, snapshot
from lethe.stores.postgres.describe import describe

RULES, TABLES, ROWS = 100, 200, 500


def measure(ground: Ground) -> list[Row]:
    """Seconds from the policy to the counted plan, and queries a dataset."""
    admin(ground.server, "CREATE DATABASE planning")
    names = [f"t{n:03}" for n in range(TABLES)]
    with psycopg.connect(ground.server.url("planning"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        with connection.transaction():
            for name in names:
                connection.execute(f"CREATE TABLE app.{name} (id bigint PRIMARY KEY, occurred_at timestamptz NOT NULL, note text)")
                connection.execute(f"CREATE INDEX ON app.{name} (occurred_at)")
                connection.execute(
                    f"INSERT INTO app.{name} SELECT n, timestamptz '2024-06-01Z' + n * interval '1 day', 'x' FROM generate_series(1, {ROWS}) n"
                )
            connection.execute("GRANT USAGE ON SCHEMA app TO lethe_checker")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA app TO lethe_checker")
        connection.execute("VACUUM ANALYZE")
    policy, catalog = _policy(), _catalog(names)
    took, queries = [], 0
    for _ in range(ground.repeat):
        engine = ground.engine("source_db_check", "planning")
        asked = _Asked(engine)
        took.append(seconds(lambda engine=engine: _plan(engine, policy, catalog)))  # type: ignore[misc]
        queries = asked.on_tables
        engine.dispose()
    detail = f"{TABLES} tables of {ROWS} rows; schema read, plan made, every step counted"
    return [
        at_most(f"planning {RULES} rules over {TABLES} tables", took, 2, "s", detail=detail),
        at_most("counting queries a dataset", [queries / TABLES], 1, "queries"),
    ]


class _Asked:
    """Counts the statements that read a table of schema `app`."""

    def __init__(self, engine: Engine) -> None:
        self.on_tables = 0
        event.listen(engine, "before_cursor_execute", self._heard)

    def _heard(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.on_tables += "FROM app." in statement


def _plan(engine: Engine, policy: PolicyVersion, catalog: Catalog) -> None:
    plan = make_plan(policy, catalog, as_of=AS_OF)
    (store,) = catalog.stores
    with snapshot(engine) as connection:
        counted = count_plan(plan, {store.id: PostgresCounter(connection=connection, store=store, live=describe(engine), steps=plan.steps)})
    if len(counted) != TABLES or not all(c.counts.due for c in counted.values()):
        raise RuntimeError("not every step was counted")


def _catalog(names: list[str]) -> Catalog:
    """Two tables a category."""
    store = store_of(names)
    tables = {n: t.model_copy(update={"category": f"c{i % RULES:03}"}) for i, (n, t) in enumerate(store.tables.items())}
    return Catalog(purposes={"run": "running the service"}, stores=(store.model_copy(update={"tables": tables}),))


def _policy() -> PolicyVersion:
    day = date(2026, 5, 1)
    rules = tuple(
        Rule(id=f"r{n:03}", promise="p", category=f"c{n:03}", role=Role.CONTROLLER, clock="age", period=Period("P12M"), why="a benchmark")
        for n in range(RULES)
    )
    return PolicyVersion(
        company="benchmark",
        published_on=day,
        effective_on=day,
        time_zone="UTC",
        authority="none",
        text_sha256="b" * 64,
        backup_window=Period("P30D"),
        guard=Guard(max_share=1, max_rows=10**9),
        rules=rules,
        promises=(Promise(id="p", quotes=("a benchmark",), means="rows of a year", proof="counted", controls=()),),
    )
