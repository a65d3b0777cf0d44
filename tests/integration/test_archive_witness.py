"""The ledger and the store's own tags are witnesses of the archive: other bytes are named without reading one, whoever wrote them where."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import Office, office_in
from helpers.archiving import archiving, let_archive, purge
from helpers.company import company_of, twelve_months
from helpers.expiring import NOT_YET, Shelved, Vault, vault
from helpers.purging import AS_OF, world_of
from lethe.archive import witness
from lethe.archive.differences import SETTLED
from lethe.archive.keys import manifest_key
from lethe.errors import AuditFailed
from lethe.evidence.ledger import append
from lethe.instants import now
from lethe.retention import audit, guard_run, plan_expiry, purge_run_group


@pytest.fixture
def office(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """An archive in a bucket without versions and locks: who may write there may replace an object."""
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch, lock=False, versioned=False) as made:
        yield made


def findings(office: Office, *arguments: str) -> list[tuple[str, str]]:
    """Kind and object of everything wrong that `lethe verify` names; the ledger itself is sound."""
    code, out, _ = office.run("verify", *arguments, "--json")
    told = json.loads(out)
    assert told["findings"] == []
    wrong = [(f["kind"], f["object"]) for f in told["archive"]["findings"] if f["wrong"]]
    assert code == bool(wrong)
    return wrong


def place(office: Office, dataset: str) -> tuple[str, str, dict[str, Any]]:
    """Id, key and manifest of a dataset's first object."""
    number = office.archived(dataset)[0]
    [(key, manifest)] = office.company.world.sql("SELECT key, manifest FROM lethe.archive_objects WHERE id = %s", [number])
    return number, key, manifest


def other_rows(data: bytes) -> bytes:
    """The same object with another note in every row."""
    table = pq.read_table(io.BytesIO(data))
    at = table.column_names.index("note")
    out = io.BytesIO()
    pq.write_table(table.set_column(at, "note", pa.array(["forged"] * table.num_rows)), out, compression="zstd")
    return out.getvalue()


