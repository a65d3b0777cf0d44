"""Which rows are due, held and quarantined: tables of cases, each row counted by the query and picked by the predicate itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, select, text, true

from lethe.catalog.model import Clock, Column, Condition, Contracts, Relation, Store, Table
from lethe.plan.model import ContractShield, Counts, HoldScope, KeptFor, Predicate, Step
from lethe.policy.model import Role
from lethe.stores.postgres.count import count, snapshot, target_of
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.predicate import due, held, quarantined_early, quarantined_future, quarantined_null

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CUTOFF = datetime(2025, 11, 22, 23, 0, tzinfo=UTC)  # 23 November 00:00 in Paris
SERVICE = datetime(2015, 1, 1, tzinfo=UTC)
PARIS = "Europe/Paris"

SCHEMA = """
CREATE SCHEMA app;
CREATE TYPE app.kind AS ENUM ('notice', 'other');
CREATE TABLE app.tenants (id int PRIMARY KEY, account text UNIQUE);
CREATE TABLE app.users (id int PRIMARY KEY, tenant_id int);
CREATE TABLE app.contracts (id int PRIMARY KEY, tenant_id int, ended_at timestamptz);
CREATE TABLE app.threads (id int PRIMARY KEY, tenant_id int, user_id int, opened_at timestamptz);
CREATE TABLE app.messages (id int PRIMARY KEY, thread_id int, sent_at timestamptz);
CREATE TABLE app.logs (id int PRIMARY KEY, at timestamptz, naive timestamp, day date, later timestamptz, tenant_id int, user_id int,
                       other_user_id int, flag boolean, kind app.kind, number int, note text);
CREATE INDEX ON app.logs (at);
"""


def entry(name: str, clocks: dict[str, Clock] | None = None, relations: dict[str, Relation] | None = None, **more: Any) -> Table:
    return Table(
        table=name,
        db_schema="app",
        role=Role.CONTROLLER,
        category="c",
        purposes=("p",),
        key=("id",),
        clocks=clocks or {},
        relations=relations or {},
        columns={c: Column(category="system.operations") for c in ("id", *more.pop("columns", ()))},
        **more,
    )


def refers(column: str, to: str, dangle: bool = True) -> Relation:
    return Relation(columns=(column,), to=to, may_dangle=dangle)


STORE = Store(
    id="db",
    kind="postgresql",
    connection="db",
    start_of_service=SERVICE,
    tenants="tenants",
    identities=("users",),
    contracts=Contracts(dataset="contracts", tenant=("tenant",), started="started_at", ended="ended_at"),
    tables={
        "tenants": entry("tenants", tenant=(), columns=("account",)),
        "users": entry("users", relations={"tenant": refers("tenant_id", "tenants")}, tenant=("tenant",), persons=((),)),
        "contracts": entry("contracts", relations={"tenant": refers("tenant_id", "tenants")}, tenant=("tenant",)),
        "threads": entry(
            "threads",
            relations={"tenant": refers("tenant_id", "tenants"), "opener": refers("user_id", "users")},
            tenant=("tenant",),
            persons=(("opener",),),
            columns=("opened_at",),
        ),
        "messages": entry(
            "messages", relations={"thread": refers("thread_id", "threads")}, tenant=("thread", "tenant"), persons=(("thread", "opener"),)
        ),
        "logs": entry(
            "logs",
            relations={
                "tenant": refers("tenant_id", "tenants"),
                "user": refers("user_id", "users"),
                "other": refers("other_user_id", "users"),
            },
            tenant=("tenant",),
            persons=(("user",), ("other",)),
            columns=("at", "naive", "day", "later", "flag", "kind", "number", "note"),
        ),
    },
)
SHIELD = ContractShield(through=("tenant", "contracts.tenant"), started="started_at", ended="ended_at")


def step(dataset: str, clock: Clock, **more: Any) -> Step:
    predicate = Predicate(**({"clock": clock, "cutoff": CUTOFF, "start_of_service": SERVICE, "as_of": AS_OF, "zone": PARIS} | more))
    return Step(id=f"rule/{dataset}", rule="rule", promise="p", dataset=dataset, store="db", predicate=predicate)


def with_clock(dataset: str, clock: Clock) -> Store:
    """The store, with this clock on this dataset: a step's clock is one of its catalog's."""
    changed = STORE.tables[dataset].model_copy(update={"clocks": {"c": clock}})
    return STORE.model_copy(update={"tables": {**STORE.tables, dataset: changed}})


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with made.begin() as connection:
        connection.execute(text(SCHEMA))
    yield made
    made.dispose()


def fill(engine: Engine, dataset: str, rows: list[dict[str, Any]]) -> None:
    with engine.begin() as connection:
        for row in rows:
            places = ", ".join(f":{c}" for c in row)
            connection.execute(text(f"INSERT INTO app.{dataset} ({', '.join(row)}) VALUES ({places})"), row)


def states(connection: Connection, s: Step, store: Store, holds: tuple[HoldScope, ...] = ()) -> dict[int, str]:
    """Each row's state by the single conditions that the purge and others use."""
    target = target_of(s, store, None, holds, (s,))
    row = target.row()
    dataset = s.dataset or ""
    conditions = {
        "due": due(row, s, store),
        "held": held(row, dataset, s, store),
        "held_too": held(row, dataset, s, store, holds),
        "null": quarantined_null(row, s, store),
        "future": quarantined_future(row, s, store),
        "early": quarantined_early(row, s, store),
    }
    found: dict[int, str] = {}
    for r in connection.execute(select(row.c.id, *(c.is_(true()).label(n) for n, c in conditions.items()))):
        assert not (r.due and (r.null or r.future or r.early))
        assert r.held == r.held_too
        found[r.id] = "held" if r.due and r.held else next((n for n in ("due", "null", "future", "early") if getattr(r, n)), "kept")
    return found


