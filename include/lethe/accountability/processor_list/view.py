"""The list in words, in one language: what its page and its paper lay out. Made of the content alone, so nothing internal can slip in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from lethe.accountability.processor_list.words import (
    FIELDS,
    LABELS,
    end_words,
    field_label,
    kind_words,
    label,
    role_words,
    tool_words,
)
from lethe.reports.tree import Node
from lethe.subjects.answers.dates import written_day
from lethe.subjects.bundle.periods import typeset

Content = Mapping[str, Any]


def view(content: Content, language: str) -> dict[str, Any]:
    """Everything that is shown, as texts, in the order in which it is."""
    internal = content["audience"] == "internal"
    suffix = "_internal" if internal else ""
    as_of, since = day_of(content["as_of"], language), content["since"] and day_of(content["since"], language)
    entries = [*content["processors"], *content["recipients"]]
    subs = sum(p["role"] == "sub-processor" for p in content["processors"])
    counted = label("counted_text", language, processors=len(content["processors"]), subs=subs, recipients=len(content["recipients"]))
    version = day_of(content["made_from"]["policy_version"], language)
    return {
        "language": language,
        "audience": content["audience"],
        "company": content["company"],
        "contact": content["contact"] or "",
        "title": label(f"title{suffix}", language),
        "eyebrow": label(f"eyebrow{suffix}", language),
        "lead": label(f"lead{suffix}", language),
        "as_of": f"{label('as_of', language)} {as_of}",
        "day": as_of,
        "say": {name: label(name, language) for name, words in LABELS.items() if "{" not in words[0]},
        "facts": [
            [label("as_of", language), as_of],
            [label("counted", language), counted],
            [label("policy", language), label("version_of", language, day=version)],
            *([[label("contact_us", language), content["contact"]]] if content["contact"] else []),
        ],
        "chain_label": label("chain_label", language, company=content["company"], day=as_of),
        "glance": [_glance(content, e, language) for e in entries],
        "processors": [_entry(content, e, language) for e in content["processors"]],
        "recipients": [_entry(content, e, language) for e in content["recipients"]],
        "changes_lead": _changes_lead(content, since, language),
        "changes": [_change(content, c, language) for c in content["changes"]],
        "ending": [
            [
                e["legal_name"],
                e["reference"],
                label("ending_days", language, day=day_of(e["last_day"], language), days=e["days_left"]),
            ]
            for e in content.get("agreements_ending", ())
        ],
        "provenance": [
            [label(f"p_{name}", language), content["made_from"][name]]
            for name in ("register", "policy", "published_text", "catalog", "disclosure")
        ],
    }


def chain_of(content: Content, language: str) -> Node:
    """The chain of processors as a tree under the company; what is reached twice is marked the second time, and goes on once."""
    found = {p["id"]: p for p in content["processors"]}
    passed = {s for p in found.values() for s in p["sub_processors"]}
    drawn: set[str] = set()

    def node(entry: Mapping[str, Any]) -> Node:
        notes = [f"{kind_words(entry['kind'], language)} · {_places(content, entry, language)}"]
        if entry["id"] in drawn:
            return Node(name=entry["legal_name"], notes=(label("again", language),), tone=entry["kind"], again=True)
        drawn.add(entry["id"])
        subs = tuple(node(found[s]) for s in entry["sub_processors"] if s in found)
        return Node(name=entry["legal_name"], notes=(*notes, *_transfers(content, entry, language)), tone=entry["kind"], children=subs)

    first = [p for p in content["processors"] if p["role"] == "processor" or p["id"] not in passed]
    return Node(name=content["company"], notes=(role_words("controller", language),), tone="root", children=tuple(map(node, first)))


def day_of(text: str, language: str) -> str:
    """`2026-11-28` as `28 novembre 2026`."""
    return written_day(date.fromisoformat(text), language)


def said(content: Content, field: str, value: Any, language: str) -> list[str]:
    """The value of a field in words, as one or more texts; none for nothing."""
    words = content["words"]
    if value is None or value == [] or value == "":
        return []
    match field:
        case "country":
            return [_told(words["countries"], value, language)]
        case "kind":
            return [kind_words(value, language)]
        case "role":
            return [role_words(value, language)]
        case "end_of_contract":
            return [_sentence(end_words(value, language), language)]
        case "why":
            return [_sentence(value[language], language)]
        case "guarantees":
            return [_sentence(g[language], language) for g in value]
        case "sub_processors" | "works_for":
            return [", ".join(words["names"].get(i, i) for i in value)]
        case "purposes" | "person_categories":
            return [_sentence(_told(words[field], i, language), language) for i in value]
        case "datasets" | "data_categories":
            return [_sentence(", ".join(dict.fromkeys(_low(_told(words[field], i, language)) for i in value)), language)]
        case "locations":
            return [_place(content, place, language) for place in value]
        case "agreement":
            first, last = (value[name] and day_of(value[name], language) for name in ("in_force_from", "in_force_to"))
            return [value["reference"], f"{first} → {last}" if last else label("open_ended", language, day=first)]
        case "audit_notes":
            return [f"{day_of(n['day'], language)}{' : ' if language == 'fr' else ': '}{n['note']}" for n in value]
        case "begun" | "active_from" | "active_to":
            return [day_of(value, language)]
    return [str(value)]


def _entry(content: Content, entry: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A company with its fields in words, in the order of `FIELDS`; name and kind stand above them."""
    above = {"legal_name", "kind", "role", "country"}
    lines = [
        [field_label(f, language), texts]
        for f in FIELDS
        if f in entry and f not in above and (texts := said(content, f, _value(content, entry, f, language), language))
    ]
    return {
        "id": entry["id"],
        "name": entry["legal_name"],
        "kind": entry["kind"],
        "kind_words": kind_words(entry["kind"], language),
        "role_words": role_words(entry.get("role", ""), language),
        "outside": bool(_transfers(content, entry, language)),
        "lines": lines,
    }


