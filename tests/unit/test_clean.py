"""Airflow's own old records: what is deleted, and what is said about logs that are elsewhere."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lethe.airflow import clean
from lethe.policy.load import load_policies
from lethe.settings import SHIPPED

BEFORE = datetime(2025, 11, 23, tzinfo=UTC)


def a_log(folder: Path, name: str, written: datetime) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    os.utime(file, (written.timestamp(), written.timestamp()))
    return file


def test_logs_are_looked_for_where_airflow_is_set_to_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    assert clean.logs_folder() == (tmp_path, "")


def test_logs_that_are_not_on_this_machine_are_said_to_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "none"))
    folder, told = clean.logs_folder()
    assert folder is None and "no task logs on this machine" in told


def test_a_remote_store_of_logs_is_named_for_somebody_to_let_it_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    folder, told = clean.logs_folder()
    assert folder == tmp_path and "remote store" in told


def test_old_log_files_go_with_the_folders_they_leave_empty_and_younger_ones_stay(tmp_path: Path) -> None:
    old = a_log(tmp_path, "dag_id=a/run_id=1/attempt=1.log", datetime(2025, 11, 22, 23, 59, 59, tzinfo=UTC))
    young = a_log(tmp_path, "dag_id=a/run_id=2/attempt=1.log", BEFORE)
    assert clean.delete_old_files(tmp_path, BEFORE) == 1
    assert not old.parent.exists() and young.read_text() == "x"


def test_airflows_records_and_logs_go_at_the_cutoff_of_technical_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr("subprocess.run", run)
    old = a_log(tmp_path, "old.log", datetime(2025, 11, 22, 22, 59, tzinfo=UTC))
    a_log(tmp_path, "young.log", datetime(2025, 11, 22, 23, tzinfo=UTC))
    at = datetime(2026, 11, 23, 1, tzinfo=UTC)
    before, files = clean.clean(at=at, policy=load_policies(SHIPPED).in_force(at), logs=tmp_path)
    assert (before, files, old.exists()) == (datetime(2025, 11, 22, 23, tzinfo=UTC), 1, False)
    assert asked[0][-1] == before.isoformat()
