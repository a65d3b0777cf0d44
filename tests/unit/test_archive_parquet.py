"""Archive objects without a store: keys, Parquet files that give back what was put in, and comparing one with its rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.archive import keys
from lethe.archive.parquet import difference, from_parquet, metadata_of, to_parquet
from lethe.errors import ArchiveDiffers

ID = "0123456789abcdef" * 2
SCHEMA = "fe" * 32
TEXTS = pa.list_(pa.string())
END = 2**63 - 1  # how an infinite timestamp is kept

COLUMNS: dict[str, pa.Array] = {
    "flag": pa.array([True, None, False, True]),
    "small": pa.array([1, None, -3, 4], pa.int16()),
    "whole": pa.array([1, None, -(2**63), END], pa.int64()),
    "single": pa.array([0.1, None, float("nan"), -0.0], pa.float32()),
    "double": pa.array([float("inf"), None, float("nan"), 0.0], pa.float64()),
    "text": pa.array(["", None, "é\u0301\u202e😀\u0001", "a'b\"c"], pa.string()),
    "same": pa.array(["EUR", None, "EUR", "EUR"], pa.string()),
    "long": pa.array(["x" * 70_000, None, "", "y"], pa.large_string()),
    "bytes": pa.array([b"\x00\xff", None, b"", b"z"], pa.binary()),
    "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31), date(2024, 2, 29)], pa.date32()),
    "instant": pa.array([0, None, END, -END], pa.int64()).cast(pa.timestamp("us", "UTC")),
    "local": pa.array([1, 2, -3, None], pa.int64()).cast(pa.timestamp("us")),
    "hour": pa.array([time(23, 59, 59, 999999), None, time(0), time(12)], pa.time64("us")),
    "exact": pa.array([Decimal("1.20"), None, Decimal("-3.00"), Decimal("0.00")], pa.decimal128(10, 2)),
    "persons": pa.array([["a" * 32, None], None, [], ["b" * 32]], pa.list_(pa.string())),
    "nothing": pa.array([None] * 4, pa.string()),
}


def sample() -> pa.Table:
    """A row set with every type that an archived column has, NULLs and extremes in each."""
    fields = [pa.field(name, array.type, metadata={"lethe.source": f"type of {name}"}) for name, array in COLUMNS.items()]
    return pa.Table.from_arrays(list(COLUMNS.values()), schema=pa.schema(fields))


# ------------------------------------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize(
    ("law", "slug"),
    [
        ("Code civil 2224", "code-civil-2224"),
        ("Code de commerce L123-22", "code-de-commerce-l123-22"),
        ("  § 147 AO — Aufbewahrung für Bücher ", "147-ao-aufbewahrung-fur-bucher"),
        ("../../etc/passwd?x=1&law=2", "etc-passwd-x-1-law-2"),
        ("x" * 79 + " y", "x" * 79),
    ],
)
def test_a_law_becomes_a_folder_of_letters_digits_and_hyphens(law: str, slug: str) -> None:
    assert keys.slug(law) == slug


def test_a_law_in_another_script_is_named_by_its_digest() -> None:
    first, second = keys.slug("個人情報保護法"), keys.slug("商法")
    assert first != second and first == keys.slug("個人情報保護法") and first.startswith("law-")
    parts = keys.parse(keys.object_key("users", "商法", SCHEMA, date(2031, 1, 1), ID))
    assert parts and parts.law == second


def test_a_key_says_what_it_holds_and_its_manifest_lies_beside_it_out_of_sight_of_readers() -> None:
    key = keys.object_key("billing-invoices", "Code de commerce L123-22", SCHEMA, date(2036, 11, 5), ID)
    assert key == f"dataset=billing-invoices/law=code-de-commerce-l123-22/schema=fefefefe/expires=2036-11/{ID}.parquet"
    manifest = keys.manifest_key(key)
    assert manifest == f"dataset=billing-invoices/law=code-de-commerce-l123-22/schema=fefefefe/expires=2036-11/_{ID}.manifest.json"
    parts = keys.Parts("billing-invoices", "code-de-commerce-l123-22", "fefefefe", "2036-11", ID, False)
    assert keys.parse(key) == parts and keys.parse(manifest) == parts._replace(is_manifest=True)


@pytest.mark.parametrize(
    "change",
    [
        ("dataset=", "Dataset="),
        ("billing", "Billing"),
        ("billing", "billing/../x"),
        ("fefefefe", "fefefef"),
        ("2036-11", "2036-13"),
        (ID, ID[:-1]),
        (ID, ID.upper()),
        (".parquet", ".parquet.tmp"),
        (".parquet", ".parquet\n"),
        (".parquet", ".manifest.json"),
    ],
)
def test_a_key_that_lethe_did_not_make_is_not_read_as_one(change: tuple[str, str]) -> None:
    key = keys.object_key("billing", "Code civil 2224", SCHEMA, date(2036, 11, 5), ID)
    altered = key.replace(*change)
    assert altered != key and keys.parse(key) and keys.parse(altered) is None
    with pytest.raises(ValueError, match="not the key"):
        keys.manifest_key(altered)


def test_a_manifest_has_no_manifest() -> None:
    key = keys.object_key("billing", "Code civil 2224", SCHEMA, date(2036, 11, 5), ID)
    with pytest.raises(ValueError, match="not the key"):
        keys.manifest_key(keys.manifest_key(key))


# --------------------------------------------------------------------------------------------------------------- parquet


def test_a_parquet_file_gives_back_every_value_type_and_field_metadata() -> None:
    table = sample()
    found = from_parquet(to_parquet(table, {"dataset": "users"}))
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found.schema.metadata is None and str(found.schema.field("persons").type) == "list<item: string>"
    assert difference(to_parquet(found, {}), table) is None
    for name in set(COLUMNS) - {"single", "double"}:  # a NaN is equal to nothing
        assert found[name].equals(table[name]), name


def test_a_table_without_rows_is_a_file_too() -> None:
    empty = sample().slice(0, 0)
    assert from_parquet(to_parquet(empty, {})).equals(empty)


def test_the_file_says_what_it_is_and_nothing_of_the_table_s_own_metadata() -> None:
    table = sample().replace_schema_metadata({"pandas": "secret"})
    data = to_parquet(table, {"dataset": "users", "law": "Loi n° 1"})
    assert metadata_of(data) == {"dataset": "users", "law": "Loi n° 1"}
    assert b"secret" not in bytes(data)


def test_text_columns_have_no_bounds_in_the_file_and_numbers_do() -> None:
    group = pq.ParquetFile(pa.BufferReader(to_parquet(sample(), {}))).metadata.row_group(0)
    bounds = {group.column(n).path_in_schema: group.column(n).is_stats_set for n in range(group.num_columns)}
    assert bounds["whole"] and bounds["instant"] and bounds["day"]
    assert not any(bounds[name] for name in ("text", "same", "long", "bytes", "persons.list.element"))


def test_a_dictionary_is_made_of_what_repeats_only() -> None:
    count = 5_000
    table = pa.table({"unique": [f"{n:08}" for n in range(count)], "few": [f"v{n % 40}" for n in range(count)], "key": range(count)})
    group = pq.ParquetFile(pa.BufferReader(to_parquet(table, {}))).metadata.row_group(0)
    coded = {group.column(n).path_in_schema for n in range(group.num_columns) if group.column(n).has_dictionary_page}
    assert coded == {"few"}


def test_whole_numbers_are_written_as_differences_however_far_apart_they_are() -> None:
    edges = [-(2**63), END, 0, END, -(2**63), None, 1]
    table = pa.table({"n": pa.array(edges * 300 + list(range(5_000)), pa.int64())})
    data = to_parquet(table, {})
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    assert "DELTA_BINARY_PACKED" in group.column(0).encodings
    assert from_parquet(data).equals(table) and difference(data, table) is None


@pytest.mark.parametrize("threads", [False, True])
def test_a_damaged_or_cut_file_is_never_read_as_rows(threads: bool) -> None:
    data = bytes(to_parquet(pa.table({"n": np.arange(20_000), "t": [f"value {n}" for n in range(20_000)]}), {}))
    page = bytearray(data)
    page[5_000] ^= 1
    for damaged in (bytes(page), data[:-9], data[: len(data) // 2], b"", b"PAR1", b"x" * 100):
        with pytest.raises(ArchiveDiffers) as error:
            from_parquet(damaged, threads=threads)
        assert "no whole Parquet file" in error.value.problem and "value" not in str(error.value)
    assert from_parquet(data, threads=threads).num_rows == 20_000


def test_bytes_and_buffers_are_read_alike() -> None:
    buffer = to_parquet(sample(), {})
    assert difference(bytes(buffer), sample()) is difference(memoryview(buffer), sample()) is None
    assert datetime.fromtimestamp(0, UTC) == from_parquet(buffer)["instant"][0].as_py()


# ------------------------------------------------------------------------------------------------------------ comparing


def test_what_was_written_does_not_differ_from_itself_not_even_by_its_nans() -> None:
    assert difference(to_parquet(sample(), {}), sample()) is None
    empty = sample().slice(0, 0)
    assert difference(to_parquet(empty, {}), empty) is None
    dotted = pa.table({"a": [1, 2], "a.b": ["x", "y"], "a.list.element": [3, 4], "l.list": ["x", "y"], "l": [["a"], []]})
    assert difference(to_parquet(dotted, {}), dotted) is None


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - {"nothing"}))
def test_one_other_value_in_any_column_is_a_difference(name: str) -> None:
    table = sample()
    moved = table.set_column(table.schema.get_field_index(name), table.schema.field(name), table[name].take(pa.array([1, 0, 2, 3])))
    assert difference(to_parquet(moved, {}), table) == "other values"


def test_another_nan_a_null_and_a_sign_are_differences() -> None:
    for written, meant in (([float("nan")], [1.0]), ([None], [float("nan")]), ([0.0], [-0.0])):
        found = difference(to_parquet(pa.table({"x": pa.array(written, pa.float64())}), {}), pa.table({"x": pa.array(meant, pa.float64())}))
        assert found == "other values"


@pytest.mark.parametrize(
    ("written", "how"),
    [
        (sample().slice(0, 3), "3 rows instead of 4"),
        (sample().drop_columns(["same"]), "another schema"),
        (sample().rename_columns(["flags", *list(COLUMNS)[1:]]), "another schema"),
        (sample().select([*list(COLUMNS)[1:], "flag"]), "another schema"),
        (sample().set_column(1, "small", sample()["small"].cast(pa.int32())), "another schema"),
        (sample().set_column(1, pa.field("small", pa.int16(), metadata={"lethe.source": "other"}), sample()["small"]), "another schema"),
    ],
)
def test_other_rows_or_columns_are_told_before_any_value_is_read(written: pa.Table, how: str) -> None:
    assert difference(to_parquet(written, {}), sample()) == how


def test_a_damaged_file_is_no_difference_but_an_error() -> None:
    table = pa.table({"n": np.arange(20_000), "t": [f"value {n}" for n in range(20_000)]})
    data = bytearray(to_parquet(table, {}))
    data[5_000] ^= 1
    for damaged in (bytes(data), bytes(data[:-9])):
        with pytest.raises(ArchiveDiffers, match="no whole Parquet file"):
            difference(damaged, table)


def under_null(array: pa.Array, other: pa.Array) -> pa.Array:
    """`array`, with the values of `other` lying under its NULLs."""
    return pa.Array.from_buffers(array.type, len(array), [array.buffers()[0], *other.buffers()[1:]], null_count=array.null_count)


def test_equal_values_do_not_differ_however_arrow_holds_them() -> None:
    table = sample()
    data = to_parquet(table, {})
    padded = pa.concat_tables([table, table, table]).combine_chunks().slice(4, 4)
    chunks = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1, 2), table.slice(3)])
    for other in (padded, chunks, table.replace_schema_metadata({"a": "b"})):
        assert difference(data, other) is None
        assert difference(to_parquet(other, {}), table) is None


@pytest.mark.parametrize(
    ("given", "garbage"),
    [
        (pa.array([1, None, 3]), pa.array([1, 99, 3])),
        (pa.array([1.5, None]), pa.array([1.5, 99.0])),
        (pa.array([True, None]), pa.array([True, True])),
        (pa.array(["a", None, "c"]), pa.array(["a", "garbage", "c"])),
        (pa.array([b"a", None, b"c"]), pa.array([b"a", b"garbage", b"c"])),
        (pa.array(["a", None], pa.large_string()), pa.array(["a", "garbage"], pa.large_string())),
        (pa.array([b"ab", None], pa.binary(2)), pa.array([b"ab", b"zz"], pa.binary(2))),
    ],
)
def test_what_lies_under_a_null_is_no_difference(given: pa.Array, garbage: pa.Array) -> None:
    dirty, clean, other = (pa.table({"a": each}) for each in (under_null(given, garbage), given, garbage))
    assert difference(to_parquet(dirty, {}), clean) is difference(to_parquet(clean, {}), dirty) is None
    assert difference(to_parquet(other, {}), clean) == "other values"


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "nothing"])
def test_a_value_that_became_null_is_a_difference_and_so_is_a_null_that_became_a_value(name: str, row: int) -> None:
    table = sample()
    column = table[name].combine_chunks()
    values: list[Any] = [column[n : n + 1] for n in range(4)]
    other = next(v for v in values if v.null_count == 0)
    values[row] = pa.nulls(1, column.type) if values[row].null_count == 0 else other
    changed = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.concat_arrays(values))
    assert difference(to_parquet(changed, {}), table) == difference(to_parquet(table, {}), changed) == "other values"


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}, "other values"),
        ({"a": [["x"], ["y"]]}, {"a": [["x", "y"], []]}, "other values"),
        ({"a": [None, ""]}, {"a": ["", None]}, "other values"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "other values"),
        ({"a": pa.array([[None]], TEXTS)}, {"a": pa.array([None], TEXTS)}, "other values"),
        ({"a": ["x"], "b": ["y"]}, {"b": ["y"], "a": ["x"]}, "another schema"),
        ({"a": ["x"]}, {"b": ["x"]}, "another schema"),
        ({"a": pa.array([1], pa.int64())}, {"a": pa.array([1], pa.int32())}, "another schema"),
        ({"a": pa.array([b"x"])}, {"a": pa.array(["x"])}, "another schema"),
        ({"a": pa.array([1], pa.timestamp("us"))}, {"a": pa.array([1], pa.timestamp("us", "UTC"))}, "another schema"),
        ({"a": pa.array([], pa.string())}, {"a": pa.array([], pa.binary())}, "another schema"),
        ({"a": ["x"]}, {"a": ["x", "x"]}, "1 rows instead of 2"),
    ],
)
def test_an_order_a_name_a_type_and_a_row_more_are_differences(one: Any, other: Any, how: str) -> None:
    assert difference(to_parquet(pa.table(one), {}), pa.table(other)) == how


@pytest.mark.parametrize("at", [0, 8_191, 8_192, 20_000, 29_999])
def test_a_difference_is_found_wherever_it_lies_among_many_rows(at: int) -> None:
    """Rows are compared some thousands at a time, and the rows at hand may be cut elsewhere."""
    count = 30_000
    numbers = np.random.default_rng(1).integers(0, 2**40, count)
    texts = [f"{n:x}" for n in numbers]
    table = pa.table({"n": numbers, "t": texts, "m": pa.array(numbers, mask=numbers % 3 == 0)})
    data = to_parquet(table, {})
    assert difference(data, pa.concat_tables([table.slice(n, 7_001) for n in range(0, count, 7_001)])) is None
    texts[at] += "x"
    assert difference(data, table.set_column(1, "t", pa.array(texts))) == "other values"
