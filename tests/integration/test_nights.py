"""Whole nights of a small company: what makes one red, what stops it, who may let it pass, and which one counts as a night."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select
from typer.testing import CliRunner

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.company import VERSION, Company, Night, company_of, twelve_months
from helpers.purging import AS_OF, CUTOFF, world_of
from lethe.airflow.defaults import RETRIES
from lethe.cli import app
from lethe.control.approvals import approval_of
from lethe.control.runs import run_of
from lethe.control.tables import approvals
from lethe.errors import AuditFailed, Drifted, MissedRun, NotClean, PurgeFailed, PurgeHindered
from lethe.evidence.ledger import records
from lethe.instants import now
from lethe.purge.context import StepTotals
from lethe.retention import audit, decide_run, guard_run, plan_run, purge_run_group, record_run, verify_run, watch

ROWS, DUE = 400, 200


@pytest.fixture
def company(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    """Two tables of 400 rows, half of them over twelve months old, and a policy of twelve months for both."""
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as made:
        for table in ("logs", "acts"):
            made.world.sql(
                f"INSERT INTO app.{table} (id, at, note) SELECT g, %s + (g - %s) * interval '1 minute', 'x' FROM generate_series(0, %s) g",
                [CUTOFF, DUE, ROWS - 1],
            )
            made.world.sql(f"ANALYZE app.{table}")
        made.policy(twelve_months("logs", "acts"), max_share=1.0)
        yield made


def rows(company: Company, table: str) -> int:
    return int(company.world.number(f"SELECT count(*) FROM app.{table}"))


def evidence(company: Company, kind: str) -> list[dict[str, Any]]:
    with company.open() as workspace, workspace.control.connect() as control:
        return [r.content for r in records(control, kind=kind)]


def rewritten(company: Company, name: str, change: Any) -> None:
    """A file of the policy or the catalog, changed in place."""
    path = company.folder / name
    body = yaml.safe_load(path.read_text())
    change(body)
    path.write_text(yaml.safe_dump(body, sort_keys=False))


def lethe(*arguments: str) -> None:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code == 0, ended.output


# What nobody mapped


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE app.faces (id bigint PRIMARY KEY, picture text)", "table not mapped: app.faces"),
        ("CREATE SCHEMA side; CREATE TABLE side.faces (id bigint PRIMARY KEY)", "table not mapped: side.faces"),
        ("ALTER TABLE app.uses ADD COLUMN email text", "column not mapped: uses.email"),
        ("ALTER TABLE app.uses DROP COLUMN note", "column not in database: uses.note"),
    ],
)
def test_what_nobody_mapped_makes_the_night_red_by_name_and_the_mapped_tables_are_purged(company: Company, made: str, named: str) -> None:
    company.world.sql(made)
    night = company.night()
    assert named in night.red
    assert {r.outcome for r in night.results.values()} == {"clean"}
    assert (rows(company, "logs"), rows(company, "acts")) == (ROWS - DUE, ROWS - DUE)
    assert evidence(company, "run.failed")[-1]["uncovered"] == [named]
    with company.open() as workspace, workspace.control.connect() as control:
        assert run_of(control, night.planned.digest).state == "finished", "the purge itself is over"


def test_a_night_without_unmapped_tables_is_green(company: Company) -> None:
    assert company.night().red == ""
    assert evidence(company, "run.finished")[-1]["uncovered"] == []


def test_an_exemption_keeps_the_night_green_until_its_last_day(company: Company) -> None:
    company.world.sql("CREATE TABLE app.faces (id bigint PRIMARY KEY)")

    def exempt(until: str) -> None:
        entry = {"name": "app.faces", "reason": "r", "owner": "o", "until": until}
        rewritten(company, "catalog/source.yaml", lambda body: body.update(exempt=[*body["exempt"][:1], entry]))

    exempt("2099-01-01")
    assert company.night().red == ""
    exempt("2020-01-01")
    assert "table not mapped: app.faces" in company.night(as_of=AS_OF + timedelta(hours=1)).red


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("ALTER TABLE app.logs ADD COLUMN email text", "logs.email: The column is not in the catalog"),
        ("ALTER TABLE app.logs DROP COLUMN note", "logs.note"),
        ("ALTER TABLE app.logs ALTER COLUMN at TYPE date", "logs clock age: `at` is date"),
        ("ALTER TABLE app.logs DROP CONSTRAINT logs_pkey", "logs: No primary key"),
        ("DROP TABLE app.acts", "acts: app.acts is not there"),
        ("ALTER TABLE app.tenants RENAME COLUMN owner_id TO chief_id", "tenants.owner_id"),
    ],
)
def test_a_dataset_of_the_run_that_is_not_what_the_catalog_says_stops_the_plan_by_name(company: Company, made: str, named: str) -> None:
    company.world.sql(made)
    left = rows(company, "logs")
    with pytest.raises(Drifted) as stopped:
        company.night()
    assert named in str(stopped.value)
    assert rows(company, "logs") == left == ROWS


def test_a_dataset_that_a_clock_leads_through_is_a_dataset_of_the_run(company: Company) -> None:
    company.policy(twelve_months("threads"), max_share=1.0)
    company.world.sql("ALTER TABLE app.messages RENAME COLUMN parent_id TO above_id")
    with pytest.raises(Drifted, match=r"messages\.parent_id"):
        company.night()


# A purge that left no evidence, and tasks that failed


def purged_and_killed(company: Company, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """A night whose purge is killed after its last commit, before it says what it did; verified afterwards."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        run = (planned.digest, planned.attempt)
        guard_run(workspace, *run)
        with monkeypatch.context() as patch:
            patch.setattr("lethe.retention.purging.note_of", killed)
            for group in planned.groups:
                with pytest.raises(KeyboardInterrupt):
                    purge_run_group(workspace, *run, group.steps)
        assert set(verify_run(workspace, *run).values()) == {"clean"}
    return run


