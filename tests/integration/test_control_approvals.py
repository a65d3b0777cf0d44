"""Approvals: a named person, with a login of his own or in Airflow's UI; a refusal is final."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from helpers.control import AS_OF, ControlDatabase, a_plan, a_step, counts
from lethe.control.approvals import approval_of, approve, record_answer
from lethe.control.plans import DRY, Counted, save_counts, save_plan
from lethe.errors import NotApproved, UnknownName
from lethe.evidence.ledger import records

STEP = "logs/technical_logs"
PLAN = a_plan().digest


@pytest.fixture
def seen(control: ControlDatabase) -> ControlDatabase:
    """A plan that a dry run has counted: 50 due, 5 held."""
    with control.runtime.begin() as connection:
        save_plan(connection, a_plan())
        save_counts(connection, PLAN, DRY, {STEP: Counted(counts=counts(100, 50, held=5))})
        save_counts(connection, PLAN, DRY, {STEP: Counted(counts=counts(100, 50, held=5))})
    return control


def test_an_approval_keeps_what_was_seen_as_its_ceilings_and_is_on_record(seen: ControlDatabase) -> None:
    with seen.approver.begin() as connection:
        given = approve(connection, PLAN[:16], approver="j.dupont", reason="first_run")
    assert (given.plan, given.approver, given.login, given.rows) == (PLAN, "j.dupont", "lethe_approver", 45)
    with seen.runtime.connect() as connection:
        approval = approval_of(connection, PLAN)
        (record,) = records(connection, kind="approval.given")
    assert approval is not None and approval.approved
    assert (approval.approver, approval.channel, approval.recorded_by) == ("j.dupont", "credentials", "lethe_approver")
    assert approval.ceilings == {STEP: 45}
    assert record.run == PLAN and record.content["approver"] == "j.dupont" and record.content["ceilings"] == {STEP: 45}
    assert record.content["recorded_by"] == "lethe_approver", "`--as` is what a person says; this is what the database knows"
    assert record.recorded_at == approval.given_at.isoformat(timespec="microseconds")


def test_an_approver_who_gives_no_name_is_the_login_of_the_credentials(seen: ControlDatabase) -> None:
    with seen.approver.begin() as connection:
        assert approve(connection, PLAN, reason="first_run").approver == "lethe_approver"
    with seen.runtime.connect() as connection:
        (record,) = records(connection, kind="approval.given")
    assert record.content["approver"] == record.content["recorded_by"] == "lethe_approver"


def test_counts_that_the_approver_did_not_see_are_not_approved(seen: ControlDatabase) -> None:
    with seen.runtime.begin() as connection:
        save_counts(connection, PLAN, DRY, {STEP: Counted(counts=counts(100, 60))})
    with pytest.raises(NotApproved, match="now delete 60 rows, not 45"), seen.approver.begin() as connection:
        approve(connection, PLAN, approver="j.dupont", reason="first_run", rows=45)
    with seen.runtime.connect() as connection:
        assert approval_of(connection, PLAN) is None and list(records(connection)) == []
    with seen.approver.begin() as connection:
        assert approve(connection, PLAN, approver="j.dupont", reason="first_run", rows=60).rows == 60


def test_a_step_that_waits_has_no_part_in_what_is_approved(control: ControlDatabase) -> None:
    plan = a_plan(a_step(), a_step("later/mails", waiting_for=("archive",)))
    with control.runtime.begin() as connection:
        save_plan(connection, plan)
        save_counts(connection, plan.digest, DRY, {s.id: Counted(counts=counts(100, 50)) for s in plan.steps})
    with control.approver.begin() as connection:
        assert approve(connection, plan.digest, reason="first_run", rows=50).rows == 50
    with control.runtime.connect() as connection:
        approval = approval_of(connection, plan.digest)
    assert approval is not None and approval.ceilings == {STEP: 50}


def test_nobody_has_said_anything_about_a_plan_at_first(seen: ControlDatabase) -> None:
    with seen.runtime.connect() as connection:
        assert approval_of(connection, PLAN) is None


@pytest.mark.parametrize("login", ["runtime", "approver"])
def test_a_refusal_is_final_whoever_approves_later(seen: ControlDatabase, login: str) -> None:
    with seen.approver.begin() as connection:
        approve(connection, PLAN, approver="j.dupont", reason="first_run")
        approve(connection, PLAN, approver="a.martin", reason="wrong_policy", approved=False)
    with pytest.raises(NotApproved, match="final"), getattr(seen, login).begin() as connection:
        if login == "approver":
            approve(connection, PLAN, approver="j.dupont", reason="expected")
        else:
            record_answer(connection, PLAN, DRY, responded_by="admin", approved=True)
    with seen.runtime.connect() as connection:
        approval = approval_of(connection, PLAN)
        assert approval is not None and not approval.approved and approval.reason == "wrong_policy"
        assert [r.kind for r in records(connection)] == ["approval.given", "approval.refused"]


def test_the_run_cannot_approve_itself_with_an_approvers_credentials(seen: ControlDatabase) -> None:
    with pytest.raises(NotApproved, match="login"), seen.runtime.begin() as connection:
        approve(connection, PLAN, approver="j.dupont", reason="first_run")
    with seen.runtime.connect() as connection:
        assert approval_of(connection, PLAN) is None and list(records(connection)) == []


def test_an_approver_cannot_pretend_that_airflow_asked(seen: ControlDatabase) -> None:
    with pytest.raises(NotApproved), seen.approver.begin() as connection:
        record_answer(connection, PLAN, DRY, responded_by="admin", approved=True)


def test_who_recorded_an_approval_cannot_be_made_up(seen: ControlDatabase) -> None:
    with seen.runtime.begin() as connection:
        record_answer(connection, PLAN, DRY, responded_by="admin", approved=True)
    forged = text(
        "INSERT INTO lethe.approvals (plan, approver, channel, responded_at, recorded_by, reason, ceilings) "
        "VALUES (:plan, 'x', 'airflow', now(), 'lethe_approver', 'reviewed', '{}')"
    )
    with seen.runtime.begin() as connection:
        connection.execute(forged, {"plan": PLAN})
        assert set(connection.scalars(text("SELECT recorded_by FROM lethe.approvals"))) == {"lethe_runtime"}


def test_an_answer_in_airflow_is_recorded_with_its_instant_and_no_address(seen: ControlDatabase) -> None:
    with seen.runtime.begin() as connection:
        record_answer(connection, PLAN, DRY, responded_by="jeanne@example.org", approved=True, responded_at=AS_OF)
        approval = approval_of(connection, PLAN)
        assert approval is not None and approval.channel == "airflow" and approval.responded_at == AS_OF
        assert approval.approver == "jeanne@example.org" and approval.ceilings == {STEP: 45}
        (record,) = records(connection)
    assert "example" not in record.body and record.content["responded_at"] == AS_OF.isoformat()


def test_no_answer_in_time_is_a_refusal(seen: ControlDatabase) -> None:
    with seen.runtime.begin() as connection:
        record_answer(connection, PLAN, DRY, responded_by="nobody", approved=False, reason="no_answer")
        approval = approval_of(connection, PLAN)
    assert approval is not None and not approval.approved


def test_what_is_no_approval_is_refused(seen: ControlDatabase) -> None:
    uncounted = a_plan(as_of=AS_OF.replace(day=22))
    with seen.runtime.begin() as connection:
        save_plan(connection, uncounted)
    for plan, approver, reason, error in (
        (PLAN, "j.dupont@example.org", "first_run", NotApproved),
        (PLAN, "j.dupont", "because", NotApproved),
        (PLAN, "j.dupont", "wrong_policy", NotApproved),
        (uncounted.digest, "j.dupont", "first_run", NotApproved),
        ("0" * 64, "j.dupont", "first_run", UnknownName),
    ):
        with pytest.raises(error), seen.approver.begin() as connection:
            approve(connection, plan, approver=approver, reason=reason)


def test_an_approver_reads_plans_and_writes_approvals_and_nothing_else(seen: ControlDatabase) -> None:
    for statement in (
        "SELECT * FROM lethe.approvals",
        "SELECT * FROM lethe.holds",
        "SELECT * FROM lethe.batches",
        "DELETE FROM lethe.approvals",
        "INSERT INTO lethe.plans (digest, as_of, body) VALUES ('x', now(), '{}')",
        "UPDATE lethe.runs SET state = 'passed'",
    ):
        with pytest.raises(DBAPIError, match="permission denied"), seen.approver.begin() as connection:
            connection.execute(text(statement))
