"""Purge and audit through a real scheduler: an approval given, one refused, a failed purge that shows red. In this order, on one Airflow."""

from __future__ import annotations

import urllib.error
from datetime import datetime, timedelta

import pytest

from demo import databases, store
from demo.buckets import LETHE
from demo.canary import EXPIRY_LAG
from demo.garden import CANARY
from helpers.airflow_demo import Api, Demo, task_log
from helpers.traces import in_bucket, in_database, in_folder

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

LOGS = "app.technical_logs"
DUE = """((occurred_at AT TIME ZONE 'Europe/Paris')::date + interval '12 months')::date < (%s::timestamptz AT TIME ZONE 'Europe/Paris')::date
         AND occurred_at >= '2019-01-01'"""
TABLES = ("app.technical_logs", "app.user_actions", "app.page_views")


def instant(demo: Demo, second: int = 0) -> datetime:
    """As of when these tests delete: before the day on which the canary's archived rows are over, so that they go to the archive first."""
    return demo.as_of - EXPIRY_LAG + timedelta(seconds=second)


def due(demo: Demo, table: str = LOGS) -> int:
    return demo.number(f"SELECT count(*) FROM {table} WHERE {DUE}", instant(demo))


def digest_of_the_young(demo: Demo, table: str = LOGS) -> int:
    """Of rows that no rule takes: not those of a tenant whose contracts have ended, whose usage goes however young it is."""
    ended = "SELECT tenant_id FROM app.contracts GROUP BY tenant_id HAVING bool_and(coalesce(ended_at <= %s, false))"
    chosen = f"({DUE}) IS NOT TRUE" + (f" AND tenant_id NOT IN ({ended})" if table != LOGS else "")
    given = [instant(demo)] * (1 if table == LOGS else 2)
    return demo.number(f"SELECT coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t WHERE {chosen}", *given)


def conf(demo: Demo, second: int, *rules: str) -> dict[str, object]:
    """A run that deletes, as of an instant that no other test uses: its plan is its own."""
    return {"dry_run": False, "as_of": instant(demo, second).isoformat(), "rules": list(rules) or None}


def test_a_scheduled_run_over_its_guard_waits_and_a_refusal_deletes_nothing_and_is_red(demo: Demo, api: Api) -> None:
    before, alerts = due(demo), len(demo.alerts())
    run = api.switch_on("retention_purge")
    asked = api.waits(run)
    assert "technical-logs" in asked["body"]
    assert due(demo) == before, "something was deleted before anybody approved"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        api.answer(run, "Approve")  # an admin, and not one of LETHE_APPROVERS
    assert Api(home=demo.home, user="approver").decide(run, "Reject") == "skipped"

    assert api.ended("retention_purge", run) == "failed"
    tasks = api.tasks("retention_purge", run)
    said = "\n".join(line for line in task_log(demo, "retention_purge", run, "guard").splitlines() if '"error"' in line)
    assert (tasks["guard"], tasks["purge"], tasks["record"]) == ("skipped", "skipped", "failed"), said
    assert due(demo) == before
    assert len(demo.evidence("run.refused")) == 1
    *waiting, refused = demo.alerts()[alerts:]
    waits, *_ = waiting
    assert "waits for an approval" in waits["title"] and "technical-logs/technical_logs" in waits["message"]
    assert "The plan was refused" in refused["message"]


def test_whoever_starts_a_run_cannot_approve_it(demo: Demo, api: Api) -> None:
    before = due(demo)
    approver = Api(home=demo.home, user="approver")
    run = approver.trigger("retention_purge", **conf(demo, 1, "technical-logs"))
    approver.waits(run)
    assert approver.decide(run, "Approve") == "skipped"

    assert api.ended("retention_purge", run) == "failed"
    assert api.tasks("retention_purge", run)["purge"] == "skipped"
    assert due(demo) == before > 0
    assert (demo.evidence("approval.refused")[-1]["reason"], demo.evidence("approval.refused")[-1]["approver"]) == ("own_run", "approver")


