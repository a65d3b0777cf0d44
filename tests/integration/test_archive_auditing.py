"""`lethe verify` names what was done to the archive: by object and dataset, never by anything of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import LOGS, PEOPLE, Office, office_in
from helpers.archiving import archiving, purge
from lethe.archive.auditing import audit_archive
from lethe.archive.keys import manifest_key
from lethe.instants import now

pytestmark = pytest.mark.ceph


@pytest.fixture
def office(
    postgres: PostgresServer, database: str, ceph: CephGateway, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch, gateway=ceph) as made:
        yield made


def place(office: Office, dataset: str = "users") -> dict[str, Any]:
    """Where a dataset's first object lies, and what the bucket's owner needs to get at it."""
    number = office.archived(dataset)[0]
    [(key, version)] = office.company.world.sql("SELECT key, version FROM lethe.archive_objects WHERE id = %s", [number])
    return {"Bucket": office.archive.bucket.name, "Key": key, "VersionId": version}


def unlock(office: Office, where: dict[str, Any]) -> None:
    """As the bucket's owner may who has the right to go round governance."""
    client = office.archive.bucket._client
    soon = now() + timedelta(seconds=1)
    client.put_object_retention(**where, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon}, BypassGovernanceRetention=True)


def erase(office: Office) -> None:
    where = place(office)
    office.archive.bucket._client.delete_object(**where, BypassGovernanceRetention=True)


def delete(office: Office) -> None:
    where = place(office)
    office.archive.bucket._client.delete_object(Bucket=where["Bucket"], Key=where["Key"])


def write_over(office: Office) -> None:
    where = place(office)
    office.archive.bucket._client.put_object(Bucket=where["Bucket"], Key=where["Key"], Body=b"other rows")


def take_the_manifest(office: Office) -> None:
    where = place(office)
    office.archive.bucket._client.delete_object(Bucket=where["Bucket"], Key=manifest_key(where["Key"]))


def lock_longer(office: Office) -> None:
    where = place(office)
    until = now() + timedelta(days=9_000)
    office.archive.bucket._client.put_object_retention(**where, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})


def forget(office: Office) -> None:
    [number] = office.archived("users")
    office.company.world.sql("DELETE FROM lethe.archive_subjects WHERE object = %s", [number])
    office.company.world.sql("DELETE FROM lethe.archive_objects WHERE id = %s", [number])


def leave_an_upload(office: Office) -> None:
    where = place(office)
    office.archive.bucket._client.create_multipart_upload(Bucket=where["Bucket"], Key=where["Key"])


def end(office: Office) -> None:
    [number] = office.archived("users")
    office.company.world.sql("UPDATE lethe.archive_objects SET state = 'expired' WHERE id = %s", [number])


def break_the_seal(office: Office) -> None:
    [number] = office.archived("users")
    update = "UPDATE lethe.archive_objects SET state = 'confirmed', announced_at = announced_at - interval '1 day' WHERE id = %s"
    office.company.world.sql(update, [number])


DONE: list[tuple[Callable[[Office], object], set[str]]] = [
    (erase, {"missing"}),
    (delete, {"deleted"}),
    (write_over, {"tampered"}),
    (take_the_manifest, {"no manifest"}),
    (lambda office: unlock(office, place(office)), {"unlocked early"}),
    (lock_longer, {"locked too long"}),
    (forget, {"no manifest"}),
    (leave_an_upload, {"left behind"}),
    (end, {"left over"}),
    (break_the_seal, {"not sealed"}),
]


