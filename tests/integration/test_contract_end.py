"""Who is sorted when a contract ends, by the shipped policy on the demo's database: every case is decided by data, and by both readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, select, text

from demo.garden import GONE_TENANT, HOLD_TENANT, PAST_TENANT, RENEWED_TENANT, RETURNING_TENANT, TWICE_TENANT, Expect, Planted
from demo.generate import load
from demo.planted import planted
from demo.postgres import PostgresServer
from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.catalog.load import load_catalog
from lethe.connections import Connection as Login
from lethe.control.plans import save_plan
from lethe.plan.make import make_plan
from lethe.plan.model import HoldScope, Plan, Predicate, Step
from lethe.plan.order import groups
from lethe.policy.load import load_policies
from lethe.policy.model import Need
from lethe.policy.period import cutoff
from lethe.purge.context import Limits, PurgeContext
from lethe.purge.run import run_group
from lethe.stores.postgres.blocked import blocked_keys
from lethe.stores.postgres.count import count, snapshot, target_of
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.holds import load_holds
from lethe.stores.postgres.predicate import clock_value, due, held
from lethe.stores.postgres.tables import key_text
from lethe.verify.frames import Scene, frame
from lethe.verify.queries import age, left_over, verdict_frames
from lethe.verify.references import read_references
from lethe.verify.session import holds_setting
from lethe.verify.text import REL, TUP

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
SHIPPED = Path(__file__).parents[2] / "include" / "policies" / "spotrak"
POLICY = load_policies(SHIPPED).in_force(AS_OF)
CATALOG = load_catalog(SHIPPED / "catalog")
STORE = CATALOG.store("spotrak_db")
PLAN = make_plan(POLICY, CATALOG, as_of=AS_OF, met=frozenset({Need.ARCHIVE}))
ACTING = tuple(s for s in PLAN.steps if s.acts and s.store == STORE.id)
AT_THE_END = {"contracts/contracts", "contracts/tenants", "accounts/users", "leads-converted/leads"}
AGELESS = "SELECT count(*) FROM app.tenants t WHERE NOT EXISTS (SELECT FROM app.contracts c WHERE c.tenant_id = t.id)"
BUSINESS = ("clients", "appointments", "client_invoices", "attachments")


@dataclass(frozen=True)
class Seen:
    """The keys of a step's rows that are due, held (due and under a hold), and blocked (due, not held, and referred to by what stays)."""

    due: frozenset[str]
    held: frozenset[str]
    blocked: frozenset[str]

    @property
    def goes(self) -> frozenset[str]:
        return self.due - self.held - self.blocked


