"""The ledger: nobody edits evidence unnoticed, not even a superuser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from helpers.control import ControlDatabase
from lethe.errors import EvidenceRefused, Unreachable
from lethe.evidence.heads import S3Heads, keep_head, kept_heads
from lethe.evidence.ledger import append, records, walk
from lethe.evidence.record import GENESIS, next_record, record_digest
from lethe.evidence.verdict import LedgerFinding, Verdict, verify_ledger
from lethe.instants import now

PLAN = "f" * 64


class Folder:
    """Heads in memory, with the same three methods as a bucket."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def names(self) -> list[str]:
        return list(self.kept)

    def get(self, name: str) -> bytes:
        return self.kept[name]


@pytest.fixture
def heads() -> Folder:
    return Folder()


@pytest.fixture
def written(control: ControlDatabase, heads: Folder) -> ControlDatabase:
    """Twelve records of four runs, each run's head kept outside."""
    for run in range(4):
        with control.runtime.begin() as connection:
            for step in range(3):
                append(connection, "step.verified", {"run": run, "step": step, "deleted": 10 * step}, run=PLAN)
        with control.runtime.connect() as connection:
            keep_head(connection, heads, PLAN)
    return control


def judged(control: ControlDatabase, heads: Folder) -> Verdict:
    with control.runtime.connect() as connection:
        return verify_ledger(connection, heads)


def as_superuser(control: ControlDatabase, *statements: str) -> None:
    """Switches the triggers off, edits, and switches them on again."""
    with control.superuser.begin() as connection:
        connection.execute(text("ALTER TABLE lethe.ledger DISABLE TRIGGER ALL"))
        for statement in statements:
            connection.execute(text(statement))
        for trigger in ("ledger_continues", "ledger_is_append_only"):
            connection.execute(text(f"ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER {trigger}"))


def test_each_record_carries_the_digest_of_the_one_before(written: ControlDatabase) -> None:
    with written.runtime.connect() as connection:
        chain = list(records(connection))
    assert [r.seq for r in chain] == list(range(1, 13))
    assert chain[0].previous == GENESIS
    assert all(b.previous == a.digest for a, b in pairwise(chain))
    assert all(r.computed() == r.digest for r in chain)
    assert chain[4].content == {"run": 1, "step": 1, "deleted": 10}


def test_a_sound_ledger_is_found_sound_and_witnessed_to_its_last_head(written: ControlDatabase, heads: Folder) -> None:
    verdict = judged(written, heads)
    assert verdict.sound and verdict.records == 12 and verdict.heads == 4 and verdict.witnessed_to == 12
    assert verdict.head is not None and verdict.head.name in heads.names()


def test_records_after_the_last_head_are_held_by_the_chain_alone(written: ControlDatabase, heads: Folder) -> None:
    with written.runtime.begin() as connection:
        append(connection, "hold.added", {"hold": 1})
    verdict = judged(written, heads)
    assert verdict.sound and verdict.records == 13 and verdict.witnessed_to == 12


def test_an_empty_ledger_is_sound_and_has_no_head_to_keep(control: ControlDatabase, heads: Folder) -> None:
    with control.runtime.connect() as connection:
        assert keep_head(connection, heads, PLAN) is None
    assert judged(control, heads) == Verdict(records=0, head=None, heads=0, witnessed_to=0, findings=())


@pytest.mark.parametrize(("login", "state"), [("runtime", "42501"), ("approver", "42501"), ("owner", "LT001"), ("superuser", "LT001")])
def test_nobody_changes_or_removes_a_record(written: ControlDatabase, heads: Folder, login: str, state: str) -> None:
    for statement in (
        "UPDATE lethe.ledger SET body = '{}'",
        "DELETE FROM lethe.ledger WHERE seq = 12",
        "DELETE FROM lethe.ledger WHERE false",
        "TRUNCATE lethe.ledger",
    ):
        with pytest.raises(DBAPIError) as refused, getattr(written, login).begin() as connection:
            connection.execute(text(statement))
        assert getattr(refused.value.orig, "sqlstate", None) == state
    assert judged(written, heads).sound


