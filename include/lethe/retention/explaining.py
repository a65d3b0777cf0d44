"""Why due rows are still there when a run is recorded: counted at the stores, for its report. What cannot be counted is unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from lethe.catalog.model import Store
from lethe.control.holds import active_scopes
from lethe.control.plans import load_counts
from lethe.control.results import load_results
from lethe.errors import LetheError
from lethe.instants import local_day
from lethe.plan.model import ExpiryPredicate, HoldScope, ObjectPredicate, Plan, Predicate, Step
from lethe.retention.expiring import held_by
from lethe.verify.frames import Scene
from lethe.verify.reasons import HeldBack, held_back, kept_due
from lethe.verify.references import read_references
from lethe.verify.session import check_engine, one_snapshot
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Explained:
    """`held_back`: what holds the blocked rows of a step back, by step, None where it could not be counted. `kept`: due rows and objects
    that a hold keeps, by hold, None likewise."""

    held_back: Mapping[str, tuple[HeldBack, ...] | None] = field(default_factory=dict)
    kept: Mapping[int, int | None] = field(default_factory=dict)


def explain(workspace: Workspace, plan: Plan, attempt: int, *, at: datetime) -> Explained:
    """Looks only at steps in which the check found held or blocked rows, or could not tell; before there was a check, at what the plan's
    counts say is held."""
    with workspace.control.connect() as control:
        holds = active_scopes(control, local_day(at, workspace.policies.version(plan.policy_version).time_zone))
        results, counts = load_results(control, plan.digest, attempt), load_counts(control, plan.digest, attempt)
    acting = [s for s in plan.steps if s.acts]
    stuck = [s for s in acting if s.id in results and results[s.id].terms.get("blocked") != 0 and isinstance(s.predicate, Predicate)]
    kept = [s for s in acting if (results[s.id].terms.get("held") if s.id in results else counts[s.id].counts.held) != 0]
    back: dict[str, tuple[HeldBack, ...] | None] = {}
    for store in workspace.catalog.stores:
        back |= _held_back(workspace, store, acting, [s for s in stuck if s.store == store.id], holds)
    return Explained(held_back=back, kept={h.id: _kept(workspace, acting, kept, h) for h in holds})


def _held_back(
    workspace: Workspace, store: Store, acting: Sequence[Step], chosen: Sequence[Step], holds: Sequence[HoldScope]
) -> dict[str, tuple[HeldBack, ...] | None]:
    if not chosen:
        return {}
    found: dict[str, tuple[HeldBack, ...] | None] = dict.fromkeys(s.id for s in chosen)
    try:
        with _scene(workspace, store, acting, holds) as (connection, scene):
            for step in chosen:
                found[step.id] = held_back(connection, scene, step)
    except (LetheError, SQLAlchemyError):
        return found  # None: the report says that it could not be counted
    return found


def _kept(workspace: Workspace, acting: Sequence[Step], chosen: Sequence[Step], hold: HoldScope) -> int | None:
    """Each hold is asked about alone, in a session that knows no other: a row under two holds counts for both."""
    total = 0
    try:
        total += sum(held_by(workspace, s, hold) for s in chosen if isinstance(s.predicate, ExpiryPredicate))
        for store in workspace.catalog.stores:
            mine = [s for s in chosen if s.store == store.id]
            if store.kind == "s3":
                total += sum(_objects(workspace, store, s, hold) for s in mine)
            elif mine:
                with _scene(workspace, store, acting, (hold,)) as (connection, scene):
                    total += sum(kept_due(connection, scene, s, hold) for s in mine)
    except (LetheError, SQLAlchemyError):
        return None
    return total


@contextmanager
def _scene(workspace: Workspace, store: Store, acting: Sequence[Step], holds: Sequence[HoldScope]) -> Iterator[tuple[Connection, Scene]]:
    """One snapshot of a store in the check's session, and what its frames are built from."""
    engine = check_engine(workspace.connections(store.check_connection or store.connection), holds)
    with one_snapshot(engine) as connection:
        steps = tuple(s for s in acting if s.store == store.id)
        yield connection, Scene(store=store, steps=steps, references=read_references(connection, store), holds=tuple(holds))


def _objects(workspace: Workspace, store: Store, step: Step, hold: HoldScope) -> int:
    from lethe.stores.s3.count import count

    if not isinstance(step.predicate, ObjectPredicate):
        raise TypeError(f"step {step.id} is not about objects")
    return count(workspace.s3(store.connection), step.predicate, dataset=step.dataset, holds=(hold,)).held
