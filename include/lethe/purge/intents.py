"""The records of batches in `lethe_db`: written before the source commits, closed after it (invariant 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Float, bindparam, cast, func, select

from lethe.control.tables import batches
from lethe.purge.context import StepTotals
from lethe.stores.postgres.delete import Piece


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A session of the source: recovery ends it before it asks what became of its transaction."""

    role: str
    pid: int
    start: Any


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A piece with what the frozen keys said about its young rows."""

    piece: Piece
    arrived: int = 0
    fingerprint: int = 0


def next_numbers(connection: Connection, plan: str, attempt: int, steps: Sequence[str]) -> dict[str, int]:
    """The next batch number of each step."""
    query = select(batches.c.step, func.max(batches.c.number)).group_by(batches.c.step)
    found = {row.step: row[1] for row in connection.execute(_mine(query, plan, attempt, steps))}
    return {s: found.get(s, 0) + 1 for s in steps}


def open_intents(
    connection: Connection,
    plan: str,
    attempt: int,
    *,
    counted: Sequence[Counted],
    numbers: Mapping[str, int],
    technique: str,
    range_: Mapping[str, Any],
    xid: int,
    backend: Backend,
    seconds: float,
    statistics: Mapping[str, int],
) -> None:
    """One row a step, all in the caller's transaction. `statistics`: what PostgreSQL itself counted as deleted, by table."""
    rows = [
        {
            "plan": plan,
            "attempt": attempt,
            "step": c.piece.step,
            "number": numbers[c.piece.step],
            "state": "intent",
            "technique": technique,
            "range": dict(range_),
            "xid": xid,
            "backend": backend.pid,
            "backend_start": backend.start,
            "rows": c.piece.rows,
            "details": {
                "fingerprint": c.fingerprint,
                "arrived": c.arrived,
                "role": backend.role,
                "seconds": round(seconds, 4),
                "statistics": dict(statistics),
                **_taken(c.piece),
                **({"files": asdict(c.piece.filed)} if c.piece.filed else {}),
            },
        }
        for c in counted
    ]
    connection.execute(batches.insert(), rows if len(rows) > 1 else rows[0])  # one by itself is half as dear as a list of one


def _taken(piece: Piece) -> dict[str, Any]:
    """What was read before the rows went: rows archived and their objects; by tenant (keyed digest), rows archived and only deleted."""
    taken = piece.taken
    if taken is None:
        return {}
    return {"archived": taken.archived, "objects": list(taken.objects), "tenants": {t: list(n) for t, n in taken.tenants.items()}}


_CLOSE = (
    batches.update()
    .where(
        batches.c.plan == bindparam("of_plan"),
        batches.c.attempt == bindparam("of_attempt"),
        batches.c.step == bindparam("of_step"),
        batches.c.number == bindparam("of_number"),
    )
    .values(state=bindparam("state"), ended_at=func.clock_timestamp())
)
"""Built once: to build it takes as long as to send it."""


def close_intents(connection: Connection, plan: str, attempt: int, numbers: Mapping[str, int], state: str) -> None:
    """What became of the batch: committed, rolled_back or unknown. RuntimeError where there is no such intent."""
    for step, number in numbers.items():
        values = {"of_plan": plan, "of_attempt": attempt, "of_step": step, "of_number": number, "state": state}
        if connection.execute(_CLOSE, values).rowcount != 1:
            raise RuntimeError(f"step {step}: the intent of batch {number} is not there to be closed")


def state_of(connection: Connection, plan: str, attempt: int, step: str, number: int) -> str | None:
    """The state of a batch; None when its intent was never written."""
    mine = (batches.c.plan == plan) & (batches.c.attempt == attempt) & (batches.c.step == step) & (batches.c.number == number)
    found: str | None = connection.scalar(select(batches.c.state).where(mine))
    return found


def _detail(name: str, kind: Any) -> Any:
    return func.coalesce(cast(batches.c.details[name].astext, kind), 0).label(name)


_SUMMED = select(
    batches.c.step,
    batches.c.state,
    batches.c.rows,
    batches.c.technique,
    _detail("arrived", BigInteger),
    _detail("failed", BigInteger),
    _detail("fingerprint", BigInteger),
    _detail("seconds", Float),
    func.coalesce(cast(batches.c.details["interrupted"].astext, Boolean), False).label("interrupted"),
).order_by(batches.c.number)
"""Without the tenants of each batch, which are most of its details."""


def totals(connection: Connection, plan: str, attempt: int, ids: Sequence[str]) -> dict[str, StepTotals]:
    """What the committed batches of each step did, added up; interruptions and unknown batches are seen too."""
    found = {i: StepTotals(step=i) for i in ids}
    for row in connection.execute(_mine(_SUMMED, plan, attempt, ids)):
        known = found[row.step]
        done = row.state == "committed"
        found[row.step] = StepTotals(
            step=row.step,
            deleted=known.deleted + (row.rows if done else 0),
            arrived=known.arrived + (row.arrived if done else 0),
            failed=known.failed + (row.failed if done else 0),
            fingerprint=known.fingerprint ^ (row.fingerprint if done else 0),
            batches=known.batches + done,
            techniques=tuple(dict.fromkeys([*known.techniques, *([row.technique] if done else [])])),
            interruptions=known.interruptions + row.interrupted,
            seconds=known.seconds + (row.seconds if done else 0.0),
            longest_transaction=max(known.longest_transaction, row.seconds if done else 0.0),
            error="A batch is in doubt: the database cannot say whether it committed." if row.state == "unknown" else known.error,
            error_kind="InDoubt" if row.state == "unknown" else known.error_kind,
        )
    return found


def newest_xid(connection: Connection, plan: str, attempt: int, steps: Sequence[str]) -> int | None:
    """The newest transaction that deleted for these steps."""
    query = select(func.max(batches.c.xid)).where(batches.c.state == "committed")
    found: int | None = connection.scalar(_mine(query, plan, attempt, steps))
    return found


def _mine(query: Any, plan: str, attempt: int, steps: Sequence[str]) -> Any:
    return query.where(batches.c.plan == plan, batches.c.attempt == attempt, batches.c.step.in_(list(steps)))
