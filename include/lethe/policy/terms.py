"""The periods within which people and the authority are answered and told, as `policy.yaml` says them. Pure."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from lethe.frozen import Frozen
from lethe.policy.period import CalendarPeriod, Period


def _days_only(period: Period) -> Period:
    if period.months or period.business_days or period.days < 1:
        raise ValueError(f"{period.text!r} is no number of days: write P15D")
    return period


DaysPeriod = Annotated[
    Period,
    AfterValidator(_days_only),
    WithJsonSchema({"type": "string", "pattern": r"^P[0-9]+[DW]$", "description": "ISO 8601, whole days: P15D"}),
]
"""A period that is counted back from a day: days only, since a month back from the 31st is no day that everybody would name."""

_LAW = {"legal": Period("P1M"), "extended": Period("P3M")}
_LAWFUL_HOURS = 72


class Terms(Frozen):
    """Until when a question and a request are answered, an incident is told and a new version is announced."""

    reply: Period = Field(default=Period("P5BD"), description="A question or a request is answered within this, as the text promises.")
    warned: Period = Field(default=Period("P3BD"), description="Who answers is warned from this on: shorter than `reply`.")
    legal: CalendarPeriod = Field(default=_LAW["legal"], description="The deadline of GDPR Article 12(3), from receipt.")
    extended: CalendarPeriod = Field(
        default=_LAW["extended"], description="The same where it was extended: in all, from receipt, not from the first deadline."
    )
    legal_warned: DaysPeriod = Field(default=Period("P7D"), description="Who answers is warned this long before the legal deadline.")
    incident_hours: int = Field(
        default=_LAWFUL_HOURS, ge=1, le=_LAWFUL_HOURS, description="Elapsed hours from knowing of an incident to the last notice of it."
    )
    notice: DaysPeriod = Field(default=Period("P15D"), description="Material changes are sent at least this long before they take effect.")
    alsace_moselle: bool = Field(default=False, description="Whether Good Friday and 26 December are holidays too.")

    @model_validator(mode="after")
    def _warns_in_time_and_keeps_the_law(self) -> Self:
        if not self.warned < self.reply:
            raise ValueError("`warned` is not shorter than `reply`: the warning would come too late")
        for name, most in _LAW.items():
            given: Period = getattr(self, name)
            if given.months + -(-given.days // 28) > most.months:  # 30 days are longer than a month in February
                raise ValueError(f"`{name}` is longer than the law allows (GDPR, Article 12(3)): at most {most}")
        if not self.legal < self.extended:
            raise ValueError("`extended` is counted from receipt too: longer than `legal`, at most P3M")
        return self
