"""How a sweep is cut into batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lethe.stores.postgres.plain import Share, Size


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