@pytest.fixture(scope="module")
def source(postgres: PostgresServer) -> Iterator[str]:
    """A database with the demo, small; its superuser's URL."""
    name = "contract_end"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    load(postgres.url(name), scale=0.01, as_of=AS_OF)
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def engine(source: str) -> Iterator[Engine]:
    made = create_engine(source.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    made.dispose()


@pytest.fixture
def rows(engine: Engine) -> Iterator[Connection]:
    """A connection to the source, whose changes are rolled back."""
    with engine.connect() as connection:
        load_holds(connection, ())
        connection.exec_driver_sql("SELECT set_config('lethe.holds', '[]', true), set_config('TimeZone', 'UTC', true)")
        yield connection
        connection.rollback()


def by_purge(connection: Connection, step: Step, holds: tuple[HoldScope, ...]) -> Seen:
    target = target_of(step, STORE, describe(connection.engine, ["app"]), holds, ACTING)
    row = target.row()
    key = key_text(row.c[k] for k in target.table.key)
    kept = held(row, target.dataset, step, STORE, holds)
    found = connection.execute(select(key, kept).select_from(row).where(due(row, step, STORE))).all()
    stuck = blocked_keys(target)
    mine = {k for k, is_held in found if not is_held}
    return Seen(
        due=frozenset(k for k, _ in found),
        held=frozenset(k for k, is_held in found if is_held),
        blocked=frozenset() if stuck is None else frozenset(connection.scalars(stuck)) & mine,
    )


def by_check(connection: Connection, step: Step, holds: tuple[HoldScope, ...]) -> Seen:
    scene = Scene(store=STORE, steps=ACTING, references=read_references(connection, STORE), holds=holds)
    table = STORE.tables[step.dataset or ""]
    columns = [f'd."{k}"' for k in table.key]
    key = f"CAST({columns[0] if len(columns) == 1 else 'ROW(' + ', '.join(columns) + ')'} AS text)"
    found = connection.exec_driver_sql(
        f"{verdict_frames(scene, step)} SELECT {key}, k.{REL} IS NOT NULL, s.{REL} IS NOT NULL FROM due0 AS d "
        f"LEFT JOIN kept0 AS k ON k.{TUP} = d.{TUP} AND k.{REL} = d.{REL} LEFT JOIN stays AS s ON s.{TUP} = d.{TUP} AND s.{REL} = d.{REL}"
    ).all()
    return Seen(
        due=frozenset(k for k, *_ in found),
        held=frozenset(k for k, is_held, _ in found if is_held),
        blocked=frozenset(k for k, is_held, stays in found if stays and not is_held),
    )


def look(connection: Connection, *steps: str, holds: tuple[HoldScope, ...] = ()) -> Mapping[str, Seen]:
    """What both readers say about these steps, or those at a contract's end: the same, or the test fails."""
    seen = {}
    for step_id in steps or sorted(AT_THE_END):
        step = PLAN.step(step_id)
        seen[step_id] = by_purge(connection, step, holds)
        assert seen[step_id] == by_check(connection, step, holds), step_id
    return seen


def change(connection: Connection, statement: str, **values: object) -> None:
    connection.execute(text(statement), values)


def of_tenant(connection: Connection, tenant: int) -> dict[str, set[str]]:
    """The keys of a tenant's rows, by step at the contract's end."""

    def keys(query: str) -> set[str]:
        return {str(k) for k in connection.scalars(text(query), {"t": tenant})}

    return {
        "contracts/contracts": keys("SELECT id FROM app.contracts WHERE tenant_id = :t"),
        "contracts/tenants": {str(tenant)},
        "accounts/users": keys("SELECT id FROM app.users WHERE tenant_id = :t"),
        "leads-converted/leads": keys("SELECT id FROM app.leads WHERE converted_tenant_id = :t"),
    }


def going(seen: Mapping[str, Seen], mine: dict[str, set[str]]) -> dict[str, bool]:
    """Do all of a tenant's rows go, by step? Never some of them."""
    found = {}
    for step, keys in mine.items():
        goes = keys & seen[step].goes
        assert goes in (set(), keys), f"{step}: a part of a tenant goes"
        if keys:
            found[step] = bool(goes)
    return found


EXPECTED = [p for p in planted(AS_OF) if p.expect is not Expect.SUPPORT]


def test_every_planted_row_is_sorted_as_the_manifest_says_by_both_readers(rows: Connection) -> None:
    tables = {t.table: i for i, t in STORE.tables.items()}
    by_table: dict[str, list[Planted]] = {}
    for planted_row in EXPECTED:
        by_table.setdefault(planted_row.table, []).append(planted_row)
    for table, its in by_table.items():
        steps = [s for s in ACTING if s.dataset == tables[table]]
        seen = look(rows, *(s.id for s in steps)) if steps else {}
        goes = frozenset[str]().union(*(s.goes for s in seen.values()))
        stuck = frozenset[str]().union(*(s.blocked for s in seen.values()))
        archived = frozenset[str]().union(*(seen[s.id].goes - too_old(rows, s) for s in steps if s.archive))
        for row in its:
            key = key_of(rows, row)
            said = {Expect.DUE: key in goes - archived, Expect.ARCHIVED: key in archived, Expect.BLOCKED: key in stuck - goes}
            assert said.get(row.expect, key not in goes | stuck), f"{table} {row.key} is {row.expect}: {row.why}"


def key_of(connection: Connection, row: Planted) -> str:
    """A planted row's key as the readers print it."""
    if len(row.key) == 1:
        return str(row.key[0])
    columns = STORE.tables[row.table].key
    where = " AND ".join(f"{c} = :{c}" for c in columns)
    query = text(f"SELECT CAST(ROW({', '.join(columns)}) AS text) FROM app.{row.table} WHERE {where}")
    return str(connection.scalar(query, dict(zip(columns, row.key, strict=True))))


def too_old(connection: Connection, step: Step) -> frozenset[str]:
    """The due rows of an archiving step whose period in the archive is over, so that they are deleted and not archived."""
    assert step.archive is not None
    row = target_of(step, STORE, None, (), ACTING).row()
    day = cutoff(AS_OF, step.archive.period, PARIS)
    clock = clock_value(row, step, STORE)
    limit = day if step.dataset != "billing_invoices" else day.astimezone(PARIS).date()
    return frozenset(str(k) for k in connection.scalars(select(row.c.id).where(due(row, step, STORE), clock < limit)))


@pytest.mark.parametrize("end", [None, "as_of"], ids=["taken back", "moved to a day to come"])
def test_an_end_that_is_corrected_keeps_everything_again(rows: Connection, end: str | None) -> None:
    mine, neighbour = of_tenant(rows, GONE_TENANT), of_tenant(rows, TWICE_TENANT)
    before = look(rows)
    assert all(going(before, mine).values()) and all(going(before, neighbour).values())
    to = AS_OF + timedelta(days=1) if end else None
    change(rows, "UPDATE app.contracts SET ended_at = :to WHERE tenant_id = :t", to=to, t=GONE_TENANT)
    after = look(rows)
    assert not any(going(after, mine).values())
    assert all(going(after, neighbour).values())


def test_a_renewal_on_the_next_day_keeps_the_old_contract_too(rows: Connection) -> None:
    mine = of_tenant(rows, GONE_TENANT)
    change(
        rows,
        "INSERT INTO app.contracts (tenant_id, number, plan, monthly_cents, started_at) "
        "SELECT tenant_id, 'next', plan, monthly_cents, ended_at + interval '1 day' FROM app.contracts WHERE tenant_id = :t",
        t=GONE_TENANT,
    )
    assert not any(going(look(rows), mine).values())
    assert not any(going(look(rows), of_tenant(rows, RENEWED_TENANT)).values())


def test_several_ended_contracts_age_by_the_newest_end_in_local_days(rows: Connection) -> None:
    mine = of_tenant(rows, TWICE_TENANT)
    for end, goes in ((datetime(2026, 11, 23, 23, tzinfo=PARIS), True), (datetime(2026, 11, 24, 0, tzinfo=PARIS), False)):
        change(
            rows,
            "UPDATE app.contracts SET ended_at = :to WHERE id = (SELECT max(id) FROM app.contracts WHERE tenant_id = :t)",
            to=end,
            t=TWICE_TENANT,
        )
        assert set(going(look(rows), mine).values()) == {goes}


@pytest.mark.parametrize("dataset", BUSINESS)
def test_one_row_of_business_data_keeps_tenant_contract_and_logins(rows: Connection, dataset: str) -> None:
    mine = of_tenant(rows, GONE_TENANT)
    values = {
        "clients": "(tenant_id) VALUES (:t)",
        "appointments": "(tenant_id, title) VALUES (:t, 'x')",
        "client_invoices": "(tenant_id, client_id, number, billed_name, net_cents, vat_cents, lines) "
        "SELECT :t, min(id), 'x', 'x', 1, 1, '[]' FROM app.clients",
        "attachments": "(tenant_id, file_name, content_type, size_bytes, sha256, object_key) VALUES (:t, 'x', 'x', 1, 'x', 'x')",
    }
    change(rows, f"INSERT INTO app.{dataset} {values[dataset]}", t=GONE_TENANT)
    seen = look(rows)
    assert mine["accounts/users"].isdisjoint(seen["accounts/users"].due), "its logins are needed"
    assert mine["contracts/tenants"] <= seen["contracts/tenants"].blocked
    assert mine["contracts/contracts"] <= seen["contracts/contracts"].blocked
    assert mine["leads-converted/leads"] <= seen["leads-converted/leads"].goes
    change(rows, f"DELETE FROM app.{dataset} WHERE tenant_id = :t", t=GONE_TENANT)
    assert all(going(look(rows), mine).values()), "nothing keeps them any more"


def test_what_waits_for_a_return_is_counted_and_acts_not(engine: Engine) -> None:
    waiting = [s for s in PLAN.steps if s.rule in {"business-data", "accounts-for-retrieval"} and s.store == STORE.id]
    assert {s.dataset for s in waiting} == {*BUSINESS, "appointment_clients", "users"}
    live = describe(engine, ["app"])
    with snapshot(engine) as connection:
        for step in waiting:
            assert not step.acts and step.waiting_for == ("return_record",)
            found = count(connection, step, STORE, live, steps=PLAN.steps).counts
            scene = Scene(store=STORE, steps=(*ACTING, step), references=read_references(connection, STORE))
            assert found.due == connection.exec_driver_sql(left_over(scene, step)).mappings().one()["due"]
            assert found.due > 0, step.id


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO app.support_threads (tenant_id, subject, status, opened_at) VALUES (:t, 'x', 'closed', :young)",
        "INSERT INTO app.billing_invoices (tenant_id, number, billed_name, net_cents, vat_cents, lines) VALUES (:t, 'x', 'x', 1, 1, '[]')",
        "INSERT INTO app.consents (visitor_id, user_id, purpose, granted, text_version, chosen_at) "
        "VALUES (gen_random_uuid(), :t, 'x', true, 'v', :young)",
    ],
    ids=["a young thread", "an invoice of a year not closed", "a consent of a login"],
)
def test_a_row_that_stays_keeps_its_tenant_and_so_the_contracts_by_which_others_age(rows: Connection, statement: str) -> None:
    mine = of_tenant(rows, GONE_TENANT)
    change(rows, statement, t=GONE_TENANT, young=AS_OF - timedelta(days=30))
    seen = look(rows)
    assert mine["contracts/tenants"] <= seen["contracts/tenants"].blocked
    assert mine["contracts/contracts"] <= seen["contracts/contracts"].blocked, "the contract must outlive its tenant"
    assert all(going(seen, of_tenant(rows, TWICE_TENANT)).values())


