"""Holds and approvals can be updated, their records cannot: `lethe verify` names the first that differ."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from helpers.control import AS_OF, DIGEST_KEY, ControlDatabase, a_plan, counts
from lethe.catalog.load import load_catalog
from lethe.control.agreement import verify_evidence
from lethe.control.approvals import approve, record_answer
from lethe.control.holds import active_scopes, add_hold, lift_hold
from lethe.control.plans import DRY, Counted, save_counts, save_plan
from lethe.control.requests import RequestState
from lethe.evidence.verdict import LedgerFinding
from lethe.settings import SHIPPED, catalog_dir
from lethe.subjects.extending import extend
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import decide_identity, destroy_keys, move_on, open_request

DAY = date(2026, 11, 23)
PLANS = [a_plan(as_of=AS_OF.replace(day=d)) for d in (21, 22, 23)]


class NoHeads:
    """No run has ended here, so no head is asked for."""

    def put(self, name: str, content: bytes) -> None:
        raise AssertionError

    def names(self) -> list[str]:
        return []

    def get(self, name: str) -> bytes:
        raise AssertionError


@pytest.fixture
def said(control: ControlDatabase) -> ControlDatabase:
    """Records 1 to 4: three holds, the last one lifted. 5 to 8: two approvals by login, a refusal, an answer in Airflow by an address."""
    catalog = load_catalog(catalog_dir(SHIPPED))
    more = {"reason": "litigation", "owner": "j.dupont", "starts_on": DAY, "digest_key": DIGEST_KEY, "catalog": catalog}
    with control.runtime.begin() as connection:
        add_hold(connection, **more, review_on=None, tenant="7", since=datetime(2025, 1, 1, tzinfo=UTC))
        add_hold(connection, **more, review_on=date(2027, 5, 1), person=("users", "123"))
        lift_hold(connection, add_hold(connection, **more, review_on=None, dataset="leads").scope.id, by="a.martin")
        for plan in PLANS:
            save_plan(connection, plan)
            save_counts(connection, plan.digest, DRY, {"logs/technical_logs": Counted(counts=counts(100, 50))})
    with control.approver.begin() as connection:
        approve(connection, PLANS[0].digest, approver="j.dupont", reason="first_run")
        approve(connection, PLANS[0].digest, approver="a.martin", reason="expected")
        approve(connection, PLANS[1].digest, approver="j.dupont", reason="wrong_data", approved=False)
    with control.runtime.begin() as connection:
        record_answer(connection, PLANS[2].digest, DRY, responded_by="jeanne@example.org", approved=True, responded_at=AS_OF)
    return control


def found(control: ControlDatabase) -> tuple[LedgerFinding, ...]:
    return verify_evidence(control.runtime, NoHeads(), digest_key=DIGEST_KEY).findings


def test_tables_that_say_what_the_ledger_says_are_sound(said: ControlDatabase) -> None:
    assert found(said) == ()


def test_a_hold_that_a_superuser_lifts_by_update_is_named(said: ControlDatabase) -> None:
    with said.superuser.begin() as connection:
        connection.execute(text("UPDATE lethe.holds SET lifted_at = now(), lifted_by = 'a.martin' WHERE id = 2"))
    with said.runtime.connect() as connection:
        assert len(active_scopes(connection, DAY)) == 1, "the hold keeps nothing any more"
    (finding,) = found(said)
    assert (finding.how, finding.seq) == ("contradicted", 2)
    assert finding.text == "Hold 2 is not what record 2 says: lifted_at, lifted_by differs."


@pytest.mark.parametrize(
    ("edit", "seq", "says"),
    [
        ("UPDATE lethe.holds SET tenant = '8' WHERE id = 1", 1, "tenant differs"),
        ("UPDATE lethe.holds SET until = '2020-01-01' WHERE id = 1", 1, "until differs"),
        ("UPDATE lethe.holds SET person_key = '124' WHERE id = 2", 2, "person_digest differs"),
        ("UPDATE lethe.holds SET starts_on = '2099-01-01', review_on = '2099-01-01' WHERE id = 2", 2, "starts_on, review_on differs"),
        ("UPDATE lethe.holds SET lifted_at = NULL, lifted_by = NULL WHERE id = 3", 4, "lifted_at, lifted_by differs"),
        ("DELETE FROM lethe.holds WHERE id = 1", 1, "gone from its table"),
        (
            "INSERT INTO lethe.holds (dataset, reason, owner, starts_on) VALUES ('leads', 'audit', 'x', '2026-01-01')",
            4,
            "Hold 4 was added to its table, and no record",
        ),
        ("UPDATE lethe.approvals SET ceilings = '{\"logs/technical_logs\": 90000}' WHERE id = 2", 6, "no longer in its table"),
        ("UPDATE lethe.approvals SET approver = 'x' WHERE id = 1", 5, "no longer in its table"),
        ("UPDATE lethe.approvals SET recorded_by = 'x' WHERE id = 1", 5, "no longer in its table"),
        ("UPDATE lethe.approvals SET approved = true, reason = 'expected' WHERE id = 3", 7, "no longer in its table"),
        ("UPDATE lethe.approvals SET responded_at = now() WHERE id = 4", 8, "no longer in its table"),
        ("DELETE FROM lethe.approvals WHERE NOT approved", 7, "no longer in its table"),
        (
            "INSERT INTO lethe.approvals (plan, approver, channel, responded_at, reason, ceilings) "
            "SELECT plan, approver, channel, responded_at, reason, ceilings FROM lethe.approvals WHERE id = 4",
            8,
            "no record says that",
        ),
    ],
)
def test_what_a_superuser_changes_in_holds_or_approvals_is_named_by_its_record(
    said: ControlDatabase, edit: str, seq: int, says: str
) -> None:
    with said.superuser.begin() as connection:
        connection.execute(text("ALTER TABLE lethe.approvals DISABLE TRIGGER ALL"))
        connection.execute(text(edit))
        connection.execute(text("ALTER TABLE lethe.approvals ENABLE ALWAYS TRIGGER approval_is_given_by_its_giver"))
    first = found(said)[0]
    assert (first.how, first.seq) == ("contradicted", seq)
    assert says in first.text and "example.org" not in "".join(f.text for f in found(said))


def test_a_hold_added_while_the_ledger_is_verified_is_no_difference(said: ControlDatabase) -> None:
    class Adds(NoHeads):
        def names(self) -> list[str]:
            with said.runtime.begin() as connection:
                catalog = load_catalog(catalog_dir(SHIPPED))
                add_hold(
                    connection,
                    reason="audit",
                    owner="x",
                    starts_on=DAY,
                    review_on=None,
                    digest_key=DIGEST_KEY,
                    dataset="leads",
                    catalog=catalog,
                )
            return []

    assert verify_evidence(said.runtime, Adds(), digest_key=DIGEST_KEY).sound


ADDRESS = "jeanne@example.org"


@pytest.fixture
def asked(control: ControlDatabase) -> tuple[ControlDatabase, str, str]:
    """Two requests in every way that a request changes: one closed and its key destroyed, one extended and accepted."""
    given: dict[str, Any] = {"kind": "access", "channel": "email", "language": "fr", "by": "j.dupont"}
    keys = {"request_key": bytes(32), "digest_key": DIGEST_KEY}
    with control.runtime.begin() as connection:
        one, two = (open_request(connection, [identifier("email", ADDRESS)], **given, **keys).request.id for _ in range(2))
        decide_identity(connection, one, decision="ask_more", reason="proof_missing", by="a.martin")
        decide_identity(connection, one, decision="refuse", reason="no_answer", by="a.martin", channel="airflow")
        move_on(connection, one, RequestState.CLOSED, by="a.martin")
        destroy_keys(connection, one, by="a.martin")
        extend(connection, two, reason="number", by="a.martin")
        decide_identity(connection, two, decision="accept", reason="known_address", by="a.martin")
    return control, one, two


def test_requests_that_say_what_the_ledger_says_are_sound(asked: tuple[ControlDatabase, str, str]) -> None:
    assert found(asked[0]) == ()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("UPDATE lethe.requests SET state = 'accepted', closed_at = NULL WHERE id = :one", "state, closed_at differs"),
        ("UPDATE lethe.requests SET identity = 'claimed' WHERE id = :two", "identity differs"),
        ("UPDATE lethe.requests SET state = 'waiting_identity' WHERE id = :two", "state differs"),
        ("UPDATE lethe.requests SET legal_due_on = '2099-01-01' WHERE id = :two", "legal_due_on differs"),
        ("UPDATE lethe.requests SET extended_to = NULL WHERE id = :two", "extended_to differs"),
        ("UPDATE lethe.requests SET keys_destroyed_at = '2099-01-01' WHERE id = :one", "keys_destroyed_at differs"),
        ("UPDATE lethe.request_decisions SET by = 'j.dupont' WHERE reason = 'known_address'", "no longer in its table"),
        ("DELETE FROM lethe.request_decisions WHERE reason = 'proof_missing'", "no longer in its table"),
        ("INSERT INTO lethe.request_decisions (request, at, by, decision, reason, channel) "
         "VALUES (:two, now(), 'a.martin', 'accept', 'known_address', 'credentials')", "no record says that"),
        ("INSERT INTO lethe.requests SELECT 'R-2026-00000000', kind, channel, language, received_at, identity, state, reply_due_on, "
         "legal_due_on, extended_to, tenant, wrapped_key, closed_at, keys_destroyed_at FROM lethe.requests WHERE id = :two", "no record says so"),
        ("INSERT INTO lethe.request_answers (request, kind, number, state, sha256, prepared_at, sent_at) "
         "VALUES (:two, 'nothing_held', 1, 'sent', 'x', now(), now())", ".nothing_held.1 was added to its table, and no record says so"),
        ("INSERT INTO lethe.exports (request, number, state, policy_version, made_at) VALUES (:two, 1, 'verified', 'x', now())",
         "/1 was added to its table, and no record says so"),
    ],
)  # fmt: skip
def test_a_request_or_decision_that_is_changed_by_hand_is_named(asked: tuple[ControlDatabase, str, str], edit: str, says: str) -> None:
    control, one, two = asked
    with control.superuser.begin() as connection:
        connection.execute(text(edit), {k: v for k, v in (("one", one), ("two", two)) if f":{k}" in edit})
    differing = found(control)
    assert differing and any(says in f.text for f in differing) and all(f.how == "contradicted" for f in differing)
    assert all(one in f.text or two in f.text or "R-2026-00000000" in f.text for f in differing)
    assert "jeanne" not in str(differing)