def judge(engine: Engine, s: Step, holds: tuple[HoldScope, ...] = ()) -> dict[int, str]:
    """The states of all rows; the counting query must say the same."""
    store = with_clock(s.dataset or "", s.predicate.clock)  # type: ignore[union-attr, arg-type]
    live = describe(engine, ["app"])
    with snapshot(engine, holds) as connection:
        found = states(connection, s, store, holds)
        counted = count(connection, s, store, live, holds, steps=(s,))
    values = list(found.values())
    expected = Counts(
        total=len(values),
        due=values.count("due") + values.count("held"),
        held=values.count("held"),
        quarantined_null=values.count("null"),
        quarantined_future=values.count("future"),
        quarantined_early=values.count("early"),
        oldest=counted.counts.oldest,
    )
    assert counted.counts == expected
    return found


TIMESTAMPTZ = [
    ("2025-11-22T22:59:59.999999Z", "due"),
    ("2025-11-22T23:00:00Z", "kept"),
    ("2026-11-23T01:00:00Z", "kept"),
    ("2026-11-23T01:00:00.000001Z", "future"),
    ("2015-01-01T00:00:00Z", "due"),
    ("2014-12-31T23:59:59.999999Z", "early"),
    ("1970-01-01T00:00:00Z", "early"),
    ("infinity", "future"),
    ("-infinity", "early"),
    (None, "null"),
]
NAIVE_IN_NEW_YORK = [
    ("2025-11-22 17:59:59.999999", "due"),
    ("2025-11-22 18:00:00", "kept"),
    ("2026-11-22 20:00:00", "kept"),
    ("2026-11-22 20:00:01", "future"),
    ("2014-12-31 19:00:00", "due"),
    ("2014-12-31 18:59:59", "early"),
    ("infinity", "future"),
    (None, "null"),
]
DATES = [
    ("2025-11-22", "due"),
    ("2025-11-23", "kept"),
    ("2026-11-23", "kept"),
    ("2026-11-24", "future"),
    ("2015-01-01", "due"),
    ("2014-12-31", "early"),
    ("-infinity", "early"),
    (None, "null"),
]


