"""One whole night of the shipped policy on the demo's data, with an archive that locks: who is archived, with what, and who stays."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from demo import buckets
from demo.ceph import CephGateway
from demo.garden import Expect, Planted
from demo.generate import TABLES, load
from demo.load import attachment_keys, object_store
from demo.objects import ObjectServer
from demo.planted import planted
from demo.postgres import PostgresServer, free_port
from helpers.archiving import Archive, archive_on
from helpers.control import DIGEST_KEY, ControlDatabase, control_database
from helpers.memory import MEMORY
from lethe.control.holds import add_hold
from lethe.control.maintenance import AIRFLOW_CLEAN, record_success
from lethe.control.results import Verified, load_results
from lethe.instants import now
from lethe.retention import PlannedRun, decide_run, guard_run, plan_run, purge_run_group, record_run, verify_run
from lethe.settings import SHIPPED
from lethe.workspace import Workspace

pytestmark = [pytest.mark.ceph, pytest.mark.slow]

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
PLANTED = planted(AS_OF)
BUSINESS = ("clients", "appointments", "appointment_clients", "client_invoices", "attachments")
ARCHIVED = {
    "contracts": [
        "id",
        "tenant_id",
        "number",
        "signatory_name",
        "signatory_email",
        "plan",
        "monthly_cents",
        "started_at",
        "ended_at",
        "service_ended_at",
    ],
    "tenants": ["id", "legal_name", "siren", "vat_number", "address", "postcode", "city", "created_at"],
    "billing_invoices": [
        "id",
        "tenant_id",
        "contract_id",
        "number",
        "billed_name",
        "billed_address",
        "currency",
        "net_cents",
        "vat_cents",
        "lines",
        "issued_at",
        "paid_at",
        "financial_year_closed_on",
    ],
}
"""What a law needs of each dataset, written apart from the policy; each is called like its table, and has its key first."""
LETHES = {"_lethe_clock", "_lethe_tenant", "_lethe_persons", "_lethe_key"}
ENDED_WITHOUT_DATA = " AND ".join(
    [
        "SELECT min(t.id) FROM app.tenants t WHERE t.id > 1000",
        "(SELECT bool_and(c.ended_at < now()) FROM app.contracts c WHERE c.tenant_id = t.id)",
        *(f"NOT EXISTS (SELECT FROM app.{b} b WHERE b.tenant_id = t.id)" for b in BUSINESS if b != "appointment_clients"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a night left: its plan, the check's verdict by step, the rows of each table (as text, by key), the archived rows of each dataset,
    the keys of the archive, and the keys of tenants' files."""

    planned: PlannedRun
    results: Mapping[str, Verified]
    after: Mapping[str, Mapping[str, str]]
    archived: Mapping[str, list[dict[str, Any]]]
    keys: list[str]
    files: list[str]


@dataclass(frozen=True, kw_only=True)
class House:
    """Spotrak's database and buckets, Lethe's database, and the archive; `held` is a tenant under a hold."""

    source: str
    objects: ObjectServer
    control: ControlDatabase
    archive: Archive
    held: int
    before: dict[str, dict[str, str]] = field(default_factory=dict)
    kept: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    files_before: list[str] = field(default_factory=list)

    def rows(self) -> dict[str, dict[str, str]]:
        """Every row of every table, by its key."""
        with psycopg.connect(self.source) as connection:
            connection.execute("SET timezone = 'UTC'")
            return {t.name: _rows(connection, t.name) for t in TABLES}

    def files(self) -> list[str]:
        """The keys of tenants' files."""
        s3 = buckets.client(object_store(self.objects.endpoint))
        return sorted(o["Key"] for o in s3.list_objects_v2(Bucket=buckets.FILES).get("Contents", []))

    def night(self, as_of: datetime) -> Night:
        """The library's way through a night; a plan that waits is approved by a named person."""
        with Workspace.open() as workspace:
            planned = plan_run(workspace, as_of=as_of, dry_run=False)
            run = (planned.digest, planned.attempt)
            if guard_run(workspace, *run).waits:
                assert decide_run(workspace, *run, approved=True, by="approver", at=now())
            for group in planned.groups:
                purge_run_group(workspace, *run, group.steps)
            verify_run(workspace, *run)
            record_run(workspace, *run)
            with workspace.control.connect() as control:
                results = load_results(control, *run)
        archived = {d: self.archive.rows(d).to_pylist() for d in ARCHIVED}
        return Night(planned=planned, results=results, after=self.rows(), archived=archived, keys=self.archive.keys(), files=self.files())


def _rows(connection: psycopg.Connection, table: str) -> dict[str, str]:
    key = "(t.appointment_id, t.client_id)::text" if table == "appointment_clients" else "t.id::text"
    query = sql.SQL("SELECT {}, t::text FROM {} t").format(sql.SQL(key), sql.Identifier("app", table))
    return dict(connection.execute(query).fetchall())


