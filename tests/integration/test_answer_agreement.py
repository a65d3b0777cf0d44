"""Answers and bundles can be updated, their records cannot: an answer or a bundle that says something else than its records is named, both ways."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from unittest.mock import patch

import pytest
from sqlalchemy import text

from demo.asking import somebody
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers import mailing
from helpers.export_once import answered, leaving_out
from helpers.exporting import AT, Desk, desk_on
from lethe.control.answer_agreement import answer_differences, export_differences
from lethe.errors import AnswerInDoubt, AnswerRefused, BundleDiffers, Unreachable
from lethe.evidence.verdict import LedgerFinding
from lethe.subjects.answering import answer_request
from lethe.subjects.answers import send_answer
from lethe.subjects.answers.by_hand import print_answer, settle
from lethe.subjects.exporting import export_request
from lethe.subjects.judging import judge_request

CLIENT = "client.of.two@example.org"
ACTS = {"by": "j.dupont", "at": AT}


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer, moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as monkeypatch, mailing.mailbox() as box:
        with desk_on(postgres, None, moto, box, monkeypatch, tmp_path_factory.mktemp("desk")) as made:
            yield made


@pytest.fixture(scope="module")
def requests(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A request for every way that an answer or a bundle can go, by the name of that way."""
    person, store = somebody(desk.source), "lethe.subjects.exporting.store_parts"
    for (tenant,) in desk.sql("SELECT id FROM app.tenants ORDER BY id::text LIMIT 2"):
        desk.sql("INSERT INTO app.clients (tenant_id, email, created_at) VALUES (%s, %s, now())", tenant, CLIENT)
    made = {name: desk.request(("email", person)) for name in ("bundled", "stored", "begun", "differs", "gone", "received")}
    made["forwarded"] = desk.request(("email", CLIENT))
    assert answered(desk.finder, made["bundled"]) == "bundle_ready" and answered(desk.finder, made["forwarded"]) == "nothing_held"
    export_request(desk.finder, made["stored"], **ACTS)
    with patch(store, side_effect=OSError("no database")), pytest.raises(OSError, match="no database"):
        export_request(desk.finder, made["begun"], **ACTS)
    with leaving_out(("users",)), pytest.raises(BundleDiffers):
        answered(desk.finder, made["differs"])
    assert answered(desk.finder, made["differs"]) == "bundle_ready"
    export_request(desk.finder, made["gone"], **ACTS)
    judge_request(desk.finder, made["gone"], **ACTS)
    with patch("lethe.subjects.answering._are_there", lambda *_: False), pytest.raises(BundleDiffers):
        answer_request(desk.finder, made["gone"], **ACTS)
    answers(desk, made["received"])
    print_answer(desk.workspace, made["received"], "received", number=7, file=tmp_path_factory.mktemp("letter") / "a.txt", words={}, **ACTS)
    return made


def answers(desk: Desk, request: str) -> None:
    """Answers 1 to 6 of one kind: sent, refused, put off, in doubt, in doubt and settled, refused and sent by a letter."""
    for number, how in enumerate(("", "550", "451", "cut", "cut", "550"), start=1):
        desk.box.text = how if how.isdigit() else ""
        desk.box.before_reply = (lambda: True) if how == "cut" else (lambda: None)
        with contextlib.suppress(AnswerInDoubt, AnswerRefused, Unreachable):
            send_answer(desk.workspace, request, "received", words={}, number=number, **ACTS)
    desk.box.text, desk.box.before_reply = "", lambda: None
    for number in (5, 6):
        settle(desk.control.runtime, request, "received", sent=True, number=number, **ACTS)


def differing(desk: Desk, *edits: str, **values: object) -> tuple[LedgerFinding, ...]:
    """What is found after these statements of a superuser, which are undone then."""
    with desk.control.superuser.connect() as connection:
        for edit in edits:
            connection.execute(text(edit), {k: v for k, v in values.items() if f":{k}" in edit})
        found = (*answer_differences(connection), *export_differences(connection))
        connection.rollback()
    return found


