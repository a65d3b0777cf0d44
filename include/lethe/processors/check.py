"""What the register claims, against itself, the catalog and what persons are told: `lethe check` and the weekly audit ask it. Pure.

A **flow** is a dataset and a kind of recipient. `disclosure.yaml` declares flows (`recipients:` of a dataset), the register says who is behind
each; both have the same ones, or one of them is wrong. Findings name ids, never a company or a contact.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from lethe.catalog.disclosure import FILE as DISCLOSURE
from lethe.catalog.disclosure import Disclosure
from lethe.catalog.model import Catalog, Prefix, Table
from lethe.findings import CheckFinding, Kind
from lethe.frozen import Frozen
from lethe.policy.model import Id
from lethe.processors.agreements import check_agreements
from lethe.processors.chain import check_chain, check_links
from lethe.processors.history import as_of
from lethe.processors.load import FILE
from lethe.processors.model import (
    InForce,
    Processor,
    ProcessorKind,
    Recipient,
    RecipientKind,
    Register,
    TransferTool,
    Version,
)

REGISTER_KINDS = frozenset[Kind](
    {
        "agreement missing",
        "agreement over",
        "entry without flow",
        "flow not declared",
        "flow to nobody",
        "loop of sub-processors",
        "no register",
        "register begins later",
        "sub-processor unknown",
        "tool without transfer",
        "transfer without tool",
    }
)
"""The kinds of finding that are about the register alone. Names that lead nowhere are "name not known" and "purpose not known", as elsewhere."""


class Flow(Frozen):
    """A dataset that goes to a kind of recipient, and the entry that receives it there."""

    dataset: Id
    kind: ProcessorKind | RecipientKind
    entry: Id


def flows(entries: tuple[InForce, ...]) -> tuple[Flow, ...]:
    """What the company itself hands out on a day, by the entries in force then. What a processor passes on is no flow of the company's."""
    return tuple(Flow(dataset=d, kind=e.version.kind, entry=e.id) for e in entries if e.direct for d in e.version.datasets)


def no_register() -> CheckFinding:
    """That the file is not there at all."""
    return _finding(
        "no register",
        FILE,
        "There is no such file: nobody can be told which companies receive data.",
        f"Write it beside {DISCLOSURE}; without a processor it says `processors: []`.",
    )


def check_register(register: Register, catalog: Catalog, disclosure: Disclosure, *, on: date) -> list[CheckFinding]:
    """Everything that the register says and that is not so, on the day `on`; agreements and the chain on every day up to it.

    What a dead version says of the catalog is not held against the catalog of today.
    """
    begins = register.begins_on
    if begins is not None and on < begins:
        return [_finding("register begins later", FILE, f"It begins on {begins}: nothing is known of {on}.", "Add what was true before.")]
    entries = as_of(register, on)
    return [
        *_names(register, catalog, on),
        *_persons(register, disclosure),
        *_transfers(register, on),
        *check_agreements(register, on),
        *check_chain(register),
        *check_links(entries),
        *_flows(entries, disclosure),
    ]


def _names(register: Register, catalog: Catalog, on: date) -> Iterator[CheckFinding]:
    """What versions that are not over name and nobody defines."""
    datasets = catalog.datasets()
    for where, version in _living(register, on):
        for category in version.person_categories:
            if category not in register.person_categories:
                yield _finding(
                    "name not known", f"{where} {category}", "It is no category of persons.", "Define it under `person_categories:`."
                )
        for dataset in version.datasets:
            if dataset not in datasets:
                yield _finding(
                    "name not known", f"{where} {dataset}", "It is no dataset of the catalog.", "Remove it, or correct its name."
                )
        entries = [datasets[d][1] for d in version.datasets if d in datasets]
        used = {p for e in entries for p in _purposes(e)}
        for purpose in version.purposes:
            if purpose not in catalog.purposes:
                yield _finding(
                    "purpose not known",
                    f"{where} {purpose}",
                    "It is no purpose of the catalog.",
                    "Data goes out for the company's purposes only.",
                )
            elif entries and purpose not in used:
                yield _finding(
                    "purpose not known", f"{where} {purpose}", "No dataset that it receives is used for it.", "Remove the purpose."
                )
        held = {c for e in entries for c in _categories(e)}
        for key in version.data_categories:
            if entries and not any(_within(key, c) or _within(c, key) for c in held):
                yield _finding("name not known", f"{where} {key}", "No dataset that it receives holds data of this category.", "Remove it.")


