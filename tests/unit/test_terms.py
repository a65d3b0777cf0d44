"""The deadlines that a policy file may set: the shipped ones are the text's, none is longer than the law's, and a warning comes in time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lethe.errors import InvalidFile
from lethe.policy.load import load_policies, load_version
from lethe.policy.terms import Terms
from lethe.settings import SHIPPED

FILE = "policy.yaml"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "2026-05-01"
    shutil.copytree(SHIPPED / "2026-05-01", folder)
    return folder


def changed(version: Path, old: str, new: str) -> Path:
    text = (version / FILE).read_text()
    assert old in text
    (version / FILE).write_text(text.replace(old, new))
    return version


def test_the_shipped_file_says_each_of_them_and_what_a_file_leaves_out_is_the_same(version: Path) -> None:
    (shipped,) = load_policies(SHIPPED).versions
    assert shipped.deadlines == Terms() and set(Terms.model_fields) <= {w.rstrip(":") for w in (version / FILE).read_text().split()}
    text = (version / FILE).read_text()
    start, end = text.index("deadlines:"), text.index("unbound:")
    (version / FILE).write_text(text[:start] + text[end:])
    assert load_version(version).deadlines == Terms()


def test_shorter_ones_are_taken_and_change_the_policy_s_digest(version: Path) -> None:
    before = load_version(version)
    after = load_version(changed(version, "incident_hours: 72", "incident_hours: 24"))
    assert after.deadlines.incident_hours == 24 and after.digest != before.digest


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("warned: P3BD", "warned: P5BD", "too late"),
        ("reply: P5BD", "reply: P1D", "too late"),
        ("reply: P5BD", "reply: P0BD", "Write P12M"),
        ("reply: P5BD", "reply: 5", "a period is a text"),
        ("legal: P1M", "legal: P2M", "longer than the law"),
        ("legal: P1M", "legal: P30D", "longer than the law"),
        ("legal: P1M", "legal: P20BD", "age no data"),
        ("extended: P3M", "extended: P4M", "longer than the law"),
        ("extended: P3M", "extended: P1M", "from receipt"),
        ("incident_hours: 72", "incident_hours: 73", "less than or equal to 72"),
        ("incident_hours: 72", "incident_hours: 0", "greater than or equal to 1"),
        ("notice: P15D", "notice: P1M", "no number of days"),
        ("notice: P15D", "notice: P15BD", "no number of days"),
        ("legal_warned: P7D", "legal_warned: P0D", "no number of days"),
        ("alsace_moselle: false", "alsace_moselle: perhaps", "alsace_moselle"),
        ("alsace_moselle: false", "alsace: true", "unknown key"),
    ],
)
def test_what_would_break_the_law_or_warn_too_late_is_refused_with_its_line(version: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(InvalidFile, match=r"policy\.yaml:\d+") as refused:
        load_version(changed(version, old, new))
    assert says in str(refused.value)
