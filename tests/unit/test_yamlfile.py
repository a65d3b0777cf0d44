"""Bad input gets an error with file, line and fix, and no value of it is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.catalog.model import Store
from lethe.errors import InvalidFile
from lethe.policy.load import RulesFile
from lethe.yamlfile import load, read

RULE = """rules:
  - id: logs
    promise: p
    category: logs
    role: controller
    clock: event
    period: P12M
    why: because
"""


def refusal(tmp_path: Path, text: str, model: type = RulesFile) -> InvalidFile:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        load(model, path)
    return caught.value


@pytest.mark.parametrize(
    ("changed", "line", "says", "fix"),
    [
        (("    period:", "    peroid:"), 7, "unknown key `peroid`", "Did you mean `period`?"),
        (("P12M", "12 months"), 7, "is not a period", "P12M"),
        (("controller", "owner"), 5, "none of the accepted words", "'controller' or 'processor'"),
        (("    why: because\n", ""), 2, "`why` is missing", "Add `why:`."),
        (("id: logs", "id: Log files"), 2, "does not have the accepted form", "match"),
        (("    why: because", "    why: because\n    then: archive"), 2, "needs an `archive:` block", ""),
        (("    why: because", "    why: because\n    role: processor"), 9, "`role` is there twice (first in line 5)", "one of the two"),
        (("    why: because", "   why: [because"), 8, "is not YAML", "indentation"),
    ],
)
def test_an_error_says_line_problem_and_fix(tmp_path: Path, changed: tuple[str, str], line: int, says: str, fix: str) -> None:
    error = refusal(tmp_path, RULE.replace(*changed))
    assert f"rules.yaml:{line}: " in error.problem
    assert says in str(error)
    assert fix in str(error)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, RULE.replace("period:", "peroid:").replace("role:", "rolle:"))
    assert "`peroid`" in str(error) and "`rolle`" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        RULE.replace("P12M", "jean.dupont@example.com"),
        RULE.replace("controller", "jean.dupont@example.com"),
        RULE.replace("id: logs", "id: jean.dupont@example.com"),
        RULE.replace("    why:", "    jean.dupont@example.com:"),
        RULE.replace("why: because", "why: because\n    jean.dupont@example.com: 1\n    jean.dupont@example.com: 2"),
        RULE.replace("P12M", "'jean.dupont@example.com"),
        RULE.replace("P12M", "*jean.dupont@example.com"),
    ],
)
def test_an_error_never_repeats_what_may_be_personal(tmp_path: Path, text: str) -> None:
    assert "jean.dupont" not in str(refusal(tmp_path, text))


def test_a_missing_file_an_empty_one_and_bad_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="no such file"):
        read(tmp_path / "none.yaml")
    assert "must be a mapping" in str(refusal(tmp_path, ""))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InvalidFile, match="not UTF-8"):
        read(tmp_path / "bytes.yaml")


def test_an_alias_inside_itself_is_refused(tmp_path: Path) -> None:
    assert "contains itself" in str(refusal(tmp_path, "rules: &a [*a]"))


def test_a_suggestion_is_found_deep_inside_a_catalog(tmp_path: Path) -> None:
    text = "id: s\nkind: s3\nconnection: c\nstart_of_service: 2020-01-01T00:00:00Z\ntables:\n  t:\n    clocks:\n      event: {colunm: at}\n"
    error = refusal(tmp_path, text, Store)
    assert "rules.yaml:8: unknown key `colunm` in `tables.t.clocks.event`. Did you mean `column`?" in str(error)


def test_a_start_of_service_without_zone_is_refused(tmp_path: Path) -> None:
    text = "id: s\nkind: s3\nconnection: c\nstart_of_service: 2020-01-01T00:00:00\n"
    assert "rules.yaml:4:" in str(refusal(tmp_path, text, Store))
