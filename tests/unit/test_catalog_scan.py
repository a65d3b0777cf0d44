"""What names suggest, and that everything suggested is marked as a guess."""

from __future__ import annotations

from datetime import date

import pytest

from lethe.catalog.guess import clock_column, column_category, is_person_table
from lethe.catalog.live import ForeignKey, LiveColumn, LiveSchema, LiveTable
from lethe.catalog.model import Store
from lethe.catalog.scan import TO_DECIDE, scan, starter_rules

INSTANT = "timestamp with time zone"


def table(called: str, key: str = "id", **columns: str) -> LiveTable:
    return LiveTable(
        name=called, kind="table", primary_key=(key,), columns={n: LiveColumn(type=t, nullable=True) for n, t in columns.items()}
    )


SCHEMA = LiveSchema(
    tables={
        t.name: t
        for t in (
            table("shop.customers", id="bigint", name="text", email="text", created_at=INSTANT),
            table("shop.orders", id="bigint", customer_id="bigint", shipping_address="text", placed_at="timestamp without time zone"),
            table("shop.order_lines", id="bigint", order_id="bigint", note="text"),
            table("shop.currencies", key="code", code="text", rate="numeric"),
        )
    },
    foreign_keys=tuple(
        ForeignKey(name="k", table=a, columns=(c,), to=b, to_columns=("id",), on_delete="no action", deferrable=False, validated=True)
        for a, c, b in (("shop.orders", "customer_id", "shop.customers"), ("shop.order_lines", "order_id", "shop.orders"))
    ),
)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("email", "user.contact.email"),
        ("EmailAddress", "user.contact.email"),
        ("phone_number", "user.contact.phone_number"),
        ("lastName", "user.name.last"),
        ("date_of_birth", "user.demographic.date_of_birth"),
        ("client_ip", "user.device.ip_address"),
        ("password_hash", "user.authorization.password"),
        ("iban", "user.financial.bank_account"),
        ("user_id", "user.unique_id"),
        ("currency", "system.operations"),
        ("status", "system.operations"),
    ],
)
def test_a_name_suggests_a_category(name: str, category: str) -> None:
    assert column_category(name, of_person=False) == category


def test_a_table_of_persons_is_known_by_its_name() -> None:
    assert all(is_person_table(n) for n in ("users", "Customers", "patient", "employees", "people"))
    assert not any(is_person_table(n) for n in ("user_roles", "orders", "contacts_log"))


def test_the_clock_is_when_it_happened_never_a_birthday() -> None:
    assert clock_column({"birth_date": "date", "created_at": INSTANT, "occurred_at": INSTANT}) == "occurred_at"
    assert clock_column({"birth_date": "date"}) is None


def test_a_first_catalog_loads_and_says_how_a_row_leads_to_a_person() -> None:
    store = Store.model_validate(scan(SCHEMA, store="shop_db", connection="shop_db", on=date(2026, 11, 24)))
    assert store.identities == ("customers",)
    assert store.tables["customers"].persons == ((),)
    assert store.tables["order_lines"].persons == (("order", "customer"),)
    assert store.tables["order_lines"].clocks["age"].through == ("order",)
    assert store.tables["orders"].clocks["age"].stored_as == "timestamp"
    assert [e.name for e in store.exempt] == ["shop.currencies"]


def test_every_category_of_a_first_catalog_is_a_guess_and_no_period_is() -> None:
    value = scan(SCHEMA, store="shop_db", connection="shop_db", on=date(2026, 11, 24))
    assert all(c["guessed"] for t in value["tables"].values() for c in t["columns"].values())
    assert {r["period"] for r in starter_rules(value)} == {TO_DECIDE}
