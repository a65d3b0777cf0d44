"""`lethe processors`: who receives data on a day, what ends soon, and a day that is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lethe.cli import app
from lethe.settings import SHIPPED


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["processors", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_entries_of_a_day_are_printed() -> None:
    now, then = run("--as-of", "2026-11-28"), run("--as-of", "2021-12-31")
    assert "rivage" in now and "ancre" not in now and "No agreement ends within 60 days." in now
    assert "ancre" in then and "rivage" not in then and "The agreement SPK-ANC-2014-01" not in then, "the host ended with its agreement"


@pytest.mark.parametrize(
    ("written", "said"), [("P60D", "60 days"), ("P1M", "1 month"), ("P1Y2M", "1 year and 2 months"), ("P2W", "14 days")]
)
def test_a_period_is_said_in_words(written: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SHIPPED, tmp_path / "shop")
    register = tmp_path / "shop" / "processors.yaml"
    register.write_text(register.read_text().replace("warn_before_end: P60D", f"warn_before_end: {written}"))
    monkeypatch.setenv("LETHE_POLICY_DIR", str(tmp_path / "shop"))
    printed = run("--as-of", "2026-11-28")
    assert f"No agreement ends within {said}." in printed and written not in printed


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