def test_a_purge_killed_after_its_last_commit_is_red_until_it_says_what_it_did(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    run = purged_and_killed(company, monkeypatch)
    assert rows(company, "logs") == ROWS - DUE
    with company.open() as workspace:
        with pytest.raises(NotClean, match="No purge left its evidence for: logs/logs; acts/acts"):
            record_run(workspace, *run)
        assert evidence(company, "run.failed")[-1]["unproved"] == ["logs/logs", "acts/acts"]
        assert not evidence(company, "step.purged")
        for step in ("logs/logs", "acts/acts"):
            assert purge_run_group(workspace, *run, [step]) == {step: DUE}, "its batches know what they deleted"
        verify_run(workspace, *run)
        assert record_run(workspace, *run)["outcome"] == "clean"
    assert {n["step"]: n["deleted"] for n in evidence(company, "step.purged")} == {"logs/logs": DUE, "acts/acts": DUE}


def test_a_failed_task_is_red_and_on_record_although_the_tables_are_clean(company: Company) -> None:
    night = company.night()
    run = (night.planned.digest, night.planned.attempt)
    with company.open() as workspace:
        with pytest.raises(NotClean, match="Tasks of this run failed: purge_1"):
            record_run(workspace, *run, failed_tasks=["purge_1"])
        assert evidence(company, "run.failed")[-1]["failed_tasks"] == ["purge_1"]
        assert record_run(workspace, *run)["outcome"] == "clean"


def test_a_run_with_a_failed_task_stays_open_so_that_the_task_can_be_cleared(company: Company) -> None:
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        run = (planned.digest, planned.attempt)
        guard_run(workspace, *run)
        for group in planned.groups:
            purge_run_group(workspace, *run, group.steps)
        verify_run(workspace, *run)
        with pytest.raises(NotClean):
            record_run(workspace, *run, failed_tasks=["purge_0"])
        with workspace.control.connect() as control:
            assert run_of(control, *run).state == "failed"
        purge_run_group(workspace, *run, planned.groups[0].steps)
        verify_run(workspace, *run)
        assert record_run(workspace, *run)["outcome"] == "clean"


def test_a_night_without_a_plan_says_which_tasks_failed(company: Company) -> None:
    with company.open() as workspace, pytest.raises(NotClean, match="No plan was made"):
        record_run(workspace, None, None, failed_tasks=["plan"])
    assert evidence(company, "run.failed")[-1]["failed_tasks"] == ["plan"]


@pytest.mark.parametrize(
    ("kinds", "again"),
    [
        (("StillLocked",), True),
        (("StillLocked", "Unreachable"), True),
        (("StillLocked", "WrongCount"), False),
        (("WrongCount",), False),
        (("StatementEnded",), False),
    ],
)
def test_airflow_tries_a_purge_again_when_only_locks_or_silent_stores_were_in_its_way(
    company: Company, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], again: bool
) -> None:
    steps = ("logs/logs", "acts/acts")
    totals = [StepTotals(step=s, error="e", error_kind=k) for s, k in zip(steps, kinds, strict=False)]
    monkeypatch.setattr("lethe.purge.run.run_group", lambda *_: totals + [StepTotals(step=s) for s in steps[len(kinds) :]])
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        guard_run(workspace, planned.digest, planned.attempt)
        with pytest.raises(PurgeFailed) as failed:
            purge_run_group(workspace, planned.digest, planned.attempt, steps)
    assert isinstance(failed.value, PurgeHindered) is again
    assert RETRIES.evaluate(failed.value, 1, 3).action.value == ("retry" if again else "fail")


# Who may let a plan pass


