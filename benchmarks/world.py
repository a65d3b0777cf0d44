"""A source with the store's least-privilege roles, Lethe's own database beside it, and a plan counted, purged and checked over it.

What is timed is what a nightly run calls: `run_group` and `verify_run`, with the keys and the snapshot of a plan that was counted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from benchmarks.ground import TWO_YEARS, admin, build_logs, build_partitions, copy_of, seconds, server
from benchmarks.stores import CUTOFF, LOGINS, LOGS, ROWS_A_DAY, catalog_of, connection_of, plan_of
from demo.postgres import PostgresServer
from lethe.catalog.model import Catalog
from lethe.connections import Connection
from lethe.control.migrate import migrate
from lethe.control.plans import Counted, save_counts, save_plan
from lethe.instants import now
from lethe.plan.counting import count_plan
from lethe.plan.model import ArchiveTerms, Plan
from lethe.policy.period import Period
from lethe.purge.context import Pace, PurgeContext, StepTotals
from lethe.purge.run import run_group
from lethe.stores.postgres.count import PostgresCounter, snapshot
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.keys import FrozenKeys
from lethe.verify.batches import baseline
from lethe.verify.result import StepResult
from lethe.verify.run import verify_run


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A purge and how long it took, in seconds; VACUUM, which a big DELETE would need as well, is told apart."""

    totals: StepTotals
    seconds: float
    vacuum: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """A plan counted over one database, ready to be purged."""

    ground: Ground
    database: str
    plan: Plan
    catalog: Catalog
    attempt: int
    keys: FrozenKeys
    snapshot: str | None
    due: int
    before: dict[str, int]

    def timed(self, pace: Pace = "full") -> Timed:
        """Purges, VACUUM told apart; RuntimeError unless every row that was due has gone."""
        began = time.perf_counter()
        totals = self.purge(pace)
        took = time.perf_counter() - began
        return Timed(totals=totals, seconds=took - totals.vacuum_seconds, vacuum=totals.vacuum_seconds)

    def purge(self, pace: Pace = "full", *, reclaim: bool = True) -> StepTotals:
        """Purges as a nightly run does, VACUUM included where `reclaim` says so; RuntimeError unless every row that was due has gone."""
        context = PurgeContext(
            plan=self.plan,
            attempt=self.attempt,
            catalog=self.catalog,
            connections=self.connections,
            control=self.ground.control,
            pace=pace,
            known_keys=lambda step: self.keys,
            snapshot=lambda step: self.snapshot,
            reclaim=reclaim,
        )
        (totals,) = run_group(self.plan.steps, context)
        if totals.error or totals.deleted != self.due:
            raise RuntimeError(f"{totals.deleted} rows deleted of {self.due} due: {totals.error or 'no error'}")
        return totals

    def verify(self) -> StepResult:
        """The independent check; RuntimeError unless it says clean."""
        (result,) = verify_run(
            self.plan,
            catalog=self.catalog,
            connections=self.connections,
            control=self.ground.control,
            attempt=self.attempt,
            holds=(),
            backup_window=Period("P30D"),
            zone="UTC",
            at=now(),
            baselines={"source": self.before},
        )
        if result.outcome != "clean":
            raise RuntimeError(f"the check says {result.outcome}: {'; '.join(result.reasons)}")
        return result

    def batches(self) -> list[float]:
        """How long each transaction of the purge was open, in seconds, as the batches' records say."""
        with psycopg.connect(self.ground.server.url("lethe")) as connection:
            rows = connection.execute(
                "SELECT (details ->> 'seconds')::float8 FROM lethe.batches WHERE plan = %s AND attempt = %s ORDER BY id",
                [self.plan.digest, self.attempt],
            ).fetchall()
        return [float(value) for (value,) in rows]

    def connections(self, name: str) -> Connection:
        """The store's connections and Lethe's, each as its own role."""
        return self.ground.connection(name, self.database)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One server with Lethe's own database; templates are built on first use and copied for each run."""

    server: PostgresServer
    control: Engine
    rows: int
    repeat: int
    _built: set[str] = field(default_factory=set)
    _attempts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def connection(self, name: str, database: str) -> Connection:
        """A connection as its own role; `lethe_db` is Lethe's own database."""
        return connection_of(name, self.server.port, database)

    def engine(self, name: str, database: str) -> Engine:
        """An engine on such a connection."""
        return create_engine(self.connection(name, database).sqlalchemy_url())

    @contextmanager
    def copy(self, kind: str) -> Iterator[str]:
        """A copy of the template: `ordered`, `unordered`, `partitioned`, `dense` (all of `rows` rows), `tenth` or `tiny`; of
        `dense` and `tiny`, 50,000 rows are of one day."""
        if kind not in self._built:
            self._build(kind)
            self._built.add(kind)
        with copy_of(self.server, kind) as database:
            yield database

    def run(
        self,
        database: str,
        *,
        dataset: str = LOGS,
        cutoff: datetime = CUTOFF,
        key: tuple[str, ...] = ("id",),
        archive: ArchiveTerms | None = None,
    ) -> Run:
        """Plans and counts, as a nightly run does before it deletes anything. A row that is archived leads to its tenant."""
        catalog = catalog_of(dataset, key=key, kept=archive.columns if archive else ())
        store, plan, attempt = catalog.stores[0], plan_of(catalog, dataset, cutoff, archive), next(self._attempts)
        engine = self.engine("source_db_check", database)
        with snapshot(engine) as connection:
            counter = PostgresCounter(connection=connection, store=store, live=describe(engine), steps=plan.steps)
            counted = count_plan(plan, {store.id: counter})
        before = baseline(engine)
        engine.dispose()
        with self.control.begin() as control:
            save_plan(control, plan)
            save_counts(
                control, plan.digest, attempt, {s: Counted(counts=c.counts, details=c.details(), keys=c.keys) for s, c in counted.items()}
            )
        (found,) = counted.values()
        return Run(
            ground=self,
            database=database,
            plan=plan,
            catalog=catalog,
            attempt=attempt,
            keys=FrozenKeys.of(found.keys),
            snapshot=found.snapshot,
            due=found.counts.due,
            before=before,
        )

    def one_delete(self, database: str, cutoff: datetime = CUTOFF) -> float:
        """Seconds of one big DELETE of the same rows with its COMMIT: what the purge is measured against."""

        def work() -> None:
            with psycopg.connect(self.server.url(database)) as connection:
                connection.execute("DELETE FROM app.technical_logs WHERE occurred_at < %s", [cutoff])

        return seconds(work)

    def warm_up(self) -> None:
        """A tiny run, so that no module is imported and no statement is compiled for the first time under the clock."""
        with self.copy("tiny") as database:
            run = self.run(database)
            run.purge()
            run.verify()

    def _build(self, kind: str) -> None:
        rows = {"tenth": self.rows // 10, "tiny": 2_000}.get(kind, self.rows)
        print(f"  building {kind}: {rows:,} rows ...", flush=True)
        admin(self.server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(kind)))
        with psycopg.connect(self.server.url(kind)) as connection:
            connection.execute("CREATE SCHEMA app")
            connection.commit()
            if kind == "partitioned":
                build_partitions(connection, "app.technical_logs", rows)
            else:
                days = rows / ROWS_A_DAY if kind in {"dense", "tiny"} else TWO_YEARS
                build_logs(connection, "app.technical_logs", rows, in_order=kind != "unordered", days=days)
            grant(connection)


