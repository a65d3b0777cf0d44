"""The independent check, against a purge that is whole and against purges broken in every way it must catch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url

from demo.postgres import PostgresServer
from helpers.control import ControlDatabase
from lethe.catalog.model import Catalog, Clock, Store
from lethe.connections import Connection
from lethe.control.plans import Counted, save_counts, save_plan
from lethe.plan.model import Counts, HoldScope, Plan, Predicate, Step
from lethe.policy.period import Period
from lethe.stores.postgres.keys import freeze
from lethe.verify import queries
from lethe.verify.batches import baseline
from lethe.verify.frames import Scene
from lethe.verify.references import read_references
from lethe.verify.result import CUMULATIVE, EQUATION, ORPHANS, SIGHT, STATISTICS, SURVIVORS, Space, StepResult
from lethe.verify.run import verify_run
from lethe.verify.session import check_engine
from lethe.verify.sight import known_keys

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CUTOFF = datetime(2025, 11, 22, 23, 0, tzinfo=UTC)
START = datetime(2019, 1, 1, tzinfo=UTC)

SCHEMA = """
CREATE SCHEMA app;
CREATE TABLE app.logs (id bigint PRIMARY KEY, occurred_at timestamptz, tenant_id bigint, message text);
CREATE INDEX ON app.logs (occurred_at);
CREATE TABLE app.threads (id bigint PRIMARY KEY, opened_at timestamptz);
CREATE TABLE app.messages (id bigint PRIMARY KEY, thread_id bigint NOT NULL REFERENCES app.threads ON DELETE CASCADE, sent_at timestamptz);
CREATE INDEX ON app.messages (thread_id);
CREATE INDEX ON app.messages (sent_at);
CREATE TABLE app.notes (id bigint PRIMARY KEY, log_id bigint);
INSERT INTO app.logs SELECT n, timestamptz '2025-01-01Z' + n * interval '1 hour', n % 3, 'canary@example.org' FROM generate_series(1, 100) n;
INSERT INTO app.logs SELECT n, timestamptz '2026-06-01Z' + n * interval '1 hour', n % 3, 'x' FROM generate_series(101, 150) n;
INSERT INTO app.logs VALUES (1001, NULL, 1, 'x'), (1002, '1970-01-01Z', 1, 'x'), (1003, '2050-01-01Z', 1, 'x');
INSERT INTO app.threads SELECT n, '2022-01-01Z' FROM generate_series(1, 6) n;
INSERT INTO app.messages SELECT n * 10, n, '2022-02-01Z' FROM generate_series(1, 6) n;
INSERT INTO app.messages VALUES (61, 6, '2026-06-01Z');
"""


def _table(table: str, clocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    columns = {"id": {"category": "system.operations"}}
    fixed = {"schema": "app", "role": "controller", "category": table, "purposes": ("run",), "key": ("id",), "columns": columns}
    return {"table": table, "clocks": clocks, **fixed, **more}


STORE = Store.model_validate(
    {
        "id": "spotrak",
        "kind": "postgresql",
        "connection": "spotrak_db",
        "check_connection": "spotrak_db_check",
        "start_of_service": START,
        "tables": {
            "tenants": _table("tenants", {}),
            "logs": _table(
                "logs",
                {"event": {"column": "occurred_at"}},
                relations={"tenant": {"columns": ("tenant_id",), "to": "tenants", "may_dangle": True}},
                tenant=("tenant",),
            ),
            "threads": _table("threads", {"last": {"column": "sent_at", "through": ("messages.thread",), "otherwise": "opened_at"}}),
            "messages": _table(
                "messages", {"sent": {"column": "sent_at"}}, relations={"thread": {"columns": ("thread_id",), "to": "threads"}}
            ),
            "notes": _table("notes", {}, relations={"log": {"columns": ("log_id",), "to": "logs"}}),
        },
    }
)


def _step(dataset: str, clock: Clock, **more: Any) -> Step:
    predicate = Predicate(clock=clock, cutoff=CUTOFF, start_of_service=START, as_of=AS_OF, zone="Europe/Paris", **more)
    return Step(id=f"r/{dataset}", rule="r", promise="p", dataset=dataset, store="spotrak", predicate=predicate)


LOGS = _step("logs", Clock(column="occurred_at"))
THREADS = _step("threads", Clock(column="sent_at", through=("messages.thread",), otherwise="opened_at"))
MESSAGES = _step("messages", Clock(column="sent_at"))
PLAN = Plan(
    as_of=AS_OF,
    policy_version="v",
    policy_digest="a" * 64,
    text_sha256="b" * 64,
    catalog_digest="c" * 64,
    rules=("r",),
    steps=(LOGS, MESSAGES, THREADS),
)
DUE = {"logs": list(range(1, 101)), "messages": [10, 20, 30, 40, 50, 60], "threads": [1, 2, 3, 4, 5]}


@dataclass
class World:
    """A source, Lethe's database beside it, and a small purge of the test's own, to be broken on purpose."""

    url: str
    control: ControlDatabase
    server: PostgresServer
    checker: str = "postgres"
    number: int = 0
    holds: tuple[HoldScope, ...] = ()
    spaces: dict[str, Space] = field(default_factory=dict)

    def sql(self, text: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as c:
            c.execute(text)  # type: ignore[call-overload]

    def rows(self, text: str) -> list[Any]:
        with psycopg.connect(self.url) as c:
            return c.execute(text).fetchall()  # type: ignore[call-overload]

    def connections(self, id_: str) -> Connection:
        url = make_url(self.url)
        login = {"spotrak_db_check": self.checker, "lethe_db": "lethe_runtime"}.get(id_, "postgres")
        return Connection(id=id_, kind="postgres", host="127.0.0.1", port=self.server.port, login=login, database=url.database or "")

    def plan(self, due: dict[str, list[int]] | None = None, **counts: int) -> None:
        counted = {}
        for dataset, keys in {**DUE, **(due or {})}.items():
            xor = self.rows(
                f"SELECT coalesce(bit_xor(hashint8extended(k, 0)), 0) FROM unnest('{{{','.join(map(str, keys))}}}'::bigint[]) k"
            )[0][0]
            counted[f"r/{dataset}"] = Counted(
                counts=Counts(total=999, due=len(keys), **counts),
                details={"fingerprint": {"rows": len(keys), "xor": xor}},
                keys=freeze(np.array(keys, dtype=np.int64)),
            )
        with self.control.runtime.begin() as c:
            save_plan(c, PLAN)
            save_counts(c, PLAN.digest, 1, counted)

    def batch(self, dataset: str, where: str, *, says: int | None = None, forgets: bool = False) -> None:
        """One transaction as the purge makes it: delete, read PostgreSQL's own count, write the batch."""
        self.number += 1
        stats = (
            "SELECT relname, pg_stat_get_xact_tuples_deleted(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'app'::regnamespace"
        )
        with psycopg.connect(self.url) as c:
            gone = c.execute(  # type: ignore[call-overload]
                f"WITH g AS (DELETE FROM app.{dataset} WHERE {where} RETURNING id) "
                "SELECT count(*), coalesce(bit_xor(hashint8extended(id, 0)), 0), pg_current_xact_id()::text::bigint FROM g"
            ).fetchone()
            counted = {f"app.{t}": n for t, n in c.execute(stats).fetchall() if n}  # type: ignore[call-overload]
        details: dict[str, Any] = {"xor": gone[1]} | ({} if forgets else {"statistics": counted})
        with psycopg.connect(self.url, autocommit=True) as c:
            c.execute(
                "INSERT INTO lethe.batches (plan, attempt, step, number, state, technique, range, xid, rows, details) "
                "VALUES (%s, 1, %s, %s, 'committed', 'windows', '{}', %s, %s, %s)",
                [PLAN.digest, f"r/{dataset}", self.number, gone[2], gone[0] if says is None else says, json.dumps(details)],
            )

    def purge(self) -> None:
        """The unbroken one, children before parents."""
        self.batch("logs", "id <= 50")
        self.batch("logs", "id BETWEEN 51 AND 100")
        self.batch("messages", "id IN (10, 20, 30, 40, 50, 60)")
        self.batch("threads", "id <= 5")

    def verify(self, *steps: str, plan: Plan = PLAN, **more: Any) -> dict[str, StepResult]:
        results = verify_run(
            plan, catalog=Catalog(purposes={"run": "r"}, stores=(STORE,)), connections=self.connections, control=self.control.runtime, attempt=1,
            holds=self.holds, backup_window=Period("P35D"), zone="Europe/Paris", at=AS_OF, spaces=self.spaces, steps=steps or None, **more,
        )  # fmt: skip
        return {r.step.removeprefix("r/"): r for r in results}


