"""What became of the planned rows, against a twin that thinks in sets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lethe.errors import Uncountable
from lethe.plan.model import Counts
from lethe.verify.batches import Deleted, Planned
from lethe.verify.changed import CHUNK, Keys, Reconciled, reconcile


def _xor(keys: Keys) -> int:
    return int(np.bitwise_xor.reduce(keys)) if len(keys) else 0


def _keys(values: list[int]) -> Keys:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("seed", range(200))
def test_every_planned_row_is_there_or_changed_or_gone_and_every_other_one_has_arrived(seed: int) -> None:
    chance = random.Random(seed)
    frozen = set(chance.sample(range(-40, 40), chance.randint(0, 20)))
    left = set(chance.sample(sorted(frozen), chance.randint(0, len(frozen)))) | set(chance.sample(range(40, 60), chance.randint(0, 3)))
    renewed = {k for k in frozen - left if chance.random() < 0.2}
    removed = {k for k in frozen - left - renewed if chance.random() < 0.2}
    ours = frozen - left - renewed - removed
    stored = [*frozen, *chance.sample(sorted(frozen), len(frozen) // 4)]  # in any order, and some twice
    chance.shuffle(stored)
    asked: list[int] = []

    def look_up(keys: Keys) -> tuple[int, int]:
        asked.extend(keys.tolist())
        there = len(renewed & set(keys.tolist()))
        return there, len(keys) - there

    found = reconcile(
        Planned(counts=Counts(total=100, due=len(frozen)), xor=_xor(_keys(sorted(frozen)))),
        Deleted(rows=len(ours), xor=_xor(_keys(sorted(ours)))),
        _keys(stored),
        [(k, False) for k in chance.sample(sorted(left), len(left))],
        fingerprint=_xor,
        look_up=look_up,
    )
    assert (found.changed, found.elsewhere) == (len(renewed) + len(removed), len(removed))
    assert found.arrived == len(left - frozen)
    assert asked == ([] if ours == frozen - left else sorted(frozen - left))


def test_keys_that_lie_in_order_are_looked_up_in_order_each_once_in_chunks() -> None:
    sizes: list[int] = []

    def look_up(keys: Keys) -> tuple[int, int]:
        sizes.append(len(keys))
        return 0, len(keys)

    number = CHUNK + 5
    planned = Planned(counts=Counts(total=number, due=number), xor=1)
    frozen = np.arange(number, dtype=np.int64)
    found = reconcile(planned, Deleted(rows=number - 7, xor=2), frozen, [], fingerprint=_xor, look_up=look_up)
    assert (found, sizes) == (Reconciled(changed=7, arrived=0, elsewhere=7, looked_up=number), [CHUNK, 5])


def test_a_held_row_that_was_not_frozen_has_not_arrived() -> None:
    planned = Planned(counts=Counts(total=5, due=3, held=1), xor=_xor(_keys([1, 2])))
    found = reconcile(
        planned,
        Deleted(rows=2, xor=_xor(_keys([1, 2]))),
        _keys([2, 1]),
        [(3, True), (4, False)],
        fingerprint=_xor,
        look_up=lambda k: (0, 0),
    )
    assert found == Reconciled(changed=0, arrived=1)


def test_without_keys_nothing_can_be_said_of_what_was_due() -> None:
    with pytest.raises(Uncountable):
        reconcile(Planned(counts=Counts(total=5, due=3)), Deleted(rows=3), None, [], fingerprint=_xor, look_up=lambda k: (0, 0))
    nothing = reconcile(Planned(counts=Counts(total=5, due=0)), Deleted(), None, [(9, False)], fingerprint=_xor, look_up=lambda k: (0, 0))
    assert nothing == Reconciled(changed=0, arrived=1)
