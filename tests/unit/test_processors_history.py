"""The register on a day, and what changed between two: the days themselves, the gaps, and that changes lead from one day to another."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.registers import entry, recipient, register, version
from lethe.errors import BeforeRegister
from lethe.processors.history import Added, Change, Changed, Ended, as_of, changes
from lethe.processors.load import load_register
from lethe.processors.model import InForce, Register
from lethe.settings import SHIPPED

DAY = date(2020, 1, 1)
BOTH = register(
    entry("zeta", version("2020-01-01", "2020-06-30"), version("2020-07-01", "2020-12-31", legal_name="New SAS", contact="another desk")),
    entry("alpha", version("2020-03-01", "2020-03-31"), version("2020-06-01")),
    recipients=(entry("bank", recipient("2020-02-01")),),
)


def ids(day: str, of: Register = BOTH) -> list[str]:
    return [e.id for e in as_of(of, date.fromisoformat(day))]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2020-01-01", ["zeta"]), ("2020-02-01", ["zeta", "bank"]), ("2020-03-31", ["alpha", "zeta", "bank"]), ("2020-04-01", ["zeta", "bank"]),
        ("2020-06-30", ["alpha", "zeta", "bank"]), ("2020-07-01", ["alpha", "zeta", "bank"]), ("2020-12-31", ["alpha", "zeta", "bank"]),
        ("2021-01-01", ["alpha", "bank"]), ("9999-12-31", ["alpha", "bank"]),
    ],
)  # fmt: skip
def test_the_first_and_the_last_day_of_a_version_count(day: str, expected: list[str]) -> None:
    assert ids(day) == expected


def test_a_day_before_the_first_version_is_refused_and_never_an_empty_list() -> None:
    with pytest.raises(BeforeRegister, match="begins on 2020-01-01"):
        as_of(BOTH, date(2019, 12, 31))
    with pytest.raises(BeforeRegister):
        changes(BOTH, date(2019, 12, 31), date(2020, 6, 1))
    assert as_of(register(), date(1, 1, 1)) == (), "of a company without any there is nothing to know"
    over = register(entry("host", version("2020-01-01", "2020-01-31")))
    assert as_of(over, date(2020, 2, 1)) == (), "nobody, and that is known"


def test_what_changed_is_told_with_its_day_and_its_fields() -> None:
    found = changes(BOTH, date(2020, 1, 1), date(2021, 1, 1))
    told = [(c.on.isoformat(), c.what, c.id) for c in found]
    assert told == [
        ("2020-02-01", "added", "bank"), ("2020-03-01", "added", "alpha"), ("2020-04-01", "ended", "alpha"), ("2020-06-01", "added", "alpha"),
        ("2020-07-01", "changed", "zeta"), ("2021-01-01", "ended", "zeta"),
    ]  # fmt: skip
    (changed,) = [c for c in found if isinstance(c, Changed)]
    assert [(f.field, f.old, f.new, f.internal) for f in changed.fields] == [
        ("legal_name", "Host SAS", "New SAS", False),
        ("contact", "desk, +33 1", "another desk", True),
    ]


def test_the_day_since_is_left_out_and_the_day_until_is_not() -> None:
    assert changes(BOTH, date(2020, 7, 1), date(2020, 12, 31)) == ()
    assert [c.what for c in changes(BOTH, date(2020, 6, 30), date(2020, 7, 1))] == ["changed"]
    assert changes(BOTH, DAY, DAY) == ()
    with pytest.raises(ValueError, match="later"):
        changes(BOTH, date(2020, 7, 1), date(2020, 6, 30))


def test_spotraks_history_has_a_host_replaced_and_an_agreement_renewed() -> None:
    shipped = load_register(SHIPPED)
    found = {(c.what, c.id, c.on.isoformat()) for c in changes(shipped, date(2014, 1, 1), date(2026, 11, 28))}
    assert {("ended", "ancre", "2022-01-01"), ("added", "rivage", "2022-01-01"), ("changed", "rivage", "2025-01-01")} <= found


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "legal_name": st.sampled_from(["One SAS", "Two GmbH"]),
        "contact": st.sampled_from(["desk", "night desk"]),
        "datasets": st.lists(st.sampled_from(["users", "leads"]), unique=True),
        "country": st.sampled_from(["FR", "US"]),
    },
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Versions of one entry, one after the other, some with a gap between, the last one open or not."""
    days = sorted(draw(st.sets(st.integers(0, 60), min_size=2, max_size=8)))
    days = days if len(days) % 2 == 0 else days[:-1]
    made: list[dict[str, Any]] = []
    for first, last in zip(days[::2], days[1::2], strict=True):
        glued = bool(made) and draw(st.booleans())
        start = date.fromisoformat(made[-1]["active_to"]) + timedelta(days=1) if glued else DAY + timedelta(days=first)
        made.append(version(start.isoformat(), (DAY + timedelta(days=last)).isoformat(), **draw(_FIELDS)))
    if draw(st.booleans()):
        made[-1]["active_to"] = None
    return made


@st.composite
def registers(draw: st.DrawFn) -> Register:
    """Up to five processors and two recipients, each with a history."""
    own = [entry(f"p{n}", *h) for n, h in enumerate(draw(st.lists(histories(), max_size=5)))]
    others = [
        entry(f"r{n}", *[recipient(v["active_from"], v["active_to"], legal_name=v["legal_name"]) for v in h])
        for n, h in enumerate(draw(st.lists(histories(), max_size=2)))
    ]
    return register(*own, recipients=tuple(others))


def apply(entries: tuple[InForce, ...], found: tuple[Change, ...]) -> tuple[InForce, ...]:
    """The entries after the changes; KeyError when a change is about something that is not so."""
    there = {(e.type, e.id): e for e in entries}
    for change in found:
        key = (change.type, change.id)
        match change:
            case Added():
                assert key not in there
                there[key] = InForce(id=change.id, type=change.type, version=change.version)
            case Ended():
                assert there.pop(key).version == change.version
            case Changed():
                assert there[key].version == change.before
                days = {"active_from": change.after.active_from, "active_to": change.after.active_to}
                after = change.before.model_dump(mode="json") | {f.field: f.new for f in change.fields} | days
                there[key] = InForce(id=change.id, type=change.type, version=type(change.before).model_validate(after))
    return tuple(there[key] for key in sorted(there))


@given(registers(), st.integers(0, 80), st.integers(0, 80))
def test_the_changes_lead_from_one_day_to_the_other(of: Register, one: int, other: int) -> None:
    begins = of.begins_on or DAY
    since, until = sorted((max(begins, DAY + timedelta(days=one)), max(begins, DAY + timedelta(days=other))))
    assert apply(as_of(of, since), changes(of, since, until)) == as_of(of, until)


@given(registers(), st.tuples(*[st.integers(0, 80)] * 3))
def test_changes_of_two_stretches_are_those_of_both_together(of: Register, days: tuple[int, ...]) -> None:
    a, b, c = sorted(max(of.begins_on or DAY, DAY + timedelta(days=d)) for d in days)
    assert changes(of, a, b) + changes(of, b, c) == changes(of, a, c)


@given(registers(), st.integers(0, 80))
def test_on_any_day_an_entry_is_there_once_at_most(of: Register, day: int) -> None:
    found = [(e.type, e.id) for e in as_of(of, max(of.begins_on or DAY, DAY + timedelta(days=day)))]
    assert len(found) == len(set(found)) and found == sorted(found)