def failed(result: StepResult) -> set[str]:
    return {c.name for c in result.checks if c.status == "failed"}


@pytest.fixture
def world(postgres: PostgresServer, control: ControlDatabase) -> Iterator[World]:
    made = World(url=control.url, control=control, server=postgres)
    made.sql(SCHEMA)
    yield made


def test_the_unbroken_purge_is_clean_and_nothing_of_a_row_is_in_the_result(world: World) -> None:
    world.plan()
    before = baseline(check_engine(world.connections("spotrak_db_check")))
    world.purge()
    world.spaces = {"r/logs": Space(reclaimed=True)}
    found = world.verify(baselines={"spotrak": before})
    assert {d: (r.outcome, r.reasons) for d, r in found.items()} == {d: ("clean", ()) for d in DUE}
    none = dict.fromkeys(("arrived", "held", "changed", "blocked", "failed", "survivors"), 0)
    assert found["logs"].terms.model_dump() == {"planned": 100, "deleted": 100, "quarantined": 3, **none}
    assert (found["logs"].level, found["threads"].level, str(found["logs"].l4_on)) == ("L2", "L1", "2026-12-28")
    assert found["logs"].oldest_after is not None and found["logs"].oldest_after.year == 2026
    assert "canary" not in "".join(r.model_dump_json() for r in found.values())