def key_of(row: Planted) -> str:
    """A planted row's key as `House.rows` has it."""
    return f"({row.key[0]},{row.key[1]})" if row.table == "appointment_clients" else str(row.key[0])


@pytest.fixture(scope="module")
def house(postgres: PostgresServer, ceph: CephGateway) -> Iterator[House]:
    """The demo, small, with the shipped policy in force over it; the archive's bucket has object lock."""
    names = ("shipped_source", "shipped_lethe")
    with tempfile.TemporaryDirectory(prefix="lethe-shipped-", dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        objects = ObjectServer(folder=Path(folder), port=free_port())
        objects.start()
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        source, archive = postgres.url(names[0]), archive_on(ceph.endpoint, ceph.new_user())
        load(source, scale=0.003, as_of=AS_OF)
        s3 = buckets.client(object_store(objects.endpoint))
        buckets.fill(s3, as_of=AS_OF, files=attachment_keys(source))
        buckets.ensure_lethe(s3)
        buckets.ensure_requests(s3)
        _environment(patch, postgres, objects, archive, Path(folder))
        with control_database(postgres, postgres.url(names[1])) as control, psycopg.connect(source) as connection:
            (held,) = connection.execute(ENDED_WITHOUT_DATA).fetchone() or (None,)
            assert held is not None, "the demo has no tenant of its own that goes whole"
            made = House(source=source, objects=objects, control=control, archive=archive, held=held)
            _before(made, connection)
            yield made
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        objects.stop()


def _environment(patch: pytest.MonkeyPatch, postgres: PostgresServer, objects: ObjectServer, archive: Archive, folder: Path) -> None:
    roles = {"spotrak_db": "lethe_purger", "spotrak_db_check": "lethe_checker", "spotrak_db_maintenance": "lethe_keeper"}
    for name, role in roles.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", postgres.url("shipped_source", user=role))
    for name, role in {"lethe_db": "lethe_runtime", "lethe_approver": "lethe_approver"}.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", postgres.url("shipped_lethe", user=role))
    seen = archive.connection
    stores = {
        "spotrak_s3": {"login": "demo", "password": "demo", "extra": {"endpoint_url": objects.endpoint}},
        "requests_s3": {"login": "demo", "password": "demo", "extra": {"endpoint_url": objects.endpoint}},
        "lethe_s3": {"login": "demo", "password": "demo", "extra": {"endpoint_url": objects.endpoint, "bucket": buckets.LETHE}},
        "archive_s3": {"login": seen.login, "password": seen.password, "extra": seen.extra},
    }
    for name, given in stores.items():
        patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": "aws", **given}))
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    patch.setenv("LETHE_POLICY_DIR", str(SHIPPED))
    patch.setenv("LETHE_REPORTS_DIR", str(folder / "reports"))


def _before(made: House, connection: psycopg.Connection) -> None:
    """Keeps what is there before the first night, and holds one tenant."""
    made.before.update(made.rows())
    made.files_before.extend(made.files())
    for dataset, columns in ARCHIVED.items():
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("app", dataset))
        made.kept[dataset] = {row[0]: dict(zip(columns, row, strict=True)) for row in connection.execute(query)}
    with Workspace.open() as workspace, made.control.runtime.begin() as control:
        add_hold(
            control,
            catalog=workspace.catalog,
            reason="litigation",
            owner="legal",
            starts_on=AS_OF.date(),
            review_on=date(2099, 1, 1),
            digest_key=DIGEST_KEY,
            tenant=str(made.held),
        )
        record_success(control, AIRFLOW_CLEAN, now())


@pytest.fixture(scope="module")
def night(house: House) -> Night:
    return house.night(AS_OF)


def test_every_step_of_the_night_is_clean(night: Night) -> None:
    assert {r.outcome for r in night.results.values()} == {"clean"}
    assert {f"{r}/{d}" for r, d in (("contracts", "contracts"), ("contracts", "tenants"), ("billing-invoices", "billing_invoices"))} == {
        s.id for s in night.planned.plan.steps if s.archive is not None
    }


