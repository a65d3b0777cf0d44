"""What is found of a person, as values: who the person is in the stores, which rows are theirs, and what each row holds. Pure.

`locating` makes these, a bundle is written from them. Nothing here prints a value of a row, a key or a file's name in its repr().
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from lethe.policy.model import Role


class Origin(StrEnum):
    """Where rows are: in the living store, or in the archive."""

    LIVE = "live"
    ARCHIVE = "archive"


@dataclass(frozen=True, kw_only=True, order=True)
class Person:
    """A row that is a person: the identity dataset, and its key as PostgreSQL prints it."""

    dataset: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column: `category` is its Fideslang key, `type` PostgreSQL's name (`bigint`, `timestamp with time zone`, `text[]`).

    `provided`: the person gave it, or it was observed of them, under consent or contract: it belongs to the copy of Article 20.
    """

    name: str
    category: str
    type: str
    provided: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A dataset, living or archived, as a bundle shows it. `law` and `until`: under which law archived rows are kept, and the last day."""

    store: str
    dataset: str
    origin: Origin
    role: Role
    category: str
    purposes: tuple[str, ...]
    fields: tuple[Field, ...]
    law: str | None = None
    until: date | None = None

    @property
    def id(self) -> str:
        """Names it, in a bundle and in evidence: the dataset, with `.archive` behind it when archived."""
        return self.dataset if self.origin is Origin.LIVE else f"{self.dataset}.archive"


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """An object that belongs to a row: where it is, how the person knows it, and how many bytes it has."""

    connection: str
    bucket: str
    key: str = field(repr=False)
    name: str = field(repr=False)
    size: int
    media_type: str = "application/octet-stream"


class Row(NamedTuple):
    """A row of a section: a tuple, for there may be millions and a dataclass takes three times as long to make.

    `values` are those of PostgreSQL's `to_jsonb`, by column: numbers as int or Decimal, instants and all other types as its text, NULL as
    None. `shared`: it leads to somebody else too. `redacted`: columns that are about somebody else; their value is None here.
    """

    values: Mapping[str, Any]
    shared: bool = False
    redacted: tuple[str, ...] = ()
    file: FileRef | None = None

    def __repr__(self) -> str:
        return f"Row(shared={self.shared}, redacted={self.redacted})"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many rows of a section are the person's, how many of them are shared with others, and how many name a file. Whether it lies in its
    bucket is seen when it is bundled; one that is about somebody else is named here and not given."""

    section: str
    rows: int
    shared: int = 0
    files: int = 0


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Rows about the person that a tenant stores: that part of the request is the tenant's to answer. `rows` by dataset."""

    tenant: str = field(repr=False)
    rows: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A step that reads a whole table, because no index leads to the person's rows: which columns would need one."""

    dataset: str
    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True, kw_only=True)
class Located:
    """Who the person is, and how many rows they have where. `emails` are normal forms, `addresses` what stores are asked by; `left_out`:
    persons with the same address who are not meant, because the request names accounts (`others`). `own`: addresses of the accounts that it
    names, by which nothing is searched: who has proved an account has not proved the address that was typed into it. `exact`: `addresses` with
    their local parts as they are, where their case matters; None where it does not. `hanging`: rows that are found by their address alone and
    that other rows hang on."""

    persons: tuple[Person, ...]
    emails: tuple[str, ...] = field(repr=False)
    addresses: tuple[str, ...] = field(repr=False)
    counted: tuple[Counted, ...]
    forwards: tuple[Forward, ...]
    archive_objects: int
    left_out: int
    slow: tuple[Slow, ...] = ()
    tenant: str | None = field(default=None, repr=False)
    own: tuple[str, ...] = field(default=(), repr=False)
    others: tuple[Person, ...] = field(default=(), repr=False)
    exact: tuple[str, ...] | None = field(default=None, repr=False)
    hanging: tuple[Person, ...] = field(default=(), repr=False)

    @property
    def fold_local(self) -> bool:
        """Are addresses one that differ by the case of their local part?"""
        return self.exact is None

    @property
    def named(self) -> tuple[Person, ...]:
        """Whom the archive may name by a keyed digest: the persons, and rows by whose address others are found."""
        return (*self.persons, *self.hanging)

    @property
    def known(self) -> frozenset[str]:
        """The addresses by which it is told whom columns are about: those of the request, and those of the accounts that it names."""
        return frozenset({*self.emails, *self.own})

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys of the persons by dataset."""
        found: dict[str, list[str]] = {}
        for each in self.persons:
            found.setdefault(each.dataset, []).append(each.key)
        return found
