"""The list of processors in a real bucket and a real ledger: stored, read back, checked, on record; and sent to who asks, once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch as patched
from zoneinfo import ZoneInfo

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from demo.buckets import ensure_bucket
from demo.objects import ObjectServer
from helpers import traces
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.mailing import KEY, PERSON, Mailbox, opened
from lethe.accountability.answering import answer_list, waiting
from lethe.accountability.listing import make_list
from lethe.accountability.suite import COVERED, READ_BACK
from lethe.airflow import listing
from lethe.cli import app
from lethe.connections import Connection, from_environment
from lethe.control.answers import answers_of
from lethe.control.requests import RequestState, request_of
from lethe.errors import (
    BadAsOf,
    BeforeRegister,
    ExportFailed,
    InvalidFile,
    NoAddress,
    NotInForce,
    ReportNotWritten,
    RequestRefused,
    Uncountable,
    UnknownName,
    Unreachable,
    UntrueList,
)
from lethe.evidence.ledger import records, walk
from lethe.instants import local_day
from lethe.plan.make import make_plan
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client
from lethe.stores.s3.count import survey
from lethe.stores.s3.delete import delete_due
from lethe.stores.s3.listing import everything
from lethe.workspace import Workspace

AT = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
TODAY = date(2026, 11, 28)
ASKED = {"kind": "processor_list", "received_at": AT, "at": AT}


@dataclass(kw_only=True)
class House:
    """A company's own folder, bucket, ledger and mail server; Lethe reaches them by the environment."""

    control: ControlDatabase
    folder: Path
    reports: Path
    bucket: str
    lists: str
    client: Any = field(repr=False)
    mailbox: Mailbox

    def open(self) -> Workspace:
        return Workspace.open()

    def edit(self, change: Any) -> None:
        """Writes the register anew, after a change of its plain value."""
        file = self.folder / "processors.yaml"
        value = yaml.safe_load(file.read_text())
        change({e["id"]: e for e in value["processors"] + value["recipients"]}, value)
        file.write_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))

    def evidence(self, *kinds: str) -> list[dict[str, Any]]:
        with self.control.runtime.connect() as connection:
            assert walk(connection).broken is None
            return [r.content for r in records(connection, kinds=set(kinds))]

    def objects(self) -> dict[str, bytes]:
        """What lies in both buckets: what is internal in its own, and nothing else there."""
        public, internal = (
            {k: self.client.get_object(Bucket=b, Key=k)["Body"].read() for k in self.keys(b)} for b in (self.bucket, self.lists)
        )
        assert all("/public/" in k for k in public) and all("/internal/" in k for k in internal)
        return public | internal

    def keys(self, bucket: str) -> list[str]:
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=bucket, Prefix="processors/").get("Contents", [])]

    def state(self, request: str) -> RequestState:
        with self.control.runtime.connect() as connection:
            return request_of(connection, request).state


