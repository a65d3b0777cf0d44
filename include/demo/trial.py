"""A demo of its own for a trial of the whole, a test or a measurement: PostgreSQL, object store, Airflow, in a folder that goes away again."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from unittest.mock import patch

import psycopg

from demo import airflow, databases, environment, load, services
from demo.home import Home
from lethe.control.maintenance import AIRFLOW_CLEAN, record_success
from lethe.evidence.ledger import records
from lethe.instants import now
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A running demo, and the instant that its data is dated from."""

    home: Home
    as_of: datetime

    def sql(self, database: str = "spotrak") -> psycopg.Connection:
        """A superuser's connection, each statement committed at once."""
        return psycopg.connect(databases.server(self.home).url(database), autocommit=True)

    def number(self, statement: LiteralString, *values: object) -> int:
        """The one number that a query on Spotrak's database gives; LookupError when it gives no row."""
        with self.sql() as connection:
            row = connection.execute(statement, values).fetchone()
        if row is None:
            raise LookupError("the query gave no row")
        return int(row[0])

    def evidence(self, kind: str) -> list[Mapping[str, Any]]:
        """The bodies of the ledger's records of that kind, oldest first."""
        with Workspace.open() as workspace, workspace.control.connect() as control:
            return [r.content for r in records(control, kind=kind)]

    def alerts(self) -> list[dict[str, Any]]:
        """What the listener for alerts got so far."""
        file = self.home.log(services.ALERTS).with_suffix(".jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def demo_in(folder: Path, *, scale: float, canary: bool) -> Iterator[Demo]:
    """Starts the services in `folder`, loads the data as of a whole hour that is over, and ends everything afterwards."""
    before = dict(os.environ)
    home = Home((folder / "demo").resolve())
    as_of = (now() - timedelta(minutes=10)).replace(minute=0, second=0, microsecond=0)
    os.environ["LETHE_DEMO_HOME"] = str(home.folder)
    try:
        services.up(home, scale=0.001, as_of=as_of)  # loaded again below, with the canary
        theirs = environment.connections(home)
        load.load(
            databases.server(home).url("spotrak"),
            theirs["AIRFLOW_CONN_SPOTRAK_S3"],
            lethe_objects=theirs["AIRFLOW_CONN_LETHE_S3"],
            scale=scale,
            as_of=as_of,
            canary=canary,
            passwords=load.passwords_of(environment.variables(home)),
        )
        with Workspace.open() as workspace, workspace.control.begin() as control:
            record_success(control, AIRFLOW_CLEAN, now())  # a night whose Airflow was not cleaned is red, which is another test's
        yield Demo(home=home, as_of=as_of)
    finally:
        services.down(home)
        os.environ.clear()
        os.environ.update(before)


ENDING = 4.0
"""Seconds that the process of a task which parked itself may take to end, also on a busy machine."""


class TookTooLong(AssertionError):
    """A state did not come before its deadline."""


@dataclass(kw_only=True)
class Api:
    """Airflow's REST API, as one of the demo's people."""

    home: Home
    user: str
    token: str = field(default="", repr=False)

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's JSON; urllib's HTTPError when it is refused."""
        if not self.token:
            login = {"username": self.user, "password": self.home.secret(f"airflow.{self.user}")}
            self.token = self._send("POST", "/auth/token", login)["access_token"]
        return self._send(method, f"/api/v2{path}", body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        request = urllib.request.Request(
            environment.address(self.home) + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def trigger(self, dag: str, **conf: Any) -> str:
        """Starts a run by hand; its id."""
        return str(self("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def switch_on(self, dag: str) -> str:
        """Switches a DAG on; the id of the run that the scheduler makes for its last scheduled time, at once."""
        self("PATCH", f"/dags/{dag}?update_mask=is_paused", {"is_paused": False})
        found = until(lambda: self("GET", f"/dags/{dag}/dagRuns?run_type=scheduled")["dag_runs"], 60, lambda: f"no scheduled run of {dag}")
        return str(found[0]["dag_run_id"])

    def tasks(self, dag: str, run: str) -> dict[str, str | None]:
        """The state of each task of a run; of a mapped one, the worst told last."""
        found = self("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {t["task_id"]: t["state"] for t in sorted(found, key=lambda t: t["state"] in ("failed", "upstream_failed"))}

    def ended(self, dag: str, run: str, *, seconds: float = 240) -> str:
        """The state that a run ends in."""
        path = f"/dags/{dag}/dagRuns/{run}"
        return str(until(lambda: (s := self("GET", path)["state"]) in ("success", "failed") and s, seconds, lambda: self.tasks(dag, run)))

    def waits(
        self, run: str, *, dag: str = "retention_purge", task: str = "guard", index: int = -1, seconds: float = 180
    ) -> dict[str, Any]:
        """What a task of a run asks a person, once it does, and the process that asked has had time to end.

        Airflow 3.3.2 takes an answer that comes in that moment for a failure: the task is resumed while its old process still ends. Its
        next try finds the decision, or asks again (`decide`). People are slower.
        """
        path = _asked_at(dag, run, task, index)

        def asked() -> Any:
            try:
                question = self("GET", path)
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                return None
            return question if self.tasks(dag, run)[task] in ("awaiting_input", "deferred") else None

        question = dict(until(asked, seconds, lambda: self.tasks(dag, run)))
        time.sleep(ENDING)
        return question

    def answer(self, run: str, option: str, *, dag: str = "retention_purge", task: str = "guard", index: int = -1) -> None:
        """Answers what the run asks."""
        self("PATCH", _asked_at(dag, run, task, index), {"chosen_options": [option], "params_input": {}})

    def decide(
        self, run: str, option: str, *, dag: str = "retention_purge", task: str = "guard", index: int = -1, seconds: float = 240
    ) -> str:
        """Answers what the run asks, and again should it ask again; the state that the task ends in. The first answer must be taken."""
        self.answer(run, option, dag=dag, task=task, index=index)

        def ended() -> str | None:
            state = self.tasks(dag, run)[task]
            if state in ("awaiting_input", "deferred") and not self("GET", _asked_at(dag, run, task, index))["response_received"]:
                self.answer(run, option, dag=dag, task=task, index=index)
            return state if state in ("success", "skipped", "failed", "upstream_failed") else None

        return str(until(ended, seconds, lambda: self.tasks(dag, run)))


def _asked_at(dag: str, run: str, task: str, index: int) -> str:
    return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/{index}/hitlDetails"


def until(found: Callable[[], Any], seconds: float, state: Callable[[], object]) -> Any:
    """What `found()` gives once it is not empty; TookTooLong, with `state()`, after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() > end:
            raise TookTooLong(f"not within {seconds:.0f} s: {state()}")
        time.sleep(0.5)
    return value


@contextmanager
def airflow_of(demo: Demo) -> Iterator[Api]:
    """Starts Airflow's four programs as `make up` does, and hands out the API as `admin`. DAGs are still off.

    It is noon for their schedules: a night that begins by itself amid a trial would wait for an approval, and every run by hand for it.
    """
    for name in ("airflow", "airflow.worker-logs", "airflow.trigger-logs"):
        services.own_port(demo.home, name)
    with patch.dict(os.environ, LETHE_SCHEDULE_ZONE=noon_zone(now())):
        environment.write(demo.home)
        with demo.home.alone():
            airflow.up(demo.home)
    api = Api(home=demo.home, user="admin")
    known = {"retention_purge", "policy_audit", "missed_runs"}
    until(lambda: known <= {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 90, lambda: api("GET", "/importErrors"))
    yield api
    airflow.down(demo.home)


def noon_zone(at: datetime) -> str:
    """The time zone in which the hour of an instant is twelve."""
    west = at.astimezone(UTC).hour - 12
    return f"Etc/GMT{west:+d}" if west else "UTC"


def task_log(demo: Demo, dag: str, run: str, task: str) -> str:
    """What a task of a run logged, all tries and map indexes."""
    folder = demo.home.airflow / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}"
    return "\n".join(f.read_text(errors="replace") for f in sorted(folder.rglob("*.log")))
