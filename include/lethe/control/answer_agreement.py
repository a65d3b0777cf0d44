"""Do answers and bundles still say what the ledger says? An answer set back by an UPDATE is sent twice; a part that names another place gives
one person's data to another."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from lethe.control.answers import (
    ANSWER_DEFERRED,
    ANSWER_IN_DOUBT,
    ANSWER_PREPARED,
    ANSWER_PRINTED,
    ANSWER_REFUSED,
    ANSWER_SENT,
    ANSWERED,
    FORWARDED,
    AnswerKind,
    AnswerState,
)
from lethe.control.differing import differ, plain, recorded
from lethe.control.exports import JUDGED, LOCATED, STORED, StoredPart, checked_digest
from lethe.control.tables import export_parts, exports, request_answers
from lethe.evidence.ledger import records
from lethe.evidence.record import Record
from lethe.evidence.verdict import LedgerFinding

Said = dict[str, tuple[int, dict[str, Any]]]
"""By name: the number of the last record that tells of a row, and what the records together say of it."""

_LEADS_TO = {
    ANSWER_PREPARED: AnswerState.PREPARED,
    ANSWER_PRINTED: AnswerState.PREPARED,
    ANSWER_DEFERRED: AnswerState.PREPARED,
    ANSWER_SENT: AnswerState.SENT,
    ANSWER_REFUSED: AnswerState.REFUSED,
    ANSWER_IN_DOUBT: AnswerState.SENDING,
}


def answer_differences(connection: Connection) -> tuple[LedgerFinding, ...]:
    """Answers that are not what their records say, gone, or without one. One that is being sent is what the record of its text says."""
    said: Said = {}
    for record in records(connection, kinds={*_LEADS_TO, ANSWERED, FORWARDED}):
        _read_answer(said, record)
    there: dict[str, dict[str, Any]] = {}
    for row in connection.execute(select(request_answers)).mappings():
        name = f"{row['request']}.{row['kind']}.{row['number']}"
        state = row["state"]
        if state == AnswerState.SENDING and name in said and said[name][1].get("state") == AnswerState.PREPARED:
            state = AnswerState.PREPARED.value
        there[name] = {
            "state": state,
            "tenant": None if row["tenant"] is None else bytes(row["tenant"]).hex(),
            "sha256": row["sha256"],
            "message_id": row["message_id"] and row["message_id"].strip("<").partition("@")[0],
            "prepared_at": recorded(row["prepared_at"]),
            "sent_at": recorded(row["sent_at"]),
            "forwarded": row["kind"] == AnswerKind.FORWARDED and row["state"] == AnswerState.SENT,
        }
    return tuple(differ("Answer", said, there))


def _read_answer(said: Said, record: Record) -> None:
    body, at = record.content, record.recorded_at
    if record.kind == FORWARDED:
        name = f"{body.get('request')}.{AnswerKind.FORWARDED}.{body.get('number')}"
        told: dict[str, Any] = {"forwarded": True} | {k: body.get(k) for k in ("tenant", "sha256")}
    else:
        name = f"{body.get('request')}.{body.get('kind')}.{body.get('number')}"
        by_hand = AnswerState.SENT if body.get("said") == "sent" else AnswerState.PREPARED
        state = _LEADS_TO.get(record.kind, by_hand)
        told = {"state": state.value, "sent_at": at if state is AnswerState.SENT else None, "message_id": body.get("message")}
        told |= {k: body.get(k) for k in ("tenant", "sha256")}
    before = said[name][1] if name in said else {"prepared_at": at, "forwarded": False}
    said[name] = (record.seq, before | told)


def export_differences(connection: Connection) -> tuple[LedgerFinding, ...]:
    """Bundles that are not what their records say, gone, or without one; and their parts, by place, length and digest."""
    said: Said = {}
    for record in records(connection, kinds={LOCATED, STORED, JUDGED}):
        body = record.content
        name = f"{body.get('request')}/{body.get('export')}"
        before = said[name][1] if name in said else {"state": "begun", "counts": {}, "checked": checked_digest([]), "parts": []}
        told: dict[str, Any] = {}
        if record.kind == LOCATED:
            told = {k: body.get(k) for k in ("policy_version", "made_at")}
        elif record.kind == STORED:
            told = {"state": "stored", "counts": body.get("rows"), "parts": body.get("parts")}
        else:
            told = {"state": "verified" if body.get("outcome") == "clean" else "failed", "checked": body.get("checked")}
        said[name] = (record.seq, before | told)
    return tuple(differ("Bundle", said, _exports(connection)))


def _exports(connection: Connection) -> dict[str, dict[str, Any]]:
    parts: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(select(export_parts).order_by(export_parts.c.export, export_parts.c.number)).mappings():
        parts.setdefault(row["export"], []).append(StoredPart(**{k: row[k] for k in StoredPart.model_fields}).evidence)
    return {
        f"{row['request']}/{row['number']}": {
            **{k: plain(row[k]) for k in ("state", "policy_version", "made_at", "counts")},
            "checked": checked_digest(row["checked"]),
            "parts": parts.get(row["id"], []),
        }
        for row in connection.execute(select(exports)).mappings()
    }
