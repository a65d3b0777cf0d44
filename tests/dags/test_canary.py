"""One e-mail address in every personal column, due and young, leaves no trace in anything that Lethe or Airflow keeps (invariant 9).

Runs last of the files that share a running Airflow: what the others left behind is searched too.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo import databases, environment, store
from demo.buckets import ARCHIVE, LETHE
from demo.canary import ENDED_TENANT, EXPIRING_TENANT, PERSONAL
from demo.garden import CANARY
from demo.home import PROJECT, Home
from helpers.airflow_demo import Api, Demo
from helpers.traces import in_archive, in_bucket, in_bytes, in_database, in_folder, keys
from lethe.retention import plan_expiry
from lethe.subjects.bundle.verify import contents
from lethe.workspace import Workspace

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

BIN = PROJECT / ".venv" / "bin"


PURGED = {"contracts": {ENDED_TENANT, EXPIRING_TENANT}, "tenants": {ENDED_TENANT, EXPIRING_TENANT}, "billing_invoices": {ENDED_TENANT}}
"""The canary's rows that the purge archives, by dataset; the expiry takes those of EXPIRING_TENANT."""
LEFT = {dataset: {ENDED_TENANT} for dataset in PURGED}


@dataclass(frozen=True, kw_only=True)
class Night:
    """A demo after its night: the archived rows that carry the canary after the purge and after the expiry, and what a reading printed."""

    demo: Demo
    purged: list[tuple[str, dict[str, Any]]]
    expired: list[tuple[str, dict[str, Any]]]
    read: str
    request: str

    @property
    def home(self) -> Home:
        return self.demo.home


@pytest.fixture(scope="module")
def night(demo: Demo, api: Api) -> Night:
    """The demo after whatever ran on its Airflow before, a whole purge with rows for the archive among it; then the archive's expiry, approved
    beforehand, a hold by the form, a reading of the archive, and a request that was answered."""
    whole = [e for e in demo.evidence("run.finished") if e["run"] == "retention" and len(e["rules"]) > 1]
    assert [e["outcome"] for e in whole] == ["clean"], "test_scheduler.py runs before, and purges by every rule"
    purged = in_the_archive(demo)
    with Workspace.open() as workspace:
        expiry = plan_expiry(workspace, as_of=demo.as_of)
    _run(demo, "lethe", "plan", "approve", expiry.digest, "--reason", "first_run", "--as", "demo-approver")
    _dag(api, "archive_expiry", dry_run=False, as_of=demo.as_of.isoformat())
    expired = in_the_archive(demo)
    person = _run(demo, "lethe", "hold", "digest", f"users:{ENDED_TENANT}").strip()
    _dag(api, "legal_hold", action="add", reason="litigation", review_on="2099-01-01", person=person, owner="p.dupont")
    # What a reading prints is for whoever asked: it goes to no log.
    asked = ("archive", "read", "--dataset", "contracts", "--reason", "claim", "--tenant", str(ENDED_TENANT), "--json")
    read = _run(demo, "lethe", *asked, printed_to_a_person=True)
    who = ("request", "new", "-", "--kind", "access", "--channel", "email", "--json")
    request = json.loads(_run(demo, "lethe", *who, given=f"email={CANARY}\n"))["id"]
    _run(demo, "lethe", "request", "decide", request, "accept", "--reason", "document_seen", "--by", "p.dupont")
    _dag(api, "subject_export", requests=[request])
    return Night(demo=demo, purged=purged, expired=expired, read=read, request=request)


def in_the_archive(demo: Demo) -> list[tuple[str, dict[str, Any]]]:
    """The archived rows, with their dataset, of which a value holds the canary."""
    client = store.client(demo.home)
    found = []
    for key in (k for k in keys(client, ARCHIVE) if k.endswith(".parquet")):
        dataset = key.partition("dataset=")[2].partition("/")[0]
        rows = pq.read_table(io.BytesIO(client.get_object(Bucket=ARCHIVE, Key=key)["Body"].read())).to_pylist()
        found += [(dataset, row) for row in rows if any(CANARY in str(v) for v in row.values())]
    return found


def of_whom(rows: list[tuple[str, dict[str, Any]]]) -> dict[str, set[int]]:
    """The keys of rows, by dataset."""
    return {dataset: {int(row["id"]) for of, row in rows if of == dataset} for dataset in {of for of, _ in rows}}


def _dag(api: Api, name: str, **conf: object) -> None:
    api("PATCH", f"/dags/{name}?update_mask=is_paused", {"is_paused": False})
    run = api.trigger(name, **conf)
    assert api.ended(name, run) == "success", api.tasks(name, run)


