"""Deleting rows that refer to each other: tables in a cycle, or a table whose rows refer to rows of their own.

What may go is the largest set of going rows to which no row outside of it refers. It is found on a snapshot, cut into batches in
the order of its strongly connected parts (referring rows first), and found again for each batch once its rows are locked. A batch
is deleted in one statement with one data-modifying CTE a step, so that foreign keys are looked at when all of it is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection, and_, false, or_, select

from lethe.errors import WrongCount
from lethe.plan.model import HoldScope
from lethe.plan.order import Reference
from lethe.stores.postgres.careful import lock_deciding, placed
from lethe.stores.postgres.delete import (
    Isolation,
    Outcome,
    Piece,
    deleting,
    files_of,
    going,
    pieces,
    refuse_if_left,
    summing,
    system_column,
)
from lethe.stores.postgres.filing import Filing, Named, removed
from lethe.stores.postgres.predicate import Target, referred_to
from lethe.stores.postgres.tables import bound_value, row_of
from lethe.stores.postgres.taking import Taken, Taking, refuse_other_count, together

Node = tuple[str, tuple[Any, ...]]
"""A row: its dataset and its key."""


def cyclic_datasets(targets: Sequence[Target]) -> tuple[frozenset[str], ...]:
    """The sets of datasets, among those of `targets`, whose rows refer to each other in a cycle; one alone when to itself. Pure."""
    own = {t.dataset for t in targets}
    edges = [(r.child_dataset, r.parent_dataset) for t in targets for r in t.incoming if r.child_dataset in own]
    if not edges:
        return ()
    import networkx as nx  # 12 MB and as long as the rest of a start: only for who has something to sort

    graph = nx.DiGraph(edges)
    found = [frozenset(c) for c in nx.strongly_connected_components(graph)]
    return tuple(c for c in found if len(c) > 1 or any(graph.has_edge(d, d) for d in c))


def closed(rows: Iterable[Node], edges: Mapping[Node, Iterable[Node]], barred: Iterable[Node] = ()) -> set[Node]:
    """The largest subset of `rows` to which nothing outside of it refers: `edges[row]` are the rows that refer to it, `barred`
    those that something else refers to. Pure."""
    stay = set(rows)
    refers: dict[Node, list[Node]] = defaultdict(list)
    out = [b for b in barred if b in stay]
    for row, referring in edges.items():
        for other in referring:
            refers[other].append(row)
    out += [row for row in stay if any(other not in stay for other in edges.get(row, ()))]
    while out:
        row = out.pop()
        if row in stay:
            stay.discard(row)
            out += [r for r in refers.get(row, ()) if r in stay]
    return stay


def parts(rows: set[Node], edges: Mapping[Node, Iterable[Node]], size: int) -> list[list[Node]]:
    """`rows` in batches of about `size`: referring rows first, rows that refer to each other never apart. Pure."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(rows, key=repr))
    graph.add_edges_from((row, other) for row in rows for other in edges.get(row, ()))
    batches: list[list[Node]] = [[]]
    for component in nx.strongly_connected_components(graph):
        if batches[-1] and len(batches[-1]) + len(component) > size:
            batches.append([])
        batches[-1] += component
    return [b for b in batches if b]


