"""`lethe due`: every date of the agreed vectors through its JSON, tables for people, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lethe.cli import app
from lethe.settings import SHIPPED

VECTORS: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "deadlines.json").read_text())


def run(*words: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["due", *words])
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def told(*words: str) -> dict[str, Any]:
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def due(*words: str) -> dict[str, str]:
    dates = told(*words)["dates"]
    assert all(dated["rule"] for dated in dates.values())
    return {name: dated["due"] for name, dated in dates.items()}


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETHE_POLICY_DIR", raising=False)


@pytest.mark.parametrize(("received", "reply"), sorted(VECTORS["business_days_5"].items()))
def test_the_reply_of_a_question_and_of_a_request_meets_the_vectors(received: str, reply: str) -> None:
    for what in ("question", "request"):
        dates = due(what, f"{received}T23:59:00+01:00" if received < "2026-03" else f"{received}T12:00:00+01:00")
        assert (dates["received"], dates["reply"]) == (received, reply)
        assert received < dates["warned"] < reply
    assert "legal" not in due("question", f"{received}T12:00:00+01:00")


@pytest.mark.parametrize(("received", "law"), sorted(VECTORS["one_month"].items()))
def test_the_deadlines_of_the_law_meet_the_vectors_and_the_warning_is_by_the_earlier_day(received: str, law: dict[str, str]) -> None:
    dates = due("request", f"{received}T12:00:00+01:00")
    found = (dates["legal"], dates["legal_rolled"], dates["extended"], dates["extended_rolled"])
    assert found == (law["raw"], law["rolled"], law["extended_3m_raw"], law["extended_3m_rolled"])
    assert dates["legal_warned"] < dates["legal"] and dates["extended_warned"] < dates["extended"]


@pytest.mark.parametrize(("aware", "late"), sorted(VECTORS["plus_72h"].items()))
def test_every_clock_of_an_incident_meets_the_vectors(aware: str, late: str) -> None:
    assert due("incident", aware) == dict.fromkeys(("authority", "persons", "tenants"), late)


@pytest.mark.parametrize(("effective", "last"), sorted(VECTORS["notice_15_days"].items()))
def test_the_last_notice_meets_the_vectors_for_the_day_and_for_its_midnight(effective: str, last: str) -> None:
    offset = last[-6:]
    for given in (effective, f"{effective}T00:00:00{offset}", f"{effective}T18:30:00{offset}"):
        assert due("notice", given) == {"last_send": last, "effective": f"{effective}T00:00:00{offset}"}


def test_a_row_is_due_from_the_midnight_after_its_last_day() -> None:
    found = told("row", "--period", "P12M", "2024-02-29T12:00:00+01:00")
    assert (found["dates"]["due"]["due"], found["period"]) == ("2025-03-01T00:00:00+01:00", "P12M")
    assert due("row", "2025-11-22T23:30:00Z", "--period", "P12M") == {"due": "2026-11-24T00:00:00+01:00"}


def test_the_instant_may_be_of_any_zone_and_the_days_are_the_policy_s() -> None:
    found = told("question", "2026-12-24T08:30:00+09:00")
    assert found["dates"]["received"]["due"] == "2026-12-24" and found["time_zone"] == "Europe/Paris"
    assert (found["what"], found["instant"], found["policy"]) == ("question", "2026-12-24T08:30:00+09:00", "2026-05-01")


def test_the_periods_and_the_holidays_of_alsace_and_moselle_are_those_of_the_policy_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert due("question", "2025-12-19T09:00:00+01:00")["reply"] == "2025-12-29"
    folder = tmp_path / "spotrak"
    shutil.copytree(SHIPPED, folder)
    file = folder / "2026-05-01" / "policy.yaml"
    file.write_text(file.read_text().replace("alsace_moselle: false", "alsace_moselle: true").replace("notice: P15D", "notice: P20D"))
    monkeypatch.setenv("LETHE_POLICY_DIR", str(folder))
    found = told("question", "2025-12-19T09:00:00+01:00")
    assert (found["dates"]["reply"]["due"], found["alsace_moselle"]) == ("2025-12-30", True)
    assert due("notice", "2027-01-01")["last_send"] == "2026-12-12T00:00:00+01:00"


def test_people_get_a_table_with_every_date_and_its_rule() -> None:
    for words in (("question",), ("request",), ("incident",), ("notice",), ("row", "--period", "P5Y")):
        code, out, _ = run(*words, "2026-11-25T10:00:00+01:00")
        assert code == 0 and all(name in out for name in told(*words, "2026-11-25T10:00:00+01:00")["dates"]) and "rule" in out


AT = "2026-11-25T10:00:00+01:00"
BAD = {
    "an unknown kind": ("canary", AT),
    "no zone": ("question", "2026-11-25T10:00:00"),
    "a day": ("request", "2026-11-25"),
    "no instant": ("incident", "canary"),
    "a day that is none": ("notice", "2026-02-30"),
    "a notice without a zone": ("notice", "2027-01-01T00:00:00"),
    "a year not known": ("question", "2101-01-01T10:00:00+01:00"),
    "a year long ago": ("request", "1999-12-31T10:00:00+01:00"),
    "an incident of the year 1": ("incident", "0001-01-01T00:00:00+01:00"),
    "a notice of a year not known": ("notice", "9999-01-01"),
    "the end of all calendars": ("row", "--period", "P1D", "9999-12-31T23:59:59-01:00"),
    "a period that is none": ("row", "--period", "canary", AT),
    "a period of business days": ("row", "--period", "P5BD", AT),
    "a period of none of them": ("row", "--period", "P0BD", AT),
    "a period without end": ("row", "--period", "P99999999999999999999Y", AT),
    "a period of other digits": ("row", "--period", "P٥D", AT),
    "a row without a period": ("row", AT),
    "a question with a period": ("question", "--period", "P12M", AT),
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_what_is_no_date_is_refused_with_what_to_do_and_repeats_nothing(words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "") and len(err.strip().splitlines()) == 2 and "canary" not in err
    code, out, _ = run(*words, "--json")
    refused = json.loads(out)
    assert code == 2 and set(refused) == {"error", "fix"} and refused["fix"] and "canary" not in out
