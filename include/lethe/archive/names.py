"""How the archive names persons and tenants: keyed digests, computed once for each different key. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.arrays import flags, numbers, of_flags, of_numbers, of_texts
from lethe.evidence.record import keyed_digest, keyed_digests

LENGTH = 32
"""Hex digits kept of a keyed digest: 128 bits, so that two persons share one by chance never."""


def name_of(key: bytes, dataset: str, value: str) -> str:
    """The archive's name of a person or tenant: the beginning of `keyed_digest`. Raises EvidenceRefused without a usable key."""
    return keyed_digest(key, dataset, value)[:LENGTH]


_remembered = lru_cache(maxsize=1 << 14)(name_of)


def fingerprint(key: bytes) -> str:
    """Tells one key for digests from another, and gives neither away: 16 hex digits. Raises EvidenceRefused without a usable key."""
    return keyed_digest(key, "lethe", "names")[:16]


def names_of(key: bytes, dataset: str, values: pa.Array, *, again: bool = False) -> pa.DictionaryArray:
    """The names of a column of keys (text or integers), each different one once; a NULL is one of them. `again`: the same keys are in every
    batch, as tenants are, so their names are remembered."""
    coded = values.dictionary_encode(null_encoding="encode")
    keys: list[str | None] = coded.dictionary.cast(pa.string()).to_pylist()
    digest = keyed_digests(key, dataset) if not again and any(k is not None for k in keys) else partial(_remembered, key, dataset)
    return pa.DictionaryArray.from_arrays(coded.indices, of_texts([None if k is None else digest(k)[:LENGTH] for k in keys]))


def person_lists(key: bytes, columns: Sequence[tuple[str, pa.Array]], rows: int) -> pa.Array:
    """The persons of each row, as lists of names, each once. `columns`: for each way the identity dataset, and keys (text or integers) or lists
    of them."""
    ways = [_parts(key, dataset, values) for dataset, values in columns]
    row = np.concatenate([np.empty(0, np.int64), *(r for r, _ in ways)])
    names = pa.concat_arrays([pa.nulls(0, pa.string()), *(n for _, n in ways)])
    if len(ways) > 1 or any(pa.types.is_list(values.type) for _, values in columns):
        frame = pa.table({"row": of_numbers(row), "name": names}).group_by(["row", "name"], use_threads=False).aggregate([])
        frame = frame.sort_by([("row", "ascending"), ("name", "ascending")])
        row, names = numbers(frame["row"]), frame["name"].combine_chunks()
    offsets = of_numbers(np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, names)


def _parts(key: bytes, dataset: str, values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Row number and name of every key of a way."""
    if pa.types.is_list(values.type):
        row = numbers(pc.list_parent_indices(values))
        values = pc.list_flatten(values)
    else:
        row = np.arange(len(values))
    there = flags(pc.is_valid(values))
    named = names_of(key, dataset, values).cast(pa.string())
    return row[there], named.filter(of_flags(there))