def waiting(company: Company) -> tuple[str, int]:
    """A run whose plan would delete everything, and waits."""
    company.policy({"logs": "P0D"})
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        assert guard_run(workspace, planned.digest, planned.attempt).waits
    return planned.digest, planned.attempt


def state_of(company: Company, run: tuple[str, int]) -> tuple[str, str]:
    """The run's state, and the reason of what counts for its plan."""
    with company.open() as workspace, workspace.control.connect() as control:
        approval = approval_of(control, run[0])
        return run_of(control, *run).state, str(approval.reason) if approval else ""


@pytest.mark.parametrize(
    ("answer", "passes", "state", "reason"),
    [
        ({"by": "7", "also_known_as": ("7", "approver"), "started_by": "admin"}, True, "passed", "reviewed"),
        ({"by": "7", "also_known_as": ("7", "Admin"), "started_by": "admin"}, False, "refused", "own_run"),
        ({"by": "admin", "started_by": "admin"}, False, "refused", "own_run"),
        ({"by": "admin", "started_by": None}, True, "passed", "reviewed"),
        ({"by": None, "started_by": "admin"}, False, "refused", "nobody_named"),
    ],
)
def test_a_plan_is_approved_by_a_named_person_who_did_not_start_the_run(
    company: Company, answer: dict[str, Any], passes: bool, state: str, reason: str
) -> None:
    run = waiting(company)
    with company.open() as workspace:
        assert decide_run(workspace, *run, approved=True, **answer) is passes
    assert state_of(company, run) == (state, reason)
    kind, other = ("approval.given", "approval.refused") if passes else ("approval.refused", "approval.given")
    assert [r["reason"] for r in evidence(company, kind)] == [reason] and not evidence(company, other)


def test_a_timeout_refuses_and_does_not_write_over_an_approval_that_came_meanwhile(company: Company) -> None:
    run = waiting(company)
    lethe("plan", "approve", run[0], "--reason", "expected", "--rows", str(ROWS))
    with company.open() as workspace:
        assert decide_run(workspace, *run, approved=False, by=None, answered=False)
        assert state_of(company, run) == ("passed", "expected")
        assert purge_run_group(workspace, *run, ["logs/logs"]) == {"logs/logs": ROWS}
    assert evidence(company, "guard.passed")[-1]["answer_set_aside"] == "no_answer"
    assert not evidence(company, "approval.refused")


def test_a_timeout_without_an_approval_refuses(company: Company) -> None:
    run = waiting(company)
    with company.open() as workspace:
        assert not decide_run(workspace, *run, approved=False, by=None, answered=False)
    assert state_of(company, run) == ("refused", "no_answer")
    assert rows(company, "logs") == ROWS


def test_a_person_who_refuses_is_not_overruled_by_an_approval_that_came_before(company: Company) -> None:
    run = waiting(company)
    lethe("plan", "approve", run[0], "--reason", "expected")
    with company.open() as workspace:
        assert not decide_run(workspace, *run, approved=False, by="approver")
    assert state_of(company, run) == ("refused", "not_expected")


def test_an_approval_of_fewer_rows_than_the_run_would_delete_does_not_save_it_from_a_timeout(company: Company) -> None:
    company.policy({"logs": "P0D"})
    with company.open() as workspace:
        digest = plan_run(workspace, as_of=AS_OF).digest
    company.world.sql("INSERT INTO app.logs (id, at) VALUES (9999, '2025-01-01')")
    run = waiting(company)
    with company.world.control.superuser.begin() as control:  # the approver saw the dry run
        seen = {"channel": "credentials", "approver": "a", "reason": "expected", "approved": True, "ceilings": {"logs/logs": ROWS}}
        control.execute(approvals.insert().inline().values(plan=digest, given_at=now(), **seen))
    with company.open() as workspace:
        assert not decide_run(workspace, *run, approved=False, by=None, answered=False)
    assert rows(company, "logs") == ROWS + 1


def test_a_plan_that_waits_says_which_steps_how_many_rows_and_how_to_answer(company: Company) -> None:
    company.policy({"logs": "P0D", "acts": "P12M"})
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        notice = guard_run(workspace, planned.digest, planned.attempt).notice
    assert "logs/logs: 400 of 400 rows (share)" in notice and "acts/acts" not in notice
    assert "It would delete 600 rows" in notice and "--rows 600" in notice and "lethe plan approve" in notice


def test_an_approval_holds_for_the_same_instant_written_with_another_offset(company: Company) -> None:
    company.policy({"logs": "P0D"})
    with company.open() as workspace:
        digest = plan_run(workspace, as_of=datetime.fromisoformat("2026-11-23T02:00:00+01:00")).digest
    lethe("plan", "approve", digest, "--reason", "expected")
    night = company.night(as_of=datetime(2026, 11, 23, 1, tzinfo=UTC))
    assert (night.planned.digest, night.red, rows(company, "logs")) == (digest, "", 0)