def grant(connection: psycopg.Connection) -> None:
    """Gives the store's roles the least that each needs on schema `app`; partitioned tables belong to the keeper."""
    connection.execute("GRANT USAGE ON SCHEMA app TO lethe_purger, lethe_checker, lethe_keeper")
    connection.execute("GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA app TO lethe_purger")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA app TO lethe_checker")
    connection.execute("GRANT MAINTAIN ON ALL TABLES IN SCHEMA app TO lethe_keeper")
    connection.execute("GRANT CREATE ON SCHEMA app TO lethe_keeper")
    connection.execute(
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'app'::regnamespace "
        "AND (relkind = 'p' OR relispartition AND relkind = 'r') LOOP EXECUTE format('ALTER TABLE %s OWNER TO lethe_keeper', t.name); END LOOP; END $$"
    )
    connection.commit()


@contextmanager
def ground(rows: int, repeat: int) -> Iterator[Ground]:
    """The server, its roles, and Lethe's own database, migrated by its owner."""
    with server() as found:
        for role in ("lethe_owner", *dict.fromkeys(LOGINS.values())):
            admin(found, sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        admin(found, "ALTER ROLE lethe_checker BYPASSRLS")
        admin(found, "GRANT pg_read_all_stats TO lethe_checker")
        admin(found, "CREATE DATABASE lethe OWNER lethe_owner")
        migrate(found.url("lethe", user="lethe_owner"))
        url: Any = make_url(found.url("lethe", user="lethe_runtime")).set(drivername="postgresql+psycopg")
        control = create_engine(url)
        try:
            made = Ground(server=found, control=control, rows=rows, repeat=repeat)
            made.warm_up()
            yield made
        finally:
            control.dispose()
