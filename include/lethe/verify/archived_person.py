"""A person's rows in the archive, counted by the check: objects are found by its own query, opened, and read row by row.

Whoever calls it has put the reading on record.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from sqlalchemy import Engine, text

from lethe.archive.model import PERSONS
from lethe.control.tables import SCHEMA
from lethe.verify.person import KeySum
from lethe.verify.shelf import Shelf

_OBJECTS = text(
    f"""SELECT o.id, o.key, o.version, o.dataset FROM {SCHEMA}.archive_objects AS o
 WHERE o.state IN ('confirmed', 'sealed') AND (o.dataset = ANY(:addressed)
 OR o.id IN (SELECT object FROM {SCHEMA}.archive_subjects WHERE digests && CAST(:digests AS bytea[])))
 ORDER BY o.id"""
)


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Who is looked for in the archive: names (32 hex digits) of the persons, of living rows with an address of theirs that archived rows hang
    on, and of those who have the same address and are not meant; addresses in lower case (NFC), and as written where the case of a local part
    matters."""

    persons: frozenset[str]
    hanging: frozenset[str]
    left_out: frozenset[str]
    addresses: frozenset[str] = field(repr=False)
    exact: frozenset[str] | None = field(default=None, repr=False)

    def has(self, named: Collection[str], addresses: Iterable[str | None]) -> bool:
        """Is a row that leads to these names and has these addresses theirs?"""
        if not self.persons.isdisjoint(named):
            return True
        by_address = not self.hanging.isdisjoint(named) or any(a is not None and self._told(a) for a in addresses)
        return by_address and self.left_out.isdisjoint(named)

    def _told(self, address: str) -> bool:
        plain = unicodedata.normalize("NFC", address).strip(" ")
        local, _, domain = plain.rpartition("@")
        return plain.lower() in self.addresses and (self.exact is None or f"{local}@{domain.lower()}" in self.exact)


def archived_rows(
    control: Engine, shelf: Shelf, sought: Sought, keys: Mapping[str, Sequence[str]], addressed: Mapping[str, Sequence[str]]
) -> dict[str, KeySum]:
    """By dataset, the rows that are theirs by the names among their persons, or by an address column (`addressed`, by dataset). Raises what the
    store raises.

    `keys`: the key columns of each dataset; one that an object does not keep counts as NULL, a dataset that is not in it by its rows alone.
    """
    names = sought.persons | sought.hanging
    found: dict[str, KeySum] = {}
    with control.connect() as connection:
        objects = connection.execute(_OBJECTS, {"digests": [bytes.fromhex(n) for n in names], "addressed": list(addressed)}).all()
    for each in objects:
        file = pq.ParquetFile(io.BytesIO(shelf.get(each.key, each.version or "null")))
        key = [(c, _source(file, c)) for c in keys.get(each.dataset, ())]
        kept = [c for c, source in key if source is not None]
        told = [c for c in addressed.get(each.dataset, ()) if c in file.schema_arrow.names]
        for row in file.read(columns=[*dict.fromkeys([PERSONS, *kept, *told])]).to_pylist():
            if sought.has(row[PERSONS] or (), (row[c] for c in told)):
                found.setdefault(each.dataset, KeySum()).add([_as_shown(row.get(c), source or "") for c, source in key])
    return found


def _source(file: pq.ParquetFile, column: str) -> str | None:
    """PostgreSQL's name of a column's type; None when the object does not keep it."""
    schema = file.schema_arrow
    if column not in schema.names:
        return None
    written: bytes = (schema.field(column).metadata or {}).get(b"lethe.source", b"")
    return written.decode()


def _as_shown(value: Any, source: str) -> Any:
    """A value of a key as a bundle shows it."""
    if isinstance(value, datetime):
        written = value.replace(tzinfo=None).isoformat(timespec="microseconds").rstrip("0").rstrip(".")
        return f"{written}+00:00" if value.tzinfo else written
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, str) and source.startswith("numeric"):
        return json.loads(value, parse_float=Decimal)
    if isinstance(value, str) and source == "inet":
        return value.removesuffix("/128" if ":" in value else "/32")
    return value
