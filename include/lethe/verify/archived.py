"""The check of steps that archive: what the batches say they archived is in sealed objects that lie in the archive's bucket.

Lethe's own database is asked by queries of the check's own, the bucket is listed anew. That each row's values are right was compared
before its deletion; `lethe verify --deep` reads every object again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lethe import settings
from lethe.connections import Connections
from lethe.control.tables import SCHEMA
from lethe.errors import LetheError
from lethe.verify.result import ARCHIVED, SEALED, THERE, Check
from lethe.verify.rows import Draft
from lethe.verify.shelf import Shelf
from lethe.verify.suite import Expected, judge
from lethe.verify.text import literal, name

_OBJECTS = text(
    f"""SELECT id, key, coalesce(version, 'null') AS version, coalesce(CAST(manifest ->> 'size' AS bigint), -1) AS size FROM {SCHEMA}.archive_objects
 WHERE plan = :plan AND attempt = :attempt AND step = :step AND state IN ('confirmed', 'sealed')"""
)


def check_archived(
    drafts: Sequence[Draft], *, connections: Connections, control: Engine, control_connection: str, plan: str, attempt: int
) -> None:
    """Gives each draft of a step that archives the checks ARCHIVED, THERE and SEALED; what cannot be asked is unknown."""
    from botocore.exceptions import BotoCoreError, ClientError

    asked: list[Expected] = []
    archiving = [d for d in drafts if d.step.archive is not None]
    for draft in archiving:
        try:
            with control.connect() as lethe:
                found = lethe.execute(_OBJECTS, {"plan": plan, "attempt": attempt, "step": draft.step.id}).all()
            lockable = False
            if found:
                shelf = Shelf.of(connections(settings.ARCHIVE))
                _look(draft, shelf, found)
                lockable = shelf.can_lock()
            asked.append(Expected(step=draft.step.id, check=ARCHIVED, query=_broken_sum(plan, attempt, draft.step.id)))
            asked.append(Expected(step=draft.step.id, check=SEALED, query=_broken_seals(plan, attempt, draft.step.id, lockable)))
        except (LetheError, SQLAlchemyError, BotoCoreError, ClientError) as error:
            draft.unknown(THERE, error)
    if asked:
        verdicts = judge(connections(control_connection), asked)
        for draft in archiving:
            draft.checks += verdicts.get(draft.step.id, [])


def _look(draft: Draft, shelf: Shelf, found: Sequence[Any]) -> None:
    """Is each object in a fresh listing, in its version and size?"""
    listing = shelf.listing(f"dataset={draft.step.dataset}/")
    missing = sorted(row.id for row in found if listing.size(row.key, row.version) != row.size)
    detail = f"missing or replaced: {', '.join(missing[:5])}" if missing else ""
    measured = {"objects": len(found), "missing": len(missing)}
    draft.checks.append(Check(name=THERE, status="failed" if missing else "passed", detail=detail, measured=measured))


def _broken_sum(plan: str, attempt: int, step: str) -> str:
    """One row when the manifests have another number of rows than the batches say they archived. An object that expired or was rewritten
    since counts with what it held; a rewritten one has another plan."""
    mine = f"plan = {literal(plan)} AND attempt = {int(attempt)} AND step = {literal(step)}"
    said = (
        f"SELECT coalesce(sum(CAST(details ->> 'archived' AS bigint)), 0) FROM {name(SCHEMA)}.batches WHERE {mine} AND state = 'committed'"
    )
    states = "state IN ('confirmed', 'sealed', 'expired', 'replaced')"
    there = f"SELECT coalesce(sum(rows), 0) FROM {name(SCHEMA)}.archive_objects WHERE {mine} AND {states}"
    return f"SELECT n.said, n.there FROM (SELECT ({said}) AS said, ({there}) AS there) AS n WHERE n.said <> n.there"


def _broken_seals(plan: str, attempt: int, step: str, lockable: bool) -> str:
    """One row when an object has no manifest beside it, or no lock until its expiry in a bucket that can lock."""
    lock = "OR (lock_until IS DISTINCT FROM expires_at AND expires_at > sealed_at)" if lockable else ""
    return (
        f"SELECT count(*) AS unsealed FROM {name(SCHEMA)}.archive_objects WHERE plan = {literal(plan)} AND attempt = {int(attempt)} "
        f"AND step = {literal(step)} AND (state IN ('announced', 'stored', 'confirmed') OR (state = 'sealed' AND (false {lock}))) "
        "HAVING count(*) > 0"
    )
