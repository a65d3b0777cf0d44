"""Counting a step on a real database: blocked rows exactly, ages, frozen keys, and an error instead of a hopeful number."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, text

from lethe.catalog.model import Clock, Column, Relation, Store, Table
from lethe.errors import PartialView, Uncountable, UnknownName, Unreachable
from lethe.plan.counting import StepCount
from lethe.plan.model import HoldScope, Predicate, Step
from lethe.policy.model import Role
from lethe.stores.postgres.blocked import blocked_keys
from lethe.stores.postgres.count import PostgresCounter, count, count_due_fingerprint, snapshot, target_of
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.keys import FrozenKeys, freeze, thaw

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CUTOFF = datetime(2025, 11, 22, 23, 0, tzinfo=UTC)
SERVICE = datetime(2015, 1, 1, tzinfo=UTC)
OLD, NEW = "2020-01-01", "2026-01-01"


def entry(name: str, key: tuple[str, ...] = ("id",), **more: Any) -> Table:
    known = {"clocks": {"c": Clock(column="at")}, "columns": {c: Column(category="system.operations") for c in ("at", *key)}}
    return Table(table=name, db_schema="app", role=Role.CONTROLLER, category="c", purposes=("p",), key=key, **(known | more))


def store_of(*tables: Table) -> Store:
    return Store(
        id="db", kind="postgresql", connection="db", start_of_service=SERVICE, identities=("users",), tables={t.table: t for t in tables}
    )


def step(dataset: str, rule: str = "r", clock: Clock | None = None, waits: bool = False, **more: Any) -> Step:
    predicate = Predicate(
        clock=clock or Clock(column="at"), cutoff=CUTOFF, start_of_service=SERVICE, as_of=AS_OF, zone="Europe/Paris", **more
    )
    waiting = ("archive",) if waits else ()
    return Step(id=f"{rule}/{dataset}", rule=rule, promise="p", dataset=dataset, store="db", predicate=predicate, waiting_for=waiting)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with made.begin() as connection:
        connection.execute(text("CREATE SCHEMA app"))
    yield made
    made.dispose()


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def counted(engine: Engine, store: Store, steps: list[Step], of: str, holds: tuple[HoldScope, ...] = ()) -> StepCount:
    live = describe(engine, ["app"])
    with snapshot(engine, holds) as connection:
        chosen = next(s for s in steps if s.dataset == of)
        found = count(connection, chosen, store, live, holds, steps=steps)
        listed = blocked_keys(target_of(chosen, store, live, holds, steps))
        if listed is not None:
            assert found.counts.blocked == len(set(connection.scalars(listed)))
        return found


PARENT = "CREATE TABLE app.parents (id int PRIMARY KEY, a int, b int, at timestamptz, UNIQUE (a, b))"


@pytest.mark.parametrize(
    ("reference", "relations"),
    [
        ("parent int REFERENCES app.parents", {}),
        ("parent int REFERENCES app.parents ON DELETE CASCADE", {}),
        ("parent int REFERENCES app.parents ON DELETE SET NULL", {}),
        ("parent int REFERENCES app.parents ON DELETE RESTRICT", {}),
        ("parent int REFERENCES app.parents DEFERRABLE INITIALLY DEFERRED", {}),
        ("parent int", {"up": Relation(columns=("parent",), to="parents")}),
        ("parent int, other int, FOREIGN KEY (parent, other) REFERENCES app.parents (a, b) MATCH SIMPLE", {}),
        ("parent int REFERENCES app.parents", {"up": Relation(columns=("parent",), to="parents", may_dangle=True)}),
    ],
    ids=["no action", "cascade", "set null", "restrict", "deferred", "declared only", "composite", "foreign key outranks may_dangle"],
)
def test_a_due_row_that_a_staying_row_refers_to_is_blocked(engine: Engine, reference: str, relations: dict[str, Relation]) -> None:
    run(engine, PARENT, f"CREATE TABLE app.children (id int PRIMARY KEY, at timestamptz, {reference})")
    run(
        engine,
        f"INSERT INTO app.parents SELECT g, g, 0, CASE g WHEN 6 THEN timestamptz '{NEW}' ELSE '{OLD}' END FROM generate_series(1, 6) g",
    )
    # 1: by one that stays; 2: by one that goes; 3: by both; 4: by one without a clock; 5: by none; 6 stays itself
    rows = [(1, NEW, 1), (2, OLD, 2), (3, OLD, 3), (4, NEW, 3), (5, None, 4), (6, NEW, None), (7, NEW, 6)]
    composite = "other" in reference
    with engine.begin() as connection:
        for row_id, at, parent in rows:
            values = {"i": row_id, "a": at, "p": parent} | ({"o": 0} if composite else {})
            columns = "id, at, parent, other" if composite else "id, at, parent"
            connection.execute(text(f"INSERT INTO app.children ({columns}) VALUES (:i, :a, :p{', :o' if composite else ''})"), values)
    store = store_of(entry("parents"), entry("children", relations=relations))
    both = [step("children"), step("parents")]
    found = counted(engine, store, both, "parents").counts
    assert (found.total, found.due, found.blocked) == (6, 5, 3)
    alone = counted(engine, store, [step("parents")], "parents").counts
    assert (alone.due, alone.blocked) == (5, 4)  # a child that no step takes stays, however old
    waits = counted(engine, store, [step("children", waits=True), step("parents")], "parents").counts
    assert waits.blocked == 4
    assert counted(engine, store, both, "children").counts.blocked == 0


def test_a_relation_that_may_dangle_blocks_nothing(engine: Engine) -> None:
    run(engine, PARENT, "CREATE TABLE app.children (id int PRIMARY KEY, at timestamptz, parent int)")
    run(engine, f"INSERT INTO app.parents VALUES (1, 1, 1, '{OLD}')", f"INSERT INTO app.children VALUES (1, '{NEW}', 1)")
    store = store_of(entry("parents"), entry("children", relations={"up": Relation(columns=("parent",), to="parents", may_dangle=True)}))
    assert counted(engine, store, [step("parents")], "parents").counts.blocked == 0


def test_a_table_that_is_not_in_the_catalog_blocks_what_it_refers_to(engine: Engine) -> None:
    run(engine, PARENT, "CREATE TABLE app.audit (n int, parent int REFERENCES app.parents)")
    run(engine, f"INSERT INTO app.parents SELECT g, g, g, '{OLD}' FROM generate_series(1, 3) g", "INSERT INTO app.audit VALUES (1, 2)")
    assert counted(engine, store_of(entry("parents")), [step("parents")], "parents").counts.blocked == 1


def test_a_held_row_blocks_what_it_refers_to_and_is_not_blocked_itself(engine: Engine) -> None:
    run(engine, PARENT, "CREATE TABLE app.children (id int PRIMARY KEY, at timestamptz, parent int REFERENCES app.parents)")
    run(engine, f"INSERT INTO app.parents SELECT g, g, g, '{OLD}' FROM generate_series(1, 3) g")
    run(engine, f"INSERT INTO app.children SELECT g, '{OLD}', g FROM generate_series(1, 2) g")
    store = store_of(entry("parents"), entry("children"))
    steps = [step("children"), step("parents")]
    found = counted(engine, store, steps, "parents", (HoldScope(id=1, dataset="children"),)).counts
    assert (found.due, found.held, found.blocked) == (3, 0, 2)
    found = counted(engine, store, steps, "parents", (HoldScope(id=1, dataset="children"), HoldScope(id=2, dataset="parents"))).counts
    assert (found.due, found.held, found.blocked) == (3, 3, 0)


def test_rows_that_refer_to_their_own_table_block_along_the_whole_chain(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.posts (id int PRIMARY KEY, at timestamptz, parent int REFERENCES app.posts)")
    rows = [(1, OLD, None), (2, OLD, 1), (3, OLD, 2), (4, NEW, 3), (5, OLD, None), (6, OLD, 5), (7, OLD, 7), (8, NEW, None), (9, OLD, 8)]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO app.posts VALUES (:i, :a, :p)"), [{"i": i, "a": a, "p": p} for i, a, p in rows])
    found = counted(engine, store_of(entry("posts")), [step("posts")], "posts").counts
    assert (found.due, found.blocked) == (7, 3)  # 4 stays: 3, 2, 1; not 5, 6, 9, nor 7, which refers to itself


def test_a_cycle_of_tables_goes_as_a_whole_or_stays_as_far_as_it_is_referred_to(engine: Engine) -> None:
    run(
        engine,
        "CREATE TABLE app.tenants (id int PRIMARY KEY, at timestamptz, owner int)",
        "CREATE TABLE app.users (id int PRIMARY KEY, at timestamptz, tenant int REFERENCES app.tenants)",
        "ALTER TABLE app.tenants ADD FOREIGN KEY (owner) REFERENCES app.users DEFERRABLE INITIALLY DEFERRED",
        f"INSERT INTO app.tenants SELECT g, '{OLD}', g * 10 FROM generate_series(1, 3) g",
        f"INSERT INTO app.users SELECT g * 10, '{OLD}', g FROM generate_series(1, 3) g",
        f"INSERT INTO app.users VALUES (21, '{NEW}', 2), (31, '{OLD}', 2)",
    )
    store, steps = store_of(entry("tenants"), entry("users")), [step("tenants"), step("users")]
    assert counted(engine, store, steps, "tenants").counts.blocked == 1  # tenant 2, for user 21 stays
    assert counted(engine, store, steps, "users").counts.blocked == 1  # its owner 20; user 31 may go
    assert counted(engine, store, [step("tenants")], "tenants").counts.blocked == 3


def test_two_rules_of_one_table_are_counted_apart_and_leave_together(engine: Engine) -> None:
    run(
        engine,
        "CREATE TABLE app.posts (id int PRIMARY KEY, at timestamptz, later timestamptz, parent int REFERENCES app.posts)",
        f"INSERT INTO app.posts VALUES (1, '{OLD}', '{NEW}', NULL), (2, '{NEW}', '{OLD}', 1), (3, '{NEW}', '{NEW}', 2), (4, '{OLD}', '{OLD}', NULL)",
        f"INSERT INTO app.posts VALUES (5, '{OLD}', '{NEW}', NULL), (6, '{NEW}', '{OLD}', 5)",
    )
    store = store_of(entry("posts", clocks={"c": Clock(column="at"), "d": Clock(column="later")}))
    first, second = step("posts", "first"), step("posts", "second", Clock(column="later"))
    live = describe(engine, ["app"])
    with snapshot(engine) as connection:
        a, b = (count(connection, s, store, live, steps=[first, second]).counts for s in (first, second))
    assert (a.due, a.blocked) == (3, 1)  # 1, 4, 5; 1 is blocked through 2, which 3 blocks; 5 goes, for 6 goes by the other rule
    assert (b.due, b.blocked) == (3, 1)


@pytest.mark.parametrize("seed", range(12))
def test_blocked_is_exact_on_any_web_of_references(engine: Engine, seed: int) -> None:
    random = Random(seed)
    names = ["a", "b", "c", "d"]
    references = sorted({(random.choice(names), random.choice(names)) for _ in range(6)})
    acting = [n for n in names if random.random() < 0.8] or ["a"]
    run(engine, *(f"CREATE TABLE app.{n} (id int PRIMARY KEY, at timestamptz, {', '.join(f'to_{m} int' for m in names)})" for n in names))
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for name in names:
        for number in range(30):
            values: dict[str, Any] = {"id": number, "at": NEW if random.random() < 0.12 else OLD}
            values |= {f"to_{m}": random.randrange(30) if (name, m) in references and random.random() < 0.35 else None for m in names}
            rows[name, number] = values
    with engine.begin() as connection:
        for name in names:
            connection.execute(
                text(f"INSERT INTO app.{name} VALUES (:id, :at, :to_a, :to_b, :to_c, :to_d)"), [rows[name, n] for n in range(30)]
            )
    run(engine, *(f"ALTER TABLE app.{a} ADD FOREIGN KEY (to_{b}) REFERENCES app.{b} DEFERRABLE" for a, b in references))

    stays = {k for k, v in rows.items() if k[0] not in acting or v["at"] == NEW}
    leaving = set(rows) - stays
    while True:  # the obvious definition: whatever a staying row refers to stays
        more = {(b, rows[s][f"to_{b}"]) for s in stays for b in names if rows[s][f"to_{b}"] is not None} - stays
        if not more:
            break
        stays |= more
    store, steps = store_of(*(entry(n) for n in names)), [step(n) for n in acting]
    for name in acting:
        found = counted(engine, store, steps, name).counts
        assert (found.due, found.blocked) == (
            sum(1 for k in leaving if k[0] == name),
            sum(1 for k in leaving & stays if k[0] == name),
        ), (name, references, acting)


def test_ages_are_counted_by_month_of_the_policys_zone(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz)")
    ats = [
        "2025-11-30T22:59:59Z",
        "2025-11-30T23:00:00Z",
        "2025-12-31T22:59:59Z",
        "2026-07-31T22:00:00Z",
        None,
        "1970-01-01",
        "2030-01-01",
        "infinity",
    ]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO app.logs VALUES (:i, :a)"), [{"i": i, "a": a} for i, a in enumerate(ats)])
    found = counted(engine, store_of(entry("logs")), [step("logs")], "logs")
    assert found.histogram == (("2025-11", 1), ("2025-12", 2), ("2026-08", 1))
    assert found.counts.oldest == datetime(2025, 11, 30, 22, 59, 59, tzinfo=UTC)
    assert (found.counts.total, found.counts.due, found.counts.quarantined) == (8, 0, 4)
    assert found.keys is None
    assert found.fingerprint == {"rows": 0, "xor": 0}
    assert found.snapshot


def test_an_empty_table_counts_nothing_and_has_no_oldest_row(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz)")
    found = counted(engine, store_of(entry("logs")), [step("logs")], "logs")
    assert (found.counts.total, found.counts.oldest, found.histogram) == (0, None, ())


@pytest.mark.parametrize(
    ("columns", "key", "key64"),
    [
        ("id smallint", ("id",), "id::int8"),
        ("id bigint", ("id",), "id::int8"),
        ("id uuid", ("id",), "hashtextextended(id::text, 0)"),
        ("id text", ("id",), "hashtextextended(id::text, 0)"),
        ("id int, part timestamptz", ("id", "part"), "hashtextextended(ROW(id, part)::text, 0)"),
    ],
    ids=str,
)
def test_the_keys_of_all_due_rows_are_frozen_held_and_blocked_ones_too(
    engine: Engine, columns: str, key: tuple[str, ...], key64: str
) -> None:
    kind = columns.split()[1].rstrip(",")
    made = {"uuid": "md5(g::text)::uuid", "text": "'k' || g", "smallint": "g - 100", "bigint": "g * 4000000000 - 9000000000000000000"}.get(
        kind, "g"
    )
    part = f", timestamptz '{OLD}' + g * interval '1 hour'" if len(key) > 1 else ""
    run(engine, f"CREATE TABLE app.logs ({columns}, at timestamptz, PRIMARY KEY ({', '.join(key)}))")
    run(
        engine,
        f"INSERT INTO app.logs SELECT {made}{part}, CASE WHEN g % 3 = 0 THEN timestamptz '{NEW}' ELSE '{OLD}' END FROM generate_series(1, 900) g",
    )
    store, steps = store_of(entry("logs", key=key)), [step("logs")]
    found = counted(engine, store, steps, "logs", (HoldScope(id=1, dataset="logs"),))
    assert (found.counts.due, found.counts.held) == (600, 600)
    with engine.begin() as connection:
        connection.execute(text("SET TimeZone = 'UTC'"))
        wanted = sorted(connection.scalars(text(f"SELECT {key64} FROM app.logs WHERE at < :c"), {"c": CUTOFF}))
        xor = connection.scalar(text(f"SELECT bit_xor(hashint8extended({key64}, 0)) FROM app.logs WHERE at < :c"), {"c": CUTOFF})
    assert thaw(found.keys or b"").tolist() == wanted
    assert found.fingerprint == {"rows": 600, "xor": xor}
    live = describe(engine, ["app"])
    with snapshot(engine) as connection:
        assert count_due_fingerprint(connection, steps[0], store, live) == found.fingerprint
        assert count_due_fingerprint(connection, steps[0], store, live, held_only=True) == {"rows": 0, "xor": 0}
    holds = (HoldScope(id=1, dataset="logs"),)
    with snapshot(engine, holds) as connection:
        assert count_due_fingerprint(connection, steps[0], store, live, holds, held_only=True) == found.fingerprint


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [0],
        [-1],
        [5, 5, 5],
        [-(2**63), 2**63 - 1],
        [-(2**63), -1, 0, 1, 2**63 - 1],
        list(range(-500, 5000, 3)),
        [2**40 * n for n in range(-300, 300)],
    ],
    ids=len,
)
def test_frozen_keys_come_back_whole(keys: list[int]) -> None:
    data = freeze(np.array(Random(1).sample(keys, len(keys)), dtype=np.int64))
    frozen = FrozenKeys.of(data)
    assert list(frozen) == sorted(keys)
    assert len(frozen) == len(keys)
    assert all(k in frozen for k in keys)
    assert [k for c in frozen.chunks(7) for k in c] == sorted(keys)
    strangers = [k for k in (-2, 7, 2**50 + 1, -(2**62)) if k not in keys]
    assert not any(k in frozen for k in strangers)
    assert frozen.missing([*keys, *strangers]) == len(strangers)
    if len(keys) > 1:
        with pytest.raises(Uncountable, match="damaged"):
            thaw(data[:-1])
    with pytest.raises(Uncountable, match="damaged"):
        thaw(b"x" + data[1:])


def test_a_million_consecutive_keys_take_little_room() -> None:
    assert len(freeze(np.arange(1_000_000, dtype=np.int64))) < 10_000


BROKEN: list[tuple[str, str, str]] = [
    ("DROP TABLE app.logs", "42P01", "r/logs"),
    ("ALTER TABLE app.logs RENAME COLUMN at TO happened", "42703", "r/logs"),
    ("REVOKE ALL ON app.logs FROM checker", "42501", "r/logs"),
    ("REVOKE ALL ON app.children FROM checker", "42501", "r/logs"),
]


@pytest.mark.parametrize(("break_it", "state", "name"), BROKEN, ids=[b[1] + b[0].split()[0] for b in BROKEN])
def test_what_cannot_be_counted_is_an_error_by_name_and_the_snapshot_lives_on(
    engine: Engine, database: str, break_it: str, state: str, name: str
) -> None:
    with checker(engine, database) as eyes:
        live = describe(engine, ["app"])
        store = store_of(entry("logs"), entry("other"))
        run(engine, f"ALTER TABLE app.children DROP CONSTRAINT children_log_fkey; {break_it}")
        with snapshot(eyes) as connection:
            counter = PostgresCounter(connection=connection, store=store, live=live, steps=(step("logs"), step("other")))
            with pytest.raises(Uncountable, match=state) as caught:
                counter.count(step("logs"))
            assert name in caught.value.problem
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None
            assert counter.count(step("other")).counts.total == 1


def test_a_count_that_fails_among_others_takes_nothing_from_them_in_any_transaction_of_a_connection(engine: Engine, database: str) -> None:
    with checker(engine, database) as eyes:
        live, store = describe(engine, ["app"]), store_of(entry("logs"), entry("other"))
        run(engine, "REVOKE ALL ON app.logs FROM checker")
        for _ in range(2):  # the second snapshot is on the connection of the first
            with snapshot(eyes) as connection:
                counter = PostgresCounter(connection=connection, store=store, live=live, steps=(step("logs"), step("other")))
                before = counter.count(step("other"))
                for _ in range(2):
                    with pytest.raises(Uncountable, match="42501"):
                        counter.count(step("logs"))
                run(engine, f"INSERT INTO app.other SELECT max(id) + 1, '{OLD}' FROM app.other")
                after = counter.count(step("other"))
            assert (after.counts, after.snapshot, after.keys) == (before.counts, before.snapshot, before.keys)
        assert before.counts.total == 2


class checker:
    """Tables with one row each, a second role that may read them, and its engine."""

    def __init__(self, engine: Engine, database: str, security: str = "") -> None:
        run(
            engine,
            "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz, secret text)",
            "CREATE TABLE app.children (log int REFERENCES app.logs)",
            "CREATE TABLE app.other (id int PRIMARY KEY, at timestamptz)",
            f"INSERT INTO app.logs VALUES (1, '{OLD}', 'secret')",
            f"INSERT INTO app.other VALUES (1, '{OLD}')",
            "DO $$ BEGIN CREATE ROLE checker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "ALTER ROLE checker NOBYPASSRLS",
            "ALTER ROLE checker SET default_transaction_read_only = on",
            "GRANT USAGE ON SCHEMA app TO checker",
            "GRANT SELECT ON ALL TABLES IN SCHEMA app TO checker",
            *([security] if security else []),
        )
        self.engine = create_engine(database.replace("postgresql://postgres@", "postgresql+psycopg://checker@"))

    def __enter__(self) -> Engine:
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()


SECURITY = "ALTER TABLE app.logs ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON app.logs USING (false)"


def test_row_security_that_would_hide_rows_is_an_error_and_not_a_zero(engine: Engine, database: str) -> None:
    with checker(engine, database, SECURITY) as eyes:
        live, store = describe(engine, ["app"]), store_of(entry("logs"))
        with eyes.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM app.logs")) == 0  # the hopeful number
        with snapshot(eyes) as connection, pytest.raises(PartialView, match="BYPASSRLS"):
            count(connection, step("logs"), store, live)
        run(engine, "ALTER ROLE checker BYPASSRLS")
        with snapshot(eyes) as connection:
            assert count(connection, step("logs"), store, live).counts.total == 1


def test_holds_reach_a_session_that_may_not_write_and_nothing_else_can_be_written(engine: Engine, database: str) -> None:
    with checker(engine, database) as eyes:
        live, store, holds = describe(engine, ["app"]), store_of(entry("logs")), (HoldScope(id=1, dataset="logs"),)
        for given, kept in ((holds, 1), ((), 0), (holds, 1)):  # a pooled session forgets the holds of the run before
            with snapshot(eyes, given) as connection:
                assert count(connection, step("logs"), store, live, given).counts.held == kept
                with pytest.raises(Exception, match="read-only"):
                    connection.execute(text("CREATE TABLE app.mine (id int)"))


def test_a_count_that_takes_too_long_is_an_error(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz)")
    run(engine, f"INSERT INTO app.logs SELECT g, timestamptz '{OLD}' + g * interval '1 ms' FROM generate_series(1, 200000) g")
    live, store = describe(engine, ["app"]), store_of(entry("logs"))
    with snapshot(engine, statement_timeout=0.002) as connection, pytest.raises(Uncountable, match="57014"):
        count(connection, step("logs"), store, live)


def test_a_database_that_went_away_is_unreachable(engine: Engine, database: str) -> None:
    run(engine, "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz)")
    live, store = describe(engine, ["app"]), store_of(entry("logs"))
    gone = create_engine("postgresql+psycopg://postgres@127.0.0.1:1/none")
    with pytest.raises(Unreachable), snapshot(gone):
        pytest.fail("it connected")
    eyes = create_engine(engine.url)
    with pytest.raises(Unreachable), snapshot(eyes) as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        run(engine, f"SELECT pg_terminate_backend({pid}, 5000)")
        count(connection, step("logs"), store, live)
    eyes.dispose()


def test_a_due_row_without_a_key_cannot_be_frozen(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.logs (id int, at timestamptz)", f"INSERT INTO app.logs VALUES (NULL, '{OLD}'), (1, '{OLD}')")
    live, store = describe(engine, ["app"]), store_of(entry("logs"))
    with snapshot(engine) as connection, pytest.raises(Uncountable, match="without a key"):
        count(connection, step("logs"), store, live)


def test_a_dataset_that_is_no_table_of_the_store_is_refused_by_name(engine: Engine) -> None:
    with snapshot(engine) as connection, pytest.raises(UnknownName, match="nowhere"):
        count(connection, step("nowhere"), store_of(entry("logs")), None)


def test_all_steps_see_one_instant(engine: Engine) -> None:
    run(engine, "CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz)")
    live, store = describe(engine, ["app"]), store_of(entry("logs"))
    with snapshot(engine) as connection:
        before = count(connection, step("logs"), store, live)
        run(engine, f"INSERT INTO app.logs VALUES (1, '{OLD}')")
        after = count(connection, step("logs"), store, live)
    assert before.counts == after.counts
    assert before.snapshot == after.snapshot
    with snapshot(engine) as connection:
        assert count(connection, step("logs"), store, live).counts.due == 1


def test_a_partitioned_table_is_one_dataset(engine: Engine) -> None:
    run(
        engine,
        "CREATE TABLE app.users (id int PRIMARY KEY, at timestamptz)",
        "CREATE TABLE app.views (id int, at timestamptz, viewer int REFERENCES app.users) PARTITION BY RANGE (at)",
        "CREATE TABLE app.views_old PARTITION OF app.views FOR VALUES FROM ('2015-01-01') TO ('2025-11-22 23:00Z')",
        "CREATE TABLE app.views_new PARTITION OF app.views FOR VALUES FROM ('2025-11-22 23:00Z') TO ('2030-01-01')",
        f"INSERT INTO app.users SELECT g, '{OLD}' FROM generate_series(1, 3) g",
        f"INSERT INTO app.views VALUES (1, '{OLD}', 1), (2, '{NEW}', 2)",
    )
    store, steps = store_of(entry("users"), entry("views")), [step("views"), step("users")]
    assert counted(engine, store, steps, "views").counts.due == 1
    assert counted(engine, store, steps, "users").counts.blocked == 1


def test_a_hundred_rules_over_two_hundred_tables_are_counted_in_two_seconds(engine: Engine) -> None:
    with engine.begin() as connection:
        for n in range(200):
            up = f"up int REFERENCES app.t{n - 1}" if n % 4 else "up int"
            connection.execute(text(f"CREATE TABLE app.t{n} (id int PRIMARY KEY, at timestamptz, {up})"))
            connection.execute(
                text(f"INSERT INTO app.t{n} SELECT g, timestamptz '{OLD}' + g * interval '30 days', NULL FROM generate_series(1, 90) g")
            )
    store = store_of(*(entry(f"t{n}") for n in range(200)))
    steps = [step(f"t{n}") for n in range(0, 200, 2)]
    live = describe(engine, ["app"])
    began = time.perf_counter()
    with snapshot(engine, (HoldScope(id=1, dataset="t5"),)) as connection:
        counter = PostgresCounter(connection=connection, store=store, live=live, steps=tuple(steps), holds=(HoldScope(id=1, dataset="t5"),))
        found = [counter.count(s) for s in steps]
    took = time.perf_counter() - began
    assert {f.counts.total for f in found} == {90}
    print(f"100 steps over 200 tables: {took:.2f} s")
    assert took < 2 * 3  # the target of 2 s is the benchmark's; here other tests run beside it
