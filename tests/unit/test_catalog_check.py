"""The catalog against itself and the policy: each thing that can be wrong is found, and the shipped files are clean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from lethe.catalog.check import check_catalog
from lethe.catalog.load import load_catalog
from lethe.catalog.model import Catalog
from lethe.policy.load import load_version
from lethe.policy.model import PolicyVersion
from lethe.settings import SHIPPED

ON = date(2026, 11, 24)
Edit = Callable[[dict[str, Any], dict[str, Any]], Any]


def policy() -> PolicyVersion:
    return load_version(SHIPPED / "2026-05-01")


def findings(edit: Edit) -> list[tuple[str, str]]:
    """(kind, where) after an edit of (tables of spotrak_db, policy)."""
    catalog = load_catalog(SHIPPED / "catalog").model_dump(mode="json", by_alias=True)
    rules = policy().model_dump(mode="json")
    edit(next(s for s in catalog["stores"] if s["id"] == "spotrak_db"), rules)
    found = check_catalog(Catalog.model_validate(catalog), PolicyVersion.model_validate(rules), on=ON)
    return [(f.kind, f.where) for f in found]


def rule_of(value: dict[str, Any], rule: str) -> dict[str, Any]:
    return next(r for r in value["rules"] if r["id"] == rule)


def archive_of(value: dict[str, Any]) -> dict[str, Any]:
    """The archived columns of the contracts' rule, by dataset."""
    found: dict[str, Any] = rule_of(value, "contracts")["archive"]["columns"]
    return found


def test_the_shipped_policy_and_catalog_agree() -> None:
    assert findings(lambda store, rules: None) == []


CASES: list[tuple[Edit, tuple[str, str]]] = [
    (lambda s, r: s["tables"]["appointments"]["calendar"].update(ends="nothing"), ("name not known", "appointments calendar")),
    (lambda s, r: s["tables"]["users"].update(category="nothing"), ("category without rule", "users")),
    (lambda s, r: s["tables"].pop("email_log"), ("category without dataset", "rule mail-log")),
    (
        lambda s, r: s["tables"]["leads"]["relations"]["converted_tenant"].update(to="tenant"),
        ("dangling relation", "leads.converted_tenant"),
    ),
    (
        lambda s, r: s["tables"]["leads"]["relations"]["converted_tenant"].update(columns=["x"]),
        ("dangling relation", "leads.converted_tenant"),
    ),
    (
        lambda s, r: s["tables"]["appointment_clients"]["relations"]["client"].update(columns=["client_id", "attended"]),
        ("dangling relation", "appointment_clients.client"),
    ),
    (lambda s, r: s["tables"]["support_messages"].update(tenant=["thread"]), ("path leads nowhere", "support_messages tenant")),
    (lambda s, r: s["tables"]["support_messages"].update(tenant=["thred"]), ("path leads nowhere", "support_messages tenant")),
    (lambda s, r: s["tables"]["email_log"].update(persons=[["user", "tenant"]]), ("path leads nowhere", "email_log persons")),
    (lambda s, r: s["tables"]["consents"]["clocks"]["choice"].update(column="chosen"), ("clock not defined", "consents clock choice")),
    (lambda s, r: s["tables"]["technical_logs"]["clocks"].clear(), ("clock not defined", "rule technical-logs")),
    (lambda s, r: s["tables"]["leads"]["subsets"].pop("not-converted"), ("name not known", "rule leads")),
    (lambda s, r: s["tables"]["leads"].update(key=["uuid"]), ("name not known", "leads key")),
    (lambda s, r: s.update(identities=["people"]), ("name not known", "spotrak_db identities")),
    (lambda s, r: s.update(contracts=None), ("path leads nowhere", "rule support")),
    (lambda s, r: s.update(check_connection=None), ("store unknown", "spotrak_db")),
    (lambda s, r: s["tables"]["leads"].update(purposes=["selling"]), ("purpose not known", "leads")),
    (lambda s, r: s["tables"]["leads"].update(purposes=[]), ("personal column not covered", "leads.email")),
    (lambda s, r: s["tables"]["leads"].update(role="processor"), ("role differs", "rule leads")),
    (lambda s, r: s["tables"]["leads"]["columns"]["email"].update(guessed=True), ("guessed category", "leads.email")),
    (
        lambda s, r: s.update(exempt=[{"name": "app.x", "reason": "r", "owner": "o", "until": "2026-11-23"}]),
        ("exemption expired", "spotrak_db app.x"),
    ),
    (lambda s, r: archive_of(r).pop("tenants"), ("name not known", "rule contracts archive.columns")),
    (lambda s, r: archive_of(r)["tenants"].append("ceo"), ("name not known", "rule contracts archive.columns")),
    (lambda s, r: archive_of(r).update(tenants=[]), ("name not known", "rule contracts archive.columns")),
    (lambda s, r: archive_of(r).update(users=["id"]), ("name not known", "rule contracts archive.columns")),
    (lambda s, r: s["tables"]["tenants"]["columns"].pop("siren"), ("name not known", "rule contracts archive.columns")),
    (lambda s, r: s["tables"]["tenants"]["clocks"].clear(), ("clock not defined", "rule contracts")),
    (lambda s, r: rule_of(r, "accounts").update(kept_for=["busines-data"]), ("category without dataset", "rule accounts kept_for")),
    (lambda s, r: rule_of(r, "leads").update(clock="lastcontact"), ("clock not defined", "rule leads")),
    (lambda s, r: rule_of(r, "business-data").update(clock="servce_end"), ("clock not defined", "rule business-data")),
]