def _run(demo: Demo, program: str, *arguments: str, printed_to_a_person: bool = False, given: str = "") -> str:
    """Runs a command in the demo's environment, with `given` piped in, keeps what it said beside the other logs, and returns its output."""
    done = subprocess.run(
        [str(BIN / program), *arguments],
        env=environment.full(demo.home),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    with demo.home.log("commands").open("a") as log:
        log.write(done.stderr if printed_to_a_person else done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_canary_was_there_and_the_run_deleted_due_rows_of_it(night: Night) -> None:
    demo = night.demo
    assert demo.evidence("run.finished")[-1]["outcome"] == "clean", "the expiry"
    assert demo.number("SELECT count(*) FROM app.technical_logs WHERE message = %s", CANARY) == 1, "the young row stays"
    assert demo.number("SELECT count(*) FROM app.leads WHERE email = %s", CANARY) == 1
    assert demo.number("SELECT count(*) FROM app.tenants WHERE legal_name = %s", CANARY) == 1, "the one whose contract lives"


def test_the_canary_lies_in_the_archive_in_every_kept_column_until_it_expires(night: Night) -> None:
    assert of_whom(night.purged) == PURGED
    for dataset, row in night.purged:
        kept = set(PERSONAL[dataset]) & set(row)
        assert {c for c, v in row.items() if CANARY in str(v)} == kept != set(), "the kept columns, and nothing that Lethe added"
    assert of_whom(night.expired) == LEFT
    assert night.demo.evidence("archive.expired"), "by the expiry"


def test_it_was_read_for_a_reason_and_held_by_the_form(night: Night) -> None:
    assert CANARY in night.read
    assert [e["reason"] for e in night.demo.evidence("archive.read")].count("claim") == 1
    held = night.demo.evidence("hold.added")[-1]
    assert held["owner"] == "p.dupont"


def test_a_request_of_it_was_answered_with_what_lives_and_what_is_archived(night: Night) -> None:
    client = store.client(night.home)
    (key,) = (k for k in keys(client, "lethe-bundles") if k.startswith(f"{night.request}/"))
    assert not in_bytes(key.encode(), CANARY)
    head = client.head_object(Bucket="lethe-bundles", Key=key)
    assert not in_bytes(json.dumps(head, default=str).encode(), CANARY)
    body = client.get_object(Bucket="lethe-bundles", Key=key)["Body"].read()
    rows = [(section, row) for section, row in contents(io.BytesIO(body)) if CANARY in json.dumps(row, default=str)]
    assert {"users", "email_log", "contracts.archive"} <= {section for section, _ in rows}
    assert {r["reason"] for r in night.demo.evidence("archive.read")} == {"claim", "access_request", "integrity_check"}
    (mail,) = (night.home.folder / "mail").glob(f"*{night.request}.bundle_ready*.eml")
    assert CANARY in mail.read_text() and not in_bytes(mail.name.encode(), CANARY)


def test_no_key_manifest_or_metadata_in_the_archive_holds_it(night: Night) -> None:
    client = store.client(night.home)
    found = [*keys(client, ARCHIVE)]
    assert sum(k.endswith(".parquet") for k in found) == sum(k.endswith(".manifest.json") for k in found) >= 3
    assert in_archive(client, ARCHIVE, CANARY) == []


@pytest.mark.parametrize("database", ["airflow", "lethe"])
def test_no_table_holds_it(night: Night, database: str) -> None:
    assert in_database(databases.server(night.home).url(database), CANARY) == []


def test_no_log_and_no_report_holds_it(night: Night) -> None:
    for folder in (night.home.airflow, night.home.folder / "logs", night.home.reports):
        assert any(folder.rglob("*")), f"nothing to search in {folder.name}"
        assert in_folder(folder, CANARY) == []


def test_no_object_and_no_key_in_the_evidence_bucket_holds_it(night: Night) -> None:
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
def test_a_leak_in_any_form_is_found(night: Night, form: str) -> None:
    """The broken controls: planted where a run could leave it, the same search must find it."""
    text = FORMS[form]
    leak = night.home.log("leak")
    leak.write_text(f"deleting {text}\n")
    client = store.client(night.home)
    client.put_object(Bucket=LETHE, Key="results/leak.json", Body=text.encode())
    names = io.BytesIO()
    pq.write_table(pa.table({"id": [text], "_lethe_persons": [[text]]}), names)
    archived = {
        "leak.parquet": {"Body": names.getvalue()},
        "_leak.manifest.json": {"Body": text.encode()},
        "told.parquet": {"Body": _nothing(), "Metadata": {"note": text}},
    }
    for key, put in archived.items():
        client.put_object(Bucket=ARCHIVE, Key=f"dataset=leaks/{key}", **put)  # type: ignore[arg-type]
    with night.demo.sql("lethe") as connection:
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
        assert {f.partition(": ")[0] for f in in_archive(client, ARCHIVE, CANARY)} == {f"dataset=leaks/{key}" for key in archived}
    finally:
        leak.unlink()
        client.delete_object(Bucket=LETHE, Key="results/leak.json")
        for entry in client.list_object_versions(Bucket=ARCHIVE, Prefix="dataset=leaks/").get("Versions", []):
            client.delete_object(Bucket=ARCHIVE, Key=entry["Key"], VersionId=entry["VersionId"])
        with night.demo.sql("lethe") as connection:
            connection.execute("DROP TABLE public.leak")


def _nothing() -> bytes:
    kept = io.BytesIO()
    pq.write_table(pa.table({"id": [CANARY], "_lethe_persons": [["0" * 32]]}), kept)  # a kept value, which is no leak
    return kept.getvalue()
