"""A person's rows in the archive, in the form of the living ones. Opening an object is an act: its reason is on record before the first byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from lethe import settings
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.model import ArchivedColumn, Manifest
from lethe.archive.reading import Giver, ReadingReason, Wanted, read
from lethe.catalog.model import Table
from lethe.policy.model import Role
from lethe.stores.postgres.person import EMAIL, SECRET
from lethe.subjects.archived_values import as_json
from lethe.subjects.found import Field, Origin, Row, Section
from lethe.subjects.identifiers import is_address_of
from lethe.subjects.locating import Located, archive_names, archived
from lethe.workspace import Workspace

_DAY = timedelta(days=1)


def archived_sections(workspace: Workspace, located: Located, *, at: datetime) -> Iterator[tuple[Section, Iterator[Row]]]:
    """A section for each dataset that the archive has rows of the person of. Raises Unreachable when the archive cannot be read here
    (connections lethe_archivist and archive_read_s3), ReadingRefused, ArchiveDiffers: a bundle without these rows would not be complete."""
    if not archived(workspace, located.persons):
        return
    names = archive_names(workspace, located.persons)
    engine = workspace.engine(settings.ARCHIVIST)
    bucket = ArchiveBucket.of(workspace.connections(settings.ARCHIVE_READER))
    for dataset in _datasets(workspace, located):
        gathered: list[tuple[Manifest, pa.Table]] = []
        wanted = Wanted(dataset=dataset, persons=names)
        read(engine, bucket, wanted, reason=ReadingReason.ACCESS_REQUEST.value, giver=_into(gathered), at=at)
        if gathered:
            entry = workspace.catalog.datasets().get(dataset, (None, None))[1]
            table = entry if isinstance(entry, Table) else None
            yield _section(dataset, table, [m for m, _ in gathered]), _rows(table, gathered, located)


def _into(gathered: list[tuple[Manifest, pa.Table]]) -> Giver:
    def give(manifest: Manifest, table: pa.Table) -> None:
        gathered.append((manifest, table))

    return lambda manifests: give


def _datasets(workspace: Workspace, located: Located) -> list[str]:
    from lethe.archive.manifests import of_ids

    with workspace.control.connect() as control:
        known = of_ids(control, archived(workspace, located.persons))
    return sorted({k.manifest.dataset for k in known if k.manifest is not None})


def _section(dataset: str, entry: Table | None, manifests: Sequence[Manifest]) -> Section:
    """The dataset as its objects have it: every column that one of them keeps."""
    columns: dict[str, ArchivedColumn] = {c.name: c for m in manifests for c in m.columns}
    fields = tuple(
        Field(
            name=name,
            category=entry.columns[name].category if entry and name in entry.columns else "user",
            type=column.source,
            provided=bool(entry and name in entry.portable),
        )
        for name, column in columns.items()
    )
    return Section(
        store=manifests[0].store,
        dataset=dataset,
        origin=Origin.ARCHIVE,
        role=entry.role if entry else Role.CONTROLLER,
        category=entry.category if entry else manifests[0].rule,
        purposes=entry.purposes if entry else (),
        fields=fields,
        law=", ".join(sorted({m.law for m in manifests})),
        until=max(m.expires_on for m in manifests) - _DAY,
    )


def _rows(entry: Table | None, gathered: Sequence[tuple[Manifest, pa.Table]], located: Located) -> Iterator[Row]:
    for manifest, table in gathered:
        columns = {c.name: [as_json(v, c) for v in _values(table[c.name])] for c in manifest.columns}
        for n in range(table.num_rows):
            values = {name: column[n] for name, column in columns.items()}
            secrets, others = _secrets(entry, values), _masked(entry, values, located)
            masked = (*secrets, *others)
            yield Row(values=values | dict.fromkeys(masked), shared=bool(others), redacted=masked)


def _secrets(entry: Table | None, values: dict[str, Any]) -> list[str]:
    """Columns that protect an account: withheld from everybody, as in the living rows."""
    return [] if entry is None else [c for c in values if c in entry.columns and entry.columns[c].category.startswith(SECRET)]


def _masked(entry: Table | None, values: dict[str, Any], located: Located) -> list[str]:
    """Secrets, and columns about somebody else: a group of columns whose address is not the person's. A group without its address stays: the
    row is theirs."""
    if entry is None:
        return []
    groups: dict[str, list[str]] = {}
    for name, kind in entry.columns.items():
        if kind.about is not None and values.get(name) is not None:
            groups.setdefault(kind.about, []).append(name)
    found = [name for name, kind in entry.columns.items() if kind.category.startswith(SECRET) and name in values]
    for columns in groups.values():
        addresses = [values[c] for c in columns if entry.columns[c].category == EMAIL]
        if addresses and not any(is_address_of(located.emails, a) for a in addresses):
            found += columns
    return found


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column; instants and days as the numbers that they are kept as, so that endless ones are told."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return list(column.cast(pa.int64()).to_pylist())
    if pa.types.is_date32(kind):
        return list(column.cast(pa.int32()).to_pylist())
    return list(column.to_pylist())
