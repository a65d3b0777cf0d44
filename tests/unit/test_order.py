"""Steps in groups of connected tables, children before parents, cycles side by side."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from lethe.catalog.live import ForeignKey, LiveSchema, LiveTable
from lethe.catalog.model import Catalog, Clock, Column, Relation, Store, Table
from lethe.errors import UnknownName
from lethe.plan.model import KeptFor, Predicate, Step
from lethe.plan.order import groups, references, visited
from lethe.policy.model import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(name: str, relations: dict[str, Relation] | None = None) -> Table:
    return Table(
        table=name,
        db_schema="app",
        role=Role.CONTROLLER,
        category="c",
        purposes=("p",),
        key=("id",),
        columns={"id": Column(category="system.operations")},
        relations=relations or {},
    )


def catalog(*names: str, relations: dict[str, dict[str, Relation]] | None = None) -> Catalog:
    tables = {n: entry(n, (relations or {}).get(n)) for n in names}
    return Catalog(purposes={}, stores=(Store(id="db", kind="postgresql", connection="db", start_of_service=NOW, tables=tables),))


def live(*pairs: tuple[str, str], partitions: dict[str, str] | None = None) -> dict[str, LiveSchema]:
    keys = tuple(
        ForeignKey(
            name="k",
            table=f"app.{a}",
            columns=(f"{b}_id",),
            to=f"app.{b}",
            to_columns=("id",),
            on_delete="cascade",
            deferrable=False,
            validated=True,
        )
        for a, b in pairs
    )
    names = {n for p in pairs for n in p} | set(partitions or {})
    parents = {f"app.{k}": f"app.{v}" for k, v in (partitions or {}).items()}
    tables = {f"app.{n}": LiveTable(name=f"app.{n}", kind="table", columns={}, partition_of=parents.get(f"app.{n}")) for n in names}
    return {"db": LiveSchema(tables=tables, foreign_keys=keys)}


def step(dataset: str, rule: str = "r", clock: Clock | None = None, waits: bool = False) -> Step:
    predicate = Predicate(clock=clock or Clock(column="at"), cutoff=NOW, start_of_service=NOW, as_of=NOW)
    return Step(
        id=f"{rule}/{dataset}",
        rule=rule,
        promise="p",
        dataset=dataset,
        store="db",
        predicate=predicate,
        waiting_for=("archive",) if waits else (),
    )


def datasets(found: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    return [[s.split("/")[1] for s in g] for g in found]


def test_children_come_before_parents_whatever_the_order_of_the_plan() -> None:
    for names in permutations("abcd"):
        found = groups([step(n) for n in names], catalog(*names), live(("a", "b"), ("b", "c"), ("a", "d")))
        assert len(found) == 1
        order = datasets(found)[0]
        assert order.index("a") < order.index("b") < order.index("c")
        assert order.index("a") < order.index("d")


def test_tables_that_do_not_touch_are_groups_of_their_own() -> None:
    assert datasets(groups([step("a"), step("b"), step("c")], catalog("a", "b", "c"), live(("c", "a")))) == [["c", "a"], ["b"]]


def test_a_step_that_waits_is_in_no_group_and_connects_none() -> None:
    steps = [step("a"), step("b", waits=True), step("c")]
    assert datasets(groups(steps, catalog("a", "b", "c"), live(("a", "b"), ("b", "c")))) == [["a"], ["c"]]


def test_two_rules_of_one_dataset_are_one_group() -> None:
    assert groups([step("a", "r1"), step("b"), step("a", "r2")], catalog("a", "b"), live()) == (("r1/a", "r2/a"), ("r/b",))


def test_a_cycle_stands_side_by_side_between_its_children_and_its_parents() -> None:
    keys = live(("users", "tenants"), ("tenants", "users"), ("notes", "users"), ("tenants", "countries"))
    names = ("countries", "tenants", "notes", "users")
    order = datasets(groups([step(n) for n in names], catalog(*names), keys))[0]
    assert order[0] == "notes"
    assert order[-1] == "countries"
    assert set(order[1:3]) == {"users", "tenants"}


def test_a_table_that_refers_to_itself_is_no_obstacle() -> None:
    assert datasets(groups([step("a")], catalog("a"), live(("a", "a")))) == [["a"]]


def test_a_relation_of_the_catalog_orders_like_a_foreign_key_unless_it_may_dangle() -> None:
    for dangle, expected in ((False, [["b", "a"]]), (True, [["a"], ["b"]])):
        data = catalog("a", "b", relations={"b": {"up": Relation(columns=("a_id",), to="a", may_dangle=dangle)}})
        assert datasets(groups([step("a"), step("b")], data, {})) == expected


def test_a_partitions_foreign_key_counts_for_its_partitioned_table() -> None:
    found = references(catalog("views", "users").stores[0], live(("views_2026", "users"), partitions={"views_2026": "views"})["db"])
    assert [(r.child_dataset, r.parent_dataset) for r in found] == [("views", "users")]


def test_a_table_that_is_not_in_the_catalog_still_refers() -> None:
    found = references(catalog("users").stores[0], live(("audit", "users"))["db"])
    assert [(r.child, r.child_dataset, r.parent_dataset) for r in found] == [("app.audit", None, "users")]


def test_rows_go_before_the_rows_that_their_clock_lies_on() -> None:
    relations = {"events": {"consent": Relation(columns=("consent_id",), to="consents", may_dangle=True)}}
    data = catalog("consents", "events", relations=relations)
    steps = [step("consents"), step("events", clock=Clock(column="ended_at", through=("consent",)))]
    assert datasets(groups(steps, data, {})) == [["events", "consents"]]


def test_a_foreign_key_outranks_a_clock() -> None:
    data = catalog("threads", "messages", relations={"messages": {"thread": Relation(columns=("thread_id",), to="threads")}})
    steps = [step("threads", clock=Clock(column="sent_at", through=("messages.thread",))), step("messages")]
    assert datasets(groups(steps, data, {})) == [["messages", "threads"]]


def aged(name: str, relations: dict[str, Relation] | None = None, **clocks: Clock) -> Table:
    return entry(name, relations).model_copy(update={"clocks": clocks})


def contracts_store(**tables: Table) -> Store:
    """Tenants age by their contracts, users by their tenant's; `tables` replace or join them."""
    to_tenant = {"tenant": Relation(columns=("tenant_id",), to="tenants")}
    base = {
        "tenants": aged("tenants", end=Clock(column="ended_at", through=("contracts.tenant",))),
        "contracts": aged("contracts", to_tenant, end=Clock(column="ended_at", through=("tenant", "contracts.tenant"))),
        "users": aged("users", to_tenant, end=Clock(column="ended_at", through=("tenant", "contracts.tenant"))),
    }
    return Store(id="db", kind="postgresql", connection="db", start_of_service=NOW, tables=base | tables)


