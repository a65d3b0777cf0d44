"""`lethe bundle verify`: what it says, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.bundling import bundle, file, row, section
from lethe.cli import app

NAME = "jeanne\u202e.pdf"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.zip"
    path.write_bytes(bundle((section(), [row(id=1, file=file(NAME)), row(id=2)]), (section("leads"), [row()]))[1][0])
    return path


def test_an_intact_bundle_is_counted(part: Path) -> None:
    done = CliRunner().invoke(app, ["bundle", "verify", str(part)])
    assert done.exit_code == 0 and "intact, 3 rows of 2 datasets" in done.output
    shown = json.loads(CliRunner().invoke(app, ["bundle", "verify", str(part), "--json"]).output)
    assert shown == {"intact": True, "files": [{"file": str(part), "problems": [], "rows": {"leads": 1, "notes": 2}}]}


def test_each_problem_is_a_line_and_the_other_files_are_checked_too(part: Path, tmp_path: Path) -> None:
    body = part.read_bytes()
    broken = tmp_path / "broken.zip"
    at = body.index(b"data/files/notes/1-") + 40
    broken.write_bytes(body[:at] + b"\0" + body[at + 1 :])
    other = tmp_path / "other.zip"
    other.write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["bundle", "verify", str(broken), str(other), str(part)])
    assert done.exit_code == 1 and "broken.zip: Changed: " in done.output
    assert "other.zip: It is no bundle of Lethe's." in done.output and "part.zip: intact" in done.output
    shown = CliRunner().invoke(app, ["bundle", "verify", str(broken), str(other), "--json"])
    found = json.loads(shown.output)
    assert shown.exit_code == 1 and not found["intact"] and found["files"][1]["problems"] == [{"what": "no bundle", "path": None}]


@pytest.mark.parametrize("path", ["not-there.zip", "."])
def test_a_file_that_cannot_be_read_is_no_finding(path: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bundle", "verify", str(tmp_path / path)])
    assert done.exit_code == 2 and "cannot be read" in done.output
