"""Between Python, numpy and Arrow without pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lethe.arrays import flags, numbers, of_flags, of_numbers, of_texts

NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_come_and_go_at_every_width(kind: pa.DataType) -> None:
    given = pa.array([0, 1, 127, 5, 99], kind)
    assert numbers(given).tolist() == [0, 1, 127, 5, 99]
    assert numbers(given.slice(1, 3)).tolist() == [1, 127, 5] and numbers(given.slice(5)).tolist() == []
    back = of_numbers(numbers(given))
    assert back.type == kind and back.equals(given)
    assert of_numbers(numbers(given)[::2]).to_pylist() == [0, 127, 99], "not every row lies beside the last"


def test_numbers_of_pieces_are_those_of_the_whole() -> None:
    whole = pa.chunked_array([[1, 2], [], [3]], pa.int32())
    assert numbers(whole).tolist() == [1, 2, 3] and numbers(whole).dtype == np.int32
    assert numbers(pa.chunked_array([], pa.int64())).tolist() == []
    assert numbers(whole.slice(1, 1)).tolist() == [2]


@pytest.mark.parametrize(
    ("kind", "values"), [(pa.timestamp("us", "UTC"), [0, -1, 2**63 - 1]), (pa.date32(), [0, -1, 2**31 - 1]), (pa.time64("us"), [0, 1])]
)
def test_instants_and_days_are_their_numbers(kind: pa.DataType, values: list[int]) -> None:
    given = pa.array(values, pa.int64() if kind.bit_width == 64 else pa.int32()).view(kind)
    assert numbers(given).tolist() == values


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 17, 64])
def test_flags_and_nulls_are_packed_as_arrow_packs_them(rows: int) -> None:
    values = np.arange(rows) % 3 == 1
    assert of_flags(values).equals(pa.array(values.tolist(), pa.bool_()))
    assert flags(of_flags(values)).tolist() == values.tolist()
    if rows > 3:
        assert flags(of_flags(values).slice(3, rows - 3)).tolist() == values[3:].tolist()
    found = of_numbers(np.arange(rows), values)
    assert found.equals(pa.array([None if v else n for n, v in enumerate(values.tolist())], pa.int64()))
    assert found.null_count == values.sum()
    found.validate(full=True)


@pytest.mark.parametrize("values", [[], [""], [None], ["é\u0301😀", None, "", "x" * 70_000], [None, None], ["a", "b"]])
def test_texts_are_as_arrow_would_have_them(values: list[Any]) -> None:
    found = of_texts(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.string()))


def test_what_a_purge_does_with_rows_imports_no_pandas() -> None:
    """In a process of its own: somebody else may have imported it here."""
    done = """
import sys
from datetime import date, datetime, UTC
from types import SimpleNamespace
import numpy as np, pyarrow as pa
from lethe.archive.names import names_of, person_lists
from lethe.archive.parquet import difference, to_parquet
from lethe.archive.write import by_expiry
from lethe.arrays import of_numbers, of_texts
from lethe.purge.archiving import _by_tenant
from lethe.purge.run import run_group
from lethe.stores.postgres.addresses import texts
from lethe.stores.postgres import decoded, gathered
from lethe.stores.postgres.derived import hash_of, local_days
instants = of_numbers(np.arange(5_000)).view(pa.timestamp("us", "UTC"))
keys = of_texts([str(n % 7) for n in range(5_000)])
names = names_of(b"k" * 32, "tenants", keys)
table = pa.table({"at": instants, "who": names, "persons": person_lists(b"k" * 32, [("users", keys)], 5_000)})
decoded.fixed(bytes(16) + bytes([1]) * 8, 3, 8, decoded.instants("UTC"), "at", certain=True)
decoded.texts(b"a" + bytes(1) + b"none", 2, bytes(1), b"none", "who"), decoded.lists(b'["a"],null', 2, "who")
decoded.addresses(bytes([2, 32, 0, 4, 10, 0, 0, 1] + [0] * 8), 2, "inet")
hash_of(of_numbers(np.arange(9))), local_days(instants, "Europe/Paris"), _by_tenant(names, np.ones(5_000, bool))
list(by_expiry(table, np.full(5_000, np.datetime64("2030-01-01")) + np.arange(5_000) % 2))
assert difference(to_parquet(table, {}), table) is None
sent = pa.Array.from_buffers(pa.binary(), 1, [None, pa.py_buffer(np.array([0, 8], np.int32)), pa.py_buffer(bytes([2, 32, 0, 4, 10, 0, 0, 1]))])
assert texts(pa.chunked_array([sent]))[0].as_py() == "10.0.0.1/32"
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", done], check=False).returncode == 0
