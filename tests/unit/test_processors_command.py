"""`lethe processors`: who receives data on a day, what ends soon, and a day that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lethe.cli import app


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["processors", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_entries_of_a_day_are_printed() -> None:
    now, then = run("--as-of", "2026-11-28"), run("--as-of", "2021-12-31")
    assert "rivage" in now and "ancre" not in now and "No agreement ends within P60D." in now
    assert "ancre" in then and "rivage" not in then and "The agreement SPK-ANC-2014-01" not in then, "the host ended with its agreement"


def test_what_ends_soon_is_said() -> None:
    assert "The agreement SPK-RIV-2025-01 with Rivage Hébergement SAS ends on 2034-12-31, in 31 days." in run("--as-of", "2034-11-30")


def test_json_is_one_object_with_every_field() -> None:
    said = json.loads(run("--as-of", "2034-11-30", "--json"))
    assert set(said) == {"as_of", "entries", "ends_soon"} and said["as_of"] == "2034-11-30"
    rivage = next(e for e in said["entries"] if e["id"] == "rivage")
    assert rivage["version"]["agreement"]["reference"] == "SPK-RIV-2025-01" and [e["id"] for e in said["ends_soon"]] == ["rivage"]


@pytest.mark.parametrize("day", ["2026-02-30", "yesterday", "20261", "2013-12-31"])
def test_a_day_that_cannot_be_is_refused_and_not_repeated(day: str) -> None:
    said = json.loads(run("--as-of", day, "--json", code=2))
    assert set(said) == {"error", "fix"} and day not in said["error"]


def test_without_a_register_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_POLICY_DIR", str(tmp_path))
    assert "there is no such file" in json.loads(run("--json", code=2))["error"]
