"""What past runs did: the guard compares tonight's plan with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import BigInteger, Connection, cast, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from lethe.control.tables import plans, runs, step_results
from lethe.plan.model import Plan


def past_deleted(
    connection: Connection, steps: Collection[str], *, besides: str | None = None, limit: int = 100
) -> dict[str, tuple[int, ...]]:
    """Rows that each step deleted in its last `limit` plans with a finished run, oldest first.

    A step's id is its rule and dataset, so it is the same across plans. Attempts of one plan are one run of it: their sum is
    what that plan deleted. `besides` leaves out the plan that is judged.
    """
    deleted = cast(step_results.c.terms["deleted"].astext, BigInteger)
    per_plan = (
        select(
            step_results.c.step,
            func.sum(deleted).label("rows"),
            func.max(runs.c.finished_at).label("ended"),
            func.row_number().over(partition_by=step_results.c.step, order_by=func.max(runs.c.finished_at).desc()).label("back"),
        )
        .join(runs, (runs.c.plan == step_results.c.plan) & (runs.c.attempt == step_results.c.attempt))
        .where(runs.c.state == "finished", step_results.c.step.in_(steps), deleted.is_not(None))
        .group_by(step_results.c.step, step_results.c.plan)
    )
    if besides is not None:
        per_plan = per_plan.where(step_results.c.plan != besides)
    found: dict[str, list[int]] = defaultdict(list)
    past = per_plan.subquery()
    for row in connection.execute(select(past.c.step, past.c.rows).where(past.c.back <= limit).order_by(past.c.step, past.c.ended)):
        found[row.step].append(int(row.rows))
    return {step: tuple(rows) for step, rows in found.items()}


def last_periods(connection: Connection, steps: Collection[str], *, besides: str | None = None) -> dict[str, str]:
    """The period that each step had in its last finished run, as the stored plan says; a step that never ran is not named."""
    ran = (
        select(step_results.c.step, step_results.c.plan)
        .ext(distinct_on(step_results.c.step))
        .join(runs, (runs.c.plan == step_results.c.plan) & (runs.c.attempt == step_results.c.attempt))
        .where(runs.c.state == "finished", step_results.c.step.in_(steps))
        .order_by(step_results.c.step, runs.c.finished_at.desc())
    )
    if besides is not None:
        ran = ran.where(step_results.c.plan != besides)
    last = {row.step: row.plan for row in connection.execute(ran)}
    bodies = connection.execute(select(plans.c.digest, plans.c.body).where(plans.c.digest.in_(set(last.values()))))
    periods = {digest: {s.id: s.period for s in Plan.model_validate(body).steps if s.period} for digest, body in bodies}
    return {step: periods[plan][step] for step, plan in last.items() if step in periods[plan]}
