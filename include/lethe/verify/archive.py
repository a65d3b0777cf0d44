"""The check of the archive's expiry: a listing of the check's own, held against the manifests as `lethe_db` has them now.

Shares nothing with the code that deletes: it asks boto3 itself, reads `lethe_db` by queries of its own, and judges the rows of an object
that a hold may keep one by one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lethe import settings
from lethe.catalog.model import Catalog
from lethe.connections import Connections
from lethe.control.tables import SCHEMA
from lethe.errors import LetheError
from lethe.plan.model import ExpiryPredicate, HoldScope, Step
from lethe.verify.batches import broken_batches, read_deleted, read_planned
from lethe.verify.changed import Reconciled
from lethe.verify.kept import Holder, kept_rows
from lethe.verify.result import BATCHES, EQUATION, OBJECTS, SIGHT, SURVIVORS, THERE, Check, Space
from lethe.verify.rows import Draft
from lethe.verify.shelf import Shelf
from lethe.verify.suite import Expected, judge
from lethe.verify.text import aware, literal, name

_DUE = text(
    f"""SELECT id, key, coalesce(version, 'null') AS version, state, rows, expires_at, ended_by, manifest ->> 'replaces' AS replaces, dataset,
       manifest ->> 'sha256' AS sha256, coalesce(CAST(manifest ->> 'size' AS bigint), -1) AS size, manifest ->> 'zone' AS zone,
       CAST(manifest ->> 'clock_is_a_day' AS boolean) AS whole_days, manifest #>> '{{names,key}}' AS named_key,
       manifest #>> '{{names,tenants}}' AS named_tenants, coalesce(manifest #> '{{names,identities}}', '[]') AS named_identities
  FROM {SCHEMA}.archive_objects WHERE dataset = :dataset AND law = :law AND expires_at <= :as_of AND state <> 'dropped'"""
)
_NAMED = text(f"SELECT DISTINCT object FROM {SCHEMA}.archive_subjects, unnest(digests) AS digest WHERE encode(digest, 'hex') = ANY(:names)")


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The due objects of a step, the rows that holds keep, by object, and of which anything is in the listing."""

    objects: Mapping[str, Any]
    held: Mapping[str, int]
    there: frozenset[str]


def check_expiry(
    chosen: Sequence[Step],
    *,
    catalog: Catalog,
    connections: Connections,
    control: Engine,
    control_connection: str,
    plan: str,
    attempt: int,
    holds: Sequence[HoldScope],
    digest_key: bytes,
) -> list[Draft]:
    """The drafts of the steps that expire archive objects, in rows. What cannot be listed or read is unknown."""
    from botocore.exceptions import BotoCoreError, ClientError

    drafts = [Draft(step=s) for s in chosen]
    asked: list[Expected] = []
    for draft in drafts:
        started = time.perf_counter()
        try:
            with control.connect() as lethe:
                draft.planned = read_planned(lethe, plan, attempt, draft.step.id)
                draft.deleted = read_deleted(lethe, plan, attempt, draft.step.id)
                holder = Holder.of(holds, digest_key, catalog)
                found = _look(lethe, Shelf.of(connections(settings.ARCHIVE)), draft, holder)
            _count(draft, found, plan)
            asked += _expected(draft, found, plan, attempt)
        except (LetheError, SQLAlchemyError, BotoCoreError, ClientError, ValueError) as error:
            draft.unknown(SIGHT, error)
        asked.append(Expected(step=draft.step.id, check=BATCHES, query=broken_batches(plan, attempt, draft.step.id)))
        draft.seconds = time.perf_counter() - started
    verdicts = judge(connections(control_connection), asked)
    for draft in drafts:
        draft.checks += verdicts.get(draft.step.id, [])
    return drafts


def _look(lethe: Any, shelf: Shelf, draft: Draft, holder: Holder) -> _Found:
    predicate = _predicate(draft.step)
    asked = {"dataset": predicate.dataset, "law": predicate.law, "as_of": predicate.as_of}
    # The manifests first, then the bucket: an object that comes in between is in no manifest read here, and is nobody's survivor.
    objects = {row.id: row for row in lethe.execute(_DUE, asked)}
    listing = shelf.listing(f"dataset={predicate.dataset}/")
    draft.space = Space(reclaimed=listing.versions, reason="" if listing.versions else "the bucket cannot be asked for old versions")
    live = {i: row for i, row in objects.items() if row.state in ("confirmed", "sealed")}
    missing = [i for i, row in live.items() if listing.size(row.key, row.version) != row.size]
    draft.checks.append(Check(name=SIGHT, status="passed", measured={"entries": listing.number}))
    detail = f"missing or replaced: {', '.join(sorted(missing)[:5])}" if missing else ""
    draft.checks.append(Check(name=THERE, status="failed" if missing else "passed", detail=detail, measured={"objects": len(missing)}))
    opened = _may_hold(lethe, live, holder)
    held = {i: kept_rows(shelf.get(live[i].key, live[i].version), live[i], holder) for i in opened if i not in missing}
    return _Found(objects=objects, held={i: n for i, n in held.items() if n}, there=listing.ids & objects.keys())