def test_a_manual_run_deletes_nothing_unless_told(demo: Demo, api: Api) -> None:
    before, dry, purged = due(demo), len(demo.evidence("run.dry")), len(demo.evidence("step.purged"))
    run = api.trigger("retention_purge", as_of=instant(demo).isoformat(), rules=["technical-logs"])
    assert api.ended("retention_purge", run) == "success"
    assert due(demo) == before > 0
    assert (len(demo.evidence("run.dry")), len(demo.evidence("step.purged"))) == (dry + 1, purged)


def test_an_approved_plan_deletes_what_is_due_and_nothing_younger(demo: Demo, api: Api) -> None:
    young = {t: digest_of_the_young(demo, t) for t in TABLES}
    assert all(due(demo, t) > 0 for t in TABLES)
    run = api.trigger("retention_purge", **conf(demo, 2))
    api.waits(run)
    approver = Api(home=demo.home, user="approver")
    assert approver.decide(run, "Approve") == "success"
    with pytest.raises(urllib.error.HTTPError, match="409"):
        approver.answer(run, "Reject")

    assert api.ended("retention_purge", run) == "success", task_log(demo, "retention_purge", run, "record")[-3000:]
    assert {t: due(demo, t) for t in TABLES} == dict.fromkeys(TABLES, 0)
    assert {t: digest_of_the_young(demo, t) for t in TABLES} == young
    assert demo.evidence("run.finished")[-1]["outcome"] == "clean"


def test_the_audit_finds_nothing_left_after_a_clean_night(demo: Demo, api: Api) -> None:
    run = api.switch_on("policy_audit")
    assert api.ended("policy_audit", run) == "success", task_log(demo, "policy_audit", run, "audit")[-20000:]
    assert demo.evidence("audit.finished")[-1]["drift"] == []


def test_a_failed_purge_is_red_names_the_rule_and_leaves_an_alert(demo: Demo, api: Api) -> None:
    with demo.sql() as owner:
        owner.execute(
            f"INSERT INTO {LOGS} (occurred_at, level, host, request_id, message) VALUES (%s, 'info', 'web', gen_random_uuid(), 'late')",
            [demo.as_of - timedelta(days=500)],
        )
        owner.execute(f"REVOKE DELETE ON {LOGS} FROM lethe_purger")
    alerts = len(demo.alerts())
    try:
        run = api.trigger("retention_purge", **conf(demo, 3, "technical-logs"))
        assert api.ended("retention_purge", run) == "failed"
    finally:
        with demo.sql() as owner:
            owner.execute(f"GRANT DELETE ON {LOGS} TO lethe_purger")
    tasks = api.tasks("retention_purge", run)
    assert (tasks["purge"], tasks["record"]) == ("failed", "failed")
    assert due(demo) == 1
    assert "technical-logs/technical_logs" in task_log(demo, "retention_purge", run, "record")
    told = demo.alerts()[alerts:]
    assert len(told) == 1
    assert "technical-logs/technical_logs: 1 due rows left" in told[0]["message"] and "Safe to do now" in told[0]["message"]
    assert "Tasks of this run failed: purge_0" in told[0]["message"]
    assert demo.evidence("run.failed")[-1]["failed_tasks"] == ["purge_0"]


def test_no_trace_of_a_person_is_in_airflow_or_lethe_afterwards(demo: Demo, api: Api) -> None:
    server = databases.server(demo.home)
    assert in_database(server.url("spotrak"), CANARY), "the canary itself is not there: this test would prove nothing"
    assert in_database(server.url("airflow"), CANARY) == []
    assert in_database(server.url("lethe"), CANARY) == []
    assert in_folder(demo.home.airflow, CANARY) == []
    assert in_folder(demo.home.folder / "logs", CANARY) == []
    assert in_folder(demo.home.reports, CANARY) == []
    assert in_bucket(store.client(demo.home), LETHE, CANARY) == []
