"""Who refers to whom, and the order in which a plan's steps may delete: children before parents, cycles side by side. Pure.

Every foreign key of the live schema counts, `ON DELETE CASCADE` and `SET NULL` too (invariant 1), and every relation of the
catalog that may not dangle. So does every row by which another one is aged: without the contract a tenant would never be due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Catalog, Path, Prefix, Store, Table
from lethe.errors import UnknownName
from lethe.plan.model import Predicate, Step

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, kw_only=True, order=True)
class Reference:
    """Rows of `child` (`schema.table`) refer by `columns` to rows of `parent` that have these values in `to_columns`.

    A dataset is None when the table is not in the catalog: its rows are never deleted, so they stay and block.
    """

    child: str
    columns: tuple[str, ...]
    parent: str
    to_columns: tuple[str, ...]
    child_dataset: str | None
    parent_dataset: str | None
    foreign_key: bool


def table_name(table: Table) -> str:
    """`schema.table`, as the live schema names it."""
    return f"{table.db_schema}.{table.table}"


def references(store: Store, live: LiveSchema | None) -> tuple[Reference, ...]:
    """Every reference between tables of a store, each once, in a fixed order. Partitions count as their partitioned table.

    UnknownName when a clock's path leads nowhere.
    """
    datasets = {table_name(t): i for i, t in store.tables.items() if t.partition_of is None}
    found: dict[tuple[str, tuple[str, ...], str, tuple[str, ...]], bool] = {}
    for key in live.foreign_keys if live else ():
        pairs = sorted(zip(key.columns, key.to_columns, strict=True))
        found[(_root(key.table, live), tuple(a for a, _ in pairs), _root(key.to, live), tuple(b for _, b in pairs))] = True
    for table in store.tables.values():
        for relation in table.relations.values():
            if relation.may_dangle or relation.to not in store.tables:
                continue
            parent = store.tables[relation.to]
            pairs = sorted(zip(relation.columns, relation.to_columns or parent.key, strict=True))
            found.setdefault(
                (_root(table_name(table), live), tuple(a for a, _ in pairs), table_name(parent), tuple(b for _, b in pairs)), False
            )
    for name, columns, to, to_columns in _aged_by(store):
        found.setdefault((_root(name, live), columns, _root(to, live), to_columns), False)
    return tuple(
        Reference(
            child=child,
            columns=columns,
            parent=parent,
            to_columns=to_columns,
            child_dataset=datasets.get(child),
            parent_dataset=datasets.get(parent),
            foreign_key=foreign_key,
        )
        for (child, columns, parent, to_columns), foreign_key in sorted(found.items())
    )


def _aged_by(store: Store) -> Iterator[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    """Where a clock's path goes back over a relation, the rows it comes from are as references to those it comes to: these must not go
    first, or the clock would stop. Not with an `otherwise`, which goes on counting, and not back to the clock's own dataset."""
    for dataset, table in store.tables.items():
        for clock in table.clocks.values():
            here = dataset
            for hop in () if clock.otherwise else clock.through:
                to = hop_to(store, here, hop)
                other, _, name = hop.rpartition(".")
                if other and to != dataset:
                    relation = store.tables[to].relations[name]
                    pairs = sorted(zip(relation.to_columns or store.tables[here].key, relation.columns, strict=True))
                    yield (
                        table_name(store.tables[here]),
                        tuple(a for a, _ in pairs),
                        table_name(store.tables[to]),
                        tuple(b for _, b in pairs),
                    )
                here = to


def _root(name: str, live: LiveSchema | None) -> str:
    """The partitioned table that a partition belongs to, whatever the depth; any other table itself."""
    while live is not None and name in live.tables and (parent := live.tables[name].partition_of):
        name = parent
    return name


def visited(store: Store, dataset: str, path: Path) -> tuple[str, ...]:
    """The datasets that a path goes through, the last one included, the start left out. UnknownName when a hop does not exist."""
    found = []
    for hop in path:
        dataset = hop_to(store, dataset, hop)
        found.append(dataset)
    return tuple(found)


