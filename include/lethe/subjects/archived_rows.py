"""A person's rows in the archive, in the form of the living ones. Opening an object is an act: its reason is on record before the first byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lethe import settings
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.finding import rows_naming
from lethe.archive.model import ArchivedColumn, Manifest
from lethe.archive.reading import Giver, ReadingReason, Wanted, read
from lethe.catalog.model import EMAIL, Store, Table
from lethe.errors import Uncountable
from lethe.policy.model import Role
from lethe.stores.postgres.person import SECRET
from lethe.stores.postgres.person_addresses import ways_to_persons
from lethe.stores.postgres.person_keys import end_of
from lethe.subjects.archived_values import as_json
from lethe.subjects.found import Field, Located, Origin, Row, Section
from lethe.subjects.identifiers import is_address_of
from lethe.subjects.in_archive import addressed_datasets, archive_names, archived
from lethe.workspace import Workspace

_DAY = timedelta(days=1)


def archived_sections(workspace: Workspace, located: Located, *, at: datetime) -> Iterator[tuple[Section, Iterator[Row]]]:
    """A section for each dataset of the company's own that the archive has rows of the person of: by their names, and, as the account may be
    gone that a row led to, by their address wherever an object keeps one. For that every object of such a dataset is opened. A row that hangs
    on one which is found by its address alone is found while that one lives (`in_archive.archived`).

    Raises Unreachable when the archive cannot be read here (connections lethe_archivist and archive_read_s3), ReadingRefused, ArchiveDiffers,
    Uncountable for a dataset that the catalog has no more: a bundle without these rows would not be complete.
    """
    named = _datasets(workspace, located)
    addressed = addressed_datasets(workspace) if located.addresses else {}
    if not named and not addressed:
        return
    mine = _Mine(
        persons=archive_names(workspace, located.persons),
        hanging=archive_names(workspace, located.hanging),
        left=archive_names(workspace, located.others),
        located=located,
    )
    engine = workspace.engine(settings.ARCHIVIST)
    bucket = ArchiveBucket.of(workspace.connections(settings.ARCHIVE_READER))
    for dataset in sorted({*named, *addressed}):
        store, entry = workspace.catalog.datasets().get(dataset, (None, None))
        if store is None or not isinstance(entry, Table):
            raise Uncountable(
                f"The archive has rows of dataset {dataset}, which is not in the catalog: whom they are about cannot be told.",
                fix="Keep the dataset in the catalog until its archived rows have expired.",
            )
        if entry.role is not Role.CONTROLLER:
            continue
        gathered: list[tuple[Manifest, pa.Table]] = []
        columns = addressed.get(dataset, ())
        wanted = Wanted(dataset=dataset, persons=None if columns else mine.persons | mine.hanging)
        read(
            engine,
            bucket,
            wanted,
            reason=ReadingReason.ACCESS_REQUEST.value,
            giver=_into(gathered, mine, columns, untold=_leads_by_others(store, dataset)),
            at=at,
        )
        if gathered:
            yield _section(dataset, entry, [m for m, _ in gathered]), _rows(entry, gathered, located)


@dataclass(frozen=True, kw_only=True)
class _Mine:
    """Whose rows are theirs, by the archive's names: of the persons, of rows that others hang on, and of those who are not meant."""

    persons: frozenset[str]
    hanging: frozenset[str]
    left: frozenset[str]
    located: Located

    def of(self, table: pa.Table, columns: Sequence[str], *, untold: bool) -> Any:
        """For each row, is it theirs? By an address, their own or that of what they hang on, only where it names nobody who is not meant.

        `untold`: the rows on their way may lead to persons, whom the archive does not name. Raises Uncountable where that decides.
        """
        found = rows_naming(table, persons=self.hanging)
        if untold and self.left and (found & ~rows_naming(table, persons=self.persons | self.left)).any():
            raise Uncountable(
                "Archived rows hang on an address that somebody who is not meant has too, by way of rows that may be theirs: whose they are cannot"
                " be told.",
                fix="Answer for these rows by hand, or open one request for all who have the address.",
            )
        for column in (c for c in columns if c in table.column_names):
            given = pc.unique(table[column]).to_pylist()
            told = [a for a in given if is_address_of(self.located.emails, a, fold_local=self.located.fold_local)]
            found |= pc.fill_null(pc.is_in(table[column], pa.array(told, table[column].type)), False).to_numpy()
        return rows_naming(table, persons=self.persons) | (found & ~rows_naming(table, persons=self.left))


def _leads_by_others(store: Store, dataset: str) -> bool:
    """Does a way to a row that is found by its address go by rows, or end at one, whose persons are not those of the row itself?"""
    own = store.tables[dataset].persons
    hanging = (path for path in own if end_of(store, dataset, path) not in store.identities)
    return any(way not in own for path in hanging for way in ways_to_persons(store, dataset, path))


def _into(gathered: list[tuple[Manifest, pa.Table]], mine: _Mine, columns: Sequence[str], *, untold: bool = False) -> Giver:
    """Gathers of each object the rows that are the person's."""

    def give(manifest: Manifest, table: pa.Table) -> None:
        found = mine.of(table, columns, untold=untold)
        if found.any():
            gathered.append((manifest, table.filter(pa.array(found))))

    return lambda manifests: give


def _datasets(workspace: Workspace, located: Located) -> list[str]:
    from lethe.archive.manifests import of_ids

    with workspace.control.connect() as control:
        known = of_ids(control, archived(workspace, located.named))
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
    """Columns about somebody else: a group of columns without an address of the person. What cannot be told is masked, as in the living rows."""
    if entry is None:
        return []
    groups: dict[str, list[str]] = {}
    for name, kind in entry.columns.items():
        if kind.about is not None and values.get(name) is not None:
            groups.setdefault(kind.about, []).append(name)
    found: list[str] = []
    for columns in groups.values():
        addresses = [values[c] for c in columns if entry.columns[c].category == EMAIL]
        if not any(is_address_of(located.known, a, fold_local=located.fold_local) for a in addresses):
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
