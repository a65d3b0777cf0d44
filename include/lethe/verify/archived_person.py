"""A person's rows in the archive, counted by the check: objects are found by its own query, opened, and read row by row.

Whoever calls it has put the reading on record.
"""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow.parquet as pq
from sqlalchemy import Engine, text

from lethe.archive.model import PERSONS
from lethe.control.tables import SCHEMA
from lethe.verify.shelf import Shelf

_OBJECTS = text(
    f"""SELECT o.id, o.key, o.version, o.dataset FROM {SCHEMA}.archive_objects AS o
 WHERE o.state IN ('confirmed', 'sealed') AND EXISTS (SELECT FROM {SCHEMA}.archive_subjects AS s WHERE s.object = o.id AND s.digest = ANY(:digests))
 ORDER BY o.id"""
)


def archived_rows(control: Engine, shelf: Shelf, names: Collection[str]) -> dict[str, int]:
    """Rows by dataset in which one of these names (32 hex digits) is among the persons. Raises what the store raises."""
    found: dict[str, int] = {}
    with control.connect() as connection:
        objects = connection.execute(_OBJECTS, {"digests": [bytes.fromhex(n) for n in names]}).all()
    for each in objects:
        body = shelf.get(each.key, each.version or "null")
        persons = pq.ParquetFile(io.BytesIO(body)).read(columns=[PERSONS])[PERSONS].to_pylist()
        rows = sum(1 for row in persons if not set(names).isdisjoint(row or ()))
        found[each.dataset] = found.get(each.dataset, 0) + rows
    return found
