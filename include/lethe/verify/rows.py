"""The check of a relational store's steps: what is left, counted in one snapshot; then the suites that judge it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from lethe.catalog.model import Store
from lethe.connections import Connection, Connections
from lethe.errors import LetheError, Uncountable
from lethe.plan.model import HoldScope, Step
from lethe.verify import queries
from lethe.verify.batches import Deleted, Planned, broken_batches, broken_cumulative, broken_statistics, read_deleted, read_planned
from lethe.verify.changed import Keys, Reconciled, reconcile
from lethe.verify.frames import Scene
from lethe.verify.references import read_references
from lethe.verify.result import (
    BATCHES,
    CHANGED,
    CUMULATIVE,
    EQUATION,
    ORPHANS,
    REPLICAS,
    SIGHT,
    STATISTICS,
    SURVIVORS,
    Check,
    Space,
    Split,
    Terms,
)
from lethe.verify.session import ENGINE, check_engine, exported, failure, one_snapshot
from lethe.verify.sight import replicas_behind, see_known_rows, see_table, written_until
from lethe.verify.suite import Expected, judge
from lethe.verify.text import relation_name, table_of

Thaw = Callable[[bytes], Keys]


@dataclass(kw_only=True)
class Draft:
    """What is known of a step so far."""

    step: Step
    planned: Planned | None = None
    deleted: Deleted | None = None
    left: dict[str, int] = field(default_factory=dict)
    quarantined: int | None = None
    reconciled: Reconciled | None = None
    oldest_after: datetime | None = None
    space: Space | None = None
    past_expiry: dict[str, int] = field(default_factory=dict)
    split: dict[str, Split] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def terms(self) -> Terms:
        """Every term that was counted."""
        planned, deleted, reconciled = self.planned, self.deleted, self.reconciled
        return Terms(
            planned=planned.counts.due if planned else None,
            arrived=deleted.arrived + reconciled.arrived if deleted and reconciled else None,
            deleted=deleted.rows if deleted else None,
            held=self.left.get("held"),
            changed=reconciled.changed if reconciled else None,
            blocked=self.left.get("blocked"),
            failed=deleted.failed if deleted else None,
            survivors=self.left.get("survivors"),
            quarantined=self.quarantined,
        )

    def unknown(self, check: str, error: Exception) -> None:
        """Notes that a check could not be made, by the error's kind, or its text when it is one of ours, which hold no data."""
        self.checks.append(Check(name=check, status="unknown", detail=error.problem if isinstance(error, LetheError) else failure(error)))


def check_rows(
    store: Store,
    steps: Sequence[Step],
    *,
    chosen: Sequence[Step],
    connections: Connections,
    control: Engine,
    control_connection: str,
    plan: str,
    attempt: int,
    holds: Sequence[HoldScope],
    thaw: Thaw,
    before: Mapping[str, int] | None,
) -> list[Draft]:
    """The drafts of the `chosen` ones of a store's acting `steps`. `before`: `batches.baseline` of the store, taken before the purge."""
    drafts = [Draft(step=s) for s in chosen]
    check_id = store.check_connection or store.connection
    with ExitStack() as engines:
        try:
            checker = check_engine(connections(check_id), holds, kept=True)
            engines.callback(checker.dispose)
            purger = create_engine(connections(store.connection).sqlalchemy_url(), **ENGINE)
            engines.callback(purger.dispose)
            with one_snapshot(checker) as connection:
                scene = Scene(store=store, steps=tuple(steps), references=read_references(connection, store), holds=tuple(holds))
                snapshot = exported(connection)  # before the savepoints of the counts, where none may be exported
                lsn = written_until(connection)
                for draft in drafts:
                    _count(connection, control, scene, draft, plan, attempt, thaw)
                asked = [e for d in drafts for e in _expected_of_source(scene, d, before)]
                _judge(drafts, connections(check_id), asked, holds=holds, snapshot=snapshot)
                behind = replicas_behind(connection, lsn)
        except (LetheError, SQLAlchemyError) as error:
            for draft in drafts:
                draft.unknown(SIGHT, error)
            return drafts
        for draft in drafts:
            draft.checks.append(Check(name=REPLICAS, status="unknown" if behind else "passed", measured={"behind": behind}))
            try:
                seen = see_known_rows(checker, purger, scene, draft.step)
                draft.checks.append(Check(name=SIGHT, status="passed", measured={"known_rows_seen": seen}))
            except (LetheError, SQLAlchemyError) as error:
                draft.unknown(SIGHT, error)
    _judge(drafts, connections(control_connection), [e for d in drafts for e in _expected_of_batches(scene, d, plan, attempt)])
    return drafts


def _judge(drafts: Sequence[Draft], connection: Connection, expected: Sequence[Expected], **given: Any) -> None:
    """Has the expectations judged, and gives each draft its verdicts and its share of the time."""
    started = time.perf_counter()
    verdicts = judge(connection, expected, **given)
    share = (time.perf_counter() - started) / max(1, len(drafts))
    for draft in drafts:
        draft.checks += verdicts.get(draft.step.id, [])
        draft.seconds += share


