"""One ADBC session: statements by text, answers as Arrow tables.

The driver's own objects, without its DB-API: that one imports pyarrow's datasets and with them pandas, 43 MB and a third of a second in
every process that archives, for a cursor that is not needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement
from adbc_driver_manager import Error as AdbcError
from adbc_driver_manager._reader import AdbcRecordBatchReader  # pyarrow's own reader would lose the SQLSTATE of an error amid the rows

from lethe.arrays import of_texts


class AdbcSession:
    """A session that commits each statement by itself, unless told `begin`. Not for two threads at once. Raises ADBC's errors.

    A signal waits until the statement ends, by itself or by `statement_timeout`.
    """

    def __init__(self, conninfo: str) -> None:
        """Connects. `conninfo` as libpq takes it."""
        self._database = adbc_driver_postgresql.connect(conninfo)
        try:
            self._connection = AdbcConnection(self._database)
        except BaseException:
            self._database.close()
            raise

    def run(self, text: str, *values: str) -> None:
        """One statement without an answer; `values` are bound by their order."""
        with self._statement(text, values) as statement:
            statement.execute_update()

    def scalar(self, text: str, *values: str) -> Any:
        """The first column of the first row."""
        return self.table(text, *values)[0][0].as_py()

    def table(self, text: str, *values: str) -> pa.Table:
        """All rows, in memory."""
        with self._statement(text, values) as statement:
            handle, _ = statement.execute_query()
            reader = AdbcRecordBatchReader._import_from_c(handle.address)
            try:
                return reader.read_all()
            finally:
                reader.close()

    def close(self) -> None:
        """Ends the session, whatever its state."""
        for each in (self._connection, self._database):
            with suppress(AdbcError):
                each.close()

    @contextmanager
    def _statement(self, text: str, values: Sequence[str]) -> Iterator[Any]:
        """Closed before its session is, which would refuse to end."""
        statement: Any = AdbcStatement(self._connection)
        try:
            statement.set_sql_query(text)
            if values:
                statement.prepare()
                statement.bind(pa.RecordBatch.from_arrays([of_texts([v]) for v in values], [str(n) for n in range(len(values))]))
            yield statement
        finally:
            statement.close()
