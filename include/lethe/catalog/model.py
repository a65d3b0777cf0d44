"""The data map as values: stores, datasets, columns, and how a row leads to a person and to a tenant. Pure.

A **relation** says which columns of a dataset refer to which dataset. A **path** is a chain of hops that starts at a row:
`tenant` follows this dataset's own relation `tenant`; `support_messages.thread` goes the other way, to the rows of
`support_messages` whose relation `thread` points here.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from lethe.frozen import Frozen, digest
from lethe.policy.model import Id, Role

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$", max_length=63)]
Hop = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")]
Path = tuple[Hop, ...]
EMAIL = "user.contact.email"
"""The category of a column that has somebody's e-mail address: a person's rows are found by it too."""


class Column(Frozen):
    """One column: what kind of data it is (a Fideslang key; `system.operations` for none about a person) and what for."""

    category: str = Field(pattern=r"^(user|system)(\.[a-z_]+)+$")
    purposes: tuple[Id, ...] | None = Field(default=None, description="None: those of its dataset.")
    about: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_]+$",
        description="Whom it is about, where that is not everybody the row leads to: a relation of the table, or a name for a group of columns of "
        "which one is an address. What is about somebody else is masked in a person's bundle.",
    )
    guessed: bool = Field(default=False, description="Written by `lethe scan`; a person has to confirm it.")

    @property
    def personal(self) -> bool:
        """Is it about a person?"""
        return self.category.startswith("user.")


class Relation(Frozen):
    """Which columns of this dataset refer to which row of another, whether or not a foreign key says so."""

    columns: tuple[Identifier, ...] = Field(min_length=1)
    to: Id
    to_columns: tuple[Identifier, ...] = Field(default=(), description="Empty: the key of the other dataset.")
    may_dangle: bool = Field(default=False, description="The row may outlive what it refers to: it neither blocks nor is orphaned.")


class Clock(Frozen):
    """What ages a row. One of: a column; the latest of several; a column reached through a path (the newest counts)."""

    column: Identifier | None = None
    latest_of: tuple[Identifier, ...] = Field(
        default=(), description="The latest of these columns of the row; NULLs do not count unless all are."
    )
    through: Path = Field(default=(), description="With `column`: the newest value among the rows reached.")
    otherwise: Identifier | None = Field(default=None, description="With `through`: this row's own column when no row is reached.")
    null_means: Literal["unknown", "not_started"] = Field(
        default="unknown",
        description="unknown: quarantined. not_started: the clock does not run yet (a live contract, a user not removed), so the row is not due.",
    )
    future_means: Literal["unknown", "not_started"] = Field(
        default="unknown",
        description="unknown: a clock after `as_of` is quarantined. not_started: it is a date to come, such as the agreed end of a contract.",
    )
    stored_as: Literal["timestamptz", "timestamp", "date"] = "timestamptz"
    zone: str | None = Field(default=None, description="With `stored_as: timestamp`: the zone its values are in.")

    @model_validator(mode="after")
    def _one_kind(self) -> Clock:
        if (self.column is None) == (not self.latest_of):
            raise ValueError("a clock has either `column` or `latest_of`")
        if self.through and self.column is None:
            raise ValueError("`through` needs `column`")
        if self.otherwise and not self.through:
            raise ValueError("`otherwise` goes with `through`")
        if (self.stored_as == "timestamp") != (self.zone is not None):
            raise ValueError("`stored_as: timestamp` needs the `zone` of its values, and only it has one")
        return self

    @property
    def own(self) -> bool:
        """Does the clock lie in the row itself?"""
        return not self.through


class Condition(Frozen):
    """One condition of a subset of rows, on a column of the row."""

    column: Identifier
    is_: Literal["null", "not_null", "true", "false"] | None = Field(default=None, alias="is")
    equals: str | int | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Condition:
        if (self.is_ is None) == (self.equals is None):
            raise ValueError("a condition has either `is` or `equals`")
        return self


class Files(Frozen):
    """The objects that belong to a table's rows: they go with their row, all versions of them."""

    dataset: Id = Field(description="The prefix, of any store, in which they lie.")
    column: Identifier = Field(description="The column with the object's whole key. NULL: the row has no file.")
    name: Identifier | None = Field(default=None, description="The column with the name that people know it by.")
    media_type: Identifier | None = Field(default=None, description="The column with its media type, such as application/pdf.")


class CalendarColumns(Frozen):
    """Which columns make an event of a calendar of a row: a tenant is given its business data as iCalendar too."""

    starts: Identifier = Field(description="An instant or a day; a row without one is no event.")
    ends: Identifier | None = None
    title: Identifier | None = None
    place: Identifier | None = None
    notes: Identifier | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All that are named."""
        return tuple(c for c in (self.starts, self.ends, self.title, self.place, self.notes) if c is not None)


class Table(Frozen):
    """A table of a relational store, as one dataset."""

    table: Identifier
    db_schema: Identifier = Field(default="public", alias="schema")
    role: Role
    category: Id = Field(description="The retention category: its rules are those of the policy for it.")
    purposes: tuple[Id, ...]
    key: tuple[Identifier, ...] = Field(min_length=1)
    clocks: dict[Id, Clock] = {}
    subsets: dict[Id, tuple[Condition, ...]] = {}
    relations: dict[Id, Relation] = {}
    tenant: Path | None = Field(default=None, description="How a row leads to its tenant; [] when the row is the tenant.")
    persons: tuple[Path, ...] = Field(
        default=(),
        description="How a row leads to persons; an empty path when the row is one. A path ends at a dataset of `identities`, or at one whose rows "
        "are no persons and have a column of category `user.contact.email`, other than tenants: what hangs on such a row is found by its address.",
    )
    columns: dict[Identifier, Column]
    files: Files | None = None
    calendar: CalendarColumns | None = Field(default=None, description="Its rows are appointments: they are exported as iCalendar too.")
    portable: tuple[Identifier, ...] = Field(
        default=(),
        description="Columns of the copy of GDPR Article 20: what the person gave, or what was observed of them, under consent or contract.",
    )
    partition_of: Id | None = None
    owner: str | None = Field(
        default=None, description="Who corrects what is found wrong in it, such as a team; the store's when left out."
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The columns that have an e-mail address."""
        return tuple(c for c, kind in self.columns.items() if kind.category == EMAIL)


