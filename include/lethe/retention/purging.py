"""Carries out one group of a run that passed its guard, and leaves what the batches did in the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from lethe import settings
from lethe.control.holds import active_scopes
from lethe.control.plans import load_counts, load_plan
from lethe.control.runs import run_of, set_state
from lethe.errors import PurgeFailed, PurgeHindered
from lethe.evidence.ledger import append
from lethe.instants import local_day, now
from lethe.plan.model import Plan
from lethe.retention.notes import BASELINE, PURGED, note_of
from lethe.retention.planning import ceilings_of
from lethe.workspace import Workspace

PASSING = frozenset({"StillLocked", "Unreachable"})
"""Errors of a step that may be gone when it is tried again; what one of them hinders is retried by Airflow, anything else is not."""


def purge_run_group(workspace: Workspace, digest: str, attempt: int, steps: Sequence[str]) -> dict[str, int]:
    """Deletes what is due in these steps, in order; rows deleted by step, over all interruptions. What it archived is on record in the end.

    Raises OutOfTurn when the run did not pass its guard, StoreBusy when another run holds the store's lease, and PurgeFailed, with
    each failed step, when any could not be finished; the other steps are done all the same. It is PurgeHindered when only locks and
    stores that did not answer were in the way.
    """
    from lethe.archive.witness import record_kept
    from lethe.purge.context import PurgeContext
    from lethe.purge.known import KeysOfTheCount
    from lethe.purge.run import run_group

    with workspace.control.begin() as control:
        plan = load_plan(control, digest)
        set_state(control, digest, attempt, "purging")
        run = run_of(control, digest, attempt)
        counted = load_counts(control, digest, attempt)
        policy = workspace.policies.version(plan.policy_version)
        ceilings = ceilings_of(control, plan, {s: c.counts for s, c in counted.items()}, policy)
    _baselines(workspace, plan, attempt)
    context = PurgeContext(
        plan=plan,
        attempt=attempt,
        catalog=workspace.catalog,
        connections=workspace.connections,
        control=workspace.control,
        pace=run.pace,
        holds=lambda control: active_scopes(control, local_day(now(), policy.time_zone)),
        known_keys=KeysOfTheCount(workspace.control, plan, attempt),
        ceilings=ceilings,
        digest_key=settings.digest_key(workspace.connections(settings.CONTROL)),
        snapshot=lambda step: counted[step].details.get("snapshot") if step in counted else None,
    )
    totals = run_group([plan.step(s) for s in steps], context)
    with workspace.control.begin() as control:
        for total in totals:
            append(control, PURGED, note_of(attempt, total), run=digest)
        stores = {plan.step(s).store or "" for s in steps}
        record_kept(control, digest, attempt, steps=steps, stores=stores)
    failed = [t for t in totals if t.error]
    if failed:
        named = "; ".join(f"{t.step} ({t.deleted} deleted): {t.error}" for t in failed)
        raise (PurgeHindered if all(t.error_kind in PASSING for t in failed) else PurgeFailed)(
            f"{len(failed)} of {len(totals)} steps could not be finished: {named}",
            fix="Clearing this task is safe: it goes on where it stopped.",
        )
    return {t.step: t.deleted for t in totals}


def _baselines(workspace: Workspace, plan: Plan, attempt: int) -> None:
    """Keeps, once a run, what each server's own statistics say before its first deletion, and how many files have no row then."""
    from lethe.evidence.ledger import records
    from lethe.verify.batches import baseline
    from lethe.verify.files import without_rows

    with workspace.control.begin() as control:
        if any(r.content["attempt"] == attempt for r in records(control, run=plan.digest, kind=BASELINE)):
            return
        stores = {s.store for s in plan.steps if s.acts}
        for store in workspace.catalog.stores:
            if store.id in stores and store.kind == "postgresql":
                acting = [s.dataset or "" for s in plan.steps if s.acts and s.store == store.id]
                lost = without_rows(workspace.catalog, acting, connections=workspace.connections, at=now())
                append(
                    control,
                    BASELINE,
                    {"attempt": attempt, "store": store.id, "deleted": baseline(workspace.checking(store)) | lost},
                    run=plan.digest,
                )