@pytest.mark.parametrize(("edit", "expected"), CASES, ids=[f"{i}-{kind}" for i, (_, (kind, _)) in enumerate(CASES)])
def test_what_is_wrong_is_found_by_name(edit: Edit, expected: tuple[str, str]) -> None:
    assert expected in findings(edit)


SIGNUPS: dict[str, Any] = {
    "table": "signups", "schema": "app", "role": "controller", "category": "leads", "purposes": ["communicate"], "key": ["id"],
    "clocks": {"last_contact": {"latest_of": ["created_at"]}},
    "subsets": {n: [{"column": "created_at", "is": i}] for n, i in (("not-converted", "not_null"), ("converted", "null"))},
    "relations": {"converted_tenant": {"columns": ["id"], "to": "tenants"}}, "tenant": ["converted_tenant"],
    "columns": {"id": {"category": "user.unique_id"}, "email": {"category": "user.contact.email"}, "created_at": {"category": "system.operations"}},
}  # fmt: skip
OPENED: dict[str, Any] = SIGNUPS | {
    "table": "opened",
    "relations": SIGNUPS["relations"] | {"signup": {"columns": ["signup_id"], "to": "signups"}},
    "columns": {
        c: {"category": k} for c, k in (("id", "system.operations"), ("signup_id", "user.unique_id"), ("created_at", "system.operations"))
    },
}
"""Rows that are found by their address alone, and rows that hang on them."""

HANGING: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "personal, and no way": ({}, [("rows not found", "opened")]),
    "a way there": ({"persons": [["signup"]]}, []),
    "an address of its own": ({"columns": OPENED["columns"] | {"to": {"category": "user.contact.email"}}}, []),
    "nothing personal": ({"columns": {c: {"category": "system.operations"} for c in OPENED["columns"]}}, []),
    "no relation there": ({"relations": SIGNUPS["relations"]}, []),
    "a way to where nobody is": ({"persons": [["converted_tenant"]]}, [("path leads nowhere", "opened persons")]),
}


@pytest.mark.parametrize("case", HANGING)
def test_personal_rows_that_hang_on_an_address_are_found_or_it_is_said(case: str) -> None:
    changes, expected = HANGING[case]
    clocks = {"clocks": SIGNUPS["clocks"] | {"contract_end": {"column": "ended_at", "through": ["converted_tenant", "contracts.tenant"]}}}
    tables = {"signups": SIGNUPS | clocks, "opened": OPENED | clocks | changes}
    assert findings(lambda s, r: s["tables"].update(tables)) == expected


def test_what_hangs_on_rows_that_lead_to_persons_themselves_is_no_finding_of_that_kind() -> None:
    led = SIGNUPS | {"relations": SIGNUPS["relations"] | {"user": {"columns": ["id"], "to": "users"}}, "persons": [["user"]]}
    kinds = {kind for kind, _ in findings(lambda s, r: s["tables"].update(signups=led, opened=OPENED))}
    assert "rows not found" not in kinds
    ended = OPENED | {"persons": [["signup"], ["signup", "user"]]}
    assert findings(lambda s, r: s["tables"].update(signups=led, opened=ended)) == findings(lambda s, r: s["tables"].update(signups=led))
    nowhere = led | {"columns": {c: k for c, k in led["columns"].items() if "email" not in k["category"]}}
    assert ("path leads nowhere", "opened persons") in findings(lambda s, r: s["tables"].update(signups=nowhere, opened=ended))


def test_an_exemption_holds_through_its_last_day() -> None:
    exempt = [{"name": "app.x", "reason": "r", "owner": "o", "until": "2026-11-24"}]
    assert findings(lambda s, r: s.update(exempt=exempt)) == []


def test_a_category_without_dataset_is_no_finding_while_its_rule_waits() -> None:
    assert "backups" in {r.category for r in policy().rules}
    assert findings(lambda s, r: None) == []