def _count(connection: SqlConnection, control: Engine, scene: Scene, draft: Draft, plan: str, attempt: int, thaw: Thaw) -> None:
    """Counts the terms of one step; what cannot be counted is noted as unknown, and the others are still counted."""
    started = time.perf_counter()
    step = draft.step
    try:
        with control.connect() as lethe:
            draft.planned = read_planned(lethe, plan, attempt, step.id)
            draft.deleted = read_deleted(lethe, plan, attempt, step.id)
    except (LetheError, SQLAlchemyError) as error:
        draft.unknown(EQUATION, error)
    try:
        with connection.begin_nested():
            see_table(connection, scene, step)
            left = connection.exec_driver_sql(queries.left_over(scene, step)).mappings().one()
            draft.left = {k: int(v) for k, v in left.items()}
            quarantined, draft.oldest_after = connection.exec_driver_sql(queries.age(scene, step)).one()
            draft.quarantined = int(quarantined)
    except (LetheError, SQLAlchemyError) as error:
        draft.unknown(SURVIVORS, error)
    if draft.planned is not None and draft.deleted is not None and draft.left:
        try:
            with connection.begin_nested():
                draft.reconciled = _reconcile(connection, scene, step, draft.planned, draft.deleted, thaw)
            draft.checks.append(
                Check(
                    name=CHANGED,
                    status="passed",
                    measured={"elsewhere": draft.reconciled.elsewhere, "looked_up": draft.reconciled.looked_up},
                )
            )
        except (LetheError, SQLAlchemyError) as error:
            draft.unknown(CHANGED, error)
    draft.seconds += time.perf_counter() - started


def _reconcile(connection: SqlConnection, scene: Scene, step: Step, planned: Planned, deleted: Deleted, thaw: Thaw) -> Reconciled:
    table = table_of(scene.store, step.dataset or "")
    integer = connection.exec_driver_sql(
        "SELECT atttypid IN (20, 21, 23) FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s",
        (relation_name(table), table.key[0]),
    ).scalar_one()
    whole = bool(integer) and len(table.key) == 1
    left = connection.exec_driver_sql(queries.left_keys(scene, step, queries.key_expression(scene, step, "d", integer=whole)))

    def fingerprint(keys: Keys) -> int:
        asked = "SELECT coalesce(bit_xor(hashint8extended(k, 0)), 0) FROM unnest(CAST(%s AS bigint[])) AS k"
        return int(connection.exec_driver_sql(asked, (keys.tolist(),)).scalar_one()) if len(keys) else 0

    def look_up(keys: Keys) -> tuple[int, int]:
        asked = queries.still_there(scene, step, queries.key_expression(scene, step, "r", integer=whole))
        there, missing = connection.exec_driver_sql(asked, (keys.tolist(),)).one()
        return int(there), int(missing)

    try:
        frozen = None if planned.keys is None else np.asarray(thaw(planned.keys), dtype=np.int64)
    except ValueError as error:
        raise Uncountable(
            f"The keys kept when the plan was counted cannot be read ({type(error).__name__}).", fix="Plan the run again."
        ) from None
    return reconcile(planned, deleted, frozen, [(int(k), bool(h)) for k, h in left], fingerprint=fingerprint, look_up=look_up)


def _expected_of_source(scene: Scene, draft: Draft, before: Mapping[str, int] | None) -> list[Expected]:
    """What must hold in the source. Asked only where the counts could be taken: a step that could not be counted is unknown already."""
    step, terms = draft.step, draft.terms
    if not draft.left:
        return []
    expected = [Expected(step=step.id, check=SURVIVORS, query=queries.broken_survivors(scene, step), measured=_some(terms, "survivors"))]
    counted = {t: getattr(terms, t) for t in ("planned", "arrived", "deleted", "changed", "failed")}
    if None not in counted.values():
        expected.append(Expected(step=step.id, check=EQUATION, query=queries.broken_equation(scene, step, counted)))
    table = table_of(scene.store, step.dataset or "")
    for reference in queries.unguarded(scene, step):
        expected.append(Expected(step=step.id, check=ORPHANS, query=queries.broken_orphans(reference, relation_name(table))))
    bare = f"{table.db_schema}.{table.table}"
    if before is not None and bare in before and draft.deleted is not None:
        said = draft.deleted.in_transactions
        expected.append(Expected(step=step.id, check=CUMULATIVE, query=broken_cumulative(bare, before[bare], said, before.get("", 0))))
    return expected


def _expected_of_batches(scene: Scene, draft: Draft, plan: str, attempt: int) -> list[Expected]:
    table = table_of(scene.store, draft.step.dataset or "")
    own = f"{table.db_schema}.{table.table}"
    return [
        Expected(step=draft.step.id, check=BATCHES, query=broken_batches(plan, attempt, draft.step.id)),
        Expected(step=draft.step.id, check=STATISTICS, query=broken_statistics(plan, attempt, draft.step.id, own)),
    ]


def _some(terms: Terms, *names: str) -> tuple[tuple[str, int], ...]:
    return tuple((n, v) for n, v in terms.model_dump().items() if n in names and v is not None)
