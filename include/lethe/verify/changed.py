"""Rows that changed between plan and purge, told apart by the keys that were frozen when the plan was counted.

Equal fingerprints prove that the rows deleted are the rows planned, less those still there: then nothing changed, and no row is looked up.
Otherwise every frozen key is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lethe.errors import Uncountable
from lethe.verify.batches import Deleted, Planned

Keys = NDArray[np.int64]
CHUNK = 50_000
"""Keys looked up by one query."""


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """`changed`: planned rows that exist and are no longer due, and of them `elsewhere` that are gone by another's hand. `arrived`: rows still due that were
    not planned. `looked_up`: keys that had to be looked up."""

    changed: int
    arrived: int
    elsewhere: int = 0
    looked_up: int = 0


def reconcile(
    planned: Planned,
    deleted: Deleted,
    frozen: Keys | None,
    left: Sequence[tuple[int, bool]],
    *,
    fingerprint: Callable[[Keys], int],
    look_up: Callable[[Keys], tuple[int, int]],
) -> Reconciled:
    """Tells what became of the planned rows.

    `frozen`: keys of the rows due at plan time, all of them or only the unheld; None: none were kept. `left`: key and "is held" of each row due now.
    `fingerprint` of keys; `look_up` gives, of keys, how many exist and are not due, and how many do not exist. Uncountable when keys are missing.

    A planned row that is neither there nor deleted by us was deleted by someone else: it is counted as changed. That our own transactions
    deleted no more than they say is proven apart from this, by PostgreSQL's statistics.
    """
    if frozen is None:
        if planned.counts.due:
            raise Uncountable("No keys were kept when the plan was counted.", fix="Plan the run again.")
        frozen = np.array([], dtype=np.int64)
    frozen = _ascending(frozen)
    keys = np.fromiter((k for k, _ in left), dtype=np.int64, count=len(left))
    held = np.fromiter((h for _, h in left), dtype=bool, count=len(left))
    places = np.searchsorted(frozen, keys)
    known = frozen[np.minimum(places, len(frozen) - 1)] == keys if len(frozen) else np.zeros(len(keys), dtype=bool)
    arrived = int(np.count_nonzero(~known))
    if len(frozen) < planned.counts.due:  # The held ones were not frozen: as many may be there without having arrived.
        arrived -= min(int(np.count_nonzero(~known & held)), planned.counts.held)
    gone = np.delete(frozen, places[known])
    ours = deleted.rows - deleted.arrived
    if planned.xor is not None and len(gone) == ours and planned.xor ^ fingerprint(keys[known]) == deleted.xor:
        return Reconciled(changed=0, arrived=arrived)
    changed = missing = 0
    for start in range(0, len(gone), CHUNK):
        there, not_there = look_up(gone[start : start + CHUNK])
        changed += there
        missing += not_there
    elsewhere = max(0, missing - ours)
    return Reconciled(changed=changed + elsewhere, arrived=arrived, elsewhere=elsewhere, looked_up=len(gone))


def _ascending(keys: Keys) -> Keys:
    """The keys in order, each once. Frozen keys come so, which one look tells: numpy's `unique` hashes every key, at 0.7 s a million."""
    if np.all(keys[1:] > keys[:-1]):
        return keys
    ordered = np.sort(keys)
    first: Keys = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return first
