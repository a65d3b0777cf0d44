"""Which rows of an archive object a hold keeps: everything it gives must match, and a day counts while any instant of it does."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from lethe.archive.finding import held_rows, may_hold, named, person_name, rows_naming, short_name, tenant_names
from lethe.archive.model import ArchivedColumn, Manifest, NamedBy
from lethe.archive.names import fingerprint, name_of
from lethe.catalog.model import Catalog, Store
from lethe.control.holds import by_digest
from lethe.errors import HoldRefused, Uncountable
from lethe.plan.model import HoldScope

KEY = b"a key of the tests, 32 bytes lon"
PARIS = "Europe/Paris"
CATALOG = Catalog(
    purposes={},
    stores=tuple(
        Store(
            id=name,
            kind="postgresql",
            connection=name,
            start_of_service=datetime(2015, 1, 1, tzinfo=UTC),
            tenants=tenants,
            identities=("users", "leads"),
        )
        for name, tenants in (("one", "tenants"), ("two", "firms"), ("three", None))
    ),
)


def person(key: int) -> str:
    return name_of(KEY, "users", str(key))


def tenant(key: int, dataset: str = "tenants") -> str:
    return name_of(KEY, dataset, str(key))


CLOCKS = [datetime(2021, 3, 27, 23, tzinfo=UTC), datetime(2021, 3, 28, 22, tzinfo=UTC), datetime(2021, 6, 1, 12, tzinfo=UTC), None]
TABLE = pa.table(
    {
        "_lethe_clock": pa.array(CLOCKS, pa.timestamp("us", "UTC")),
        "_lethe_tenant": [tenant(7), tenant(8), None, tenant(7, "firms")],
        "_lethe_persons": pa.array([[person(1), person(2)], [person(2)], [], []], pa.list_(pa.string())),
    }
)


def manifest(*, a_day: bool = False) -> Manifest:
    return Manifest(
        id="a" * 32,
        key="k",
        store="one",
        dataset="contracts",
        rule="contracts",
        law="Code civil 2224",
        ground="claims",
        policy_version="2026-05-01",
        plan="b" * 64,
        attempt=1,
        step="contracts/contracts",
        zone=PARIS,
        clock_is_a_day=a_day,
        expires_on=date(2026, 6, 2),
        expires_at=datetime(2026, 6, 1, 22, tzinfo=UTC),
        rows=4,
        size=1,
        sha256="c" * 64,
        columns=(ArchivedColumn(name="id", source="bigint", kept_as="int64"),),
        persons=tuple(sorted({person(1), person(2)})),
        tenants=tuple(sorted({tenant(7), tenant(8), tenant(7, "firms")})),
        names=NamedBy(key=fingerprint(KEY), tenants="tenants", identities=("users",)),
        encryption="aws:kms",
    )


def kept(*scopes: HoldScope, a_day: bool = False) -> list[int]:
    return [i for i, held in enumerate(held_rows(TABLE, named(scopes, KEY, CATALOG), manifest(a_day=a_day))) if held]


def hold(**scope: Any) -> HoldScope:
    return HoldScope(id=1, **scope)


@pytest.mark.parametrize(
    ("scope", "rows"),
    [
        ({"dataset": "contracts"}, [0, 1, 2, 3]),
        ({"dataset": "invoices"}, []),
        ({"person": ("users", "1")}, [0]),
        ({"person": ("users", "2")}, [0, 1]),
        ({"person": ("users", "3")}, []),
        ({"person": ("leads", "1")}, []),  # the same key of another dataset is another person
        ({"person": ("users", by_digest(person(1)))}, [0]),
        ({"tenant": "7"}, [0, 3]),  # a hold names a tenant of any store
        ({"tenant": "9"}, []),
        ({"tenant": "7", "person": ("users", "2")}, [0]),
        ({"tenant": "8", "person": ("users", "1")}, []),
        ({"dataset": "contracts", "tenant": "8"}, [1]),
        ({"dataset": "invoices", "tenant": "8"}, []),
        ({"since": CLOCKS[1]}, [1, 2]),  # since <= clock; no clock lies in no range
        ({"until": CLOCKS[1]}, [0]),  # clock < until
        ({"since": CLOCKS[0], "until": CLOCKS[1]}, [0]),
        ({"since": datetime(2026, 6, 2, tzinfo=UTC)}, []),
        ({"tenant": "8", "since": CLOCKS[2]}, []),
    ],
)
def test_everything_that_a_hold_gives_must_match(scope: dict[str, Any], rows: list[int]) -> None:
    assert kept(hold(**scope)) == rows
    if rows:
        assert may_hold(named([hold(**scope)], KEY, CATALOG), manifest())


@pytest.mark.parametrize(
    ("since", "until", "rows"),
    [
        # 28 March 2021 begins at 23:00 UTC of the day before and has 23 hours in Paris: it ends at 22:00 UTC.
        (datetime(2021, 3, 28, 21, 59, 59, tzinfo=UTC), None, [0, 1, 2]),
        (datetime(2021, 3, 28, 22, tzinfo=UTC), None, [1, 2]),
        (None, datetime(2021, 3, 27, 23, tzinfo=UTC), []),
        (None, datetime(2021, 3, 27, 23, 0, 1, tzinfo=UTC), [0]),
    ],
)
def test_a_day_is_held_while_any_instant_of_it_is(since: datetime | None, until: datetime | None, rows: list[int]) -> None:
    assert kept(hold(since=since, until=until), a_day=True) == rows


def test_several_holds_keep_what_any_of_them_keeps_and_no_hold_keeps_nothing() -> None:
    assert kept(hold(person=("users", "1")), hold(since=CLOCKS[2])) == [0, 2]
    assert kept() == []


@pytest.mark.parametrize(
    "scope",
    [
        {"dataset": "invoices"},
        {"person": ("users", "3")},
        {"tenant": "9"},
        {"since": datetime(2026, 6, 1, 22, tzinfo=UTC)},
        {"dataset": "contracts", "tenant": "7", "person": ("users", "9")},
    ],
)
def test_an_object_is_not_opened_for_a_hold_that_its_manifest_excludes(scope: dict[str, Any]) -> None:
    assert not may_hold(named([hold(**scope)], KEY, CATALOG), manifest())


def test_rows_are_told_in_a_table_of_several_chunks_and_slices() -> None:
    chunked = pa.concat_tables([TABLE.slice(1), TABLE.slice(0, 2)])
    assert rows_naming(chunked, persons=[person(1)]).tolist() == [False, False, False, True, False]
    assert rows_naming(chunked, tenants=tenant_names(KEY, "7", CATALOG)).tolist() == [False, False, True, True, False]


def test_a_name_is_the_beginning_of_the_keyed_digest_that_people_are_shown() -> None:
    from lethe.evidence.record import keyed_digest

    whole = keyed_digest(KEY, "users", "1")
    assert person_name(KEY, ("users", by_digest(whole))) == person_name(KEY, ("users", "1")) == short_name(whole) == whole[:32]
    with pytest.raises(HoldRefused):
        short_name("jeanne@example.org")


# Names that were made by another key, or by datasets that the catalog calls otherwise today

LATER = CATALOG.model_copy(
    update={"stores": (CATALOG.stores[0].model_copy(update={"tenants": "firms", "identities": ("accounts", "leads")}),)}
)


def kept_later(key: bytes = KEY, **scope: Any) -> list[int]:
    return [i for i, held in enumerate(held_rows(TABLE, named([hold(**scope)], key, LATER), manifest())) if held]


@pytest.mark.parametrize(
    ("scope", "rows"),
    [
        ({"tenant": "8"}, [1]),  # "tenants" then, "firms" today
        ({"tenant": "7"}, [0, 3]),
        ({"tenant": "9"}, []),
        ({"person": ("accounts", "1")}, [0]),  # "users" then
        ({"person": ("accounts", "3")}, []),
    ],
)
def test_a_dataset_that_is_called_otherwise_today_is_still_found_by_its_name_of_then(scope: dict[str, Any], rows: list[int]) -> None:
    assert kept_later(**scope) == rows
    assert may_hold(named([hold(**scope)], KEY, LATER), manifest()) == bool(rows)


def test_the_same_key_of_another_dataset_of_today_is_somebody_else() -> None:
    both = LATER.model_copy(update={"stores": (LATER.stores[0].model_copy(update={"identities": ("users", "leads")}),)})
    assert not held_rows(TABLE, named([hold(person=("leads", "1"))], KEY, both), manifest()).any()


OTHER = b"another key of the tests, longer"


@pytest.mark.parametrize("scope", [{"tenant": "9"}, {"person": ("users", "9")}, {"dataset": "contracts", "tenant": "9"}])
def test_nobody_is_told_in_an_object_that_was_named_by_another_key(scope: dict[str, Any]) -> None:
    for judge in (may_hold, lambda holds, told: held_rows(TABLE, holds, told)):
        with pytest.raises(Uncountable, match="a" * 32):
            judge(named([hold(**scope)], OTHER, CATALOG), manifest())


@pytest.mark.parametrize(
    ("scope", "rows"),
    [
        ({"dataset": "contracts"}, [0, 1, 2, 3]),
        ({"since": CLOCKS[1]}, [1, 2]),
        ({"dataset": "invoices", "tenant": "7"}, []),
        ({"tenant": "7", "since": datetime(2026, 6, 2, tzinfo=UTC)}, []),
    ],
)
def test_what_a_hold_means_without_a_name_is_told_by_any_key(scope: dict[str, Any], rows: list[int]) -> None:
    assert [i for i, held in enumerate(held_rows(TABLE, named([hold(**scope)], OTHER, CATALOG), manifest())) if held] == rows


KEPT = (
    b'{"attempt":1,"clock_is_a_day":false,"columns":[{"kept_as":"int64","name":"id","source":"bigint"}],"dataset":"contracts",'
    b'"encryption":"aws:kms","etag":null,"expires_at":"2026-06-01T22:00:00Z","expires_on":"2026-06-02","ground":"claims",'
)
"""How a manifest begins that lies beside an object."""


def test_a_manifest_is_the_same_today_and_in_ten_years() -> None:
    """It lies beside its object as long as that does, and is compared with what is known of it: change it only with a way to read old ones."""
    written = manifest().to_json()
    assert written.startswith(KEPT)
    assert Manifest.model_validate_json(written) == manifest()
    assert sorted(json.loads(written)) == [
        *(
            "attempt",
            "clock_is_a_day",
            "columns",
            "dataset",
            "encryption",
            "etag",
            "expires_at",
            "expires_on",
            "ground",
            "id",
            "key",
            "law",
        ),
        *("names", "persons", "plan", "policy_version", "replaces", "rows", "rule", "sha256", "size", "step", "store", "tenants", "zone"),
    ]