def test_answers_and_bundles_that_went_every_way_are_sound(desk: Desk, requests: Mapping[str, str]) -> None:
    assert differing(desk) == ()
    with desk.control.superuser.connect() as connection:
        states = connection.execute(text("SELECT DISTINCT state FROM lethe.request_answers")).scalars().all()
        assert set(states) == {"sent", "refused", "prepared", "sending"}
        states = connection.execute(text("SELECT DISTINCT state FROM lethe.exports")).scalars().all()
        assert set(states) == {"begun", "stored", "verified", "failed"}


def test_an_answer_that_is_being_sent_is_no_difference(desk: Desk, requests: Mapping[str, str]) -> None:
    assert (
        differing(desk, "UPDATE lethe.request_answers SET state = 'sending' WHERE request = :r AND number = 3", r=requests["received"])
        == ()
    )


ANSWER, SENT = "UPDATE lethe.request_answers SET", "state = 'sent', sent_at = now()"
EDITED: dict[str, tuple[str, str, str]] = {
    "set back, to be sent twice": (f"{ANSWER} state = 'prepared', sent_at = NULL WHERE request = :r AND number = 1", "received", "state, sent_at differs"),
    "called sent": (f"{ANSWER} {SENT} WHERE request = :r AND number = 2", "received", "state, sent_at differs"),
    "put off and called sent": (f"{ANSWER} {SENT} WHERE request = :r AND number = 3", "received", "state, sent_at differs"),
    "taken out of doubt": (f"{ANSWER} state = 'prepared' WHERE request = :r AND number = 4", "received", "state differs"),
    "settled, put in doubt": (f"{ANSWER} state = 'sending', sent_at = NULL WHERE request = :r AND number = 5", "received", "state, sent_at differs"),
    "sent at another time": (f"{ANSWER} sent_at = '2020-01-01' WHERE request = :r AND number = 6", "received", "sent_at differs"),
    "another printed text": (f"{ANSWER} sha256 = 'x' WHERE request = :r AND number = 7", "received", "sha256 differs"),
    "another mail": (f"{ANSWER} message_id = '<x@y>' WHERE request = :r AND number = 1", "received", "message_id differs"),
    "prepared at another time": (f"{ANSWER} prepared_at = '2020-01-01' WHERE request = :r AND number = 1", "received", "prepared_at differs"),
    "another number": (f"{ANSWER} number = 99 WHERE request = :r AND number = 1", "received", "received.1 is gone"),
    "another tenant": (f"{ANSWER} tenant = '\\x00' WHERE request = :r AND kind = 'forwarded' AND number = 1", "forwarded", "tenant differs"),
    "a forward set back": (f"{ANSWER} state = 'prepared', sent_at = NULL WHERE request = :r AND kind = 'forwarded'", "forwarded", "forwarded, state, sent_at differs"),
    "another state": ("UPDATE lethe.exports SET state = 'verified' WHERE request = :r", "stored", "state differs"),
    "judged, not so": ("UPDATE lethe.exports SET state = 'stored' WHERE request = :r", "bundled", "state differs"),
    "gone, called verified": ("UPDATE lethe.exports SET state = 'verified' WHERE request = :r", "gone", "state differs"),
    "begun, called stored": ("UPDATE lethe.exports SET state = 'stored' WHERE request = :r", "begun", "state differs"),
    "other counts": ("UPDATE lethe.exports SET counts = counts || '{\"users\": 9}' WHERE request = :r", "stored", "counts differs"),
    "another check": ("UPDATE lethe.exports SET checked = '[]' WHERE request = :r", "bundled", "checked differs"),
    "another version": ("UPDATE lethe.exports SET policy_version = '2020-01-01' WHERE request = :r", "begun", "policy_version differs"),
    "made at another time": ("UPDATE lethe.exports SET made_at = now() WHERE request = :r", "begun", "made_at differs"),
    "another place": (
        "UPDATE lethe.export_parts SET key = 'R-2026-00000000/x' WHERE export = (SELECT id FROM lethe.exports WHERE request = :r)",
        "stored", "parts differs",
    ),
    "another length": ("UPDATE lethe.export_parts SET bytes = 1 WHERE export = (SELECT id FROM lethe.exports WHERE request = :r)", "stored", "parts differs"),
    "another digest": ("UPDATE lethe.export_parts SET sha256 = 'x' WHERE export = (SELECT id FROM lethe.exports WHERE request = :r)", "stored", "parts differs"),
    "a part too few": ("DELETE FROM lethe.export_parts WHERE export = (SELECT id FROM lethe.exports WHERE request = :r)", "stored", "parts differs"),
    "a part too many": (
        "INSERT INTO lethe.export_parts SELECT e.id, 1, 'x', 'x', 'x', NULL, 1, 'x' FROM lethe.exports e WHERE e.request = :r",
        "begun", "parts differs",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "of", "says"), EDITED.values(), ids=list(EDITED))
