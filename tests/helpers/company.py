"""A small company for tests of whole nights: a policy folder of its own beside a `World`, and the library's own way through a night."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import yaml

from demo.buckets import ensure_bucket
from demo.objects import ObjectServer
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, ROLES, STORE, World
from lethe.catalog.model import Exemption
from lethe.connections import parse
from lethe.control.maintenance import AIRFLOW_CLEAN, record_success
from lethe.control.results import Verified, load_results
from lethe.errors import NotClean, PurgeFailed
from lethe.instants import now
from lethe.retention import PlannedRun, Verdict, guard_run, plan_run, purge_run_group, record_run, verify_run
from lethe.stores.s3.client import client
from lethe.workspace import Workspace

CATEGORIES = ("logs", "acts", "threads", "messages")
"""Datasets with a rule of their own name; every other dataset of the store has none."""

VERSION = "2026-05-01"
TEXT = "Logs are deleted after a year.\n"


def twelve_months(*datasets: str, **changes: str) -> dict[str, str]:
    """A period of twelve months for each dataset, with changes of single ones."""
    return dict.fromkeys(datasets, "P12M") | changes


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a night did. `red`: why its record raised; `failed`: why groups of the purge did."""

    planned: PlannedRun
    verdict: Verdict
    deleted: Mapping[str, int]
    results: Mapping[str, Verified]
    red: str
    failed: tuple[str, ...] = ()

    @property
    def limits(self) -> set[str]:
        """The limits that the guard found passed."""
        return {f.limit for f in self.verdict.findings}

    def terms(self, step: str) -> Mapping[str, Any]:
        """The terms of a step, as the check counted them."""
        return self.results[step].terms


@dataclass(frozen=True, kw_only=True)
class Company:
    """A world with a folder of policies and the environment that leads there."""

    world: World
    folder: Path

    def policy(self, periods: Mapping[str, str], *, max_share: float = 0.6, max_rows: int = 1_000_000) -> None:
        """Writes the one version of the policy: a rule for each dataset, named like it, with that period."""
        version = self.folder / VERSION
        version.mkdir(parents=True, exist_ok=True)
        (version / "policy.txt").write_text(TEXT)
        head: dict[str, Any] = {
            "company": "Small LLC",
            "published_on": VERSION,
            "effective_on": VERSION,
            "time_zone": "Europe/Paris",
            "authority": "CNIL",
            "representative": None,
            "transfers": [],
            "text_file": "policy.txt",
            "text_sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
            "backup_window": "P35D",
            "guard": {"max_share": max_share, "max_rows": max_rows, "max_times_usual": 10},
            "unbound": [],
        }
        rules = [
            {"id": d, "promise": "p", "category": d, "role": "controller", "clock": "age", "period": period, "why": "A test."}
            for d, period in periods.items()
        ]
        promise: dict[str, Any] = {"id": "p", "quotes": [TEXT.strip()], "means": "Old logs go.", "proof": "A count."}
        promise["controls"] = [{"rule": d} for d in periods]
        for name, body in (
            ("policy", head),
            ("rules", {"rules": rules}),
            ("promises", {"fresh_for": {"rule": "PT26H"}, "promises": [promise]}),
        ):
            (version / f"{name}.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
        catalog = self.folder / "catalog"
        catalog.mkdir(exist_ok=True)
        tables = {
            name: table.model_copy(update={"category": name if name in CATEGORIES else "rest"}) for name, table in STORE.tables.items()
        }
        ended = {c: column for c, column in tables["contracts"].columns.items() if c != "at"}  # a contract has no such column
        tables["contracts"] = tables["contracts"].model_copy(update={"columns": ended})
        lethe = Exemption(name="lethe", reason="Lethe's own tables lie in the same database here.", owner="privacy", until=date(2099, 1, 1))
        store = STORE.model_copy(update={"tables": tables, "schemas": ("app",), "exempt": (lethe,)})
        (catalog / "purposes.yaml").write_text(yaml.safe_dump({"purposes": {"p": "a purpose"}}))
        (catalog / "source.yaml").write_text(
            yaml.safe_dump(store.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=False)
        )

    def open(self) -> Workspace:
        """The library's own start, by the environment."""
        return Workspace.open()

    def night(
        self,
        *,
        as_of: datetime = AS_OF,
        rules: Sequence[str] | None = None,
        pace: Any = "full",
        before: Callable[[PlannedRun], object] = lambda planned: None,
        beside: AbstractContextManager[object] | None = None,
        beside_all: AbstractContextManager[object] | None = None,
        whatever_the_guard_says: bool = False,
    ) -> Night:
        """Plan, guard, purge, verify, record, as the DAG does them; a plan that waits is not purged, unless it is tried all the same.

        `before` is called between guard and purge; `beside` is open while the purge runs, `beside_all` from before the plan to the end.
        """
        with self.open() as workspace, beside_all or nullcontext():
            planned = plan_run(workspace, as_of=as_of, rules=rules, pace=pace, dry_run=False)
            run = (planned.digest, planned.attempt)
            verdict = guard_run(workspace, *run)
            deleted: dict[str, int] = {}
            failed: list[str] = []
            if not verdict.waits or whatever_the_guard_says:
                before(planned)
                with beside or nullcontext():
                    for group in planned.groups:
                        try:
                            deleted |= purge_run_group(workspace, *run, group.steps)
                        except PurgeFailed as error:
                            failed.append(str(error))
            verify_run(workspace, *run)
            red = ""
            try:
                record_run(workspace, *run)
            except NotClean as error:
                red = error.problem
            with workspace.control.connect() as control:
                results = load_results(control, *run)
        return Night(planned=planned, verdict=verdict, deleted=deleted, results=results, red=red, failed=tuple(failed))


@contextmanager
def company_of(world: World, moto: ObjectServer, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Company]:
    """The environment of a company over that world, with a bucket of its own; Airflow's own records count as cleaned."""
    bucket = f"lethe-{uuid.uuid4().hex[:8]}"
    objects = f"aws://key:secret@/?{urlencode({'endpoint_url': moto.endpoint, 'region_name': 'us-east-1'})}"
    ensure_bucket(client(parse("x", objects)), bucket, versioned=True)
    name = world.url.rsplit("/", 1)[1]
    logins = {**ROLES, "lethe_db": "lethe_runtime", "lethe_approver": "lethe_approver"}
    for old in [n for n in os.environ if n.startswith(("AIRFLOW_CONN_", "LETHE_"))]:
        patch.delenv(old)
    for connection, role in logins.items():
        patch.setenv(f"AIRFLOW_CONN_{connection.upper()}", world.server.url(name, user=role))
    patch.setenv("AIRFLOW_CONN_LETHE_S3", f"{objects}&bucket={bucket}")
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    patch.setenv("LETHE_POLICY_DIR", str(folder))
    with world.control.runtime.begin() as control:
        record_success(control, AIRFLOW_CLEAN, now())
    yield Company(world=world, folder=folder)


@dataclass(kw_only=True)
class Client:
    """Another client of the database: `act(connection)` again and again, in a thread, from entering to leaving.

    What `act` returns is collected in `did`; an error of it ends the client, and is raised on leaving.
    """

    url: str
    act: Callable[[psycopg.Connection], Any]
    did: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _first: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Client:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert self._first.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self._stop.is_set():
                    done = self.act(connection)
                    self._first.set()
                    if done is not None:
                        self.did.append(done)
        except BaseException as error:
            self.error = error
        finally:
            self._first.set()
