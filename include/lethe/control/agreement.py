"""Do the tables that decide what is deleted still say what the ledger says? Holds and approvals can be updated; their records cannot.
Those of requests are in `request_agreement.py`, of answers and bundles in `answer_agreement.py`.

A hold that was lifted by an UPDATE, an approval that was written by hand, a ceiling that was raised: each differs from its record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, select

from lethe.control.answer_agreement import answer_differences, export_differences
from lethe.control.approvals import KEPT_THERE
from lethe.control.differing import contradicted, differ, plain, recorded
from lethe.control.holds import person_digest
from lethe.control.request_agreement import decision_differences, request_differences
from lethe.control.tables import approvals, holds
from lethe.evidence.heads import HeadStore
from lethe.evidence.ledger import records
from lethe.evidence.verdict import LedgerFinding, Verdict, verify_ledger
from lethe.frozen import canonical_json

_HOLD = ("dataset", "tenant", "person_dataset", "person_digest", "since", "until", "reason", "owner", "starts_on", "review_on")
_APPROVAL = ("channel", "reason", "recorded_by")


def verify_evidence(engine: Engine, store: HeadStore, *, digest_key: bytes) -> Verdict:
    """`verify_ledger`, and whether holds, approvals, requests, answers and bundles agree with their records, in one snapshot.

    `digest_key` is the key of the digests of persons: without it a hold on a person differs. Raises what `verify_ledger` raises.
    """
    with engine.connect() as connection:
        verdict = verify_ledger(connection, store)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        found = (
            *hold_differences(connection, digest_key=digest_key),
            *approval_differences(connection),
            *request_differences(connection),
            *decision_differences(connection),
            *answer_differences(connection),
            *export_differences(connection),
        )
    return replace(verdict, findings=(*verdict.findings, *sorted(found, key=lambda f: f.seq)))


def hold_differences(connection: Connection, *, digest_key: bytes) -> tuple[LedgerFinding, ...]:
    """Holds that are not what their records say, gone, or without one; the first record that differs is named by its number."""
    said: dict[int, tuple[int, dict[str, Any]]] = {}
    for record in records(connection, kinds={"hold.added", "hold.lifted"}):
        body, at = record.content, record.recorded_at
        if record.kind == "hold.added":
            said[body["hold"]] = (record.seq, {k: body.get(k) for k in _HOLD} | {"added_at": at, "lifted_at": None, "lifted_by": None})
        elif body["hold"] in said:
            said[body["hold"]] = (record.seq, said[body["hold"]][1] | {"lifted_at": at, "lifted_by": body["by"]})
    there = {r["id"]: _hold(r, digest_key) for r in connection.execute(select(holds)).mappings()}
    return tuple(differ("Hold", said, there))


def _hold(row: RowMapping, digest_key: bytes) -> dict[str, Any]:
    person = row["person_key"]
    digest = person_digest(digest_key, (row["person_dataset"] or "", person)) if person is not None and len(digest_key) >= 16 else person
    given = {**row, "person_digest": digest}
    return {k: plain(given[k]) for k in (*_HOLD, "lifted_by")} | {k: recorded(row[k]) for k in ("added_at", "lifted_at")}


def approval_differences(connection: Connection) -> tuple[LedgerFinding, ...]:
    """Approvals and refusals that no record bears out, and records of some that are not in their table."""
    said: dict[str, list[int]] = {}
    for record in records(connection, kinds={"approval.given", "approval.refused"}):
        body = record.content
        given = {k: body[k] for k in _APPROVAL if k in body} | {
            "plan": record.run,
            "approved": record.kind == "approval.given",
            "approver": body["approver"],
            "ceilings": body["ceilings"],
            "given_at": record.recorded_at,
            "responded_at": recorded(datetime.fromisoformat(body["responded_at"])) if body.get("responded_at") else None,
        }
        said.setdefault(canonical_json(given), []).append(record.seq)
    there: Counter[str] = Counter()
    unsaid: list[str] = []
    for row in connection.execute(select(approvals).order_by(approvals.c.id)).mappings():
        # A record may hold no name, and an answer in Airflow no database login.
        forms = [
            canonical_json(_approval(row, name, left_out)) for name in (row["approver"], KEPT_THERE) for left_out in ("", "recorded_by")
        ]
        form = next((f for f in forms if there[f] < len(said.get(f, ()))), None)
        if form is None:
            unsaid.append(f"Approval {row['id']} of plan {row['plan'][:12]} is in its table, and no record says that.")
        else:
            there[form] += 1
    lost = sorted(seq for form, seqs in said.items() for seq in seqs[there[form] :])
    last = max((seq for seqs in said.values() for seq in seqs), default=0)
    gone = [contradicted(seq, f"Record {seq} is an approval or refusal that is no longer in its table as it was given.") for seq in lost]
    return (*gone, *(contradicted(last, text) for text in unsaid))


def _approval(row: RowMapping, approver: str, left_out: str) -> dict[str, Any]:
    return {k: plain(row[k]) for k in (*_APPROVAL, "plan", "approved", "ceilings") if k != left_out} | {
        "approver": approver,
        "given_at": recorded(row["given_at"]),
        "responded_at": recorded(row["responded_at"]),
    }