def test_an_answer_or_bundle_that_was_edited_is_named_by_its_request(
    desk: Desk, requests: Mapping[str, str], edit: str, of: str, says: str
) -> None:
    found = differing(desk, edit, r=requests[of])
    assert found and all(f.how == "contradicted" and f.seq and requests[of] in f.text for f in found)
    assert any(says in f.text for f in found) and "@" not in str(found), [f.text for f in found]


def test_what_is_added_to_either_table_is_named(desk: Desk, requests: Mapping[str, str]) -> None:
    for state in ("prepared", "sending", "refused", "sent"):
        columns = "'nothing_held', 1, NULL, :s, NULL, 'x', now(), CASE WHEN :s = 'sent' THEN now() END"
        (one,) = differing(desk, f"INSERT INTO lethe.request_answers SELECT :r, {columns}", r=requests["bundled"], s=state)
        assert one.text == f"Answer {requests['bundled']}.nothing_held.1 was added to its table, and no record says so."
    (two,) = differing(
        desk,
        "INSERT INTO lethe.exports (request, number, state, policy_version, made_at) VALUES (:r, 1, 'verified', 'x', now())",
        r=requests["received"],
    )
    assert two.text == f"Bundle {requests['received']}/1 was added to its table, and no record says so."


def test_what_is_removed_from_either_table_is_named(desk: Desk, requests: Mapping[str, str]) -> None:
    with desk.control.superuser.connect() as connection:
        count = connection.execute(text("SELECT (SELECT count(*) FROM lethe.request_answers), (SELECT count(*) FROM lethe.exports)")).one()
    found = differing(desk, "DELETE FROM lethe.request_answers")
    assert len(found) == count[0] and all("is gone from its table" in f.text and f.text.startswith("Answer R-") for f in found)
    found = differing(desk, "DELETE FROM lethe.export_parts", "DELETE FROM lethe.exports")
    assert len(found) == count[1] and all("is gone from its table" in f.text and f.text.startswith("Bundle R-") for f in found)


@pytest.mark.parametrize(
    ("kinds", "of", "says"),
    [
        ("request.answer_sent", "bundled", "state, sent_at differs"),
        ("request.forwarded", "forwarded", "forwarded differs"),
        ("bundle.judged", "bundled", "state, checked differs"),
        ("bundle.stored", "stored", "state, counts, parts differs"),
        ("request.located", "begun", "was added to its table"),
        ("request.answer%", "bundled", "was added to its table"),
    ],
)
def test_a_row_whose_record_is_gone_from_the_ledger_is_named(
    desk: Desk, requests: Mapping[str, str], kinds: str, of: str, says: str
) -> None:
    off = "ALTER TABLE lethe.ledger DISABLE TRIGGER ALL"
    found = differing(desk, off, "DELETE FROM lethe.ledger WHERE kind LIKE :k AND run = :r", k=kinds, r=requests[of])
    assert found and any(says in f.text and requests[of] in f.text for f in found), [f.text for f in found]
