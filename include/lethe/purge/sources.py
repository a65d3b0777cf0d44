"""Sessions on a source database, one for each least-privilege role, and PostgreSQL's errors in our words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from lethe.catalog.model import Store
from lethe.connections import Connection as LetheConnection
from lethe.connections import Connections
from lethe.control.commits import DURABLE
from lethe.errors import LetheError, PartialView, StatementEnded, StillLocked, StoreFull, Unreachable
from lethe.plan.model import HoldScope
from lethe.purge.context import Limits
from lethe.stores.postgres.predicate import load_holds

_LOCKED = {"55P03", "40P01", "40001"}
_FULL = {"53100", "53200", "53000"}


class Sources:
    """The store's sessions: `purge` reads and deletes, `maintenance` drops partitions and vacuums, `check` sees other sessions."""

    def __init__(self, store: Store, connections: Connections, limits: Limits, group: str, lane: int = 0) -> None:
        """Opens nothing yet. `group` begins the sessions' application_name, by which recovery finds those of a run that died."""
        self.store, self.limits, self.group, self.lane = store, limits, group, lane
        self._connections = connections
        self._engines: dict[str, Engine] = {}
        self._open: dict[str, Connection] = {}
        self._loaded: dict[str, tuple[HoldScope, ...] | None] = {}

    def beside(self, lane: int) -> Sources:
        """Sessions of another lane of the same group."""
        return Sources(self.store, self._connections, self.limits, self.group, lane)

    def name(self, role: str) -> str:
        """The application_name of this lane's session of that role."""
        return f"{self.group}:{self.lane}:{role}"[:63]

    def connection(self, role: str) -> LetheConnection:
        """Where the session of that role leads, for a driver of its own."""
        return self._connections(self._id(role) or self.store.connection)

    def has(self, role: str) -> bool:
        """Does the catalog name a connection for this role?"""
        return self._id(role) is not None

    def get(self, role: str) -> Connection:
        """The session of that role, opened if need be. Its transactions are the caller's."""
        if role not in self._open or self._open[role].closed or self._open[role].invalidated:
            self.drop(role)
            self._open[role] = self.engine(role).connect()
        return self._open[role]

    def with_holds(self, role: str, holds: Sequence[HoldScope]) -> Connection:
        """The session of that role with these holds in its temporary table, loaded in a transaction of their own."""
        connection = self.get(role)
        if self._loaded.get(role) != tuple(holds):
            with connection.begin():
                load_holds(connection, holds)
            self._loaded[role] = tuple(holds)
        return connection

    def drop(self, role: str) -> None:
        """Closes the session of that role, whatever its state."""
        connection = self._open.pop(role, None)
        self._loaded.pop(role, None)
        if connection is not None:
            abandon(connection)

    def close(self) -> None:
        """Closes every session."""
        for role in list(self._open):
            self.drop(role)

    def engine(self, role: str) -> Engine:
        """An engine without a pool whose sessions have our time limits and settings."""
        if role not in self._engines:
            name = self._id(role)
            if name is None:
                raise Unreachable(f"Store {self.store.id!r} names no {role} connection.", fix="Add it to the catalog.")
            url = self._connections(name).sqlalchemy_url()
            engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": self.name(role)}, hide_parameters=True)
            event.listen(engine, "connect", self._settle)
            self._engines[role] = engine
        return self._engines[role]

    def _id(self, role: str) -> str | None:
        ids = {"purge": self.store.connection, "maintenance": self.store.maintenance_connection, "check": self.store.check_connection}
        return ids[role]

    def _settle(self, raw: Any, record: object) -> None:
        """row_security off makes a policy that hides rows an error; jit and generic plans do not pay for our statements."""
        settings = {
            "lock_timeout": self.limits.lock_timeout,
            "statement_timeout": self.limits.statement_timeout,
            "idle_in_transaction_session_timeout": 60_000,
            "row_security": "off",
            "search_path": "pg_catalog",
            "timezone": "UTC",
            "datestyle": "ISO",
            "jit": "off",
            "plan_cache_mode": "force_custom_plan",
        }
        with raw.cursor() as cursor:
            each = ", ".join(["set_config(%s, %s, false)"] * len(settings))
            cursor.execute(f"select {each}", [str(part) for setting in settings.items() for part in setting])
            cursor.execute(DURABLE)
        raw.commit()


def abandon(connection: Connection) -> None:
    """Closes a connection that may be broken."""
    with suppress(DBAPIError, psycopg.Error):
        connection.invalidate()
    with suppress(DBAPIError, psycopg.Error):
        connection.close()


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code of an error, None when the connection broke without one."""
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def is_locked(error: BaseException) -> bool:
    """Did it fail on a lock: lock_not_available, deadlock_detected, serialization_failure?"""
    return isinstance(error, (DBAPIError, psycopg.Error)) and sqlstate(error) in _LOCKED


def is_lost(error: BaseException) -> bool:
    """Did the connection end, or could none be made?"""
    if not isinstance(error, (DBAPIError, psycopg.Error)):
        return False
    state = sqlstate(error)
    if state is None:
        return isinstance(getattr(error, "orig", error), (psycopg.OperationalError, psycopg.InterfaceError)) or getattr(
            error, "connection_invalidated", False
        )
    return state.startswith("08") or state in {"57P01", "57P02", "57P03", "25P03", "53300"}


def in_words(error: BaseException, what: str) -> BaseException:
    """The error as an operator reads it; never with PostgreSQL's text, which may quote a row. Others stay as they are."""
    if isinstance(error, LetheError) or not isinstance(error, (DBAPIError, psycopg.Error)):
        return error
    state = sqlstate(error)
    if is_locked(error):
        return StillLocked(
            f"{what}: still locked by somebody else (SQLSTATE {state}).",
            fix="End the session that holds the lock, or run the same plan again later.",
        )
    if is_lost(error):
        return Unreachable(
            f"{what}: the database does not answer{f' (SQLSTATE {state})' if state else ''}.",
            fix="See that it runs, then run the same plan again: it goes on where it stopped.",
        )
    if state in {"57014", "25P04"}:
        return StatementEnded(
            f"{what}: a statement was ended by its time limit or by a person.",
            fix="Look for a missing index, then run the same plan again.",
        )
    if state in _FULL:
        return StoreFull(f"{what}: the database has no room left (SQLSTATE {state}).", fix="Make room, then run the same plan again.")
    if state == "42501":
        return PartialView(
            f"{what}: this role may not see or delete all of the table (SQLSTATE 42501).",
            fix="Grant it SELECT and DELETE, and let it bypass row security.",
        )
    return LetheError(f"{what}: PostgreSQL refused (SQLSTATE {state}).", fix="Look at the server's log, then run the same plan again.")
