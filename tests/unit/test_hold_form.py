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
REQUEST = "R-2026-7K3M9QWX"
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


@pytest.mark.parametrize("tenant", ["0", "7", "9" * 18, "123e4567-e89b-12d3-a456-426614174000", DIGEST])
def test_a_tenant_is_a_number_a_uuid_or_a_keyed_digest(tenant: str) -> None:
    assert hold_form.fields()["tenant"].resolve(tenant) == check({**ADD, "tenant": tenant})["tenant"] == tenant


PEOPLE = [
    "jeanne.martin",
    "JeanneMartin",
    "Jeanne Martin",
    "martin",
    "0612345678",
    "06 12 34 56 78",
    "+33612345678",
    "0033612345678",
    "12ruedelapaix",
    "12-rue-de-la-paix-75002-Paris",
    "192.0.2.7",
    ADDRESS,
    "007",
    "1" * 19,
    "-7",
    "7\n",
    "٧",
    "decade",
    DIGEST[:32],
    DIGEST.upper(),
    "123E4567-E89B-12D3-A456-426614174000",
]


@pytest.mark.parametrize("typed", PEOPLE)
def test_neither_form_nor_task_takes_a_name_a_telephone_number_or_an_address(typed: str) -> None:
    for field in ("tenant", "person"):
        if not typed.endswith("\n"):  # JSON Schema's `$` may match before it; the task's does not
            with pytest.raises(ParamValidationError):
                hold_form.fields()[field].resolve(typed)
        with pytest.raises(HoldRefused, match=f"`{field}` is not written") as refused:
            check({**ADD, field: typed})
        assert typed.strip() not in str(refused.value) or typed.strip() in ("7", "007")


def test_a_person_is_a_request_by_its_id_and_the_form_says_that_an_account_is_one_key() -> None:
    field = hold_form.fields()["person"]
    assert field.resolve(REQUEST) == check({**ADD, "person": REQUEST})["person"] == REQUEST
    said = str(field.description)
    assert "the id of a request" in said and "two keys" in said


REFUSED = [
    ({**ADD, "person": ADDRESS}, "`person`"),
    ({**ADD, "person": "Jeanne Martin"}, "`person`"),
    ({**ADD, "person": DIGEST + "\n"}, "`person`"),
    ({**ADD, "person": DIGEST.upper()}, "`person`"),
    ({**ADD, "person": "users:123"}, "`person`"),
    ({**ADD, "person": "request-12"}, "`person`"),
    ({**ADD, "person": REQUEST.lower()}, "`person`"),
    ({**ADD, "person": REQUEST + "\n"}, "`person`"),
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