def same_size(office: Office) -> str:
    """Overwrites an object with other bytes of the same size, as whoever may write to the bucket can; its id."""
    number, key, manifest = place(office, "users")
    client, bucket = office.archive.bucket._client, office.archive.bucket.name
    data = bytearray(office.archive.bucket.get(key, None))
    data[len(data) // 2] ^= 1
    assert len(data) == manifest["size"]
    client.put_object(Bucket=bucket, Key=key, Body=bytes(data), ServerSideEncryption="aws:kms", SSEKMSKeyId="lethe-test")
    return number


def test_other_bytes_of_the_same_size_are_named_without_reading_them(office: Office) -> None:
    assert findings(office) == []
    number = same_size(office)
    assert findings(office) == [("tampered", number)]
    office.company.world.sql("UPDATE lethe.archive_objects SET manifest = manifest || '{\"etag\": null}' WHERE id = %s", [number])
    assert findings(office) == [], "where the store gave no tag, they must be read"
    assert {f for f in findings(office, "--deep")} == {("tampered", number)}


@pytest.mark.ceph
def test_a_real_store_lists_the_tag_that_it_answered_and_another_one_for_other_bytes(
    postgres: PostgresServer, database: str, moto: ObjectServer, ceph: CephGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office_in(postgres, database, moto, tmp_path / "s", monkeypatch, gateway=ceph, lock=False, versioned=False) as office:
        listed = {e.key: e.etag for e in office.archive.bucket.listing()}
        for dataset in ("logs", "users"):
            _, key, manifest = place(office, dataset)
            assert manifest["etag"] and listed[key] == manifest["etag"]
        assert findings(office) == []
        number = same_size(office)
        assert findings(office) == [("tampered", number)]


def forge(office: Office) -> str:
    """Changes an object, the manifest beside it and its row together, so that each agrees with the others; its id."""
    number, key, _ = place(office, "users")
    bucket, world = office.archive.bucket, office.company.world
    data = other_rows(bucket.get(key, None))
    put = bucket.put(key, data)
    changed = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "etag": put.etag}
    world.sql("UPDATE lethe.archive_objects SET manifest = manifest || %s::jsonb WHERE id = %s", [json.dumps(changed), number])
    beside = json.loads(bucket.get(manifest_key(key), None)) | changed
    bucket.put(manifest_key(key), json.dumps(beside, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return number


def test_object_manifest_and_row_changed_together_are_named_by_the_ledger(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(office, "--deep") == []
    number = forge(office)
    assert findings(office) == [("tampered", number)]
    assert findings(office, "--deep") == [("tampered", number)], "only the ledger knows: in themselves they agree"
    with office.company.open() as workspace, pytest.raises(AuditFailed, match=number):
        audit(workspace, as_of=AS_OF)
    with office.company.world.control.runtime.begin() as book:
        assert witness.record_kept(book, "f" * 64, 1, steps=(), stores=("source",)) == 0, "what is on record is not put there again"
    assert findings(office) == [("tampered", number)]


@pytest.mark.parametrize("forged", [True, False])
def test_a_second_record_of_an_object_that_says_something_else_does_not_make_it_sound(office: Office, forged: bool) -> None:
    number = forge(office) if forged else place(office, "users")[0]
    _, _, manifest = place(office, "users")
    with office.company.world.control.runtime.begin() as book:
        sha256 = manifest["sha256"] if forged else "0" * 64
        body = {"attempt": 1, "step": "users/users", "objects": [[number, sha256, manifest["rows"]]]}
        append(book, witness.KEPT, body)
    assert findings(office) == [("tampered", number)]


def test_an_object_that_is_not_on_record_is_named_once_no_run_can_be_about_to_do_that(office: Office) -> None:
    world = office.company.world
    world.sql("INSERT INTO app.logs (id, at, tenant_id, note) VALUES (77777, '2025-11-01', 1, 'late')")
    assert purge(world, office.archive, archiving("logs"))["logs"].error is None  # a group that has not come to its end
    new = office.archived("logs")[-1]

    def unknown() -> bool:
        return ("not on record", new) in findings(office)

    assert not unknown(), "its group may still be at work"
    world.sql("UPDATE lethe.archive_objects SET announced_at = %s WHERE id = %s", [now() - 2 * SETTLED, new])
    assert unknown()
    plan, attempt = world.sql("SELECT plan, attempt FROM lethe.archive_objects WHERE id = %s", [new])[0]
    world.sql("INSERT INTO lethe.runs (plan, attempt, state, pace, started_at) VALUES (%s, %s, 'purging', 'full', now())", [plan, attempt])
    assert not unknown(), "a long run puts them on record in its end"
    world.sql("UPDATE lethe.archive_objects SET announced_at = %s WHERE id = %s", [now() - timedelta(days=2), new])
    assert unknown(), "but not for ever"


def on_record(office: Office) -> list[list[Any]]:
    return [entry for record in office.evidence(witness.KEPT) for entry in record["objects"]]


def living(office: Office) -> list[list[Any]]:
    query = "SELECT id, manifest ->> 'sha256', rows FROM lethe.archive_objects WHERE state IN ('confirmed', 'sealed')"
    return [list(row) for row in office.company.world.sql(query)]


def test_the_end_of_a_group_puts_each_object_on_record_once_also_where_a_killed_run_did_not(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.company.policy(twelve_months("logs"), max_share=1.0)
    let_archive(office.company, office.archive, monkeypatch, "id", "at", "note")
    world = office.company.world
    world.sql(
        "INSERT INTO app.logs (id, at, tenant_id) SELECT 5000 + g, %s - g * interval '1 day', 1 FROM generate_series(10, 16) g",
        [AS_OF - timedelta(days=400)],
    )
    monkeypatch.setattr(witness, "AT_ONCE", 3)
    before = on_record(office)
    recorded = witness.record_kept
    monkeypatch.setattr(witness, "record_kept", lambda *_, **__: 0)  # as if killed just before
    night = office.company.night()
    assert night.deleted == {"logs/logs": 7} and on_record(office) == before
    monkeypatch.setattr(witness, "record_kept", recorded)
    world.sql("UPDATE lethe.runs SET state = 'purging' WHERE plan = %s", [night.planned.digest])
    with office.company.open() as workspace:
        for _ in range(2):
            purge_run_group(workspace, night.planned.digest, night.planned.attempt, ["logs/logs"])
    assert sorted(on_record(office)) == sorted(living(office)) and len(on_record(office)) == len(before) + 7
    assert [len(r["objects"]) for r in office.evidence(witness.KEPT)][-3:] == [3, 3, 1]
    assert {k for r in office.evidence(witness.KEPT) for k in r} == {"attempt", "step", "objects"}
    assert findings(office) == []


def test_an_object_that_the_expiry_wrote_anew_is_on_record_too(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as company:
        company.policy(twelve_months("logs"), max_share=1.0)
        made: Vault = vault(world.control, postgres.port, moto.endpoint)
        seen = made.archive.connection
        named = {"conn_type": "aws", "login": seen.login, "password": seen.password, "extra": seen.extra}
        monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_S3", json.dumps(named))
        made.put([Shelved(key=n, tenant="4" if n % 3 else "5") for n in range(30)])
        later = made.put([Shelved(key=90)], NOT_YET)
        made.hold(tenant="4", review_on=NOT_YET)
        with company.open() as workspace:
            planned = plan_expiry(workspace, as_of=AS_OF, dry_run=False)
            guard_run(workspace, planned.digest, planned.attempt)
            purge_run_group(workspace, planned.digest, planned.attempt, planned.groups[0].steps)
            with workspace.control.connect() as book:
                said = witness.witnessed(book)
        [new] = set(made.ids()) - {later.id}
        known = made.known(new)
        assert known.manifest is not None and known.manifest.replaces and known.manifest.etag
        assert said == {new: witness.Witnessed(sha256=known.manifest.sha256, rows=20)}