def _value(content: Content, entry: Mapping[str, Any], field: str, language: str) -> Any:
    if field != "address":
        return entry[field]
    return f"{entry['address']}, {_told(content['words']['countries'], entry['country'], language)}"


def _glance(content: Content, entry: Mapping[str, Any], language: str) -> list[str]:
    """A row of the short table: who, what for, where, with the ground of a transfer."""
    ground = ", ".join(_transfers(content, entry, language))
    where = f"{_places(content, entry, language)}{f' ({ground})' if ground else ''}"
    role = role_words(entry["role"], language) if "role" in entry else kind_words(entry["kind"], language)
    return [entry["id"], entry["legal_name"], kind_words(entry["kind"], language), role, typeset(where, language)]


def _change(content: Content, change: Mapping[str, Any], language: str) -> dict[str, Any]:
    def texts(field: str, value: Any) -> list[str]:
        return said(content, field, value, language) or [label("nothing", language)]

    fields = [
        [field_label(f["field"], language), texts(f["field"], f["old"]), texts(f["field"], f["new"])] for f in change.get("fields", ())
    ]
    tone = {"added": "good", "ended": "bad"}.get(change["what"], "calm")
    return {
        "day": day_of(change["on"], language),
        "what": label(change["what"], language),
        "tone": tone,
        "name": change["name"],
        "kind_words": kind_words(change["kind"], language),
        "fields": fields,
        "renewed": change["what"] == "changed" and not fields,
    }


def _changes_lead(content: Content, since: str | None, language: str) -> str:
    if since is None:
        return label("first_list", language)
    return label("changes_since" if content["changes"] else "no_changes", language, day=since)


def _places(content: Content, entry: Mapping[str, Any], language: str) -> str:
    return ", ".join(_told(content["words"]["countries"], place["country"], language) for place in entry["locations"])


def _transfers(content: Content, entry: Mapping[str, Any], language: str) -> tuple[str, ...]:
    """What lets data go outside of the EEA, each tool once."""
    tools = dict.fromkeys(place["tool"] for place in entry["locations"] if place["tool"] != "none-needed")
    return tuple(_ground(t, language) for t in tools)


def _ground(tool: str, language: str) -> str:
    """`outside the EEA: standard contractual clauses`."""
    return typeset(f"{label('outside', language)}{' : ' if language == 'fr' else ': '}{tool_words(tool, language)}", language)


def _place(content: Content, place: Mapping[str, Any], language: str) -> str:
    country = _told(content["words"]["countries"], place["country"], language)
    if place["tool"] == "none-needed":
        return country
    reference = f" ({place['reference']})" if place["reference"] else ""
    return f"{country}, {_ground(place['tool'], language)}{reference}"


def _told(words: Mapping[str, Any], name: str, language: str) -> str:
    return typeset(words[name][language], language) if name in words else name


def _low(text: str) -> str:
    """Words that go on in the middle of a line: `Votre compte` as `votre compte`, `IP address` as it is."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _sentence(text: str, language: str) -> str:
    return typeset(text[:1].upper() + text[1:], language)