def hop_to(store: Store, dataset: str, hop: str) -> str:
    """The dataset that one hop leads to. UnknownName, with the hop, when it leads nowhere in this store."""
    other, _, name = hop.rpartition(".")
    if not other and dataset in store.tables and (own := store.tables[dataset].relations.get(name)) and own.to in store.tables:
        return own.to
    if other and other in store.tables and (back := store.tables[other].relations.get(name)) and back.to == dataset:
        return other
    raise UnknownName(
        f"The hop {hop!r} from dataset {dataset!r} leads nowhere in store {store.id!r}.", fix="Correct the path in the catalog."
    )


def groups(steps: Iterable[Step], catalog: Catalog, live: Mapping[str, LiveSchema]) -> tuple[tuple[str, ...], ...]:
    """The ids of the steps that act, in groups that may run side by side; inside a group, one after the other in this order.

    Steps are of one group when they delete from the same dataset, when a row of one's may refer to a row of the other's, or when
    one's clock, contracts or what it is kept for lie in the other's rows. Children come before parents. Tables that refer to each other in a cycle stand
    next to each other. Where no reference says otherwise, rows go before the rows that their clock lies on.
    """
    acting = [s for s in steps if s.acts]
    by_dataset: dict[str, list[Step]] = {}
    for step in acting:
        by_dataset.setdefault(step.dataset or step.id, []).append(step)
    import networkx as nx  # here, for it takes 12 MB and as long as the rest of a start

    known = catalog.datasets()
    firm, soft = nx.DiGraph(), nx.DiGraph()
    firm.add_nodes_from(by_dataset)
    for store in catalog.stores:
        if not any(i in by_dataset for i in store.tables):
            continue
        for reference in references(store, live.get(store.id)):
            child, parent = reference.child_dataset, reference.parent_dataset
            if child in by_dataset and parent in by_dataset and child != parent:
                firm.add_edge(child, parent)
    for dataset, its_steps in by_dataset.items():
        if dataset not in known or isinstance(known[dataset][1], Prefix):
            continue
        soft.add_edges_from(
            (dataset, other) for other in _looked_at(known[dataset][0], dataset, its_steps) if other in by_dataset and other != dataset
        )
    together = nx.Graph()
    together.add_nodes_from(by_dataset)
    together.add_edges_from([*firm.edges, *soft.edges])
    place = {dataset: n for n, dataset in enumerate(by_dataset)}
    found = sorted((sorted(c, key=place.__getitem__) for c in nx.connected_components(together)), key=lambda c: place[c[0]])
    return tuple(tuple(s.id for d in _ordered(members, firm, soft, place) for s in by_dataset[d]) for members in found)


def _looked_at(store: Store, dataset: str, steps: Sequence[Step]) -> set[str]:
    """The other datasets that the predicates of these steps read."""
    found: set[str] = set()
    for step in steps:
        if isinstance(step.predicate, Predicate):
            found.update(visited(store, dataset, step.predicate.clock.through))
            if step.predicate.shield:
                found.update(visited(store, dataset, step.predicate.shield.through))
            found.update(k.dataset for k in step.predicate.kept_for)
    return found


def _ordered(members: list[str], firm: nx.DiGraph, soft: nx.DiGraph, place: Mapping[str, int]) -> list[str]:
    """Children before parents; a cycle's members side by side; a soft edge wherever it makes no new cycle."""
    import networkx as nx

    bound = nx.condensation(firm.subgraph(members))
    part = bound.graph["mapping"]
    for reader, read in soft.subgraph(members).edges:
        a, b = part[reader], part[read]
        if a != b and not nx.has_path(bound, b, a):
            bound.add_edge(a, b)
    first = {n: min(place[d] for d in bound.nodes[n]["members"]) for n in bound}
    ordered: list[str] = []
    for node in nx.lexicographical_topological_sort(bound, key=first.__getitem__):
        ordered += sorted(bound.nodes[node]["members"], key=place.__getitem__)
    return ordered
