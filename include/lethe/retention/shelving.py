"""The check of the archive, as `lethe verify` and the weekly audit make it."""

from __future__ import annotations

from datetime import datetime

from lethe import settings
from lethe.archive.auditing import ArchiveVerdict, audit_archive, living_objects
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.differences import ArchiveFinding
from lethe.policy.model import Need
from lethe.workspace import Workspace


def check_archive(workspace: Workspace, *, at: datetime, deep: bool = False) -> ArchiveVerdict:
    """Compares every manifest with the ledger and the archive's bucket (`archive.auditing`). Without a connection to it, an archive with objects is a finding.

    Raises Uncountable or Unreachable when the bucket cannot be listed.
    """
    if Need.ARCHIVE in workspace.met:
        bucket = ArchiveBucket.of(workspace.connections(settings.ARCHIVE))
        return audit_archive(workspace.control, bucket, at=at, deep=deep)
    objects = living_objects(workspace.control)
    text = f"The archive has {objects} objects by its manifests, and connection {settings.ARCHIVE} is not set: nothing of it was checked."
    findings = (ArchiveFinding(kind="bucket", text=text),) if objects else ()
    return ArchiveVerdict(objects=objects, rows=0, deep=False, findings=findings)
