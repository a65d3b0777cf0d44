"""What a check is given to look with, and what it gives back."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Connection

from lethe import settings
from lethe.accountability.promises.model import Evidence, Seen
from lethe.accountability.promises.records import Records
from lethe.control.agreement import verify_evidence
from lethe.evidence.heads import S3Heads
from lethe.evidence.verdict import Verdict
from lethe.policy.model import PolicyVersion
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Look:
    """One report's look at the world. `text`: the published text as it lies there; `dags`: the folder that Airflow reads."""

    workspace: Workspace
    policy: PolicyVersion
    at: datetime
    control: Connection
    records: Records
    dags: Path
    text: bytes

    @cached_property
    def ledger(self) -> Verdict:
        """The ledger, walked once for the whole report. Raises Unreachable when its heads cannot be read."""
        where = settings.EVIDENCE_BUCKET
        heads = S3Heads(self.workspace.s3(where), self.workspace.bucket(where))
        key = settings.digest_key(self.workspace.connections(settings.CONTROL))
        return verify_evidence(self.workspace.control, heads, digest_key=key)

    def no_dag(self, name: str) -> str:
        """Why there is no DAG of that name; empty when there is: a file called like it, which is Python and has a function of its name."""
        path = self.dags / f"{name}.py"
        try:
            tree = ast.parse(path.read_bytes())
        except OSError:
            return f"There is no DAG {name}: its file is not in the DAGs folder."
        except (SyntaxError, ValueError):
            return f"There is no DAG {name}: its file cannot be read as Python."
        there = any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)
        return "" if there else f"There is no DAG {name}: its file has no function of that name."

    def now(self, *faults: str) -> Seen:
        """What was looked at just now, and what is wrong with it."""
        return Seen(evidence=Evidence(kind="looked at", at=self.at, recorded_at=self.at), faults=tuple(f for f in faults if f))


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check by name. `says`: what it looks at, for the report. `live`: it looks at the stores now, so it cannot say how they were before."""

    read: Callable[[Look], Seen]
    says: str
    live: bool
