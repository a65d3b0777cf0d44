"""Files of requests: taken whole or not at all, opened once whatever happens, and gone with all versions."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from helpers import traces
from helpers.control import ControlDatabase
from helpers.forking import forked
from helpers.intake import KEY, Box, box_of, take_once
from helpers.wire import Wire, wire_to
from lethe.cli import app
from lethe.errors import Unreachable
from lethe.evidence.ledger import walk
from lethe.purge.faults import INTAKE_POINTS
from lethe.subjects.identity import decide
from lethe.subjects.intake import Taken, list_files, take_files
from lethe.subjects.requests import show_identifiers

CANARY = "jeanne.canary@example.org"
ONE = {"kind": "access", "language": "fr", "email": CANARY}
CSV = (
    b"kind,language,email,email,account,received_at,channel\r\n"
    b"erasure,en,jeanne.canary@example.org,j@example.org,users:7,2026-05-11T09:00:00+02:00,letter\r\n"
    b'access,fr,"jeanne.canary@example.org",,,,\r\n'
)


@pytest.fixture
def wire(moto: ObjectServer) -> Iterator[Wire]:
    with wire_to(moto.endpoint) as made:
        yield made


@pytest.fixture(params=["versions", "no versions"])
def box(
    request: pytest.FixtureRequest,
    control: ControlDatabase,
    moto: ObjectServer,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Box]:
    versioned = request.param == "versions"
    with box_of(control, moto.endpoint, tmp_path, monkeypatch, versioned=versioned, seen_at=wire.endpoint) as made:
        yield made


@pytest.fixture
def shelf(control: ControlDatabase, ceph: CephGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with box_of(control, ceph.endpoint, tmp_path, monkeypatch, keys=ceph.new_user(), encryption="aws:kms") as made:
        yield made


def take(box: Box) -> Taken:
    with box.open() as workspace:
        return take_files(workspace, by="request_intake")


def who(box: Box, request: str) -> dict[str, list[str]]:
    return show_identifiers(box.control.runtime, request, by="a.martin", request_key=KEY)


def test_json_and_csv_open_their_requests_and_go_and_a_neighbour_stays(box: Box) -> None:
    box.put("a/one.json", ONE)
    box.put("two.JSON", [ONE, {"kind": "tenant_instruction", "language": "fr", "tenant": "42", "email": None}])
    box.put("three.csv", b"\xef\xbb\xbf" + CSV)
    box.put("notes.txt", CANARY.encode())
    taken = take(box)
    assert (taken.files, taken.refused, taken.kept) == (3, 0, ())
    assert set(taken.requests) == set(box.requests()) and len(taken.requests) == 5
    assert box.left() == ["notes.txt"]
    (letter,) = [i for (i,) in box.sql("SELECT id FROM lethe.requests WHERE channel = 'letter'")]
    assert who(box, letter) == {"email": [CANARY, "j@example.org"], "account": ["users:7"]}
    assert box.sql("SELECT reply_due_on::text FROM lethe.requests WHERE channel = 'letter'") == [("2026-05-19",)], "a holiday on the way"
    assert box.sql("SELECT count(*) FROM lethe.requests WHERE channel = 'ticket'") == [(4,)]
    assert sorted(len(r["requests"]) for r in box.evidence("intake.opened")) == [1, 2, 2]
    assert take(box) == Taken(requests=(), files=0, refused=0, kept=())
    assert traces.in_database(box.control.url, "canary") == []
    with box.control.runtime.connect() as connection:
        assert walk(connection).broken is None


def test_a_question_is_opened_and_a_proof_beside_it_is_not_kept(box: Box) -> None:
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", [{**ONE, "kind": "question", "proof": "passport.pdf"}, {"kind": "question", "language": "en"}])
    assert len(take(box).requests) == 2 and box.left() == [] and box.left(box.proofs) == []
    assert box.sql("SELECT DISTINCT kind, state FROM lethe.requests") == [("question", "received")]
    (gone,) = box.evidence("intake.deleted")
    assert (gone["proofs_moved"], gone["proofs_late"]) == (0, 1)


def test_on_a_real_gateway_all_versions_and_markers_of_a_file_go_and_its_proof_moves_encrypted(shelf: Box) -> None:
    box = shelf
    box.put("passport.pdf", b"%PDF first")
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", ONE)
    box.client.delete_object(Bucket=box.intake, Key="one.json")
    box.put("one.json", {**ONE, "proof": "passport.pdf"})
    box.put("one.json-annex", b"begins alike")
    (request,) = take(box).requests
    assert box.left() == ["one.json-annex"]
    (key,) = box.left(box.proofs)
    assert key.startswith(f"{request}/") and "passport" not in key
    stored = box.client.get_object(Bucket=box.proofs, Key=key)
    assert stored["Body"].read() == b"%PDF proof" and stored["ServerSideEncryption"] == "aws:kms"
    (gone,) = box.evidence("intake.deleted")
    assert (gone["entries"], gone["superseded"], gone["proofs_moved"]) == (3, 1, 1)
    with box.open() as workspace:
        assert decide(workspace, request, decision="accept", reason="document_seen", by="a.martin").proofs_deleted == 1
    assert box.left(box.proofs) == []


BAD: dict[str, tuple[str, bytes, int | None]] = {
    "no UTF-8": ("x.json", b'{"kind": "\xff"}', None),
    "no JSON": ("x.json", b"canary", None),
    "too deep": ("x.json", b"[" * 100_000, None),
    "no object": ("x.json", b'"canary"', None),
    "no request": ("x.json", b"[]", None),
    "an entry that is none": ("x.json", json.dumps([ONE, "canary"]).encode(), 2),
    "a field that no request has": ("x.json", json.dumps([ONE, {**ONE, "ticket": "canary"}]).encode(), 2),
    "a field twice": ("x.json", b'{"kind": "access", "kind": "erasure", "language": "fr", "email": "canary@example.org"}', 1),
    "a field that is missing": ("x.json", json.dumps({"kind": "access", "email": CANARY}).encode(), 1),
    "a list of kinds": ("x.json", json.dumps({**ONE, "kind": ["access"]}).encode(), 1),
    "a number": ("x.json", json.dumps({**ONE, "email": 7}).encode(), 1),
    "a kind that is none": ("x.json", json.dumps([ONE, ONE, {**ONE, "kind": "canary"}]).encode(), 3),
    "a channel that is none": ("x.json", json.dumps({**ONE, "channel": "canary"}).encode(), 1),
    "a language that is none": ("x.json", json.dumps({**ONE, "language": "canary"}).encode(), 1),
    "an address with a line break": ("x.json", json.dumps({**ONE, "email": "canary@example.org\n"}).encode(), 1),
    "an address of 10,000 characters": ("x.json", json.dumps({**ONE, "email": "canary" * 1700 + "@example.org"}).encode(), 1),
    "twenty-one addresses": ("x.json", json.dumps({**ONE, "email": [f"canary{n}@example.org" for n in range(21)]}).encode(), 1),
    "an account of nobody": ("x.json", json.dumps({**ONE, "account": "canary:7"}).encode(), 1),
    "nobody": ("x.json", json.dumps({"kind": "access", "language": "fr"}).encode(), 1),
    "a tenant by name": ("x.json", json.dumps({"kind": "tenant_instruction", "language": "fr", "tenant": "Canary & Co"}).encode(), 1),
    "an instant without zone": ("x.json", json.dumps({**ONE, "received_at": "2026-11-09T09:00:00"}).encode(), 1),
    "the future": ("x.json", json.dumps({**ONE, "received_at": "2099-11-09T09:00:00+01:00"}).encode(), 1),
    "a proof that is not there": ("x.json", json.dumps({**ONE, "proof": "canary.pdf"}).encode(), 1),
    "a proof that is a file of requests": ("x.json", json.dumps({**ONE, "proof": "canary.json"}).encode(), 1),
    "too large": ("x.json", b" " * (1 << 20) + json.dumps(ONE).encode(), None),
    "too many": ("x.json", json.dumps([{"kind": "processor_list", "language": "fr"}] * 1_001).encode(), None),
    "an empty CSV": ("x.csv", b"", None),
    "a header alone": ("x.csv", b"kind,language,email\r\n", None),
    "no header": ("x.csv", b"access,fr,canary@example.org\r\n", None),
    "a column twice": ("x.csv", b"kind,kind,email\r\n", None),
    "a short row": ("x.csv", b"kind,language,email\r\naccess,fr,canary@example.org\r\naccess,canary\r\n", 2),
    "an open quote": ("x.csv", b'kind,language,email\r\naccess,fr,"canary@example.org\r\n', 1),
    "a NUL": ("x.json", json.dumps({**ONE, "proof": "can\x00ary"}).encode(), 1),
}


@pytest.mark.parametrize(("name", "body", "entry"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_a_bad_file_opens_nothing_and_stays_on_record_once_without_a_word_of_it(
    box: Box, name: str, body: bytes, entry: int | None
) -> None:
    box.put(f"canary-{name}", body)
    box.put("good.json", ONE)
    taken = take(box)
    assert (taken.files, taken.refused, len(taken.requests), box.left()) == (1, 1, 1, [f"canary-{name}"])
    assert take(box).refused == 1
    (refused,) = box.evidence("intake.refused")
    assert refused["entry"] == entry and "canary" not in str(refused).lower() and refused["problem"]
    assert traces.in_database(box.control.url, "canary") == []
    with box.open() as workspace:
        (waiting,) = list_files(workspace)
    assert (waiting.key, waiting.what, waiting.problem, waiting.entry) == (f"canary-{name}", "refused", refused["problem"], entry)
    box.put(f"canary-{name}", ONE if name.endswith("json") else CSV)
    assert (take(box).files, box.left()) == (1, [])


def test_a_version_that_arrives_while_the_old_one_is_read_is_taken_by_the_next_run(box: Box, wire: Wire) -> None:
    """The store's clock has whole seconds, so the later version is another one by its content."""
    box.put("one.json", ONE)
    wire.at("get", 1, lambda: box.put("one.json", {**ONE, "kind": "erasure"}))
    first = take(box)
    wire.mend()
    second = take(box)
    kinds = [k for (k,) in box.sql("SELECT kind FROM lethe.requests ORDER BY kind")]
    # Without versions the one that was listed is gone before it could be read: only the later one is opened.
    assert (len(first.requests), len(second.requests), kinds) in ((1, 1, ["access", "erasure"]), (0, 1, ["erasure"]))
    assert box.left() == []


