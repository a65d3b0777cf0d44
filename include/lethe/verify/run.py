"""`verify_run` and `verify_step`: the independent check of what a plan's purge did (DESIGN, "The way of the data")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from lethe.catalog.model import Catalog
from lethe.connections import Connections
from lethe.errors import UnknownName
from lethe.plan.model import ExpiryPredicate, HoldScope, Plan
from lethe.policy.period import Period
from lethe.verify.archive import check_expiry
from lethe.verify.archived import check_archived
from lethe.verify.files import check_files
from lethe.verify.objects import check_objects
from lethe.verify.result import Space, StepResult, conclude
from lethe.verify.rows import Draft, check_rows
from lethe.verify.split import check_split


def verify_run(
    plan: Plan,
    *,
    catalog: Catalog,
    connections: Connections,
    control: Engine,
    attempt: int,
    holds: Sequence[HoldScope],
    backup_window: Period,
    zone: str,
    at: datetime,
    spaces: Mapping[str, Space] | None = None,
    baselines: Mapping[str, Mapping[str, int]] | None = None,
    steps: Sequence[str] | None = None,
    control_connection: str = "lethe_db",
    digest_key: bytes = b"",
    thaw: Callable[[bytes], Any] | None = None,
) -> tuple[StepResult, ...]:
    """The verdict on each acting step of a plan, in the plan's order; `steps` (ids) limits it, UnknownName for one that does not act.

    `control`: an engine on `lethe_db`, and `control_connection` its connection's id. `holds`: those in force now. `at`: the instant of the check, aware.
    `zone`: the policy's. `spaces`: by step id, whether the space of its rows can be used again (L2; without one L1 is claimed). `baselines`: by store
    id, `batches.baseline` and `files.without_rows` taken before the purge. `digest_key`: for the names of
    persons and tenants in the archive. `thaw` reads frozen keys; `stores.postgres.keys` by default.

    A step that cannot be counted, for whatever reason the store gives, is `unknown`; nothing of a database's error text is kept.
    """
    acting = [s for s in plan.steps if s.acts]
    known = {s.id for s in acting}
    if missing := sorted(set(steps or ()) - known):
        raise UnknownName(f"No acting step {missing[0]!r} in this plan.", fix="See `lethe plan`.")
    drafts: dict[str, Draft] = {}
    for store in catalog.stores:
        mine = [s for s in acting if s.store == store.id and not isinstance(s.predicate, ExpiryPredicate)]
        chosen = [s for s in mine if steps is None or s.id in steps]
        if not chosen:
            continue
        if store.kind == "postgresql":
            found = check_rows(
                store,
                mine,
                chosen=chosen,
                connections=connections,
                control=control,
                control_connection=control_connection,
                plan=plan.digest,
                attempt=attempt,
                holds=holds,
                thaw=thaw or _thaw,
                before=(baselines or {}).get(store.id),
            )
            check_files(found, catalog, connections=connections, at=at, before=(baselines or {}).get(store.id))
            run: dict[str, Any] = {"connections": connections, "control": control, "plan": plan.digest, "attempt": attempt}
            check_archived(found, control_connection=control_connection, **run)
            check_split(found, store, digest_key=digest_key, **run)
        else:
            found = check_objects(
                store,
                chosen,
                connections=connections,
                control=control,
                control_connection=control_connection,
                plan=plan.digest,
                attempt=attempt,
                holds=holds,
            )
        drafts |= {d.step.id: d for d in found}
    expiring = [s for s in acting if isinstance(s.predicate, ExpiryPredicate) and (steps is None or s.id in steps)]
    if expiring:
        found = check_expiry(
            expiring,
            catalog=catalog,
            connections=connections,
            control=control,
            control_connection=control_connection,
            plan=plan.digest,
            attempt=attempt,
            holds=holds,
            digest_key=digest_key,
        )
        drafts |= {d.step.id: d for d in found}
    return tuple(_conclude(drafts[s.id], at, backup_window, zone, (spaces or {}).get(s.id)) for s in acting if s.id in drafts)


def verify_step(step: str, plan: Plan, **given: Any) -> StepResult:
    """The verdict on one step; the arguments are those of `verify_run`. The whole plan is needed: what its other steps should have taken blocks nothing."""
    return verify_run(plan, steps=[step], **given)[0]


def _conclude(draft: Draft, at: datetime, window: Period, zone: str, space: Space | None) -> StepResult:
    if draft.step.predicate is not None and not hasattr(draft.step.predicate, "shield"):
        # Of objects no version, marker or upload is left when the step is clean: that is L2, where the bucket could be asked for them.
        space = draft.space or Space(reclaimed=True)
    return conclude(
        draft.step.id,
        draft.checks,
        draft.terms,
        at=at,
        window=window,
        zone=ZoneInfo(zone),
        reclaimed=space,
        oldest={"before": draft.planned.counts.oldest if draft.planned else None, "after": draft.oldest_after},
        past_expiry=draft.past_expiry,
        split=draft.split,
        seconds=draft.seconds,
    )


def _thaw(data: bytes) -> Any:
    from lethe.stores.postgres.keys import thaw

    return thaw(data)
