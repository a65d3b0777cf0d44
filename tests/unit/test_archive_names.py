"""How the archive names persons and tenants: each key once, whatever column it lies in."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.archive.names import LENGTH, name_of, names_of, person_lists
from lethe.errors import EvidenceRefused
from lethe.evidence.record import keyed_digest, keyed_digests

KEY = b"k" * 32


def plain(values: pa.Array, dataset: str = "tenants") -> list[str | None]:
    """The names as Python has them."""
    found: list[str | None] = names_of(KEY, dataset, values).cast(pa.string()).to_pylist()
    return found


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.int64(), pa.string()])
def test_a_key_has_one_name_whether_it_is_kept_as_text_or_as_an_integer(kind: pa.DataType) -> None:
    given = pa.array(["7", None, "12", "7"], pa.string()).cast(kind)
    wanted = [None if k is None else keyed_digest(KEY, "tenants", k)[:LENGTH] for k in ("7", None, "12", "7")]
    assert plain(given) == wanted
    assert plain(given.slice(1, 2)) == wanted[1:3]
    assert plain(given.slice(0, 0)) == []
    assert plain(pa.nulls(2, kind)) == [None, None]


@given(first=st.text(), others=st.lists(st.text()))
def test_many_digests_are_those_of_one_after_the_other(first: str, others: list[str]) -> None:
    digest = keyed_digests(KEY, first)
    assert [digest(other) for other in others] == [keyed_digest(KEY, first, other) for other in others]


def test_names_need_a_key_where_there_is_somebody_to_name() -> None:
    with pytest.raises(EvidenceRefused):
        names_of(b"short", "users", pa.array(["7"], pa.string()))
    assert names_of(b"", "users", pa.nulls(2, pa.string())).cast(pa.string()).to_pylist() == [None, None]


def test_a_name_depends_on_the_key_and_the_dataset_and_needs_a_key() -> None:
    names = {name_of(key, dataset, "7") for key in (KEY, b"l" * 32) for dataset in ("tenants", "users")}
    assert len(names) == 4 and all(len(n) == LENGTH for n in names)
    with pytest.raises(EvidenceRefused):
        name_of(b"short", "tenants", "7")


@pytest.mark.parametrize(
    ("ways", "wanted"),
    [
        ([], [[], [], []]),
        ([("users", pa.array([1, None, 1]))], [["1"], [], ["1"]]),
        ([("users", pa.array(["1", None, "1"])), ("users", pa.array(["1", "2", "3"]))], [["1"], ["2"], ["1", "3"]]),
        ([("users", pa.array([["3", "3", "1"], None, []], pa.list_(pa.string())))], [["1", "3"], [], []]),
        (
            [("users", pa.array([["1"], ["2", None], []], pa.list_(pa.string()))), ("users", pa.array([1, 1, None]))],
            [["1"], ["1", "2"], []],
        ),
    ],
)
def test_each_person_of_a_row_is_named_once_by_whatever_ways(ways: Any, wanted: list[list[str]]) -> None:
    found = person_lists(KEY, ways, 3)
    found.validate(full=True)
    assert found.type == pa.list_(pa.string())
    assert [sorted(names) for names in found.to_pylist()] == [sorted(name_of(KEY, "users", k) for k in each) for each in wanted]
    assert person_lists(KEY, [(d, v.slice(0, 0)) for d, v in ways], 0).to_pylist() == []