def _persons(register: Register, disclosure: Disclosure) -> Iterator[CheckFinding]:
    """Whose data a dataset is, in ids that the register has no words for: the record of processing could not say it."""
    for dataset, told in disclosure.datasets.items():
        for category in told.persons:
            if category not in register.person_categories:
                yield _finding(
                    "name not known",
                    f"{DISCLOSURE} {dataset} {category}",
                    "It is no category of persons.",
                    f"Define it under `person_categories:` of {FILE}.",
                )


def _transfers(register: Register, on: date) -> Iterator[CheckFinding]:
    for where, version in _living(register, on):
        for location in version.locations:
            if location.in_eea and location.tool is not TransferTool.NONE_NEEDED:
                yield _finding(
                    "tool without transfer",
                    f"{where} {location.country}",
                    "Data there stays in the EEA: no tool is needed.",
                    "Remove `tool:`.",
                )
            if not location.in_eea and location.tool is TransferTool.NONE_NEEDED:
                yield _finding(
                    "transfer without tool",
                    f"{where} {location.country}",
                    "Data leaves the EEA on no ground (GDPR Chapter V).",
                    f"Write `tool:` with one of {', '.join(t for t in TransferTool if t is not TransferTool.NONE_NEEDED)}; without one, data may not go there.",
                )
        if not version.seat_in_eea and version.country not in {x.country for x in version.locations}:
            yield _finding(
                "transfer without tool",
                f"{where} {version.country}",
                "Its seat is outside the EEA, and is not among its locations.",
                "Add the country to `locations:` with its tool: a company there can be made to hand data out.",
            )


def _flows(entries: tuple[InForce, ...], disclosure: Disclosure) -> Iterator[CheckFinding]:
    declared = {(dataset, kind) for dataset, told in disclosure.datasets.items() for kind in told.recipients}
    received = {(f.dataset, str(f.kind)) for f in flows(entries)}
    for dataset, kind in sorted(declared - received):
        known = kind in [*ProcessorKind, *RecipientKind]
        yield _finding(
            "flow to nobody",
            f"{DISCLOSURE} {dataset} {kind}",
            "No entry of this kind receives the dataset." if known else "It is no kind of entry that the register knows.",
            f"Add the dataset to an entry of {FILE} that is active, or remove the recipient from the dataset.",
        )
    for entry in (e for e in entries if e.direct):
        if not entry.version.datasets:
            yield _finding(
                "entry without flow", f"{FILE} {entry.id}", "It receives no dataset.", "Name what it receives, or end it with `active_to:`."
            )
        for dataset in entry.version.datasets:
            if dataset in disclosure.datasets and (dataset, str(entry.version.kind)) not in declared:
                yield _finding(
                    "flow not declared",
                    f"{FILE} {entry.id} {dataset}",
                    f"Persons are not told that this dataset goes to a recipient of the kind `{entry.version.kind}`.",
                    f"Add it to the dataset's `recipients:` in {DISCLOSURE}, or remove the dataset here.",
                )


def _living(register: Register, on: date) -> Iterator[tuple[str, Version]]:
    entries: tuple[Processor | Recipient, ...] = register.entries
    for entry in entries:
        for version in entry.versions:
            if version.active_to is None or version.active_to >= on:
                yield f"{FILE} {entry.id}", version


def _purposes(entry: Table | Prefix) -> set[str]:
    own = {p for c in getattr(entry, "columns", {}).values() for p in c.purposes or ()}
    return own | set(entry.purposes)


def _categories(entry: Table | Prefix) -> set[str]:
    return set(entry.contents) if isinstance(entry, Prefix) else {c.category for c in entry.columns.values()}


def _within(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.")


def _finding(kind: Kind, where: str, problem: str, fix: str) -> CheckFinding:
    return CheckFinding(kind=kind, where=where, problem=problem, fix=fix)
