"""What two sets of predicates would take from the same prefixes, side by side: each entry is judged by both as it is listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lethe.frozen import Frozen
from lethe.plan.model import ObjectPredicate
from lethe.stores.s3.judge import Judge
from lethe.stores.s3.listing import Entry, everything, folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Difference(Frozen):
    """Entries due `before` and `after`; `more` only after, `fewer` only before. `oldest`: the earliest clock among the `more`."""

    before: int
    after: int
    more: int
    fewer: int
    oldest: datetime | None


def difference(
    client: S3Client, before: Sequence[ObjectPredicate], after: Sequence[ObjectPredicate], *, page_size: int = 1000
) -> Difference:
    """Lists each prefix once and counts; holds are left aside. Memory does not grow with the entries.

    Predicates of one bucket are of one prefix or of prefixes that do not overlap, as the catalog's are. Raises Unreachable or
    Uncountable; a listing that stops half-way counts nothing.
    """
    olds, news = _judges(before), _judges(after)
    was = becomes = more = fewer = 0
    oldest: datetime | None = None
    for bucket, prefix in dict.fromkeys([*olds, *news]):
        for entry in everything(client, bucket, prefix, page_size=page_size):
            old = _due(olds.get((bucket, prefix), ()), entry)
            new = _due(news.get((bucket, prefix), ()), entry)
            was += old is not None
            becomes += new is not None
            fewer += old is not None and new is None
            if new is not None and old is None:
                more += 1
                oldest = new if oldest is None else min(oldest, new)
    return Difference(before=was, after=becomes, more=more, fewer=fewer, oldest=oldest)


def _judges(predicates: Sequence[ObjectPredicate]) -> dict[tuple[str, str], list[Judge]]:
    found: dict[tuple[str, str], list[Judge]] = {}
    for predicate in predicates:
        found.setdefault((predicate.bucket, folder(predicate.prefix)), []).append(Judge(predicate))
    return found


def _due(judges: Sequence[Judge], entry: Entry) -> datetime | None:
    """When the entry begins, if any of these would delete it."""
    for judge in judges:
        span = judge.span(entry)
        if span is not None and judge.goes(entry):
            return span.begins
    return None