@pytest.mark.parametrize("box", ["no versions"], indirect=True)
def test_without_versions_what_was_written_over_after_it_was_read_is_not_deleted(box: Box, wire: Wire) -> None:
    box.put("one.json", ONE)
    wire.at("head", 1, lambda: box.put("one.json", {**ONE, "kind": "erasure"}))
    assert len(take(box).requests) == 1 and box.left() == ["one.json"]
    wire.mend()
    assert len(take(box).requests) == 1 and box.left() == []
    assert [k for (k,) in box.sql("SELECT kind FROM lethe.requests ORDER BY kind")] == ["access", "erasure"]


@pytest.mark.parametrize("name", sorted(INTAKE_POINTS))
@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_killed_at_any_step_no_request_is_opened_twice_and_nothing_is_left(box: Box, name: str) -> None:
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", [{**ONE, "proof": "passport.pdf"}, {**ONE, "kind": "erasure", "proof": "passport.pdf"}])
    killed = forked(take_once, dict(os.environ), f"{name}:kill:1")
    killed.start()
    killed.join(90)
    assert killed.exitcode == -signal.SIGKILL
    take(box)
    requests = box.requests()
    assert len(requests) == 2 and box.left() == []
    assert {key.partition("/")[0] for key in box.left(box.proofs)} == set(requests)
    assert len(set(box.left(box.proofs))) == 2
    assert len(box.evidence("intake.opened")) == 1


