"""Why a run is red, and what is safe to do about each reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from lethe.control.maintenance import AIRFLOW_CLEAN, is_overdue, last_success
from lethe.control.plans import DRY
from lethe.control.results import Verified
from lethe.control.runs import State, run_of
from lethe.plan.expiry import is_expiry
from lethe.plan.model import Plan
from lethe.verify.result import Outcome

_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is known when a run ends. `unproved`: acting steps of which no purge left its evidence; `failed_tasks`: tasks of the DAG run
    that ended in failure; `uncovered`: what no catalog entry and no exemption covers (`coverage.uncovered`)."""

    plan: Plan
    attempt: int
    outcome: Outcome | None
    results: Mapping[str, Verified]
    unproved: Sequence[str] = ()
    failed_tasks: Sequence[str] = ()
    uncovered: Sequence[str] = ()

    @property
    def purged(self) -> bool:
        """Was everything purged that should be, as far as this run can tell? Only then is the run over."""
        return self.outcome == "clean" and not self.unproved and not self.failed_tasks


def problem_of(control: Connection, end: Ending, at: datetime) -> tuple[str, str]:
    """Every reason why the run is red, and what is safe to do; empty when it is not. A dry run claims nothing, so it is never red."""
    found = [] if end.attempt == DRY else [*_of_run(control, end), *(() if is_expiry(end.plan) else _of_night(control, end, at))]
    return " ".join(problem for problem, _ in found), " ".join(dict.fromkeys(fix for _, fix in found))


def _of_run(control: Connection, end: Ending) -> Iterator[tuple[str, str]]:
    state: State = run_of(control, end.plan.digest, end.attempt).state
    if state == "refused":
        yield (
            "The plan was refused: nothing was deleted, and what is due is still there.",
            "Look at its findings; make a plan as of another instant.",
        )
    elif state in {"planned", "waiting"}:
        yield "The plan did not pass its guard: nothing was deleted.", "Open the log of the task `guard`, then clear it."
    else:
        yield from _of_purge(end)
    if end.failed_tasks:
        yield (
            f"Tasks of this run failed: {named(end.failed_tasks)}.",
            "Open their logs. Clearing a failed task is safe: it goes on where it stopped and deletes nothing twice.",
        )


def _of_purge(end: Ending) -> Iterator[tuple[str, str]]:
    if end.outcome != "clean":
        unclean = [
            _outcome(s.id, end.results.get(s.id))
            for s in end.plan.steps
            if s.acts and (s.id not in end.results or end.results[s.id].outcome != "clean")
        ]
        yield (
            f"The run is not clean ({end.outcome}): {named(unclean)}.",
            f"Read the report. Clearing the task `{_task(end)}` is safe: it goes on where it stopped and deletes nothing twice.",
        )
    if end.unproved:
        yield (
            f"No purge left its evidence for: {named(end.unproved)}.",
            f"Clear the task `{_task(end)}`: it was ended before it was done. It looks again, deletes nothing twice, and says what it did.",
        )


def _of_night(control: Connection, end: Ending, at: datetime) -> Iterator[tuple[str, str]]:
    """What is wrong beside the purge: it makes the night red, and the run is over all the same."""
    if end.uncovered:
        yield (
            f"Not in the catalog, so no rule keeps its promise there: {named(end.uncovered)}.",
            "Classify it in the catalog, or exempt it with a reason, an owner and a date; `lethe check` lists all of it.",
        )
    cleaned = last_success(control, AIRFLOW_CLEAN)
    if is_overdue(cleaned, at=at):
        when = f"since {cleaned.isoformat(timespec='minutes')}" if cleaned else "ever"
        yield (
            f"Airflow's own run records, technical logs too, have not been cleaned {when}.",
            "Run `make airflow-clean` on the host (or its compose service), then clear the task `record`.",
        )


def _task(end: Ending) -> str:
    """The task of the DAG that deletes."""
    return "expire" if is_expiry(end.plan) else "purge"


def named(items: Sequence[str]) -> str:
    """The first few by name, and how many more."""
    return "; ".join(items[:_NAMED]) + (f"; and {len(items) - _NAMED} more" if len(items) > _NAMED else "")


def _outcome(step: str, result: Verified | None) -> str:
    if result is None:
        return f"{step}: not verified"
    rows = result.terms.get("survivors")
    if result.outcome == "survivors":
        return f"{step}: {rows if rows is not None else 'an unknown number of'} due rows left"
    return f"{step}: unknown"