class ObjectClock(Frozen):
    """What ages an object: a day in its key (`nginx/%Y/%m/%d/`, in the policy's zone) or when it was last modified."""

    key_date: str | None = None
    last_modified: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> ObjectClock:
        if (self.key_date is None) == (not self.last_modified):
            raise ValueError("an object's clock has either `key_date` or `last_modified: true`")
        return self


class Prefix(Frozen):
    """A prefix of a bucket, as one dataset. The day of an object is read from its key, or is its date of upload."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: str = ""
    role: Role
    category: Id
    purposes: tuple[Id, ...]
    clocks: dict[Id, ObjectClock] = {}
    contents: tuple[str, ...] = Field(default=(), description="Fideslang keys of what the objects hold.")
    owner: str | None = Field(
        default=None, description="Who corrects what is found wrong in it, such as a team; the store's when left out."
    )


class Exemption(Frozen):
    """A table, column or bucket that is not classified, and who answers for that until when."""

    name: str = Field(description="schema.table, schema.table.column, or a bucket's name.")
    reason: str
    owner: str
    until: date


class Contracts(Frozen):
    """Which dataset holds the contracts, how one leads to its tenant, and when one lives."""

    dataset: Id
    tenant: Path
    started: Identifier
    ended: Identifier


class Store(Frozen):
    """A place that holds personal data. Connections are Airflow connection ids, one for each least-privilege role."""

    id: Id
    kind: Literal["postgresql", "s3"]
    connection: str = Field(description="Reads and deletes.")
    check_connection: str | None = Field(default=None, description="Reads everything, may not write. PostgreSQL needs one.")
    maintenance_connection: str | None = Field(default=None, description="Drops partitions and vacuums.")
    start_of_service: AwareDatetime = Field(description="A clock before this instant is quarantined.")
    tables: dict[Id, Table] = {}
    prefixes: dict[Id, Prefix] = {}
    schemas: tuple[Identifier, ...] = Field(default=(), description="Schemas whose every table must be classified.")
    exempt: tuple[Exemption, ...] = ()
    tenants: Id | None = Field(default=None, description="The dataset whose key is a tenant.")
    identities: tuple[Id, ...] = Field(default=(), description="The datasets whose rows are persons.")
    contracts: Contracts | None = None
    owner: str | None = Field(
        default=None, description="Who answers for its data, such as a team: named where the report finds something to correct."
    )

    def by_address(self, dataset: str) -> tuple[str, ...]:
        """The address columns of a dataset whose rows are no persons, and are found by these. Empty for any other. A path to persons may end
        there: what hangs on such a row is the person's, too, unless the row leads to somebody else with that address. Empty for tenants: what
        hangs on a company is not its contact's."""
        table = self.tables[dataset]
        return () if () in table.persons or dataset in {*self.identities, self.tenants} else table.addresses


class Catalog(Frozen):
    """The data map of one company."""

    purposes: dict[Id, str]
    stores: tuple[Store, ...]

    @property
    def digest(self) -> str:
        """sha256 over all of it."""
        return digest(self)

    @property
    def identities(self) -> tuple[str, ...]:
        """The datasets whose rows are persons, in the order of the stores."""
        return tuple(dict.fromkeys(i for s in self.stores for i in s.identities))

    @property
    def calendars(self) -> dict[str, CalendarColumns]:
        """The datasets whose rows are events of a calendar."""
        return {i: t.calendar for s in self.stores for i, t in s.tables.items() if t.calendar is not None}

    def store(self, store_id: str) -> Store:
        """The store of that id; StopIteration when there is none."""
        return next(s for s in self.stores if s.id == store_id)

    def datasets(self) -> dict[str, tuple[Store, Table | Prefix]]:
        """Every dataset by its id, with its store, in the order of the files."""
        found: dict[str, tuple[Store, Table | Prefix]] = {}
        for store in self.stores:
            found |= {i: (store, t) for i, t in store.tables.items()} | {i: (store, p) for i, p in store.prefixes.items()}
        return found

    def goes_with_rows(self, dataset: str) -> bool:
        """Is it a prefix without a clock whose objects are the files of a table of its category? They go with their rows, by no step of
        their own."""
        entry = self.datasets()[dataset][1]
        if not isinstance(entry, Prefix) or entry.clocks:
            return False
        tables = (t for s in self.stores for t in s.tables.values() if t.files is not None and t.files.dataset == dataset)
        return any(t.category == entry.category for t in tables)

    @model_validator(mode="after")
    def _dataset_ids_are_unique(self) -> Catalog:
        ids = [i for s in self.stores for i in [*s.tables, *s.prefixes]]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"dataset id used twice: {', '.join(twice)}")
        return self
