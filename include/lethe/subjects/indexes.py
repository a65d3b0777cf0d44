"""Which steps of finding a person read a whole table, because no index leads to their rows: 0.26 s for each 4 million rows (MEASURED)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lethe.stores.postgres.person_addresses import ADDRESSES, EXACT
from lethe.stores.postgres.person_keys import keys_param, left_param
from lethe.subjects.found import Slow
from lethe.subjects.statements import Asked, Compiled, reading
from lethe.workspace import Workspace

LARGE = 10_000
"""Rows of a table above which reading all of it is told."""


def slow_steps(compiled: Compiled, workspace: Workspace) -> tuple[Slow, ...]:
    """Asks each store for the plan of each way to a person's rows, with nobody bound and whole reads made dear: one that is left has no index."""
    found: list[Slow] = []
    for asked in compiled.asked:
        with reading(workspace, asked.store) as reader:
            reader.all("SELECT set_config('enable_seqscan', 'off', true)", {}, "A setting")
            values: dict[str, list[str]] = {
                name: [] for name in (*map(keys_param, asked.store.identities), *map(left_param, asked.store.identities), ADDRESSES, EXACT)
            }
            for dataset, columns, statement in asked.probes:
                (plan,) = reader.one(f"EXPLAIN (FORMAT JSON) {statement}", values, f"The plan for {dataset}")
                tree = plan if isinstance(plan, list) else json.loads(plan)
                rows = max((_rows(asked, node) for node in _whole_reads(tree[0]["Plan"])), default=0)
                if rows > LARGE:
                    found.append(Slow(dataset=dataset, columns=columns, rows=rows))
    return tuple(dict.fromkeys(found))


def _whole_reads(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node.get("Node Type") == "Seq Scan":
        yield node
    for below in node.get("Plans", []):
        yield from _whole_reads(below)


def _rows(asked: Asked, node: dict[str, Any]) -> int:
    """The table's rows, as PostgreSQL estimates them; of a partition, its own."""
    bare = str(node.get("Relation Name"))
    return max((t.rows or 0 for name, t in asked.live.tables.items() if name.rsplit(".", 1)[1] == bare), default=0)
