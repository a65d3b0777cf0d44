"""Runs: one attempt to carry out one plan. A run's identity is its plan's digest and the attempt, not Airflow's run id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Row, func, select, text

from lethe.control.tables import plans, runs
from lethe.errors import OutOfTurn, UnknownName
from lethe.evidence.ledger import append
from lethe.instants import now

State = Literal["planned", "waiting", "passed", "purging", "verifying", "finished", "failed", "refused"]
Outcome = Literal["clean", "survivors", "unknown"]
Pace = Literal["full", "gentle"]

OVER: frozenset[str] = frozenset({"finished", "refused"})
"""States that a run does not leave. A failed run is taken up again where it stopped: it had passed its guard."""

_ENDED = OVER | {"failed"}
_MAY_PURGE: frozenset[str] = frozenset({"passed", "purging", "verifying", "failed"})


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt of a plan. `interruptions` counts how often it was taken up again."""

    plan: str
    attempt: int
    state: State
    pace: Pace
    started_at: datetime
    finished_at: datetime | None
    outcome: Outcome | None
    interruptions: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run that may be worked on. `resumed`: it is an earlier one, taken up where it stopped."""

    attempt: int
    resumed: bool


def open_or_resume(connection: Connection, plan: str, *, pace: Pace = "full", at: datetime | None = None) -> Opened:
    """The run of this plan to work on: its unfinished one, with one more interruption on record, or else a new attempt.

    Two callers at once get the same run, one of them as resumed. The lease of the store says who may act on it.
    """
    connection.execute(select(func.pg_advisory_xact_lock(7212, func.hashtext(plan))))
    last = connection.execute(select(runs).where(runs.c.plan == plan).order_by(runs.c.attempt.desc()).limit(1)).one_or_none()
    if last is not None and last.state not in OVER:
        count = last.interruptions + 1
        connection.execute(runs.update().where(runs.c.plan == plan, runs.c.attempt == last.attempt).values(interruptions=count))
        append(connection, "run.resumed", {"attempt": last.attempt, "state": last.state, "interruptions": count}, run=plan, at=at)
        return Opened(attempt=last.attempt, resumed=True)
    attempt = last.attempt + 1 if last is not None else 1
    connection.execute(runs.insert().values(plan=plan, attempt=attempt, state="planned", pace=pace, started_at=at or now()))
    append(connection, "run.opened", {"attempt": attempt, "pace": pace}, run=plan, at=at)
    return Opened(attempt=attempt, resumed=False)


def set_state(
    connection: Connection, plan: str, attempt: int, state: State, *, outcome: Outcome | None = None, at: datetime | None = None
) -> None:
    """Moves a run on. The same state again changes nothing, so that a task can be retried.

    Raises OutOfTurn when the run is over already, or would purge before its plan has passed the guard (invariant 11);
    UnknownName when there is no such run.
    """
    mine = (runs.c.plan == plan) & (runs.c.attempt == attempt)
    present = connection.scalar(select(runs.c.state).where(mine).with_for_update())
    if present is None:
        raise UnknownName(f"Plan {plan[:12]} has no run {attempt}.", fix="Open it first.")
    if present == state:
        return
    if present in OVER:
        raise OutOfTurn(f"Run {attempt} of plan {plan[:12]} is {present} already.", fix="Start the plan again: that opens a new attempt.")
    if state in ("purging", "verifying", "failed") and present not in _MAY_PURGE:
        raise OutOfTurn(
            f"Run {attempt} of plan {plan[:12]} has not passed its guard: it is {present}.",
            fix="Let the guard pass, or have the plan approved.",
        )
    over = {"finished_at": at or now()} if state in _ENDED else {}
    connection.execute(runs.update().where(mine).values(state=state, outcome=outcome, **over))


def run_of(connection: Connection, plan: str, attempt: int | None = None) -> Run:
    """One run of a plan, the last when no attempt is given; UnknownName when there is none."""
    query = select(runs).where(runs.c.plan == plan).order_by(runs.c.attempt.desc()).limit(1)
    row = connection.execute(query if attempt is None else query.where(runs.c.attempt == attempt)).one_or_none()
    if row is None:
        raise UnknownName(f"Plan {plan[:12]} has no such run.", fix="`lethe plan` lists plans; a run opens one.")
    return _run(row)


def recent_runs(connection: Connection, *, limit: int = 50) -> tuple[Run, ...]:
    """The latest runs, newest first."""
    return tuple(_run(r) for r in connection.execute(select(runs).order_by(runs.c.started_at.desc(), text("attempt desc")).limit(limit)))


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished run, and what it was a run of."""

    as_of: datetime
    policy_version: str
    rules: frozenset[str]
    finished_at: datetime
    outcome: Outcome | None


def finished_runs(connection: Connection) -> Iterator[Done]:
    """Every finished run, the one with the latest `as_of` first; read as far as it is asked for."""
    query = (
        select(plans.c.as_of, plans.c.body["policy_version"].astext, plans.c.body["rules"], runs.c.finished_at, runs.c.outcome)
        .join(plans, plans.c.digest == runs.c.plan)
        .where(runs.c.state == "finished")
        .order_by(plans.c.as_of.desc(), runs.c.finished_at.desc())
    )
    with connection.execute(query, execution_options={"stream_results": True, "yield_per": 20}) as rows:
        for as_of, version, rules, at, outcome in rows:
            yield Done(as_of=as_of, policy_version=version, rules=frozenset(rules), finished_at=at, outcome=outcome)


def finished_expiries(connection: Connection) -> Iterator[Done]:
    """Those of the archive's expiry: their rules are the ids of their steps (`plan.expiry`)."""
    return (run for run in finished_runs(connection) if run.rules and all(r.startswith("expiry-") for r in run.rules))


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(**row._mapping)