@dataclass(kw_only=True)
class Cycle:
    """All steps over the tables of one cycle, purged together."""

    targets: tuple[Target, ...]
    rows: int
    snapshots: Mapping[str, str | None]
    recount: bool = False
    taking: Mapping[str, Taking] = field(default_factory=dict)
    filing: Filing | None = None
    role: str = "purge"
    name: str = "cycle"
    isolation: Isolation = "READ COMMITTED"
    _holds: Sequence[HoldScope] = field(default=(), repr=False)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps, in the order of the plan."""
        return tuple(t.step.id for t in self.targets)

    def start(self, connection: Connection) -> Any:
        """The batches: read once, without locks. What changes later is seen again under the locks."""
        nodes, barred = self._going(connection, None, self._holds)
        edges = self._edges(connection, None, self._holds)
        return parts(closed(nodes, edges, barred), edges, self.rows) or None

    def with_holds(self, holds: Sequence[HoldScope]) -> Cycle:
        """The holds that `start` goes by; `batch` is given its own."""
        self._holds = holds
        return self

    def batch(self, connection: Connection, cursor: Any, holds: Sequence[HoldScope]) -> Outcome:
        """Locks the rows of the next batch, finds again what may go, and deletes that in one statement."""
        batch, *rest = cursor
        wanted = _keys(batch)
        places = {d: list(self._lock(connection, d, keys)) for d, keys in sorted(wanted.items())}
        for target in self.targets:
            for values in places.get(target.dataset, ()):
                lock_deciding(connection, target, values)
        nodes, barred = self._going(connection, wanted, holds)
        edges = self._edges(connection, wanted, holds)
        goes = closed(nodes, edges, barred)
        found, xid = self._delete(connection, {n: nodes[n] for n in goes}, holds) if goes else (self._nothing(), None)
        return Outcome(pieces=found, range={"rows locked": len(batch)}, cursor=rest, done=not rest, xid=xid)

    def _nothing(self) -> tuple[Piece, ...]:
        return tuple(Piece(step=s, rows=0, fingerprint=0) for s in self.steps)

    def _key(self, dataset: str, row: Any) -> list[Any]:
        return [row.c[k] for k in self._target(dataset).table.key]

    def _target(self, dataset: str) -> Target:
        return next(t for t in self.targets if t.dataset == dataset)

    @property
    def _inner(self) -> list[Reference]:
        own = {t.dataset for t in self.targets}
        return [r for r in self.targets[0].references if r.parent_dataset in own and r.child_dataset in own]

    def _lock(self, connection: Connection, dataset: str, keys: Sequence[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        """Locks the rows, and yields where they lie."""
        row = self._target(dataset).row()
        places: dict[int, list[str]] = defaultdict(list)
        for chunk in _chunks(sorted(keys, key=repr)):
            statement = select(system_column(row, "tableoid"), system_column(row, "ctid")).select_from(row)
            for of, place in connection.execute(statement.where(self._among(dataset, row, chunk)).with_for_update(of=row)):
                places[int(of)].append(str(place))
        for of, those in places.items():
            yield {"places": those, "places_of": of}

    def _among(self, dataset: str, row: Any, keys: Sequence[tuple[Any, ...]]) -> Any:
        columns = self._key(dataset, row)
        if len(columns) == 1:
            return columns[0].in_([key[0] for key in keys])
        return or_(*(and_(*(c == bound_value(v) for c, v in zip(columns, key, strict=True))) for key in keys))

    def _going(
        self, connection: Connection, wanted: Mapping[str, Sequence[tuple[Any, ...]]] | None, holds: Sequence[HoldScope]
    ) -> tuple[dict[Node, str], list[Node]]:
        """The going rows, each with the step that takes it, and those to which a row outside of the cycle's tables refers."""
        nodes: dict[Node, str] = {}
        barred: list[Node] = []
        inner = set(self._inner)
        for target in self.targets:
            row = target.row()
            outer = [referred_to(row, r, target, f"r{n}") for n, r in enumerate(target.incoming) if r not in inner]
            width = len(target.table.key)
            for keys in [None] if wanted is None else _chunks(wanted.get(target.dataset, ())):
                query = select(*self._key(target.dataset, row), or_(*outer).label("barred") if outer else false().label("barred"))
                query = query.select_from(row).where(going(row, target, holds))
                if keys is not None:
                    query = query.where(self._among(target.dataset, row, keys))
                for found in connection.execute(query):
                    node = (target.dataset, tuple(found[:width]))
                    nodes.setdefault(node, target.step.id)
                    if found[width]:
                        barred.append(node)
        return nodes, barred

    def _edges(
        self, connection: Connection, wanted: Mapping[str, Sequence[tuple[Any, ...]]] | None, holds: Sequence[HoldScope]
    ) -> dict[Node, list[Node]]:
        """For each row the rows of the cycle's tables that refer to it."""
        edges: dict[Node, list[Node]] = defaultdict(list)
        for r in self._inner:
            parent_set, child_set = r.parent_dataset or "", r.child_dataset or ""
            parent = self._target(parent_set).row("t")
            child = row_of(self._target(child_set).store, child_set, "r", columns=r.columns)
            keys, child_keys = self._key(parent_set, parent), self._key(child_set, child)
            joined = [child.c[a] == parent.c[b] for a, b in zip(r.columns, r.to_columns, strict=True)]
            takes = or_(*(going(parent, t, holds) for t in self.targets if t.dataset == parent_set))
            for chunk in [None] if wanted is None else _chunks(wanted.get(parent_set, ())):
                query = select(*keys, *child_keys).select_from(parent, child).where(*joined)
                query = query.where(takes if chunk is None else self._among(parent_set, parent, chunk))
                for found in connection.execute(query):
                    row, other = (parent_set, tuple(found[: len(keys)])), (child_set, tuple(found[len(keys) :]))
                    if row != other:
                        edges[row].append(other)
        return edges

    def _delete(self, connection: Connection, goes: Mapping[Node, str], holds: Sequence[HoldScope]) -> tuple[tuple[Piece, ...], int]:
        """One statement for all tables; exactly these rows, or WrongCount."""
        ctes, going_, taken, expected = [], [], [], []
        for n, target in enumerate(self.targets):
            keys = [node[1] for node, step in goes.items() if step == target.step.id]
            if not keys:
                continue
            row = target.row(None)
            where = [self._among(target.dataset, row, keys)]
            ctes.append(deleting(target, row, where, holds, self.snapshots.get(target.step.id), f"gone{n}"))
            going_.append((target, row, where))
            taken.append(self._take(connection, target, keys, holds))
            expected.append(len(keys))
        answer = connection.execute(summing(*ctes)).one()
        found = pieces(answer, [t.step.id for t, *_ in going_])
        for (target, *_), piece, read in zip(going_, found, taken, strict=True):
            if read is not None:
                refuse_other_count(target, piece.rows, piece.fingerprint, read)
        found = tuple(replace(piece, taken=read) for piece, read in zip(found, taken, strict=True))
        if self.recount:
            for target, row, where in going_:
                refuse_if_left(connection, target, row, where, holds, answer.snapshot, {})
        if [p.rows for p in found] != expected:
            raise WrongCount(
                f"A batch of a cycle was to delete {sum(expected)} rows and deleted {sum(p.rows for p in found)}.",
                fix="Look for triggers on its tables. The batch was rolled back.",
            )
        named = [Named(target=t, rows=found[n].rows, keys=files_of(answer, n)) for n, (t, *_) in enumerate(going_)]
        filed = removed(connection, self.filing, named)
        return tuple(replace(piece, filed=its) for piece, its in zip(found, filed, strict=True)), answer.xid

    def _take(self, connection: Connection, target: Target, keys: Sequence[tuple[Any, ...]], holds: Sequence[HoldScope]) -> Taken | None:
        """Has the rows, which are locked already, read by where they lie: no key of theirs stands in the reader's statement."""
        taking = self.taking.get(target.step.id)
        if taking is None:
            return None
        row, snapshot = target.row(None), self.snapshots.get(target.step.id)
        where = [going(row, target, holds), *placed(row)]
        return together(
            [
                taking.take(connection, target, row, where, holds, [values], snapshot)
                for values in self._lock(connection, target.dataset, keys)
            ]
        )


def _keys(batch: Iterable[Node]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for dataset, key in batch:
        found[dataset].append(key)
    return found


def _chunks(keys: Iterable[tuple[Any, ...]], size: int = 5_000) -> Iterator[list[tuple[Any, ...]]]:
    """Keys in lists short enough for one statement's parameters (65,535)."""
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk


__all__ = ["Cycle", "Node", "closed", "cyclic_datasets", "parts"]