def by_clock(store: Store) -> set[tuple[str | None, tuple[str, ...], str | None, tuple[str, ...]]]:
    """The references that no foreign key and no relation makes."""
    relations = {(i, tuple(sorted(r.columns)), r.to) for i, t in store.tables.items() for r in t.relations.values()}
    found = {(r.child_dataset, r.columns, r.parent_dataset, r.to_columns) for r in references(store, None)}
    return {f for f in found if f[:3] not in relations}


def test_a_row_by_which_others_age_does_not_go_before_them() -> None:
    assert by_clock(contracts_store()) == {("tenants", ("id",), "contracts", ("tenant_id",))}
    data = Catalog(purposes={}, stores=(contracts_store(),))
    found = groups([step("contracts"), step("tenants"), step("users")], data, {})
    assert len(found) == 1 and {s.split("/")[1] for s in found[0][-2:]} == {"contracts", "tenants"}


def test_a_clock_that_goes_on_without_the_rows_or_lies_among_its_own_makes_no_reference() -> None:
    thread = {"thread": Relation(columns=("thread_id",), to="threads")}
    threads = aged("threads", last=Clock(column="sent_at", through=("messages.thread",), otherwise="opened_at"))
    messages = aged("messages", thread, last=Clock(column="sent_at", through=("thread", "messages.thread")))
    with_them = contracts_store(threads=threads, messages=messages)
    assert by_clock(with_them) == by_clock(contracts_store())
    alone = contracts_store(tenants=aged("tenants"), users=aged("users"))
    assert by_clock(alone) == set(), "a contract's own way round makes none"


def test_a_reference_by_a_clock_is_by_the_columns_that_the_relation_names() -> None:
    own = {"tenant": Relation(columns=("b", "a"), to="tenants", to_columns=("y", "x"))}
    found = by_clock(contracts_store(contracts=aged("contracts", own), users=aged("users")))
    assert found == {("tenants", ("x", "y"), "contracts", ("a", "b"))}


def test_rows_that_others_are_kept_for_are_of_one_group_with_them() -> None:
    needed = step("users")
    assert isinstance(needed.predicate, Predicate)
    kept = KeptFor(dataset="clients", columns=("tenant_id",), own=("tenant_id",))
    users = needed.model_copy(update={"predicate": needed.predicate.model_copy(update={"kept_for": (kept,)})})
    data = catalog("users", "clients", "logs")
    assert datasets(groups([users, step("clients"), step("logs")], data, {})) == [["users", "clients"], ["logs"]]


def test_a_hop_that_leads_nowhere_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="'gone'"):
        visited(catalog("a").stores[0], "a", ("gone",))


def test_the_same_reference_is_named_once() -> None:
    data = catalog("a", "b", relations={"b": {"up": Relation(columns=("a_id",), to="a")}})
    found = references(data.stores[0], live(("b", "a"))["db"])
    assert [(r.child, r.foreign_key) for r in found] == [("app.b", True)]
