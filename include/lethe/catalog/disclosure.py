"""What a person is told of the data that is held: titles, sources, recipients, periods, in words (GDPR Article 15(1)). Pure but for the reading.

`disclosure.yaml` lies in the company's folder, beside its catalog: the words are the company's own, and no code knows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from lethe.catalog.model import Catalog
from lethe.catalog.scan import TO_DECIDE
from lethe.findings import CheckFinding, Kind
from lethe.frozen import Frozen
from lethe.policy.model import Bilingual, Id, PolicyVersion, Role, Words
from lethe.yamlfile import load

FILE = "disclosure.yaml"


class Told(Frozen):
    """A dataset, as a person reads of it."""

    title: Bilingual
    source: Bilingual | None = Field(
        default=None, description="Where its data comes from, as a sentence (Article 15(1)(g)). Company data (role: controller) needs one."
    )
    persons: tuple[Id, ...] = Field(
        default=(), description="Whose data it is: ids of `person_categories` in `processors.yaml`; the record of processing names them."
    )
    recipients: tuple[Id, ...] = Field(default=(), description="Who receives it, by id. Empty: nobody outside the company.")


class Disclosure(Frozen):
    """`disclosure.yaml`: what a person is told of each dataset."""

    datasets: dict[Id, Told] = Field(
        description="Every dataset of the catalog whose data is the company's own, and what tenants store too."
    )
    recipients: dict[Id, Bilingual] = Field(default={}, description="Recipients or categories of them (Article 15(1)(c)).")
    purposes: dict[Id, Words] = Field(default={}, description="Each purpose in French; the English words are those of `purposes.yaml`.")
    clocks: dict[Id, Bilingual] = Field(
        default={}, description="What a period counts from, as words that fit behind `after`: `the last message`, `le dernier message`."
    )
    subsets: dict[Id, Bilingual] = Field(default={}, description="Which rows a rule of a subset is about: `refusals`, `refus`.")


def load_disclosure(folder: Path) -> Disclosure:
    """The file of the company's folder. Raises InvalidFile with file, line and fix; what it leaves out is found by `lethe check`."""
    return load(Disclosure, folder / FILE)


def check_disclosure(disclosure: Disclosure, catalog: Catalog, policy: PolicyVersion) -> list[CheckFinding]:
    """Everything that a person could not be told, and every word about nothing. Company data stops until it can be told of."""
    return [
        *_datasets(disclosure, catalog),
        *_recipients(disclosure),
        *_purposes(disclosure, catalog),
        *_periods(disclosure, catalog, policy),
        *_undecided(disclosure),
    ]


def no_disclosure() -> CheckFinding:
    """That the file is not there at all."""
    return _finding(
        "not disclosed", FILE, "There is no such file: nobody can be told what is held about them.", "Write it beside `catalog/`."
    )


def _finding(kind: Kind, where: str, problem: str, fix: str) -> CheckFinding:
    return CheckFinding(kind=kind, where=where, problem=problem, fix=fix, stops=True)


def _datasets(disclosure: Disclosure, catalog: Catalog) -> Iterator[CheckFinding]:
    datasets = catalog.datasets()
    for name, (_, entry) in datasets.items():
        told = disclosure.datasets.get(name)
        if told is None:
            yield _finding("not disclosed", name, f"{FILE} has no words for this dataset.", f"Add it under `datasets:` of {FILE}.")
        elif entry.role is Role.CONTROLLER and told.source is None:
            yield _finding("not disclosed", name, f"{FILE} does not say where its data comes from.", "Add its `source:`.")
    for name in disclosure.datasets:
        if name not in datasets:
            yield _finding("name not known", f"{FILE} {name}", "It is no dataset of the catalog.", "Remove it, or correct its name.")


def _recipients(disclosure: Disclosure) -> Iterator[CheckFinding]:
    for name, told in disclosure.datasets.items():
        for recipient in told.recipients:
            if recipient not in disclosure.recipients:
                yield _finding("name not known", f"{FILE} {name}", f"`{recipient}` is no recipient.", "Define it under `recipients:`.")


def _purposes(disclosure: Disclosure, catalog: Catalog) -> Iterator[CheckFinding]:
    for purpose in catalog.purposes:
        if purpose not in disclosure.purposes:
            yield _finding("not disclosed", f"purpose {purpose}", "It has no French words.", f"Add it under `purposes:` of {FILE}.")
    for purpose in disclosure.purposes:
        if purpose not in catalog.purposes:
            yield _finding("purpose not known", f"{FILE} {purpose}", "It is no purpose of the catalog.", "Remove it, or correct its name.")


def _periods(disclosure: Disclosure, catalog: Catalog, policy: PolicyVersion) -> Iterator[CheckFinding]:
    """Rules about company data that the catalog has: what each counts from, and which rows it is about."""
    there = {entry.category for _, entry in catalog.datasets().values() if entry.role is Role.CONTROLLER}
    rules = [r for r in policy.rules if r.category in there]
    for clock in dict.fromkeys(r.clock for r in rules):
        if clock not in disclosure.clocks:
            yield _finding(
                "not disclosed", f"clock {clock}", "A period counts from it, and it has no words.", f"Add it under `clocks:` of {FILE}."
            )
    for subset in dict.fromkeys(r.subset for r in rules if r.subset):
        if subset not in disclosure.subsets:
            yield _finding(
                "not disclosed", f"subset {subset}", "A rule is about it, and it has no words.", f"Add it under `subsets:` of {FILE}."
            )


def _undecided(disclosure: Disclosure) -> Iterator[CheckFinding]:
    """Words that `lethe scan` left open: nobody is to read them."""
    for part in ("datasets", "recipients", "purposes", "clocks", "subsets"):
        for name, words in disclosure.model_dump(mode="json")[part].items():
            if TO_DECIDE in str(words):
                yield _finding(
                    "not disclosed",
                    f"{FILE} {part}.{name}",
                    f"Its words are still {TO_DECIDE}.",
                    "Write them for the people who read them.",
                )