@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_two_runs_at_once_open_a_file_once(box: Box) -> None:
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", {**ONE, "proof": "passport.pdf"})
    ready = threading.Barrier(2)
    taken: list[Taken] = []

    def work() -> None:
        ready.wait(30)
        taken.append(take(box))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == 2 and sum(t.files for t in taken) == 1 and [t.kept for t in taken] == [(), ()]
    assert len(box.requests()) == len(box.evidence("intake.opened")) == 1
    assert box.left() == [] and len(set(box.left(box.proofs))) == 1


@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_a_request_that_is_decided_before_its_proof_has_moved_gets_none(box: Box, wire: Wire) -> None:
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", {**ONE, "proof": "passport.pdf"})
    wire.fail("put", 1, "cut", and_stop=True)
    with pytest.raises(Unreachable):
        take(box)
    wire.mend()
    (request,) = box.requests()
    with box.open() as workspace:
        decide(workspace, request, decision="accept", reason="known_address", by="a.martin")
    take(box)
    assert box.left() == box.left(box.proofs) == [] and box.evidence("intake.deleted")[0]["proofs_late"] == 1


@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_a_proof_that_could_not_be_encrypted_refuses_the_file_and_is_not_lost(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_REQUESTS_S3"])
    del connection["extra"]["encryption"]
    monkeypatch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps(connection))
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", {**ONE, "proof": "passport.pdf"})
    assert take(box).refused == 1 and "encryption" in box.evidence("intake.refused")[0]["problem"]
    assert box.left() == ["one.json", "passport.pdf"] and box.requests() == []


