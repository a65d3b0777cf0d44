"""One record of evidence and its digest. Pure. A record holds ids, counts and digests, never personal data (invariant 8)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lethe.errors import EvidenceRefused
from lethe.frozen import Frozen, canonical_json

GENESIS = "0" * 64
"""What the first record carries as the digest of the one before."""

_KIND = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")
_RUN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9:._/-]{0,199}$")
# An e-mail address, percent-encoded or not, in any script; also a URL with credentials, which is no evidence either.
_ADDRESS = re.compile(r"[^\s@]+(@|%40|\uff20)[^\s@]+\.[^\s@]", re.IGNORECASE)


class Record(Frozen, str_strip_whitespace=False):
    """One line of the ledger, as stored. `body` is canonical JSON, `recorded_at` ISO 8601 in UTC with microseconds: both are
    texts, so that the digest is over exactly what is stored."""

    seq: int
    recorded_at: str
    kind: str
    run: str | None
    body: str
    previous: str
    digest: str

    @property
    def content(self) -> dict[str, Any]:
        """The body, read."""
        return dict(json.loads(self.body))

    def computed(self) -> str:
        """The digest that this record's content has; differs from `digest` when the record was edited."""
        return record_digest(
            seq=self.seq, recorded_at=self.recorded_at, kind=self.kind, run=self.run, body=self.body, previous=self.previous
        )


def record_digest(*, seq: int, recorded_at: str, kind: str, run: str | None, body: str, previous: str) -> str:
    """sha256, in hex, of the fields on lines of their own, the body last: no field but the body can hold a line break.

    The trigger `ledger_continues` computes the same in the database (`control/migrations/versions/0001_guards.sql`).
    """
    return hashlib.sha256("\n".join((str(seq), recorded_at, kind, run or "", previous, body)).encode()).hexdigest()


def next_record(last: tuple[int, str] | None, kind: str, body: Mapping[str, Any], *, run: str | None, at: datetime) -> Record:
    """The record that follows `last` (its seq and digest; None at the beginning).

    Raises EvidenceRefused when the kind or the run is no name, `at` has no zone, or the body is not JSON or looks personal.
    """
    if not _KIND.match(kind) or (run is not None and not _RUN.match(run)):
        raise EvidenceRefused(
            "A record's kind or run is not a name.", fix="Write the kind as `plan.made` and the run as a digest or an id."
        )
    if at.tzinfo is None:
        raise EvidenceRefused("A record's instant has no time zone.", fix="Pass lethe.instants.now().")
    refuse_personal(body)
    try:
        text = canonical_json(dict(body))
    except (TypeError, ValueError):
        raise EvidenceRefused(f"The body of {kind} is not JSON.", fix="Use texts, numbers, true, false, null, lists and objects.") from None
    seq, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
    fields: dict[str, Any] = {
        "seq": seq,
        "recorded_at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "run": run,
        "body": text,
        "previous": previous,
    }
    return Record(**fields, digest=record_digest(**fields))


def refuse_personal(value: Any) -> None:
    """Raises EvidenceRefused when a key or a text anywhere in `value` looks like an e-mail address; never repeats it.

    It is the last net, not the rule: callers pass ids, counts and digests in the first place.
    """
    if isinstance(value, str):
        if _ADDRESS.search(value):
            raise EvidenceRefused("A record holds what looks like an e-mail address.", fix="Pass an id, a login or a keyed digest instead.")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            refuse_personal(key)
            refuse_personal(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            refuse_personal(item)


def keyed_digest(key: bytes, *parts: str) -> str:
    """HMAC-SHA256, in hex, of `parts`: how evidence names a person. Without `key` nobody can test a guess against it.

    Raises EvidenceRefused when the key is shorter than 16 bytes.
    """
    _refuse_short(key)
    return hmac.digest(key, "\x00".join(parts).encode(), "sha256").hex()


def keyed_digests(key: bytes, first: str) -> Callable[[str], str]:
    """`keyed_digest` of `first` and another part, for many of those: the key is taken in once, which is two fifths of the time. Raises likewise."""
    _refuse_short(key)
    begun = hmac.new(key, f"{first}\x00".encode(), "sha256")

    def digest(other: str) -> str:
        ended = begun.copy()
        ended.update(other.encode())
        return ended.hexdigest()

    return digest


def _refuse_short(key: bytes) -> None:
    if len(key) < 16:
        raise EvidenceRefused(
            "The key for digests of persons is missing or short.", fix="Set `digest_key` in the extra of lethe_db: 32 random bytes in hex."
        )
