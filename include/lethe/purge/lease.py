"""One run at a time per store, by a lease in `lethe_db` that a restart of the same plan takes over (invariant 12).

A lease is a row per store and part: groups of tables of one run work side by side, each under a part of its own. Another plan finds
the store busy until the last part is given back or has expired. Taking a part over from a run that died waits for the batch that its
process may still be in, and puts that process out: every batch asks first whether the lease is still its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert

from lethe.control.holds import no_new_holds
from lethe.control.tables import leases
from lethe.errors import StoreBusy
from lethe.purge.faults import point

_SPACE = 7213


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A part of a store (`store#part`; the whole run's own part is empty), held by one process for one plan."""

    store: str
    part: str
    plan: str
    attempt: int
    holder: str
    seconds: int = 900

    @property
    def name(self) -> str:
        """The key of the row."""
        return f"{self.store}#{self.part}" if self.part else self.store


PATIENT = text("select set_config('idle_in_transaction_session_timeout', '0', true)")
"""For a transaction that keeps others out while a store is asked: the server must not end it because a request takes long."""


# Built once: to build them takes a batch as long as to send them.
_NOT_TAKEN_OVER = func.pg_advisory_xact_lock_shared(_SPACE, func.hashtext(bindparam("of_store")))
_ENTER = select(no_new_holds(), _NOT_TAKEN_OVER)
_OTHERS = select(leases.c.plan, leases.c.expires_at).where(
    func.split_part(leases.c.store, "#", 1) == bindparam("of_store"),
    leases.c.plan != bindparam("of_plan"),
    leases.c.expires_at > func.now(),
)
_WHOSE = select(select(leases.c.holder).where(leases.c.store == bindparam("name")).scalar_subquery(), _OTHERS.exists().label("other"))


def take(engine: Engine, lease: Lease) -> bool:
    """Takes the lease; True when it is taken over from a process of the same plan that did not give it back.

    Raises StoreBusy when a run of another plan holds any part of the store.
    """
    with engine.connect() as connection, connection.begin() as work:
        point("lease.take.before", connection)
        connection.execute(select(func.pg_advisory_xact_lock(_SPACE, func.hashtext(lease.store))))
        other = connection.execute(_OTHERS.limit(1), _of(lease)).one_or_none()
        if other is not None:
            raise StoreBusy(
                f"Store {lease.store!r} is being purged under plan {other.plan[:12]}.",
                fix=f"Wait until that run is over. If it died, run its plan again, or wait until {other.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
            )
        before = connection.execute(select(leases.c.plan, leases.c.holder).where(leases.c.store == lease.name)).one_or_none()
        values = {"plan": lease.plan, "attempt": lease.attempt, "holder": lease.holder, "taken_at": func.now(), "expires_at": _until(lease)}
        statement = insert(leases).values(store=lease.name, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["store"], set_=values))
        work.commit()
        point("lease.take.after", connection)
    return before is not None and before.plan == lease.plan and before.holder != lease.holder


def confirm(connection: Connection, lease: Lease) -> None:
    """In a batch's transaction in `lethe_db`: is the lease still ours, and stays so until that transaction ends? StoreBusy if not.

    One that ran out while nothing was deleted (a long VACUUM) is still ours unless another plan has begun meanwhile.
    """
    connection.execute(select(_NOT_TAKEN_OVER), {"of_store": lease.store})
    _refuse_if_lost(connection, lease)


def enter(connection: Connection, lease: Lease) -> None:
    """What a batch begins with: no hold is added until the transaction ends, and `confirm`. One request takes both locks."""
    connection.execute(_ENTER, {"of_store": lease.store})
    _refuse_if_lost(connection, lease)


def _refuse_if_lost(connection: Connection, lease: Lease) -> None:
    holder, other = connection.execute(_WHOSE, _of(lease) | {"name": lease.name}).one()
    if holder != lease.holder or other:
        raise StoreBusy(f"Another process took over the purge of store {lease.store!r}.", fix="Nothing to do: it goes on there.")


def _of(lease: Lease) -> dict[str, str]:
    return {"of_store": lease.store, "of_plan": lease.plan}


def renew(connection: Connection, lease: Lease) -> None:
    """Puts the expiry off again."""
    mine = (leases.c.store == lease.name) & (leases.c.holder == lease.holder)
    connection.execute(leases.update().where(mine).values(expires_at=_until(lease)))


def release(engine: Engine, lease: Lease) -> None:
    """Gives the lease back; nothing when it is another's by now."""
    with engine.connect() as connection, connection.begin() as work:
        point("lease.release.before", connection)
        connection.execute(leases.delete().where(leases.c.store == lease.name, leases.c.holder == lease.holder))
        work.commit()
        point("lease.release.after", connection)


def _until(lease: Lease) -> object:
    return func.now() + text(f"interval '{int(lease.seconds)} seconds'")
