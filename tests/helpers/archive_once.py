"""One purge that archives, in a process of its own, so that a fault can kill it. Forked from a server that has imported all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import create_engine

from helpers.archiving import archiving
from helpers.control import DIGEST_KEY
from helpers.forking import forked
from helpers.purging import CATALOG, QUICK, ROLES, plan_of, step
from lethe.connections import Connection
from lethe.plan.model import Step
from lethe.purge.context import PurgeContext
from lethe.purge.run import run_group

DATASETS = ("logs", "messages", "threads", "consents")


def steps() -> list[Step]:
    """One of each technique: plain, a cycle of which one table is archived, careful."""
    kept = {"logs": ("id", "at", "tenant_id", "note"), "messages": ("id", "thread_id", "at"), "consents": ("id", "at")}
    return [archiving(d, kept[d]) if d in kept else step(d) for d in DATASETS]


def main(port: int, database: str, archive: Mapping[str, Any], faults: str, log: str, answer: str) -> None:
    """Purges and writes the totals, as JSON, to the file `answer`. `archive`: login, password and extra of the bucket's connection."""
    os.environ["LETHE_FAULTS"] = faults
    if log:
        os.environ["LETHE_FAULTS_LOG"] = log

    def connections(name: str) -> Connection:
        if name == "archive_s3":
            return Connection(id=name, kind="aws", **archive)
        return Connection(id=name, kind="postgres", host="127.0.0.1", port=port, login=ROLES[name], database=database)

    context = PurgeContext(
        plan=plan_of(*steps()),
        attempt=1,
        catalog=CATALOG,
        connections=connections,
        control=create_engine(f"postgresql+psycopg://lethe_runtime@127.0.0.1:{port}/{database}"),
        limits=replace(QUICK, archive_window=200),  # enough batches for two lanes
        digest_key=DIGEST_KEY,
        reclaim=False,
    )
    with patch("lethe.stores.s3.client._ATTEMPTS", 2):  # one failure is survived, a bucket that stays away is found so at once
        Path(answer).write_text(json.dumps([asdict(t) for t in run_group(steps(), context)]))


def process(port: int, database: str, archive: Mapping[str, Any], *, faults: str, log: str, answer: str) -> BaseProcess:
    """A process that will do `main`; not started yet."""
    return forked(main, port, database, dict(archive), faults, log, answer)
