"""One purge in a process of its own, so that a fault can kill it. The processes are forked from a server that has imported all of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy import create_engine

from helpers.forking import forked
from helpers.purging import CATALOG, QUICK, ROLES, plan_of, step
from lethe.connections import Connection
from lethe.plan.model import Step
from lethe.purge.context import PurgeContext
from lethe.purge.run import run_group

DATASETS = ("logs", "views", "messages", "threads", "consents")


def steps() -> list[Step]:
    return [step(d) for d in DATASETS]


def main(port: int, database: str, faults: str, log: str, answer: str) -> None:
    """Purges and writes the totals, as JSON, to the file `answer`."""
    os.environ["LETHE_FAULTS"] = faults
    if log:
        os.environ["LETHE_FAULTS_LOG"] = log

    def connections(name: str) -> Connection:
        return Connection(id=name, kind="postgres", host="127.0.0.1", port=port, login=ROLES[name], database=database)

    plan = plan_of(*steps())
    context = PurgeContext(
        plan=plan,
        attempt=1,
        catalog=CATALOG,
        connections=connections,
        control=create_engine(f"postgresql+psycopg://lethe_runtime@127.0.0.1:{port}/{database}"),
        limits=replace(QUICK, window=100, most=100),  # enough batches for two lanes
    )
    Path(answer).write_text(json.dumps([asdict(t) for t in run_group(steps(), context)]))


def process(port: int, database: str, *, faults: str, log: str, answer: str) -> BaseProcess:
    """A process that will do `main`; not started yet."""
    return forked(main, port, database, faults, log, answer)
