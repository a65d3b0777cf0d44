"""Files held against the rows that name them: objects without a row, and rows without an object, each counted on its own.

The rows are read first, in one snapshot of each database, then the bucket is listed to its last page, so that a row whose object was there
all along finds it. Of both sides only 64-bit digests of keys are kept: eight bytes each. Of two different keys with one digest, one in
about 10^19 / keys^2, a difference is not seen. Shares no query with the code that deletes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lethe.catalog.model import Catalog, Prefix, Store, Table
from lethe.connections import Connections
from lethe.errors import LetheError, PartialView, Uncountable, UnknownName, Unreachable
from lethe.frozen import Frozen
from lethe.verify.changed import Keys
from lethe.verify.objects import _client
from lethe.verify.result import FILES, Check
from lethe.verify.rows import Draft
from lethe.verify.session import check_engine, failure, one_snapshot
from lethe.verify.text import name, relation_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SETTLING = timedelta(hours=1)
"""How long a new object may wait for its row: an application uploads first and writes the row after it."""

_CHUNK = 50_000
_WHOLE = text(
    "SELECT c.relkind IN ('r', 'p') AND NOT row_security_active(c.oid) AND NOT pg_is_in_recovery() "
    "FROM pg_class c WHERE c.oid = to_regclass(:table)"
)


class FilesCompared(Frozen):
    """The files of one prefix and the rows that name them. Numbers only: a key may carry a name.

    `rows` that name an object, `rows_without_object` among them. Keys: `objects` that are there, `objects_without_row` among them;
    `remains_without_row`, of which only old versions, delete markers or unfinished uploads are left; `settling`, without a row
    and changed too recently to be judged.
    """

    dataset: str
    rows: int
    objects: int
    rows_without_object: int
    objects_without_row: int
    remains_without_row: int
    settling: int

    @property
    def without_row(self) -> int:
        """Keys of which anything is there and that no row names."""
        return self.objects_without_row + self.remains_without_row

    @property
    def differences(self) -> dict[str, int]:
        """The differences that are not zero, in words."""
        named = {
            "objects without a row": self.objects_without_row,
            "old versions, delete markers or unfinished uploads without a row": self.remains_without_row,
            "rows without an object": self.rows_without_object,
        }
        return {words: number for words, number in named.items() if number}


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """The keys of a prefix, as digests: those with an object, those with remains only, and those of which anything changed lately."""

    objects: Keys
    remains: Keys
    recent: Keys


def prefixes_with_files(catalog: Catalog) -> tuple[str, ...]:
    """The prefixes in which rows have their files, in the order of the catalog."""
    named = {t.files.dataset for s in catalog.stores for t in s.tables.values() if t.files is not None}
    return tuple(d for d in catalog.datasets() if d in named)


def compare_files(
    catalog: Catalog, dataset: str, *, connections: Connections, at: datetime, settling: timedelta = SETTLING
) -> FilesCompared:
    """The files of the prefix `dataset` against every row of every store that names one. `at`: now, aware; an object without a row that
    changed after `at - settling` is not judged.

    Raises UnknownName for what is no prefix, Unreachable for a store that does not answer, and Uncountable (PartialView) for what cannot
    be read whole.
    """
    store, prefix = _prefix(catalog, dataset)
    named = np.concatenate([np.empty(0, np.int64), *(_rows(s, t, c, connections) for s, t, c in _columns(catalog, dataset))])
    listed = _list(_client(connections(store.check_connection or store.connection)), prefix, at - settling)
    objects, remains = np.setdiff1d(listed.objects, named), np.setdiff1d(listed.remains, named)
    new_objects, new_remains = np.isin(objects, listed.recent), np.isin(remains, listed.recent)
    return FilesCompared(
        dataset=dataset,
        rows=len(named),
        objects=len(listed.objects),
        rows_without_object=int(np.isin(named, listed.objects, invert=True).sum()),
        objects_without_row=int((~new_objects).sum()),
        remains_without_row=int((~new_remains).sum()),
        settling=int(new_objects.sum() + new_remains.sum()),
    )


def without_rows(catalog: Catalog, datasets: Iterable[str], *, connections: Connections, at: datetime) -> dict[str, int]:
    """Before a purge, for each of the tables `datasets` that has files: how many keys of its prefix have no row already, by `before_key`.
    A prefix that cannot be counted is left out."""
    found = {}
    for dataset in _prefixes_of(catalog, datasets):
        try:
            found[before_key(dataset)] = compare_files(catalog, dataset, connections=connections, at=at).without_row
        except LetheError:
            continue
    return found


def before_key(prefix: str) -> str:
    """Under which name a count of before the purge is kept."""
    return f"files without a row: {prefix}"


def check_files(
    drafts: Sequence[Draft], catalog: Catalog, *, connections: Connections, at: datetime, before: Mapping[str, int] | None
) -> None:
    """Gives each draft of a step over a table with files the check FILES: no more keys are without a row than before the purge.

    None at all is a proof by itself. Some are none: they may have been there before, so `before` (`without_rows`) is needed, else it is
    unknown whether the purge left them. Rows without an object are measured, and no fault of a purge, which deletes rows.
    """
    compared: dict[str, FilesCompared | LetheError] = {}
    for draft in drafts:
        for dataset in _prefixes_of(catalog, [draft.step.dataset or ""]):
            if dataset not in compared:
                compared[dataset] = _tried(catalog, dataset, connections, at)
            found = compared[dataset]
            if isinstance(found, LetheError):
                draft.unknown(FILES, found)
            else:
                draft.checks.append(_judged(found, (before or {}).get(before_key(dataset))))


def _tried(catalog: Catalog, dataset: str, connections: Connections, at: datetime) -> FilesCompared | LetheError:
    try:
        return compare_files(catalog, dataset, connections=connections, at=at)
    except LetheError as error:
        return error


def _judged(found: FilesCompared, before: int | None) -> Check:
    measured = found.model_dump(exclude={"dataset"}) | ({} if before is None else {"without_row_before": before})
    if not found.without_row:
        return Check(name=FILES, status="passed", measured=measured)
    if before is None:
        detail = f"{found.without_row} keys have no row, and how many had none before the purge was not counted"
        return Check(name=FILES, status="unknown", detail=detail, measured=measured)
    detail = f"{found.without_row} keys have no row, {before} had none before the purge"
    return Check(name=FILES, status="passed" if found.without_row <= before else "failed", detail=detail, measured=measured)


def _prefixes_of(catalog: Catalog, datasets: Iterable[str]) -> tuple[str, ...]:
    known = catalog.datasets()
    tables = [known[d][1] for d in datasets if d in known]
    return tuple(dict.fromkeys(t.files.dataset for t in tables if isinstance(t, Table) and t.files is not None))


def _prefix(catalog: Catalog, dataset: str) -> tuple[Store, Prefix]:
    store, prefix = catalog.datasets().get(dataset, (None, None))
    if store is None or not isinstance(prefix, Prefix):
        raise UnknownName(f"Dataset {dataset!r} is no prefix of the catalog.", fix="Correct `files.dataset` there.")
    return store, prefix


def _columns(catalog: Catalog, dataset: str) -> list[tuple[Store, Table, str]]:
    return [
        (store, table, table.files.column)
        for store in catalog.stores
        for table in store.tables.values()
        if table.files is not None and table.files.dataset == dataset and table.partition_of is None
    ]


def _rows(store: Store, table: Table, column: str, connections: Connections) -> Keys:
    """The digest of every row's key, NULLs left out."""
    where = f"{table.db_schema}.{table.table}"
    engine = check_engine(connections(store.check_connection or store.connection))
    try:
        with one_snapshot(engine) as connection:
            if connection.execute(_WHOLE, {"table": relation_name(table)}).scalar_one_or_none() is not True:
                raise PartialView(
                    f"Table {where} cannot be read whole: it is not there, no table, filtered by row security, or on a standby.",
                    fix="Run `lethe check`; point the check connection at the primary, in a role that bypasses row security.",
                )
            parts = list(_digests(connection, relation_name(table), column))
    except SQLAlchemyError as error:
        raise Uncountable(f"The files named in {where} could not be read ({failure(error)}).", fix="Grant SELECT on it.") from None
    finally:
        engine.dispose()
    return np.concatenate([np.empty(0, np.int64), *parts])