@pytest.mark.parametrize(
    ("clock", "cases"),
    [
        (Clock(column="at"), TIMESTAMPTZ),
        (Clock(column="naive", stored_as="timestamp", zone="America/New_York"), NAIVE_IN_NEW_YORK),
        (Clock(column="day", stored_as="date"), DATES),
        (Clock(column="at", null_means="not_started"), [*TIMESTAMPTZ[:-1], (None, "kept")]),
    ],
    ids=["timestamptz", "timestamp", "date", "not started"],
)
@pytest.mark.parametrize("session_zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_a_clock_in_the_row(database: str, engine: Engine, clock: Clock, cases: list[tuple[str | None, str]], session_zone: str) -> None:
    fill(engine, "logs", [{"id": n, clock.column or "": v} for n, (v, _) in enumerate(cases)])
    with engine.begin() as connection:
        name = connection.engine.url.database
        connection.execute(text(f"ALTER DATABASE \"{name}\" SET timezone = '{session_zone}'"))
    engine.dispose()
    assert judge(engine, step("logs", clock)) == {n: state for n, (_, state) in enumerate(cases)}


def test_the_latest_of_several_columns_counts_and_nulls_do_not_unless_all_are(engine: Engine) -> None:
    old, new, future = "2020-01-01", "2026-01-01", "2030-01-01"
    cases = [
        (old, old, "due"),
        (old, new, "kept"),
        (new, old, "kept"),
        (old, None, "due"),
        (None, new, "kept"),
        (None, None, "null"),
        (old, future, "future"),
    ]
    cases += [("1970-01-01", old, "due"), ("1970-01-01", None, "early")]
    fill(engine, "logs", [{"id": n, "at": a, "later": b} for n, (a, b, _) in enumerate(cases)])
    assert judge(engine, step("logs", Clock(latest_of=("at", "later")))) == {n: s for n, (_, _, s) in enumerate(cases)}


THREADS: list[tuple[list[str | None], str, str, str]] = [  # (messages, unknown, not started, unknown with otherwise)
    (["2020-01-01"], "due", "due", "due"),
    (["2020-01-01", "2021-01-01"], "due", "due", "due"),
    (["2020-01-01", "2026-01-01"], "kept", "kept", "kept"),
    (["2020-01-01", None], "null", "kept", "null"),
    (["2026-01-01", None], "null", "kept", "null"),
    ([], "null", "kept", "due"),
    (["2020-01-01", "2030-01-01"], "future", "future", "future"),
    (["1970-01-01", "2020-01-01"], "due", "due", "due"),
    (["1970-01-01"], "early", "early", "early"),
    (["infinity"], "future", "future", "future"),
]


@pytest.mark.parametrize(
    ("number", "more"),
    [(0, {}), (1, {"null_means": "not_started"}), (2, {"otherwise": "opened_at"})],
    ids=["unknown", "not started", "otherwise"],
)
def test_the_newest_of_a_rows_children_ages_it(engine: Engine, number: int, more: dict[str, Any]) -> None:
    fill(engine, "threads", [{"id": n, "opened_at": "2019-01-01"} for n in range(len(THREADS))])
    fill(engine, "messages", [{"id": n * 10 + i, "thread_id": n, "sent_at": m} for n, c in enumerate(THREADS) for i, m in enumerate(c[0])])
    found = judge(engine, step("threads", Clock(column="sent_at", through=("messages.thread",), **more)))
    assert found == {n: c[1:][number] for n, c in enumerate(THREADS)}


def test_children_age_together_by_the_newest_of_their_siblings(engine: Engine) -> None:
    fill(engine, "threads", [{"id": 1}, {"id": 2}])
    fill(
        engine,
        "messages",
        [{"id": i, "thread_id": t, "sent_at": s} for i, t, s in [(1, 1, "2020-01-01"), (2, 1, "2026-01-01"), (3, 2, "2020-01-01")]],
    )
    fill(engine, "messages", [{"id": 4, "thread_id": None, "sent_at": "2020-01-01"}])
    found = judge(engine, step("messages", Clock(column="sent_at", through=("thread", "messages.thread"))))
    assert found == {1: "kept", 2: "kept", 3: "due", 4: "null"}


def test_a_contracts_end_ages_what_hangs_on_its_tenant(engine: Engine) -> None:
    contracts: dict[int, list[str | None]] = {
        1: ["2020-01-01"],
        2: ["2020-01-01", None],
        3: [],
        4: ["2020-01-01", "2026-06-01"],
        5: ["2020-01-01", "2021-01-01"],
    }
    fill(engine, "tenants", [{"id": t} for t in contracts])
    fill(
        engine,
        "contracts",
        [{"id": t * 10 + i, "tenant_id": t, "ended_at": e} for t, ends in contracts.items() for i, e in enumerate(ends)],
    )
    fill(engine, "users", [{"id": t, "tenant_id": t} for t in contracts] + [{"id": 6, "tenant_id": None}])
    found = judge(engine, step("users", Clock(column="ended_at", through=("tenant", "contracts.tenant"), null_means="not_started")))
    assert found == {1: "due", 2: "kept", 3: "kept", 4: "kept", 5: "due", 6: "kept"}


def test_a_date_to_come_is_no_clock_that_cannot_be_believed_where_it_is_ordinary(engine: Engine) -> None:
    cases = {1: ("2020-01-01", "due"), 2: ("2026-11-23T01:00:00Z", "kept"), 3: ("2026-11-23T01:00:01Z", "kept"), 4: ("infinity", "kept")}
    fill(engine, "logs", [{"id": n, "at": at} for n, (at, _) in cases.items()] + [{"id": 5, "at": None}, {"id": 6, "at": "1970-01-01"}])
    found = judge(engine, step("logs", Clock(column="at", future_means="not_started")))
    assert found == {n: state for n, (_, state) in cases.items()} | {5: "null", 6: "early"}
    found = judge(engine, step("logs", Clock(column="at", future_means="not_started", null_means="not_started")))
    assert found == {n: state for n, (_, state) in cases.items()} | {5: "kept", 6: "early"}


def test_a_row_is_kept_while_its_tenant_has_a_row_that_needs_it(engine: Engine) -> None:
    fill(engine, "users", [{"id": n, "tenant_id": t} for n, t in [(1, 1), (2, 2), (3, 3), (4, None), (5, 1)]])
    fill(engine, "contracts", [{"id": t, "tenant_id": t, "ended_at": "2020-01-01"} for t in (1, 2, 3)])
    fill(engine, "tenants", [{"id": t} for t in (1, 2, 3)])
    fill(engine, "threads", [{"id": 1, "tenant_id": 1}, {"id": 2, "tenant_id": 1}, {"id": 3, "tenant_id": None}])
    fill(engine, "logs", [{"id": 1, "tenant_id": 2, "user_id": 9}])
    ended = Clock(column="ended_at", through=("tenant", "contracts.tenant"), null_means="not_started")
    threads, logs = (KeptFor(dataset=d, columns=("tenant_id",), own=("tenant_id",)) for d in ("threads", "logs"))
    assert judge(engine, step("users", ended, kept_for=(threads,))) == {1: "kept", 2: "due", 3: "due", 4: "kept", 5: "kept"}
    assert judge(engine, step("users", ended, kept_for=(threads, logs))) == {1: "kept", 2: "kept", 3: "due", 4: "kept", 5: "kept"}
    by_two = KeptFor(dataset="logs", columns=("tenant_id", "user_id"), own=("tenant_id", "id"))
    assert judge(engine, step("users", ended, kept_for=(by_two,)))[2] == "due"
    fill(engine, "logs", [{"id": 2, "tenant_id": 2, "user_id": 2}])
    assert judge(engine, step("users", ended, kept_for=(by_two,)))[2] == "kept"


def test_a_live_contract_keeps_the_row(engine: Engine) -> None:
    contracts: dict[int, list[str | None]] = {
        1: [None],
        2: ["2026-11-23T01:00:01Z"],
        3: ["2026-11-23T01:00:00Z"],
        4: [],
        5: ["2020-01-01", None],
    }
    fill(engine, "tenants", [{"id": t} for t in contracts])
    fill(
        engine,
        "contracts",
        [{"id": t * 10 + i, "tenant_id": t, "ended_at": e} for t, ends in contracts.items() for i, e in enumerate(ends)],
    )
    fill(engine, "logs", [{"id": t, "tenant_id": t, "at": "2020-01-01"} for t in contracts] + [{"id": 6, "at": "2020-01-01"}])
    assert judge(engine, step("logs", Clock(column="at"), shield=SHIELD)) == {1: "kept", 2: "kept", 3: "due", 4: "due", 5: "kept", 6: "due"}


def test_a_live_contract_keeps_itself_and_no_other(engine: Engine) -> None:
    fill(engine, "contracts", [{"id": 1, "ended_at": "2020-01-01"}, {"id": 2, "ended_at": None}, {"id": 3, "ended_at": "2026-06-01"}])
    own = ContractShield(through=(), started="started_at", ended="ended_at")
    assert judge(engine, step("contracts", Clock(column="ended_at", null_means="not_started"), shield=own)) == {
        1: "due",
        2: "kept",
        3: "kept",
    }


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (Condition(column="flag", is_="true"), {1}),
        (Condition(column="flag", is_="false"), {2}),
        (Condition(column="flag", is_="null"), {3}),
        (Condition(column="flag", is_="not_null"), {1, 2}),
        (Condition(column="kind", equals="notice"), {1}),
        (Condition(column="note", equals="it's"), {2}),
        (Condition(column="number", equals=3), {3}),
    ],
    ids=str,
)
def test_a_rule_touches_only_its_subset(engine: Engine, condition: Condition, wanted: set[int]) -> None:
    rows = [(1, True, "notice", 1, None), (2, False, "other", 2, "it's"), (3, None, None, 3, "x")]
    fill(engine, "logs", [{"id": i, "at": "2020-01-01", "flag": f, "kind": k, "number": n, "note": o} for i, f, k, n, o in rows])
    fill(engine, "logs", [{"id": i + 10, "at": None, "flag": f, "kind": k, "number": n, "note": o} for i, f, k, n, o in rows])
    found = judge(engine, step("logs", Clock(column="at"), subset=(condition,)))
    assert {i for i, s in found.items() if s == "due"} == wanted
    assert {i for i, s in found.items() if s == "null"} == {i + 10 for i in wanted}