@pytest.mark.parametrize(
    "hold",
    [HoldScope(id=1, dataset="users", person=("users", str(HOLD_TENANT))), HoldScope(id=1, tenant=str(HOLD_TENANT))],
    ids=["owner", "tenant"],
)
def test_a_held_owner_keeps_her_tenant_and_its_contract(rows: Connection, hold: HoldScope) -> None:
    mine = of_tenant(rows, HOLD_TENANT)
    assert all(going(look(rows), mine).values())
    load_holds(rows, (hold,))
    rows.execute(text("SELECT set_config('lethe.holds', :h, true)"), {"h": holds_setting((hold,))})
    seen = look(rows, holds=(hold,))
    assert not any(going(seen, mine).values())
    assert mine["accounts/users"] <= seen["accounts/users"].held
    assert all(going(seen, of_tenant(rows, GONE_TENANT)).values())


def test_usage_of_an_ended_contract_goes_while_it_is_young_and_that_of_a_living_one_stays(rows: Connection) -> None:
    for dataset in ("user_actions", "page_views"):
        step = f"usage-events-after-contract/{dataset}"
        found = look(rows, step)[step].goes
        mine = rows.scalars(
            text(
                f"SELECT CAST({'ROW(id, occurred_at)' if dataset == 'page_views' else 'id'} AS text) FROM app.{dataset} WHERE tenant_id = :t"
            ),
            {"t": GONE_TENANT},
        ).all()
        assert mine and found == set(mine)


