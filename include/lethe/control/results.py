"""What the check found for each step of a run: outcome, level, and every term of the equation, each counted on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.tables import step_results

Level = Literal["L0", "L1", "L2", "L3", "L4"]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The result of one step. `terms`: planned, arrived, deleted, held, changed, blocked, failed, survivors, quarantined, in rows;
    a term that could not be counted is None, never 0."""

    outcome: Literal["clean", "survivors", "unknown"]
    level: Level | None
    terms: Mapping[str, int | None]
    details: Mapping[str, Any] = field(default_factory=dict)


def save_result(connection: Connection, plan: str, attempt: int, step: str, result: Verified) -> None:
    """Stores the result of a step; the latest check of the same attempt counts."""
    values = {"outcome": result.outcome, "level": result.level, "terms": dict(result.terms), "details": dict(result.details)}
    statement = insert(step_results).values(plan=plan, attempt=attempt, step=step, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["plan", "attempt", "step"], set_={**values, "verified_at": func.now()})
    )


def load_results(connection: Connection, plan: str, attempt: int) -> dict[str, Verified]:
    """The results of an attempt, by step."""
    rows = connection.execute(
        select(step_results).where(step_results.c.plan == plan, step_results.c.attempt == attempt).order_by(step_results.c.step)
    )
    return {r.step: Verified(outcome=r.outcome, level=r.level, terms=r.terms, details=r.details) for r in rows}