OLD, OLDER = datetime(2021, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("holds", "kept"),
    [
        ((), set()),
        ((HoldScope(id=1, dataset="logs"),), {1, 2, 3, 4, 5, 6}),
        ((HoldScope(id=1, dataset="threads"),), set()),
        ((HoldScope(id=1, tenant="1"),), {1, 3}),
        ((HoldScope(id=1, tenant="9"),), {6}),  # a tenant that is gone itself
        ((HoldScope(id=1, person=("users", "7")),), {1, 2, 5}),  # by either of two ways to a person
        ((HoldScope(id=1, person=("leads", "7")),), set()),
        ((HoldScope(id=1, tenant="1", person=("users", "7")),), {1}),
        ((HoldScope(id=1, tenant="1"), HoldScope(id=2, person=("users", "7"))), {1, 2, 3, 5}),
        ((HoldScope(id=1, since=OLD),), {2, 4}),  # since counts itself
        ((HoldScope(id=1, until=OLD),), {1, 3, 5, 6}),  # until does not
        ((HoldScope(id=1, since=OLDER, until=OLD, tenant="1"),), {1, 3}),
        ((HoldScope(id=1, dataset="logs", since=OLD, person=("users", "7")),), {2}),
        ((HoldScope(id=1, dataset="threads", tenant="1"), HoldScope(id=2, dataset="logs", tenant="2")), {2}),
    ],
    ids=lambda v: "+".join(",".join(h.model_dump(exclude_none=True, exclude={"id"})) for h in v) if isinstance(v, tuple) else "",
)
def test_a_hold_outranks_expiry_and_keeps_only_its_scope(engine: Engine, holds: tuple[HoldScope, ...], kept: set[int]) -> None:
    rows = [
        (1, OLDER, 1, 7, None),
        (2, OLD, 2, None, 7),
        (3, OLDER, 1, 8, None),
        (4, OLD, None, None, None),
        (5, OLDER, None, 7, 7),
        (6, OLDER, 9, None, None),
    ]
    fill(engine, "tenants", [{"id": 1}, {"id": 2}])
    fill(engine, "users", [{"id": 7, "tenant_id": 1}, {"id": 8, "tenant_id": 1}])
    fill(engine, "logs", [{"id": i, "at": a, "tenant_id": t, "user_id": u, "other_user_id": o} for i, a, t, u, o in rows])
    found = judge(engine, step("logs", Clock(column="at")), holds)
    assert {i for i, s in found.items() if s == "held"} == kept
    assert {i for i, s in found.items() if s == "due"} == {1, 2, 3, 4, 5, 6} - kept


