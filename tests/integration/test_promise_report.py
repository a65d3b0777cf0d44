"""Every promise of the shipped policy over a home where everything really ran: fresh; and not fresh once its control or its evidence is taken away."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from demo.postgres import PostgresServer
from helpers import mailing
from helpers.breaking import BREAKS, POLICY, edited, put_back
from helpers.promised import PromisedHome, home_on, keep
from lethe.accountability.promises import ControlVerdict, PromiseReport, Verdict, make_report, reading
from lethe.accountability.promises.checks import CHECKS
from lethe.accountability.promises.records import RUN_ENDS
from lethe.airflow import promising
from lethe.cli import app
from lethe.connections import from_environment
from lethe.errors import PromiseBroken
from lethe.evidence.heads import S3Heads, kept_heads
from lethe.evidence.ledger import append, records
from lethe.instants import now
from lethe.policy.controls import Control, ControlKind
from lethe.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EVERY = [(p.id, c) for p in POLICY.promises for c in p.controls]
IDS = [f"{promise} {control.id[:60]}" for promise, control in EVERY]
BUILT = {
    c.id
    for _, c in EVERY
    if c.kind is not ControlKind.UNBUILT and not (c.kind is ControlKind.RULE and {n.value for n in POLICY.rule(c.name).needs} - {"archive"})
}
LIVE = sorted(c.name for _, c in {c.id: ("", c) for _, c in EVERY}.values() if c.kind is ControlKind.CHECK and CHECKS[c.name].live)
KEPT = {Verdict.FRESH, Verdict.ATTESTED}


@pytest.fixture(scope="module")
def home(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PromisedHome]:
    with pytest.MonkeyPatch.context() as patch, mailing.mailbox() as box:
        with home_on(postgres, box, tmp_path_factory.mktemp("promised"), patch) as made:
            yield made


@pytest.fixture(scope="module")
def before(home: PromisedHome) -> PromiseReport:
    """The report before anything is taken away."""
    return home.report()


def controls(report: PromiseReport) -> dict[tuple[str, str], ControlVerdict]:
    return {(p.id, c.id): c for p in report.promises for c in p.controls}


def verdict(report: PromiseReport, promise: str) -> Verdict:
    return next(p.verdict for p in report.promises if p.id == promise)


def assert_kept_apart_from(changed: set[str], report: PromiseReport, before: PromiseReport) -> None:
    """Every other control has the verdict that it had; by itself, where the ledger that it rests on is not sound any more."""
    was = controls(before)
    for key, control in controls(report).items():
        if control.id not in changed:
            assert control.by_itself is was[key].verdict, key
            if not report.ledger.problem:
                assert control.verdict is was[key].verdict, key
            elif control.evidence is not None and control.evidence.seq is not None:
                assert control.verdict is Verdict.FAILING and "not sound" in control.reason, key


# All that was built has run


@pytest.mark.parametrize(("promise", "control"), EVERY, ids=IDS)
def test_a_control_that_ran_is_fresh_or_attested_and_what_is_not_built_is_missing_by_name(
    before: PromiseReport, promise: str, control: Control
) -> None:
    found = controls(before)[promise, control.id]
    if control.id in BUILT:
        assert found.verdict in KEPT, found.reason
        assert found.evidence is not None and found.evidence.at <= before.at and not found.broken
        assert (found.verdict is Verdict.ATTESTED) == (control.kind is ControlKind.ATTESTATION)
    else:
        assert (found.verdict, found.declared, found.broken) == (Verdict.MISSING, True, False)
        assert found.reason, "it says what it waits for"


def test_a_promise_has_the_worst_verdict_of_its_controls_and_only_whole_ones_are_kept(before: PromiseReport) -> None:
    kept = {p.id for p in before.promises if p.verdict in KEPT}
    assert kept == {p.id for p in POLICY.promises if {c.id for c in p.controls} <= BUILT}
    assert {"logs-12-months", "access", "list-on-request", "reply-5-business-days", "archived-as-law-requires", "complaint"} <= kept
    assert kept.isdisjoint({"rectify", "delete", "incident-72h", "improve-on-anonymised", "encrypted-in-transit", "notice-15-days"})
    assert before.broken == () and before.unbound == () and not before.published and not before.ledger.problem
    assert not before.kept, "while any is missing, the policy is not kept"


def test_periods_that_are_applied_and_not_published_are_listed(before: PromiseReport) -> None:
    assert {u.rule for u in before.unpublished} == {r.id for r in POLICY.rules if r.quote is None}
    assert "usage-events" in {u.rule for u in before.unpublished} and "technical-logs" not in {u.rule for u in before.unpublished}
    assert before.refers_to == ("the dedicated cookies policy",)


def test_a_transfer_that_the_text_does_not_name_is_listed_under_its_promise_and_on_record(
    home: PromisedHome, before: PromiseReport
) -> None:
    assert before.transfers.promise == "needed-processors" and before.transfers.unknown == ""
    assert [(t.entry, t.country) for t in before.transfers.unnamed] == [("pigeonhole", "US")]
    assert verdict(before, "needed-processors") in KEPT, "the register's own control is as good as it was"
    with put_back(home.policies):
        (home.policies / "processors.yaml").write_text("processors: [")
        assert home.report().transfers.unknown


# Evidence taken away


FAMILIES: tuple[tuple[str, ...], ...] = (
    RUN_ENDS,
    ("audit.finished",),
    ("deadlines.checked",),
    ("processors.listed",),
    ("attestation.given",),
    ("bundle.judged",),
    ("archive.read",),
)
"""The kinds of record that prove the shipped promises: those of one family go together."""


@pytest.fixture(scope="module")
def without(home: PromisedHome) -> Callable[[tuple[str, ...]], PromiseReport]:
    """The report after the records of these kinds were deleted from a copy of the real ledger, past its triggers; its heads stay as they are."""

    @cache
    def report(kinds: tuple[str, ...]) -> PromiseReport:
        with pytest.MonkeyPatch.context() as patch, home.copy(patch) as url:
            with psycopg.connect(url) as connection:
                connection.execute("ALTER TABLE lethe.ledger DISABLE TRIGGER ALL")
                gone = connection.execute("DELETE FROM lethe.ledger WHERE kind = ANY(%s)", [list(kinds)]).rowcount
                connection.execute("ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_continues")
                connection.execute("ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_is_append_only")
            assert gone
            return home.report()

    return report


PROVEN = [(promise, c) for promise, c in EVERY if c.id in BUILT and not (c.kind is ControlKind.CHECK and CHECKS[c.name].live)]


@pytest.mark.parametrize(("promise", "control"), PROVEN, ids=[f"{p} {c.id}" for p, c in PROVEN])
def test_a_control_whose_evidence_was_taken_from_the_ledger_is_not_fresh_and_its_promise_is_not_kept(
    before: PromiseReport, without: Callable[[tuple[str, ...]], PromiseReport], promise: str, control: Control
) -> None:
    evidence = controls(before)[promise, control.id].evidence
    assert evidence is not None
    family = next(f for f in FAMILIES if evidence.kind in f)
    report = without(family)
    found = controls(report)[promise, control.id]
    assert found.by_itself in {Verdict.MISSING, Verdict.FAILING} and found.broken, "by itself, whatever the ledger's state"
    assert verdict(report, promise) not in KEPT


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f[0])
def test_what_rests_on_other_evidence_keeps_its_own_verdict_and_says_that_the_ledger_is_not_sound(
    before: PromiseReport, without: Callable[[tuple[str, ...]], PromiseReport], family: tuple[str, ...]
) -> None:
    report = without(family)
    assert report.ledger.problem, "the walk and the heads find it"
    mine = {c.id for c in controls(before).values() if c.evidence is not None and c.evidence.kind in family}
    assert_kept_apart_from(mine | {"check:ledger-sound"}, report, before)


# Controls taken away


@pytest.fixture(scope="module")
def bare(home: PromisedHome) -> PromiseReport:
    """The report over a policy without a rule, a DAGs folder without a file, and a code without a check."""
    with put_back(home.policies), put_back(home.dags), pytest.MonkeyPatch.context() as patch:
        edited(home, "rules.yaml", lambda body: body.update(rules=[]))
        for file in home.dags.glob("*.py"):
            file.unlink()
        patch.setattr(reading, "CHECKS", {})
        return home.report()


REMOVABLE = [(p, c) for p, c in EVERY if c.kind in {ControlKind.RULE, ControlKind.DAG, ControlKind.CHECK}]


@pytest.mark.parametrize(("promise", "control"), REMOVABLE, ids=[f"{p} {c.id}" for p, c in REMOVABLE])
def test_a_control_that_is_gone_or_renamed_shows_as_missing_and_its_promise_too(
    bare: PromiseReport, promise: str, control: Control
) -> None:
    found = controls(bare)[promise, control.id]
    assert (found.verdict, found.broken) == (Verdict.MISSING, True)
    assert control.name in found.reason
    assert verdict(bare, promise) is Verdict.MISSING


def test_a_rule_that_is_gone_is_missing_and_the_others_keep_their_verdict(home: PromisedHome, before: PromiseReport) -> None:
    with put_back(home.policies):
        edited(home, "rules.yaml", lambda body: body.update(rules=[r for r in body["rules"] if r["id"] != "technical-logs"]))
        report = home.report()
    assert verdict(report, "logs-12-months") is Verdict.MISSING
    changed = controls(report)["policy-in-force", "check:policy-in-evidence"]
    assert changed.verdict is Verdict.FAILING and "changed since the last run" in changed.reason
    assert_kept_apart_from({"rule:technical-logs", "check:policy-in-evidence"}, report, before)


def test_a_dag_whose_file_is_gone_or_broken_is_missing_and_the_others_keep_their_verdict(home: PromisedHome, before: PromiseReport) -> None:
    with put_back(home.dags):
        (home.dags / "archive_expiry.py").write_text("def something_else(): ...\n")
        (home.dags / "policy_audit.py").write_text("def policy_audit(:\n")
        report = home.report()
    for promise, dag in (("archived-as-law-requires", "archive_expiry"), ("every-system-covered", "policy_audit")):
        assert controls(report)[promise, f"dag:{dag}"].verdict is verdict(report, promise) is Verdict.MISSING
    assert_kept_apart_from({"dag:archive_expiry", "dag:policy_audit"}, report, before)


# What live checks look at, broken where it lies (`helpers.breaking`)


BESIDE = {
    "ledger-sound": {"check:requests-agree"},
    "holds-reviewed": {"check:ledger-sound"},  # a hold without a record contradicts the ledger
    "requests-agree": {"check:ledger-sound"},
    "archive-apart": {"check:roles"},
    "export-ready": set[str](),
    "intake-works": {"check:export-ready"},  # both need the key of requests
}
"""The checks that see the same break."""


@pytest.mark.parametrize("name", LIVE)
def test_what_a_live_check_looks_at_turns_it_and_its_promises_red_when_it_is_broken(
    home: PromisedHome, before: PromiseReport, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with home.copy(monkeypatch) as url, BREAKS[name](home, url, monkeypatch):
        report = home.report()
    for (promise, control), found in controls(report).items():
        if control == f"check:{name}":
            assert found.verdict is found.by_itself is Verdict.FAILING, found.reason
            assert found.reason and "@" not in found.reason
            assert verdict(report, promise) not in KEPT
    if name == "text-as-published":
        assert {p.verdict for p in report.promises} <= {Verdict.FAILING, Verdict.MISSING}, "no promise is kept by another text"
        assert all("not the text that was published" in c.reason for c in controls(report).values())
    else:
        assert_kept_apart_from({f"check:{name}", *BESIDE.get(name, set())}, report, before)


@pytest.mark.parametrize(
    ("connection", "url", "hit"),
    [
        ("SPOTRAK_DB_CHECK", "postgresql://u@127.0.0.1:1/x", {"check:roles", "check:export-ready"}),
        ("REQUESTS_S3", "aws://a:b@/?endpoint_url=http://127.0.0.1:1", {"check:export-ready", "check:intake-works", "check:proofs-left"}),
    ],
)
def test_what_cannot_be_looked_at_is_failing_and_never_fresh(
    home: PromisedHome, before: PromiseReport, monkeypatch: pytest.MonkeyPatch, connection: str, url: str, hit: set[str]
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection}", url)
    report = home.report()
    red = {c.id: c for c in controls(report).values() if c.verdict is Verdict.FAILING}
    assert set(red) == hit
    assert all("could not be told" in c.reason for c in red.values())
    assert_kept_apart_from(hit, report, before)


def test_without_the_heads_kept_outside_nothing_rests_on_the_ledger(home: PromisedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_S3", "aws://a:b@/?endpoint_url=http://127.0.0.1:1&bucket=lethe")
    report = home.report()
    resting = [c for c in controls(report).values() if c.evidence is not None and c.evidence.seq is not None]
    assert resting and {c.verdict for c in resting} == {Verdict.FAILING}
    assert {c.by_itself for c in resting} <= KEPT
    assert controls(report)["complaint", "check:answers-name-the-authority"].verdict is Verdict.FRESH


# Time


def test_evidence_from_the_future_is_never_fresh(home: PromisedHome, before: PromiseReport, monkeypatch: pytest.MonkeyPatch) -> None:
    with home.copy(monkeypatch), Workspace.open() as workspace:
        with workspace.control.begin() as control:
            append(control, "deadlines.checked", {"red": [], "legal": {}}, at=now() + timedelta(minutes=30))
        keep(workspace)
        report = home.report()
        later = home.report(at=now() + timedelta(hours=1))
    found = controls(report)["reply-5-business-days", "dag:deadlines"]
    assert found.verdict is Verdict.FAILING and "dated after this report" in found.reason
    assert_kept_apart_from({"dag:deadlines"}, report, before)
    assert controls(later)["reply-5-business-days", "dag:deadlines"].verdict is Verdict.FRESH


@pytest.mark.parametrize(
    ("later", "stale"),
    [
        (timedelta(hours=1), set()),
        (timedelta(hours=3), {"reply-5-business-days"}),
        (timedelta(hours=27), {"reply-5-business-days", "logs-12-months", "usage-data", "list-on-request"}),
        (timedelta(days=33), {"reply-5-business-days", "logs-12-months", "usage-data", "list-on-request", "no-sale"}),
    ],
    ids=["an hour", "three hours", "a day and three hours", "33 days"],
)
def test_evidence_grows_stale_after_the_time_that_its_control_says(
    home: PromisedHome, before: PromiseReport, later: timedelta, stale: set[str]
) -> None:
    report = home.report(at=before.at + later)
    watched = {"reply-5-business-days", "logs-12-months", "usage-data", "list-on-request", "no-sale"}
    assert {p.id for p in report.promises if p.id in watched and p.verdict is Verdict.STALE} == stale
    assert {p.id for p in report.promises if p.id in watched and p.verdict is Verdict.FRESH} == watched - stale


def test_an_attestation_holds_until_its_day_and_not_one_longer(home: PromisedHome, before: PromiseReport) -> None:
    given = controls(before)["restricted-logged-strong", "attestation:strong-authentication"].attested
    assert given is not None and given.by == "a.martin"
    for days, expected in ((90, Verdict.ATTESTED), (91, Verdict.STALE)):
        report = home.report(at=before.at + timedelta(days=days))
        assert controls(report)["restricted-logged-strong", "attestation:strong-authentication"].verdict is expected


# The report as it is left behind


def lethe(*arguments: str, code: int) -> Any:
    ended = CliRunner().invoke(app, [*arguments, "--json"])
    assert ended.exit_code == code, ended.output
    return json.loads(ended.stdout)


def test_the_command_prints_every_control_and_ends_with_1_while_anything_is_missing(home: PromisedHome, before: PromiseReport) -> None:
    told = lethe("promises", code=1)
    assert {p["id"]: p["verdict"] for p in told["promises"]} == {p.id: p.verdict.value for p in before.promises}
    assert (told["counts"], told["broken"], told["unbound"]) == (before.counts, [], [])
    with put_back(home.policies):
        edited(home, "promises.yaml", lambda body: body.update(promises=[p for p in body["promises"] if p["id"] != "no-sale"]))
        assert lethe("promises", code=1)["unbound"] == ["We do not sell your data."]


def test_an_attestation_is_given_by_an_approver_and_withdrawn(home: PromisedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    day = (now() + timedelta(days=30)).date().isoformat()
    with home.copy(monkeypatch):
        given = lethe("attest", "disk-encryption", "--until", day, "--by", "c.durand", "--reference", "ISO27001/7", code=0)
        assert (given["by"], given["until"], given["recorded_by"]) == ("c.durand", day, "lethe_approver")
        assert controls(home.report())["encrypted-at-rest", "attestation:disk-encryption"].attested.by == "c.durand"  # type: ignore[union-attr]
        lethe("attest", "disk-encryption", "--withdraw", "--by", "c.durand", code=0)
        gone = controls(home.report())["encrypted-at-rest", "attestation:disk-encryption"]
        assert (gone.verdict, gone.broken) == (Verdict.MISSING, True)
        for wrong in (
            ("attest", "disk-encryption", "--withdraw"),
            ("attest", "nothing-known", "--until", day),
            ("attest", "disk-encryption", "--until", "2020-01-01"),
            ("attest", "disk-encryption", "--until", "2099-01-01"),
            ("attest", "disk-encryption", "--until", "soon"),
            ("attest", "disk-encryption"),
            ("attest", "disk-encryption", "--until", day, "--reference", "seen by me"),
            ("attest", "disk-encryption", "--until", day, "--by", "c.durand@spotrak.com"),
        ):
            said = lethe(*wrong, code=2)
            assert "c.durand@" not in json.dumps(said) and "seen by me" not in json.dumps(said)


def test_the_report_is_written_recorded_and_its_head_kept_and_goes_red_for_what_was_lost_alone(
    home: PromisedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promising, "from_airflow", from_environment)
    with home.copy(monkeypatch), Workspace.open() as workspace:
        made = promising.report()
        assert made["verdicts"]["failing"] == 0 and made["unbound"] == 0
        with workspace.control.connect() as control:
            (record,) = list(records(control, kind="promises.reported"))
        client = workspace.s3("lethe_s3")
        for ending, key in made["files"].items():
            content = client.get_object(Bucket=workspace.bucket("lethe_s3"), Key=key)["Body"].read()
            assert hashlib.sha256(content).hexdigest() == record.content["files"][ending]
            assert set(re.findall(rb"[\w.]+@[\w.]+\w", content if ending != "pdf" else b"")) <= {b"privacy@spotrak.com"}
            assert (home.policies.parent / "reports" / f"promises-{key.removeprefix('promises/')}").read_bytes() == content
        assert made["record"] in {h.seq for h in kept_heads(S3Heads(client, workspace.bucket("lethe_s3")))}
        assert set(record.content["verdicts"]) == {p.id for p in POLICY.promises}
        # as of an instant before: records until then, and live looks as that report saw them
        earlier = home.report(at=now(), before=True)
        seen = controls(earlier)["complaint", "check:answers-name-the-authority"]
        assert seen.verdict is Verdict.FRESH and seen.evidence is not None and seen.evidence.seq == record.seq
        nothing = home.report(at=now() - timedelta(days=1), before=True)
        assert {c.verdict for c in controls(nothing).values() if c.evidence is None} == {Verdict.MISSING}
        # what was lost
        with put_back(home.dags):
            (home.dags / "deadlines.py").unlink()
            with pytest.raises(PromiseBroken, match=r"1 of 31 .*reply-5-business-days \(dag:deadlines missing\)"):
                make_report(workspace, at=now(), dags=home.dags)
        with workspace.control.connect() as control:
            assert len(list(records(control, kind="promises.reported"))) == 2, "the evidence comes before the error"
            assert [r.content["unnamed_transfers"] for r in records(control, kind="promises.reported")] == [["pigeonhole: US"]] * 2


def test_a_text_that_was_changed_together_with_its_declared_digest_is_found_by_the_first_report(
    home: PromisedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home.copy(monkeypatch), put_back(home.policies):
        with Workspace.open() as workspace:
            make_report(workspace, at=now(), dags=home.dags)
        path = home.policies / POLICY.version / "policy.txt"
        path.write_text(path.read_text().replace("within 5 business days", "within 6 business days"))
        edited(home, "policy.yaml", lambda body: body.update(text_sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        for _ in range(2):
            report = home.report()
            assert "not the one that was recorded" in report.published
            assert {p.verdict for p in report.promises} <= {Verdict.FAILING, Verdict.MISSING}
            with Workspace.open() as workspace, pytest.raises(PromiseBroken):
                make_report(workspace, at=now(), dags=home.dags)


def test_blocked_and_quarantined_rows_turn_their_promise_red_and_no_other(
    home: PromisedHome, before: PromiseReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run like the last one, with red findings in one step."""
    with home.copy(monkeypatch), Workspace.open() as workspace:
        with workspace.control.begin() as control:
            last = next(records(control, kind="run.finished")).content
            last["steps"]["leads/leads"]["terms"]["quarantined"] = 3
            append(control, "run.finished", {**last, "as_of": now().isoformat()}, run="again")
        keep(workspace)
        report = home.report()
    found = controls(report)["identity-data", "rule:leads"]
    assert (found.verdict, found.reason) == (Verdict.FAILING, "leads/leads: 3 quarantined.")
    assert_kept_apart_from({"rule:leads"}, report, before)


def test_the_checks_of_the_code_are_those_of_the_policy(home: PromisedHome) -> None:
    assert set(CHECKS) == {c.name for _, c in EVERY if c.kind is ControlKind.CHECK}
    assert set(BREAKS) == set(LIVE)
    with home.control.runtime.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_indexes WHERE indexname = 'ledger_kind'")) == 1
