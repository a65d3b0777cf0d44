"""The register of processors as values: each company that receives data, with the history of what was true of it from when to when. Pure.

Every day is a whole day, and the last day counts: a version of `active_to: 2026-08-31` is followed by one of `active_from: 2026-09-01`.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from lethe.frozen import Frozen
from lethe.policy.model import Bilingual, Id
from lethe.policy.period import CalendarPeriod
from lethe.processors.countries import EEA, Country
from lethe.processors.shown import SHOWN


def _a_day(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("it is a number: write a day, such as 2026-05-01")
    return value


def _a_processor(value: Any) -> Any:
    if value not in list(ProcessorKind):
        raise ValueError(
            f"the published policy shares data with three kinds of processor only: write one of {', '.join(ProcessorKind)}, "
            "or make it an entry under `recipients:` when it decides itself what it does with the data"
        )
    return value


def _a_recipient(value: Any) -> Any:
    if value not in list(RecipientKind):
        raise ValueError(
            f"data is sold to nobody, and a recipient that is no processor is of a known kind: write one of {', '.join(RecipientKind)}"
        )
    return value


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("nothing is in it: name at least one")
    return values


# A length in the type itself would be complained of too whenever an item is wrong.
_SOME = Field(json_schema_extra={"minItems": 1})
Day = Annotated[date, BeforeValidator(_a_day)]
Line = Annotated[str, StringConstraints(min_length=2, max_length=300, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]*$")]
FideslangKey = Annotated[str, StringConstraints(pattern=r"^user(\.[a-z_]+)*$", max_length=120)]


class ProcessorKind(StrEnum):
    """The kinds of processor that the published policy names, under the ids of the recipients in `disclosure.yaml`. There is no other."""

    HOSTING = "hosting"
    EMAIL = "transactional-email"
    PAYMENT = "payment"


class RecipientKind(StrEnum):
    """Recipients that are no processors: each decides itself, under a law, what it does with the data. Nobody buys any."""

    AUTHORITY = "authority"
    BANK = "bank"
    PAYMENT_CONTROLLER = "payment-controller"


class ProcessorRole(StrEnum):
    """Whom a processor works for: the company itself, or another processor (GDPR Article 28(2) and (4))."""

    PROCESSOR = "processor"
    SUB_PROCESSOR = "sub-processor"


class TransferTool(StrEnum):
    """On what ground data may go to a country (GDPR Chapter V)."""

    NONE_NEEDED = "none-needed"
    ADEQUACY = "adequacy"
    SCC = "scc"
    BCR = "bcr"
    DEROGATION = "derogation"


class Location(Frozen):
    """A country where the data is, or from which it is read."""

    country: Country
    tool: TransferTool = Field(
        default=TransferTool.NONE_NEEDED,
        description="The ground of the transfer (GDPR Chapter V): `none-needed` in the EEA, and only there.",
    )
    reference: Line | None = Field(default=None, description="The decision, or the clauses and their module, behind the tool.")

    @property
    def in_eea(self) -> bool:
        """Does the data stay in the European Economic Area?"""
        return self.country in EEA


class Agreement(Frozen):
    """A data processing agreement (GDPR Article 28(3); between two processors, 28(4))."""

    reference: Line
    in_force_from: Day
    in_force_to: Day | None = Field(default=None, description="Its last day. None: until it is ended.")

    def covers(self, day: date) -> bool:
        """Is it in force on that day?"""
        return self.in_force_from <= day and (self.in_force_to is None or day <= self.in_force_to)

    @model_validator(mode="after")
    def _in_order(self) -> Agreement:
        if self.in_force_to is not None and self.in_force_to < self.in_force_from:
            raise ValueError("the agreement ends before it begins: correct `in_force_from` or `in_force_to`")
        return self


class AuditNote(Frozen):
    """What was found when the company was looked at, on that day."""

    day: Day
    note: Line


class Version(Frozen):
    """What is true of a company from one day to another, whole. A field that is marked `SHOWN` may be shown to a person who asks."""

    active_from: Annotated[Day, SHOWN] = Field(description="The first day.")
    active_to: Annotated[Day | None, SHOWN] = Field(default=None, description="The last day. None: until further notice.")
    legal_name: Annotated[Line, SHOWN]
    address: Annotated[Line, SHOWN] = Field(description="Of its seat, on one line.")
    country: Annotated[Country, SHOWN] = Field(description="Of its seat (ISO 3166-1 alpha-2). Outside the EEA it is a location too.")
    public_contact: Annotated[Line, SHOWN] = Field(
        description="Where anybody may write to it about data: a page or an address of the firm."
    )
    purposes: Annotated[tuple[Id, ...], AfterValidator(_some), _SOME, SHOWN] = Field(description="Purposes of the catalog.")
    data_categories: Annotated[tuple[FideslangKey, ...], AfterValidator(_some), _SOME, SHOWN] = Field(description="Fideslang keys.")
    person_categories: Annotated[tuple[Id, ...], AfterValidator(_some), _SOME, SHOWN] = Field(
        description="Ids of the register's `person_categories`."
    )
    datasets: Annotated[tuple[Id, ...], SHOWN] = Field(
        description="What it receives: datasets of the catalog. With its kind each is a flow, which `disclosure.yaml` must name too."
    )
    locations: Annotated[tuple[Location, ...], AfterValidator(_some), _SOME, SHOWN]
    guarantees: Annotated[tuple[Bilingual, ...], SHOWN] = Field(
        default=(), description="What it guarantees for the safety of the data (GDPR Articles 28(1) and 32)."
    )
    contact: Line = Field(description="Internal: whom we reach there.")
    audit_notes: tuple[AuditNote, ...] = Field(default=(), description="Internal.")

    def active_on(self, day: date) -> bool:
        """Is this what is true on that day?"""
        return self.active_from <= day and (self.active_to is None or day <= self.active_to)

    @property
    def seat_in_eea(self) -> bool:
        """Is its seat in the European Economic Area?"""
        return self.country in EEA

    @model_validator(mode="after")
    def _in_order(self) -> Version:
        if self.active_to is not None and self.active_to < self.active_from:
            raise ValueError("the version ends before it begins: correct `active_from` or `active_to`")
        return self

    @model_validator(mode="after")
    def _nothing_twice(self) -> Version:
        for name in ("purposes", "data_categories", "person_categories", "datasets"):
            _once(name, getattr(self, name))
        _once("locations", [x.country for x in self.locations])
        return self


class ProcessorVersion(Version):
    """A processor, as it is from one day to another."""

    role: Annotated[ProcessorRole, SHOWN] = ProcessorRole.PROCESSOR
    kind: Annotated[ProcessorKind, BeforeValidator(_a_processor), SHOWN]
    sub_processors: Annotated[tuple[Id, ...], SHOWN] = Field(default=(), description="Processors it passes data on to, by id.")
    end_of_contract: Annotated[Literal["return", "delete"], SHOWN] = Field(
        description="What it does with the data when the contract ends (GDPR Article 28(3)(g))."
    )
    agreement: Agreement | None = Field(
        default=None, description="Internal. The data processing agreement: on every day that the processor is active there must be one."
    )
    breach_contact: Line = Field(description="Internal: who tells us of a breach there, and how we reach them at any hour.")

    @model_validator(mode="after")
    def _no_sub_processor_twice(self) -> ProcessorVersion:
        _once("sub_processors", self.sub_processors)
        return self


class RecipientVersion(Version):
    """A recipient that is no processor, as it is from one day to another."""

    kind: Annotated[RecipientKind, BeforeValidator(_a_recipient), SHOWN]
    why: Annotated[Bilingual, SHOWN] = Field(description="The law or the contract under which it receives the data.")


class Processor(Frozen):
    """An entry: one processor, with its history."""

    id: Id
    versions: Annotated[tuple[ProcessorVersion, ...], AfterValidator(_some), _SOME] = Field(
        description="Its history, oldest first; a renewed agreement is a new version."
    )

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Processor:
        _one_at_a_time(self.versions)
        return self


class Recipient(Frozen):
    """An entry: one recipient that is no processor, with its history."""

    id: Id
    versions: Annotated[tuple[RecipientVersion, ...], AfterValidator(_some), _SOME] = Field(description="Its history, oldest first.")

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Recipient:
        _one_at_a_time(self.versions)
        return self


class Register(Frozen):
    """`processors.yaml`: the companies that receive data, and what was true of each from when to when."""

    warn_before_end: CalendarPeriod = Field(description="How long before an agreement ends it is warned of, such as P60D.")
    person_categories: dict[Id, Bilingual] = Field(default={}, description="The groups of people whose data it is, in words.")
    processors: tuple[Processor, ...] = Field(default=(), description="Who processes data for the company (GDPR Article 28).")
    recipients: tuple[Recipient, ...] = Field(default=(), description="Who receives data and is no processor.")

    @property
    def entries(self) -> tuple[Processor | Recipient, ...]:
        """All of them, in the order of the file."""
        return (*self.processors, *self.recipients)

    @property
    def begins_on(self) -> date | None:
        """The first day of the first version; None when nothing is in it."""
        return min((v.active_from for e in self.entries for v in e.versions), default=None)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Register:
        _once("ids", [e.id for e in self.entries])
        return self


class InForce(Frozen):
    """An entry on one day: the version that is true then."""

    id: Id
    type: Literal["processor", "recipient"]
    version: ProcessorVersion | RecipientVersion

    @property
    def direct(self) -> bool:
        """Does it receive data from the company itself, and not from another processor?"""
        return not (isinstance(self.version, ProcessorVersion) and self.version.role is ProcessorRole.SUB_PROCESSOR)


def _once(what: str, values: Any) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"something is there twice under {what}: keep one of the two")


def _one_at_a_time(versions: tuple[ProcessorVersion, ...] | tuple[RecipientVersion, ...]) -> None:
    for number, (before, after) in enumerate(pairwise(versions), start=1):
        if before.active_to is None or after.active_from <= before.active_to:
            raise ValueError(
                f"its versions {number} and {number + 1} are not one after the other: end the older with `active_to:` before the first day of the newer"
            )
