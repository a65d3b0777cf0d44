"""`lethe check` against a live database: the shipped catalog is clean, and every kind of drift is found by name."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import psycopg
import pytest

from demo.buckets import REQUESTS, ensure_bucket
from demo.objects import ObjectServer
from helpers.control import engine
from lethe.catalog.drift import drift
from lethe.catalog.load import load_catalog
from lethe.catalog.model import Catalog, Exemption, Store
from lethe.check import Checked, check
from lethe.connections import Connection
from lethe.errors import InvalidFile, Unreachable
from lethe.processors.check import REGISTER_KINDS
from lethe.settings import SHIPPED
from lethe.stores.postgres.describe import describe
from lethe.stores.s3.client import client
from lethe.workspace import Workspace

SCHEMA = Path(__file__).resolve().parents[2] / "include" / "demo" / "schema.sql"
ON = date(2026, 11, 24)


@pytest.fixture
def spotrak(database: str) -> str:
    """Spotrak's schema, empty, with one partition."""
    with psycopg.connect(database) as connection:
        connection.execute(SCHEMA.read_text())  # type: ignore[arg-type]
        connection.execute(
            "CREATE TABLE app.page_views_2026_01 PARTITION OF app.page_views FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"
        )
    return database


def store() -> Store:
    return load_catalog(SHIPPED / "catalog").store("spotrak_db")


def found(url: str, catalog: Store | None = None) -> list[tuple[str, str]]:
    return [(f.kind, f.where) for f in drift(catalog or store(), describe(engine(url)))]


def test_the_shipped_catalog_is_the_demo_s_schema_both_ways(spotrak: str) -> None:
    assert found(spotrak) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("CREATE TABLE app.newsletter (id int, email text)", ("table not mapped", "app.newsletter")),
        ("CREATE SCHEMA other CREATE TABLE kept (id int)", ("table not mapped", "other.kept")),
        ("CREATE MATERIALIZED VIEW app.m AS SELECT email FROM app.users", ("table not mapped", "app.m")),
        ("ALTER TABLE app.users ADD COLUMN nickname text", ("column not mapped", "users.nickname")),
        ("ALTER TABLE app.users DROP COLUMN phone", ("column not in database", "users.phone")),
        ("ALTER TABLE app.email_log RENAME TO mails", ("table not in database", "email_log")),
        ("DROP INDEX app.technical_logs_occurred_at_idx", ("clock without index", "technical_logs clock event")),
        ("DROP INDEX app.page_views_occurred_at_idx", ("clock without index", "page_views clock event")),
        ("DROP INDEX app.leads_created_at_idx", ("clock without index", "leads clock last_contact")),
        ("DROP INDEX app.support_messages_thread_id_sent_at_idx", ("path without index", "support_threads clock last_message")),
        ("ALTER TABLE app.email_log ALTER sent_at TYPE timestamp", ("kind of clock", "email_log clock sent")),
        ("ALTER TABLE app.email_log DROP CONSTRAINT email_log_pkey", ("key is not unique", "email_log")),
        ("ALTER TABLE app.email_log ADD FOREIGN KEY (lead_id) REFERENCES app.leads (id)", None),
        ("ALTER TABLE app.leads ADD FOREIGN KEY (id) REFERENCES app.users", ("relation not mapped", "leads")),
        ("CREATE VIEW app.v AS SELECT email FROM app.users", None),
    ],
)
def test_drift_is_found_by_name(spotrak: str, change: str, expected: tuple[str, str] | None) -> None:
    with psycopg.connect(spotrak) as connection:
        connection.execute(change)  # type: ignore[arg-type]
    said = found(spotrak)
    assert (expected in said) if expected else (said == [])


def test_an_index_that_is_not_valid_is_none(spotrak: str) -> None:
    with psycopg.connect(spotrak) as connection:
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.technical_logs_occurred_at_idx'::regclass")
    assert ("clock without index", "technical_logs clock event") in found(spotrak)


def test_a_partial_index_over_every_value_of_the_clock_serves(spotrak: str) -> None:
    with psycopg.connect(spotrak) as connection:
        connection.execute("DROP INDEX app.users_removed_at_idx")
        connection.execute("CREATE INDEX ON app.users (removed_at) WHERE removed_at IS NOT NULL")
    assert found(spotrak) == []


def test_an_exemption_silences_a_table_and_one_of_nothing_is_told(spotrak: str) -> None:
    with psycopg.connect(spotrak) as connection:
        connection.execute("CREATE TABLE app.flags (id int)")
    exempt = tuple(Exemption(name=n, reason="r", owner="o", until=ON) for n in ("app.flags", "app.gone"))
    assert found(spotrak, store().model_copy(update={"exempt": exempt})) == [("exemption of nothing", "spotrak_db app.gone")]


