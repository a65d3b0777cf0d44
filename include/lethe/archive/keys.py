"""Where an archive object lies: a key that says dataset, law, schema and month of expiry, and nothing about a person. Pure.

The folders are `name=value` pairs, which pyarrow, pandas, DuckDB and Spark read as partitions. A manifest lies beside its object;
its name begins with an underscore, so that none of these readers takes it for rows.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import date
from typing import NamedTuple

_DATASET = r"[a-z0-9]+(?:[-_][a-z0-9]+)*"
_SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_KEY = re.compile(
    rf"dataset=(?P<dataset>{_DATASET})/law=(?P<law>{_SLUG})/schema=(?P<schema>[0-9a-f]{{8}})/expires=(?P<month>[0-9]{{4}}-(?:0[1-9]|1[0-2]))/"
    r"(?:(?P<object>[0-9a-f]{32})\.parquet|_(?P<manifest>[0-9a-f]{32})\.manifest\.json)"
)
_LONGEST = 80  # characters of a slug: a citation may be a sentence, a key has 1,024 bytes


class Parts(NamedTuple):
    """What a key says. `law` is the slug of a law, `schema` the first 8 hex digits of the schema's digest, `month` that of expiry (YYYY-MM)."""

    dataset: str
    law: str
    schema: str
    month: str
    id: str
    is_manifest: bool


def slug(law: str) -> str:
    """`Code civil, art. 2224` as `code-civil-art-2224`: lower case, ASCII letters and digits, hyphens between; at most 80 characters.

    A law that leaves no such character (another script) is named by its sha256. Two laws may share a slug: the manifest has the law itself.
    """
    plain = unicodedata.normalize("NFKD", law).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST].strip("-")
    return words or "law-" + hashlib.sha256(law.encode()).hexdigest()[:8]


def folder(dataset: str, law: str, schema_digest: str, expires_on: date) -> str:
    """The folder of an object, with its slash at the end. `schema_digest` is Manifest.schema_digest."""
    return f"dataset={dataset}/law={slug(law)}/schema={schema_digest[:8]}/expires={expires_on.year:04}-{expires_on.month:02}/"


def object_key(dataset: str, law: str, schema_digest: str, expires_on: date, id: str) -> str:
    """The key of an object; `id` is 32 hex digits drawn at random, so no key is ever used twice."""
    return f"{folder(dataset, law, schema_digest, expires_on)}{id}.parquet"


def manifest_key(key: str) -> str:
    """The key of the manifest beside the object of that key. Raises ValueError when it is no object's key."""
    parts = parse(key)
    if parts is None or parts.is_manifest:
        raise ValueError("not the key of an archive object")
    return f"{key[: key.rindex('/') + 1]}_{parts.id}.manifest.json"


def parse(key: str) -> Parts | None:
    """What a key of an object or manifest says; None when Lethe did not make it."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return Parts(
        dataset=found["dataset"],
        law=found["law"],
        schema=found["schema"],
        month=found["month"],
        id=found["object"] or found["manifest"],
        is_manifest=found["object"] is None,
    )
