"""A policy version against the text it was published with, and against the names of what keeps its promises. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from lethe.findings import CheckFinding
from lethe.frozen import Frozen
from lethe.policy.controls import Control, ControlKind
from lethe.policy.model import PolicyVersion
from lethe.policy.sentences import sentences, unbound, words


class Known(Frozen):
    """The names that a control may give, beside the rules of its own version: DAGs that are there, the code's checks and kinds of evidence."""

    dags: frozenset[str]
    checks: frozenset[str]
    evidence: frozenset[str]


def check_text(version: PolicyVersion, text: bytes) -> list[CheckFinding]:
    """Findings about `text`, the published text of `version`: another digest, a quote that is not in it (white space aside), and a sentence
    that no promise quotes and that is not declared to promise nothing."""
    found: list[CheckFinding] = []
    if hashlib.sha256(text).hexdigest() != version.text_sha256:
        found.append(
            CheckFinding(
                kind="digest of text",
                where=f"{version.version}/policy.yaml",
                problem=f"{version.text_file} is not the text that was declared.",
                fix="Restore the published text. A new text is a new version in a folder of its own.",
                stops=True,
            )
        )
    read = text.decode("utf-8", errors="replace")
    body = words(read)
    quotes = [(f"{version.version}/rules.yaml {r.id}", r.quote) for r in version.rules if r.quote]
    quotes += [(f"{version.version}/promises.yaml {p.id}", q) for p in version.promises for q in p.quotes]
    quotes += [(f"{version.version}/policy.yaml no_promise", n.text) for n in version.no_promise]
    for where, quote in quotes:
        if words(quote) not in body:
            found.append(
                CheckFinding(
                    kind="quote not in text", where=where, problem="The quote is not in the published text.", fix="Quote it word for word."
                )
            )
    for promise in version.promises:
        if not promise.quotes:
            found.append(
                CheckFinding(
                    kind="quote not in text",
                    where=f"{version.version}/promises.yaml {promise.id}",
                    problem="The promise quotes nothing.",
                    fix="Quote the sentence it comes from.",
                )
            )
    return [*found, *_unbound(version, read)]


def check_controls(version: PolicyVersion, known: Known | None = None) -> list[CheckFinding]:
    """Findings about what keeps each promise: nothing at all, a name that does not exist, a rule that its own promise does not list.

    Without `known` only the rules are looked at: DAGs and checks are not known here.
    """
    rules = {r.id for r in version.rules}
    found = []
    for promise in version.promises:
        where = f"{version.version}/promises.yaml {promise.id}"
        if not promise.controls:
            found.append(
                _finding("promise without control", where, "Nothing keeps it.", "Name a control, or write what is still `unbuilt`.")
            )
        for control in promise.controls:
            if problem := _unknown(control, rules, known):
                found.append(_finding("control not known", where, problem, "Correct the name in promises.yaml, or bring the control back."))
        listed = {c.rule for c in promise.controls}
        for rule in (r.id for r in version.rules if r.promise == promise.id and r.id not in listed):
            found.append(
                _finding("control not known", where, f"Its rule {rule} is not among its controls.", f"Add `rule: {rule}` to its controls.")
            )
    return found


def _unknown(control: Control, rules: set[str], known: Known | None) -> str:
    if control.kind is ControlKind.RULE:
        return "" if control.name in rules else f"There is no rule {control.name}."
    if known is None:
        return ""
    if control.kind is ControlKind.CHECK:
        return "" if control.name in known.checks else f"There is no check {control.name}."
    if control.kind is ControlKind.DAG and control.name not in known.dags:
        return f"There is no DAG {control.name}."
    if control.kind is ControlKind.DAG and control.evidence not in known.evidence:
        return f"There is no kind of evidence {control.evidence}."
    return ""


def _unbound(version: PolicyVersion, text: str) -> Iterator[CheckFinding]:
    for said in unbound(sentences(version, text)):
        yield _finding(
            "sentence not bound",
            f"{version.version}/{version.text_file}",
            f"No promise quotes: {said}",
            "Quote it in promises.yaml; a heading belongs under `no_promise` in policy.yaml.",
        )


def _finding(kind: str, where: str, problem: str, fix: str) -> CheckFinding:
    return CheckFinding.model_validate({"kind": kind, "where": where, "problem": problem, "fix": fix})
