"""Archiving as somebody would write it by hand, then one DELETE: what an archive that deletes is measured against. And the two at once in lanes
(`in_lanes`): about what Lethe's order of work takes without its records.

One bare ADBC stream in a thread that reads; beside it the Parquet writer, an object every 50,000 rows, each uploaded with its MD5, read back,
decoded and compared with what was read. No plan, no hold, no intent, no manifest, no lock, and nothing that could recover from a crash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.connections import Connection
from lethe.stores.s3.client import client

ROWS = 50_000
"""Rows of an object."""

_QUEUE = 4
"""Batches that wait for the writer."""


def archive(url: str, statement: str, shelf: Connection | None) -> tuple[int, float]:
    """Rows and seconds of reading a statement's rows into Parquet objects; uploaded and verified where there is a bucket, else thrown away."""
    began = time.perf_counter()
    batches: Queue[pa.RecordBatch | BaseException | None] = Queue(_QUEUE)

    def read() -> None:
        try:
            with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
                cursor.execute(statement)
                for batch in cursor.fetch_record_batch():
                    batches.put(batch)
        except BaseException as error:
            batches.put(error)
        else:
            batches.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    put = _Shelf(shelf) if shelf else None
    rows, waiting, held = 0, list[pa.RecordBatch](), 0
    while (batch := batches.get()) is not None:
        if isinstance(batch, BaseException):
            raise batch
        waiting.append(batch)
        held += batch.num_rows
        if held >= ROWS:
            rows, waiting, held = rows + _written(waiting, put), [], 0
    reader.join()
    if waiting:
        rows += _written(waiting, put)
    return rows, time.perf_counter() - began


def archive_then_delete(url: str, rows: str, where: str, shelf: Connection) -> tuple[float, float]:
    """Seconds of `archive` over `rows`, and of one DELETE with its COMMIT after it. RuntimeError when they are not as many."""
    archived, took = archive(url, f"SELECT {rows} {where}", shelf)
    began = time.perf_counter()
    with psycopg.connect(url) as connection:
        deleted = connection.execute(f"DELETE {where}".encode()).rowcount
    if deleted != archived:
        raise RuntimeError(f"{archived} rows archived, {deleted} deleted")
    return took, time.perf_counter() - began


def in_lanes(url: str, rows: str, table: str, windows: Sequence[str], shelf: Connection, *, lanes: int = 2) -> float:
    """Seconds of archiving and deleting window by window (conditions of rows), in lanes that work beside each other: a window is one
    transaction that reads, uploads, reads back, compares and deletes. As Lethe's batches, but for the way in which rows are read, with nothing on record
    and no object locked.

    RuntimeError when a window deletes other than it archived.
    """
    put, waiting, lock = _Shelf(shelf), list(reversed(windows)), threading.Lock()

    def lane() -> None:
        with adbc_driver_postgresql.dbapi.connect(url) as connection:
            while True:
                with lock:
                    if not waiting:
                        return
                    window = waiting.pop()
                where = f"FROM {table} WHERE {window}"
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    cursor.execute(f"SELECT {rows} {where}")
                    archived = _written(cursor.fetch_arrow_table().to_batches(), put)
                with connection.cursor() as cursor:
                    cursor.execute(f"DELETE {where}")
                    if cursor.rowcount != archived:
                        raise RuntimeError(f"{archived} rows archived, {cursor.rowcount} deleted")
                connection.commit()

    began = time.perf_counter()
    with ThreadPoolExecutor(lanes) as pool:
        for each in [pool.submit(lane) for _ in range(lanes)]:
            each.result()
    return time.perf_counter() - began


class _Shelf:
    """Uploads an object and reads it back."""

    def __init__(self, connection: Connection) -> None:
        self._s3: Any = client(connection)
        extra = connection.extra
        self._of = {"Bucket": extra["bucket"]}
        self._wish = {"ServerSideEncryption": extra["encryption"], "SSEKMSKeyId": extra["kms_key_id"]}
        self._numbers = itertools.count(1)

    def keep(self, table: pa.Table, data: bytes) -> None:
        of = {**self._of, "Key": f"by-hand/{next(self._numbers)}.parquet"}
        self._s3.put_object(**of, **self._wish, Body=data, ContentMD5=base64.b64encode(hashlib.md5(data).digest()).decode())
        back = self._s3.get_object(**of)["Body"].read()
        if back != data or not pq.read_table(io.BytesIO(back), use_threads=False).equals(table):
            raise RuntimeError("an object was read back with other rows")


def _written(batches: list[pa.RecordBatch], put: _Shelf | None) -> int:
    table = pa.Table.from_batches(batches).replace_schema_metadata(None)
    table = table.cast(pa.schema([f.remove_metadata() for f in table.schema]))
    output = pa.BufferOutputStream()
    pq.write_table(table, output, compression="zstd", compression_level=1, use_dictionary=["level", "host"])
    if put is not None:
        put.keep(table, output.getvalue().to_pybytes())
    return int(table.num_rows)
