"""What a bundle says of itself, as values: whom it answers, under which policy, and what is in each of its sections. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lethe.control.requests import Language, Request, RequestKind
from lethe.policy.model import PolicyVersion
from lethe.processors.model import InForce
from lethe.subjects.found import Row, Section

FIRST = 50
"""Rows of a section that the index page shows; the files have all."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a bundle answers. `disclosure` is the company's `lethe.catalog.disclosure.Disclosure`: titles, sources, recipients, in words.

    `receivers` are the entries of the register of processors in force on the day it is made; empty where the company has no register.
    """

    request: str
    kind: RequestKind
    language: Language
    received_at: datetime
    made_at: datetime
    policy: PolicyVersion
    disclosure: Any
    purposes: Mapping[str, str]
    receivers: tuple[InForce, ...] = ()

    @classmethod
    def of(
        cls,
        request: Request,
        *,
        made_at: datetime,
        policy: PolicyVersion,
        disclosure: Any,
        purposes: Mapping[str, str],
        receivers: tuple[InForce, ...] = (),
    ) -> About:
        """About a request."""
        return cls(
            request=request.id,
            kind=request.kind,
            language=request.language,
            received_at=request.received_at,
            made_at=made_at,
            policy=policy,
            disclosure=disclosure,
            purposes=purposes,
            receivers=receivers,
        )

    @property
    def instructed(self) -> bool:
        """Is it a tenant's instruction: data that the tenant stores, for the tenant?"""
        return self.kind is RequestKind.TENANT_INSTRUCTION


@dataclass(frozen=True, kw_only=True)
class FileTold:
    """A person's file as it lies in the bag: its path from the bag's `data/`, the name that people know, its bytes, its sha256 in hex."""

    path: str
    name: str = field(repr=False)
    size: int
    sha256: str


@dataclass(kw_only=True)
class SectionTold:
    """What a part holds of a section, gathered while it was written: `first` rows to show, rows by year of the first instant they have
    (None: they have none), how often each column was masked, and where its files lie, from the bag's `data/`."""

    section: Section
    rows: int = 0
    shared: int = 0
    first: list[Row] = field(default_factory=list, repr=False)
    years: dict[int | None, int] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    files: list[FileTold] = field(default_factory=list)
    json: list[str] = field(default_factory=list)
    csv: list[str] = field(default_factory=list)
    ics: list[str] = field(default_factory=list)
    schema: str = ""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a part holds beside its sections, for its page to link: its files of cards, from the bag's `data/`, and whether it lists the parts."""

    cards: tuple[str, ...] = ()
    parts: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """A written part: its number from 1, its bytes and their sha256, its rows by section id, its files, and how many values were masked."""

    number: int
    bytes: int
    sha256: str
    rows: Mapping[str, int]
    files: int
    masked: int
