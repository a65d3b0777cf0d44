"""`lethe verify`: is the ledger what was written?"""

from __future__ import annotations

from dataclasses import asdict

import typer

from lethe.cli.output import AsJson, print_json, say


def verify(as_json: AsJson = False) -> None:
    """Walks the ledger again, compares the heads kept outside, holds and approvals, and names the first broken record.

    Exit 1 when it is not sound.
    """
    from lethe import settings
    from lethe.control.agreement import verify_evidence
    from lethe.evidence.heads import S3Heads
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        heads = S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET))
        key = settings.digest_key(workspace.connections(settings.CONTROL))
        verdict = verify_evidence(workspace.control, heads, digest_key=key)
    if as_json:
        head = {"seq": verdict.head.seq, "digest": verdict.head.digest} if verdict.head else None
        print_json(
            {
                "sound": verdict.sound,
                "records": verdict.records,
                "head": head,
                "heads_compared": verdict.heads,
                "witnessed_to": verdict.witnessed_to,
                "first_broken": min((f.seq for f in verdict.findings), default=None),
                "findings": [asdict(f) for f in verdict.findings],
            }
        )
    else:
        for finding in verdict.findings:
            say(finding.text)
        if verdict.sound:
            end = f", head {verdict.head.digest}" if verdict.head else ""
            say(f"Sound: {verdict.records} records{end}; {verdict.heads} heads kept outside agree, up to record {verdict.witnessed_to}.")
    if not verdict.sound:
        raise typer.Exit(1)
