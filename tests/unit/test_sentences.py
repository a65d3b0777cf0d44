"""The text in sentences, and who quotes what of it: nothing is dropped, half a quote binds half a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.promises import policy_of
from lethe.policy.check import Known, check_controls, check_text
from lethe.policy.controls import Control
from lethe.policy.load import load_policies, read_text
from lethe.policy.sentences import sentences, unbound, words
from lethe.settings import SHIPPED

TEXT = """Privacy policy

We keep logs for
12 months. They then go, e.g. at night. See spotrak.com now.

  • We sell nothing.
  • Ask us "when". We answer (always)! Really?

Contact: privacy@spotrak.com
"""


def split(text: str) -> list[str]:
    return [s.text for s in sentences(policy_of(), text)]


def test_a_text_is_cut_into_headings_paragraphs_bullets_and_sentences() -> None:
    assert split(TEXT) == [
        "Privacy policy",
        "We keep logs for 12 months.",
        "They then go, e.g. at night.",
        "See spotrak.com now.",
        "We sell nothing.",
        'Ask us "when".',
        "We answer (always)!",
        "Really?",
        "Contact: privacy@spotrak.com",
    ]
    assert [s.kind for s in sentences(policy_of(), TEXT)].count("bullet") == 4


@given(st.text(alphabet="aB. \n•-!?é(\"'1", max_size=200))
def test_no_word_of_a_text_is_dropped_and_none_is_there_twice(text: str) -> None:
    found = "".join(split(text)).replace(" ", "")
    assert [c for c in found if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.mark.parametrize(
    ("quotes", "left"),
    [
        ([], ["We keep logs for 12 months.", "We sell nothing."]),
        (["We keep logs\n for 12 months."], ["We sell nothing."]),
        (["We keep logs for 12 months. We sell nothing."], []),
        (["logs"], ["We keep", "for 12 months.", "We sell nothing."]),
        (["We keep logs for 12 months", "We sell nothing"], []),
        (["We keep logs for 13 months."], ["We keep logs for 12 months.", "We sell nothing."]),
    ],
)
def test_what_no_promise_quotes_is_unbound_word_for_word(quotes: list[str], left: list[str]) -> None:
    found = sentences(policy_of(quotes=quotes), "We keep logs for 12 months.\n\n  • We sell nothing.\n")
    assert list(unbound(found)) == left


def test_a_heading_is_exempt_by_its_own_words_and_not_where_it_stands_inside_a_sentence() -> None:
    policy = policy_of(quotes=["We use them."], no_promise=[{"text": "Cookies", "why": "a heading"}])
    found = sentences(policy, "Cookies\n\nWe use them. Cookies are small.")
    assert [p.why for s in found for p in s.pieces] == ["a heading", "", ""]
    assert unbound(found) == ("Cookies are small.",)


def test_a_sentence_belongs_to_every_promise_that_quotes_any_of_it() -> None:
    version = load_policies(SHIPPED).versions[-1]
    found = sentences(version, read_text(SHIPPED / version.version, version).decode())
    (shared,) = [s for s in found if s.text.startswith("It is shared only")]
    assert [p.promises for p in shared.pieces] == [("needed-processors",), ("needed-processors", "under-contract")]
    assert unbound(found) == ()
    assert {i for s in found for i in s.promises} == {p.id for p in version.promises}


def test_every_shipped_quote_is_in_the_text_and_one_changed_character_is_found() -> None:
    version = load_policies(SHIPPED).versions[-1]
    text = read_text(SHIPPED / version.version, version)
    assert check_text(version, text) == [] == check_controls(version)
    changed = check_text(version, text.replace(b"after 12 months", b"after 13 months"))
    assert {f.kind for f in changed} == {"digest of text", "quote not in text", "sentence not bound"}
    assert words("a\n b") == "a b"


@pytest.mark.parametrize(
    ("controls", "problem"),
    [
        ([], "Nothing keeps it"),
        ([{"rule": "no-such"}, {"rule": "logs"}], "There is no rule no-such"),
        ([{"rule": "logs"}, {"check": "no-such"}], "There is no check no-such"),
        ([{"rule": "logs"}, {"dag": "no_such", "evidence": "audit", "fresh_for": "P8D"}], "There is no DAG no_such"),
        ([{"rule": "logs"}, {"dag": "night", "evidence": "no-such", "fresh_for": "P8D"}], "There is no kind of evidence no-such"),
        ([{"check": "drift"}], "Its rule logs is not among its controls"),
        (
            [{"rule": "logs"}, {"check": "drift"}, {"dag": "night", "evidence": "audit", "fresh_for": "P8D"}, {"unbuilt": "All the rest."}],
            "",
        ),
    ],
)
def test_a_control_that_does_not_exist_is_a_finding(controls: list[dict[str, Any]], problem: str) -> None:
    known = Known(dags=frozenset({"night"}), checks=frozenset({"drift"}), evidence=frozenset({"audit"}))
    found = check_controls(policy_of(controls=controls), known)
    problems = [f.problem for f in found if f.kind in {"control not known", "promise without control"}]
    assert any(problem in p for p in problems) if problem else problems == []


@pytest.mark.parametrize(
    ("control", "says"),
    [
        ({}, "exactly one"),
        ({"rule": "a", "check": "b"}, "exactly one"),
        ({"dag": "a"}, "names the `evidence`"),
        ({"rule": "a", "evidence": "audit"}, "names the `evidence`"),
        ({"unbuilt": "Some words.", "fresh_for": "P8D"}, "leave `fresh_for` out"),
        ({"rule": "a", "fresh_for": "P12M"}, "PT26H or P8D"),
        ({"rule": "a", "fresh_for": "PT0H"}, "PT26H or P8D"),
        ({"rule": "a", "fresh_for": 26}, "PT26H or P8D"),
        ({"rule": "A b"}, "pattern"),
        ({"rule": "a", "sql": "b"}, "Extra inputs"),
    ],
)
def test_a_control_that_is_no_control_is_refused(control: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Control.model_validate(control)


def test_evidence_without_an_age_is_refused_by_the_file() -> None:
    with pytest.raises(ValueError, match="fresh_for"):
        policy_of(controls=[{"check": "drift"}], fresh_for={})
    assert policy_of(controls=[{"unbuilt": "Some words."}], fresh_for={}, rules=[])
