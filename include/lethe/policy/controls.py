"""What keeps a promise, as the promises file names it: a rule, a DAG, a check, a person's word, or the plain admission that it is not built. Pure.

A name that leads nowhere is no error here: the promise report shows it as missing, and `lethe check` lists it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema, model_validator

from lethe.frozen import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$", max_length=80)]
_ELAPSED = re.compile(r"^P(?:T([1-9]\d{0,4})H|([1-9]\d{0,3})D)$")


def _elapsed(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = _ELAPSED.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("an age of evidence is elapsed time in hours or days: write PT26H or P8D")
    return timedelta(hours=int(match[1] or 0), days=int(match[2] or 0))


def written(age: timedelta) -> str:
    """As the file has it: P8D for whole days, PT26H otherwise."""
    hours = int(age.total_seconds()) // 3600
    return f"P{hours // 24}D" if hours % 24 == 0 else f"PT{hours}H"


Elapsed = Annotated[
    timedelta,
    BeforeValidator(_elapsed),
    PlainSerializer(written, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _ELAPSED.pattern, "description": "elapsed time: PT26H, P8D"}),
]
"""How old evidence may be. Elapsed hours, not calendar days: a nightly run that did not come shows the same morning."""


class ControlKind(StrEnum):
    """What a control is."""

    RULE = "rule"
    DAG = "dag"
    CHECK = "check"
    ATTESTATION = "attestation"
    UNBUILT = "unbuilt"


class Control(Frozen):
    """One thing that keeps a promise: exactly one of `rule`, `dag`, `check`, `attestation` and `unbuilt`."""

    rule: Name | None = Field(default=None, description="A rule of rules.yaml: proven by the last run that carried it out.")
    dag: Name | None = Field(
        default=None, description="A DAG on a schedule: its file must be there, and the record that it leaves must be fresh."
    )
    check: Name | None = Field(default=None, description="A check of the code, made anew for each report or read from the last audit.")
    attestation: Name | None = Field(
        default=None, description="What no program can see: a person vouches for it until a day (`lethe attest`)."
    )
    unbuilt: str | None = Field(default=None, min_length=5, description="A control that is still to be built, in words. Shown as missing.")
    evidence: Name | None = Field(default=None, description="Of a `dag`: which record of the ledger shows that it ran.")
    fresh_for: Elapsed | None = Field(
        default=None,
        description="How old its evidence may be (PT26H, P8D); for an attestation, for how long it may be given. The file's own `fresh_for` when left out.",
    )

    @property
    def kind(self) -> ControlKind:
        """Which of the five it is."""
        return next(k for k in ControlKind if getattr(self, k.value) is not None)

    @property
    def name(self) -> str:
        """The rule's, DAG's, check's or attestation's id; the words of what is not built."""
        return str(getattr(self, self.kind.value))

    @property
    def id(self) -> str:
        """Kind and name: `rule:technical-logs`."""
        return f"{self.kind.value}:{self.name}"

    @property
    def key(self) -> str:
        """What is looked at: the id, and of a DAG the evidence too. Two promises may name one DAG for different work of it."""
        return self.id if self.evidence is None else f"{self.id} {self.evidence}"

    @model_validator(mode="after")
    def _is_one_thing(self) -> Control:
        if sum(getattr(self, k.value) is not None for k in ControlKind) != 1:
            raise ValueError("a control is exactly one of rule, dag, check, attestation and unbuilt")
        if (self.dag is not None) != (self.evidence is not None):
            raise ValueError("a `dag` names the `evidence` that it leaves, and nothing else has one")
        if self.unbuilt is not None and self.fresh_for is not None:
            raise ValueError("what is not built has no evidence: leave `fresh_for` out")
        return self


class FreshFor(Frozen):
    """How old the evidence of a control may be that does not say so itself, by kind. A DAG has its own schedule, so it always says so."""

    rule: Elapsed | None = None
    check: Elapsed | None = None
    attestation: Elapsed | None = Field(default=None, description="For how long a person may vouch for something at most.")

    def of(self, control: Control) -> timedelta | None:
        """How old this control's evidence may be; None for what is not built."""
        return control.fresh_for or getattr(self, control.kind.value, None)
