"""Which rules an edit lets delete more."""

from __future__ import annotations

from typing import Any

import pytest

from lethe.policy.diff import diff
from lethe.policy.load import load_version
from lethe.policy.model import PolicyVersion
from lethe.settings import SHIPPED


def archived(**changes: Any) -> dict[str, Any]:
    """The archive of the shipped contracts, with changes."""
    found = load_version(SHIPPED / "2026-05-01").rule("contracts").archive
    assert found is not None
    return found.model_dump(mode="json") | changes


def edited(rule: str, **changes: Any) -> PolicyVersion:
    value = load_version(SHIPPED / "2026-05-01").model_dump(mode="json")
    for found in value["rules"]:
        if found["id"] == rule:
            found.update(changes)
    return PolicyVersion.model_validate(value)


@pytest.mark.parametrize(
    ("rule", "changes", "fields", "widens"),
    [
        ("technical-logs", {"period": "P12D"}, ("period",), True),
        ("technical-logs", {"period": "P24M"}, ("period",), False),
        ("support", {"live_contract": "ignored"}, ("live_contract",), True),
        ("leads", {"subset": None}, ("subset",), True),
        ("leads", {"clock": "contract_end"}, ("clock",), True),
        ("business-data", {"needs": []}, ("needs",), True),
        ("support", {"needs": ["requests"]}, ("needs",), False),
        ("accounts", {"kept_for": []}, ("kept_for",), True),
        ("users-removed", {"kept_for": ["business-data"]}, ("kept_for",), False),
        ("contracts", {"archive": archived(period="P4Y")}, ("archive",), True),
        ("contracts", {"archive": archived(period="P6Y")}, ("archive",), False),
        ("contracts", {"archive": archived(columns={"contracts": ["id"], "tenants": ["id"]})}, ("archive",), True),
        ("contracts", {"then": "delete", "archive": None}, ("then", "archive"), True),
        ("support", {"why": "other words"}, None, False),
        ("technical-logs", {"period": "P1Y"}, None, False),
    ],
)
def test_an_edit_that_may_delete_more_is_told_from_one_that_may_not(rule: str, changes: Any, fields: Any, widens: bool) -> None:
    found = diff(load_version(SHIPPED / "2026-05-01"), edited(rule, **changes))
    assert [(c.rule, c.fields, c.widens) for c in found] == ([(rule, fields, widens)] if fields else [])


def test_an_added_rule_widens_and_a_removed_one_does_not() -> None:
    old = load_version(SHIPPED / "2026-05-01")
    new = old.model_copy(update={"rules": old.rules[1:]})
    assert [(c.kind, c.widens) for c in diff(old, new)] == [("removed", False)]
    assert [(c.kind, c.widens) for c in diff(new, old)] == [("added", True)]
