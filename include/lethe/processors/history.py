"""The register on one day, and what changed between two. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Literal

from lethe.errors import BeforeRegister
from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.model import InForce, ProcessorVersion, RecipientVersion, Register
from lethe.processors.shown import shown_fields

_DATES = ("active_from", "active_to")


class FieldChange(Frozen):
    """One field, before and after, as plain JSON. `internal`: it may not be shown to a person who asks."""

    field: str
    old: Any
    new: Any
    internal: bool


class Added(Frozen):
    """An entry that is there from the day `on`, and was not the day before."""

    what: Literal["added"] = "added"
    on: date
    id: Id
    type: Literal["processor", "recipient"]
    version: ProcessorVersion | RecipientVersion


class Ended(Frozen):
    """An entry that is not there from the day `on`: its last day was the one before. `version` is what it was."""

    what: Literal["ended"] = "ended"
    on: date
    id: Id
    type: Literal["processor", "recipient"]
    version: ProcessorVersion | RecipientVersion


class Changed(Frozen):
    """An entry of which something else is true from the day `on`. `fields` leaves out the days themselves; it may be empty."""

    what: Literal["changed"] = "changed"
    on: date
    id: Id
    type: Literal["processor", "recipient"]
    before: ProcessorVersion | RecipientVersion
    after: ProcessorVersion | RecipientVersion
    fields: tuple[FieldChange, ...]


Change = Added | Ended | Changed


def as_of(register: Register, day: date) -> tuple[InForce, ...]:
    """The entries in force on a day: processors, then recipients, each by id.

    Raises BeforeRegister for a day before the first version. Of a register with nothing in it, nothing is in force on any day.
    """
    begins = register.begins_on
    if begins is not None and day < begins:
        raise BeforeRegister(f"The register of processors begins on {begins}.", fix="Ask for that day or a later one.")
    return tuple(
        sorted(
            (
                InForce(id=entry.id, type=type_, version=version)
                for type_, entries in _typed(register)
                for entry in entries
                for version in entry.versions
                if version.active_on(day)
            ),
            key=lambda e: (e.type, e.id),
        )
    )


def changes(register: Register, since: date, until: date) -> tuple[Change, ...]:
    """Everything that changed after the day `since`, up to the day `until` and with it, in order of its day, then type and id.

    What came and went in between is told too. Raises BeforeRegister as `as_of`, ValueError when `until` is the earlier.
    """
    if until < since:
        raise ValueError("the later day is the first of the two")
    as_of(register, since)
    found = [
        change
        for type_, entries in _typed(register)
        for entry in entries
        for change in _of_entry(entry.id, type_, entry.versions)
        if since < change.on <= until
    ]
    return tuple(sorted(found, key=lambda c: (c.on, c.type, c.id)))


def _typed(register: Register) -> tuple[tuple[Literal["processor", "recipient"], Any], ...]:
    return (("processor", register.processors), ("recipient", register.recipients))


def _of_entry(
    entry: str, type_: Literal["processor", "recipient"], versions: tuple[ProcessorVersion | RecipientVersion, ...]
) -> list[Change]:
    found: list[Change] = []
    before: ProcessorVersion | RecipientVersion | None = None
    for version in versions:
        if before is not None and _next_day(before) == version.active_from:
            found[-1:] = [_changed(entry, type_, before, version)]
        else:
            found.append(Added(on=version.active_from, id=entry, type=type_, version=version))
        # The end of the newest is taken back by `_changed` when another version follows at once.
        if (after := _next_day(version)) is not None:
            found.append(Ended(on=after, id=entry, type=type_, version=version))
        before = version
    return found


def _next_day(version: ProcessorVersion | RecipientVersion) -> date | None:
    """The first day after it; None when there is none, as after the last day of the calendar."""
    return None if version.active_to in (None, date.max) else version.active_to + timedelta(days=1)


def _changed(
    entry: str,
    type_: Literal["processor", "recipient"],
    before: ProcessorVersion | RecipientVersion,
    after: ProcessorVersion | RecipientVersion,
) -> Changed:
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    public = set(shown_fields(type(after)))
    fields = tuple(
        FieldChange(field=name, old=old[name], new=new[name], internal=name not in public)
        for name in type(after).model_fields
        if name not in _DATES and old[name] != new[name]
    )
    return Changed(on=after.active_from, id=entry, type=type_, before=before, after=after, fields=fields)
