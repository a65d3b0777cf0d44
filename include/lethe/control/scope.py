"""Which datasets a hold can keep, by the ways that the catalog knows from a row to a tenant and to a person. Pure.

A dataset that leads nowhere near the scope is not kept by it: a hold on it alone would keep nothing, and somebody would rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lethe.catalog.model import Catalog, Prefix, Store, Table
from lethe.errors import HoldRefused, UnknownName
from lethe.plan.model import HoldScope
from lethe.plan.order import visited


def lacking(catalog: Catalog, scope: HoldScope) -> Mapping[str, str]:
    """By dataset, in the catalog's order, what it lacks to be kept by a hold of that scope: empty when it can be kept.

    Only the dataset of the scope when it names one. Partitions go with their partitioned table. UnknownName for a dataset that the
    catalog does not have.
    """
    datasets = catalog.datasets()
    for name in (scope.dataset, scope.person[0] if scope.person else None):
        if name is not None and name not in datasets:
            raise UnknownName(f"The catalog has no dataset {name!r}.", fix="`lethe check` lists them.")
    named = [scope.dataset] if scope.dataset else [i for i, (_, e) in datasets.items() if not (isinstance(e, Table) and e.partition_of)]
    return {name: _lacks(name, *datasets[name], scope) for name in named}


def refuse_unreachable(catalog: Catalog, scope: HoldScope) -> None:
    """Raises HoldRefused when no dataset could be kept by a hold of that scope, and says what is lacking."""
    found = lacking(catalog, scope)
    if any(not lack for lack in found.values()):
        return
    if scope.dataset:
        raise HoldRefused(
            f"This hold would keep nothing: dataset {scope.dataset!r} has {found[scope.dataset]}.",
            fix="Add the way to the dataset in the catalog, or hold the dataset without that.",
        )
    raise HoldRefused(
        "This hold would keep nothing: no dataset leads to what it names.", fix="Add `tenant` and `persons` to the datasets in the catalog."
    )


def _lacks(name: str, store: Store, entry: Table | Prefix, scope: HoldScope) -> str:
    if isinstance(entry, Prefix):
        if scope.dataset is None and (scope.tenant is not None or scope.person is not None):
            return "objects, which lead to no tenant and no person; a hold that names the dataset keeps them all"
        return "" if entry.clocks or not _bounded(scope) else "no clock, so its objects lie in no range of time"
    if scope.tenant is not None and entry.tenant is None:
        return "no way to a tenant (`tenant`)"
    if scope.person is not None and not any(_end(store, name, path) == scope.person[0] for path in entry.persons):
        return f"no way to {scope.person[0]} (`persons`)"
    return "" if entry.clocks or not _bounded(scope) else "no clock, so its rows lie in no range of time"


def _bounded(scope: HoldScope) -> bool:
    return scope.since is not None or scope.until is not None


def _end(store: Store, dataset: str, path: tuple[str, ...]) -> str:
    return (dataset, *visited(store, dataset, path))[-1]
