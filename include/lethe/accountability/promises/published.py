"""Is the text still the one that was published? Its digest is declared beside it, and recorded by every report: changing both is found too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from lethe.accountability.promises.records import Records
from lethe.policy.model import PolicyVersion

REPORTED = "promises.reported"
"""The kind of record that a promise report leaves."""


def texts(records: Records, policy: PolicyVersion) -> dict[str, str]:
    """By version, the text's sha256 as the first report on it declared it: each report passes on what the one before it knew."""
    last = records.newest(REPORTED)
    known: Mapping[str, str] = last.content["texts"] if last else {}
    return {policy.version: policy.text_sha256} | dict(known)


def difference(records: Records, policy: PolicyVersion, text: bytes) -> str:
    """Why the text is not the one that was published; empty when it is."""
    if hashlib.sha256(text).hexdigest() != policy.text_sha256:
        return f"{policy.text_file} is not the text that was published: its digest is not the declared one."
    if texts(records, policy)[policy.version] != policy.text_sha256:
        return f"The digest declared for {policy.text_file} is not the one that was recorded when this version was first reported on."
    return ""