@dataclass(frozen=True)
class Broken:
    name: str
    purge: Callable[[World], None]
    step: str
    outcome: str
    caught_by: str


def _skips(w: World) -> None:
    w.batch("logs", "id <= 50")


def _one_too_many(w: World) -> None:
    w.batch("logs", "id <= 101")


def _silently_one_too_many(w: World) -> None:
    w.batch("logs", "id <= 101", says=100)


def _swallowed(w: World) -> None:
    w.sql("CREATE FUNCTION app.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    w.sql("CREATE TRIGGER no BEFORE DELETE ON app.logs FOR EACH ROW EXECUTE FUNCTION app.no()")
    w.batch("logs", "id <= 100", says=100)


def _cascades(w: World) -> None:
    w.batch("threads", "id <= 5")


def _forgets(w: World) -> None:
    w.batch("logs", "id <= 100", forgets=True)


@pytest.mark.parametrize(
    "broken",
    [
        Broken("skips a batch", _skips, "logs", "survivors", SURVIVORS),
        Broken("skips a batch, equation", _skips, "logs", "survivors", EQUATION),
        Broken("deletes one too many", _one_too_many, "logs", "unknown", EQUATION),
        Broken("deletes one too many and hides it", _silently_one_too_many, "logs", "unknown", STATISTICS),
        Broken("a trigger swallows", _swallowed, "logs", "survivors", STATISTICS),
        Broken("cascades further than it says", _cascades, "threads", "unknown", STATISTICS),
        Broken("keeps no statistics", _forgets, "logs", "unknown", STATISTICS),
    ],
    ids=lambda b: b.name,
)
def test_a_broken_purge_is_caught(world: World, broken: Broken) -> None:
    world.plan()
    broken.purge(world)
    result = world.verify(f"r/{broken.step}")[broken.step]
    assert result.outcome == broken.outcome
    assert broken.caught_by in failed(result)
    assert result.level is None and result.l4_on is None


def test_batches_that_claim_more_than_the_server_ever_deleted_are_caught(world: World) -> None:
    world.plan()
    before = baseline(check_engine(world.connections("spotrak_db_check")))
    world.batch("logs", "id <= 60", says=100)
    assert CUMULATIVE in failed(world.verify("r/logs", baselines={"spotrak": before})["logs"])


def _no_rights(w: World) -> None:
    w.sql("GRANT USAGE ON SCHEMA app TO lethe_t_blind; GRANT SELECT (id) ON app.logs TO lethe_t_blind")


def _row_security(w: World) -> None:
    w.sql("GRANT USAGE ON SCHEMA app TO lethe_t_blind; GRANT SELECT ON ALL TABLES IN SCHEMA app TO lethe_t_blind")
    w.sql("ALTER TABLE app.logs ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON app.logs USING (false)")


@pytest.mark.parametrize("blinded", [_no_rights, _row_security])
def test_a_role_that_sees_nothing_makes_unknown_never_clean(world: World, blinded: Callable[[World], None]) -> None:
    world.sql("DO $$ BEGIN CREATE ROLE lethe_t_blind LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    blinded(world)
    world.plan()
    world.purge()
    world.checker = "lethe_t_blind"
    result = world.verify("r/logs")["logs"]
    assert (result.outcome, result.terms.survivors) == ("unknown", None)
    world.sql("DROP OWNED BY lethe_t_blind")


def test_a_checker_that_looks_elsewhere_is_unknown(world: World) -> None:
    world.plan()
    world.purge()
    elsewhere = world.connections

    def swapped(id_: str) -> Connection:
        found = elsewhere(id_)
        return (
            Connection(id=found.id, kind=found.kind, host=found.host, port=found.port, login=found.login, database="postgres")
            if id_ == "spotrak_db_check"
            else found
        )

    world.connections = swapped  # type: ignore[method-assign]
    assert world.verify("r/logs")["logs"].outcome == "unknown"


@pytest.mark.parametrize("wreck", ["DROP TABLE app.logs", "ALTER TABLE app.logs DROP COLUMN occurred_at"])
def test_a_missing_table_or_column_is_unknown_and_the_other_steps_are_still_counted(world: World, wreck: str) -> None:
    world.plan()
    world.purge()
    world.sql(wreck)
    found = world.verify()
    assert (found["logs"].outcome, found["messages"].outcome) == ("unknown", "clean")


def test_invalid_sql_is_unknown_not_survivors(world: World) -> None:
    from lethe.verify.suite import Expected, judge

    asked = [
        Expected(step="s", check="a", query="SELECT nope FROM nowhere"),
        Expected(step="s", check="b", query="SELECT 1 AS one WHERE false"),
    ]
    found = judge(world.connections("spotrak_db_check"), asked)["s"]
    assert [(c.status, c.detail) for c in found] == [("unknown", "UndefinedTable"), ("passed", "")]


def test_held_and_blocked_and_quarantined_rows_do_not_fail(world: World) -> None:
    world.sql("UPDATE app.messages SET sent_at = '2022-02-01Z' WHERE id = 61")  # thread 6 is due now, and all of it
    world.holds = (
        HoldScope(id=1, dataset="logs", tenant="1", until=datetime(2025, 1, 2, tzinfo=UTC)),
        HoldScope(id=2, dataset="messages", until=START),
        HoldScope(id=3, dataset="messages", since=datetime(2022, 1, 31, tzinfo=UTC), until=datetime(2022, 2, 2, tzinfo=UTC)),
    )
    held = [r[0] for r in world.rows("SELECT id FROM app.logs WHERE id <= 100 AND tenant_id = 1 AND occurred_at < '2025-01-02Z'")]
    world.plan({"messages": [10, 20, 30, 40, 50, 60, 61], "threads": [1, 2, 3, 4, 5, 6]})
    world.batch("logs", f"id <= 100 AND id <> ALL('{{{','.join(map(str, held))}}}')")
    found = world.verify()
    assert {d: (r.outcome, r.reasons) for d, r in found.items()} == {d: ("clean", ()) for d in DUE}
    assert (found["logs"].terms.held, found["messages"].terms.held, found["threads"].terms.blocked) == (len(held), 7, 6)
    assert held and found["logs"].terms.quarantined == 3


def test_rows_renewed_removed_and_arrived_meanwhile_are_counted_apart(world: World) -> None:
    world.plan()
    world.sql("UPDATE app.logs SET occurred_at = '2026-09-01Z' WHERE id = 7")
    world.sql("DELETE FROM app.logs WHERE id = 8")
    world.batch("logs", "id <= 100 AND occurred_at < '2025-11-22 23:00Z'")
    result = world.verify("r/logs")["logs"]
    assert (result.outcome, result.terms.changed, result.terms.deleted) == ("clean", 2, 98), result.reasons


def test_an_orphan_is_found_where_no_foreign_key_guards(world: World) -> None:
    world.plan()
    world.purge()
    world.sql("INSERT INTO app.notes VALUES (1, 5)")
    assert ORPHANS in failed(world.verify("r/logs")["logs"])


def test_a_batch_without_an_end_is_unknown(world: World) -> None:
    world.plan()
    world.purge()
    world.sql("UPDATE lethe.batches SET state = 'unknown' WHERE number = 4")
    assert world.verify("r/threads")["threads"].outcome == "unknown"


def test_seconds_are_kept_with_each_result_and_the_check_is_quick_once_loaded(world: World) -> None:
    world.sql(
        "INSERT INTO app.logs SELECT n, timestamptz '2026-01-01Z' + n * interval '1 second', 1, 'y' FROM generate_series(2000, 102000) n"
    )
    world.sql("ANALYZE app.logs")
    world.plan()
    world.purge()
    world.verify("r/logs")  # the first use of Great Expectations loads it
    result = world.verify("r/logs")["logs"]
    print(f"set-up and checks of one step over 100,000 live rows: {result.seconds:.3f} s")
    assert result.outcome == "clean" and 0 < result.seconds < 5


def test_the_count_of_due_rows_goes_by_the_clock_s_index(world: World) -> None:
    world.sql(
        "INSERT INTO app.logs SELECT n, timestamptz '2026-01-01Z' + n * interval '1 second', 1, 'y' FROM generate_series(2000, 52000) n"
    )
    world.purge()
    world.sql("ANALYZE app.logs")
    query = queries.left_over(Scene(store=STORE, steps=PLAN.steps), LOGS)
    plan = "\n".join(r[0] for r in world.rows(f"EXPLAIN {query}"))
    assert "Seq Scan" not in plan and "logs_occurred_at_idx" in plan


def test_a_row_that_others_age_by_is_a_reference_that_no_orphan_is_asked_for(world: World) -> None:
    """Without the messages a thread of this catalog would never be due; it is no orphan for that."""
    threads = STORE.tables["threads"].model_copy(update={"clocks": {"last": Clock(column="sent_at", through=("messages.thread",))}})
    store = STORE.model_copy(update={"tables": {**STORE.tables, "threads": threads}})
    with check_engine(world.connections("spotrak_db_check")).connect() as connection:
        before, found = (set(read_references(connection, s)) for s in (STORE, store))
    (more,) = found - before
    assert (more.child, more.child_columns, more.parent, more.parent_columns) == ('"app"."threads"', ("id",), "messages", ("thread_id",))
    assert not before - found and not queries.unguarded(Scene(store=store, steps=(), references=(more,)), MESSAGES)


def test_known_rows_are_the_highest_keys_by_the_key_s_index_and_not_by_their_text(world: World) -> None:
    world.sql("INSERT INTO app.logs SELECT n, '2026-01-01Z', 1, 'y' FROM generate_series(2000, 52000) n")
    world.sql("ANALYZE app.logs")
    purger = check_engine(world.connections("spotrak_db"))
    asked: list[str] = []
    event.listen(purger, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    assert known_keys(purger, Scene(store=STORE, steps=PLAN.steps), LOGS) == [[str(n)] for n in range(52000, 51995, -1)]
    plan = "\n".join(r[0] for r in world.rows(f"EXPLAIN {asked[-1]}"))
    assert "logs_pkey" in plan and "Sort" not in plan and "Seq Scan" not in plan


def test_the_check_leaves_no_connection_of_its_own_behind(world: World) -> None:
    world.plan()
    world.purge()
    assert world.verify("r/logs")["logs"].outcome == "clean"
    open_ = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lethe-verify' AND datname = current_database()"
    for _ in range(100):  # A session that its client has closed is there for a moment yet.
        if world.rows(open_) == [(0,)]:
            return
        time.sleep(0.05)
    pytest.fail("a session of the check is still open")


def test_a_view_is_a_partial_sight(world: World) -> None:
    world.plan()
    world.purge()
    world.sql("ALTER TABLE app.logs RENAME TO hidden; CREATE VIEW app.logs AS SELECT * FROM app.hidden WHERE false")
    result = world.verify("r/logs")["logs"]
    assert result.outcome == "unknown" and any(c.name in (SIGHT, SURVIVORS) and "no table" in c.detail for c in result.checks)
