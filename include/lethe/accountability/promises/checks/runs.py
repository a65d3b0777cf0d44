"""What the last nightly run says beside its rules."""

from __future__ import annotations

from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.records import as_of, evidence_of


def policy_in_evidence(look: Look) -> Seen:
    """Does the record of the last run name the version in force on its `as_of`, as it stands now, and the text's digest?"""
    last = look.records.newest_run("retention")
    if last is None:
        return Seen()
    body, faults = last.content, []
    in_force = look.workspace.policies.in_force(as_of(last))
    if body["policy_version"] != in_force.version:
        faults.append("The last run did not take the version that was in force.")
    elif body["text_sha256"] != in_force.text_sha256:
        faults.append("The last run names another text of this version.")
    elif body["policy_digest"] != in_force.digest:
        faults.append("The version's rules or promises were changed since the last run: the next one names them as they are now.")
    return Seen(evidence=evidence_of(last), faults=tuple(faults))


def coverage(look: Look) -> Seen:
    """Did the last run meet anything that no catalog entry and no exemption covers?"""
    last = look.records.newest_run("retention")
    if last is None:
        return Seen()
    uncovered = last.content["uncovered"]
    faults = (f"The last run met what nobody mapped: {judges.named(uncovered)}.",) if uncovered else ()
    return Seen(evidence=evidence_of(last), faults=faults)
