"""Every key of a dataset, streamed: so that a person who is known by a keyed digest alone can be looked for among the living."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from lethe.catalog.model import Store
from lethe.stores.postgres.count import snapshot
from lethe.stores.postgres.failures import meaning
from lethe.stores.postgres.tables import dataset_table, key_text, row_of

_AT_ONCE = 10_000  # rows of a fetch: memory does not grow with the table


def every_key(engine: Engine, store: Store, dataset: str) -> Iterator[str]:
    """The keys, as texts, in no order. Reads the whole table or the index of its key. Raises Unreachable or Uncountable."""
    row = row_of(store, dataset)
    query = select(key_text(row.c[c] for c in dataset_table(store, dataset).key))
    with snapshot(engine) as connection:
        try:
            with connection.execute(query, execution_options={"stream_results": True, "yield_per": _AT_ONCE}) as found:
                yield from found.scalars()
        except DBAPIError as error:
            raise meaning(error, f"The keys of {dataset}") from None
