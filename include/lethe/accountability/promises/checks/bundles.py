"""Access and portability: used when somebody asks, so use alone cannot keep them fresh.

Two looks keep them honest. Each day everything that answering needs is tried, short of a person: the statements are planned on the live schema,
the bucket answers, the connections are set. And every bundle that was ever given out must have its judgement on record, the last one a good one.
"""

from __future__ import annotations

from sqlalchemy import select

from lethe import settings
from lethe.accountability.promises import judges
from lethe.accountability.promises.look import Look
from lethe.accountability.promises.model import Seen
from lethe.accountability.promises.records import evidence_of
from lethe.control.exports import JUDGED
from lethe.control.tables import exports
from lethe.subjects.locating import Finder
from lethe.subjects.places import BUNDLES, place

DAG = "subject_export"


def ready(look: Look) -> Seen:
    """Could a person be answered now? Raises what a store, a statement or a setting raises."""
    if absent := look.no_dag(DAG):
        return Seen(absent=absent)
    workspace = look.workspace
    settings.request_key(workspace.connections(settings.CONTROL))
    workspace.connections(settings.MAIL)
    finder = Finder(workspace)
    for tenant in (False, True):
        finder.compiled(tenant=tenant)
    depot = place(workspace, BUNDLES)
    posture = depot.writing().posture()
    return look.now("" if posture.exists else "The bucket of bundles does not exist.")


def judged(look: Look) -> Seen:
    """The last judgement, and bundles that count as verified though no record says that anybody judged them.

    Fresh as of the look: that nobody asked for months is no fault of the promise.
    """
    said = {(b["request"], b["export"]) for b in (r.content for r in look.records.descending(JUDGED)) if b["outcome"] == "clean"}
    query = select(exports.c.request, exports.c.number).where(exports.c.state == "verified").order_by(exports.c.id)
    unsaid = [f"{request} ({number})" for request, number in look.control.execute(query) if (request, number) not in said]
    faults = [f"Bundles are called verified and no record says so: {judges.named(unsaid)}."] if unsaid else []
    last = look.records.newest(JUDGED)
    if last is None:
        return look.now(*faults)
    if last.content["outcome"] != "clean":
        faults.append(f"The last bundle that was judged was not given out: {last.content['outcome']}.")
    return Seen(evidence=evidence_of(last, at=look.at), faults=tuple(faults))
