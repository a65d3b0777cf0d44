"""Counting what is due under a prefix: one listing gives the counts, the ages by month and the fingerprint."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lethe.frozen import Frozen
from lethe.plan.model import Counts, HoldScope, ObjectPredicate
from lethe.stores.s3.judge import Judge, Verdict
from lethe.stores.s3.listing import Kind, everything

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Survey(Frozen):
    """What one listing found. `histogram` is (`YYYY-MM` in the policy's zone, entries), by month, believable clocks only.

    `keys` are the digests (Entry.key64) of what is due and not held, eight bytes each, signed, in the machine's order;
    `xor` is all of them together.
    """

    counts: Counts
    histogram: tuple[tuple[str, int], ...]
    kinds: dict[Kind, int]
    xor: int
    keys: bytes


def survey(
    client: S3Client,
    predicate: ObjectPredicate,
    *,
    dataset: str | None = None,
    holds: Sequence[HoldScope] = (),
    page_size: int = 1000,
) -> Survey:
    """Lists every version, delete marker and unfinished upload under the prefix and judges each.

    `page_size` is what one request asks for. Raises Unreachable or Uncountable; a listing that stops half-way counts nothing.
    """
    judge = Judge(predicate, dataset, holds)
    zone = ZoneInfo(predicate.zone)
    verdicts: Counter[Verdict] = Counter()
    months: Counter[str] = Counter()
    kinds: Counter[Kind] = Counter()
    held = xor = 0
    oldest: datetime | None = None
    keys = array("q")
    for entry in everything(client, predicate.bucket, predicate.prefix, page_size=page_size):
        span = judge.span(entry)
        verdict = judge.verdict(span)
        verdicts[verdict] += 1
        kinds[entry.kind] += 1
        if span is None or verdict not in (Verdict.DUE, Verdict.KEPT):
            continue
        months[f"{span.begins.astimezone(zone):%Y-%m}"] += 1
        oldest = span.begins if oldest is None else min(oldest, span.begins)
        if verdict is Verdict.KEPT:
            continue
        if judge.held(span):
            held += 1
        else:
            keys.append(entry.key64)
            xor ^= entry.key64
    counts = Counts(
        total=verdicts.total(),
        due=verdicts[Verdict.DUE],
        held=held,
        quarantined_null=verdicts[Verdict.NULL],
        quarantined_future=verdicts[Verdict.FUTURE],
        quarantined_early=verdicts[Verdict.EARLY],
        oldest=oldest,
    )
    return Survey(counts=counts, histogram=tuple(sorted(months.items())), kinds=dict(kinds), xor=xor, keys=keys.tobytes())


def count(
    client: S3Client, predicate: ObjectPredicate, *, dataset: str | None = None, holds: Sequence[HoldScope] = (), page_size: int = 1000
) -> Counts:
    """The counts of `survey`."""
    return survey(client, predicate, dataset=dataset, holds=holds, page_size=page_size).counts


def histogram(client: S3Client, predicate: ObjectPredicate, *, page_size: int = 1000) -> tuple[tuple[str, int], ...]:
    """The ages of `survey`: (`YYYY-MM`, entries)."""
    return survey(client, predicate, page_size=page_size).histogram