def test_a_hold_reaches_through_joins_and_to_the_row_itself(engine: Engine) -> None:
    fill(engine, "tenants", [{"id": 1}])
    fill(engine, "users", [{"id": 7, "tenant_id": 1}, {"id": 8, "tenant_id": None}])
    fill(engine, "threads", [{"id": 1, "tenant_id": 1, "user_id": 8}, {"id": 2, "tenant_id": 2, "user_id": 7}])
    fill(engine, "messages", [{"id": n, "thread_id": t, "sent_at": "2020-01-01"} for n, t in [(1, 1), (2, 2), (3, 3)]])
    messages = step("messages", Clock(column="sent_at"))
    assert judge(engine, messages, (HoldScope(id=1, tenant="2"),)) == {1: "due", 2: "held", 3: "due"}
    assert judge(engine, messages, (HoldScope(id=1, person=("users", "8")),)) == {1: "held", 2: "due", 3: "due"}
    fill(engine, "contracts", [{"id": 1, "tenant_id": 1, "ended_at": "2020-01-01"}])
    users = step("users", Clock(column="ended_at", through=("tenant", "contracts.tenant"), null_means="not_started"))
    assert judge(engine, users, (HoldScope(id=1, person=("users", "7")),)) == {7: "held", 8: "kept"}
    assert judge(engine, users, (HoldScope(id=1, person=("users", "8")),)) == {7: "due", 8: "kept"}