def test_a_date_to_come_is_no_finding_at_a_contracts_end_and_a_date_before_the_service_is(rows: Connection) -> None:
    step = PLAN.step("contracts/contracts")
    scene = Scene(store=STORE, steps=ACTING, references=read_references(rows, STORE))
    before, _ = rows.exec_driver_sql(age(scene, step)).one()
    live = describe(rows.engine, ["app"])
    first = count(rows, step, STORE, live, steps=PLAN.steps).counts
    assert first.quarantined == before == 1 == first.quarantined_early
    change(rows, "UPDATE app.contracts SET ended_at = :to WHERE tenant_id = :t", to=AS_OF + timedelta(days=9), t=GONE_TENANT)
    change(rows, "UPDATE app.contracts SET ended_at = '1970-01-01' WHERE tenant_id = :t", t=PAST_TENANT)
    after, _ = rows.exec_driver_sql(age(scene, step)).one()
    found = count(rows, step, STORE, live, steps=PLAN.steps).counts
    assert found.quarantined == after == 2 == found.quarantined_early
    assert (found.total, found.due) == (first.total, first.due - 2)


def test_every_count_of_the_plan_is_the_checks_too(engine: Engine) -> None:
    live = describe(engine, ["app"])
    with snapshot(engine) as connection:
        references = read_references(connection, STORE)
        for step in PLAN.steps:
            if step.store != STORE.id or not isinstance(step.predicate, Predicate):
                continue
            steps = (*(s for s in ACTING if s.id != step.id), step)
            scene = Scene(store=STORE, steps=steps, references=references)
            found = count(connection, step, STORE, live, steps=PLAN.steps).counts
            said = connection.exec_driver_sql(left_over(scene, step)).mappings().one()
            assert (found.due, found.held, found.blocked) == (said["due"], said["held"], said["blocked"]), step.id
            quarantined, oldest = connection.exec_driver_sql(age(scene, step)).one()
            assert (found.quarantined, found.oldest) == (quarantined, oldest), step.id


