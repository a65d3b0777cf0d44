"""The check of an object store's steps: a listing of the check's own, to its last page, judged by a day computed here.

Shares nothing with the code that deletes: it asks boto3 itself for versions, delete markers and unfinished uploads.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lethe.catalog.model import Store
from lethe.connections import Connection, Connections, bad_endpoint, require_https
from lethe.errors import LetheError
from lethe.plan.model import HoldScope, ObjectPredicate, Step
from lethe.verify.batches import broken_batches, read_deleted, read_planned
from lethe.verify.changed import Keys, reconcile
from lethe.verify.result import BATCHES, CHANGED, EQUATION, OBJECTS, SIGHT, SURVIVORS, Check
from lethe.verify.rows import Draft
from lethe.verify.suite import Expected, judge

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_MAKING = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A version, delete marker or unfinished upload: its digest, and from when to when its clock says it is (None: it says nothing)."""

    key64: int
    begins: datetime | None
    ends: datetime | None


def check_objects(
    store: Store,
    chosen: Sequence[Step],
    *,
    connections: Connections,
    control: Engine,
    control_connection: str,
    plan: str,
    attempt: int,
    holds: Sequence[HoldScope],
) -> list[Draft]:
    """The drafts of a bucket store's acting steps."""
    from botocore.exceptions import BotoCoreError, ClientError

    drafts = [Draft(step=s) for s in chosen]
    for draft in drafts:
        started = time.perf_counter()
        try:
            with control.connect() as lethe:
                draft.planned = read_planned(lethe, plan, attempt, draft.step.id)
                draft.deleted = read_deleted(lethe, plan, attempt, draft.step.id)
        except (LetheError, SQLAlchemyError) as error:
            draft.unknown(EQUATION, error)
        try:
            client = _client(connections(store.check_connection or store.connection))
            _count(client, draft, holds)
        except (LetheError, BotoCoreError, ClientError) as error:
            draft.unknown(SIGHT, error)
        draft.seconds = time.perf_counter() - started
    asked = [Expected(step=d.step.id, check=BATCHES, query=broken_batches(plan, attempt, d.step.id)) for d in drafts]
    for each in drafts:
        terms = each.terms
        for check, value in ((SURVIVORS, terms.survivors), (EQUATION, terms.balanced)):
            if value is not None:
                wrong = bool(value) if check == SURVIVORS else not value
                asked.append(Expected(step=each.step.id, check=check, query=f"SELECT 1 AS violated WHERE {'true' if wrong else 'false'}"))
    verdicts = judge(connections(control_connection), asked)
    for draft in drafts:
        draft.checks += verdicts.get(draft.step.id, [])
    return drafts


def _count(client: S3Client, draft: Draft, holds: Sequence[HoldScope]) -> None:
    predicate = draft.step.predicate
    if not isinstance(predicate, ObjectPredicate):
        raise TypeError(f"step {draft.step.id} is not about objects")
    left: list[tuple[int, bool]] = []
    quarantined, oldest = 0, None
    for thing in _listed(client, predicate):
        if thing.begins is None or thing.ends is None or thing.begins > predicate.as_of or thing.ends <= predicate.start_of_service:
            quarantined += 1
            continue
        oldest = thing.begins if oldest is None else min(oldest, thing.begins)
        if thing.ends <= predicate.cutoff:
            left.append((thing.key64, any(_keeps(h, draft.step, thing.begins, thing.ends) for h in holds)))
    held = sum(h for _, h in left)
    draft.left = {"due": len(left), "held": held, "blocked": 0, "survivors": len(left) - held}
    draft.quarantined, draft.oldest_after = quarantined, oldest
    draft.checks.append(Check(name=SIGHT, status="passed"))
    status = "failed" if len(left) - held else "passed"
    draft.checks.append(Check(name=OBJECTS, status=status, measured={"left": len(left) - held}))
    if draft.planned is None or draft.deleted is None:
        return
    keys = draft.planned.keys
    there = {k for k, _ in left}
    try:
        draft.reconciled = reconcile(
            draft.planned,
            draft.deleted,
            None if keys is None else np.frombuffer(keys, dtype=np.int64),
            left,
            fingerprint=_xor,
            look_up=lambda asked: (
                0,
                sum(int(k) not in there for k in asked),
            ),  # What was made at an instant stays made then: none changes its age.
        )
        draft.checks.append(Check(name=CHANGED, status="passed", measured={"elsewhere": draft.reconciled.elsewhere}))
    except (LetheError, ValueError) as error:
        draft.unknown(CHANGED, error)


