"""How a sweep is cut into batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import pytest

from lethe.stores.postgres.plain import Share, Size, at_the_days_end, cuts


def test_every_piece_of_a_range_is_handed_out_once() -> None:
    share = Share(low=0, end=10_000)

    def lane(step: int) -> list[tuple[int, int]]:
        return list(iter(lambda: share.take(lambda low, end: min(low + step, end)), None))

    with ThreadPoolExecutor(4) as pool:
        pieces = sorted(p for found in pool.map(lane, (1, 3, 7, 11)) for p in found)
    assert [low for low, _ in pieces] == [0, *(high for _, high in pieces[:-1])]
    assert pieces[-1][1] == 10_000
    assert share.spent


def test_a_piece_that_could_not_be_cut_is_handed_out_again() -> None:
    share = Share(low=0, end=10)

    def lost(low: int, end: int) -> int:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        share.take(lost)
    assert share.take(lambda low, end: end) == (0, 10)
    assert share.take(lambda low, end: end) is None


def test_batches_grow_and_shrink_towards_their_time() -> None:
    size = Size(rows=20_000, most=60_000, aim=0.03)
    for _ in range(10):
        size.took(size.rows, size.rows * 1e-7)
    assert size.rows == 60_000
    for _ in range(10):
        size.took(size.rows, size.rows * 1e-4)
    assert size.rows == 10_000, "never below half of what it began with"
    size.took(12, 100.0)
    assert size.rows == 10_000, "the end of a range says nothing about the others"


def _utc(text: str) -> datetime:
    return _local(text).replace(tzinfo=UTC)


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("low", "high", "stored_in", "end"),
    [
        # Paris is an hour ahead in winter and two in summer.
        (_utc("2025-01-10T12:00"), _utc("2025-01-12T05:00"), None, _utc("2025-01-11T23:00")),
        (_utc("2025-07-10T12:00"), _utc("2025-07-12T05:00"), None, _utc("2025-07-11T22:00")),
        (_utc("2025-07-11T22:30"), _utc("2025-07-12T05:00"), None, _utc("2025-07-12T05:00")),  # one local day: the window is full
        (_utc("2025-07-11T22:00"), _utc("2025-07-12T05:00"), None, _utc("2025-07-12T05:00")),  # it begins at midnight
        (_utc("2025-07-10T12:00"), _utc("2025-07-11T22:00"), None, _utc("2025-07-11T22:00")),  # it ends there
        (_utc("2025-10-25T12:00"), _utc("2025-10-26T12:00"), None, _utc("2025-10-25T22:00")),  # the clocks change at night
        # Midnight in Paris is six in the evening in New York.
        (_local("2025-07-10T12:00"), _local("2025-07-12T05:00"), "America/New_York", _local("2025-07-11T18:00")),
        (_local("2025-07-10T12:00"), _local("2025-07-12T05:00"), "Europe/Paris", _local("2025-07-12T00:00")),
        (date(2025, 7, 10), date(2025, 7, 12), None, date(2025, 7, 12)),
    ],
)
def test_a_window_that_archives_ends_with_a_local_day_where_it_can(low: Any, high: Any, stored_in: str | None, end: Any) -> None:
    assert at_the_days_end(low, high, zone="Europe/Paris", stored_in=stored_in) == end


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (_utc("2025-10-25T12:00"), _utc("2025-10-26T12:00:00.000007")),
        (_utc("2025-10-25T12:00"), _utc("2025-10-25T12:00:00.000001")),
        (_local("2025-10-25T12:00"), _local("2025-10-26T12:00")),
        (date(2025, 1, 1), date(2025, 12, 31)),
        (date(2025, 1, 1), date(2025, 1, 2)),
        (0, 1),
        (17, 4_711),
    ],
)
def test_the_parts_of_a_window_are_the_whole_of_it_and_none_lies_in_another(low: Any, high: Any, parts: int) -> None:
    found = cuts(low, high, parts)
    assert (found[0], found[-1]) == (low, high)
    assert all(begin < end for begin, end in pairwise(found))
    assert 2 <= len(found) <= parts + 1
