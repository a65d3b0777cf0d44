"""A small Spotrak whose every built control did its work: a night, an expiry, an audit, an access request that was answered, attestations.

Its data has nothing that the demo plants to be seen: no row is quarantined or blocked, so that every promise with a control has clean evidence.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch as replaced

import psycopg
import pytest
from psycopg import sql

from demo import buckets
from demo.buckets import log_objects
from demo.load import attachment_keys, load, object_store
from demo.objects import ObjectServer
from demo.postgres import PostgresServer, free_port
from helpers.archiving import archive_on
from helpers.control import DIGEST_KEY, ControlDatabase, control_database
from helpers.mailing import Mailbox
from lethe.accountability.listing import make_list
from lethe.accountability.owed import report_deadlines
from lethe.accountability.promises import PromiseReport, assess
from lethe.accountability.promises.attesting import attest
from lethe.control.maintenance import AIRFLOW_CLEAN, record_success
from lethe.evidence.heads import S3Heads, keep_head
from lethe.instants import now
from lethe.policy.controls import ControlKind
from lethe.retention import PlannedRun, audit, decide_run, guard_run, plan_expiry, plan_run, purge_run_group, record_run, verify_run
from lethe.settings import DAGS, SHIPPED
from lethe.subjects.answering import answer_request
from lethe.subjects.exporting import export_request
from lethe.subjects.identifiers import identifier
from lethe.subjects.judging import judge_request
from lethe.subjects.locating import Finder
from lethe.subjects.requests import decide_identity, open_request
from lethe.workspace import Workspace

REQUEST_KEY = bytes(range(32))
QUIET = timedelta(days=40)
"""Log objects younger than this, and a few that are due, are enough."""


@dataclass(frozen=True, kw_only=True)
class PromisedHome:
    """The demo after its night. `lethe`: the name of Lethe's own database, `policies` and `dags`: copies that a test may change."""

    server: PostgresServer
    source: str
    lethe: str
    control: ControlDatabase
    objects: ObjectServer
    policies: Path
    dags: Path

    def report(self, *, at: datetime | None = None, before: bool = False) -> PromiseReport:
        """The report as of now, by the environment."""
        with Workspace.open(check_text=False) as workspace:
            return assess(workspace, at=at or now(), dags=self.dags, before=before)

    @contextmanager
    def copy(self, patch: pytest.MonkeyPatch) -> Iterator[str]:
        """A copy of Lethe's own database and of the heads kept outside, which the environment leads to until it is left; a superuser's URL of it."""
        name = f"copy_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(self.lethe)))
        s3, bucket = buckets.client(object_store(self.objects.endpoint)), name.replace("_", "-")
        buckets.ensure_bucket(s3, bucket, versioned=True)
        for head in s3.list_objects_v2(Bucket=buckets.LETHE, Prefix="ledger/heads/").get("Contents", []):
            s3.copy_object(Bucket=bucket, Key=head["Key"], CopySource={"Bucket": buckets.LETHE, "Key": head["Key"]})
        with patch.context() as inside:
            for connection, role in LETHE_ROLES.items():
                inside.setenv(f"AIRFLOW_CONN_{connection.upper()}", self.server.url(name, user=role))
            outside = json.loads(os.environ["AIRFLOW_CONN_LETHE_S3"])
            outside["extra"]["bucket"] = bucket
            inside.setenv("AIRFLOW_CONN_LETHE_S3", json.dumps(outside))
            yield self.server.url(name)
        buckets.empty(s3, bucket)
        s3.delete_bucket(Bucket=bucket)
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


LETHE_ROLES = {"lethe_db": "lethe_runtime", "lethe_approver": "lethe_approver", "lethe_archivist": "lethe_archivist"}
REFERRING = ("attachments", "client_invoices", "appointments", "clients", "support_threads", "billing_invoices")
"""What would keep the tenants blocked whose contracts are over, the last that refer to others first."""

_GONE = "SELECT tenant_id FROM app.contracts GROUP BY tenant_id HAVING bool_and(ended_at < now())"
SOURCE_ROLES = {"spotrak_db": "lethe_purger", "spotrak_db_check": "lethe_checker", "spotrak_db_maintenance": "lethe_keeper"}