def test_replica_mode_does_not_switch_the_guards_off(written: ControlDatabase, heads: Folder) -> None:
    with pytest.raises(DBAPIError, match="append-only"), written.superuser.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE lethe.ledger SET body = '{}' WHERE seq = 5"))
    assert judged(written, heads).sound


def test_an_insert_that_does_not_continue_the_chain_is_refused(written: ControlDatabase) -> None:
    with written.runtime.connect() as connection:
        last = list(records(connection))[-1]
    cases: list[tuple[dict[str, object], str]] = [
        ({"seq": 14}, "does not follow"),
        ({"seq": 12}, "does not follow"),
        ({"seq": 0}, "does not follow"),
        ({"previous": "0" * 64}, "does not carry the digest"),
        ({"body": '{"deleted":0}'}, "is not that of its content"),
        ({"kind": "step.forged"}, "is not that of its content"),
        ({"run": None}, "is not that of its content"),
        ({"recorded_at": "2020-01-01T00:00:00.000000+00:00"}, "is not that of its content"),
        ({"digest": "1" * 64}, "is not that of its content"),
    ]
    for change, says in cases:
        forged = next_record((last.seq, last.digest), "step.verified", {"deleted": 1}, run=PLAN, at=now()).model_dump() | change
        with pytest.raises(DBAPIError, match=says), written.runtime.begin() as connection:
            insert(connection, forged)


