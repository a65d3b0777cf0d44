"""Holds: a hold that was accepted wins, and nobody can add one that keeps nothing."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime
from typing import Any

import pytest

from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.catalog.load import load_catalog
from lethe.control.holds import active_scopes, add_hold, batch_gate, hold_findings, lift_hold, list_holds
from lethe.control.scope import lacking
from lethe.errors import EvidenceRefused, HoldRefused, UnknownName
from lethe.evidence.ledger import records
from lethe.evidence.record import keyed_digest
from lethe.plan.model import HoldScope
from lethe.settings import SHIPPED, catalog_dir

CATALOG = load_catalog(catalog_dir(SHIPPED))
DAY = date(2026, 11, 23)
GOOD: dict[str, Any] = {
    "reason": "litigation",
    "owner": "j.dupont",
    "starts_on": DAY,
    "review_on": date(2027, 5, 1),
    "digest_key": DIGEST_KEY,
    "dataset": "technical_logs",
    "catalog": CATALOG,
}


def test_a_hold_is_listed_until_it_is_lifted_and_both_are_evidence(control: ControlDatabase) -> None:
    since = datetime(2025, 1, 1, tzinfo=UTC)
    with control.runtime.begin() as connection:
        hold = add_hold(connection, **GOOD, person=("users", "123"), tenant="7", since=since)
    with control.runtime.begin() as connection:
        assert list_holds(connection) == (hold,)
        assert active_scopes(connection, DAY) == (hold.scope,)
        assert (hold.scope.person, hold.scope.tenant, hold.scope.since) == (("users", "123"), "7", since)
        lifted = lift_hold(connection, hold.scope.id, by="a.martin")
    with control.runtime.connect() as connection:
        assert list_holds(connection) == () and active_scopes(connection, DAY) == ()
        assert list_holds(connection, lifted=True) == (lifted,) and lifted.lifted_by == "a.martin"
        added, taken = records(connection, run=f"hold:{hold.scope.id}")
    assert (added.kind, taken.kind) == ("hold.added", "hold.lifted")
    assert added.content["person_digest"] == keyed_digest(DIGEST_KEY, "users", "123")
    assert '"123"' not in added.body


def test_a_hold_that_is_lifted_twice_or_never_existed_is_an_error(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        hold = add_hold(connection, **GOOD)
        lift_hold(connection, hold.scope.id, by="a.martin")
        with pytest.raises(HoldRefused, match="lifted already"):
            lift_hold(connection, hold.scope.id, by="a.martin")
        with pytest.raises(UnknownName):
            lift_hold(connection, 999, by="a.martin")


def test_a_hold_that_makes_no_sense_is_refused_and_leaves_nothing(control: ControlDatabase) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    cases: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"dataset": None}, HoldRefused),
        ({"reason": "because"}, HoldRefused),
        ({"owner": ""}, HoldRefused),
        ({"owner": "j.dupont@example.org"}, HoldRefused),
        ({"review_on": date(2026, 11, 22)}, HoldRefused),
        ({"since": naive}, HoldRefused),
        ({"since": datetime(2026, 2, 1, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}, HoldRefused),
        ({"tenant": "Cabinet Martin"}, HoldRefused),
        ({"person": ("users", "jeanne@example.org")}, HoldRefused),
        ({"dataset": "technical_log"}, UnknownName),
        ({"person": ("people", "1")}, UnknownName),
        ({"person": ("leads", "5")}, HoldRefused),
        ({"dataset": "client_files", "since": datetime(2026, 2, 1, tzinfo=UTC)}, HoldRefused),
        ({"person": ("users", "1"), "digest_key": b""}, EvidenceRefused),
    ]
    with control.runtime.begin() as connection:
        for change, error in cases:
            with pytest.raises(error) as refused:
                add_hold(connection, **{**GOOD, **change})
            assert "example.org" not in str(refused.value)
        assert list_holds(connection, lifted=True) == ()
        assert list(records(connection)) == []


def test_every_table_of_a_tenant_is_kept_by_a_hold_on_it_and_what_is_not_is_named() -> None:
    found = lacking(CATALOG, HoldScope(id=0, tenant="42"))
    assert {d for d, lack in found.items() if lack} == {
        "nginx_logs",
        "client_files",
        "export_bundles",
        "identity_proofs",
        "intake_files",
        "internal_lists",
    }
    assert {"consents", "audience_events", "support_messages"} <= found.keys()


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ({"dataset": "technical_logs", "person": ("leads", "5")}, "dataset 'technical_logs' has no way to leads"),
        ({"dataset": "tags", "tenant": "42"}, "dataset 'tags' has no way to a tenant"),
        ({"dataset": "tags", "since": datetime(2026, 1, 1, tzinfo=UTC)}, "dataset 'tags' has no clock"),
    ],
)
def test_a_hold_on_a_dataset_that_does_not_lead_to_its_scope_is_refused(control: ControlDatabase, scope: dict[str, Any], says: str) -> None:
    store = CATALOG.store("spotrak_db")
    bare = store.tables["technical_logs"].model_copy(update={"tenant": None, "persons": (), "clocks": {}})
    catalog = CATALOG.model_copy(update={"stores": (store.model_copy(update={"tables": {**store.tables, "tags": bare}}),)})
    with control.runtime.begin() as connection:
        with pytest.raises(HoldRefused, match=says):
            add_hold(connection, **{**GOOD, "dataset": None, "catalog": catalog, **scope})
        assert list_holds(connection) == ()
        assert add_hold(connection, **{**GOOD, "dataset": "tags", "catalog": catalog}).scope.dataset == "tags"


def test_a_hold_without_a_review_date_or_past_it_is_red_and_still_keeps_its_rows(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        never = add_hold(connection, **{**GOOD, "review_on": None})
        past = add_hold(connection, **GOOD)
        later = date(2027, 5, 2)
        found = hold_findings(list_holds(connection), later)
        assert [(f.hold, f.problem) for f in found] == [(never.scope.id, "no review date"), (past.scope.id, "review date is past")]
        assert [f.hold for f in hold_findings(list_holds(connection), date(2027, 5, 1))] == [never.scope.id]
        assert len(active_scopes(connection, later)) == 2


def test_a_hold_keeps_from_its_start(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        hold = add_hold(connection, **GOOD)
        assert active_scopes(connection, date(2026, 11, 22)) == ()
        assert active_scopes(connection, DAY) == (hold.scope,)


def test_a_hold_waits_for_the_batch_that_runs_and_is_seen_by_the_next(control: ControlDatabase) -> None:
    accepted = threading.Event()

    def add() -> None:
        with control.runtime.begin() as connection:
            add_hold(connection, **GOOD)
        accepted.set()

    with control.runtime.begin() as batch:
        batch_gate(batch)
        assert active_scopes(batch, DAY) == ()
        adder = threading.Thread(target=add)
        adder.start()
        assert not accepted.wait(0.5), "a hold may not be accepted between a batch's look and its end"
    adder.join(30)
    assert accepted.is_set()
    with control.runtime.begin() as batch:
        batch_gate(batch)
        assert len(active_scopes(batch, DAY)) == 1


def test_batches_do_not_wait_for_each_other(control: ControlDatabase) -> None:
    with control.runtime.begin() as one, control.runtime.begin() as other:
        batch_gate(one)
        batch_gate(other)