def test_a_check_reads_buckets_too(spotrak: str, moto: ObjectServer) -> None:
    objects = Connection(id="spotrak_s3", kind="aws", login="a", password="b", extra={"endpoint_url": moto.endpoint})
    s3 = client(objects)
    for name in ("spotrak-logs", "spotrak-files", *REQUESTS):
        ensure_bucket(s3, name, versioned=True)
    workspace = _workspace(spotrak, objects)
    assert _only(workspace, "spotrak") == []
    s3.put_object(Bucket="spotrak-logs", Key="dumps/jean.dupont.sql", Body=b"x")
    ensure_bucket(s3, "spotrak-forgotten", versioned=False)
    said = _only(workspace, "spotrak")
    assert said == [("bucket not mapped", "spotrak-forgotten"), ("objects outside prefixes", "spotrak-logs")]
    assert "dupont" not in str(check(workspace, on=ON))
    workspace.close()


def test_a_store_that_refuses_is_unchecked_never_clean(spotrak: str) -> None:
    def refuse(connection_id: str) -> Connection:
        return Connection(id=connection_id, kind="postgres", host="127.0.0.1", port=1, database="spotrak")

    workspace = Workspace.open(refuse)
    checked = check(workspace, on=ON)
    assert not checked.clean
    assert "spotrak_db" in {s.store for s in checked.unchecked}


def test_a_store_whose_connection_is_not_set_is_unknown() -> None:
    def none(connection_id: str) -> Connection:
        raise Unreachable(f"Connection {connection_id!r} is not set.")

    checked = check(Workspace.open(none), on=ON)
    assert {("store unknown", "spotrak_db"), ("store unknown", "spotrak_s3")} <= {(f.kind, f.where) for f in checked.findings}


def test_a_company_that_tells_nobody_anything_is_not_clean(tmp_path: Path) -> None:
    def none(connection_id: str) -> Connection:
        raise Unreachable(f"Connection {connection_id!r} is not set.")

    shutil.copytree(SHIPPED, tmp_path / "shop")
    assert not [f for f in check(Workspace.open(none, tmp_path / "shop"), on=ON).findings if f.kind == "not disclosed"]
    (tmp_path / "shop" / "disclosure.yaml").unlink()
    silent = check(Workspace.open(none, tmp_path / "shop"), on=ON).findings
    assert [(f.where, f.stops) for f in silent if f.kind == "not disclosed"] == [("disclosure.yaml", True)]


def test_a_company_without_a_register_of_processors_is_not_clean(tmp_path: Path) -> None:
    def none(connection_id: str) -> Connection:
        raise Unreachable(f"Connection {connection_id!r} is not set.")

    shutil.copytree(SHIPPED, tmp_path / "shop")
    register = tmp_path / "shop" / "processors.yaml"
    with Workspace.open(none, tmp_path / "shop") as workspace:
        whole = check(workspace, on=ON)
        assert not {f.kind for f in whole.findings} & REGISTER_KINDS and whole.ends_soon == ()
        assert [(t.entry, t.country) for t in whole.unnamed_transfers] == [("pigeonhole", "US")], "a warning and no finding"
        assert Checked(policy="x", stores=(), findings=(), unnamed_transfers=whole.unnamed_transfers).clean
        begins = check(workspace, on=date(2026, 5, 1)).unnamed_transfers
        assert begins == whole.unnamed_transfers
        ending = check(workspace, on=date(2034, 12, 1))
        assert [(e.id, e.days_left) for e in ending.ends_soon] == [("rivage", 30)] and not {
            f.kind for f in ending.findings
        } & REGISTER_KINDS
        register.write_text(register.read_text().replace("in_force_to: 2034-12-31", "in_force_to: 2026-11-23"))
        over = check(workspace, on=ON)
        assert [(f.kind, f.where) for f in over.findings if f.kind in REGISTER_KINDS] == [("agreement over", "processors.yaml rivage")]
        policy = tmp_path / "shop" / "2026-05-01" / "policy.yaml"
        policy.write_text(policy.read_text().replace("transfers: []", "transfers: ['United States: standard contractual clauses']"))
        with Workspace.open(none, tmp_path / "shop") as named:
            assert check(named, on=ON).unnamed_transfers == ()
        register.unlink()
        assert check(workspace, on=ON).unnamed_transfers == ()
        assert [f.where for f in check(workspace, on=ON).findings if f.kind in REGISTER_KINDS] == ["processors.yaml"]
        register.write_text("warn_before_end: P60D\nprocessors: [{id: x, versions: [{kind: analytics}]}]\n")
        with pytest.raises(InvalidFile, match="three kinds of processor only"):
            check(workspace, on=ON)


def _workspace(url: str, objects: Connection) -> Workspace:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    source = Connection(
        id="spotrak_db",
        kind="postgres",
        host=str(parts["host"]),
        port=int(str(parts["port"])),
        login=str(parts["user"]),
        database=str(parts["dbname"]),
    )
    return Workspace.open(lambda name: objects if name.endswith("_s3") else source)


def _only(workspace: Workspace, beginning: str) -> list[tuple[str, str]]:
    """Findings about names that begin so: other tests make buckets on the same server."""
    assert isinstance(workspace.catalog, Catalog)
    return [(f.kind, f.where) for f in check(workspace, on=ON).findings if f.where.startswith(beginning)]
