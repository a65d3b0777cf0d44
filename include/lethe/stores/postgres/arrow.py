"""A second session on a source that reads rows straight into Arrow, on the snapshot of the transaction that will delete them.

It only ever reads. The driver (ADBC) is libpq with a binary COPY, the fastest way measured; its errors become psycopg's of the same
SQLSTATE, without their text, which quotes statements and rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import Error as AdbcError
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection as Session
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.compiler import SQLCompiler

from lethe.connections import Connection
from lethe.errors import NotArchivable
from lethe.plan.model import HoldScope
from lethe.stores.postgres.adbc import AdbcSession
from lethe.stores.postgres.holds import CREATE, rows_of
from lethe.stores.postgres.overflow import put_right

_SETTINGS = {
    "idle_in_transaction_session_timeout": "60000",
    "row_security": "off",
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
}
"""As those of the deleting session, and those that a value's text depends on."""

_INSERT = "insert into pg_temp.lethe_holds select * from jsonb_populate_recordset(null::pg_temp.lethe_holds, $1::text::jsonb)"
_LOADED_BY = "select pg_current_xact_id()::text"
_SEES = "select pg_visible_in_snapshot($1::xid8, pg_current_snapshot())"
_SNAPSHOT = re.compile(r"[0-9A-F]+(-[0-9A-F]+)+")


class ArrowReader:
    """A session that reads on imported snapshots. Not for two threads at once.

    Recovery knows it by its application_name. After an error it may be used again: a session that is lost is opened anew by `with_holds`.
    """

    def __init__(self, connection: Connection, application_name: str, *, lock_timeout: int, statement_timeout: int) -> None:
        """Opens nothing yet. The time limits are in milliseconds. Raises Unreachable when the connection leaves loopback without TLS."""
        _, options = PGDialect_psycopg().create_connect_args(connection.sqlalchemy_url())
        self._conninfo = make_conninfo(**options, application_name=application_name[:63], client_encoding="UTF8")
        self._limits = {"lock_timeout": str(lock_timeout), "statement_timeout": str(statement_timeout)}
        self._session: AdbcSession | None = None
        self._loaded: tuple[HoldScope, ...] | None = None
        self._loaded_by = ""
        self._seen = False

    def with_holds(self, holds: Sequence[HoldScope]) -> None:
        """Makes the session's table of holds these and no others; opens the session if need be. Does nothing when they are there.

        Call it before the snapshot to be read is taken: a snapshot does not see holds that were loaded later. The holds' keys are bound
        values: no statement text has them. Raises psycopg errors.
        """
        wanted = tuple(holds)
        with self._in_psycopg_words():
            session = self._session or self._open()
            if self._loaded == wanted:
                return
            self._loaded, self._seen = None, False
            session.run("begin isolation level read committed read write")
            session.run(CREATE)
            session.run("delete from pg_temp.lethe_holds")
            if wanted:
                session.run(_INSERT, json.dumps(rows_of(wanted), default=datetime.isoformat, ensure_ascii=False))
            self._loaded_by = str(session.scalar(_LOADED_BY))
            session.run("commit")
            self._loaded = wanted

    def read(self, snapshot: str, statement: Select[Any] | SQLCompiler, values: Mapping[str, Any], *, quoting: Session) -> pa.Table:
        """What `statement`, its parameters bound to `values`, gives on an exported snapshot: all of it, in memory.

        `quoting` is a session of the same database, such as the deleting one: libpq writes the values as literals by its encoding, for
        COPY takes no parameters. The values thus stand in the statement's text: give places and cutoffs, never a person's key. Infinite
        instants and days are the highest number of their type, -infinity is that below zero. Columns keep the driver's metadata.

        Raises psycopg errors, RuntimeError when `with_holds` was not called before the snapshot was taken, and NotArchivable for a value
        that Arrow cannot hold.
        """
        if not _SNAPSHOT.fullmatch(snapshot):
            raise ValueError("this is no snapshot of pg_export_snapshot()")
        session = self._session
        if session is None or self._loaded is None:
            raise RuntimeError("load the holds before reading: with_holds()")
        text = rendered(quoting, statement, values)
        with self._in_psycopg_words():
            session.run(f"begin isolation level repeatable read read only; set transaction snapshot '{snapshot}'")
            if not self._seen and not session.scalar(_SEES, self._loaded_by):
                raise RuntimeError("the holds were loaded after the snapshot was taken: it does not see them")
            self._seen = True  # and so does every later snapshot
            table = session.table(text)
            session.run("commit")
        return put_right(_valid(table))

    def close(self) -> None:
        """Closes the session, whatever its state."""
        session, self._session, self._loaded = self._session, None, None
        if session is not None:
            with suppress(AdbcError):
                session.close()

    def _open(self) -> AdbcSession:
        """A session that is not wholly set up is never used."""
        session = self._session = AdbcSession(self._conninfo)
        try:
            settings = {**_SETTINGS, **self._limits}
            each = ", ".join(f"set_config(${n}, ${n + 1}, false)" for n in range(1, 2 * len(settings), 2))
            session.scalar(f"select {each}", *(part for setting in settings.items() for part in setting))
        except AdbcError:
            self.close()
            raise
        return session

    @contextmanager
    def _in_psycopg_words(self) -> Iterator[None]:
        """After any error the transaction is rolled back; where that fails too, or a person interrupts, the session is closed."""
        try:
            yield
        except AdbcError as error:
            self._roll_back()
            raise _as_psycopg(error) from None
        except Exception:
            self._roll_back()
            raise
        except BaseException:
            self.close()
            raise

    def _roll_back(self) -> None:
        try:
            if self._session is not None:
                self._session.run("rollback")
        except AdbcError:
            self.close()


def compiled_for(quoting: Session, statement: Select[Any]) -> SQLCompiler:
    """The statement's text without its values, for `read` to fill in as often as it is asked: to compile it anew takes longer."""
    compiled = statement.compile(dialect=quoting.dialect)
    assert isinstance(compiled, SQLCompiler)
    return compiled


def rendered(quoting: Session, statement: Select[Any] | SQLCompiler, values: Mapping[str, Any]) -> str:
    """The statement as one text, its values written as literals by psycopg on that session: nothing is sent."""
    compiled = statement if isinstance(statement, SQLCompiler) else compiled_for(quoting, statement)
    state = compiled.construct_expanded_state(dict(values))
    params = {name: state.processors[name](value) if name in state.processors else value for name, value in state.parameters.items()}
    raw: Any = quoting.connection.driver_connection
    return psycopg.ClientCursor(raw).mogrify(state.statement, params)


def _valid(table: pa.Table) -> pa.Table:
    """The same table; NotArchivable when a text is not UTF-8: a database of that encoding sends what it has without looking at it."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise NotArchivable(
                f"Column {name} holds a value that is not what its type says, such as text that is not UTF-8.",
                fix="Correct such values in the source, or leave the column out of the rule's `columns`.",
            ) from None
    return table


def _as_psycopg(error: AdbcError) -> psycopg.Error:
    """psycopg's error of the same SQLSTATE; an OperationalError without one when the connection broke. Never with the driver's text."""
    state = error.sqlstate
    if state is None:
        lost = error.status_code == AdbcStatusCode.IO
        return psycopg.OperationalError("the Arrow session was lost") if lost else psycopg.InternalError("the Arrow driver failed")
    try:
        return psycopg.errors.lookup(state)(f"SQLSTATE {state}")
    except KeyError:
        unknown = psycopg.DatabaseError(f"SQLSTATE {state}")
        unknown.sqlstate = state
        return unknown