def _digests(connection: SqlConnection, relation: str, column: str) -> Iterator[Keys]:
    """In chunks, made by the server: no key comes here."""
    query = (
        f"SELECT ('x' || encode(substring(sha256(convert_to(CAST(r.{name(column)} AS text), 'UTF8')) FROM 1 FOR 8), 'hex'))::bit(64)::bigint "
        f"FROM {relation} AS r WHERE r.{name(column)} IS NOT NULL"
    )
    answer = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK).exec_driver_sql(query)
    for rows in answer.scalars().partitions(_CHUNK):
        yield np.fromiter(rows, dtype=np.int64, count=len(rows))


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)


def _list(client: S3Client, prefix: Prefix, judged_until: datetime) -> _Listed:
    """Everything under the prefix, to its last page; Unreachable or Uncountable when it cannot be listed."""
    from botocore.exceptions import BotoCoreError, ClientError

    folder = prefix.prefix if prefix.prefix in ("", "/") or prefix.prefix.endswith("/") else f"{prefix.prefix}/"
    there, hidden, recent = array("q"), array("q"), array("q")
    try:
        for key, is_object, changed in _keys(client, prefix.bucket, folder):
            digest = _digest(key)
            (there if is_object else hidden).append(digest)
            if changed >= judged_until:
                recent.append(digest)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise Uncountable(f"Bucket {prefix.bucket!r} cannot be listed ({code}).", fix="Allow s3:ListBucketVersions to the check.") from None
    except BotoCoreError as error:
        raise Unreachable(
            f"The object store of bucket {prefix.bucket!r} does not answer ({type(error).__name__}).", fix="Start it."
        ) from None
    objects = np.unique(np.frombuffer(there, np.int64))
    return _Listed(objects=objects, remains=np.setdiff1d(np.frombuffer(hidden, np.int64), objects), recent=np.frombuffer(recent, np.int64))


def _keys(client: S3Client, bucket: str, folder: str) -> Iterator[tuple[str, bool, datetime]]:
    """key, is it an object that is there (the latest version, not hidden by a marker), and when that entry was made."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=folder):
        entries: Iterator[tuple[Any, bool]] = chain(
            ((v, bool(v["IsLatest"])) for v in page.get("Versions", [])), ((m, False) for m in page.get("DeleteMarkers", []))
        )
        yield from ((entry["Key"], is_object, entry["LastModified"]) for entry, is_object in entries)
    for uploads in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=folder):
        yield from ((u["Key"], False, u["Initiated"]) for u in uploads.get("Uploads", []))
