"""A policy and a catalog become a plan: every rule is in it, nothing is invented, and the digest covers what it must."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lethe.catalog.load import load_catalog
from lethe.catalog.model import Catalog, Clock, Column, Condition, Contracts, ObjectClock, Prefix, Relation, Store, Table
from lethe.errors import BadAsOf, Uncountable, UnknownName
from lethe.plan.counting import StepCount, count_plan
from lethe.plan.keeping import turned_round
from lethe.plan.make import make_plan
from lethe.plan.model import ArchiveTerms, Counts, KeptFor, ObjectPredicate, Plan, Predicate, Step
from lethe.policy.load import load_policies
from lethe.policy.model import Archive, Guard, Need, PolicyVersion, Promise, Role, Rule
from lethe.policy.period import Period

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
SERVICE = datetime(2015, 1, 1, tzinfo=UTC)
HAS_ARCHIVE = frozenset({Need.ARCHIVE})
TO_TENANT: dict[str, Any] = {"relations": {"tenant": Relation(columns=("tenant_id",), to="tenants")}, "tenant": ("tenant",)}
SHIPPED = Path(__file__).parents[2] / "include" / "policies" / "spotrak"


def table(category: str, **more: Any) -> Table:
    known: dict[str, Any] = {
        "table": "t",
        "role": Role.CONTROLLER,
        "category": category,
        "purposes": ("p",),
        "key": ("id",),
        "columns": {"id": Column(category="system.operations")},
        "clocks": {"event": Clock(column="at")},
    }
    return Table(**known | more)


def rule(rule_id: str, category: str, **more: Any) -> Rule:
    known: dict[str, Any] = {
        "id": rule_id,
        "promise": "p",
        "category": category,
        "role": Role.CONTROLLER,
        "clock": "event",
        "period": Period("P12M"),
        "why": "w",
    }
    return Rule(**known | more)


def policy(*rules: Rule) -> PolicyVersion:
    return PolicyVersion(
        company="c",
        published_on=date(2026, 1, 1),
        effective_on=date(2026, 1, 1),
        time_zone="Europe/Paris",
        authority="CNIL",
        text_sha256="0" * 64,
        backup_window=Period("P35D"),
        guard=Guard(max_share=0.5, max_rows=10),
        rules=rules,
        promises=(Promise(id="p", quotes=("q",), means="m", proof="p", controls=()),),
    )


def catalog(tables: dict[str, Table], prefixes: dict[str, Prefix] | None = None, contracts: Contracts | None = None) -> Catalog:
    store = Store(
        id="db", kind="postgresql", connection="db", start_of_service=SERVICE, tables=tables, prefixes=prefixes or {}, contracts=contracts
    )
    return Catalog(purposes={"p": "x"}, stores=(store,))


def test_a_rule_becomes_one_step_for_each_dataset_of_its_category() -> None:
    plan = make_plan(policy(rule("logs", "logs")), catalog({"a": table("logs"), "b": table("other"), "c": table("logs")}), as_of=AS_OF)
    assert [s.id for s in plan.steps] == ["logs/a", "logs/c"]
    assert all(s.acts and s.store == "db" and s.promise == "p" and s.period == "P12M" for s in plan.steps)


def test_a_step_carries_the_cutoff_of_the_policys_zone() -> None:
    predicate = make_plan(policy(rule("logs", "logs")), catalog({"a": table("logs")}), as_of=AS_OF).steps[0].predicate
    assert isinstance(predicate, Predicate)
    assert predicate.cutoff == datetime(2025, 11, 23, tzinfo=ZoneInfo("Europe/Paris"))
    assert (predicate.start_of_service, predicate.as_of, predicate.zone) == (SERVICE, AS_OF, "Europe/Paris")


def test_a_rule_without_a_dataset_is_in_the_plan_and_never_acts() -> None:
    step = make_plan(policy(rule("backups", "backups")), catalog({"a": table("logs")}), as_of=AS_OF).steps[0]
    assert (step.id, step.dataset, step.predicate, step.acts) == ("backups", None, None, False)


def test_a_rule_that_cannot_be_kept_yet_says_what_it_waits_for_and_never_acts() -> None:
    waiting = rule("accounts", "logs", needs=(Need.WARNING,))
    step = make_plan(policy(waiting), catalog({"a": table("logs")}), as_of=AS_OF).steps[0]
    assert step.waiting_for == ("warning",)
    assert step.predicate is not None
    assert not step.acts


def test_a_partition_goes_with_its_partitioned_table() -> None:
    tables = {"views": table("logs"), "views_2026_01": table("logs", partition_of="views")}
    assert [s.id for s in make_plan(policy(rule("logs", "logs")), catalog(tables), as_of=AS_OF).steps] == ["logs/views"]


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="lgos"):
        make_plan(policy(rule("logs", "logs")), catalog({"a": table("logs")}), as_of=AS_OF, rules=["logs", "lgos"])


def test_only_the_rules_named_are_planned_in_the_policys_order() -> None:
    book = policy(rule("a", "x"), rule("b", "x"), rule("c", "x"))
    assert make_plan(book, catalog({"t": table("x")}), as_of=AS_OF, rules=["c", "a"]).rules == ("a", "c")


@pytest.mark.parametrize(
    ("more", "lacking"),
    [({"clock": "other"}, "clock 'other'"), ({"subset": "some"}, "subset 'some'"), ({"live_contract": "keeps"}, "contracts")],
)
def test_what_a_dataset_lacks_stops_the_run_by_name_unless_the_rule_waits(more: dict[str, Any], lacking: str) -> None:
    with pytest.raises(UnknownName, match=lacking):
        make_plan(policy(rule("logs", "logs", **more)), catalog({"a": table("logs")}), as_of=AS_OF)
    waiting = make_plan(policy(rule("logs", "logs", needs=(Need.WARNING,), **more)), catalog({"a": table("logs")}), as_of=AS_OF)
    assert waiting.steps[0].predicate is None


def test_an_as_of_without_zone_is_refused() -> None:
    with pytest.raises(BadAsOf):
        make_plan(policy(), catalog({}), as_of=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_subset_is_carried_with_its_conditions() -> None:
    some = (Condition(column="kind", equals="notice"),)
    entry = table("mail", subsets={"notices": some})
    predicate = make_plan(policy(rule("mail", "mail", subset="notices")), catalog({"m": entry}), as_of=AS_OF).steps[0].predicate
    assert isinstance(predicate, Predicate)
    assert predicate.subset == some


def test_a_live_contract_is_looked_for_along_the_tenant_and_back_to_the_contracts() -> None:
    tenants = table("x", table="tenants", tenant=())
    contracts = table("x", table="contracts", relations={"tenant": Relation(columns=("tenant_id",), to="tenants")}, tenant=("tenant",))
    threads = table("support", relations={"tenant": Relation(columns=("tenant_id",), to="tenants")}, tenant=("tenant",))
    data = catalog(
        {"tenants": tenants, "contracts": contracts, "threads": threads},
        contracts=Contracts(dataset="contracts", tenant=("tenant",), started="s", ended="e"),
    )
    predicate = make_plan(policy(rule("r", "support", live_contract="keeps")), data, as_of=AS_OF).steps[0].predicate
    assert isinstance(predicate, Predicate)
    assert predicate.shield is not None
    assert predicate.shield.through == ("tenant", "contracts.tenant")


def test_a_path_turned_round_leads_back() -> None:
    a = table("x", relations={"to_b": Relation(columns=("b_id",), to="b")})
    b = table("x")
    c = table("x", relations={"up": Relation(columns=("b_id",), to="b")})
    store = catalog({"a": a, "b": b, "c": c}).stores[0]
    assert turned_round(store, "a", ("to_b", "c.up")) == ("up", "a.to_b")
    assert turned_round(store, "c", turned_round(store, "a", ("to_b", "c.up"))) == ("to_b", "c.up")


def test_objects_are_planned_by_the_day_in_their_key() -> None:
    logs = Prefix(
        bucket="logs",
        prefix="nginx/",
        role=Role.CONTROLLER,
        category="logs",
        purposes=("p",),
        clocks={"event": ObjectClock(last_modified=True)},
    )
    predicate = make_plan(policy(rule("logs", "logs")), catalog({}, {"objects": logs}), as_of=AS_OF).steps[0].predicate
    assert isinstance(predicate, ObjectPredicate)
    assert (predicate.bucket, predicate.zone) == ("logs", "Europe/Paris")


def test_the_digest_covers_the_instant_and_the_period_and_is_the_same_for_the_same_plan() -> None:
    data = catalog({"a": table("logs")})
    plan = make_plan(policy(rule("logs", "logs")), data, as_of=AS_OF)
    assert plan.digest == make_plan(policy(rule("logs", "logs")), data, as_of=AS_OF).digest
    assert plan.digest != make_plan(policy(rule("logs", "logs")), data, as_of=AS_OF.replace(second=1)).digest
    assert plan.digest != make_plan(policy(rule("logs", "logs", period=Period("P11M"))), data, as_of=AS_OF).digest
    assert Plan.model_validate_json(plan.model_dump_json()).digest == plan.digest


def test_an_instant_is_one_plan_however_its_offset_is_written() -> None:
    data = catalog({"a": table("logs"), "b": table("logs")})
    utc, paris = (make_plan(policy(rule("logs", "logs")), data, as_of=AS_OF.astimezone(z)) for z in (UTC, ZoneInfo("Europe/Paris")))
    assert (utc.digest, utc) == (paris.digest, paris)


def test_every_rule_of_the_shipped_policy_is_in_the_plan() -> None:
    book = load_policies(SHIPPED)
    shipped = book.in_force(AS_OF)
    plan = make_plan(shipped, load_catalog(SHIPPED / "catalog"), as_of=AS_OF)
    assert {s.rule for s in plan.steps} == {r.id for r in shipped.rules}
    assert {"technical-logs/technical_logs", "usage-events/page_views", "support/support_messages"} <= {s.id for s in plan.steps if s.acts}
    assert not [s.id for s in plan.steps if s.acts and s.rule in {"contracts", "business-data", "accounts-without-contract"}]
    assert {"accounts/users", "leads-converted/leads", "usage-events-after-contract/page_views"} <= {s.id for s in plan.steps if s.acts}


def test_the_shipped_policy_archives_its_own_records_where_there_is_an_archive_and_no_invoice_of_a_tenant_ever() -> None:
    shipped = load_policies(SHIPPED).in_force(AS_OF)
    without, within = (make_plan(shipped, load_catalog(SHIPPED / "catalog"), as_of=AS_OF, met=m) for m in (frozenset(), HAS_ARCHIVE))
    archiving = {s.dataset for s in without.steps if s.archive}
    assert archiving == {s.dataset for s in within.steps if s.archive} == {"contracts", "tenants", "billing_invoices"}
    assert {s.waiting_for for s in without.steps if s.archive} == {("archive",)}
    assert all(s.acts for s in within.steps if s.archive)
    assert without.digest != within.digest, "an approval of the one is none of the other"
    contracts = within.step("contracts/contracts").archive
    assert contracts is not None and (contracts.law, contracts.ground, str(contracts.period)) == ("Code civil 2224", "claims", "P5Y")


def archived(**columns: tuple[str, ...]) -> Rule:
    terms = Archive(period=Period("P5Y"), law="a law", ground="claims", columns=columns)
    return rule("r", "logs", then="archive", archive=terms, needs=(Need.ARCHIVE,))


def test_a_rule_that_archives_waits_until_there_is_an_archive_and_says_what_it_keeps() -> None:
    data = catalog({"a": table("logs")})
    step = make_plan(policy(archived(a=("id",))), data, as_of=AS_OF).steps[0]
    assert (step.waiting_for, step.acts) == (("archive",), False)
    step = make_plan(policy(archived(a=("id",))), data, as_of=AS_OF, met=HAS_ARCHIVE).steps[0]
    assert (step.waiting_for, step.acts) == ((), True)
    assert step.archive == ArchiveTerms(law="a law", ground="claims", period=Period("P5Y"), columns=("id",))


def test_a_need_that_is_met_leaves_the_others() -> None:
    waiting = rule("r", "logs", needs=(Need.WARNING, Need.ARCHIVE))
    assert make_plan(policy(waiting), catalog({"a": table("logs")}), as_of=AS_OF, met=HAS_ARCHIVE).steps[0].waiting_for == ("warning",)


@pytest.mark.parametrize("met", [frozenset(), frozenset({Need.ARCHIVE})], ids=["waits", "acts"])
@pytest.mark.parametrize(
    ("columns", "lacking"),
    [
        ({}, "no columns to archive"),
        ({"a": ()}, "no columns to archive"),
        ({"a": ("id", "sum")}, r"columns that the catalog lacks \(sum\)"),
    ],
)
def test_columns_that_cannot_be_archived_stop_the_plan_by_name(columns: dict[str, Any], lacking: str, met: frozenset[Need]) -> None:
    with pytest.raises(UnknownName, match=rf"'a' has {lacking}") as refused:
        make_plan(policy(archived(**columns)), catalog({"a": table("logs")}), as_of=AS_OF, met=met)
    assert "rules.yaml" in refused.value.fix


def test_what_a_dataset_lacks_stops_a_rule_whose_need_is_met() -> None:
    lacking = archived(a=("id",)).model_copy(update={"clock": "other"})
    assert make_plan(policy(lacking), catalog({"a": table("logs")}), as_of=AS_OF).steps[0].predicate is None
    with pytest.raises(UnknownName, match="clock 'other'"):
        make_plan(policy(lacking), catalog({"a": table("logs")}), as_of=AS_OF, met=HAS_ARCHIVE)


def company(**tables: Table) -> Catalog:
    """Tenants, their users, and what they store."""
    base = {"tenants": table("x", tenant=()), "users": table("accounts", **TO_TENANT)}
    made = catalog(base | tables).stores[0].model_copy(update={"tenants": "tenants"})
    return Catalog(purposes={"p": "x"}, stores=(made,))


LOGINS = rule("r", "accounts", kept_for=("data",))


def kept_by(data: Catalog) -> tuple[KeptFor, ...]:
    predicate = make_plan(policy(LOGINS), data, as_of=AS_OF).steps[0].predicate
    assert isinstance(predicate, Predicate)
    return predicate.kept_for


def test_logins_are_kept_for_every_table_of_the_category_by_the_tenant_they_share() -> None:
    links = table("data", relations={"visit": Relation(columns=("visit_id",), to="visits")}, tenant=("visit", "tenant"))
    other = table("data", relations={"owner": Relation(columns=("of",), to="tenants")}, tenant=("owner",))
    found = kept_by(company(visits=table("data", **TO_TENANT), links=links, files=other, notes=table("other", **TO_TENANT)))
    assert [(k.dataset, k.columns, k.own) for k in found] == [
        ("visits", ("tenant_id",), ("tenant_id",)),  # its links are covered by it
        ("files", ("of",), ("tenant_id",)),
    ]


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"visits": table("data")},
        {"visits": table("data", relations={"user": Relation(columns=("u",), to="users", may_dangle=True)}, tenant=("user", "tenant"))},
        {"visits": table("data", **TO_TENANT), "users": table("accounts")},
    ],
    ids=["no table", "no tenant", "a link that may dangle", "no tenant of its own"],
)
def test_a_category_that_logins_cannot_be_kept_for_stops_the_plan(tables: dict[str, Table]) -> None:
    with pytest.raises(UnknownName, match="tenant"):
        make_plan(policy(LOGINS), company(**tables), as_of=AS_OF)


class Counter:
    """Counts ten rows, except for the step it cannot count."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def count(self, step: Step) -> StepCount:
        if step.id == self.broken:
            raise Uncountable(f"Step {step.id}.")
        return StepCount(counts=Counts(total=10, due=1))


def test_every_step_with_a_predicate_is_counted_the_waiting_ones_too() -> None:
    book = policy(rule("logs", "logs"), rule("waits", "logs", needs=(Need.WARNING,)), rule("none", "none"))
    plan = make_plan(book, catalog({"a": table("logs")}), as_of=AS_OF)
    assert set(count_plan(plan, {"db": Counter()})) == {"logs/a", "waits/a"}


def test_one_set_that_cannot_be_counted_stops_the_plan() -> None:
    plan = make_plan(policy(rule("logs", "logs")), catalog({"a": table("logs"), "b": table("logs")}), as_of=AS_OF)
    with pytest.raises(Uncountable, match="logs/b"):
        count_plan(plan, {"db": Counter("logs/b")})
    with pytest.raises(UnknownName, match="'db'"):
        count_plan(plan, {})
