"""What became of batches that nobody closed: ends or awaits our own old sessions, then asks PostgreSQL (invariant 3).

"No answer" is `unknown`, which is neither deleted nor kept, and stops the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from lethe.control.tables import batches
from lethe.errors import InDoubt
from lethe.evidence.ledger import append
from lethe.purge.context import PurgeContext
from lethe.purge.faults import point
from lethe.purge.sources import Sources, sqlstate

_END = text(
    "select pg_terminate_backend(pid, :patience) from pg_stat_activity "
    "where pid <> pg_backend_pid() and usename = current_user and datname = current_database() "
    "and (application_name = :name or starts_with(application_name, :group) or (pid = :pid and backend_start = :start))"
)
_LEFT = text(
    "select count(*) from pg_stat_activity where pid <> pg_backend_pid() and usename = current_user and datname = current_database() "
    "and (application_name = :name or starts_with(application_name, :group) or (pid = :pid and backend_start = :start))"
)
_STATUS = text("select pg_xact_status(cast(cast(:xid as text) as xid8))")
_NEVER_HEARD = "22023"  # a transaction "in the future"
_STATES = {"committed": "committed", "aborted": "rolled_back"}


def end_old_sessions(
    sources: Sources, role: str, patience: int, *, everyone: bool = False, pid: int | None = None, start: Any = None
) -> None:
    """Ends this lane's earlier sessions (`everyone`: those of every lane of the group), and waits until they are gone; InDoubt when one stays.

    A session whose client was killed still finishes its statement: until it is gone its transaction has no outcome.
    """
    sources.drop(role)
    connection = sources.get(role)
    group = f"{sources.group}:" if everyone else None
    given = {"name": sources.name(role), "group": group, "pid": pid or 0, "start": start, "patience": patience}
    with connection.begin():
        point("recover.end.before", connection)
        connection.execute(_END, given).all()
        point("recover.end.after", connection)
    with connection.begin():
        if connection.scalar(_LEFT, given):
            raise InDoubt(
                "A session of an interrupted run does not end.", fix="End it (pg_terminate_backend), then run the same plan again."
            )


def recover(ctx: PurgeContext, sources: Sources, steps: Sequence[str], control: Engine, *, numbers: Mapping[str, int] | None = None) -> int:
    """Closes every open intent of these steps, of an earlier plan that was never taken up again too, and asks again about batches in doubt;
    how many there were. Each is one record of the ledger. With `numbers` (batches by step) only those, which are this lane's own, while other
    lanes work on.

    Ends the old sessions first, those without an intent too: they may hold locks. Raises InDoubt when a batch is unknown.
    """
    patience = int(ctx.limits.await_backend * 1000)
    for role in ("purge", "maintenance"):
        if sources.has(role):
            end_old_sessions(sources, role, patience, everyone=numbers is None)
    with control.connect() as connection, connection.begin():
        mine = batches.c.step.in_(list(steps)) & batches.c.state.in_(["intent", "unknown"])
        if numbers is not None:
            mine &= (batches.c.plan == ctx.plan.digest) & (batches.c.attempt == ctx.attempt)
            mine &= tuple_(batches.c.step, batches.c.number).in_(list(numbers.items()))
        found = connection.execute(select(batches).where(mine, batches.c.xid.is_not(None)).order_by(batches.c.id)).all()
    for row in found:
        _close(ctx, sources, control, row, patience)
    _refuse_unknown(ctx, control, steps)
    return len(found)


def _close(ctx: PurgeContext, sources: Sources, control: Engine, row: Any, patience: int) -> None:
    role = row.details.get("role", "purge")
    end_old_sessions(sources, role, patience, pid=row.backend, start=row.backend_start)
    source = sources.get(role)
    state = _fate(source, row.xid)
    if state == row.state:
        return
    with control.connect() as connection, connection.begin() as work:
        point("recover.close.before", connection)
        marked = batches.c.details.op("||")(literal({"interrupted": True}, JSONB))
        connection.execute(
            batches.update()
            .where(batches.c.id == row.id, batches.c.state == row.state)
            .values(state=state, ended_at=func.now(), details=marked)
        )
        body = {"attempt": row.attempt, "step": row.step, "batch": row.number, "state": state, "rows": row.rows}
        append(connection, "batch.interrupted", body, run=row.plan, at=ctx.clock())
        work.commit()
        point("recover.close.after", connection)


def _fate(source: Connection, xid: int) -> str:
    """What PostgreSQL says of a transaction; unknown too where it never heard of it, as after a restore or a failover."""
    try:
        with source.begin():
            return _STATES.get(source.scalar(_STATUS, {"xid": xid}) or "", "unknown")
    except DBAPIError as error:
        if sqlstate(error) != _NEVER_HEARD:
            raise
        return "unknown"


def _refuse_unknown(ctx: PurgeContext, control: Engine, steps: Sequence[str]) -> None:
    with control.connect() as connection:
        unknown = _unknown(connection, ctx, steps)
    if unknown:
        raise InDoubt(
            f"Step {unknown}: the database cannot say whether a batch committed.",
            fix="Count the step's rows by hand, record what you found, and plan anew: this run's totals would be a guess.",
        )


def _unknown(connection: Connection, ctx: PurgeContext, steps: Sequence[str]) -> str | None:
    mine = (batches.c.plan == ctx.plan.digest) & (batches.c.attempt == ctx.attempt) & batches.c.step.in_(list(steps))
    found: str | None = connection.scalar(select(batches.c.step).where(mine, batches.c.state == "unknown").limit(1))
    return found
