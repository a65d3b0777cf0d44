"""From what was found to verdicts: whatever is not shown is not fresh."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.promises import policy_of
from lethe.accountability.promises import judges
from lethe.accountability.promises.evaluate import judge, judge_control
from lethe.accountability.promises.model import Attested, Evidence, LedgerState, Seen, Verdict, worst
from lethe.policy.controls import Control, FreshFor

AT = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
AGES = FreshFor.model_validate({"rule": "PT26H", "check": "PT26H", "attestation": "P366D"})
RULE, UNBUILT, WORD = Control(rule="logs"), Control(unbuilt="Statistics."), Control(attestation="locks")


def evidence(ago: timedelta = timedelta(hours=5), seq: int | None = 7, written: timedelta | None = None) -> Evidence:
    return Evidence(kind="run.finished", at=AT - ago, recorded_at=AT - (ago if written is None else written), seq=seq, digest="d")


def vouched(until: date, ago: timedelta = timedelta(days=1)) -> Seen:
    return Seen(evidence=evidence(ago), attested=Attested(by="a.martin", until=until))


V = Verdict
CASES: list[tuple[Control, Seen, Verdict, str]] = [
    (RULE, Seen(evidence=evidence()), V.FRESH, ""),
    (RULE, Seen(evidence=evidence(timedelta(hours=26))), V.FRESH, ""),
    (RULE, Seen(evidence=evidence(timedelta(hours=26, microseconds=1))), V.STALE, "older than it may be"),
    (RULE, Seen(evidence=evidence(), faults=("3 blocked.",)), V.FAILING, "3 blocked."),
    (RULE, Seen(evidence=evidence(timedelta(days=9)), faults=("3 blocked.",)), V.FAILING, "3 blocked."),
    (RULE, Seen(evidence=evidence(timedelta(microseconds=-1))), V.FAILING, "dated after this report"),
    (RULE, Seen(evidence=evidence(written=-timedelta(days=1))), V.FAILING, "dated after this report"),
    (RULE, Seen(), V.MISSING, "no evidence"),
    (RULE, Seen(absent="The policy has no rule logs."), V.MISSING, "no rule logs"),
    (RULE, Seen(unknown="The store is down."), V.FAILING, "could not be told: The store is down."),
    (RULE, Seen(waits_for=("return_record",)), V.MISSING, "waits for a record that the tenant got its data back"),
    (UNBUILT, Seen(evidence=evidence()), V.MISSING, "Still to be built"),
    (WORD, Seen(), V.MISSING, "no evidence"),
    (WORD, vouched(date(2026, 11, 24)), V.ATTESTED, ""),
    (WORD, vouched(date(2026, 11, 23)), V.STALE, "since 2026-11-23"),
    (WORD, vouched(date(2099, 1, 1), timedelta(days=367)), V.STALE, "Nobody has vouched"),
    (WORD, vouched(date(2099, 1, 1), timedelta(days=-1)), V.FAILING, "dated after this report"),
]


@pytest.mark.parametrize(("control", "seen", "verdict", "says"), CASES)
def test_a_control_is_judged_by_what_was_found(control: Control, seen: Seen, verdict: Verdict, says: str) -> None:
    found = judge_control(control, seen, at=AT, fresh_for=AGES, zone="Europe/Paris")
    assert (found.verdict, found.by_itself) == (verdict, verdict)
    assert says in found.reason and bool(found.reason) == bool(says)
    assert found.declared == (control is UNBUILT or bool(seen.waits_for))
    assert found.broken == (verdict in {V.STALE, V.FAILING} or (verdict is V.MISSING and not found.declared))


@pytest.mark.parametrize(("control", "seen", "verdict", "says"), CASES)
def test_another_text_or_an_unsound_ledger_make_a_verdict_worse_and_never_better(
    control: Control, seen: Seen, verdict: Verdict, says: str
) -> None:
    for published, ledger in (("Another text.", ""), ("", "Not sound."), ("Another text.", "Not sound.")):
        found = judge_control(control, seen, at=AT, fresh_for=AGES, zone="Europe/Paris", published=published, ledger=ledger)
        rests = seen.evidence is not None
        assert found.by_itself is verdict
        assert found.verdict is (worst((verdict, V.FAILING)) if published or rests else verdict)
        assert published in found.reason and (ledger in found.reason or not rests)


def test_what_was_looked_at_just_now_does_not_rest_on_the_ledger() -> None:
    seen = Seen(evidence=evidence(timedelta(), seq=None))
    found = judge_control(RULE, seen, at=AT, fresh_for=AGES, zone="Europe/Paris", ledger="Not sound.")
    assert (found.verdict, found.stale_at) == (V.FRESH, None)


def test_a_day_of_an_attestation_is_a_day_of_the_policy_s_zone() -> None:
    seen = vouched(date(2026, 11, 24))
    for at, verdict in ((datetime(2026, 11, 24, 22, 59, tzinfo=UTC), V.ATTESTED), (datetime(2026, 11, 24, 23, 0, tzinfo=UTC), V.STALE)):
        assert judge_control(WORD, seen, at=at, fresh_for=AGES, zone="Europe/Paris").verdict is verdict


def test_a_promise_without_a_control_is_missing_and_broken_and_one_that_nobody_looked_at_is_failing() -> None:
    (bare,) = judge(policy_of(), {}, at=AT, published="", ledger="")
    assert (bare.verdict, bare.broken) == (V.MISSING, True)
    (unseen,) = judge(policy_of(controls=[{"rule": "logs"}]), {}, at=AT, published="", ledger="")
    assert (unseen.verdict, unseen.broken) == (V.FAILING, True)
    assert unseen.controls[0].says == "Logs: kept for 12\N{NO-BREAK SPACE}months, by the clock event."
    (unbuilt,) = judge(policy_of(controls=[{"unbuilt": "Statistics."}]), {}, at=AT, published="", ledger="")
    assert (unbuilt.verdict, unbuilt.broken) == (V.MISSING, False)


@given(st.lists(st.sampled_from(list(Verdict)), max_size=6), st.sampled_from(list(Verdict)))
def test_one_more_control_never_makes_a_promise_better(found: list[Verdict], more: Verdict) -> None:
    order = list(Verdict)
    assert worst([]) is V.MISSING
    if found:
        assert order.index(worst([*found, more])) == max(order.index(worst(found)), order.index(more))


def test_a_ledger_that_could_not_be_walked_is_a_problem() -> None:
    assert LedgerState().problem == ""
    assert "could not be walked" in LedgerState(unknown="The store is down.").problem
    assert "not sound: Record 3" in LedgerState(findings=("Record 3 was edited.",)).problem


TERMS = {"planned": 1, "deleted": 1, "held": 2, "survivors": 0, "blocked": 0, "quarantined": 0}


def run(**changes: Any) -> dict[str, Any]:
    """The end of a run over the rule `logs`, clean, beside one over `acts` that is not."""
    steps = {
        "logs/technical": {"outcome": "clean", "level": "L1", "terms": dict(TERMS)},
        "acts/actions": {"outcome": "survivors", "level": None, "terms": TERMS | {"survivors": 2, "blocked": 9, "quarantined": 4}},
    }
    body = {"outcome": "clean", "problem": "", "rules": ["acts", "logs"], "steps": steps, "unverified": [], "unproved": ["acts/actions"]}
    return {**body, **changes}


def with_terms(**terms: int | None) -> dict[str, Any]:
    body = run()
    body["steps"]["logs/technical"]["terms"].update(terms)
    return body


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("run.finished", run(), ""),
        ("run.failed", run(problem="Airflow's records were not cleaned."), ""),
        ("run.refused", run(), "was refused"),
        ("run.finished", run(unverified=["logs/technical"]), "No evidence was left of logs/technical"),
        ("run.finished", run(unproved=["logs/technical"]), "No evidence was left of logs/technical"),
        ("run.finished", run(steps={}), "no dataset has its category"),
        ("run.failed", run(steps={"logs/technical": {"outcome": "unknown", "level": None, "terms": TERMS}}), "logs/technical: unknown"),
        ("run.finished", with_terms(survivors=1), "1 survivors"),
        ("run.finished", with_terms(blocked=2), "2 blocked"),
        ("run.finished", with_terms(quarantined=3), "3 quarantined"),
        ("run.finished", with_terms(quarantined=None), "how many are quarantined is unknown"),
    ],
)
def test_a_run_is_red_for_a_rule_by_the_steps_of_that_rule_alone(kind: str, body: dict[str, Any], says: str) -> None:
    found = " ".join(judges.run_of_rule(kind, body, "logs"))
    assert says in found and bool(found) == bool(says)
    assert "acts" not in found


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("run.finished", {}, ""),
        ("run.failed", {"problem": "Rows are left."}, "Rows are left."),
        ("run.refused", {}, "refused"),
        ("run.finished", {"outcome": "unknown"}, "unknown"),
        ("run.finished", {"rules": ["logs"]}, "left out acts"),
    ],
)
def test_a_run_is_red_as_a_whole_by_its_end(kind: str, changes: dict[str, Any], says: str) -> None:
    found = " ".join(judges.whole_run(kind, run(**changes), {"logs", "acts"}))
    assert says in found and bool(found) == bool(says)


CLEAN_AUDIT: dict[str, Any] = {
    "drift": [],
    "unchecked": [],
    "overdue": {},
    "files": {"d": {"objects_without_row": 0, "remains_without_row": 0, "rows_without_object": 0}},
    "archive": {"findings": [{"kind": "bucket", "dataset": None, "object": None, "wrong": False}]},
    "ledger": {"findings": []},
    "holds_to_review": [4],
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"drift": ["table not mapped: app.faces"]}, "1 differences between catalog and stores"),
        ({"unchecked": ["spotrak"]}, "1 stores that did not answer"),
        ({"overdue": {"logs/technical": 3}}, "rows that were due"),
        ({"files": {"d": {"objects_without_row": 2, "remains_without_row": 0, "rows_without_object": 1}}}, "3 files without a row"),
        ({"archive": {"findings": [{"kind": "missing", "wrong": True}]}}, "1 archive objects"),
        ({"ledger": {"findings": ["edited"]}}, "1 breaks of the ledger"),
    ],
)
def test_an_audit_is_red_for_what_it_found(changes: dict[str, Any], says: str) -> None:
    found = " ".join(judges.audited(CLEAN_AUDIT | changes))
    assert says in found and bool(found) == bool(says)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (judges.drift({"drift": ["purpose not known: a"], "unchecked": []}, {"purpose not known"}), "purpose not known: a"),
        (judges.drift({"drift": ["purpose not known: a"], "unchecked": []}, {"role differs"}), ""),
        (judges.drift({"drift": [], "unchecked": ["spotrak"]}, {"role differs"}), "could not look at spotrak"),
        (judges.listed({"findings": ["agreement over: a"], "checks": []}, {"agreement over"}), "agreement over: a"),
        (judges.listed({"findings": ["agreement over: a"], "checks": []}, {"flow to nobody"}), ""),
        (judges.listed({"findings": [], "checks": [{"check": "all are in each file", "status": "failed"}]}), "all are in each file"),
        (judges.deadlines({"red": ["R-2026-7K3M9QWX"], "legal": {}}), "R-2026-7K3M9QWX"),
        (judges.deadlines({"red": [], "legal": {"near": 3, "over": 1}}), "1 requests are beyond the deadline of the law"),
        (judges.deadlines({"red": [], "legal": {"near": 3}}), ""),
    ],
)
def test_a_record_is_red_for_the_promise_that_its_findings_are_about(found: tuple[str, ...], says: str) -> None:
    assert says in " ".join(found) and bool(found) == bool(says)
