"""One e-mail address in every personal column, due and young, leaves no trace in anything that Lethe or Airflow keeps (invariant 9)."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from demo import databases, environment, store
from demo.buckets import LETHE
from demo.home import PROJECT
from demo.planted import CANARY
from helpers.airflow_demo import Demo, demo_in
from helpers.traces import in_bucket, in_bytes, in_database, in_folder, keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BIN = PROJECT / ".venv" / "bin"


@pytest.fixture(scope="module")
def night() -> Iterator[Demo]:
    """The demo with the canary, after a dry run, its approval, and the nightly run in Airflow."""
    with tempfile.TemporaryDirectory(prefix="lethe-canary-", ignore_cleanup_errors=True) as folder:
        with demo_in(Path(folder), scale=0.02, canary=True) as demo:
            as_of = demo.as_of.isoformat()
            plan = json.loads(_run(demo, "lethe", "plan", "--as-of", as_of, "--json"))
            _run(demo, "lethe", "plan", "approve", plan["digest"], "--reason", "first_run", "--as", "demo-approver")
            _run(demo, "airflow", "dags", "test", "retention_purge", "--conf", json.dumps({"dry_run": False, "as_of": as_of}))
            yield demo


def _run(demo: Demo, program: str, *arguments: str) -> str:
    """Runs a command in the demo's environment, keeps all that it said beside the other logs, and returns its output."""
    done = subprocess.run(
        [str(BIN / program), *arguments],
        env=environment.full(demo.home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    with demo.home.log("commands").open("a") as log:
        log.write(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_canary_was_there_and_the_run_deleted_due_rows_of_it(night: Demo) -> None:
    assert night.evidence("run.finished")[-1]["outcome"] == "clean"
    assert night.number("SELECT count(*) FROM app.technical_logs WHERE message = %s", CANARY) == 1, "the young row stays"
    assert night.number("SELECT count(*) FROM app.leads WHERE email = %s", CANARY) == 1


@pytest.mark.parametrize("database", ["airflow", "lethe"])
def test_no_table_holds_it(night: Demo, database: str) -> None:
    assert in_database(databases.server(night.home).url(database), CANARY) == []


def test_no_log_and_no_report_holds_it(night: Demo) -> None:
    for folder in (night.home.airflow, night.home.folder / "logs", night.home.reports):
        assert any(folder.rglob("*")), f"nothing to search in {folder.name}"
        assert in_folder(folder, CANARY) == []


def test_no_object_and_no_key_in_the_evidence_bucket_holds_it(night: Demo) -> None:
    client = store.client(night.home)
    assert {k.split("/")[0] for k in keys(client, LETHE)} >= {"results", "reports"}
    assert in_bucket(client, LETHE, CANARY) == []


FORMS = {
    "plain": CANARY,
    "shouted": CANARY.upper(),
    "base64": base64.b64encode(f"a line with {CANARY} in it".encode()).decode(),
    "base64url": base64.urlsafe_b64encode(f"x{CANARY}".encode()).decode(),
    "percent": quote(CANARY, safe=""),
    "hex": f"\\x{CANARY.encode().hex()}",
    "json": json.dumps({"who": CANARY}).replace("@", "\\u0040"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_leak_in_any_form_is_found(night: Demo, form: str) -> None:
    """The broken controls: planted where a run could leave it, the same search must find it."""
    text = FORMS[form]
    leak = night.home.log("leak")
    leak.write_text(f"deleting {text}\n")
    client = store.client(night.home)
    client.put_object(Bucket=LETHE, Key="results/leak.json", Body=text.encode())
    with night.sql("lethe") as connection:
        connection.execute("CREATE TABLE public.leak (note text, body jsonb, raw bytea)")
        connection.execute("INSERT INTO public.leak VALUES (%s, %s, %s)", [text, json.dumps([text]), text.encode()])
    try:
        assert in_bytes(text.encode(), CANARY)
        assert {f.split(": ")[0] for f in in_database(databases.server(night.home).url("lethe"), CANARY)} >= {
            "public.leak.note",
            "public.leak.raw",
        }
        assert in_folder(night.home.folder / "logs", CANARY)
        assert in_bucket(client, LETHE, CANARY)
    finally:
        leak.unlink()
        client.delete_object(Bucket=LETHE, Key="results/leak.json")
        with night.sql("lethe") as connection:
            connection.execute("DROP TABLE public.leak")
