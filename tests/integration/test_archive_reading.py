"""Reading the archive: who may, for which reason, on record before the first byte, and only what was asked for."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import LOGS, TENANTS, Office, as_variable, office_in
from helpers.control import DIGEST_KEY
from helpers.wire import wire_to
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.names import name_of
from lethe.connections import parse
from lethe.control.grants import RIGHTS
from lethe.errors import Uncountable

pytestmark = pytest.mark.ceph

LAW = "Code de commerce L123-22"


@pytest.fixture
def office(
    postgres: PostgresServer, database: str, ceph: CephGateway, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch, gateway=ceph) as made:
        yield made


def test_a_person_s_rows_and_no_other_s_are_read_for_a_reason(office: Office) -> None:
    found = office.told("archive", "read", "--dataset", "users", "--reason", "claim", "--person", "users:3")
    rows = [row for part in found["archive"] for row in part["rows"]]
    assert [(r["id"], r["note"]) for r in rows] == [(3, "user 3")]
    assert (found["rows"], found["archive"][0]["law"]) == (1, LAW)
    assert not any(name.startswith("_lethe") for name in rows[0])
    assert office.told("archive", "read", "--dataset", "users", "--reason", "claim", "--person", "users:29")["rows"] == 0, (
        "still in the table"
    )


def test_somebody_with_accounts_at_two_tenants_is_found_by_each_of_them_and_whole_when_both_are_named(office: Office) -> None:
    """What is one person to whoever asks is two rows of `users`, of two tenants, with two digests."""
    one, two = 3, 11
    asked = ("archive", "read", "--dataset", "users", "--reason", "access_request")
    for accounts in ((one,), (two,), (one, two)):
        persons = [word for account in accounts for word in ("--person", f"users:{account}")]
        parts = office.told(*asked, *persons)["archive"]
        assert sorted((r["id"], r["tenant_id"]) for p in parts for r in p["rows"]) == [(a, a % TENANTS) for a in accounts]
        assert office.evidence("archive.read")[-1]["digests"] == sorted(name_of(DIGEST_KEY, "users", str(a)) for a in accounts)
        assert office.told("archive", "find", *persons)["objects"] != []
    alone = [{o["id"] for o in office.told("archive", "find", "--person", f"users:{a}")["objects"]} for a in (one, 29)]
    both = {o["id"] for o in office.told("archive", "find", "--person", f"users:{one}", "--person", "users:29")["objects"]}
    assert both == alone[0] and alone[1] == set(), "29 is still in the table"


def test_a_tenant_s_rows_are_printed_as_csv_with_one_header(office: Office) -> None:
    code, out, _ = office.run("archive", "read", "--dataset", "logs", "--reason", "tax_audit", "--tenant", "4", "--law", LAW)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {r["tenant_id"] for r in rows} == {"4"}
    assert sorted(int(r["id"]) for r in rows) == [i for i in range(LOGS // 2) if i % TENANTS == 4]


def test_what_was_read_is_in_files_of_its_reader_alone(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "claim"
    assert office.run("archive", "read", "--dataset", "logs", "--reason", "claim", "--out", str(out))[0] == 0
    files = sorted(out.iterdir())
    assert {f.name for f in files} == {f"logs-{i}.parquet" for i in office.archived("logs")}
    assert sum(pq.read_table(f).num_rows for f in files) == LOGS // 2
    assert pq.read_table(files[0]).column_names == ["id", "at", "tenant_id", "note"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600} and stat.S_IMODE(out.stat().st_mode) == 0o700
    code, _, said = office.run("archive", "read", "--dataset", "logs", "--reason", "claim", "--out", str(out))
    assert code == 2 and "not empty" in said


def test_a_reading_is_on_record_before_the_first_byte_is_asked_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[dict[str, object]]] = []
    with wire_to(office.archive.connection.extra["endpoint_url"]) as wire:
        monkeypatch.setenv(
            "AIRFLOW_CONN_ARCHIVE_READ_S3", as_variable(office.archive.connection, keys=office.reader, endpoint_url=wire.endpoint)
        )
        wire.at("get", 1, lambda: seen.append(office.evidence("archive.read")))
        office.told("archive", "read", "--dataset", "users", "--reason", "court_order", "--person", "users:3")
    [[record]] = seen
    assert record == {
        "who": "lethe_archivist",
        "reason": "court_order",
        "dataset": "users",
        "law": None,
        "whose": "person",
        "digests": [name_of(DIGEST_KEY, "users", "3")],
        "objects": 1,
        "rows_in_them": 15,
    }
    assert wire.seen["get"] == 1
    [returned] = office.evidence("archive.returned")
    assert (returned["objects"], returned["rows"], returned["broken_off_by"]) == (1, 1, None)


def test_a_reading_of_a_store_that_is_down_is_on_record_though_nothing_could_be_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_ARCHIVE_READ_S3", as_variable(office.archive.connection, keys=office.reader, endpoint_url="http://127.0.0.1:9")
    )
    code, out, _ = office.run("archive", "read", "--dataset", "logs", "--reason", "claim")
    assert (code, out) == (2, "")
    assert office.evidence("archive.read")[-1]["objects"] == len(office.archived("logs"))
    assert [(r["rows"], r["broken_off_by"]) for r in office.evidence("archive.returned")] == [(0, "Unreachable")]


@pytest.mark.parametrize("role", ["lethe_runtime", "postgres"])
def test_another_role_reads_nothing_and_asks_the_store_for_nothing(office: Office, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    world = office.company.world
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_ARCHIVIST", world.server.url(world.url.rsplit("/", 1)[1], user=role))
    assert_nothing_is_read(office, monkeypatch, "--reason", "claim", says="no member of lethe_archivist")


def test_without_a_reason_or_a_record_nothing_is_read_and_nothing_is_asked_of_the_store(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reason in ((), ("--reason", "curiosity"), ("--reason", "")):
        assert_nothing_is_read(office, monkeypatch, *reason, says="without a reason")
    office.company.world.sql("REVOKE INSERT ON lethe.ledger FROM lethe_archivist")
    assert_nothing_is_read(office, monkeypatch, "--reason", "claim", says="could not be put on record")


def assert_nothing_is_read(office: Office, monkeypatch: pytest.MonkeyPatch, *more: str, says: str) -> None:
    with wire_to(office.archive.connection.extra["endpoint_url"]) as wire:
        through = as_variable(office.archive.connection, keys=office.reader, endpoint_url=wire.endpoint)
        monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_READ_S3", through)
        code, out, said = office.run("archive", "read", "--dataset", "logs", *more)
    assert (code, out, wire.requests) == (2, "", [])
    assert says in said
    assert office.evidence("archive.read") == []


def test_who_is_in_the_archive_is_told_without_opening_it(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_S3", as_variable(office.archive.connection, endpoint_url="http://127.0.0.1:9"))
    assert {o["id"] for o in office.told("archive", "find", "--person", "users:3")["objects"]} == set(office.archived("users"))
    assert office.told("archive", "find", "--person", "users:29")["objects"] == []
    of_tenant = {o["id"] for o in office.told("archive", "find", "--tenant", "4")["objects"]}
    assert of_tenant == {*office.archived("users"), *office.archived("logs")}
    logs = next(s for s in office.told("archive", "list")["archive"] if s["dataset"] == "logs")
    assert (logs["law"], logs["rows"], logs["sealed"], logs["locked"]) == (LAW, LOGS // 2, logs["objects"], logs["objects"])
    assert office.evidence("archive.read") == []


def test_a_dataset_that_the_archive_never_had_is_refused_and_goes_into_no_record(office: Office) -> None:
    code, _, said = office.run("archive", "read", "--dataset", "jeanne.martin@example.org", "--reason", "claim")
    assert code == 2 and "martin" not in said and "nothing of that dataset" in said
    assert office.evidence("archive.read") == []


def test_an_object_that_is_not_what_its_manifest_says_is_not_given_and_the_others_are(office: Office, tmp_path: Path) -> None:
    first, *others = office.archived("logs")
    digest = office.company.world.sql("SELECT manifest->>'sha256' FROM lethe.archive_objects WHERE id = %s", [first])[0][0]
    office.company.world.sql(
        "UPDATE lethe.archive_objects SET manifest = jsonb_set(manifest, '{sha256}', to_jsonb(%s::text)) WHERE id = %s",
        [digest[:-1] + ("0" if digest[-1] != "0" else "1"), first],
    )
    code, _, said = office.run("archive", "read", "--dataset", "logs", "--reason", "claim", "--out", str(tmp_path / "out"))
    assert code == 2 and first in said
    assert {f.stem.removeprefix("logs-") for f in (tmp_path / "out").iterdir()} == set(others)
    assert office.evidence("archive.returned")[-1]["damaged"] == [first]


def test_the_application_reads_neither_the_archive_s_bucket_nor_lethe_s_database(office: Office) -> None:
    world = office.company.world
    applicant = as_variable(office.archive.connection, keys=office.application)
    bucket = ArchiveBucket.of(parse("archive_s3", applicant))
    [(key, version)] = world.sql("SELECT key, version FROM lethe.archive_objects WHERE dataset = 'users'")
    refused: list[Callable[[], object]] = [lambda: bucket.get(key, version), lambda: list(bucket.listing()), lambda: bucket.head(key, None)]
    for asks in refused:
        with pytest.raises(Uncountable, match="no right"):
            asks()
    reading = ArchiveBucket.of(parse("archive_read_s3", as_variable(office.archive.connection, keys=office.reader)))
    assert reading.get(key, version)
    refused = [lambda: reading.drop(key), lambda: list(reading.listing())]
    for asks in refused:
        with pytest.raises(Uncountable, match="no right"):
            asks()
    with psycopg.connect(world.server.url(), autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'spotrak_app'").fetchone():
            admin.execute("CREATE ROLE spotrak_app LOGIN")
    for role in ("spotrak_app", "lethe_purger", "lethe_checker", "lethe_keeper"):
        with psycopg.connect(world.server.url(world.url.rsplit("/", 1)[1], user=role)) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT 1 FROM lethe.archive_objects")


def test_the_archivist_reads_manifests_and_adds_to_the_ledger_and_may_do_nothing_else(office: Office) -> None:
    assert RIGHTS["lethe_archivist"] == {"archive_objects": "SELECT", "archive_subjects": "SELECT", "ledger": "SELECT, INSERT"}
    world = office.company.world
    with psycopg.connect(world.server.url(world.url.rsplit("/", 1)[1], user="lethe_archivist"), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM lethe.archive_objects").fetchone() == (True,)
        for statement in ("DELETE FROM lethe.archive_objects", "UPDATE lethe.ledger SET body = ''", "SELECT * FROM lethe.holds"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[arg-type]
