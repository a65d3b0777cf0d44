"""Is the ledger what was written? The chain is walked again and compared with the heads kept outside (`lethe verify`).

The chain alone finds an edited record. Who rewrites the whole chain, or cuts its tail, leaves a chain that holds in itself: the
kept heads find that. So a run that ended and has no kept head is a finding too: an empty store of heads would confirm anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from lethe.evidence.heads import Head, HeadStore, kept_heads
from lethe.evidence.ledger import walk

GUARDS = ("ledger_continues", "ledger_is_append_only")

How = Literal["edited", "missing", "rewritten", "cut", "unwitnessed", "contradicted", "unguarded"]


@dataclass(frozen=True, kw_only=True)
class LedgerFinding:
    """What is wrong, from which record on. `seq` is the first broken record; for `rewritten`, the first one that a kept head
    contradicts; for `cut`, the first that is gone; for `unwitnessed`, the first end of a run that no kept head covers; for
    `contradicted`, the record that a table of Lethe's own database no longer agrees with (`control/agreement.py`); for
    `unguarded`, the last record."""

    how: How
    seq: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The state of the ledger. `witnessed_to`: the last record that a kept head confirms; what came after it, the chain alone
    guards. `heads`: how many heads were compared."""

    records: int
    head: Head | None
    heads: int
    witnessed_to: int
    findings: tuple[LedgerFinding, ...]

    @property
    def sound(self) -> bool:
        """Is nothing wrong?"""
        return not self.findings


def verify_ledger(connection: Connection, store: HeadStore) -> Verdict:
    """Walks the chain, compares every kept head, and looks whether the triggers are on; names the first broken record.

    Raises Unreachable when the heads cannot be read: without them nothing may be claimed. Reads the heads before the chain, so
    that a run that goes on meanwhile is no finding; and looks again, once, when a run ended between the two.
    """
    heads = kept_heads(store)
    verdict = _judge(connection, heads)
    if any(f.how == "unwitnessed" for f in verdict.findings) and (newer := kept_heads(store)) != heads:
        verdict = _judge(connection, newer)
    return verdict


def _judge(connection: Connection, heads: Sequence[Head]) -> Verdict:
    walked = walk(connection, wanted=frozenset(h.seq for h in heads), after=heads[-1].seq if heads else 0)
    found: list[LedgerFinding] = []
    witnessed = 0
    length = walked.records
    for kept in heads:
        if kept.seq > length:
            continue
        if walked.digests[kept.seq] != kept.digest:
            found.append(_rewritten(kept, witnessed))
            break
        witnessed = kept.seq
    if walked.broken:
        found.append(_broken(walked.broken.how, walked.broken.seq))
    elif heads and heads[-1].seq > length:
        found.append(_cut(length, heads[-1]))
    if walked.ended is not None:
        found.append(_unwitnessed(walked.ended, witnessed))
    found.sort(key=lambda f: f.seq)
    if not _guarded(connection):
        found.append(_unguarded(length))
    end = Head(seq=walked.head[0], digest=walked.head[1]) if walked.head else None
    return Verdict(records=length, head=end, heads=len(heads), witnessed_to=witnessed, findings=tuple(found))


def _guarded(connection: Connection) -> bool:
    # Both triggers of the ledger, enabled ALWAYS ('A'). Index: pg_trigger_tgrelid_tgname_index.
    query = text("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'lethe.ledger'::regclass AND tgname = ANY(:names) AND tgenabled = 'A'")
    return bool(connection.scalar(query, {"names": list(GUARDS)}) == len(GUARDS))


def _broken(how: Literal["edited", "missing"], seq: int) -> LedgerFinding:
    if how == "edited":
        return LedgerFinding(
            how="edited", seq=seq, text=f"Record {seq} was edited: its content is not what its digest, or the record after it, says."
        )
    return LedgerFinding(how="missing", seq=seq, text=f"Record {seq} is missing, though later ones are there.")


def _rewritten(kept: Head, witnessed: int) -> LedgerFinding:
    said = f"The chain was rewritten: record {kept.seq} is not the one kept outside; the last that is confirmed: {witnessed or 'none'}."
    return LedgerFinding(how="rewritten", seq=kept.seq, text=said)


def _cut(length: int, kept: Head) -> LedgerFinding:
    return LedgerFinding(how="cut", seq=length + 1, text=f"The tail was cut: records {length + 1} to {kept.seq} existed and are gone.")


def _unwitnessed(seq: int, witnessed: int) -> LedgerFinding:
    said = (
        f"No head kept outside covers record {seq}, where a run ended; the last that one confirms: {witnessed or 'none'}. "
        "Heads are missing, or lethe_s3 is not the bucket of this ledger: a rewritten chain would not be seen."
    )
    return LedgerFinding(how="unwitnessed", seq=seq, text=said)


def _unguarded(length: int) -> LedgerFinding:
    return LedgerFinding(how="unguarded", seq=length, text="The triggers that keep the ledger append-only are off or gone.")
