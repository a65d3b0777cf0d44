"""The keys that a person's statements are run with: how they are bound, which columns a path ends at, and whether these hold one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, any_, bindparam, cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import UserDefinedType

from lethe.catalog.live import LiveSchema
from lethe.catalog.model import Path, Store
from lethe.plan.order import hop_to, table_name
from lethe.stores.postgres.tables import key_text, reach


class _Typed(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def keys_param(dataset: str) -> str:
    """The name of the parameter that has the keys of persons of that identity dataset, as a list of texts."""
    return f"keys_{dataset}"


def key_param(dataset: str) -> str:
    """The name of the parameter that has the only key of that identity dataset, as a text; NULL when there is none."""
    return f"key_{dataset}"


def left_param(dataset: str) -> str:
    """The name of the parameter that has the keys of persons of that dataset who have the same address and are not meant."""
    return f"left_{dataset}"


def is_told(
    store: Store,
    live: LiveSchema,
    end: str,
    holder: str,
    columns: Sequence[ColumnElement[Any]],
    *,
    one: bool = False,
    name: str | None = None,
) -> ColumnElement[bool]:
    """Do these columns hold the key of a person that is bound (in the list `name`)? In the column's own type, so that its index serves."""
    keys, kind = bindparam(name or keys_param(end), type_=ARRAY(Text)), ""
    if len(columns) == 1:
        kind = re.sub(r"\([^)]*\)", "", live.tables[table_name(store.tables[holder])].columns[str(columns[0].name)].type)
        kind = "bpchar" if kind == "character" else kind  # `character` alone is one letter
    held = columns[0] if kind else key_text(columns)
    if one:
        return held == (cast(one_key(end), _Typed(kind)) if kind else one_key(end))
    return held == any_(cast(keys, _Typed(f"{kind}[]")) if kind else keys)


def one_key(dataset: str) -> ColumnElement[str]:
    """The only key that is bound, or NULL."""
    return bindparam(key_param(dataset), type_=Text)


def end_of(store: Store, dataset: str, path: Path) -> str:
    """The dataset that a path ends at. UnknownName when a hop leads nowhere."""
    for hop in path:
        dataset = hop_to(store, dataset, hop)
    return dataset


def reached(
    store: Store, dataset: str, row: FromClause, path: Path, prefix: str
) -> tuple[tuple[FromClause, ...], tuple[ColumnElement[bool], ...], str, list[ColumnElement[Any]]]:
    """Joins along a path, and the columns at its end that hold the key: of the dataset `holder`. A last hop that refers by the key is not joined."""
    if path and "." not in path[-1]:
        before = reach(store, dataset, row, path[:-1], prefix=prefix)
        relation = store.tables[before.dataset].relations[path[-1]]
        if relation.to_columns in ((), store.tables[relation.to].key):
            return before.aliases, before.conditions, before.dataset, [before.row.c[c] for c in relation.columns]
    end = reach(store, dataset, row, path, prefix=prefix)
    return end.aliases, end.conditions, end.dataset, [end.row.c[c] for c in store.tables[end.dataset].key]