def test_ended_tenants_of_the_demo_go_whole_and_not_by_parts(rows: Connection) -> None:
    seen = look(rows)
    whole = {t for t in seen["contracts/tenants"].goes if int(t) > 1000}
    assert whole, "the demo archives nothing of its own"
    for tenant in sorted(whole):
        assert all(going(seen, of_tenant(rows, int(tenant))).values()), tenant


def test_the_frame_of_logins_asks_the_index_of_each_table_that_needs_them() -> None:
    step = PLAN.step("accounts/users")
    assert isinstance(step.predicate, Predicate)
    assert [k.dataset for k in step.predicate.kept_for] == list(BUSINESS)
    query = frame(Scene(store=STORE, steps=ACTING), step)
    assert all(f'FROM "app"."{t}" AS f WHERE f."tenant_id" = w."tenant_id" LIMIT 1' in query for t in BUSINESS)


def test_a_purge_takes_tenants_logins_and_contracts_together_or_not_at_all(
    postgres: PostgresServer, source: str, engine: Engine, control: ControlDatabase
) -> None:
    """Deleting only, in a copy of the database: what goes to the archive is no matter of who is sorted."""
    copy = "contract_end_copy"
    engine.dispose()
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE contract_end")
    other = create_engine(postgres.url(copy).replace("postgresql://", "postgresql+psycopg://"))
    try:
        bare = Plan.model_validate(PLAN.model_dump() | {"steps": [s.model_copy(update={"archive": None}).model_dump() for s in PLAN.steps]})
        with other.connect() as connection:
            load_holds(connection, ())
            connection.exec_driver_sql("SELECT set_config('lethe.holds', '[]', false)")
            seen = look(connection)
            gone = {s: set(seen[s].goes) for s in AT_THE_END}
            never_signed = connection.scalar(text(AGELESS))
            staying = {t: of_tenant(connection, t) for t in (RENEWED_TENANT, RETURNING_TENANT)}
        with control.runtime.begin() as connection:
            save_plan(connection, bare)
        logins = {"spotrak_db": "lethe_purger", "spotrak_db_check": "lethe_checker", "spotrak_db_maintenance": "lethe_keeper"}

        def login(name: str) -> Login:
            return Login(id=name, kind="postgres", host="127.0.0.1", port=postgres.port, login=logins[name], database=copy)

        ctx = PurgeContext(
            plan=bare, attempt=1, catalog=CATALOG, connections=login, control=control.runtime, limits=Limits(), digest_key=DIGEST_KEY
        )
        acting = [s for s in bare.steps if s.acts]
        live = {STORE.id: describe(other, ["app"])}
        group = next(g for g in groups(acting, CATALOG, live) if "contracts/tenants" in g)
        assert set(group) >= AT_THE_END | {"usage-events-after-contract/user_actions"}
        ran = run_group([bare.step(s) for s in group], ctx)
        totals = {t.step: t.deleted for t in ran}
        for step in ("contracts/contracts", "contracts/tenants", "leads-converted/leads"):
            assert totals[step] == len(gone[step]), step
        with other.connect() as connection:
            for step, keys in gone.items():
                table = STORE.tables[PLAN.step(step).dataset or ""].table
                left = connection.scalar(text(f"SELECT count(*) FROM app.{table} WHERE id = ANY(:k)"), {"k": [int(k) for k in keys]})
                assert left == 0, step
            for tenant, mine in staying.items():
                assert of_tenant(connection, tenant) == mine, tenant
            assert connection.scalar(text(AGELESS)) == never_signed, "a tenant outlived the contract by which it ages"
    finally:
        other.dispose()
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")
