"""The policy as values: one dated version of the published text, its rules, its promises. Pure: no clock, no I/O."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from lethe.frozen import Frozen, digest
from lethe.policy.controls import Control, ControlKind, FreshFor
from lethe.policy.period import CalendarPeriod
from lethe.policy.terms import Terms

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=80)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


Words = Annotated[str, StringConstraints(min_length=2)]


class Bilingual(Frozen):
    """The same words in French and in English."""

    fr: Words
    en: Words

    def of(self, language: str) -> str:
        """The words in `fr` or `en`."""
        return self.fr if language == "fr" else self.en


class Role(StrEnum):
    """Whose data it is (GDPR Article 4): the company's own about people, or what its customers store with it."""

    CONTROLLER = "controller"
    PROCESSOR = "processor"


class Need(StrEnum):
    """What a rule needs before it may act. A rule with an unmet need does not run at all, and the plan says so."""

    ARCHIVE = "archive"
    RETURN_RECORD = "return_record"
    WARNING = "warning"
    REQUESTS = "requests"
    INCIDENTS = "incidents"
    PROCESSORS = "processors"
    SEALED_SEGMENTS = "sealed_segments"
    BACKUPS = "backups"


class Archive(Frozen):
    """What a law keeps after the retention period: for how long, under which law, on which ground, and which columns of which dataset.

    The period counts from the rule's own clock. Columns that are not named here are deleted with the row.
    """

    period: CalendarPeriod
    law: str = Field(min_length=3)
    ground: Literal["obligation", "claims"]
    columns: dict[Id, tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$", max_length=63)], ...]] = Field(
        description="By dataset of the rule's category, the columns that the law needs. A dataset that is not named is an error."
    )


class Guard(Frozen):
    """Beyond this a step waits for a named person: its share of the table (0 to 1), its number of rows, and how many
    times the 95th percentile of its own past runs."""

    max_share: float = Field(gt=0, le=1)
    max_rows: int = Field(gt=0)
    max_times_usual: int = Field(default=10, gt=1)


class Rule(Frozen):
    """What happens to a category of data: by which clock, after which period, under which law."""

    id: Id
    promise: Id
    quote: str | None = Field(
        default=None, description="Words of the published text that this rule keeps. None: a period that is applied but not published."
    )
    category: Id = Field(description="The retention category of the catalog that this rule covers.")
    subset: Id | None = Field(default=None, description="A named subset of rows that the datasets of the category define.")
    role: Role
    clock: Id = Field(description="A named clock that the datasets of the category define.")
    period: CalendarPeriod
    then: Literal["delete", "archive"] = "delete"
    archive: Archive | None = None
    live_contract: Literal["ignored", "keeps"] = Field(
        default="ignored", description="keeps: while a contract of the row's tenant lives, the row is not due."
    )
    kept_for: tuple[Id, ...] = Field(
        default=(),
        description="Retention categories: while the row's tenant has a row in one of their datasets, the row is not due (logins that retrieval needs).",
    )
    needs: tuple[Need, ...] = ()
    guard: Guard | None = None
    why: str = Field(description="The law, the authority's text or the company's own choice behind the period.")

    @model_validator(mode="after")
    def _archive_is_named(self) -> Rule:
        if (self.then == "archive") != (self.archive is not None):
            raise ValueError("`then: archive` needs an `archive:` block with period, law and ground, and nothing else has one")
        if self.then == "archive" and Need.ARCHIVE not in self.needs:
            raise ValueError("a rule that archives must list `archive` under `needs`")
        if self.then == "archive" and self.role is not Role.CONTROLLER:
            raise ValueError(
                "a rule that archives is about the company's own data (role: controller): what tenants store is theirs to keep"
            )
        return self


class Promise(Frozen):
    """A sentence of the policy and what keeping it means."""

    id: Id
    quotes: tuple[str, ...] = Field(description="The sentence or sentences, word for word (white space aside).")
    means: str
    proof: str
    controls: tuple[Control, ...] = Field(description="What keeps it. An empty list says that nothing does; the promise report shows that.")


