"""How a row and the rows it is kept for lead to one tenant: paths turned round, and columns that both sides hold. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from lethe.catalog.model import Path, Store
from lethe.errors import UnknownName
from lethe.plan.model import KeptFor
from lethe.plan.order import hop_to, visited


class _TenantColumns(NamedTuple):
    """The columns of `dataset` that hold a tenant's key, and which columns of the tenants' dataset they stand for."""

    dataset: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def kept_for(store: Store, dataset: str, categories: Collection[str]) -> tuple[KeptFor, ...]:
    """For each table of these categories in the store, the columns that hold the tenant there and here; each once, in the catalog's order.

    A table that reaches the tenant through others is covered by the last of them, whose rows it cannot be without. Empty when this
    dataset's own rows do not hold their tenant. UnknownName when a table of the categories reaches it in another way.
    """
    own = _tenant_columns(store, dataset)
    if own is None or own.dataset != dataset:
        return ()
    found: dict[KeptFor, None] = {}
    for name, table in store.tables.items():
        if table.category not in categories or table.partition_of is not None:
            continue
        held = _tenant_columns(store, name)
        if held is None or set(held.key) != set(own.key):
            raise UnknownName(
                f"Rows of {dataset!r} cannot be kept for those of {name!r}: these lead to their tenant by no chain of relations.",
                fix=f"Correct `tenant:` of {name!r} in the catalog.",
            )
        pairs = sorted(zip(held.key, held.columns, strict=True))
        mine = dict(zip(own.key, own.columns, strict=True))
        found[KeptFor(dataset=held.dataset, columns=tuple(c for _, c in pairs), own=tuple(mine[k] for k, _ in pairs))] = None
    return tuple(found)


def _tenant_columns(store: Store, dataset: str) -> _TenantColumns | None:
    """Where the tenant of the dataset's rows stands; None when their path goes back over a relation, or when a row may do without."""
    path = store.tables[dataset].tenant
    if path is None or store.tenants is None:
        return None
    key = store.tables[store.tenants].key
    if not path:
        return _TenantColumns(dataset, key, key) if dataset == store.tenants else None
    before = (dataset, *visited(store, dataset, path))
    relations = [None if "." in hop else store.tables[here].relations[hop] for here, hop in zip(before[:-1], path, strict=True)]
    last = relations[-1]
    if before[-1] != store.tenants or last is None or any(r is None or r.may_dangle for r in relations[:-1]):
        return None
    return _TenantColumns(before[-2], last.columns, last.to_columns or key)


def turned_round(store: Store, dataset: str, path: Path) -> Path:
    """The path that leads from where `path` ends back to `dataset`."""
    hops: list[str] = []
    for hop in path:
        to = hop_to(store, dataset, hop)
        other, _, name = hop.rpartition(".")
        hops.insert(0, name if other else f"{dataset}.{name}")
        dataset = to
    return tuple(hops)
