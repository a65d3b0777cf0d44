"""Plans and their counts, stored: a restart takes up the stored plan and never plans anew (invariant 12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.tables import plan_counts, plans
from lethe.errors import PlanAltered, UnknownName
from lethe.frozen import digest
from lethe.plan.model import Counts, Plan

DRY = 0
"""The attempt under which a dry run keeps its counts: each dry run replaces them, and an approval takes its ceilings from them."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What was counted for a step: its numbers; `details` (histogram, fingerprint, snapshot; JSON); its due keys, compressed."""

    counts: Counts
    details: Mapping[str, Any] = field(default_factory=dict)
    keys: bytes | None = field(default=None, repr=False)


def save_plan(connection: Connection, plan: Plan) -> str:
    """Stores the plan, once; its digest."""
    values = {"digest": plan.digest, "as_of": plan.as_of, "body": plan.model_dump(mode="json")}
    connection.execute(insert(plans).values(values).on_conflict_do_nothing())
    return plan.digest


def load_plan(connection: Connection, plan: str) -> Plan:
    """The plan of that digest, or of the one digest that begins so (at least 8 letters).

    Raises UnknownName when there is none or more than one, PlanAltered when what is stored has another digest.
    """
    if not plan.isalnum() or len(plan) < 8:
        raise UnknownName("That is no plan's digest.", fix="`lethe plan` prints it.")
    rows = connection.execute(select(plans.c.digest, plans.c.body).where(plans.c.digest.startswith(plan)).limit(2)).all()
    if len(rows) != 1:
        raise UnknownName(
            f"{'No' if not rows else 'More than one'} plan begins with {plan[:12]}.",
            fix="Make it first with `lethe plan`, and give its whole digest.",
        )
    if digest(rows[0].body) != rows[0].digest:
        raise PlanAltered(
            f"The stored plan {rows[0].digest[:12]} is not the plan of that digest.",
            fix="Somebody changed it in Lethe's database: make the plan again and look into it.",
        )
    return Plan.model_validate(rows[0].body)


def save_counts(connection: Connection, plan: str, attempt: int, counted: Mapping[str, Counted]) -> None:
    """Stores what was counted for each step of an attempt. The first counts of an attempt stand: the totals of an interrupted
    run are measured against what it set out to do. Those of a dry run (`DRY`) are replaced."""
    for step, item in counted.items():
        values = {"counts": item.counts.model_dump(mode="json"), "details": dict(item.details), "keys": item.keys}
        statement = insert(plan_counts).values(plan=plan, attempt=attempt, step=step, **values)
        changes = {**values, "counted_at": func.now()}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["plan", "attempt", "step"], set_=changes, where=plan_counts.c.attempt == DRY)
        )


def load_counts(connection: Connection, plan: str, attempt: int) -> dict[str, Counted]:
    """What was counted for each step of an attempt, by step, without the due keys: `load_keys` has them."""
    columns = [plan_counts.c.step, plan_counts.c.counts, plan_counts.c.details]
    rows = connection.execute(
        select(*columns).where(plan_counts.c.plan == plan, plan_counts.c.attempt == attempt).order_by(plan_counts.c.step)
    )
    return {r.step: Counted(counts=Counts.model_validate(r.counts), details=r.details) for r in rows}


def load_keys(connection: Connection, plan: str, attempt: int, step: str) -> bytes | None:
    """What was counted as due of a step, up to eight bytes a row: rows' keys frozen, archive objects' numbers as they are. None for none."""
    asked = select(plan_counts.c["keys"]).where(plan_counts.c.plan == plan, plan_counts.c.attempt == attempt, plan_counts.c.step == step)
    kept = connection.scalar(asked)
    return None if kept is None else bytes(kept)


def latest_counts(connection: Connection, plan: str) -> dict[str, Counts]:
    """The counts that a person saw last for this plan, dry run or not, by step; empty when it was never counted."""
    newest = (
        select(plan_counts.c.attempt)
        .where(plan_counts.c.plan == plan)
        .order_by(plan_counts.c.counted_at.desc(), plan_counts.c.attempt.desc())
        .limit(1)
    )
    attempt = connection.scalar(newest)
    return {} if attempt is None else {step: c.counts for step, c in load_counts(connection, plan, attempt).items()}