@contextmanager
def home_on(postgres: PostgresServer, box: Mailbox, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[PromisedHome]:
    """The home, after everything that leaves evidence has run once."""
    mark = uuid.uuid4().hex[:8]
    names = (f"promised_source_{mark}", f"promised_lethe_{mark}")
    objects = ObjectServer(folder=folder / "objects", port=free_port())
    objects.folder.mkdir()
    objects.start()
    at = now()
    try:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        source = postgres.url(names[0])
        with replaced("demo.generate.planted", lambda as_of: ()):
            load(source, None, scale=0.003, as_of=at)
        with psycopg.connect(source) as connection:
            for table in REFERRING:
                gone = sql.SQL("DELETE FROM {} WHERE tenant_id IN ({})")
                connection.execute(gone.format(sql.Identifier("app", table), sql.SQL(_GONE)))
        _fill(objects, source, at)
        _environment(patch, postgres, names, objects, box, folder)
        with control_database(postgres, postgres.url(names[1])) as control:
            yield _lived(postgres, source, names[1], control, objects, folder)
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            for name in names:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        objects.stop()


def _fill(objects: ObjectServer, source: str, at: datetime) -> None:
    s3 = buckets.client(object_store(objects.endpoint))
    few = [o for o in log_objects(at) if o.day is not None and (o.day >= (at - QUIET).date() or o.day.day == 1)]
    with replaced("demo.buckets.log_objects", lambda as_of: few):
        buckets.fill(s3, as_of=at, files=attachment_keys(source))
    buckets.ensure_lethe(s3)
    buckets.ensure_requests(s3)


def _environment(
    patch: pytest.MonkeyPatch, postgres: PostgresServer, names: tuple[str, str], objects: ObjectServer, box: Mailbox, folder: Path
) -> None:
    for old in [n for n in os.environ if n.startswith(("AIRFLOW_CONN_", "AIRFLOW__", "LETHE_"))]:
        patch.delenv(old)
    for roles, database in ((SOURCE_ROLES, names[0]), (LETHE_ROLES, names[1])):
        for connection, role in roles.items():
            patch.setenv(f"AIRFLOW_CONN_{connection.upper()}", postgres.url(database, user=role))
    archive = archive_on(objects.endpoint).connection.extra
    extras: dict[str, dict[str, Any]] = {
        "spotrak_s3": {},
        "requests_s3": {"encryption": "aws:kms"},
        "lethe_s3": {"bucket": buckets.LETHE},
        "archive_s3": archive,
        "archive_read_s3": archive,
    }
    for connection, extra in extras.items():
        given = {"endpoint_url": objects.endpoint, "region_name": "us-east-1", **extra}
        body = {"conn_type": "aws", "login": f"key-of-{connection}", "password": "secret", "extra": given}
        patch.setenv(f"AIRFLOW_CONN_{connection.upper()}", json.dumps(body))
    patch.setenv("AIRFLOW_CONN_LETHE_SMTP", box.connection())
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    patch.setenv("LETHE_REQUEST_KEY", REQUEST_KEY.hex())
    patch.setenv("LETHE_POLICY_DIR", str(shutil.copytree(SHIPPED, folder / "policies")))
    patch.setenv("LETHE_REPORTS_DIR", str(folder / "reports"))
    patch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(shutil.copytree(DAGS, folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))))


def _lived(postgres: PostgresServer, source: str, name: str, control: ControlDatabase, objects: ObjectServer, folder: Path) -> PromisedHome:
    with Workspace.open() as workspace:
        with control.runtime.begin() as connection:
            record_success(connection, AIRFLOW_CLEAN, now())
        _carry_out(workspace, plan_run(workspace, as_of=now(), dry_run=False))
        _carry_out(workspace, plan_expiry(workspace, as_of=now(), dry_run=False))
        audit(workspace, as_of=now())
        _answered(workspace, control, source)
        policy = workspace.policy(now())
        attested = {c.name for p in policy.promises for c in p.controls if c.kind is ControlKind.ATTESTATION}
        with workspace.approver.begin() as connection:
            for each in sorted(attested):
                attest(connection, policy, each, until=now().date() + timedelta(days=90), by="a.martin", at=now())
        report_deadlines(workspace, at=now(), tell=lambda owed: None)
        make_list(workspace, at=now())
        keep(workspace)
    return PromisedHome(
        server=postgres,
        source=source,
        lethe=name,
        control=control,
        objects=objects,
        policies=folder / "policies",
        dags=folder / "dags",
    )


def keep(workspace: Workspace) -> None:
    """Keeps the ledger's present head outside."""
    with workspace.control.connect() as connection:
        keep_head(connection, S3Heads(workspace.s3("lethe_s3"), workspace.bucket("lethe_s3")), "test")


def _carry_out(workspace: Workspace, planned: PlannedRun) -> None:
    run = (planned.digest, planned.attempt)
    if guard_run(workspace, *run).waits:
        assert decide_run(workspace, *run, approved=True, by="approver", at=now())
    for group in planned.groups:
        purge_run_group(workspace, *run, group.steps)
    verify_run(workspace, *run)
    record_run(workspace, *run)


def _answered(workspace: Workspace, control: ControlDatabase, source: str) -> None:
    """One access request, from its opening to the mail."""
    with control.runtime.begin() as connection:
        who = identifier("email", _somebody(source), datasets=workspace.catalog.identities)
        request = open_request(
            connection, [who], kind="access", channel="email", language="fr", by="j.dupont", request_key=REQUEST_KEY, digest_key=DIGEST_KEY
        ).request.id
        decide_identity(connection, request, decision="accept", reason="document_seen", by="a.martin")
    finder = Finder(workspace)
    export_request(finder, request, by="j.dupont", at=now())
    judge_request(finder, request, by="j.dupont", at=now())
    answer_request(finder, request, by="j.dupont", at=now())


def _somebody(source: str) -> str:
    """The address of one account that is still there."""
    with psycopg.connect(source) as connection:
        (address,) = connection.execute("SELECT email FROM app.users WHERE removed_at IS NULL ORDER BY id LIMIT 1").fetchone() or ("",)
    return str(address)
