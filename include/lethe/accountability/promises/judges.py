"""What a record's body says is wrong, in words. Pure. Bodies hold ids, counts and digests, so the words do too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_NAMED = 6
_FILES = ("objects_without_row", "remains_without_row", "rows_without_object")


def run_of_rule(kind: str, body: Mapping[str, Any], rule: str) -> tuple[str, ...]:
    """What is wrong with one rule in the end of a run. Blocked and quarantined rows are red findings of their promise, though the run is clean."""
    if kind == "run.refused":
        return ("The last run of it was refused: nothing was deleted.",)
    steps = {s: r for s, r in body["steps"].items() if s.partition("/")[0] == rule}
    undone = sorted({s for name in ("unverified", "unproved") for s in body[name] if s.partition("/")[0] == rule})
    found = [f"No evidence was left of {named(undone)}."] if undone else []
    if not steps and not undone:
        found.append("The last run had nothing to do for it: no dataset has its category.")
    for step, result in sorted(steps.items()):
        terms = result["terms"]
        if result["outcome"] != "clean":
            found.append(f"{step}: {result['outcome']}.")
        for term in ("survivors", "blocked", "quarantined"):
            if terms.get(term) is None:
                found.append(f"{step}: how many are {term} is unknown.")
            elif terms[term]:
                found.append(f"{step}: {terms[term]} {term}.")
    return tuple(found)


def whole_run(kind: str, body: Mapping[str, Any], rules: Collection[str] = ()) -> tuple[str, ...]:
    """What is wrong with the end of a run as a whole; `rules`: what it must have carried out."""
    if kind == "run.refused":
        return ("The last run was refused: nothing was deleted.",)
    left_out = sorted(set(rules) - set(body["rules"]))
    found = [f"The last run left out {named(left_out)}."] if left_out else []
    if kind != "run.finished":
        found.append(f"The last run was red: {str(body['problem'])[:300]}")
    elif body["outcome"] != "clean":
        found.append(f"The last run was not clean: {body['outcome']}.")
    return tuple(found)


def audited(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What an audit found, but for holds to review, which are a promise's own."""
    parts = {
        "differences between catalog and stores": len(body["drift"]),
        "stores that did not answer": len(body["unchecked"]),
        "steps with rows that were due at the last clean run and are still there": len(body["overdue"]),
        "files without a row, or rows without a file": sum(d[n] for d in body["files"].values() for n in _FILES),
        "archive objects that are not what their manifests say": sum(f["wrong"] for f in body["archive"]["findings"]),
        "breaks of the ledger": len(body["ledger"]["findings"]),
    }
    return tuple(f"The last audit found {n} {what}." for what, n in parts.items() if n)


def drift(body: Mapping[str, Any], kinds: Collection[str] | None = None) -> tuple[str, ...]:
    """The findings of the last audit's check of some kinds, of all when None; a store that was not checked is one."""
    mine = [f for f in body["drift"] if kinds is None or f.partition(": ")[0] in kinds]
    found = [f"The last audit found: {named(mine)}."] if mine else []
    if body["unchecked"]:
        found.append(f"The last audit could not look at {named(sorted(body['unchecked']))}.")
    return tuple(found)


def listed(body: Mapping[str, Any], kinds: Collection[str] | None = None) -> tuple[str, ...]:
    """The findings of the register, of some kinds or all, in the record of a list of processors; and what Great Expectations did not confirm."""
    mine = [f for f in body["findings"] if kinds is None or f.partition(": ")[0] in kinds]
    unsure = [c["check"] for c in body["checks"] if c["status"] != "passed"]
    found = [f"The register has findings: {named(mine)}."] if mine else []
    return (*found, *([f"The list is not what it should be: {named(unsure)}."] if unsure else []))


def deadlines(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The requests and questions whose reply is due and not given, and those beyond the deadline of the law."""
    red, over = body["red"], body["legal"].get("over", 0)
    found = [f"Replies that are due were not given: {named(red)}."] if red else []
    return (*found, *([f"{over} requests are beyond the deadline of the law."] if over else []))


def named(items: Collection[str]) -> str:
    """The first few, and how many more."""
    first = list(items)[:_NAMED]
    return ", ".join(first) + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")
