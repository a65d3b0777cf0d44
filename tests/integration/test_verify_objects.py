"""The check of a bucket, by a listing of its own: what is left over, and what only looks gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.control import ControlDatabase
from lethe.catalog.model import Catalog, ObjectClock, Store
from lethe.connections import Connection
from lethe.control.plans import Counted, save_counts, save_plan
from lethe.plan.model import HoldScope, ObjectPredicate, Plan, Step
from lethe.policy.period import Period
from lethe.stores import s3
from lethe.stores.s3.count import survey
from lethe.verify.result import StepResult
from lethe.verify.run import verify_run

AS_OF = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
CUTOFF = datetime(2025, 11, 22, 23, 0, tzinfo=UTC)
START = datetime(2019, 1, 1, tzinfo=UTC)


class Logs:
    """A versioned bucket of logs with an older version, a delete marker and an unfinished upload, and a purge of it."""

    def __init__(self, server: ObjectServer, postgres: PostgresServer, control: ControlDatabase) -> None:
        self.bucket, self.server, self.postgres, self.control = f"logs-{uuid.uuid4().hex[:8]}", server, postgres, control
        self.client: Any = s3.client(self.connections("spotrak_s3"))
        self.client.create_bucket(Bucket=self.bucket)
        self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        for day in ("2025/11/21", "2025/11/22", "2025/11/23", "2026/01/01", "2999/01/01"):
            self.client.put_object(Bucket=self.bucket, Key=f"nginx/{day}/a.gz", Body=b"1")
        self.client.put_object(Bucket=self.bucket, Key="nginx/2025/11/21/a.gz", Body=b"2")
        self.client.delete_object(Bucket=self.bucket, Key="nginx/2025/11/21/a.gz")
        self.client.create_multipart_upload(Bucket=self.bucket, Key="nginx/2025/11/20/b.gz")
        self.predicate = ObjectPredicate(
            bucket=self.bucket, prefix="nginx/", clock=ObjectClock(key_date="nginx/%Y/%m/%d/"), cutoff=CUTOFF, start_of_service=START, as_of=AS_OF, zone="Europe/Paris"
        )  # fmt: skip
        step = Step(id="r/nginx", rule="r", promise="p", dataset="nginx", store="files", predicate=self.predicate)
        digests = {"policy_digest": "a" * 64, "text_sha256": "b" * 64, "catalog_digest": "c" * 64}
        self.plan = Plan(as_of=AS_OF, policy_version="v", rules=("r",), steps=(step,), **digests)
        found = survey(self.client, self.predicate, dataset="nginx")
        counted = Counted(counts=found.counts, details={"fingerprint": {"rows": found.counts.due, "xor": found.xor}}, keys=found.keys)
        with control.runtime.begin() as c:
            save_plan(c, self.plan)
            save_counts(c, self.plan.digest, 1, {"r/nginx": counted})

    def connections(self, id_: str) -> Connection:
        if id_ == "lethe_db":
            database = make_url(self.control.url).database or ""
            return Connection(id=id_, kind="postgres", host="127.0.0.1", port=self.postgres.port, login="lethe_runtime", database=database)
        return Connection(
            id=id_, kind="aws", login="k", password="s", extra={"endpoint_url": self.server.endpoint, "region_name": "us-east-1"}
        )

    def purge(self, holds: Sequence[HoldScope] = ()) -> None:
        """The real one; its batches written as the purge writes them."""
        results: list[s3.ObjectResult] = []
        s3.delete_due(self.client, self.predicate, on_batch=results.append, dataset="nginx", holding=lambda: nullcontext(holds))
        for r in results:
            self.wrote(r.number, r.deleted, {"fingerprint": r.xor, "failed": r.failed, "vanished": r.vanished})

    def wrote(self, number: int, rows: int, details: dict[str, int]) -> None:
        with self.control.runtime.begin() as c:
            c.execute(
                text(
                    "INSERT INTO lethe.batches (plan, attempt, step, number, state, technique, range, rows, details) "
                    "VALUES (:plan, 1, 'r/nginx', :number, 'committed', 'object versions', '{}', :rows, CAST(:details AS jsonb))"
                ),
                {"plan": self.plan.digest, "number": number, "rows": rows, "details": json.dumps(details)},
            )

    def verify(self, holds: Sequence[HoldScope] = ()) -> StepResult:
        prefix = {"bucket": self.bucket, "prefix": "nginx/", "role": "controller", "category": "logs", "purposes": ("run",)}
        store = Store.model_validate(
            {"id": "files", "kind": "s3", "connection": "spotrak_s3", "start_of_service": START, "prefixes": {"nginx": prefix}}
        )
        (result,) = verify_run(
            self.plan, catalog=Catalog(purposes={"run": "r"}, stores=(store,)), connections=self.connections, control=self.control.runtime, attempt=1,
            holds=holds, backup_window=Period("P35D"), zone="Europe/Paris", at=AS_OF,
        )  # fmt: skip
        return result


@pytest.fixture
def logs(moto: ObjectServer, postgres: PostgresServer, control: ControlDatabase) -> Logs:
    return Logs(moto, postgres, control)


def test_a_bucket_without_version_marker_or_upload_is_clean_at_l2(logs: Logs) -> None:
    logs.purge()
    result = logs.verify()
    assert (result.outcome, result.level, result.reasons) == ("clean", "L2", ())
    assert (result.terms.planned, result.terms.deleted, result.terms.quarantined) == (5, 5, 1)
    assert result.oldest_after == CUTOFF


def _hides(logs: Logs) -> None:
    """A purge that only puts delete markers, and says that it deleted."""
    for day in ("2025/11/21", "2025/11/22"):
        logs.client.delete_object(Bucket=logs.bucket, Key=f"nginx/{day}/a.gz")
    logs.wrote(1, 5, {})


def _forgets_uploads(logs: Logs) -> None:
    logs.purge()
    logs.client.create_multipart_upload(Bucket=logs.bucket, Key="nginx/2025/11/20/c.gz")


@pytest.mark.parametrize("broken", [_hides, _forgets_uploads, lambda logs: None])
def test_what_only_looks_gone_is_a_survivor(logs: Logs, broken: Callable[[Logs], None]) -> None:
    broken(logs)
    result = logs.verify()
    assert (result.outcome, result.level, result.l4_on) == ("survivors", None, None)


def test_entries_that_the_store_refused_are_never_clean(logs: Logs) -> None:
    logs.purge()
    logs.wrote(99, 0, {"failed": 1})
    assert logs.verify().outcome == "unknown"


def test_held_objects_do_not_fail(logs: Logs) -> None:
    holds = [HoldScope(id=1, dataset="nginx")]
    logs.purge(holds)
    result = logs.verify(holds)
    assert (result.outcome, result.terms.held, result.terms.deleted) == ("clean", 5, 0), result.reasons


def test_a_bucket_that_is_not_there_is_unknown(logs: Logs) -> None:
    logs.purge()
    connections = logs.connections
    logs.connections = lambda id_: (
        connections(id_) if id_ == "lethe_db" else Connection(id=id_, kind="aws", extra={"endpoint_url": "http://127.0.0.1:9"})
    )  # type: ignore[method-assign]
    result = logs.verify()
    assert (result.outcome, result.terms.survivors) == ("unknown", None)