@pytest.mark.parametrize("dataset", ARCHIVED)
def test_a_planted_row_that_a_law_needs_lies_in_the_archive_once_with_the_law_s_columns_alone(
    house: House, night: Night, dataset: str
) -> None:
    planted_keys = {p.key[0] for p in PLANTED if p.table == dataset and p.expect is Expect.ARCHIVED}
    rows = night.archived[dataset]
    found = Counter(row["id"] for row in rows)
    assert planted_keys and {found[k] for k in planted_keys} == {1}
    assert set(found.values()) == {1}, "no row of anybody lies there twice"
    assert {str(k) for k in found}.isdisjoint(night.after[dataset]), "what is archived is gone from the table"
    for row in rows:
        assert set(row) - LETHES == set(ARCHIVED[dataset])
        assert plain(row) == plain(house.kept[dataset][row["id"]])
    not_archived = {p.key[0] for p in PLANTED if p.table == dataset and p.expect not in (Expect.ARCHIVED, Expect.SUPPORT)}
    assert not_archived and not_archived.isdisjoint(found)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of kept columns, JSON as what it says."""
    return {c: json.loads(v) if c == "lines" and isinstance(v, str) else v for c, v in row.items() if c not in LETHES}


def test_every_planted_row_goes_or_stays_as_the_manifest_says(house: House, night: Night) -> None:
    for row in (p for p in PLANTED if p.expect is not Expect.SUPPORT):
        after = night.after[row.table].get(key_of(row))
        if row.expect in (Expect.DUE, Expect.ARCHIVED):
            assert after is None, f"{row.table} {row.key}: {row.why}"
        else:
            assert after == house.before[row.table][key_of(row)], f"{row.table} {row.key} is {row.expect}: {row.why}"
    assert {p.table for p in PLANTED if p.expect is Expect.NEEDED} == {"users"}
    assert {p.table for p in PLANTED if p.expect is Expect.WAITS} == {*BUSINESS, "users"}


@pytest.mark.parametrize("table", BUSINESS)
def test_what_tenants_store_is_untouched(house: House, night: Night, table: str) -> None:
    assert night.after[table] == house.before[table] != {}


def test_files_of_tenants_are_untouched(house: House, night: Night) -> None:
    assert night.files == house.files_before != []


@pytest.mark.parametrize("dataset", ["contracts", "tenants"])
def test_what_came_in_at_a_contract_s_end_is_archived_deleted_held_or_blocked(house: House, night: Night, dataset: str) -> None:
    terms = {term: n or 0 for term, n in night.results[f"contracts/{dataset}"].terms.items()}
    gone = set(house.before[dataset]) - set(night.after[dataset])
    archived = {str(row["id"]) for row in night.archived[dataset]}
    only_deleted = gone - archived
    assert archived <= gone
    assert terms["planned"] == len(archived) + len(only_deleted) + terms["held"] + terms["blocked"]
    assert min(len(archived), len(only_deleted), terms["held"], terms["blocked"]) > 0, "each way is taken"
    mine = {key for key, row in house.before[dataset].items() if str(house.held) == (key if dataset == "tenants" else row.split(",")[1])}
    assert mine and mine <= set(night.after[dataset]), "the held tenant stays"


def test_no_step_ever_archives_an_invoice_of_a_tenant(house: House, night: Night) -> None:
    steps = [s for s in night.planned.plan.steps if s.dataset == "client_invoices"]
    assert steps and all(s.archive is None and not s.acts for s in steps)
    with house.control.superuser.connect() as control:
        kept = set(control.exec_driver_sql("SELECT DISTINCT dataset FROM lethe.archive_objects").scalars())
    assert kept == set(ARCHIVED)
    assert {k.partition("/")[0] for k in night.keys} == {f"dataset={d}" for d in ARCHIVED}


def test_the_logins_of_tenants_with_data_stay_but_for_those_that_were_removed(house: House, night: Night) -> None:
    data = " OR ".join(f"EXISTS (SELECT FROM app.{b} b WHERE b.tenant_id = u.tenant_id)" for b in BUSINESS if b != "appointment_clients")
    with psycopg.connect(house.source) as connection:
        retrieving = {str(t) for (t,) in connection.execute(f"SELECT DISTINCT tenant_id FROM app.users u WHERE {data}")}  # type: ignore[arg-type]
    logins = {key for key, row in house.before["users"].items() if row.split(",")[1] in retrieving and row.endswith(",)")}  # never removed
    assert logins <= set(night.after["users"])
    assert {str(p.key[0]) for p in PLANTED if p.expect is Expect.NEEDED} <= logins


def test_every_object_is_sealed_and_locked_until_its_rows_expire(house: House, night: Night) -> None:
    with house.control.superuser.connect() as control:
        found = control.exec_driver_sql("SELECT key, version, state, expires_at FROM lethe.archive_objects").all()
    assert {state for _, _, state, _ in found} == {"sealed"}
    for key, version, _, expires in found:
        assert house.archive.bucket.lock_until(key, version) == expires


def test_a_second_night_does_nothing(house: House, night: Night) -> None:
    again = house.night(AS_OF + timedelta(minutes=5))
    assert {r.outcome for r in again.results.values()} == {"clean"}
    assert {step: r.terms["deleted"] for step, r in again.results.items() if r.terms["deleted"]} == {}
    assert again.after == night.after
    assert (again.keys, again.archived, again.files) == (night.keys, night.archived, night.files)