def test_an_archive_that_nobody_touched_is_sound_and_every_byte_of_it_is(office: Office) -> None:
    found = office.told("verify")["archive"]
    assert found == {"sound": True, "objects": len(office.archive.objects()), "rows": (LOGS + PEOPLE) // 2, "deep": False, "findings": []}
    assert office.evidence("archive.read") == []
    assert office.told("verify", "--deep")["archive"]["findings"] == []
    readings = office.evidence("archive.read")
    assert {(r["who"], r["reason"], r["dataset"]) for r in readings} == {
        ("lethe_runtime", "integrity_check", "logs"),
        ("lethe_runtime", "integrity_check", "users"),
    }
    code, out, _ = office.run("verify")
    assert code == 0 and "The archive is sound" in out


@pytest.mark.parametrize(("act", "kinds"), DONE, ids=[next(iter(kinds)) + f" {n}" for n, (_, kinds) in enumerate(DONE)])
def test_what_was_done_to_an_object_is_named_by_its_id_and_dataset(
    office: Office, act: Callable[[Office], object], kinds: set[str]
) -> None:
    [number] = office.archived("users")
    act(office)
    found = office.told("verify", code=1)
    assert not found["sound"] and found["findings"] == [], "the ledger itself is sound"
    assert {(f["kind"], f["object"]) for f in found["archive"]["findings"] if f["wrong"]} == {(k, number) for k in kinds}
    assert "users" in " ".join(f"{f['dataset']} {f['text']}" for f in found["archive"]["findings"]) or act is forget
    code, out, _ = office.run("verify")
    assert code == 1 and number in out


def test_a_manifest_that_was_changed_is_named_by_the_ledger_and_by_the_one_beside_its_object(office: Office) -> None:
    [number] = office.archived("users")
    office.company.world.sql(
        "UPDATE lethe.archive_objects SET manifest = jsonb_set(manifest, '{sha256}', to_jsonb(repeat('0', 64))) WHERE id = %s", [number]
    )
    plain, deep = (office.told("verify", *how, code=1)["archive"]["findings"] for how in ((), ("--deep",)))
    assert [(f["kind"], f["object"]) for f in plain] == [("tampered", number)] and "not what the ledger says" in plain[0]["text"]
    assert [f["object"] for f in deep] == [number, number] and any("manifest beside" in f["text"] for f in deep)


def test_what_is_not_lethe_s_is_counted_and_its_key_is_not_said(office: Office) -> None:
    office.archive.bucket._client.put_object(Bucket=office.archive.bucket.name, Key="for jeanne.martin@example.org.pdf", Body=b"x")
    code, out, said = office.run("verify")
    assert code == 1 and "1 entries of the bucket" in out and "martin" not in out + said


def test_columns_that_changed_between_two_runs_are_told_and_are_no_fault(office: Office) -> None:
    office.company.world.sql("INSERT INTO app.logs (id, at, tenant_id, note) VALUES (77777, '2025-11-01', 1, 'late')")
    done = purge(office.company.world, office.archive, archiving("logs", ("id", "at", "note")))["logs"]
    assert done.error is None and done.deleted == 1
    found = office.told("verify")["archive"]
    [finding] = found["findings"]
    assert found["sound"] and (finding["kind"], finding["dataset"], finding["wrong"]) == ("schema", "logs", False)
    assert finding["text"].endswith(": tenant_id.")


def test_a_purge_at_work_beside_the_check_is_no_finding(office: Office) -> None:
    """An object that is put while the bucket is listed is in the manifests that are read afterwards."""
    world, bucket = office.company.world, office.archive.bucket
    world.sql("INSERT INTO app.logs (id, at, tenant_id, note) VALUES (77777, '2025-11-01', 1, 'late')")

    class Busy(type(bucket)):  # type: ignore[misc]
        def listing(self, **more: Any) -> Any:
            purge(world, office.archive, archiving("logs"))
            return super().listing(**more)

    busy = Busy(bucket._client, bucket.name, encryption=bucket.encryption, kms_key=bucket._kms_key)
    verdict = audit_archive(world.control.runtime, busy, at=now())
    assert verdict.sound and verdict.findings == ()
    assert verdict.rows == (LOGS + PEOPLE) // 2, "what came meanwhile is of the next check"
    assert audit_archive(world.control.runtime, bucket, at=now()).rows == (LOGS + PEOPLE) // 2 + 1


def test_an_archive_with_objects_and_no_connection_is_not_sound(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ARCHIVE_S3")
    [finding] = office.told("verify", code=1)["archive"]["findings"]
    assert "nothing of it was checked" in finding["text"]
