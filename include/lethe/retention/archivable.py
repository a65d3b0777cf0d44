"""Before a run that archives is planned: can the archive keep what the law needs, and give it back exactly?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from lethe import settings
from lethe.catalog.live import LiveSchema
from lethe.errors import Unreachable
from lethe.plan.model import Plan
from lethe.plan.order import table_name
from lethe.workspace import Workspace


def refuse_unarchivable(workspace: Workspace, plan: Plan, live: Mapping[str, LiveSchema]) -> None:
    """Raises NotArchivable when the archive's bucket is missing, locks or deletes by itself, or is asked for no encryption, and for a column
    whose type could not be given back. A bucket that does not answer stops only the steps that archive, when they come to it."""
    archiving = [s for s in plan.steps if s.acts and s.archive is not None]
    if not archiving:
        return
    from lethe.archive.bucket import ArchiveBucket
    from lethe.archive.posture import refuse_unfit
    from lethe.stores.postgres.archived import projection

    for step in archiving:
        table = workspace.store(step.store or "").tables[step.dataset or ""]
        if step.archive is not None:
            projection(live[step.store or ""].tables[table_name(table)], step.archive.columns)
    with suppress(Unreachable):
        refuse_unfit(ArchiveBucket.of(workspace.connections(settings.ARCHIVE)).posture())
