"""Finds what there is of every control: the rule in the policy, the file of the DAG, the check in the code, the record in the ledger.

Whatever cannot be looked at is unknown, and says why; it never ends the report. A name that leads nowhere is missing, never an exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property

from sqlalchemy.exc import SQLAlchemyError

from lethe.accountability.kinds import FAILED, LISTED
from lethe.accountability.promises import judges
from lethe.accountability.promises.attesting import attestations
from lethe.accountability.promises.checks import CHECKS
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.published import REPORTED
from lethe.accountability.promises.records import Carried, Records, carried_out, evidence_of, latest
from lethe.errors import LetheError
from lethe.evidence.record import Record
from lethe.policy.controls import Control, ControlKind
from lethe.workspace import CAN_BE_MET

log = logging.getLogger(__name__)

EVIDENCE: Mapping[str, str] = {
    "retention-run": "run.finished, run.failed, run.refused of a run that deletes",
    "archive-expiry": "run.finished, run.failed, run.refused of the archive's expiry",
    "audit": "audit.finished",
    "deadlines": "deadlines.checked",
    "processor-list": LISTED,
}
"""The evidence that a DAG on a schedule leaves, by the name that promises give it, and the records of the ledger that are meant."""


def see(look: Look) -> dict[str, Seen]:
    """What was found of every control of the policy, by its key; each is looked at once, however many promises name it."""
    eyes = _Eyes(look)
    controls = {control.key: control for promise in look.policy.promises for control in promise.controls}
    return {key: _careful(eyes.see, control) for key, control in controls.items()}


def _careful(see: Callable[[Control], Seen], control: Control) -> Seen:
    """What `see` finds, or why it could not be told. The text of an exception of somebody else's may carry data, so only its kind is told."""
    try:
        return see(control)
    except LetheError as error:
        return Seen(unknown=error.problem)
    except SQLAlchemyError as error:
        return Seen(unknown=f"a database did not answer as it should ({type(getattr(error, 'orig', None) or error).__name__}).")
    except Exception as error:  # one control must not hide the others; that it could not be told is the verdict
        log.error("control %s: %s", control.id, type(error).__name__)
        return Seen(unknown=f"the look at it failed ({type(error).__name__}).")


class _Eyes:
    """The look of one report, with what several controls share read once."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def see(self, control: Control) -> Seen:
        """One control."""
        kinds: Mapping[ControlKind, Callable[[Control], Seen]] = {
            ControlKind.RULE: self._rule,
            ControlKind.DAG: self._dag,
            ControlKind.CHECK: self._check,
            ControlKind.ATTESTATION: self._attestation,
        }
        return kinds[control.kind](control) if control.kind in kinds else Seen()

    @cached_property
    def _carried(self) -> Mapping[str, Carried]:
        wanted = {c.name for p in self.look.policy.promises for c in p.controls if c.kind is ControlKind.RULE}
        acting = {r.id for r in self.look.policy.rules if not set(r.needs) - self.look.workspace.met}
        return carried_out(self.look.records, wanted & acting)

    def _rule(self, control: Control) -> Seen:
        rule = next((r for r in self.look.policy.rules if r.id == control.name), None)
        if rule is None:
            return Seen(absent=f"The policy has no rule {control.name}.")
        unmet = set(rule.needs) - self.look.workspace.met
        if lost := unmet & CAN_BE_MET:
            return Seen(absent=f"It does not run: this installation has no {' and no '.join(sorted(n.value for n in lost))}.")
        if unmet:
            return Seen(waits_for=tuple(n.value for n in rule.needs if n in unmet))
        carried = self._carried.get(rule.id)
        if carried is None:
            return Seen()
        faults = judges.run_of_rule(carried.last.kind, carried.last.content, rule.id)
        return Seen(evidence=evidence_of(carried.last if faults else carried.latest), faults=faults)

    def _dag(self, control: Control) -> Seen:
        if absent := self.look.no_dag(control.name):
            return Seen(absent=absent)
        if control.evidence is None or control.evidence not in EVIDENCE:
            return Seen(absent=f"There is no kind of evidence {control.evidence}.")
        record, faults = self._left(control.evidence)
        return Seen() if record is None else Seen(evidence=evidence_of(record), faults=faults)

    def _left(self, evidence: str) -> tuple[Record | None, tuple[str, ...]]:
        """The last record of that evidence, and what it says is wrong."""
        records = self.look.records
        if evidence in {"retention-run", "archive-expiry"}:
            last = records.newest_run("retention" if evidence == "retention-run" else "expiry")
            return last, judges.whole_run(last.kind, last.content) if last else ()
        if evidence == "processor-list":
            last, failed = latest(records, LISTED), records.newest(FAILED)
            unmade = ("The last list could not be made.",) if last and failed and failed.seq > last.seq else ()
            return last, (*judges.listed(last.content), *unmade) if last else ()
        last = records.newest(EVIDENCE[evidence])
        judge = {"audit": judges.audited, "deadlines": judges.deadlines}[evidence]
        return last, judge(last.content) if last else ()

    def _check(self, control: Control) -> Seen:
        check = CHECKS.get(control.name)
        if check is None:
            return Seen(absent=f"There is no check {control.name}.")
        if check.live and self.look.records.until is not None:
            return _as_reported(self.look.records, control.name)
        return check.read(self.look)

    def _attestation(self, control: Control) -> Seen:
        found = attestations(self.look.records).get(control.name)
        if found is None:
            return Seen()
        record, attested = found
        return Seen(evidence=evidence_of(record), attested=attested)


def _as_reported(records: Records, check: str) -> Seen:
    """What the last report before that instant saw: nobody can look at a store as it was."""
    last = records.newest(REPORTED)
    if last is None or check not in last.content["looks"]:
        return Seen()
    return Seen(evidence=evidence_of(last), faults=tuple(last.content["looks"][check]))
