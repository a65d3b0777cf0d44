"""Looks for a text wherever a run may leave traces, in every form that a program may have written it in."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pyarrow.parquet as pq
from psycopg import sql

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def forms(text: str) -> dict[str, bytes]:
    """The text as such, JSON-escaped, percent-encoded, in hex and in base64 at each of the three offsets that it may start at.

    Left out is an offset that leaves a short text fewer than six characters of base64: random bytes have those by chance.
    """
    plain = text.encode()
    found = {
        "plain": plain,
        "json": json.dumps(text)[1:-1].encode(),
        "json in ASCII": text.replace("@", "\\u0040").encode(),
        "percent-encoded": quote(text, safe="").encode(),
        "html": text.replace("@", "&#64;").encode(),
        "hex": plain.hex().encode(),
    }
    for offset in range(3):
        cut = len(plain) - (len(plain) + offset) % 3
        coded = base64.b64encode(b"\0" * offset + plain[:cut])[4 if offset else 0 :].rstrip(b"=")[:-1]
        if len(coded) >= 6:
            found[f"base64 at {offset}"] = coded
            found[f"base64url at {offset}"] = coded.translate(bytes.maketrans(b"+/", b"-_"))
    return {name: form.lower() for name, form in found.items()}


def in_bytes(body: bytes, text: str) -> list[str]:
    """In which forms `body` holds the text; letters of either case, gzip and zlib streams opened."""
    bodies = [body]
    for opened in (gzip.decompress, zlib.decompress):
        try:
            bodies.append(opened(body))
        except (OSError, EOFError, zlib.error):
            continue
    return sorted({name for b in bodies for name, form in forms(text).items() if form in b.lower()})


def in_database(url: str, text: str) -> list[str]:
    """`schema.table.column: form` for every column of every table whose values hold the text. Binary columns are read whole."""
    found = []
    with psycopg.connect(url) as connection:
        for schema, table, column, kind in _columns(connection):
            select = sql.SQL("SELECT {} FROM {} WHERE {} IS NOT NULL").format(
                sql.Identifier(column) if kind == "bytea" else sql.SQL("{}::text").format(sql.Identifier(column)),
                sql.Identifier(schema, table),
                sql.Identifier(column),
            )
            for (value,) in connection.execute(select):
                found += [f"{schema}.{table}.{column}: {f}" for f in in_bytes(bytes(value) if kind == "bytea" else value.encode(), text)]
    return sorted(set(found))


def in_folder(folder: Path, text: str) -> list[str]:
    """`path: form` for every file, or name of a file, that holds the text."""
    files = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink()]
    return [f"{f.relative_to(folder)}: {form}" for f in files for form in in_bytes(f.read_bytes(), text) + in_bytes(str(f).encode(), text)]


def in_bucket(client: S3Client, bucket: str, text: str) -> list[str]:
    """`key: form` for every object, or key, that holds the text."""
    return [
        f"{key}: {form}"
        for key in keys(client, bucket)
        for form in in_bytes(key.encode(), text) + in_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read(), text)
    ]


def in_archive(client: S3Client, bucket: str, text: str) -> list[str]:
    """`key: form` for every version whose key, metadata or tags hold the text, or what Lethe adds to the rows that a law keeps.

    Of a Parquet object that is all but the values of kept columns (and what Parquet says of these); of any other object, its bytes.
    """
    found = []
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            said = [entry["Key"].encode()]
            if "Size" in entry:
                which = {"Bucket": bucket, "Key": entry["Key"], "VersionId": entry["VersionId"]}
                answer = client.get_object(**which)
                body = answer["Body"].read()
                headers, tags = answer["ResponseMetadata"]["HTTPHeaders"], client.get_object_tagging(**which)["TagSet"]
                said.append("\n".join(_texts([list(headers.items()), [list(t.values()) for t in tags]])).encode())
                said += _added(body) if entry["Key"].endswith(".parquet") else [body]
            found += [f"{entry['Key']}: {form}" for part in said for form in in_bytes(part, text)]
    return found


def _added(body: bytes) -> list[bytes]:
    """What Lethe adds to kept values: the file's own metadata, its schema, and the columns that are Lethe's."""
    file = pq.ParquetFile(io.BytesIO(body))
    own = [name for name in file.schema_arrow.names if name.startswith("_lethe_")]
    said = {**(file.metadata.metadata or {}), **(file.schema_arrow.metadata or {})}
    values = "\n".join(_texts([list(row.values()) for row in file.read(own).to_pylist()]))
    return [b"\n".join([*said, *said.values()]), str(file.schema_arrow).encode(), values.encode()]


def _texts(value: object) -> Iterator[str]:
    """The values in lists of lists, as they are: no quoting that would hide one."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)


def keys(client: S3Client, bucket: str) -> Iterator[str]:
    """Every key of a bucket."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (o["Key"] for o in page.get("Contents", ()))


def _columns(connection: psycopg.Connection) -> list[tuple[str, str, str, str]]:
    return connection.execute(
        """SELECT c.table_schema, c.table_name, c.column_name, c.data_type
             FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
            WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
              AND (c.data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'bytea', 'ARRAY', 'USER-DEFINED', 'xml'))"""
    ).fetchall()
