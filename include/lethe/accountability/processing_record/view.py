"""The record of processing activities in words, in one language: what its page and its paper lay out. Pure.

As controller, an activity is a purpose of the catalog with all of the company's own data that serves it. As processor, one activity for what
customers store. Nothing is invented: what no file says is None here, and shown as not declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from lethe.accountability.processing_record.words import SENSITIVE, WORDS, word
from lethe.accountability.processor_list.words import kind_words, role_words, tool_words
from lethe.catalog.disclosure import Disclosure
from lethe.catalog.model import Catalog, Prefix, Table
from lethe.frozen import Frozen, digest
from lethe.policy.model import PolicyVersion, Role
from lethe.processors.countries import country_name
from lethe.processors.history import as_of as in_force_on
from lethe.processors.model import InForce, ProcessorVersion, Register
from lethe.subjects.answers.dates import written_day
from lethe.subjects.bundle.categories import OPERATIONS, category_words
from lethe.subjects.bundle.periods import retention, typeset


class Sources(Frozen):
    """What a record is made from, as of a day: the same sources, the same bytes."""

    register_: Register
    policy: PolicyVersion
    catalog: Catalog
    disclosure: Disclosure
    as_of: date


def view(sources: Sources, language: str) -> dict[str, Any]:
    """Everything that is shown, as texts; None for what no file says. Raises BeforeRegister."""
    policy, day = sources.policy, written_day(sources.as_of, language)
    entries = in_force_on(sources.register_, sources.as_of)
    controller = [_activity(sources, entries, p, language) for p in sources.catalog.purposes if _datasets(sources, Role.CONTROLLER, p)]
    processor = [_on_behalf(sources, entries, language)] if _datasets(sources, Role.PROCESSOR) else []
    sheets = [{**a, "sheet": word("sheet", language, number=n)} for n, a in enumerate([*controller, *processor], start=1)]
    return {
        "language": language,
        "company": policy.company,
        "title": word("title", language),
        "eyebrow": word("eyebrow", language),
        "lead": word("lead", language),
        "as_of": f"{word('as_of', language)} {day}",
        "day": day,
        "contact": policy.contact or "",
        "say": {name: word(name, language) for name, words in WORDS.items() if "{" not in words[0]},
        "organisation": _organisation(policy, language),
        "summary": [
            [str(n), s["name"], word(s["role"], language), _sentence(", ".join(map(_low, s["persons"])), language)]
            for n, s in enumerate(sheets, start=1)
        ],
        "controller": [s for s in sheets if s["role"] == "controller"],
        "processor": [s for s in sheets if s["role"] == "processor"],
        "measures": [_sentence(m.of(language), language) for m in policy.measures],
        "stated_transfers": list(policy.transfers),
        "provenance": [
            [word("p_register", language), digest(sources.register_)],
            [word("p_policy", language), policy.digest],
            [word("p_published_text", language), policy.text_sha256],
            [word("p_catalog", language), sources.catalog.digest],
            [word("p_disclosure", language), digest(sources.disclosure)],
        ],
    }


def _organisation(policy: PolicyVersion, language: str) -> list[list[Any]]:
    """Terms and texts; None where the policy's file says nothing."""
    return [
        [word("company", language), policy.company],
        [word("address", language), policy.address],
        [word("representative", language), policy.representative],
        [word("dpo", language), _sentence(policy.dpo.of(language), language) if policy.dpo else None],
        [word("contact", language), policy.contact],
        [word("joint", language), None],
        [word("authority", language), policy.authority],
        [word("in_force", language), word("version_of", language, day=written_day(policy.effective_on, language))],
    ]


def _activity(sources: Sources, entries: Iterable[InForce], purpose: str, language: str) -> dict[str, Any]:
    """A purpose as controller, with all of the company's own data that serves it."""
    words = _purpose(sources, purpose, language)
    datasets = _datasets(sources, Role.CONTROLLER, purpose)
    served = [e for e in entries if purpose in e.version.purposes]
    return {
        "role": "controller",
        "id": purpose,
        **_told(sources, served, datasets, language),
        "name": words.rstrip("."),
        "purposes": [words],
    }