@pytest.mark.parametrize(
    ("since", "until", "kept"),
    [
        ("2021-01-01T22:59:59+00:00", None, {2, 1}),  # the last second of 1 January in Paris
        ("2021-01-01T23:00:00+00:00", None, {2}),
        (None, "2020-12-31T23:00:00+00:00", set()),  # the day begins there
        (None, "2020-12-31T23:00:01+00:00", {1}),
    ],
)
def test_a_hold_that_touches_a_day_holds_its_rows(engine: Engine, since: str | None, until: str | None, kept: set[int]) -> None:
    fill(engine, "logs", [{"id": 1, "day": "2021-01-01"}, {"id": 2, "day": "2021-01-02"}])
    bounds = {k: datetime.fromisoformat(v) for k, v in (("since", since), ("until", until)) if v}
    found = judge(engine, step("logs", Clock(column="day", stored_as="date")), (HoldScope(id=1, **bounds),))
    assert {i for i, s in found.items() if s == "held"} == kept


def test_the_clock_of_a_row_keeps_its_index(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO app.logs (id, at) SELECT g, timestamptz '2026-01-01' + g * interval '1 s' FROM generate_series(1, 20000) g")
        )
        connection.execute(text("INSERT INTO app.logs (id, at) VALUES (0, '2020-01-01')"))
        connection.execute(text("ANALYZE app.logs"))
    s = step("logs", Clock(column="at"))
    target = target_of(s, STORE, None, (), (s,))
    row = target.row()
    statement = select(row.c.id).where(due(row, s, STORE)).compile(engine, compile_kwargs={"render_postcompile": True})
    with engine.connect() as connection:
        plan = "\n".join(r[0] for r in connection.exec_driver_sql(f"EXPLAIN {statement}", statement.params))
    assert "Index" in plan
    assert "Seq Scan" not in plan