@pytest.mark.parametrize("kind", ["list versions", "get", "put", "delete"])
@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_a_store_that_stops_answering_at_any_request_is_red_and_the_next_run_ends_it(box: Box, wire: Wire, kind: Any) -> None:
    box.put("passport.pdf", b"%PDF proof")
    box.put("one.json", {**ONE, "proof": "passport.pdf"})
    wire.fail(kind, 1, "cut", and_stop=True)
    with pytest.raises(Unreachable) as away:
        take(box)
    assert "canary" not in str(away.value)
    wire.mend()
    take(box)
    assert len(box.requests()) == 1 and box.left() == [] and len(set(box.left(box.proofs))) == 1
    assert len(box.evidence("intake.opened")) == 1


@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_a_file_that_the_store_keeps_is_told_and_opened_once(box: Box, wire: Wire) -> None:
    box.put("one.json", ONE)
    wire.refused["one.json"] = "AccessDenied"
    first, second = take(box), take(box)
    assert (first.requests, second.requests) == (tuple(box.requests()), ()) and len(box.requests()) == 1
    assert len(first.kept) == len(second.kept) == 1 and "one.json" not in str(first.kept)
    with box.open() as workspace:
        assert [w.what for w in list_files(workspace)] == ["opened"]
    wire.mend()
    assert take(box).kept == () and box.left() == [] and len(box.requests()) == 1


@pytest.mark.parametrize("box", ["versions"], indirect=True)
def test_the_command_takes_files_and_names_those_that_stay(box: Box) -> None:
    box.put("one.json", ONE)
    box.put("bad.csv", b"canary")
    ended = CliRunner().invoke(app, ["request", "intake", "--by", "j.dupont", "--json"])
    told = json.loads(ended.stdout)
    assert (ended.exit_code, told["files"], told["refused"], told["requests"]) == (1, 1, 1, box.requests())
    ended = CliRunner().invoke(app, ["request", "intake", "--list"])
    assert ended.exit_code == 0 and "bad.csv" in ended.stdout
    assert CliRunner().invoke(app, ["request", "intake", "--by", CANARY]).exit_code == 2
