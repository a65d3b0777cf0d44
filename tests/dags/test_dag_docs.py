"""docs/dags.md is what the DAGs say now, and says it the same way on every machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.airflow import dag_docs
from lethe.airflow.dag_docs import DAGS, NAME, DagsNotRead, page, stale, write

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_the_dags_is_current() -> None:
    assert not stale(DOCS), "run `make docs`"


def test_every_dag_is_in_it_with_its_page_params_and_tasks() -> None:
    text = page()
    for file in DAGS.glob("*.py"):
        section = text.split(f"\n## {file.stem}\n")[1].split("\n## ")[0]
        own = re.search(r'"""\n(.*?)"""', file.read_text(), re.DOTALL)
        assert own is not None and own[1].strip() in section, "the operator's page, word for word"
        assert "#### How it runs" in section and "#### Tasks" in section
    purge = text.split("\n## retention_purge\n")[1]
    assert "`0 2 * * *`, Europe/Paris" in purge and "`deletes`" in purge
    assert re.search(r"\| `pace` \| `full` or `gentle` \| `full` \|", purge)
    assert re.search(r"\| `purge`, mapped \| Deletes what is due .* \| `all_success` of `plan`, `guard` \|", purge)
    assert re.search(r"\| `rules` \| list of string \| empty \|", purge)
    assert re.search(r"\| `record` \| .* \| `all_done` of `verify` \| 0 \| 4 h \|", purge)
    assert "20 h for a person's answer" in purge


def test_nothing_of_this_machine_is_in_it(tmp_path: Path) -> None:
    """Another folder, time zone and Airflow give the same text."""
    there = tmp_path / "docs"
    there.mkdir()
    settings = {"TZ": "Asia/Tokyo", "AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__DEFAULT_TIMEZONE": "America/Lima"}
    settings |= {"AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "9", "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "9", "LC_ALL": "C"}
    command = [sys.executable, "-m", "lethe.airflow.dag_docs", str(there)]
    environment = os.environ | settings | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (there / NAME).read_text() == (DOCS / NAME).read_text()
    assert str(DAGS.parent) not in (DOCS / NAME).read_text()


def test_a_page_that_was_edited_is_stale_and_written_anew_once(tmp_path: Path) -> None:
    assert stale(tmp_path) and write(tmp_path) and not write(tmp_path)
    (tmp_path / NAME).write_text(page() + "more\n")
    assert stale(tmp_path) and write(tmp_path) and not stale(tmp_path)


def test_a_dag_that_cannot_be_parsed_is_named_and_no_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    with pytest.raises(DagsNotRead, match="no DAG"):
        page(dags)
    (dags / "broken.py").write_text("from airflow.sdk import dag\nraise ValueError('x')\n")
    with pytest.raises(DagsNotRead, match=r"broken\.py"):
        page(dags)
    monkeypatch.setattr(dag_docs, "write", lambda docs: page(dags))
    assert dag_docs.main([str(tmp_path)]) == 1
    assert not (tmp_path / NAME).exists()
