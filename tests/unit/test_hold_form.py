"""The form of `legal_hold`: what it offers is what there is, and the task refuses what the form would, without repeating it."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from lethe.airflow import hold_form
from lethe.airflow.holding import check
from lethe.control.holds import HoldReason
from lethe.errors import HoldRefused

DIGEST = "0123456789abcdef" * 4
ADDRESS = "jeanne.martin@example.org"
ADD = {"action": "add", "reason": "litigation", "review_on": "2027-06-30"}


def test_the_form_offers_every_reason_and_every_dataset() -> None:
    assert set(hold_form.REASONS) == set(HoldReason)
    assert {"contracts", "billing_invoices", "technical_logs"} <= set(hold_form.fields()["dataset"].schema["enum"])


def test_a_hold_is_what_the_form_says() -> None:
    form = {**ADD, "dataset": "(any)", "person": DIGEST, "tenant": None, "since": "2026-01-01T00:00:00+01:00", "owner": "j.dupont"}
    found = check(form)
    assert (found["dataset"], found["person"], found["reason"], found["review_on"].year) == (None, DIGEST, "litigation", 2027)
    assert found["since"].utcoffset() is not None and found["until"] is None
    assert check({"action": "lift", "hold": 7, "review_on": None}) == {"action": "lift", "hold": 7, "owner": None}


REFUSED = [
    ({**ADD, "person": ADDRESS}, "`person`"),
    ({**ADD, "person": "Jeanne Martin"}, "`person`"),
    ({**ADD, "person": DIGEST + "\n"}, "`person`"),
    ({**ADD, "person": DIGEST.upper()}, "`person`"),
    ({**ADD, "person": "users:123"}, "`person`"),
    ({**ADD, "person": "request-12"}, "There are no requests yet"),
    ({**ADD, "tenant": ADDRESS}, "`tenant`"),
    ({**ADD, "tenant": "Cabinet Martin"}, "`tenant`"),
    ({**ADD, "tenant": 7}, "`tenant` is no text"),
    ({**ADD, "owner": ADDRESS}, "`owner`"),
    ({**ADD, "email": ADDRESS}, "fields that no hold has"),
    ({**ADD, "review_on": None}, "a day on which it is looked at again"),
    ({**ADD, "review_on": ADDRESS}, "`review_on`"),
    ({**ADD, "since": ADDRESS}, "`since`"),
    ({**ADD, "reason": "(choose)"}, "needs a reason"),
    ({"action": "drop"}, "neither add nor lift"),
    ({"action": "lift"}, "which hold"),
    ({"action": "lift", "hold": True}, "which hold"),
]


@pytest.mark.parametrize(("form", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_the_task_refuses_what_is_wrong_and_never_repeats_it(form: dict[str, Any], says: str) -> None:
    with pytest.raises(HoldRefused, match=says) as refused:
        check(form)
    assert "martin" not in str(refused.value).lower() and "jeanne" not in str(refused.value).lower()


@pytest.mark.parametrize("field", ["person", "tenant", "owner", "dataset", "reason"])
def test_the_form_itself_takes_no_address(field: str) -> None:
    with pytest.raises(ParamValidationError):
        hold_form.fields()[field].resolve(ADDRESS)


def test_the_form_s_defaults_are_valid() -> None:
    for field in hold_form.fields().values():
        field.resolve()
