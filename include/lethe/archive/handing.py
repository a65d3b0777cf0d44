"""How rows that were read leave the archive: as files of a folder that only their reader can open, or as text on standard output.

Only the columns that the law keeps are handed out; Lethe's own (`_lethe_...`) stay. Schemas may differ from object to object: a file has
its object's own, printed rows have the columns of all.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from lethe.archive.model import Manifest
from lethe.errors import ReadingRefused

FORMATS = ("parquet", "csv", "json")
_OURS = "_lethe_"


class Folder:
    """A folder that takes rows: one file an object, `<dataset>-<id>.parquet` or `.csv`. It must be new or empty: nothing is overwritten."""

    def __init__(self, place: Path, kind: str) -> None:
        """Makes the folder, for its owner only. Raises ReadingRefused when it cannot be, or has something in it."""
        self.place, self.kind, self.files = place, kind, 0
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = any(place.iterdir())
        except OSError as error:
            raise ReadingRefused(f"The folder for the rows cannot be used ({type(error).__name__}).", fix="Name another.") from None
        if used:
            raise ReadingRefused(
                "The folder for the rows is not empty: what is in it could be taken for the archive's.", fix="Name another."
            )

    def give(self, manifest: Manifest, table: pa.Table) -> None:
        """Writes the rows of one object."""
        rows = theirs(table)
        descriptor = os.open(self.place / f"{manifest.dataset}-{manifest.id}.{self.kind}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if self.kind == "parquet":
                pq.write_table(rows, file, compression="zstd")
            else:
                with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
                    self._write(text, manifest, rows)
        self.files += 1

    def _write(self, text: IO[str], manifest: Manifest, rows: pa.Table) -> None:
        if self.kind == "csv":
            _csv(text, rows.column_names).writerows(plain_rows(rows))
        else:
            json.dump({**about(manifest), "rows": list(plain_rows(rows))}, text, ensure_ascii=False)


class Printed:
    """Rows as CSV on a stream, with one header over the columns of all objects."""

    def __init__(self, stream: IO[str], manifests: Sequence[Manifest]) -> None:
        """Writes nothing yet: a reading that gives no row leaves the stream empty."""
        self._writer, self._begun = _csv(stream, (c.name for m in manifests for c in m.columns), header=False), False

    def give(self, manifest: Manifest, table: pa.Table) -> None:
        """Prints the rows of one object."""
        if not self._begun:
            self._writer.writeheader()
            self._begun = True
        self._writer.writerows(plain_rows(theirs(table)))


def about(manifest: Manifest) -> dict[str, Any]:
    """What a reader must know about rows: where they are from, why they are kept, until when."""
    return manifest.model_dump(mode="json", include={"id", "dataset", "law", "ground", "expires_on", "policy_version"})


def theirs(table: pa.Table) -> pa.Table:
    """The table without Lethe's own columns."""
    return table.select([name for name in table.column_names if not name.startswith(_OURS)])


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows with values that text and JSON can hold: instants in ISO 8601, uuids as text, bytes in base64."""
    for batch in table.to_batches(max_chunksize=5_000):
        for row in batch.to_pylist():
            yield {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def _csv(stream: IO[Any], columns: Iterable[str], *, header: bool = True) -> csv.DictWriter[str]:
    writer = csv.DictWriter(stream, list(dict.fromkeys(columns)), restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    return writer
