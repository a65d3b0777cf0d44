"""The promise report over five years of nightly evidence: the ledger walked, the newest evidence of every control read, judged and rendered."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.ground import admin, seconds
from benchmarks.score import Row, at_most
from benchmarks.world import Ground
from demo.buckets import ensure_bucket
from demo.objects import ObjectServer
from demo.postgres import free_port
from lethe.accountability.promises import assess
from lethe.accountability.promises.records import Records, carried_out
from lethe.accountability.promises.rendering import render
from lethe.catalog.load import load_catalog
from lethe.connections import Connection
from lethe.control.migrate import migrate
from lethe.errors import Unreachable
from lethe.evidence.heads import Head
from lethe.evidence.record import Record, next_record
from lethe.policy.load import load_policies
from lethe.policy.model import PolicyVersion
from lethe.settings import DAGS, SHIPPED, catalog_dir
from lethe.stores.s3.client import client
from lethe.workspace import Workspace

NIGHTS, STEPS, HOURS = 1_826, 28, 24
"""Five years; the records of steps that a night leaves, and those of the hourly check of deadlines."""

LAST = datetime(2031, 5, 1, tzinfo=UTC)
DATABASE = "promises"
LOGINS = {"lethe_db": "lethe_runtime", "lethe_db_owner": "lethe_owner"}


def measure(ground: Ground) -> list[Row]:
    """The whole report, and of it what finds the evidence. Scaled with the rows of the ground where these are few."""
    nights = max(30, int(NIGHTS * min(1.0, ground.rows / 5_000_000)))
    at = LAST + timedelta(hours=7, minutes=30)
    with _home(ground, nights) as (workspace, records):
        policy = workspace.policy(at)
        rules = {r.id for r in policy.rules}
        kinds = ("audit.finished", "deadlines.checked", "processors.listed", "attestation.given", "bundle.judged", "archive.read")

        def read() -> None:
            with workspace.control.connect() as control:
                reader = Records(connection=control)
                carried_out(reader, rules)
                for kind in kinds:
                    reader.newest(kind)

        def report() -> None:
            made = assess(workspace, at=at, dags=DAGS)
            if made.ledger.problem or not made.counts["fresh"]:
                raise RuntimeError(made.ledger.problem or "nothing is fresh")
            render(made)

        found, whole = ([seconds(work) for _ in range(ground.repeat)] for work in (read, report))
    detail = f"{records:,} records of {nights:,} nights"
    return [
        at_most("promise report over five years of nightly evidence", whole, 10, "s", detail=detail),
        at_most("of it: the evidence of every rule and kind, by the ledger's index", found, 0.5, "s", detail=detail),
    ]


@contextmanager
def _home(ground: Ground, nights: int) -> Iterator[tuple[Workspace, int]]:
    admin(ground.server, sql.SQL("CREATE DATABASE {} OWNER lethe_owner").format(sql.Identifier(DATABASE)))
    with tempfile.TemporaryDirectory(prefix="lethe-promises-", ignore_cleanup_errors=True) as folder:
        objects = ObjectServer(folder=Path(folder), port=free_port())
        objects.start()
        try:
            extra = {"endpoint_url": objects.endpoint, "region_name": "us-east-1", "bucket": "lethe"}
            heads = Connection(id="lethe_s3", kind="aws", login="k", password="s", extra=extra)

            def connections(name: str) -> Connection:
                if name == "lethe_s3":
                    return heads
                if name in LOGINS:
                    return Connection(
                        id=name, kind="postgres", host="127.0.0.1", port=ground.server.port, login=LOGINS[name], database=DATABASE
                    )
                raise Unreachable(f"Connection {name!r} is not set.", fix="It is not measured.")

            workspace = Workspace(
                folder=SHIPPED, policies=load_policies(SHIPPED), catalog=load_catalog(catalog_dir(SHIPPED)), connections=connections
            )
            with workspace:
                migrate(workspace.engine("lethe_db_owner"))
                written = _fill(ground, workspace, nights)
                _keep(heads, written)
                yield workspace, len(written)
        finally:
            objects.stop()


def _fill(ground: Ground, workspace: Workspace, nights: int) -> list[Record]:
    """The chain, as it would have been appended, copied past its triggers."""
    written: list[Record] = []
    last: tuple[int, str] | None = None
    for kind, body, run, at in _evidence(workspace.policies.versions[-1], nights):
        record = next_record(last, kind, body, run=run, at=at)
        written.append(record)
        last = (record.seq, record.digest)
    with psycopg.connect(ground.server.url(DATABASE)) as connection:
        connection.execute("ALTER TABLE lethe.ledger DISABLE TRIGGER ALL")
        with connection.cursor().copy("COPY lethe.ledger (seq, recorded_at, kind, run, body, previous, digest) FROM STDIN") as copy:
            for record in written:
                copy.write_row((record.seq, record.recorded_at, record.kind, record.run, record.body, record.previous, record.digest))
        for trigger in ("ledger_continues", "ledger_is_append_only"):
            connection.execute(sql.SQL("ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER {}").format(sql.Identifier(trigger)))
        connection.commit()
        connection.execute("ANALYZE lethe.ledger")
    return written


def _evidence(policy: PolicyVersion, nights: int) -> Iterator[tuple[str, dict[str, Any], str | None, datetime]]:
    terms = dict.fromkeys(("planned", "arrived", "deleted", "held", "changed", "blocked", "failed", "survivors", "quarantined"), 0)
    steps = {f"{r.id}/table": {"outcome": "clean", "level": "L1", "terms": terms} for r in policy.rules}
    for night in range(nights):
        at = LAST - timedelta(days=nights - 1 - night)
        run = hashlib.sha256(str(night).encode()).hexdigest()
        for step in range(STEPS):
            yield "step.verified", {"attempt": 1, "step": f"rule-{step}/table", "outcome": "clean", "terms": terms}, run, at
        yield "run.finished", _ended("retention", at, policy) | {"rules": [r.id for r in policy.rules], "steps": steps}, run, at
        yield "run.finished", _ended("expiry", at, policy) | {"rules": [], "steps": {}}, f"e{run[1:]}", at + timedelta(hours=2)
        for hour in range(HOURS if night < nights - 1 else 7):
            yield "deadlines.checked", {"open": 0, "red": [], "legal": {}}, None, at + timedelta(hours=hour, minutes=10)


def _ended(run: str, at: datetime, policy: PolicyVersion) -> dict[str, Any]:
    versions = {"policy_version": policy.version, "policy_digest": policy.digest, "text_sha256": policy.text_sha256}
    nothing: dict[str, list[str]] = {name: [] for name in ("uncovered", "unverified", "unproved", "failed_tasks")}
    return {"attempt": 1, "run": run, "outcome": "clean", "problem": "", "as_of": at.isoformat(), **versions, **nothing}


def _keep(where: Connection, written: list[Record]) -> None:
    """The head of each end of a run, outside."""
    s3 = client(where)
    ensure_bucket(s3, "lethe", versioned=True)
    heads = [Head(seq=r.seq, digest=r.digest) for r in written if r.kind == "run.finished"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda head: s3.put_object(Bucket="lethe", Key=f"ledger/heads/{head.name}", Body=b"{}"), heads))
