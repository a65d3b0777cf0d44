"""The time zone of the DAGs' schedules: an operator's setting, refused when it is none, and in a trial one in which it is noon."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from demo.trial import noon_zone
from helpers.airflow_demo import Api, Demo
from lethe import settings
from lethe.errors import UnknownName
from lethe.instants import now

ROOT = Path(__file__).parents[2]
NIGHTLY = {"retention_purge", "archive_expiry", "policy_audit", "promise_report", "processor_list"}


def test_it_is_paris_until_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LETHE_SCHEDULE_ZONE", raising=False)
    assert settings.schedule_zone() == "Europe/Paris"
    monkeypatch.setenv("LETHE_SCHEDULE_ZONE", "America/New_York")
    assert settings.schedule_zone() == "America/New_York"


@pytest.mark.parametrize("written", ["Paris", "../etc/passwd", "/etc/localtime", "CET+1h", " "])
def test_what_is_no_time_zone_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("LETHE_SCHEDULE_ZONE", written)
    with pytest.raises(UnknownName, match="LETHE_SCHEDULE_ZONE is no time zone"):
        settings.schedule_zone()


def test_the_hours_of_a_dag_are_in_it() -> None:
    asked = "from retention_purge import retention_purge; t = retention_purge().timetable; print(t.expression, t.timezone)"
    said = subprocess.run(
        [sys.executable, "-c", asked],
        env=os.environ | {"LETHE_SCHEDULE_ZONE": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join([str(ROOT / "dags"), str(ROOT / "include")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split() == [*"02***", "Asia/Tokyo"], said.stderr[-2000:]


@pytest.mark.parametrize("hour", range(24))
def test_a_trial_is_at_noon_at_every_hour(hour: int) -> None:
    at = datetime(2026, 11, 29, hour, 59, 59, tzinfo=UTC)
    assert at.astimezone(ZoneInfo(noon_zone(at))).hour == 12


@pytest.mark.scheduler
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_night_begins_by_itself_amid_a_trial(demo: Demo, api: Api) -> None:
    soon = now() + timedelta(hours=2)
    found = {d["dag_id"]: d["next_dagrun_run_after"] for d in api("GET", "/dags")["dags"] if d["dag_id"] in NIGHTLY}
    assert set(found) == NIGHTLY
    near = {name: at for name, at in found.items() if at and soon - timedelta(hours=2) < datetime.fromisoformat(at) < soon}
    assert near == {}
