"""A file of requests, read whole or refused whole. Pure.

JSON: one request, or a list of them; a request is an object. CSV: a header row, then one request a row (RFC 4180); a column `email` or
`account` may be there several times. Both UTF-8. Every refusal says what is wrong and in which entry, and has nothing of what stands there.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lethe.errors import IntakeRefused, LetheError
from lethe.subjects.identifiers import MOST as MOST_IDENTIFIERS
from lethe.subjects.identifiers import Identifier, identifier

LARGEST, MOST = 1 << 20, 1_000
"""Bytes of a file, and requests in it."""

SUFFIXES = (".json", ".csv")
"""Of files of requests. Whatever else lies there is a proof that one of them names, or nobody's."""

_ONE = ("kind", "channel", "language", "received_at", "tenant", "proof")
_MANY = ("email", "account")
FIELDS = (*_ONE, *_MANY)
_FIX = f"Fields: {', '.join(FIELDS)}. Correct the file and put it there again."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A request of a file. `received_at` is None when the file does not say it; `proof` is the key of an object beside the file."""

    kind: str
    channel: str
    language: str
    received_at: datetime | None
    tenant: str | None = field(repr=False)
    proof: str | None = field(repr=False)
    identifiers: tuple[Identifier, ...]


def read_file(name: str, body: bytes, *, datasets: Collection[str] = (), fold_local: bool = True) -> tuple[Entry, ...]:
    """The requests of a file whose name ends in .json or .csv. `datasets` and `fold_local`: see `identifier`. Raises IntakeRefused."""
    if len(body) > LARGEST:
        raise IntakeRefused(f"The file is larger than {LARGEST} bytes.", fix="Split it.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IntakeRefused("The file is not UTF-8.", fix="Save it as UTF-8.") from None
    found = _from_json(text) if name.endswith(".json") else _from_csv(text)
    entries = []
    for number, pairs in enumerate(found, start=1):
        if number > MOST:
            raise IntakeRefused(f"The file has more than {MOST} requests.", fix="Split it.")
        try:
            entries.append(_entry(pairs, datasets, fold_local))
        except LetheError as wrong:
            raise IntakeRefused(wrong.problem, fix=wrong.fix, entry=number) from None
    if not entries:
        raise IntakeRefused("The file has no request.", fix="Take it away, or put requests into it.")
    return tuple(entries)


def _entry(pairs: Sequence[tuple[str, object]], datasets: Collection[str], fold_local: bool) -> Entry:
    given: dict[str, str] = {}
    named: dict[tuple[str, str], Identifier] = {}
    for name, value in pairs:
        if name not in FIELDS:
            raise IntakeRefused("There is a field that no request has.", fix=_FIX)
        if name in given or (isinstance(value, list) and name in _ONE):
            raise IntakeRefused(f"`{name}` is given more than once.", fix=_FIX)
        for text in value if isinstance(value, list) else [value]:
            if text is None or text == "":
                continue
            if not isinstance(text, str) or "\x00" in text:
                raise IntakeRefused(f"`{name}` is no text.", fix=_FIX)
            if name in _ONE:
                given[name] = text
            else:
                one = identifier(name, text, datasets=datasets, fold_local=fold_local)
                named[one.kind, one.normal] = one
    if len(named) > MOST_IDENTIFIERS:
        raise IntakeRefused(f"More than {MOST_IDENTIFIERS} identifiers are not one person.", fix="Write a request for each person.")
    for name in ("kind", "language"):
        if name not in given:
            raise IntakeRefused(f"`{name}` is missing.", fix=_FIX)
    proof = given.get("proof")
    if proof is not None and (proof.endswith(SUFFIXES) or len(proof.encode(errors="replace")) > 1024):
        raise IntakeRefused("`proof` is no key of a proof.", fix="Give the key of an object in the same bucket; its name ends otherwise.")
    return Entry(
        kind=given["kind"],
        channel=given.get("channel", "ticket"),
        language=given["language"],
        received_at=_instant(given.get("received_at")),
        tenant=given.get("tenant"),
        proof=proof,
        identifiers=tuple(named.values()),
    )


def _instant(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        at = None
    if text and (at is None or at.tzinfo is None):
        raise IntakeRefused("`received_at` is no instant with its zone.", fix="Write it as 2026-11-23T02:00:00+01:00.")
    return at


def _from_json(text: str) -> Iterator[list[tuple[str, object]]]:
    try:
        given = json.loads(text, object_pairs_hook=_Pairs)  # pairs, so that a key given twice is not dropped
    except (ValueError, RecursionError):
        raise IntakeRefused("The file is not JSON.", fix="Write one object, or a list of objects.") from None
    entries = [given] if isinstance(given, _Pairs) else given
    if not isinstance(entries, list):
        raise IntakeRefused("The file holds no request.", fix="Write one object, or a list of objects.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, _Pairs):
            raise IntakeRefused("That is no request.", fix="Write each as an object.", entry=number)
        yield entry


class _Pairs(list[tuple[str, object]]):
    """A JSON object, as its pairs."""


def _from_csv(text: str) -> Iterator[list[tuple[str, object]]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        header = next(rows, [])
        if not header or any(name not in FIELDS for name in header) or any(header.count(name) > 1 for name in _ONE):
            raise IntakeRefused("The first row does not name the columns.", fix=_FIX)
        for row in rows:
            if not row:
                continue
            number += 1
            if len(row) != len(header):
                raise IntakeRefused("A row has not as many fields as the first one.", fix="Quote what has a comma in it.", entry=number)
            yield list(zip(header, row, strict=True))
    except csv.Error:
        raise IntakeRefused(
            "The file is not CSV.", fix="Quote what has a comma, a quote or a line break in it.", entry=number + 1
        ) from None
