"""A policy version against the text it was published with: its digest, and every sentence that is quoted. Pure."""

from __future__ import annotations

import hashlib

from lethe.findings import CheckFinding
from lethe.policy.model import PolicyVersion


def check_text(version: PolicyVersion, text: bytes) -> list[CheckFinding]:
    """Findings about `text`, the published text of `version`: another digest, or a quote that is not in it (white space aside)."""
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
    words = _words(text.decode("utf-8", errors="replace"))
    quotes = [(f"{version.version}/rules.yaml {r.id}", r.quote) for r in version.rules if r.quote]
    quotes += [(f"{version.version}/promises.yaml {p.id}", q) for p in version.promises for q in p.quotes]
    for where, quote in quotes:
        if _words(quote) not in words:
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
    return found


def _words(text: str) -> str:
    return " ".join(text.split())