@pytest.fixture
def house(
    control: ControlDatabase, moto: ObjectServer, mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    bucket, folder = f"lethe-{uuid.uuid4().hex[:8]}", tmp_path / "policies"
    extra = {"endpoint_url": moto.endpoint, "region_name": "us-east-1"}
    s3 = client(Connection(id="x", kind="aws", login="key", password="secret", extra=extra))
    lists = f"{bucket}-lists"
    for each in (bucket, lists):
        ensure_bucket(s3, each, versioned=True)
    shutil.copytree(SHIPPED, folder)
    catalog = folder / "catalog" / "lethe_requests.yaml"
    catalog.write_text(catalog.read_text().replace("bucket: lethe-lists", f"bucket: {lists}"))
    variable = json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": {**extra, "bucket": bucket}})
    url = make_url(control.url).set(username="lethe_runtime", password=None)
    for name, value in {
        "AIRFLOW_CONN_LETHE_DB": url.render_as_string(hide_password=False),
        "AIRFLOW_CONN_LETHE_S3": variable,
        "AIRFLOW_CONN_REQUESTS_S3": json.dumps(
            {"conn_type": "aws", "login": "key", "password": "secret", "extra": {**extra, "encryption": "AES256"}}
        ),
        "AIRFLOW_CONN_LETHE_SMTP": mailbox.connection(),
        "LETHE_DIGEST_KEY": DIGEST_KEY.hex(),
        "LETHE_REQUEST_KEY": KEY.hex(),
        "LETHE_POLICY_DIR": str(folder),
        "LETHE_REPORTS_DIR": str(tmp_path / "reports"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("lethe.airflow.connections.from_airflow", from_environment)
    yield House(control=control, folder=folder, reports=tmp_path / "reports", bucket=bucket, lists=lists, client=s3, mailbox=mailbox)


def test_a_list_is_stored_read_back_checked_and_on_record_and_the_next_one_says_what_changed(house: House) -> None:
    with house.open() as workspace:
        first = make_list(workspace, as_of=date(2026, 10, 31), at=AT)
        again = make_list(workspace, as_of=date(2026, 10, 31), at=AT)
        assert first == again and first["since"] is None, "the same inputs, the same list: the bytes' digests too"

        def another(entries: dict[str, Any], _: Any) -> None:
            old = entries["guichet"]["versions"][0]
            entries["guichet"]["versions"].append({**old, "active_from": date(2026, 11, 10), "legal_name": "Guichet Nouveau SA"})
            old["active_to"] = date(2026, 11, 9)

        house.edit(another)
    with house.open() as workspace:
        second = make_list(workspace, at=AT)
    assert (second["as_of"], second["since"], second["changes"]) == ("2026-11-28", "2026-10-31", 1)
    assert second["processors"] == first["processors"] and second["list"] != first["list"]
    assert house.evidence("processors.listed") == [first, again, second] and house.evidence("processors.failed") == []
    stored = house.objects()
    for made in (first, second):
        files = {k.removeprefix(f"{made['folder']}/"): v for k, v in stored.items() if k.startswith(f"{made['folder']}/")}
        assert {n: hashlib.sha256(body).hexdigest() for n, body in files.items()} == made["files"]
        assert {n.split("/")[0] for n in files} == {"public", "internal"} and len(files) == 18
        for audience in ("public", "internal"):
            found, shape = (json.loads(stored[f"{made['folder']}/{audience}/processors{kind}.json"]) for kind in ("", ".schema"))
            Draft202012Validator(shape, format_checker=FormatChecker()).validate(found)
        assert all((house.reports / made["folder"] / n).read_bytes() == body for n, body in files.items())
        assert {c["status"] for c in made["checks"]} == {"passed"} and made["findings"] == [] and made["ending"] == []
    page = stored[f"{second['folder']}/public/processors.en.html"].decode()
    assert "Guichet Nouveau SA" in page and "Since the list of 31 October 2026." in page
    assert "Guichet Nouveau" not in stored[f"{first['folder']}/public/processors.en.html"].decode()
    heads = house.client.list_objects_v2(Bucket=house.bucket, Prefix="ledger/heads/")["Contents"]
    assert len(heads) == 3, "the ledger's head is kept outside for each"
    assert "@" not in json.dumps(house.evidence("processors.listed")) and "+33" not in json.dumps(second)


def no_agreement(entries: dict[str, Any], _: Any) -> None:
    del entries["rivage"]["versions"][-1]["agreement"]


def ended_agreement(entries: dict[str, Any], _: Any) -> None:
    entries["colombe"]["versions"][-1]["agreement"]["in_force_to"] = date(2026, 11, 27)


def loop(entries: dict[str, Any], _: Any) -> None:
    entries["lagerhof"]["versions"][-1]["sub_processors"] = ["rivage"]


def nobody_receives(entries: dict[str, Any], value: Any) -> None:
    value["processors"] = [p for p in value["processors"] if p["id"] != "guichet"]


@pytest.mark.parametrize(
    ("change", "finding", "failed"),
    [
        (no_agreement, "agreement missing: processors.yaml rivage", [COVERED]),
        (ended_agreement, "agreement over: processors.yaml colombe", [COVERED]),
        (loop, "loop of sub-processors: processors.yaml lagerhof, rivage, vallon", []),
        (nobody_receives, "flow to nobody: disclosure.yaml billing_invoices payment", []),
    ],
)
def test_a_finding_makes_the_run_red_after_all_is_on_record_and_the_list_is_sent_to_nobody(
    house: House, change: Any, finding: str, failed: list[str]
) -> None:
    house.edit(change)
    asked = opened(house.control, **ASKED)
    with house.open() as workspace:
        with pytest.raises(UntrueList, match="findings"):
            make_list(workspace, at=AT)
        with pytest.raises(UntrueList, match="given to nobody"):
            answer_list(workspace, asked, by="a.martin", at=AT)
    (told,) = house.evidence("processors.listed")
    assert finding in told["findings"] and [c["check"] for c in told["checks"] if c["status"] != "passed"] == failed
    assert len(house.objects()) == len(told["files"]) == 18
    assert house.mailbox.mails == [] and house.state(asked) is RequestState.RECEIVED


def test_what_changed_is_told_since_the_last_list_that_stood(house: House) -> None:
    with house.open() as workspace:
        make_list(workspace, as_of=date(2026, 9, 30), at=AT)
    kept = (house.folder / "processors.yaml").read_text()
    house.edit(loop)
    with house.open() as workspace, pytest.raises(UntrueList):
        make_list(workspace, as_of=date(2026, 10, 31), at=AT)
    (house.folder / "processors.yaml").write_text(kept)
    with house.open() as workspace:
        assert make_list(workspace, at=AT)["since"] == "2026-09-30"


def bad(folder: Path, text: str) -> None:
    file = folder / "processors.yaml"
    file.write_text(file.read_text().replace("country: IE", text, 1))


@pytest.mark.parametrize(
    ("given", "prepare", "error"),
    [
        ({"as_of": date(2026, 11, 29)}, None, BadAsOf),
        ({"since": TODAY}, None, BadAsOf),
        ({"as_of": date(2026, 5, 2), "since": date(2013, 1, 1)}, None, BeforeRegister),
        ({"as_of": date(2026, 4, 30)}, None, NotInForce),
        ({}, lambda folder: (folder / "processors.yaml").unlink(), InvalidFile),
        ({}, lambda folder: bad(folder, "country: XX"), InvalidFile),
        ({}, lambda folder: (folder / "disclosure.yaml").unlink(), InvalidFile),
    ],
    ids=["a day to come", "since today", "since before the register", "before the policy", "no register", "unknown country", "no words"],
)
def test_a_list_that_cannot_be_made_says_why_and_leaves_evidence(house: House, given: Any, prepare: Any, error: type[Exception]) -> None:
    if prepare:
        prepare(house.folder)
    with house.open() as workspace, pytest.raises(error):
        make_list(workspace, **given, at=AT)
    assert [e["problem"] for e in house.evidence("processors.failed")] == [error.__name__]
    assert house.evidence("processors.listed") == [] and house.objects() == {}


def test_internal_files_lie_encrypted_apart_and_all_their_versions_go_after_their_period(house: House) -> None:
    with house.open() as workspace:
        for _ in range(2):
            made = make_list(workspace, at=AT)
        assert made["internal"] == "internal_lists"
        kept = {k: house.client.head_object(Bucket=house.lists, Key=k)["ServerSideEncryption"] for k in house.keys(house.lists)}
        assert len(kept) == sum(n.startswith("internal/") for n in made["files"]) == 11 and set(kept.values()) == {"AES256"}
        public = house.keys(house.bucket)
        at = max(e.at for e in everything(house.client, house.lists, ""))
        policy = workspace.policy(at)
        (rule,) = (r for r in policy.rules if r.category == "internal-lists")
        due = rule.period.after(local_day(at, policy.time_zone)) + timedelta(days=1)
        midnight = datetime.combine(due, time.min, ZoneInfo(policy.time_zone))

        def plan(as_of: datetime) -> Any:
            (step,) = make_plan(policy, workspace.catalog, as_of=as_of, rules=[rule.id]).steps
            assert step.acts and step.dataset == "internal_lists"
            return step.predicate

        before = survey(house.client, plan(midnight - timedelta(seconds=1)), dataset="internal_lists").counts
        assert (before.total, before.due) == (22, 0), "two versions of each are kept through their anniversary"
        gone = delete_due(house.client, plan(midnight), on_batch=lambda _: None, dataset="internal_lists")
        assert gone.deleted == 22 and list(everything(house.client, house.lists, "")) == []
        assert house.keys(house.bucket) == public, "what anybody may have stays beside the evidence"


@pytest.mark.parametrize(("why", "error"), [("no place", UnknownName), ("not encrypted", RequestRefused)])
def test_without_a_place_that_expires_and_is_encrypted_nothing_is_stored_anywhere(
    house: House, monkeypatch: pytest.MonkeyPatch, why: str, error: type[Exception]
) -> None:
    if why == "no place":
        catalog = house.folder / "catalog" / "lethe_requests.yaml"
        catalog.write_text(catalog.read_text().partition("  internal_lists:")[0])
    else:
        given = json.loads(os.environ["AIRFLOW_CONN_REQUESTS_S3"])
        del given["extra"]["encryption"]
        monkeypatch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps(given))
    with house.open() as workspace, pytest.raises(error):
        make_list(workspace, at=AT)
    assert house.objects() == {} and [e["problem"] for e in house.evidence("processors.failed")] == [error.__name__]


def test_a_store_that_is_away_or_keeps_something_else_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.open() as workspace:
        real = workspace.s3("lethe_s3")

        class Altering:
            def put_object(self, **of: Any) -> Any:
                altered = of["Body"].replace(b"rivage", b"rivale") if of["Key"].endswith("public/processors.csv") else of["Body"]
                return real.put_object(**{**of, "Body": altered})

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        with patched.object(Workspace, "s3", lambda *_: Altering()), pytest.raises(UntrueList, match=READ_BACK):
            make_list(workspace, at=AT)
    monkeypatch.setenv(
        "AIRFLOW_CONN_LETHE_S3",
        json.dumps(
            {
                "conn_type": "aws",
                "login": "key",
                "password": "secret",
                "extra": {"endpoint_url": house.client.meta.endpoint_url, "bucket": "no-such-bucket"},
            }
        ),
    )
    with house.open() as workspace, pytest.raises((Uncountable, Unreachable)):
        make_list(workspace, at=AT)
    assert len(house.evidence("processors.failed")) == 1


def test_a_reports_folder_that_takes_nothing_is_told_and_the_list_is_stored_and_on_record(house: House) -> None:
    house.reports.write_text("a file, where a folder should be")
    with house.open() as workspace, pytest.raises(ReportNotWritten, match="could not be written"):
        make_list(workspace, at=AT)
    (told,) = house.evidence("processors.listed")
    assert {k.removeprefix(f"{told['folder']}/") for k in house.objects()} == set(told["files"])


def test_an_agreement_that_ends_soon_is_told_and_on_record_and_nothing_is_red(house: House) -> None:
    house.edit(lambda entries, _: entries["guichet"]["versions"][-1]["agreement"].update(in_force_to=date(2027, 1, 15)))
    sent: list[tuple[str, str]] = []
    with patched("lethe.airflow.notifier.send", lambda *message: sent.append(message)):
        assert listing.warn(context()) == 1
    with house.open() as workspace:
        made = make_list(workspace, at=AT)
    assert made["ending"] == [{"id": "guichet", "last_day": "2027-01-15", "days_left": 48}]
    ((title, text),) = sent
    assert "1 agreement" in title and "guichet: agreement SPK-GUI-2016-09 is over after 2027-01-15" in text


def context(**given: Any) -> dict[str, Any]:
    """A task's context: params, and who started the run."""
    return {"params": {"as_of": None, "since": None, "requests": [], **given}, "dag_run": SimpleNamespace(triggering_user_name="admin")}


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """The clock of the tasks."""
    with patched("lethe.airflow.listing.now", lambda: moment), patched("lethe.accountability.listing.now", lambda: moment):
        yield


def test_who_asks_gets_the_public_list_by_mail_once_without_proving_anything(house: House) -> None:
    asked, english = opened(house.control, **ASKED), opened(house.control, **ASKED, language="en")
    access = opened(house.control)
    with house.open() as workspace:
        made = make_list(workspace, at=AT)
        assert waiting(workspace) == tuple(sorted([asked, english]))
        assert answer_list(workspace, asked, by="a.martin", at=AT) is not None
        assert answer_list(workspace, asked, by="a.martin", at=AT) is None, "answered already"
        assert answer_list(workspace, english, by="a.martin", at=AT) is not None
        with pytest.raises(RequestRefused, match="no answer to it"):
            answer_list(workspace, access, by="a.martin", at=AT)
        assert waiting(workspace) == ()
    assert len(house.mailbox.mails) == 2 and [m.rcpt_tos for m in house.mailbox.mails] == [[PERSON]] * 2
    for which, language, word in ((0, "fr", "sous-traitants"), (1, "en", "processors")):
        mail = house.mailbox.read(which)
        body = mail.get_body(("plain",))
        assert body is not None and word in mail["Subject"] and "Pour" not in mail["Message-ID"]
        attached = {a.get_filename(): a.get_payload(decode=True) for a in mail.iter_attachments()}
        stored = {"csv": "processors.csv", "json": "processors.json", "pdf": f"processors.{language}.pdf"}
        for kind, name in stored.items():
            content = attached[f"processors-2026-11-28.{kind}"]
            assert content == house.objects()[f"{made['folder']}/public/{name}"], "the very file that is stored"
            assert hashlib.sha256(content).hexdigest() in body.get_content()
        assert len(attached) == 3
    assert house.state(asked) is RequestState.ANSWERED and house.state(access) is RequestState.RECEIVED
    decided = [e for e in house.evidence("request.decided") if e["request"] == asked]
    assert [(e["decision"], e["reason"], e["identity"]) for e in decided] == [("accept", "no_identity_needed", "claimed")]
    assert traces.in_database(house.control.url, PERSON) == []


def test_an_answer_that_was_sent_before_its_request_moved_on_is_not_sent_again(house: House) -> None:
    asked = opened(house.control, **ASKED)
    with house.open() as workspace:
        with patched("lethe.accountability.answering.move_on", side_effect=RuntimeError("killed here")), pytest.raises(RuntimeError):
            answer_list(workspace, asked, by="a.martin", at=AT)
        assert house.state(asked) is RequestState.ACCEPTED
        sent = answer_list(workspace, asked, by="a.martin", at=AT)
    assert sent is not None and sent.already and len(house.mailbox.mails) == 1 and house.state(asked) is RequestState.ANSWERED


def test_the_dag_s_tasks_answer_every_open_request_and_one_that_fails_keeps_no_other_waiting(house: House) -> None:
    with at(AT):
        with pytest.raises(AirflowSkipException):
            listing.answer(context())
        by_letter = opened(house.control, ("account", "users:7"), **ASKED, channel="letter")
        others = [opened(house.control, ("email", f"p{n}@example.org"), **ASKED) for n in range(2)]
        published = listing.publish(context(as_of="2026-11-01"))
        assert published["as_of"] == "2026-11-01" and "ending" not in published
        with pytest.raises(ExportFailed, match=f"{by_letter} \\(NoAddress\\)"):
            listing.answer(context())
        assert [house.state(r) for r in others] == [RequestState.ANSWERED] * 2 and len(house.mailbox.mails) == 2
        with pytest.raises(ExportFailed):
            listing.answer(context(requests=[by_letter]))
        assert listing.answer(context(requests=others)) == dict.fromkeys(others, "answered before")
        for wrong in (["somebody@example.org"], "R-2026-7K3M9QWX"):
            with pytest.raises(RequestRefused) as refused:
                listing.answer(context(requests=wrong))
            assert "somebody" not in str(refused.value)
        for wrong_day in ("yesterday", 7, "2026-02-30"):
            with pytest.raises(BadAsOf):
                listing.publish(context(as_of=wrong_day))


def test_the_command_answers_by_mail_or_prints_letter_and_files(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.instants.now", lambda: AT)
    asked, by_letter = opened(house.control, **ASKED), opened(house.control, ("account", "users:7"), **ASKED, channel="letter")
    run = CliRunner().invoke
    done = run(app, ["request", "answer", asked, "--by", "a.martin"])
    assert done.exit_code == 0 and f"processor_list to request {asked} is sent" in done.output.replace("\n", " ")
    again = run(app, ["request", "answer", asked, "--by", "a.martin", "--json"])
    assert again.exit_code == 0 and json.loads(again.output) == {"request": asked, "already": True} and len(house.mailbox.mails) == 1
    assert run(app, ["request", "answer", by_letter, "--by", "a.martin"]).exit_code != 0
    folder = tmp_path / "letter"
    folder.mkdir()
    printed = run(app, ["request", "answer", by_letter, "--by", "a.martin", "--print", str(folder / "letter.txt")])
    assert printed.exit_code == 0, printed.output
    assert {f.name for f in folder.iterdir()} == {"letter.txt"} | {f"processors-2026-11-28.{k}" for k in ("pdf", "csv", "json")}
    assert hashlib.sha256((folder / "processors-2026-11-28.pdf").read_bytes()).hexdigest() in (folder / "letter.txt").read_text()
    settled = run(app, ["request", "answered", by_letter, "--kind", "processor_list", "--sent", "--by", "a.martin"])
    assert settled.exit_code == 0 and house.state(by_letter) is RequestState.ANSWERED
    with house.control.runtime.connect() as connection:
        assert [(a.kind.value, a.state.value) for a in answers_of(connection, by_letter)] == [("processor_list", "sent")]
    access = opened(house.control)
    refused = run(app, ["request", "answer", access, "--by", "a.martin"])
    assert refused.exit_code == 2 and house.state(access) is RequestState.RECEIVED


def test_a_request_without_an_address_says_how_it_is_answered(house: House) -> None:
    asked = opened(house.control, ("account", "users:7"), **ASKED, channel="letter")
    with house.open() as workspace, pytest.raises(NoAddress, match="no e-mail address"):
        answer_list(workspace, asked, by="a.martin", at=AT)
    assert house.mailbox.mails == []
