"""`lethe verify`: is the ledger what was written, and is the archive what its manifests say?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.cli.output import AsJson, print_json, say


def verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every object of the archive and compare its sha256; that is on record in the ledger.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Walks the ledger again, compares the heads kept outside, holds, approvals, requests, answers and bundles, and names the first broken record;
    then compares every manifest of the archive with a fresh listing of its bucket, and names what was deleted, written over, unlocked or is not ours.

    Exit 1 when one of them is not sound.
    """
    from lethe import settings
    from lethe.control.agreement import verify_evidence
    from lethe.evidence.heads import S3Heads
    from lethe.instants import now
    from lethe.retention.shelving import check_archive
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        heads = S3Heads(workspace.s3(settings.EVIDENCE_BUCKET), workspace.bucket(settings.EVIDENCE_BUCKET))
        key = settings.digest_key(workspace.connections(settings.CONTROL))
        verdict = verify_evidence(workspace.control, heads, digest_key=key)
        archive = check_archive(workspace, at=now(), deep=deep)
    sound = verdict.sound and archive.sound
    if as_json:
        head = {"seq": verdict.head.seq, "digest": verdict.head.digest} if verdict.head else None
        print_json(
            {
                "sound": sound,
                "records": verdict.records,
                "head": head,
                "heads_compared": verdict.heads,
                "witnessed_to": verdict.witnessed_to,
                "first_broken": min((f.seq for f in verdict.findings), default=None),
                "findings": [asdict(f) for f in verdict.findings],
                "archive": {"sound": archive.sound, **archive.model_dump(mode="json")},
            }
        )
    else:
        for text in [f.text for f in verdict.findings] + [f.text for f in archive.findings]:
            say(text)
        if verdict.sound:
            end = f", head {verdict.head.digest}" if verdict.head else ""
            say(f"Sound: {verdict.records} records{end}; {verdict.heads} heads kept outside agree, up to record {verdict.witnessed_to}.")
        if archive.sound and archive.objects:
            how = "every byte read" if deep else "by its listing; --deep reads every byte"
            say(f"The archive is sound: {archive.objects} objects, {archive.rows} rows ({how}).")
    if not sound:
        raise typer.Exit(1)