def test_the_database_computes_the_same_digest_as_the_library(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        append(connection, "step.verified", {"texte": "été ☕ 𝄞 \n\t\\ \" '", "nul": None, "n": 10**17}, run="hold:1")
        append(connection, "step.verified", {})
    with control.runtime.connect() as connection:
        assert walk(connection).broken is None


def insert(connection: Connection, values: dict[str, object]) -> None:
    columns = ", ".join(values)
    connection.execute(text(f"INSERT INTO lethe.ledger ({columns}) VALUES ({', '.join(':' + c for c in values)})"), values)


@pytest.mark.parametrize("column", ["body", "kind", "run", "recorded_at"])
def test_an_edited_record_is_named(written: ControlDatabase, heads: Folder, column: str) -> None:
    as_superuser(written, f"UPDATE lethe.ledger SET {column} = '2020' WHERE seq = 5")
    verdict = judged(written, heads)
    assert [(f.how, f.seq) for f in verdict.findings] == [("edited", 5)]
    assert verdict.witnessed_to == 3 and verdict.records == 4


def test_an_edited_record_whose_digest_was_made_to_fit_is_named_too(written: ControlDatabase, heads: Folder) -> None:
    with written.runtime.connect() as connection:
        record = list(records(connection))[4]
    fields = record.model_dump(exclude={"digest"}) | {"body": "{}"}
    as_superuser(written, f"UPDATE lethe.ledger SET body = '{{}}', digest = '{record_digest(**fields)}' WHERE seq = 5")
    assert [(f.how, f.seq) for f in judged(written, heads).findings] == [("edited", 5)]


def test_a_record_taken_out_of_the_middle_is_missing(written: ControlDatabase, heads: Folder) -> None:
    as_superuser(written, "DELETE FROM lethe.ledger WHERE seq = 5")
    assert [(f.how, f.seq) for f in judged(written, heads).findings] == [("missing", 5)]


def rewrite(control: ControlDatabase, *, start: int) -> None:
    """Writes the chain again from `start`, with another content and digests that fit."""
    with control.superuser.connect() as connection:
        chain = list(records(connection))
    last = (chain[start - 2].seq, chain[start - 2].digest) if start > 1 else None
    as_superuser(control, f"DELETE FROM lethe.ledger WHERE seq >= {start}")
    with control.superuser.begin() as connection:
        for record in chain[start - 1 :]:
            forged = next_record(last, record.kind, {**record.content, "deleted": 0}, run=record.run, at=now())
            insert(connection, forged.model_dump())
            last = (forged.seq, forged.digest)


@pytest.mark.parametrize(("start", "contradicted", "confirmed"), [(1, 3, 0), (5, 6, 3), (12, 12, 9)])
def test_a_rewritten_chain_is_found_by_the_kept_heads(
    written: ControlDatabase, heads: Folder, start: int, contradicted: int, confirmed: int
) -> None:
    rewrite(written, start=start)
    with written.runtime.connect() as connection:
        assert walk(connection).broken is None, "the forged chain holds in itself: only the heads can tell"
    verdict = judged(written, heads)
    assert [(f.how, f.seq) for f in verdict.findings] == [("rewritten", contradicted)]
    assert verdict.witnessed_to == confirmed


@pytest.mark.parametrize("kept", [0, 3, 10, 11])
def test_a_cut_tail_is_found_by_the_kept_heads(written: ControlDatabase, heads: Folder, kept: int) -> None:
    as_superuser(written, f"DELETE FROM lethe.ledger WHERE seq > {kept}")
    verdict = judged(written, heads)
    assert verdict.findings == (
        LedgerFinding(how="cut", seq=kept + 1, text=f"The tail was cut: records {kept + 1} to 12 existed and are gone."),
    )


def test_a_cut_tail_that_grew_again_is_a_rewritten_chain(written: ControlDatabase, heads: Folder) -> None:
    as_superuser(written, "DELETE FROM lethe.ledger WHERE seq > 10")
    with written.runtime.begin() as connection:
        for _ in range(4):
            append(connection, "step.verified", {"deleted": 0}, run=PLAN)
    assert [(f.how, f.seq) for f in judged(written, heads).findings] == [("rewritten", 12)]


def test_guards_that_are_off_are_a_finding(written: ControlDatabase, heads: Folder) -> None:
    with written.superuser.begin() as connection:
        connection.execute(text("ALTER TABLE lethe.ledger DISABLE TRIGGER ledger_is_append_only"))
    assert [f.how for f in judged(written, heads).findings] == ["unguarded"]


@pytest.fixture
def ended(written: ControlDatabase, heads: Folder) -> ControlDatabase:
    """Records 13 and 14: a run that ended, and its head kept outside; record 15 a hold, which has none."""
    with written.runtime.begin() as connection:
        append(connection, "run.opened", {"attempt": 1}, run=PLAN)
        append(connection, "run.finished", {"outcome": "clean"}, run=PLAN)
    with written.runtime.connect() as connection:
        keep_head(connection, heads, PLAN)
    with written.runtime.begin() as connection:
        append(connection, "hold.added", {"hold": 1})
    return written


def test_no_kept_head_at_all_is_no_all_clear_once_a_run_has_ended(ended: ControlDatabase, heads: Folder) -> None:
    assert judged(ended, heads).sound and judged(ended, heads).witnessed_to == 14
    empty = judged(ended, Folder())
    assert [(f.how, f.seq) for f in empty.findings] == [("unwitnessed", 14)]
    assert not empty.sound and (empty.heads, empty.witnessed_to) == (0, 0)


def test_heads_must_reach_the_last_run_that_ended(ended: ControlDatabase, heads: Folder) -> None:
    del heads.kept[sorted(heads.kept)[-1]]
    verdict = judged(ended, heads)
    assert [(f.how, f.seq) for f in verdict.findings] == [("unwitnessed", 14)] and verdict.witnessed_to == 12


@pytest.mark.parametrize("kind", ["run.failed", "run.refused", "run.dry", "audit.finished"])
def test_a_run_that_ended_otherwise_needs_its_head_as_well(ended: ControlDatabase, heads: Folder, kind: str) -> None:
    with ended.runtime.begin() as connection:
        append(connection, kind, {})
    assert [(f.how, f.seq) for f in judged(ended, heads).findings] == [("unwitnessed", 16)]
    with ended.runtime.connect() as connection:
        keep_head(connection, heads, PLAN)
    assert judged(ended, heads).sound


def test_a_chain_rewritten_before_its_heads_were_wiped_is_found_by_their_absence(ended: ControlDatabase) -> None:
    rewrite(ended, start=1)
    assert [f.how for f in judged(ended, Folder()).findings] == ["unwitnessed"]


def test_a_run_that_ends_while_the_ledger_is_verified_is_no_finding(ended: ControlDatabase, heads: Folder) -> None:
    class Meanwhile(Folder):
        """The first listing is made just before another run ends and keeps its head."""

        def names(self) -> list[str]:
            listed = super().names()
            if len(self.kept) == 5:
                with ended.runtime.begin() as connection:
                    append(connection, "run.finished", {"outcome": "clean"}, run=PLAN)
                with ended.runtime.connect() as connection:
                    keep_head(connection, self, PLAN)
            return listed

    meanwhile = Meanwhile()
    meanwhile.kept = dict(heads.kept)
    verdict = judged(ended, meanwhile)
    assert verdict.sound and (verdict.heads, verdict.witnessed_to, verdict.records) == (6, 16, 16)


def test_eight_writers_at_once_make_one_chain(control: ControlDatabase) -> None:
    url = control.runtime.url.set(drivername="postgresql").render_as_string(hide_password=False)
    folder = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{folder.parent / 'include'}:{folder}"}
    command = [sys.executable, "-m", "helpers.ledger_writer", url]
    writers = [subprocess.Popen([*command, str(w), "25"], env=environment) for w in range(8)]
    assert [w.wait(timeout=120) for w in writers] == [0] * 8
    with control.runtime.connect() as connection:
        assert walk(connection).records == 200
        assert walk(connection).broken is None
        numbers = [(r.content["writer"], r.content["number"]) for r in records(connection)]
    assert sorted(numbers) == [(w, n) for w in range(8) for n in range(25)]
    assert len({w for w, _ in numbers[:100]}) > 1, "they did write at once"


def test_a_record_of_a_transaction_that_rolled_back_leaves_no_gap(control: ControlDatabase) -> None:
    with pytest.raises(ZeroDivisionError), control.runtime.begin() as connection:
        append(connection, "step.verified", {"n": 1})
        _ = 1 / 0
    with control.runtime.begin() as connection:
        assert append(connection, "step.verified", {"n": 2}).seq == 1


@pytest.mark.parametrize(
    "body",
    [
        {"by": "jeanne.martin@example.org"},
        {"jeanne.martin@example.org": 1},
        {"deep": [{"x": ("ok", "see mailto:jeanne.martin@example.org now")}]},
        {"encoded": "jeanne.martin%40example.org"},
        {"script": "jeanne@exemple.élysée"},
        {"dsn": "postgresql://lethe:secret@db.example.org/spotrak"},
    ],
)
def test_a_body_that_looks_personal_is_refused_and_not_repeated(control: ControlDatabase, body: dict[str, object]) -> None:
    with pytest.raises(EvidenceRefused) as refused, control.runtime.begin() as connection:
        append(connection, "step.verified", body)
    assert "jeanne" not in str(refused.value) and "secret" not in str(refused.value)
    with control.runtime.connect() as connection:
        assert walk(connection).records == 0


@pytest.mark.parametrize(
    ("kind", "run", "body"),
    [
        ("Nonsense", None, {}),
        ("a.b\nc", None, {}),
        ("a.b", "x\ny", {}),
        ("a.b", "", {}),
        ("a.b", None, {"x": object()}),
        ("a.b", None, {"x": float("nan")}),
    ],
)
def test_what_is_no_evidence_is_refused(control: ControlDatabase, kind: str, run: str | None, body: dict[str, object]) -> None:
    with pytest.raises(EvidenceRefused), control.runtime.begin() as connection:
        append(connection, kind, body, run=run)


@pytest.fixture
def bucket() -> Iterator[S3Heads]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="lethe-evidence")
        yield S3Heads(client, "lethe-evidence")


def test_heads_in_a_bucket_are_all_read_and_kept_once(control: ControlDatabase, bucket: S3Heads) -> None:
    with control.runtime.begin() as connection:
        append(connection, "run.finished", {"outcome": "clean"}, run=PLAN)
    with control.runtime.connect() as connection:
        kept = keep_head(connection, bucket, PLAN)
        assert kept == keep_head(connection, bucket, PLAN)
        assert kept is not None and kept_heads(bucket) == (kept,)
        assert PLAN.encode() in bucket.get(kept.name)
        assert verify_ledger(connection, bucket).sound


def test_heads_that_cannot_be_read_are_no_all_clear(control: ControlDatabase, bucket: S3Heads) -> None:
    missing = S3Heads(boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"), "nowhere")
    with control.runtime.connect() as connection, pytest.raises(Unreachable):
        verify_ledger(connection, missing)
