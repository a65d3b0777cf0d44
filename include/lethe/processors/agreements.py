"""Agreements: a processor has one on every day that it is active (promise `under-contract`), and what ends soon is told in time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from lethe.findings import CheckFinding, Kind
from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.load import FILE
from lethe.processors.model import Processor, ProcessorVersion, Register


class EndingAgreement(Frozen):
    """An agreement that ends soon and is not yet renewed: its last day, and how many days that is from the day asked. Internal."""

    id: Id
    legal_name: str
    reference: str
    last_day: date
    days_left: int


def agreements_ending(register: Register, on: date) -> tuple[EndingAgreement, ...]:
    """The agreements in force on a day that end within the register's `warn_before_end` of it, the nearest first.

    Left out is one after whose last day the processor is not active, or has an agreement in a version that follows.
    """
    until = register.warn_before_end.after(on)
    found: list[EndingAgreement] = []
    for entry in register.processors:
        version = next((v for v in entry.versions if v.active_on(on)), None)
        agreement = version.agreement if version is not None else None
        if version is None or agreement is None or agreement.in_force_to is None or not agreement.covers(on):
            continue
        last = agreement.in_force_to
        if last <= until and _needed_after(entry, last):
            found.append(
                EndingAgreement(
                    id=entry.id, legal_name=version.legal_name, reference=agreement.reference, last_day=last, days_left=(last - on).days
                )
            )
    return tuple(sorted(found, key=lambda e: (e.last_day, e.id)))


def check_agreements(register: Register, on: date) -> Iterator[CheckFinding]:
    """Each processor that was active, on any day up to `on` and with it, under no agreement. One finding for each stretch of days."""
    for entry in register.processors:
        for version in entry.versions:
            if version.active_from <= on:
                yield from _uncovered(entry, version, min(version.active_to or on, on))


def _uncovered(entry: Processor, version: ProcessorVersion, last: date) -> Iterator[CheckFinding]:
    agreement, first = version.agreement, version.active_from
    if agreement is None:
        yield _finding(
            "agreement missing", entry, f"From {first} it is active under no agreement.", "Sign one, and name it in `agreement:`."
        )
        return
    if agreement.in_force_from > first:
        before = min(agreement.in_force_from - timedelta(days=1), last)
        problem = f"From {first} to {before} it was active under no agreement: this one begins later."
        yield _finding("agreement missing", entry, problem, "Name the agreement of that time in a version of its own, or correct the days.")
    if agreement.in_force_to is not None and agreement.in_force_to < last:
        after = max(agreement.in_force_to + timedelta(days=1), first)
        problem = f"From {after} to {last} it is active, and its agreement is over."
        yield _finding("agreement over", entry, problem, "Add a version with the renewed agreement, or end the entry with `active_to:`.")


def _finding(kind: Kind, entry: Processor, problem: str, fix: str) -> CheckFinding:
    return CheckFinding(kind=kind, where=f"{FILE} {entry.id}", problem=problem, fix=fix)


def _needed_after(entry: Processor, last: date) -> bool:
    """Is the processor active on the day after, under no agreement that is known yet?"""
    after = last + timedelta(days=1)
    version = next((v for v in entry.versions if v.active_on(after)), None)
    return version is not None and (version.agreement is None or not version.agreement.covers(after))
