"""Follows a path of the catalog from dataset to dataset. Pure."""

from __future__ import annotations

from typing import NamedTuple

from lethe.catalog.model import Path, Relation, Store
from lethe.errors import UnknownName


class Step(NamedTuple):
    """One hop: from the rows of `start` to those of `end`. `back`: `relation` belongs to `end` and points at `start`."""

    start: str
    end: str
    relation: Relation
    back: bool


def follow(store: Store, dataset: str, path: Path) -> tuple[Step, ...]:
    """The hops of `path` from `dataset`. Raises UnknownName, with the hop, when one leads nowhere."""
    steps: list[Step] = []
    here = dataset
    for hop in path:
        steps.append(step := _hop(store, here, hop))
        here = step.end
    return tuple(steps)


def _hop(store: Store, here: str, hop: str) -> Step:
    other, _, name = hop.rpartition(".")
    table = store.tables.get(other or here)
    relation = table.relations.get(name) if table else None
    if relation is None:
        raise UnknownName(
            f"`{hop}` is no relation of `{other or here}`.", fix=f"Add it under `relations:` of `{other or here}`, or correct the path."
        )
    end = other or relation.to
    if other and relation.to != here:
        raise UnknownName(f"`{hop}` does not point at `{here}`.", fix=f"It points at `{relation.to}`.")
    if end not in store.tables:
        raise UnknownName(f"`{hop}` leads to `{end}`, which is no dataset of this store.", fix="Add the dataset, or correct `to:`.")
    return Step(here, end, relation, bool(other))
