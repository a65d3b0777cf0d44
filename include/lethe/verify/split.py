"""The sum of a contract's end, tenant by tenant: what was due is archived, deleted, or still there and held back.

Tenants are counted by the checking role with a query of its own, before the purge and after it, and named by their keyed digests: no key
leaves this module. Promise archived-as-law-requires: in = archived + deleted + held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lethe.archive.names import name_of
from lethe.catalog.model import Catalog, Store
from lethe.connections import Connections
from lethe.control.tables import SCHEMA
from lethe.errors import LetheError
from lethe.plan.model import Plan, Predicate, Step
from lethe.plan.order import visited
from lethe.verify.frames import Scene, _key_at, frame, same
from lethe.verify.result import SPLIT, Check, Split
from lethe.verify.rows import Draft
from lethe.verify.session import check_engine, one_snapshot
from lethe.verify.text import table_of

_PLANNED = text(f"SELECT details -> 'tenants' FROM {SCHEMA}.plan_counts WHERE plan = :plan AND attempt = :attempt AND step = :step")
_BATCHES = text(
    f"""SELECT t.key AS tenant, sum(CAST(t.value ->> 0 AS bigint)) AS archived, sum(CAST(t.value ->> 1 AS bigint)) AS deleted
  FROM {SCHEMA}.batches AS b CROSS JOIN LATERAL jsonb_each(coalesce(b.details -> 'tenants', '{{}}')) AS t
 WHERE b.plan = :plan AND b.attempt = :attempt AND b.step = :step AND b.state = 'committed' GROUP BY 1"""
)


def is_sorted(store: Store, step: Step) -> bool:
    """Are a step's rows sorted at a contract's end: archived in part, or aged by the contract?"""
    if step.archive is not None:
        return True
    if store.contracts is None or not isinstance(step.predicate, Predicate) or step.dataset not in store.tables:
        return False
    return store.contracts.dataset in visited(store, step.dataset, step.predicate.clock.through)


def tenants_of(connection: Connection, store: Store, step: Step, digest_key: bytes) -> dict[str, int]:
    """The rows that a step's clock says must go, held or not, by the tenant's keyed digest; "" for rows that lead to none.

    `connection` is one of the check's (`session.check_engine`). Raises EvidenceRefused when there is no key for digests.
    """
    scene = Scene(store=store, steps=(step,))
    path = table_of(store, step.dataset or "").tenant
    if path is None:
        (rows,) = connection.exec_driver_sql(f"SELECT count(*) FROM ({frame(scene, step)}) AS d").one()
        return {"": int(rows)} if rows else {}
    joins, key = _key_at(scene, step.dataset or "", path, "t")
    named = f'SELECT DISTINCT ON (1, 2) d.*, {key} AS "~tenant" FROM due AS d{joins}'
    query = (
        f"WITH due AS ({frame(scene, step)}), named AS ({named}) "
        f'SELECT n."~tenant", count(*) FROM due AS d LEFT JOIN named AS n ON {same("d", "n")} GROUP BY 1'
    )
    found: dict[str, int] = {}
    for tenant, rows in connection.exec_driver_sql(query):
        who = "" if tenant is None else name_of(digest_key, store.tenants or "", tenant)
        found[who] = found.get(who, 0) + int(rows)
    return found


def plan_tenants(plan: Plan, catalog: Catalog, connections: Connections, digest_key: bytes) -> dict[str, dict[str, int]]:
    """By sorted step that acts, its due rows by tenant, counted now: what `check_split` measures the run against. Raises what counting raises."""
    found: dict[str, dict[str, int]] = {}
    for store in catalog.stores:
        chosen = [s for s in plan.steps if s.acts and s.store == store.id and is_sorted(store, s)]
        if chosen:
            found |= _counted(store, chosen, connections, digest_key)
    return found


def _counted(store: Store, steps: Iterable[Step], connections: Connections, digest_key: bytes) -> dict[str, dict[str, int]]:
    engine = check_engine(connections(store.check_connection or store.connection))
    try:
        with one_snapshot(engine) as connection:
            return {s.id: tenants_of(connection, store, s, digest_key) for s in steps}
    finally:
        engine.dispose()


def check_split(
    drafts: Sequence[Draft], store: Store, *, connections: Connections, control: Engine, plan: str, attempt: int, digest_key: bytes
) -> None:
    """Gives each draft of a sorted step the check SPLIT and the numbers by tenant.

    Over all tenants no more rows may be missing than the step saw arrive or change. A step whose tenants were not counted, before or
    after, is unknown.
    """
    for draft in drafts:
        if not is_sorted(store, draft.step):
            continue
        try:
            given = {"plan": plan, "attempt": attempt, "step": draft.step.id}
            with control.connect() as lethe:
                planned = lethe.scalar(_PLANNED, given)
                done = {row.tenant: row for row in lethe.execute(_BATCHES, given)}
            left = _counted(store, [draft.step], connections, digest_key)[draft.step.id]
            draft.checks.append(_judged(draft, planned, done, left))
        except (LetheError, SQLAlchemyError) as error:
            draft.unknown(SPLIT, error)


def _judged(draft: Draft, planned: Mapping[str, int] | None, done: Mapping[str, Any], left: Mapping[str, int]) -> Check:
    terms = draft.terms
    if planned is None or terms.arrived is None or terms.changed is None:
        return Check(
            name=SPLIT, status="unknown", detail="the tenants were not counted when the run was planned" if planned is None else ""
        )
    draft.split = {
        tenant: Split(
            planned=planned.get(tenant, 0),
            archived=int(done[tenant].archived) if tenant in done else 0,
            deleted=int(done[tenant].deleted) if tenant in done else 0,
            left=left.get(tenant, 0),
        )
        for tenant in sorted(planned.keys() | done.keys() | left.keys())
    }
    allowed, missing = terms.arrived + terms.changed, sum(s.missing for s in draft.split.values())
    sums = {n: sum(getattr(s, n) for s in draft.split.values()) for n in ("planned", "archived", "deleted", "left")}
    measured = {"tenants": len(draft.split), **sums, "missing": missing, "allowed": allowed}
    return Check(name=SPLIT, status="passed" if missing <= allowed else "failed", measured=measured)
