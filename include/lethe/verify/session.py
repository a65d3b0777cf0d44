"""The session in which the check looks: read only, row security off, a fixed search path, and the holds as a setting of the session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from lethe.connections import Connection
from lethe.errors import Unreachable
from lethe.plan.model import HoldScope

SETTINGS = {
    "row_security": "off",
    "default_transaction_read_only": "on",
    "search_path": "pg_catalog",
    "application_name": "lethe-verify",
    "datestyle": "ISO",
    "timezone": "UTC",
    "jit": "off",
}
"""row_security off: a query that a policy would filter is an error, not a smaller number (invariant 5). jit off: it costs more than these queries."""

ENGINE: dict[str, Any] = {"hide_parameters": True, "use_native_hstore": False}
"""How every engine of the check is made: nothing bound in an error's text; and no hstore is read, whose look-up was a fifth of the time to connect."""


def options(settings: dict[str, str] | None = None) -> str:
    """libpq's `options` for the settings."""
    return " ".join(f"-c {k}={v}" for k, v in (settings or SETTINGS).items())


def holds_setting(holds: Iterable[HoldScope]) -> str:
    """The holds as the JSON that the queries read from the session's setting `lethe.holds`."""
    return json.dumps(
        [
            {
                "dataset": h.dataset,
                "tenant": h.tenant,
                "person_dataset": h.person[0] if h.person else None,
                "person_key": h.person[1] if h.person else None,
                "since": h.since.isoformat() if h.since else None,
                "until": h.until.isoformat() if h.until else None,
            }
            for h in holds
        ]
    )


def tell_holds(engine: Engine, holds: Iterable[HoldScope]) -> None:
    """Each new connection of `engine` knows the holds, so that no key of a hold stands in a query's text (invariant 9)."""
    tell(engine, {"lethe.holds": holds_setting(holds)})


def tell(engine: Engine, settings: Mapping[str, str]) -> None:
    """Each new connection of `engine` has these settings, bound: what a query may not have in its text is read from there."""

    @event.listens_for(engine, "connect")
    def _tell(dbapi: Any, _record: Any) -> None:
        was, dbapi.autocommit = dbapi.autocommit, True
        for setting, value in settings.items():
            dbapi.execute("SELECT set_config(%s, %s, false)", (setting, value))
        dbapi.autocommit = was


def exported(connection: SqlConnection) -> str:
    """The snapshot of a connection's transaction, for others to see by while that transaction is open."""
    return str(connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())


def see_as(engine: Engine, snapshot: str) -> None:
    """Every transaction of `engine` sees what the exported snapshot saw."""

    @event.listens_for(engine, "begin")
    def _see(connection: SqlConnection) -> None:
        connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'")


def check_engine(connection: Connection, holds: Iterable[HoldScope] = (), *, kept: bool = False) -> Engine:
    """An engine of the checking role in such a session. Each connection is closed after use; with `kept` one stays open until `dispose`."""
    pool: type[Pool] = QueuePool if kept else NullPool
    engine = create_engine(connection.sqlalchemy_url(), poolclass=pool, connect_args={"options": options()}, **ENGINE)
    tell_holds(engine, holds)
    return engine


@contextmanager
def one_snapshot(engine: Engine) -> Iterator[SqlConnection]:
    """A connection on which every query sees the same instant; Unreachable when the database does not answer."""
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise Unreachable(
            f"The database to be checked did not answer ({failure(error)}).", fix="See whether it runs and the checking role may log in."
        ) from None
    with connection.execution_options(isolation_level="REPEATABLE READ"):
        yield connection


def failure(error: BaseException) -> str:
    """The kind of a database's error, without its text, which may quote a row."""
    original = getattr(error, "orig", None) or error
    return type(original).__name__
