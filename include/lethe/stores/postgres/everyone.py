"""Every key of a dataset, streamed: so that a person or tenant known by a keyed digest alone can be looked for among the living rows.

A row may outlive the person or tenant it names (`may_dangle`): the keys that rows refer by are among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Select, select
from sqlalchemy.exc import DBAPIError

from lethe.catalog.model import Store
from lethe.plan.order import visited
from lethe.stores.postgres.count import snapshot
from lethe.stores.postgres.failures import meaning
from lethe.stores.postgres.tables import dataset_table, key_text, reach_key, row_of

_AT_ONCE = 10_000  # rows of a fetch: memory does not grow with the table


def every_key(engine: Engine, store: Store, dataset: str) -> Iterator[str]:
    """The keys, as texts, in no order: first those of its rows, then those by which other rows lead to one as their tenant or person,
    whether it is there or not. A key may come several times. Reads whole tables, or the indexes of these columns.
    Raises Unreachable or Uncountable.
    """
    row = row_of(store, dataset)
    own = select(key_text(row.c[c] for c in dataset_table(store, dataset).key))
    with snapshot(engine) as connection:
        for name, query in [(dataset, own), *((holder, _distinct(store, holder, columns)) for holder, columns in naming(store, dataset))]:
            try:
                with connection.execute(query, execution_options={"stream_results": True, "yield_per": _AT_ONCE}) as found:
                    yield from found.scalars()
            except DBAPIError as error:
                raise meaning(error, f"The keys of {dataset} in {name}") from None


def naming(store: Store, dataset: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The datasets, and the columns of each, by which a path to a tenant or person ends at this dataset's key without a join of its row
    (`tables.reach_key`). Partitions are read with their partitioned table. Pure."""
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for name, entry in store.tables.items():
        for path in (*entry.persons, entry.tenant or ()):
            if not path or entry.partition_of is not None:
                continue
            holder = (name, *visited(store, name, path[:-1]))[-1]
            reached, _ = reach_key(store, holder, row_of(store, holder), path[-1:])
            if reached.dataset == dataset and not reached.aliases:
                found[holder, store.tables[holder].relations[path[-1]].columns] = None
    return tuple(found)


def _distinct(store: Store, dataset: str, columns: tuple[str, ...]) -> Select[Any]:
    row = row_of(store, dataset)
    there = [row.c[c].is_not(None) for c in columns]
    keys = select(*(row.c[c] for c in columns)).where(*there).distinct().subquery()  # as texts only then: comparing texts is slower
    return select(key_text(keys.c[c] for c in columns))
