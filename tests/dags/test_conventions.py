"""The habits that every DAG keeps, as tests: who owns it, what its page says, what it may be started by, what it must not do."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
DELETING = {"archive_expiry", "request_intake", "retention_purge"}
GUARDED = DELETING - {"request_intake"}
"""They carry out a plan. The intake deletes what it took, and what a decision of a person lets go."""
KEEPING = {"legal_hold"}
"""They write holds, by hand only, and delete nothing."""
GIVING = {"subject_export"}
"""They give personal data away, by hand only. A run that waits for a person keeps no other from its turn."""
ANSWERING = {"processor_list"}
"""They send what anybody may have."""


@pytest.fixture(scope="module")
def bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS))


def every_dag(bag):
    return sorted(bag.dags.items())


def test_every_file_gives_the_dag_of_its_name_without_an_error(bag):
    assert bag.import_errors == {}
    assert {file.stem for file in FILES} == set(bag.dags)


def test_every_dag_has_an_owner_tags_and_says_whether_it_deletes(bag):
    for name, dag in every_dag(bag):
        assert dag.owner == "privacy", name
        assert {"lethe", "privacy"} <= dag.tags, name
        assert ("deletes" in dag.tags) == (name in DELETING), name
        assert ("keeps" in dag.tags) == (name in KEEPING), name
        assert ("gives" in dag.tags) == (name in GIVING), name
        assert ("answers" in dag.tags) == (name in ANSWERING), name
        assert ("read only" in dag.tags) == (name not in DELETING | KEEPING | GIVING | ANSWERING), name


def test_every_page_says_the_danger_and_what_to_do(bag):
    for name, dag in every_dag(bag):
        assert dag.doc_md and dag.doc_md.lstrip().startswith("###"), name
        dangers = (
            {"**This DAG deletes"}
            if name in DELETING
            else {"**This DAG gives personal data away"}
            if name in GIVING
            else {"deletes nothing"}
        )
        assert all(words in dag.doc_md for words in dangers), name
        assert "What to do" in dag.doc_md or "When it is red" in dag.doc_md, name


SAYS = {
    "deadlines": ("business day 3", "business day 5", "`DeadlineMissed`", "`AlertNotLeft`", "`lethe request answered ID`"),
    "legal_hold": ("telephone number", "add a hold for each", "the user of Airflow", "`airflow-clean`"),
    "missed_runs": ("`retention_purge`", "`archive_expiry`", "26 hours", "`make airflow-clean`"),
    "policy_audit": ("drift", "files", "archive object", "day of review", "ledger", "`lethe verify`", "`lethe check`"),
    "processor_list": (
        "`public/`",
        "`internal/`",
        "within the days",
        "`NoAddress`",
        "`AnswerInDoubt`",
        "Five business days",
        "`lethe check`",
    ),
    "promise_report": (
        "`PromiseBroken`",
        "`lethe promises`",
        "`lethe attest`",
        "unbuilt",
        "not sound",
        "a rule",
        "a DAG",
        "a check",
        "an attestation",
    ),
    "request_intake": ("all versions", "30 days", "`lethe request intake --list`", "name of its own", "not opened twice"),
    "subject_export": ("`AmbiguousPerson`", "`AnswerInDoubt`", "`BundleDiffers`", "30 days", "Five business days"),
    "retention_purge": ("archives what a law needs", "`StoreFull`", "`NotArchivable`", "`ArchiveDiffers`"),
}
"""What whoever is on duty must find on a page: all that makes it red, and what it does beside its main work."""


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_page_names_everything_that_makes_it_red(bag, name):
    assert [words for words in SAYS[name] if words not in bag.dags[name].doc_md] == []


def test_every_dag_runs_alone_with_a_time_limit_and_no_backfill(bag):
    for name, dag in every_dag(bag):
        assert dag.max_active_runs == (16 if name in GIVING else 1), name
        assert not dag.catchup, name
        assert dag.dagrun_timeout is not None, name
        assert {str(t.value) for t in dag.allowed_run_types} == {"manual"} | (set() if name in KEEPING | GIVING else {"scheduled"}), name


def test_every_task_has_a_time_limit_or_waits_for_a_person_with_one(bag):
    for name, dag in every_dag(bag):
        for task in dag.tasks:
            assert task.execution_timeout or getattr(task, "response_timeout", None), f"{name}.{task.task_id}"


def test_every_dag_alerts_when_it_fails(bag):
    for name, dag in every_dag(bag):
        leaves = [task for task in dag.tasks if not task.downstream_task_ids]
        assert leaves and all(leaf.on_failure_callback for leaf in leaves), name


def test_every_dag_alerts_when_its_run_ends_without_a_failed_task(bag):
    from lethe.airflow.notifier import Alert, RunAlert

    for name, dag in every_dag(bag):
        assert [type(c) for c in dag.on_failure_callback] == [RunAlert], name
        told = [t.task_id for t in dag.tasks if any(isinstance(c, Alert) for c in t.on_failure_callback or ())]
        last = "record" if name in DELETING else "answer" if name in GIVING else None
        assert told == ([last] if last else [t.task_id for t in dag.tasks]), f"{name}: one failure, one alert"


@pytest.mark.parametrize("name", sorted(DELETING))
def test_the_task_that_records_runs_whatever_happened_before_it(bag, name):
    record = bag.dags[name].get_task("record")
    assert record.trigger_rule == "all_done"
    assert record.retries == 0


@pytest.mark.parametrize("name", sorted(GUARDED))
def test_no_approval_has_a_default_answer(bag, name):
    guard = bag.dags[name].get_task("guard")
    assert guard.defaults is None


def test_every_param_is_typed_and_described(bag):
    for name, dag in every_dag(bag):
        for key in dag.params:
            param = dag.params.get_param(key)
            assert param.schema.get("type"), f"{name}.{key}"
            assert len(param.description or "") > 20, f"{name}.{key}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_dag_file_only_wires(file):
    text = file.read_text()
    assert len(text.splitlines()) < 120
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("task" in ast.dump(d) for d in node.decorator_list):
            body = [n for n in node.body if not isinstance(n, ast.Expr) or not isinstance(n.value, ast.Constant)]
            assert len(body) <= 10, node.name


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_nothing_reads_a_clock_when_a_dag_is_parsed(file):
    calls = {n.func.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    assert not calls & {"now", "utcnow", "today"}


HEAVY = """
import sys
sys.path.insert(0, sys.argv[1])
import archive_expiry, deadlines, legal_hold, missed_runs, policy_audit, processor_list, promise_report, request_intake, retention_purge
import subject_export
print([m for m in ("pandas", "great_expectations", "boto3", "networkx") if m in sys.modules])
"""


def test_parsing_imports_nothing_heavy():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HEAVY, str(DAGS)]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.stdout.strip().splitlines()[-1:] == ["[]"], out.stderr[-2000:]


def test_parsing_twice_gives_the_same_serialized_dag(bag):
    """A default that reads a clock would make a new version of the DAG at each parse."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    again = DagBag(dag_folder=str(DAGS))
    for name, dag in every_dag(bag):
        assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(again.dags[name]), name
