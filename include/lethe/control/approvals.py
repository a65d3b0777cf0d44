"""Approvals: a named person says that a plan beyond its guard may go on, or that it may not. A refusal is final for its plan.

Two channels. `credentials`: the person's own database login, a member of `lethe_approver`; the runtime role cannot write such a
row, a trigger checks `session_user`. `airflow`: answered in Airflow's UI, behind Airflow's login, and recorded by the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from lethe.control.plans import latest_counts, load_counts, load_plan
from lethe.control.tables import approvals
from lethe.errors import LetheError, NotApproved
from lethe.evidence.ledger import append
from lethe.frozen import Frozen
from lethe.instants import now
from lethe.plan.model import Counts, Plan

KEPT_THERE = "kept in lethe.approvals"
"""What the ledger holds for an approver whose name in Airflow is no login."""

_LOGIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")


class ApprovalReason(StrEnum):
    """Why the plan may go on: a choice, no free text. `reviewed` is what an answer in Airflow says."""

    FIRST_RUN = "first_run"
    BACKLOG = "backlog"
    POLICY_CHANGE = "policy_change"
    EXPECTED = "expected"
    REVIEWED = "reviewed"


class RefusalReason(StrEnum):
    """Why it may not. The last three are what the run itself says: a timeout is a refusal, and an approval needs a second, named person."""

    NOT_EXPECTED = "not_expected"
    WRONG_POLICY = "wrong_policy"
    WRONG_DATA = "wrong_data"
    NO_ANSWER = "no_answer"
    OWN_RUN = "own_run"
    NOBODY_NAMED = "nobody_named"


class Approval(Frozen):
    """Who said what about a plan. `ceilings`: step -> rows that would have gone when it was said; more waits again."""

    plan: str
    approver: str
    channel: Literal["credentials", "airflow"]
    recorded_by: str
    reason: ApprovalReason | RefusalReason
    approved: bool
    ceilings: dict[str, int]
    given_at: datetime
    responded_at: datetime | None = None


class Given(Frozen):
    """What `approve` recorded: the plan's whole digest, who it was, the database's login behind it, and how many rows were seen."""

    plan: str
    approver: str
    login: str
    rows: int


def approve(
    connection: Connection,
    plan: str,
    *,
    approver: str | None = None,
    reason: str,
    approved: bool = True,
    rows: int | None = None,
    at: datetime | None = None,
) -> Given:
    """Approves or refuses the plan of that digest, with the approver's own login.

    Writes the approval and its evidence in the caller's transaction, both with the login that the database knows. The ceilings are the
    counts that were stored last; `rows` is how many the approver saw in all, so that counts taken since are not approved unseen.
    `approver` is a login, that of the connection when None; `reason` an `ApprovalReason` or, refusing, a `RefusalReason`. Raises
    NotApproved when the plan was refused before or never counted, when other rows are stored than seen, when the reason or login is none,
    or when the connection is not the approver's; UnknownName when there is no such plan.
    """
    at = at or now()
    login = str(connection.scalar(select(func.session_user())))
    approver = approver or login
    if not _LOGIN.match(approver):
        raise NotApproved("An approver is named by a login.", fix="Give a login such as j.dupont, not an address.")
    seen = load_plan(connection, plan)
    ceilings = _ceilings(seen, latest_counts(connection, seen.digest))
    stored = sum(ceilings.values())
    if rows is not None and rows != stored:
        raise NotApproved(
            f"This plan was counted again since: it would now delete {stored} rows, not {rows}.",
            fix="Look at `lethe plan` again, and approve what it shows.",
        )
    values = {
        "plan": seen.digest,
        "approver": approver,
        "channel": "credentials",
        "reason": _reason(reason, approved),
        "approved": approved,
    }
    at = at or now()  # one instant for both, so that they can be compared (`control/agreement.py`)
    _record(connection, values, ceilings, at=at)
    _evidence(connection, {**values, "recorded_by": login}, ceilings, at=at)
    return Given(plan=seen.digest, approver=approver, login=login, rows=stored)


def record_answer(
    connection: Connection,
    plan: str,
    attempt: int,
    *,
    responded_by: str,
    approved: bool,
    responded_at: datetime | None = None,
    reason: str | None = None,
    at: datetime | None = None,
) -> None:
    """Records what a person answered in Airflow's UI, from the operator's own result, with its evidence; by the runtime role.

    The ceilings are the counts of this attempt, which is what the person was shown. `responded_by` goes to `approvals` as it
    is; the ledger takes it only when it is a login or a user id, and otherwise says that the name is kept there. A timeout is
    `approved=False, reason="no_answer"`. Raises NotApproved when the plan was refused before, and is approved now.
    """
    at = at or now()
    reason = reason or (ApprovalReason.REVIEWED if approved else RefusalReason.NOT_EXPECTED)
    counts = {step: c.counts for step, c in load_counts(connection, plan, attempt).items()}
    ceilings = _ceilings(load_plan(connection, plan), counts)
    values = {"plan": plan, "approver": responded_by, "channel": "airflow", "reason": _reason(reason, approved), "approved": approved}
    _record(connection, {**values, "responded_at": responded_at or at}, ceilings, at=at)
    _evidence(connection, {**values, "attempt": attempt, "responded_at": (responded_at or at).isoformat()}, ceilings, at=at)


def lock_answers(connection: Connection, plan: str) -> None:
    """Keeps others from approving or refusing this plan until the caller's transaction ends: what was said before it can be read."""
    connection.execute(select(func.pg_advisory_xact_lock(7213, func.hashtext(plan))))


