"""When a commit waits for the disk. What is recorded as deleted, or about to be, must survive a crash of the server, whatever the role's or the
database's setting says; what recovery finds out by itself need not wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, func, select

DURABLE = (
    "select set_config('synchronous_commit', case c when 'off' then 'on' else c end, false) from current_setting('synchronous_commit') as c"
)
"""For a session: what its role or database says later does not reach it any more."""
QUICKLY: ColumnElement[bool] = func.set_config("synchronous_commit", "off", True) == "off"
"""`without_waiting` as a condition that always holds, for one statement that is a transaction by itself."""
_QUICKLY = select(QUICKLY)


def durably(connection: Connection) -> None:
    """From now on the transactions of this session wait until their commits are on disk, but for one that says otherwise for itself.

    Call it outside of a transaction; it asks once a session.
    """
    if "lethe.durable" not in connection.info:
        with connection.begin():
            connection.exec_driver_sql(DURABLE)
        connection.info["lethe.durable"] = True


@contextmanager
def each_by_itself(connection: Connection) -> Iterator[None]:
    """Meanwhile each statement of a session is a transaction by itself: one request instead of three. Call it outside of a transaction."""
    connection.execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()  # SQLAlchemy's own notion of a transaction, of a session that was lost too: nothing is sent
            if not connection.invalidated:
                connection.execution_options(isolation_level=connection.default_isolation_level)


def without_waiting(connection: Connection) -> None:
    """The caller's transaction does not wait: should the server crash before it is on disk, it never was."""
    connection.execute(_QUICKLY)
