"""A second session on a source that reads rows straight into Arrow, on the snapshot of the transaction that will delete them.

It only ever reads, each column gathered by the server (`gathered.py`), the fastest way measured. Errors are psycopg's without their text, which
quotes statements and rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection as Session
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.compiler import SQLCompiler

from lethe.connections import Connection
from lethe.plan.model import HoldScope
from lethe.stores.postgres.gathered import gather
from lethe.stores.postgres.holds import CREATE, rows_of

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
    "max_parallel_workers_per_gather": "0",
}
"""As those of the deleting session, those that a value's text depends on, and one that keeps all columns in the order in which rows are read."""

_INSERT = "insert into pg_temp.lethe_holds select * from jsonb_populate_recordset(null::pg_temp.lethe_holds, %s::text::jsonb)"
_LOADED_BY = "select pg_current_xact_id()::text"
_KEEP_MEMORY = "select octet_length(repeat(repeat('x', 10000), 3000))"
"""What this frees makes the server's allocator (glibc's) keep as much for the next strings. Else every statement has the kernel clear new pages for
them, which is a third of what it costs (ADR 15). Of no effect elsewhere."""
_AT_ONCE = (None, 4_096, 256, 16, 1)
"""Rows that are gathered at once, all or so many, where a column of more would be longer than a gigabyte, the most that PostgreSQL puts into a
string, or than its memory."""
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
        self._session: psycopg.Connection[Any] | None = None
        self._loaded: tuple[HoldScope, ...] | None = None
        self._loaded_by = 0

    def with_holds(self, holds: Sequence[HoldScope]) -> None:
        """Makes the session's table of holds these and no others; opens the session if need be. Does nothing when they are there.

        Call it before the snapshot to be read is taken: a snapshot does not see holds that were loaded later. The holds' keys are bound
        values: no statement text has them. Raises psycopg errors.
        """
        wanted = tuple(holds)
        with self._without_words():
            session = self._session or self._open()
            if self._loaded == wanted:
                return
            self._loaded = None
            session.execute("begin isolation level read committed read write")
            session.execute(CREATE)
            session.execute("delete from pg_temp.lethe_holds")
            if wanted:
                session.execute(_INSERT, [json.dumps(rows_of(wanted), default=datetime.isoformat, ensure_ascii=False)])
            self._loaded_by = int(session.execute(_LOADED_BY).fetchone()[0])  # type: ignore[index]
            session.execute("commit")
            self._loaded = wanted

    def read(
        self,
        snapshot: str,
        statement: Select[Any] | SQLCompiler,
        values: Sequence[Mapping[str, Any]],
        *,
        quoting: Session,
        certain: Collection[str] = (),
    ) -> pa.Table:
        """What `statement` gives on an exported snapshot, its parameters bound to each of `values` in turn: all of it, in memory, in as many pieces.

        `quoting` is a session of the same database, such as the deleting one: libpq writes the values as literals by its encoding. They thus stand
        in the statement's text: give places and cutoffs, never a person's key. `certain`, and what becomes of infinite instants: `gather`.

        Raises psycopg errors, RuntimeError when `with_holds` was not called before the snapshot was taken, and NotArchivable for a value
        that Arrow cannot hold.
        """
        if not _SNAPSHOT.fullmatch(snapshot):
            raise ValueError("this is no snapshot of pg_export_snapshot()")
        session = self._session
        if session is None or self._loaded is None:
            raise RuntimeError("load the holds before reading: with_holds()")
        texts = [rendered(quoting, statement, each) for each in values]
        with self._without_words():
            for at_once in _AT_ONCE:
                self._begin(session, snapshot)
                try:
                    table = gather(session, texts, certain, at_once=at_once)
                    break
                except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.OutOfMemory):
                    if at_once == _AT_ONCE[-1]:
                        raise
                    session.execute("rollback")
            session.execute("commit")
        return table

    def _begin(self, session: psycopg.Connection[Any], snapshot: str) -> None:
        """A transaction that sees the snapshot, by one request. RuntimeError when that does not see the holds."""
        cursor = session.execute(
            f"begin isolation level repeatable read read only; set transaction snapshot '{snapshot}'; "
            f"select pg_visible_in_snapshot('{self._loaded_by}'::xid8, pg_current_snapshot())".encode()
        )
        while cursor.nextset():
            pass
        if cursor.fetchone() != (True,):
            raise RuntimeError("the holds were loaded after the snapshot was taken: it does not see them")

    def close(self) -> None:
        """Closes the session, whatever its state."""
        session, self._session, self._loaded = self._session, None, None
        if session is not None:
            with suppress(psycopg.Error):
                session.close()

    def _open(self) -> psycopg.Connection[Any]:
        """A session that is not wholly set up is never used."""
        session = self._session = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        try:
            settings = {**_SETTINGS, **self._limits}
            each = ", ".join(["set_config(%s, %s, false)"] * len(settings))
            session.execute(f"select {each}".encode(), [part for setting in settings.items() for part in setting])
            session.execute(_KEEP_MEMORY)
        except psycopg.Error:
            self.close()
            raise
        return session

    @contextmanager
    def _without_words(self) -> Iterator[None]:
        """After any error the transaction is rolled back; where that fails too, or a person interrupts, the session is closed."""
        try:
            yield
        except psycopg.Error as error:
            self._roll_back()
            raise _bare(error) from None
        except Exception:
            self._roll_back()
            raise
        except BaseException:
            self.close()
            raise

    def _roll_back(self) -> None:
        try:
            if self._session is not None:
                self._session.execute("rollback")
        except psycopg.Error:
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


def _bare(error: psycopg.Error) -> psycopg.Error:
    """The same error without its text: an OperationalError where the connection broke."""
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        return (
            psycopg.OperationalError("the session that reads was lost") if lost else psycopg.InternalError("the session that reads failed")
        )
    try:
        return psycopg.errors.lookup(state)(f"SQLSTATE {state}")
    except KeyError:
        unknown = psycopg.DatabaseError(f"SQLSTATE {state}")
        unknown.sqlstate = state
        return unknown