# What ran before


def test_a_rule_that_is_renamed_does_not_hide_that_its_period_was_shortened(company: Company) -> None:
    assert company.night().red == ""

    def rename(body: dict[str, Any]) -> None:
        body["rules"][0].update(id="traces", period="P11M")

    rewritten(company, f"{VERSION}/rules.yaml", rename)
    left = rows(company, "logs")
    night = company.night(as_of=AS_OF + timedelta(days=1))
    assert [(f.step, f.limit) for f in night.verdict.findings] == [("traces/logs", "shortened")]
    assert rows(company, "logs") == left


def test_a_rule_that_is_renamed_and_keeps_its_period_passes(company: Company) -> None:
    assert company.night().red == ""
    rewritten(company, f"{VERSION}/rules.yaml", lambda body: body["rules"][0].update(id="traces"))
    assert company.night(as_of=AS_OF + timedelta(days=1)).red == ""


def test_a_run_over_one_rule_of_an_edited_policy_does_not_hide_what_was_edited_in_another(company: Company) -> None:
    assert company.night().red == ""
    company.policy(twelve_months("acts", logs="P11M"), max_share=1.0)
    assert company.night(as_of=AS_OF + timedelta(hours=1), rules=["acts"]).red == ""
    assert company.night(as_of=AS_OF + timedelta(hours=2)).limits == {"shortened"}


# Which run is a night


def tonight(company: Company, **more: Any) -> Night:
    return company.night(**{"as_of": now() - timedelta(minutes=1), **more})


def test_a_run_over_some_rules_or_as_of_long_ago_is_no_night(company: Company) -> None:
    with company.open() as workspace:
        with pytest.raises(MissedRun, match="never finished"):
            watch(workspace)
        assert tonight(company, rules=["logs"]).red == ""
        with pytest.raises(MissedRun, match="never finished"):
            watch(workspace)
        assert tonight(company, as_of=now() - timedelta(hours=27)).red == ""
        with pytest.raises(MissedRun, match="last finished as of"):
            watch(workspace)
        night = tonight(company)
        assert night.red == ""
        assert watch(workspace)["as_of"] == night.planned.plan.as_of.isoformat()


def test_the_audit_holds_a_night_to_what_was_due_as_of_that_night_alone(company: Company) -> None:
    """Rows that became due after the last whole run are not overdue; those that were due then and are there again are."""
    assert company.night(as_of=AS_OF, rules=["logs"]).red == ""
    with company.open() as workspace:
        assert audit_of(workspace)["overdue"] == {}, "a run over one rule promises nothing about the others"
        assert company.night(as_of=AS_OF + timedelta(seconds=1)).red == ""
        company.world.sql("INSERT INTO app.logs (id, at) VALUES (9001, %s)", [CUTOFF + timedelta(days=1)])
        assert audit_of(workspace)["overdue"] == {}
        company.world.sql("INSERT INTO app.logs (id, at) VALUES (9002, %s)", [CUTOFF - timedelta(days=1)])
        assert audit_of(workspace)["overdue"] == {"logs/logs": 1}


def audit_of(workspace: Any) -> dict[str, Any]:
    """What an audit as of two days later puts on record, red or not: this small catalog is not clean in other ways."""
    with pytest.raises(AuditFailed):
        audit(workspace, as_of=AS_OF + timedelta(days=2))
    with workspace.control.connect() as control:
        return [r.content for r in records(control, kind="audit.finished")][-1]


# Days


@pytest.mark.parametrize(("instant", "held"), [("2026-11-23T22:59:59+00:00", 0), ("2026-11-23T23:00:00+00:00", DUE)])
def test_a_hold_begins_on_its_day_in_the_zone_of_the_policy(
    company: Company, monkeypatch: pytest.MonkeyPatch, instant: str, held: int
) -> None:
    lethe("hold", "add", "--dataset", "logs", "--reason", "audit", "--starts-on", "2026-11-24", "--review-on", "2099-01-01")
    for module in ("planning", "purging", "verifying"):
        monkeypatch.setattr(f"lethe.retention.{module}.now", lambda: datetime.fromisoformat(instant))
    night = company.night()
    terms = night.terms("logs/logs")
    assert night.red == ""
    assert (terms["planned"], terms["held"], terms["deleted"]) == (DUE, held, DUE - held)
    assert (rows(company, "logs"), rows(company, "acts")) == (ROWS - DUE + held, ROWS - DUE)


def test_approvals_are_read_as_they_were_given(company: Company) -> None:
    run = waiting(company)
    lethe("plan", "approve", run[0], "--reason", "expected", "--as", "j.dupont")
    with company.world.control.superuser.connect() as control:
        row = control.execute(select(approvals.c.approver, approvals.c.recorded_by)).one()
    assert tuple(row) == ("j.dupont", "lethe_approver")
