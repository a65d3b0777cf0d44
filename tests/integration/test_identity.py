"""Proofs of identity lie encrypted until it is decided who asks, and are gone with that decision, or with the next sweep."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.intake import KEY, Box, box_of
from helpers.wire import Wire, wire_to
from lethe.check import check
from lethe.cli import app
from lethe.errors import IntakeUnfinished, ProofNotNeeded, RequestRefused, UnknownName, Unreachable
from lethe.evidence.ledger import walk
from lethe.instants import now
from lethe.subjects.identifiers import identifier
from lethe.subjects.identity import decide
from lethe.subjects.proofs import LARGEST, Left, count_proofs, fetch_proofs, left_proofs, store_proof, sweep
from lethe.subjects.requests import open_request, show

PROOF = b"%PDF canary"


@pytest.fixture
def wire(moto: ObjectServer) -> Iterator[Wire]:
    with wire_to(moto.endpoint) as made:
        yield made


@pytest.fixture
def box(control: ControlDatabase, moto: ObjectServer, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with box_of(control, moto.endpoint, tmp_path / "policies", monkeypatch, seen_at=wire.endpoint) as made:
        yield made


@pytest.fixture
def shelf(control: ControlDatabase, ceph: CephGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with box_of(control, ceph.endpoint, tmp_path / "policies", monkeypatch, keys=ceph.new_user(), encryption="aws:kms") as made:
        yield made


def asked(box: Box, kind: str = "access") -> str:
    with box.control.runtime.begin() as connection:
        return open_request(
            connection,
            [identifier("email", "jeanne.canary@example.org")],
            kind=kind,
            channel="email",
            language="fr",
            by="j.dupont",
            request_key=KEY,
            digest_key=DIGEST_KEY,
        ).request.id


def proven(box: Box, *bodies: bytes) -> str:
    request = asked(box)
    with box.open() as workspace:
        for body in bodies or (PROOF,):
            store_proof(workspace, request, body, by="j.dupont")
    return request


def decided(box: Box, request: str, decision: str = "accept", reason: str = "document_seen") -> int | None:
    with box.open() as workspace:
        return decide(workspace, request, decision=decision, reason=reason, by="a.martin").proofs_deleted


def state(box: Box, request: str) -> str:
    with box.control.runtime.connect() as connection:
        return show(connection, request)[0].state


def hide(box: Box, request: str) -> None:
    """Leaves a second version, a marker over both, and an unfinished upload."""
    (key,) = {k for k in box.left(box.proofs) if k.startswith(request)}
    box.put(key, PROOF, bucket=box.proofs)
    box.client.delete_object(Bucket=box.proofs, Key=key)
    box.client.create_multipart_upload(Bucket=box.proofs, Key=key)


@pytest.mark.parametrize(
    ("decision", "reason"), [("accept", "document_seen"), ("refuse", "proof_differs"), ("ask_more", "proof_unreadable")]
)
def test_a_decision_takes_every_version_of_its_proofs_and_no_other_s(shelf: Box, decision: str, reason: str) -> None:
    request, neighbour = proven(shelf), proven(shelf, PROOF, b"\x89PNG canary")
    hide(shelf, request)
    stored = {k for k in shelf.left(shelf.proofs) if k.startswith(neighbour)}
    assert decided(shelf, request, decision, reason) == 4
    assert set(shelf.left(shelf.proofs)) == stored and len(stored) == 2
    for key in stored:
        assert shelf.client.head_object(Bucket=shelf.proofs, Key=key)["ServerSideEncryption"] == "aws:kms"
    (gone,) = shelf.evidence("request.proofs_deleted")
    assert gone == {"request": request, "by": "a.martin", "entries": 4, "left": 0}
    assert shelf.evidence("request.decided")[0]["proofs"] == 1
    with shelf.control.runtime.connect() as connection:
        assert walk(connection).broken is None


@pytest.mark.parametrize("reason", ["proof_missing", "several_persons"])
def test_asking_for_more_leaves_what_can_be_read(box: Box, reason: str) -> None:
    request = proven(box)
    assert decided(box, request, "ask_more", reason) == 0 and len(box.left(box.proofs)) == 1
    with box.open() as workspace:
        store_proof(workspace, request, PROOF, by="j.dupont")
        assert count_proofs(workspace, request) == 2
        assert sweep(workspace, by="request_intake") == 0 and len(box.left(box.proofs)) == 2


def test_a_proof_is_refused_once_it_is_decided_or_when_it_is_none(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    request, open_one = proven(box), asked(box)
    decided(box, request)
    with box.open() as workspace:
        with pytest.raises(ProofNotNeeded):
            store_proof(workspace, request, PROOF, by="j.dupont")
        for body in (b"", b"x" * (LARGEST + 1)):
            with pytest.raises(RequestRefused, match="bytes"):
                store_proof(workspace, open_one, body, by="j.dupont")
        for unknown in ("jeanne.canary@example.org", "", "\x00", "R-2026-00000000"):
            for act in (
                lambda who: store_proof(workspace, who, PROOF, by="j.dupont"),
                lambda who: count_proofs(workspace, who),
                lambda who: decide(workspace, who, decision="accept", reason="document_seen", by="a.martin"),
                lambda who: decide(workspace, who, decision="ask_more", reason="proof_unreadable", by="a.martin"),
            ):
                with pytest.raises(UnknownName) as refused:
                    act(unknown)
                assert "canary" not in str(refused.value)
    connection = json.loads(os.environ["AIRFLOW_CONN_REQUESTS_S3"])
    del connection["extra"]["encryption"]
    monkeypatch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps(connection))
    with box.open() as workspace, pytest.raises(RequestRefused, match="encrypt"):
        store_proof(workspace, open_one, PROOF, by="j.dupont")
    assert box.left(box.proofs) == []


def test_a_second_decision_changes_nothing_and_deletes_nothing(box: Box) -> None:
    request = asked(box)
    decided(box, request, "accept", "known_address")
    box.put(f"{request}/by-hand", PROOF, bucket=box.proofs)
    for decision, reason in (("accept", "document_seen"), ("ask_more", "proof_unreadable")):
        with pytest.raises(RequestRefused, match="does not lead"):
            decided(box, request, decision, reason)
    assert len(box.left(box.proofs)) == 1 and len(box.evidence("request.decided")) == 1


@pytest.mark.parametrize("kind", ["list versions", "delete"])
def test_a_store_that_is_away_does_not_undo_a_decision_and_the_sweep_ends_it(box: Box, wire: Wire, kind: Any) -> None:
    request, neighbour = proven(box), proven(box)
    hide(box, request)
    wire.fail(kind, 1, "cut", and_stop=True)
    assert decided(box, request) is None and state(box, request) == "accepted"
    assert box.evidence("request.decided")[0]["proofs"] == (None if kind == "list versions" else 1), "not known is not zero"
    wire.mend()
    with box.open() as workspace:
        assert left_proofs(workspace) == Left(decided=4, unknown=0)
        assert sweep(workspace, by="request_intake") == 4
        assert left_proofs(workspace) == Left(decided=0, unknown=0)
        assert sweep(workspace, by="request_intake") == 0
    assert {k.partition("/")[0] for k in box.left(box.proofs)} == {neighbour}
    assert [r["by"] for r in box.evidence("request.proofs_deleted")] == ["request_intake"]


def test_an_unreadable_proof_goes_before_more_is_asked_or_nothing_is_decided(box: Box, wire: Wire) -> None:
    request = proven(box)
    wire.fail("delete", 1, "cut", and_stop=True)
    with pytest.raises(Unreachable):
        decided(box, request, "ask_more", "proof_unreadable")
    assert state(box, request) == "received" and box.evidence("request.decided") == []
    wire.mend()
    assert decided(box, request, "ask_more", "proof_unreadable") == 1 and state(box, request) == "more_asked"


def test_what_lies_there_for_no_request_is_swept_and_its_key_is_nowhere(box: Box) -> None:
    request = proven(box)
    box.put("jeanne.canary@example.org/passport", PROOF, bucket=box.proofs)
    box.put("R-2026-00000000/x", PROOF, bucket=box.proofs)
    with box.open() as workspace:
        assert left_proofs(workspace) == Left(decided=0, unknown=2)
        assert sweep(workspace, by="request_intake") == 2
    assert {k.partition("/")[0] for k in box.left(box.proofs)} == {request}
    assert box.evidence("request.strays_deleted") == [{"entries": 2, "by": "request_intake"}]


def test_proofs_are_fetched_into_a_folder_of_their_reader_and_that_is_on_record_first(box: Box, tmp_path: Path, wire: Wire) -> None:
    request = proven(box, PROOF, b"\x89PNG canary")
    with box.open() as workspace:
        assert fetch_proofs(workspace, request, tmp_path / "look", by="a.martin") == 2
        found = sorted((tmp_path / "look").iterdir())
        assert {f.suffix for f in found} == {".pdf", ".png"} and all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in found)
        with pytest.raises(RequestRefused, match="folder"):
            fetch_proofs(workspace, request, tmp_path / "look", by="a.martin")
        with pytest.raises(UnknownName):
            fetch_proofs(workspace, "R-2026-00000000", tmp_path / "nobody", by="a.martin")
        assert not (tmp_path / "nobody").exists() and len(box.evidence("request.proofs_read")) == 1
        wire.down = True
        with pytest.raises(Unreachable):
            fetch_proofs(workspace, request, tmp_path / "again", by="a.martin")
    assert [r["by"] for r in box.evidence("request.proofs_read")] == ["a.martin", "a.martin"]


def test_the_commands_store_fetch_and_decide(box: Box, tmp_path: Path, wire: Wire) -> None:
    def run(*words: str) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["request", *words])
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout + ended.stderr

    request, other = asked(box), asked(box)
    (tmp_path / "canary.pdf").write_bytes(PROOF)
    assert run("proof", request, str(tmp_path / "canary.pdf"), "--by", "j.dupont")[0] == 0
    assert run("proof", other, str(tmp_path / "canary.pdf"), "--by", "j.dupont")[0] == 0
    assert run("proof", request, "--fetch", str(tmp_path / "look"), "--by", "a.martin")[0] == 0
    assert (tmp_path / "look" / "proof-1.pdf").read_bytes() == PROOF
    for words in (
        (request,),
        (request, "canary", "--fetch", "canary"),
        (request, str(tmp_path / "canary-missing")),
        ("canary", "--fetch", "x"),
    ):
        code, out = run("proof", *words)
        assert code == 2 and "canary" not in out
    code, out = run("decide", request, "accept", "--reason", "document_seen", "--by", "a.martin", "--json")
    assert code == 0 and json.loads(out)["proofs_deleted"] == 1
    wire.down = True
    code, out = run("decide", other, "refuse", "--reason", "not_proven", "--by", "a.martin")
    assert code == 1 and "could not be deleted" in out and state(box, other) == "refused"


def test_a_proof_of_a_decided_request_is_a_finding_until_it_is_gone(box: Box) -> None:
    request = proven(box)
    with box.open() as workspace:
        kinds = [f.kind for f in check(workspace, on=now().date()).findings]
        assert "proof of a decided request" not in kinds
        box.put("R-2026-00000000/x", PROOF, bucket=box.proofs)
        decided(box, request, "refuse", "not_proven")
        box.put(f"{request}/by-hand", PROOF, bucket=box.proofs)
        found = [f for f in check(workspace, on=now().date()).findings if f.kind == "proof of a decided request"]
        assert [f.where for f in found] == ["identity-proofs"] and "2 entries" in found[0].problem
        sweep(workspace, by="request_intake")
        assert "proof of a decided request" not in [f.kind for f in check(workspace, on=now().date()).findings]


def test_the_tasks_of_the_dag_take_sweep_and_are_red_while_anything_is_left(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    from lethe.airflow import intake
    from lethe.connections import from_environment

    monkeypatch.setattr("lethe.airflow.intake.from_airflow", from_environment)
    monkeypatch.setattr("lethe.airflow.night.failed_tasks", lambda _: [])
    request = proven(box)
    box.put("canary.json", {"kind": "access", "language": "fr", "email": "jeanne.canary@example.org"})
    taken = intake.take()
    assert (taken["files"], len(taken["requests"]), intake.record({"ti": None})) == (1, 1, {"waiting": 0, "other_objects": 0})
    box.put("canary.csv", b"canary")
    decided(box, request)
    box.put(f"{request}/by-hand", PROOF, bucket=box.proofs)
    assert intake.take()["refused"] == 1
    with pytest.raises(IntakeUnfinished, match=r"refused: 1; .*decided requests: 1\.") as red:
        intake.record({"ti": None})
    assert "canary" not in str(red.value) and intake.sweep() == {"deleted": 1}
    with pytest.raises(IntakeUnfinished, match=r"refused: 1\."):
        intake.record({"ti": None})
    box.client.delete_object(Bucket=box.intake, Key="canary.csv")
    intake.record({"ti": None})
    monkeypatch.setattr("lethe.airflow.night.failed_tasks", lambda _: ["take"])
    with pytest.raises(IntakeUnfinished, match="take"):
        intake.record({"ti": None})