def approval_of(connection: Connection, plan: str) -> Approval | None:
    """What counts for this plan: its refusal if there is one, or else its latest approval; None when nobody said anything."""
    query = select(approvals).where(approvals.c.plan == plan).order_by(approvals.c.approved, approvals.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Approval.model_validate({k: v for k, v in row._mapping.items() if k != "id"})


def _reason(reason: str, approved: bool) -> str:
    choices = set(ApprovalReason if approved else RefusalReason)
    if reason not in choices:
        raise NotApproved("That is no reason to give.", fix=f"Choose one of: {', '.join(sorted(choices))}.")
    return str(reason)


def _ceilings(plan: Plan, counts: Mapping[str, Counts]) -> dict[str, int]:
    """What each step that acts would delete; a step that waits is counted too, and deletes nothing."""
    return {s.id: counts[s.id].deletable for s in plan.steps if s.acts and s.id in counts}


def _record(connection: Connection, values: Mapping[str, Any], ceilings: Mapping[str, int], *, at: datetime) -> None:
    if values["approved"] and not ceilings:
        raise NotApproved(
            "Nobody has seen what this plan would delete.", fix="Run it dry first: `lethe plan --as-of INSTANT`, or the DAG with dry_run."
        )
    try:
        # inline: nothing is returned, for the approver may not read this table
        connection.execute(approvals.insert().inline().values(**values, ceilings=dict(ceilings), given_at=at))
    except DBAPIError as error:
        raise _refused(error) from None


def _evidence(connection: Connection, values: Mapping[str, Any], ceilings: Mapping[str, int], *, at: datetime) -> None:
    body = {k: v for k, v in values.items() if k not in {"plan", "approved"}}
    if not _LOGIN.match(body["approver"]):
        body["approver"] = KEPT_THERE
    body |= {"ceilings": dict(ceilings), "rows": sum(ceilings.values())}
    append(connection, "approval.given" if values["approved"] else "approval.refused", body, run=values["plan"], at=at)


def _refused(error: DBAPIError) -> LetheError:
    state = getattr(error.orig, "sqlstate", None)
    if state == "LT002":
        return NotApproved(
            "This plan was refused, and a refusal is final.", fix="Make a plan as of another instant, or change what made it wrong."
        )
    if state in {"LT003", "42501"}:
        return NotApproved(
            "This login may not approve plans that way.", fix="Use the connection lethe_approver, with the approver's own credentials."
        )
    return NotApproved(f"The approval could not be stored (SQLSTATE {state}).", fix="Look at Lethe's database; nothing was approved.")