def _on_behalf(sources: Sources, entries: Iterable[InForce], language: str) -> dict[str, Any]:
    """What customers store, as one activity as processor."""
    datasets = _datasets(sources, Role.PROCESSOR)
    purposes = dict.fromkeys(p for entry in datasets.values() for p in entry.purposes)
    behalf = sources.policy.acts_for
    told = _told(sources, entries, datasets, language)
    return {
        "role": "processor",
        "id": "on-behalf",
        **told,
        "name": _sentence(", ".join(_low(d[0]) for d in told["data"]), language),
        "behalf": _sentence(behalf.of(language), language) if behalf else None,
        "purposes": [_purpose(sources, p, language) for p in purposes],
    }


def _told(sources: Sources, entries: Iterable[InForce], datasets: Mapping[str, Table | Prefix], language: str) -> dict[str, Any]:
    disclosure, register = sources.disclosure, sources.register_
    told = {d: disclosure.datasets.get(d) for d in datasets}
    persons = dict.fromkeys(p for t in told.values() if t for p in t.persons)
    receiving = [e for e in entries if set(e.version.datasets) & set(datasets)]
    kinds = dict.fromkeys(r for t in told.values() if t for r in t.recipients)
    keys = {k for entry in datasets.values() for k in _keys(entry)}
    sensitive = sorted({category_words(k, language) for k in keys if any(k == s or k.startswith(f"{s}.") for s in SENSITIVE)})
    return {
        "persons": [
            _sentence(register.person_categories[p].of(language), language) if p in register.person_categories else p for p in persons
        ],
        "sensitive": sensitive,
        "data": [_row(sources, d, entry, language) for d, entry in datasets.items()],
        "recipient_kinds": [_sentence(disclosure.recipients[r].of(language), language) if r in disclosure.recipients else r for r in kinds],
        "recipients": [_recipient(e, language) for e in receiving],
        "transfers": [t for e in receiving for t in _transfers(e, language)],
    }


def _row(sources: Sources, dataset: str, entry: Table | Prefix, language: str) -> list[Any]:
    """A dataset: its title, its kinds of data, how long it is kept (None: no rule says), in which system."""
    told = sources.disclosure.datasets.get(dataset)
    kinds = dict.fromkeys(category_words(k, language) for k in _keys(entry))
    kept = retention(sources.policy, entry.category, sources.disclosure, language)
    title = typeset(told.title.of(language), language) if told else dataset
    return [title, ", ".join(kinds) or None, " ".join(kept) or None, sources.catalog.datasets()[dataset][0].id]


def _recipient(entry: InForce, language: str) -> list[str]:
    version = entry.version
    capacity = role_words(version.role, language) if isinstance(version, ProcessorVersion) else kind_words(version.kind, language)
    where = ", ".join(country_name(p.country, language) for p in version.locations)
    kind = f", {kind_words(version.kind, language)}" if isinstance(version, ProcessorVersion) else ""
    return [version.legal_name, f"{capacity}{kind}", where]


def _transfers(entry: InForce, language: str) -> list[list[str | None]]:
    return [
        [entry.version.legal_name, country_name(p.country, language), tool_words(p.tool, language) or None, p.reference]
        for p in entry.version.locations
        if not p.in_eea
    ]


def _datasets(sources: Sources, role: Role, purpose: str | None = None) -> dict[str, Table | Prefix]:
    """The datasets of that role, and of that purpose; a partition is told with its table."""
    return {
        name: entry
        for name, (_, entry) in sources.catalog.datasets().items()
        if entry.role is role and (purpose is None or purpose in entry.purposes) and not (isinstance(entry, Table) and entry.partition_of)
    }


def _keys(entry: Table | Prefix) -> list[str]:
    keys = entry.contents if isinstance(entry, Prefix) else [c.category for c in entry.columns.values()]
    return [k for k in keys if k != OPERATIONS and k.startswith("user")]


def _purpose(sources: Sources, purpose: str, language: str) -> str:
    english = sources.catalog.purposes.get(purpose, purpose)
    return typeset(sources.disclosure.purposes.get(purpose, english), "fr") if language == "fr" else english


def _low(text: str) -> str:
    """Words that go on in the middle of a line; `IP address` as it is."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _sentence(text: str, language: str) -> str:
    return typeset(text[:1].upper() + text[1:], language)
