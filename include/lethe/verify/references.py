"""Who refers to whom, read by the check itself: PostgreSQL's own foreign keys, the relations of the catalog that must not dangle, and the
rows that others are aged by, which must not go before those."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from lethe.catalog.model import Store
from lethe.verify.text import Chain, name, relation_name, table_of

# Partitions repeat their parent's foreign keys (conparentid <> 0); those are left out.
_FOREIGN_KEYS = """
SELECT cn.nspname, c.relname, pn.nspname, p.relname, k.convalidated,
       (SELECT array_agg(a.attname::text ORDER BY o.n) FROM unnest(k.conkey) WITH ORDINALITY AS o(num, n)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.num),
       (SELECT array_agg(a.attname::text ORDER BY o.n) FROM unnest(k.confkey) WITH ORDINALITY AS o(num, n)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = o.num)
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
"""


@dataclass(frozen=True, order=True)
class Reference:
    """Rows of `child` (quoted schema.table) refer by `child_columns` to rows of the dataset `parent`; `guarded` by a validated foreign key."""

    child: str
    child_columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    guarded: bool
    required: bool
    """Does the catalog say that it must not dangle?"""


def read_references(connection: Connection, store: Store) -> tuple[Reference, ...]:
    """Every reference to a dataset of the store, from foreign keys and catalog alike, each once."""
    datasets = {relation_name(t): i for i, t in store.tables.items()}
    found: dict[tuple[str, tuple[str, ...], str, tuple[str, ...]], tuple[bool, bool]] = {}
    for child_schema, child, parent_schema, parent, validated, columns, parent_columns in connection.exec_driver_sql(_FOREIGN_KEYS):
        dataset = datasets.get(f"{name(parent_schema)}.{name(parent)}")
        if dataset is not None:
            pairs = sorted(zip(columns, parent_columns, strict=True))
            key = (f"{name(child_schema)}.{name(child)}", tuple(a for a, _ in pairs), dataset, tuple(b for _, b in pairs))
            found[key] = (bool(validated) or found.get(key, (False, False))[0], False)
    for table in store.tables.values():
        for relation in table.relations.values():
            if relation.may_dangle or relation.to not in store.tables:
                continue
            pairs = sorted(zip(relation.columns, relation.to_columns or store.tables[relation.to].key, strict=True))
            key = (relation_name(table), tuple(a for a, _ in pairs), relation.to, tuple(b for _, b in pairs))
            found[key] = (found.get(key, (False, False))[0], True)
    for key in _lifelines(store):
        found.setdefault(key, (False, False))
    return tuple(sorted(Reference(*key, *flags) for key, flags in found.items()))


def _lifelines(store: Store) -> set[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    """Child, its columns, parent, its columns: for each hop of a clock's path that goes to the rows which refer here, unless those are of
    the clock's own table or the clock has an `otherwise`."""
    found = set()
    paths = [(i, c.through) for i, t in store.tables.items() for c in t.clocks.values() if c.otherwise is None]
    for dataset, path in paths:
        for length, hop in enumerate(path):
            there, dot, relation_id = hop.partition(".")
            if not dot or there == dataset:
                continue
            here = Chain(store, dataset, path[:length], root="r", prefix="l").table
            relation = table_of(store, there).relations[relation_id]
            pairs = sorted(zip(relation.to_columns or here.key, relation.columns, strict=True))
            found.add((relation_name(here), tuple(a for a, _ in pairs), there, tuple(b for _, b in pairs)))
    return found