class NoPromise(Frozen):
    """Words of the published text that promise nothing, such as a heading, and why."""

    text: str = Field(min_length=1, description="Word for word (white space aside).")
    why: str = Field(min_length=3)


class PolicyVersion(Frozen):
    """One dated version of the published text with everything that hangs on it."""

    company: str
    published_on: date
    effective_on: date
    time_zone: str
    authority: str
    text_file: str = "policy.txt"
    text_sha256: Sha256
    backup_window: CalendarPeriod
    guard: Guard
    deadlines: Terms = Field(default=Terms(), description="Until when people are answered and told.")
    rules: tuple[Rule, ...]
    promises: tuple[Promise, ...]
    fresh_for: FreshFor = Field(default=FreshFor(), description="How old evidence may be, by kind of control.")
    unbound: tuple[str, ...] = Field(default=(), description="Documents the text refers to that are not here.")
    no_promise: tuple[NoPromise, ...] = Field(
        default=(),
        description="What stands in the text and promises nothing. A sentence that is neither quoted nor here is listed as unbound.",
    )
    representative: str | None = Field(
        default=None, description="The representative in the Union (GDPR Article 27); none is written out as null."
    )
    contact: str | None = Field(
        default=None,
        pattern=r"^[^\s@]+@[^\s@]+\.[^\s@]+$",
        description="Where people write about their data; answers name it. None: the address that answers are sent from.",
    )
    authority_address: str | None = Field(
        default=None, min_length=5, description="The authority's postal address, on one line; answers name it."
    )
    authority_page: str | None = Field(default=None, min_length=5, description="The authority's page for complaints; answers name it.")
    address: str | None = Field(
        default=None, min_length=5, description="The company's postal address, on one line (GDPR Article 30(1)(a))."
    )
    dpo: Bilingual | None = Field(
        default=None, description="The data protection officer and how to reach them (GDPR Article 30(1)(a)). None: none is declared."
    )
    acts_for: Bilingual | None = Field(
        default=None, description="For whom the company is a processor, as categories of controllers (GDPR Article 30(2)(a))."
    )
    measures: tuple[Bilingual, ...] = Field(
        default=(), description="Technical and organisational security measures, in general terms (GDPR Articles 30(1)(g) and 32)."
    )
    transfers: tuple[str, ...] = Field(
        default=(),
        description="Transfers to third countries that the text names, each with its safeguard (GDPR Chapter V): the country by its code or its name "
        "in French or English, a colon, the safeguard (`US: standard contractual clauses`).",
    )
    transfers_promise: Id | None = Field(
        default=None,
        description="The promise under which the promise report lists transfers of the register that are not among `transfers`.",
    )

    @property
    def version(self) -> str:
        """The day it takes effect, which is also its folder's name."""
        return self.effective_on.isoformat()

    @property
    def digest(self) -> str:
        """sha256 over all of it, the text's own digest included."""
        return digest(self)

    def rule(self, rule_id: str) -> Rule:
        """The rule of that id; KeyError when there is none."""
        return next(r for r in self.rules if r.id == rule_id)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> PolicyVersion:
        for what, ids in (("rule", [r.id for r in self.rules]), ("promise", [p.id for p in self.promises])):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if twice:
                raise ValueError(f"{what} id used twice: {', '.join(twice)}")
        promises = {p.id for p in self.promises}
        unknown = sorted({r.promise for r in self.rules} - promises)
        if unknown:
            raise ValueError(f"rules name promises that do not exist: {', '.join(unknown)}")
        if self.transfers_promise is not None and self.transfers_promise not in promises:
            raise ValueError(f"`transfers_promise` names a promise that does not exist: {self.transfers_promise}")
        return self

    @model_validator(mode="after")
    def _evidence_has_an_age(self) -> PolicyVersion:
        ageless = sorted(
            f"{c.id} of {p.id}"
            for p in self.promises
            for c in p.controls
            if c.kind is not ControlKind.UNBUILT and self.fresh_for.of(c) is None
        )
        if ageless:
            raise ValueError(f"controls do not say how old their evidence may be (`fresh_for`): {', '.join(ageless)}")
        return self