def _may_hold(lethe: Any, live: Mapping[str, Any], holder: Holder) -> set[str]:
    """The objects to open: all where a hold names nobody, else those that somebody a hold names is in. Uncountable where that cannot be told."""
    if not live or not holder.holds:
        return set()
    holder.refuse_other_key(live.values())
    if holder.names_nobody:
        return set(live)
    return set(lethe.scalars(_NAMED, {"names": sorted(holder.names(live.values()))})) & live.keys()


def _count(draft: Draft, found: _Found, plan: str) -> None:
    """Every term, each on its own."""
    planned, deleted = draft.planned, draft.deleted
    assert planned is not None and deleted is not None
    left = {i for i in found.there if found.objects[i].state in ("confirmed", "sealed")}
    survivors = sum(row.rows - found.held.get(i, 0) for i, row in found.objects.items() if i in found.there)
    held = sum(found.held.values())
    draft.left = {"due": sum(found.objects[i].rows for i in left), "held": held, "blocked": 0, "survivors": survivors}
    draft.quarantined, draft.past_expiry = 0, dict(found.held)
    draft.checks.append(Check(name=OBJECTS, status="failed" if survivors else "passed", measured={"left": survivors}))
    frozen = set(np.frombuffer(planned.keys or b"", dtype=np.int64).tolist())
    counted = {i for i in found.objects if _was_counted(found.objects, i, frozen)}
    arrived = sum(found.objects[i].rows for i in left - counted)
    rewritten = {row.replaces: row.rows for row in found.objects.values() if row.replaces and row.state != "announced"}
    over = {i: row for i, row in found.objects.items() if row.state in ("expired", "replaced") and row.ended_by != plan}
    elsewhere = sum(row.rows - rewritten.get(i, 0) for i, row in over.items() if i in counted)
    draft.reconciled = Reconciled(changed=elsewhere, arrived=arrived, elsewhere=elsewhere)
    draft.oldest_after = min((found.objects[i].expires_at for i in left), default=None)


def _was_counted(objects: Mapping[str, Any], number: str, frozen: set[int]) -> bool:
    """Did the plan count this object, or one that it was rewritten from?"""
    while _number(number) not in frozen:
        row = objects.get(number)
        if row is None or not row.replaces:
            return False
        number = row.replaces
    return True


def _number(id_: str) -> int:
    """What a plan remembers an object by (CONTRACT of frozen keys: archive.expiring.key64_of)."""
    return int.from_bytes(bytes.fromhex(id_[:16]), "big", signed=True)


def _expected(draft: Draft, found: _Found, plan: str, attempt: int) -> list[Expected]:
    """The fresh listing against the manifests, and the equation against the batches, each asked of `lethe_db` once more."""
    predicate, terms, step = _predicate(draft.step), draft.terms, draft.step.id
    whole = [i for i, n in found.held.items() if n == found.objects[i].rows]
    objects = f"{name(SCHEMA)}.archive_objects"
    left = (
        f"SELECT count(*) AS objects FROM {objects} AS o JOIN unnest({_array(sorted(found.there))}) AS t(id) ON t.id = o.id "
        f"WHERE o.dataset = {literal(predicate.dataset)} AND o.law = {literal(predicate.law)} AND o.expires_at <= {aware(predicate.as_of)} "
        f"AND NOT (o.state IN ('confirmed', 'sealed') AND o.id = ANY({_array(sorted(whole))})) HAVING count(*) > 0"
    )
    mine = f"plan = {literal(plan)} AND attempt = {int(attempt)} AND step = {literal(step)} AND state = 'committed'"
    done = f"(SELECT coalesce(sum(b.rows), 0) FROM {name(SCHEMA)}.batches AS b WHERE {mine})"
    before = (terms.planned or 0) + (terms.arrived or 0)
    after = (terms.held or 0) + (terms.changed or 0) + (terms.failed or 0)
    equation = f"SELECT {done} AS deleted WHERE {before} <> {done} + {after} OR {terms.failed or 0} <> 0"
    return [
        Expected(step=step, check=SURVIVORS, query=left, measured=(("survivors", terms.survivors or 0),)),
        Expected(step=step, check=EQUATION, query=equation),
    ]


def _array(ids: Sequence[str]) -> str:
    return f"CAST(ARRAY[{', '.join(literal(i) for i in ids)}] AS text[])"


def _predicate(step: Step) -> ExpiryPredicate:
    if not isinstance(step.predicate, ExpiryPredicate):
        raise TypeError(f"step {step.id} is not about the archive")
    return step.predicate
