"""Makes the promise report: assessed, rendered, kept outside, recorded; then red, when a control that was built does not hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lethe import settings
from lethe.accountability.pages import CONTENT_TYPES
from lethe.accountability.promises.assess import assess
from lethe.accountability.promises.model import PromiseReport
from lethe.accountability.promises.published import REPORTED, texts
from lethe.accountability.promises.records import Records
from lethe.accountability.promises.rendering import render
from lethe.errors import PromiseBroken
from lethe.evidence.heads import S3Heads, keep_head
from lethe.evidence.ledger import append
from lethe.reports.whole import write_whole
from lethe.workspace import Workspace

_NAMED = 6


def make_report(workspace: Workspace, *, at: datetime, dags: Path) -> dict[str, Any]:
    """Writes the report as of now (`at`) into `lethe_s3`, and into `LETHE_REPORTS_DIR` where that is set; records it; returns verdicts and keys.

    Raises PromiseBroken, after everything is written, when a control that was built fails, is stale or was lost, or a promise has none.
    What the policy's own files say is still to be built is missing in the report, and does not make it red each day. Raises ReportNotWritten,
    and Unreachable when a store of Lethe's own does not answer.
    """
    report = assess(workspace, at=at, dags=dags)
    files = render(report)
    keys = _publish(workspace, at, files)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with workspace.control.begin() as control:
        recorded = append(control, REPORTED, _body(report, digests, Records(connection=control), workspace), at=at)
    with workspace.control.connect() as control:
        keep_head(control, S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET)), "promises")
    if report.broken:
        raise PromiseBroken(
            problem_of(report), fix="Open the report: each promise names its control and what to look at. `lethe promises` prints it."
        )
    return {"record": recorded.seq, "verdicts": report.counts, "unbound": len(report.unbound), "files": keys}


def problem_of(report: PromiseReport) -> str:
    """The promises that are broken, and by which control."""
    broken = [f"{p.id} ({', '.join(f'{c.id} {c.verdict.value}' for c in p.controls if c.broken) or 'no control'})" for p in report.broken]
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"{len(broken)} of {len(report.promises)} promises are broken: {'; '.join(broken[:_NAMED])}{more}."


def _body(report: PromiseReport, digests: Mapping[str, str], records: Records, workspace: Workspace) -> dict[str, Any]:
    policy = workspace.policies.version(report.policy_version)
    return {
        "as_of": report.at.isoformat(),
        "policy_version": report.policy_version,
        "policy_digest": report.policy_digest,
        "texts": texts(records, policy),
        "verdicts": {p.id: p.verdict.value for p in report.promises},
        "controls": {c.id: c.verdict.value for p in report.promises for c in p.controls if c.kind.value != "unbuilt"},
        "looks": {name: list(faults) for name, faults in report.looks.items()},
        "unbound": len(report.unbound),
        "unpublished": [u.rule for u in report.unpublished],
        "unnamed_transfers": [f"{t.entry}: {t.country}" for t in report.transfers.unnamed],
        "ledger": {"records": report.ledger.records, "sound": not report.ledger.problem},
        "files": dict(digests),
    }


def _publish(workspace: Workspace, at: datetime, files: Mapping[str, bytes]) -> dict[str, str]:
    """Puts the files where runs put theirs; their keys by name."""
    from lethe.stores.s3.client import answering

    stem = f"{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
    bucket = workspace.bucket(settings.EVIDENCE_BUCKET)
    client = workspace.s3(settings.EVIDENCE_BUCKET)
    keys = {}
    for name, content in files.items():
        keys[name] = f"promises/{stem}.{name}"
        with answering(bucket):
            client.put_object(Bucket=bucket, Key=keys[name], Body=content, ContentType=CONTENT_TYPES[name])
    if folder := os.environ.get("LETHE_REPORTS_DIR"):
        for name, content in files.items():
            write_whole(Path(folder) / f"promises-{stem}.{name}", content)
    return keys
