"""What past runs did: the guard compares tonight's plan with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, cast, func, select

from lethe.control.tables import plans, runs, step_results
from lethe.plan.guard import PAST_RUNS_NEEDED
from lethe.plan.model import Plan, Step

LOOKED_BACK = 100
"""Plans with a finished run that tonight's is compared with."""


def past_deleted(
    connection: Connection, steps: Collection[str], *, besides: str | None = None, of_archive: bool = False, limit: int = LOOKED_BACK
) -> dict[str, tuple[int, ...]]:
    """Rows that each step deleted in its last `limit` plans with a finished run, oldest first.

    A step's id is its rule and dataset, so it is the same across plans. A step of too few plans to know what is usual has the history of
    its dataset instead, whatever the rule was called. Attempts of one plan are one run of it: their sum is what that plan deleted.
    `besides` leaves out the plan that is judged. `of_archive`: steps of the archive's expiry have only plans of it as their past, and
    steps over live data none of these.
    """
    own = _deleted(connection, step_results.c.step, steps, besides, limit, of_archive)
    new = {step: step.partition("/")[2] for step in steps if len(own.get(step, ())) < PAST_RUNS_NEEDED}
    dataset = func.split_part(step_results.c.step, "/", 2)
    others = _deleted(connection, dataset, {d for d in new.values() if d}, besides, limit, of_archive) if new else {}
    return {**own, **{step: others[d] for step, d in new.items() if d in others}}


def _deleted(
    connection: Connection, key: ColumnElement[Any], wanted: Collection[str], besides: str | None, limit: int, of_archive: bool
) -> dict[str, tuple[int, ...]]:
    deleted = cast(step_results.c.terms["deleted"].astext, BigInteger)
    ended = func.max(runs.c.finished_at)
    per_plan = (
        select(
            key.label("key"),
            func.sum(deleted).label("rows"),
            ended.label("ended"),
            func.row_number().over(partition_by=key, order_by=ended.desc()).label("back"),
        )
        .join(runs, (runs.c.plan == step_results.c.plan) & (runs.c.attempt == step_results.c.attempt))
        .join(plans, plans.c.digest == step_results.c.plan)
        .where(runs.c.state == "finished", key.in_(wanted), deleted.is_not(None), _of_archive() if of_archive else ~_of_archive())
        .group_by(key, step_results.c.plan)
    )
    if besides is not None:
        per_plan = per_plan.where(step_results.c.plan != besides)
    found: dict[str, list[int]] = defaultdict(list)
    past = per_plan.subquery()
    for row in connection.execute(select(past.c.key, past.c.rows).where(past.c.back <= limit).order_by(past.c.key, past.c.ended)):
        found[row.key].append(int(row.rows))
    return {name: tuple(rows) for name, rows in found.items()}


def _of_archive() -> ColumnElement[bool]:
    """Is it a plan of the archive's expiry that has a step? Its steps are all of one kind, the only one whose predicate names a law."""
    named: ColumnElement[bool] = plans.c.body["steps"][0]["predicate"]["law"].astext.is_not(None)
    return named


def last_steps(connection: Connection, *, besides: str | None = None, limit: int = LOOKED_BACK) -> dict[str, tuple[Step, ...]]:
    """By dataset, the steps of the last finished runs over it, as the stored plans say, waiting ones too.

    Runs over some of the rules belong together as long as the policy is the same: for each dataset it is the policy of the last run that
    looked at it which counts, and of each rule the last step. What an earlier policy did is over.
    """
    newest = (
        select(plans.c.digest)
        .join(runs, runs.c.plan == plans.c.digest)
        .where(runs.c.state == "finished", plans.c.digest != (besides or ""), ~_of_archive())
        .group_by(plans.c.digest)
        .order_by(func.max(runs.c.finished_at).desc(), plans.c.as_of.desc())
        .limit(limit)
    )
    digests = list(connection.scalars(newest))
    what = select(plans.c.digest, *(plans.c.body[key].astext for key in ("policy_digest", "catalog_digest", "rules")))
    same = {row[0]: tuple(row[1:]) for row in connection.execute(what.where(plans.c.digest.in_(digests)))}
    first: dict[tuple[str, ...], str] = {}
    for digest in digests:
        first.setdefault(same[digest], digest)  # plans of one policy, one catalog and the same rules have the same steps
    stored = connection.execute(select(plans.c.digest, plans.c.body).where(plans.c.digest.in_(first.values())))
    bodies = {digest: Plan.model_validate(body) for digest, body in stored}
    policies: dict[str, str] = {}
    found: dict[str, dict[str, Step]] = defaultdict(dict)
    for (policy, *_), digest in first.items():
        for step in bodies[digest].steps:
            if step.dataset is not None and policies.setdefault(step.dataset, policy) == policy:
                found[step.dataset].setdefault(step.id, step)
    return {dataset: tuple(steps.values()) for dataset, steps in found.items()}
