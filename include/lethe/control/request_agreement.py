"""Do requests and the decisions on them still say what the ledger says? A state set by an UPDATE would hand a person's data to somebody else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, select

from lethe.control.differing import contradicted, differ, plain, recorded
from lethe.control.tables import request_decisions, requests
from lethe.evidence.ledger import records
from lethe.evidence.verdict import LedgerFinding

_OPENED = ("kind", "channel", "language", "received_at", "identity", "state", "reply_due_on", "legal_due_on")
_DAYS = ("received_at", "reply_due_on", "legal_due_on", "extended_to")
_ENDS = ("closed_at", "keys_destroyed_at")
_DECIDED = ("request", "by", "decision", "reason", "channel")


def request_differences(connection: Connection) -> tuple[LedgerFinding, ...]:
    """Requests that are not what their records say, gone, or without one; the last record that says what differs is named by its number."""
    said: dict[str, tuple[int, dict[str, Any]]] = {}
    for record in records(
        connection, kinds={"request.opened", "request.decided", "request.state", "request.extended", "request.keys_destroyed"}
    ):
        body, at = record.content, record.recorded_at
        if record.kind == "request.opened":
            said[body["request"]] = (record.seq, {k: body[k] for k in _OPENED} | {"extended_to": None} | dict.fromkeys(_ENDS))
        elif body["request"] in said:
            changed: dict[str, Any] = {"state": body["to"]} if "to" in body else {}
            changed |= {k: body[k] for k in ("identity", "extended_to") if k in body}
            if body.get("to") == "closed":
                changed["closed_at"] = at
            if record.kind == "request.keys_destroyed":
                changed["keys_destroyed_at"] = at
            said[body["request"]] = (record.seq, said[body["request"]][1] | changed)
    columns = [requests.c[name] for name in ("id", *_OPENED, "extended_to", *_ENDS)]
    there = {
        row["id"]: dict(row) | {k: plain(row[k]) for k in _DAYS} | {k: recorded(row[k]) for k in _ENDS}
        for row in connection.execute(select(*columns)).mappings()
    }
    return tuple(differ("Request", said, there))


def decision_differences(connection: Connection) -> tuple[LedgerFinding, ...]:
    """Decisions that no record bears out, and records of decisions that are not in their table as they were made."""
    said: dict[tuple[Any, ...], list[int]] = {}
    for record in records(connection, kind="request.decided"):
        said.setdefault((*(record.content[k] for k in _DECIDED), record.recorded_at), []).append(record.seq)
    there: Counter[tuple[Any, ...]] = Counter()
    found = []
    last = max((seq for seqs in said.values() for seq in seqs), default=0)
    for row in connection.execute(select(request_decisions).order_by(request_decisions.c.id)).mappings():
        form = (*(row[k] for k in _DECIDED), recorded(row["at"]))
        if there[form] < len(said.get(form, ())):
            there[form] += 1
        else:
            found.append(contradicted(last, f"A decision on request {row['request']} is in its table, and no record says that."))
    lost = sorted((seq, form[0]) for form, seqs in said.items() for seq in seqs[there[form] :])
    gone = [
        contradicted(seq, f"Record {seq} is a decision on request {of} that is no longer in its table as it was made.") for seq, of in lost
    ]
    return (*gone, *found)
