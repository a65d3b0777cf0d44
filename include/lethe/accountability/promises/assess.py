"""Assesses every promise of the policy in force: what was found, judged, beside the text it is about."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import func, select

from lethe.accountability.promises.checks import CHECKS
from lethe.accountability.promises.evaluate import judge
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import LedgerState, PromiseReport, Seen, Transfers, Unpublished
from lethe.accountability.promises.published import difference
from lethe.accountability.promises.reading import EVIDENCE, see
from lethe.accountability.promises.records import Records
from lethe.errors import LetheError
from lethe.instants import local_day
from lethe.policy.check import Known
from lethe.policy.load import read_text
from lethe.policy.model import PolicyVersion
from lethe.policy.sentences import sentences
from lethe.processors.history import as_of
from lethe.processors.load import load_register
from lethe.processors.transfers import unnamed_transfers
from lethe.workspace import Workspace


def assess(workspace: Workspace, *, at: datetime, dags: Path, before: bool = False) -> PromiseReport:
    """The report as of `at`. `workspace` may be opened without comparing its texts: that is done here. `dags`: the folder that Airflow reads.

    The ledger is read in one snapshot; what was recorded between `at` and that is young, not from the future, so the later of both counts.
    `before`: `at` is not now, so only records until then count, and what is looked at live is what the last report before then saw.
    Raises NotInForce; Unreachable or a database's error when Lethe's own does not answer: without it there is no report.
    """
    policy = workspace.policy(at)
    text = read_text(workspace.folder / policy.version, policy)
    with workspace.control.connect().execution_options(isolation_level="REPEATABLE READ") as control:
        at = at if before else max(at, control.execute(select(func.now())).scalar_one())
        records = Records(connection=control, until=at if before else None)
        look = Look(workspace=workspace, policy=policy, at=at, control=control, records=records, dags=dags, text=text)
        published = difference(records, policy, text)
        ledger = _ledger(look)
        seen = see(look)
    return PromiseReport(
        company=policy.company,
        authority=policy.authority,
        policy_version=policy.version,
        policy_digest=policy.digest,
        text_file=policy.text_file,
        text_sha256=hashlib.sha256(text).hexdigest(),
        time_zone=policy.time_zone,
        at=at,
        published=published,
        ledger=ledger,
        promises=judge(policy, seen, at=at, published=published, ledger=ledger.problem),
        sentences=sentences(policy, text.decode("utf-8", errors="replace")),
        unpublished=_unpublished(workspace, policy),
        transfers=_transfers(workspace, policy, local_day(at, policy.time_zone)),
        refers_to=policy.unbound,
        looks=_looks(seen),
    )


def known(dags: Path) -> Known:
    """The names that controls may give, for `lethe check`."""
    return Known(dags=frozenset(f.stem for f in dags.glob("*.py")), checks=frozenset(CHECKS), evidence=frozenset(EVIDENCE))


def _ledger(look: Look) -> LedgerState:
    try:
        found = look.ledger
    except LetheError as error:
        return LedgerState(unknown=error.problem)
    return LedgerState(
        records=found.records,
        seq=found.head.seq if found.head else None,
        digest=found.head.digest if found.head else None,
        witnessed_to=found.witnessed_to,
        findings=tuple(f.text for f in found.findings if f.how != "contradicted"),
        contradictions=tuple(f.text for f in found.findings if f.how == "contradicted"),
    )


def _unpublished(workspace: Workspace, policy: PolicyVersion) -> tuple[Unpublished, ...]:
    return tuple(
        Unpublished(
            rule=r.id,
            promise=r.promise,
            period=str(r.period),
            category=r.category,
            why=r.why,
            waits_for=tuple(n.value for n in r.needs if n not in workspace.met),
        )
        for r in policy.rules
        if r.quote is None
    )


def _transfers(workspace: Workspace, policy: PolicyVersion, day: date) -> Transfers:
    """What the register of that day has and the policy does not name; a register that cannot be read is no register without transfers."""
    try:
        found = unnamed_transfers(as_of(load_register(workspace.folder), day), policy.transfers)
    except LetheError as error:
        return Transfers(promise=policy.transfers_promise, unknown=error.problem)
    return Transfers(promise=policy.transfers_promise, unnamed=found)


def _looks(seen: dict[str, Seen]) -> dict[str, tuple[str, ...]]:
    """What the live checks saw, by name: what a report as of an earlier instant reads. One that could not look has its reason as a fault."""
    found = {}
    for name, check in CHECKS.items():
        mine = seen.get(f"check:{name}")
        if check.live and mine is not None:
            why = mine.absent or (f"It could not be told: {mine.unknown}" if mine.unknown else "")
            found[name] = (*mine.faults, *((why,) if why else ()))
    return found