def _xor(keys: Keys) -> int:
    return int(np.bitwise_xor.reduce(keys)) if len(keys) else 0


def _keeps(hold: HoldScope, step: Step, begins: datetime, ends: datetime) -> bool:
    """An object leads to no tenant and no person: a hold on one keeps it only when it names this dataset."""
    if hold.dataset != step.dataset and (hold.dataset is not None or hold.tenant is not None or hold.person is not None):
        return False
    return (hold.since is None or hold.since < ends) and (hold.until is None or hold.until >= begins)


def _client(connection: Connection) -> S3Client:
    from botocore.config import Config

    endpoint = connection.extra.get("endpoint_url") or None
    require_https(connection, endpoint)
    config = Config(s3={"addressing_style": "path" if endpoint else "auto"}, retries={"mode": "standard"})
    try:
        with _MAKING:
            made: S3Client = _session().client(
                "s3",
                endpoint_url=endpoint,
                config=config,
                aws_access_key_id=connection.login or None,
                aws_secret_access_key=connection.password or None,
                region_name=connection.extra.get("region_name") or "us-east-1",
            )
            return made
    except ValueError:
        raise bad_endpoint(connection, "endpoint_url or region_name") from None


@cache
def _session() -> Any:
    """The checks' own, one for the process."""
    import boto3

    return boto3.session.Session()


def _listed(client: S3Client, predicate: ObjectPredicate) -> Iterator[Thing]:
    """Everything under the prefix, to its last page."""
    prefix = predicate.prefix if predicate.prefix in ("", "/") or predicate.prefix.endswith("/") else f"{predicate.prefix}/"
    for page in client.get_paginator("list_object_versions").paginate(Bucket=predicate.bucket, Prefix=prefix):
        for kind, rows in (("version", page.get("Versions", [])), ("marker", page.get("DeleteMarkers", []))):
            for row in rows:
                yield _thing(predicate, kind, row["Key"], row.get("VersionId") or "null", row["LastModified"])
    for uploads in client.get_paginator("list_multipart_uploads").paginate(Bucket=predicate.bucket, Prefix=prefix):
        for upload in uploads.get("Uploads", []):
            yield _thing(predicate, "upload", upload["Key"], upload["UploadId"], upload["Initiated"])


def _thing(predicate: ObjectPredicate, kind: str, key: str, id_: str, made: datetime) -> Thing:
    """The digest is that of the frozen keys: kind, key and id, each after a zero byte."""
    hashed = hashlib.blake2b(f"{kind}\0{key}\0{id_}".encode(), digest_size=8).digest()
    begins, ends = _day(predicate, key) if predicate.clock.key_date else (made, made + timedelta(microseconds=1))
    return Thing(key64=int.from_bytes(hashed, signed=True), begins=begins, ends=ends)


def _day(predicate: ObjectPredicate, key: str) -> tuple[datetime | None, datetime | None]:
    """The first instant of the day (month, year) that a key names, and the first after it, in the policy's zone."""
    pattern = predicate.clock.key_date or ""
    zone = ZoneInfo(predicate.zone)
    found = re.match(re.sub(r"%([Ymd])", lambda f: rf"(?P<{f[1]}>[0-9]{{{4 if f[1] == 'Y' else 2}}})", _escaped(pattern)), key)
    if found is None:
        return None, None
    parts: dict[str, Any] = {name: int(value) for name, value in found.groupdict().items()}
    try:
        first = datetime(parts["Y"], parts.get("m", 1), parts.get("d", 1))  # noqa: DTZ001 - a calendar day, given its zone below
        if "d" in parts:
            after = first + timedelta(days=1)
        elif "m" in parts:
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            after = first.replace(year=first.year + 1)
    except (ValueError, OverflowError):
        return None, None
    return first.replace(tzinfo=zone).astimezone(UTC), after.replace(tzinfo=zone).astimezone(UTC)


def _escaped(pattern: str) -> str:
    return re.sub(r"%(?![Ymd])|[^%\w/-]", lambda f: re.escape(f[0]), pattern)
