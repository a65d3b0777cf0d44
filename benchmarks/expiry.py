"""The archive's expiry, against bare DeleteObjects of as many keys; and by manifests alone, finding the objects that one person is in, and putting
on record who is in one."""

from __future__ import annotations

import random
import statistics
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa

from benchmarks.archive import TERMS
from benchmarks.bucket import Shelf, counted, shelf
from benchmarks.ground import admin, seconds
from benchmarks.score import Row, at_least, at_most, told
from benchmarks.stores import AS_OF, DIGEST_KEY, LOGS, catalog_of, plan_of
from benchmarks.world import Ground
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.expiring import Judge, count
from lethe.archive.finding import find
from lethe.archive.keys import manifest_key, object_key
from lethe.archive.manifests import announce, store
from lethe.archive.model import CLOCK, KEY64, PERSONS, TENANT, ArchivedColumn, Manifest, NamedBy
from lethe.archive.names import fingerprint
from lethe.archive.write import prepare
from lethe.connections import Connection
from lethe.control.plans import save_counts, save_plan
from lethe.control.tables import archive_objects as objects
from lethe.plan.expiry import ARCHIVE_STORE
from lethe.plan.model import ExpiryPredicate, Plan, Step
from lethe.purge.context import PurgeContext
from lethe.purge.run import run_group
from lethe.stores.s3.client import client

OBJECTS, FLOOR = 10_000, 2_000
"""Objects that expire; keys of the floor, whose time is scaled: its deletion is the same request, a thousand keys each."""

SEARCHED, PERSONS_EACH, IN = 1_000, 4_000, 10
"""Objects in which a person is sought, persons in each, and objects that each person is in."""

MANY, MANY_OBJECTS = 20_000, 40
"""Persons in an object that has many, and such objects."""

OVER, NOT_YET = date(2026, 5, 1), date(2036, 1, 1)
COLUMNS = (ArchivedColumn(name="id", source="bigint", kept_as="int64"), ArchivedColumn(name="message", source="text", kept_as="string"))
NAMES = NamedBy(key=fingerprint(DIGEST_KEY), tenants=None, identities=())
_THREADS = 8


def measure(ground: Ground) -> list[Row]:
    """All of it. Scaled with the rows of the ground where these are few."""
    scale = min(1.0, ground.rows / 5_000_000)
    return [_expiry(ground, max(100, int(OBJECTS * scale))), _finding(ground, max(50, int(SEARCHED * scale))), _recording(ground)]


def _expiry(ground: Ground, number: int) -> Row:
    """Small objects with their manifests, all of them over, no hold: read, compared, deleted and written down."""
    keys = max(200, FLOOR * number // OBJECTS)
    with shelf(lock=False) as kept:
        _put(kept, [(f"floor/{uuid.uuid4().hex}", b"x" * 2_000) for _ in range(keys)])
        bare = _delete_bare(kept) * 2 * number / keys
        step, plan = _archived(ground, kept, number)
        _counted(ground, kept, plan, step)
        with counted() as requests:
            took = seconds(partial(_expire, ground, kept, plan, step, number))
        store = kept.store
    detail = (
        f"{number:,} objects with their manifests in {took:.1f} s, {number / took:,.0f} a second, {requests[0]:,} requests; "
        f"bare DeleteObjects of {2 * number:,} keys {bare:.1f} s, scaled from {keys:,}; {store}; one round"
    )
    return at_least("expiry of the archive against bare DeleteObjects", [bare / took], 0.5, detail=detail)


def _put(kept: Shelf, wanted: Sequence[tuple[str, bytes]]) -> list[str | None]:
    """Puts these objects; their versions."""
    bucket = ArchiveBucket.of(kept.connection)
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda each: bucket.put(*each).version, wanted))


def _delete_bare(kept: Shelf) -> float:
    """Seconds of deleting every version that is there by requests of a thousand keys, listed beforehand."""
    s3, name = client(kept.connection), kept.connection.extra["bucket"]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=name)
    found: list[Any] = [{"Key": v["Key"], "VersionId": v["VersionId"]} for page in pages for v in page.get("Versions", [])]
    parts = [found[n : n + 1_000] for n in range(0, len(found), 1_000)]
    return seconds(lambda: [s3.delete_objects(Bucket=name, Delete={"Objects": part, "Quiet": True}) for part in parts])


def _archived(ground: Ground, kept: Shelf, number: int) -> tuple[Step, Plan]:
    """That many objects in the bucket and in `lethe_db`, of a law of their own; the step and the plan of their expiry."""
    law = f"Law {uuid.uuid4().hex[:8]}"
    data, manifests = _manifests(number, OVER, law)
    _put(kept, [(m.key, data) for m in manifests])
    _put(kept, [(manifest_key(m.key), m.to_json()) for m in manifests])
    bucket = ArchiveBucket.of(kept.connection)
    versions = {e.key: e.version for e in bucket.listing()}
    _record(ground, kept.connection.extra["bucket"], manifests, versions)
    predicate = ExpiryPredicate(dataset=LOGS, law=law, as_of=AS_OF, zone="UTC")
    step = Step(
        id=f"expiry-{law.lower().replace(' ', '-')}/{LOGS}",
        rule="logs",
        promise="p",
        dataset=None,
        store=ARCHIVE_STORE,
        predicate=predicate,
    )
    return step, plan_of(catalog_of(LOGS), LOGS, AS_OF).model_copy(update={"rules": (step.id,), "steps": (step,)})


def _manifests(number: int, on: date, law: str) -> tuple[bytes, list[Manifest]]:
    """Manifests of objects that all have the same bytes and none of Lethe's persons; the bytes."""
    rows = pa.table(
        {
            "id": pa.array(range(20), pa.int64()),
            "message": pa.array([f"row {n}" for n in range(20)]),
            CLOCK: pa.array([datetime(2016, 1, 1, tzinfo=UTC)] * 20, pa.timestamp("us", "UTC")),
            TENANT: pa.array([None] * 20, pa.string()),
            PERSONS: pa.array([[]] * 20, pa.list_(pa.string())),
            KEY64: pa.array(range(20), pa.int64()),
        }
    )
    plan = plan_of(catalog_of(LOGS, kept=("message",)), LOGS, AS_OF, TERMS.model_copy(update={"law": law, "columns": ("id", "message")}))
    made = prepare(rows, COLUMNS, on, plan=plan, attempt=1, step=plan.steps[0], names=NAMES)
    first = made.manifest
    ids = [uuid.uuid4().hex for _ in range(number)]
    keys = (object_key(LOGS, law, first.schema_digest, on, i) for i in ids)
    return made.data, [first.model_copy(update={"id": i, "key": key, "encryption": "aws:kms"}) for i, key in zip(ids, keys, strict=True)]


def _record(ground: Ground, bucket: str, manifests: Sequence[Manifest], versions: dict[str, str | None]) -> None:
    """Writes that these objects are sealed."""
    same = ("id", "key", "store", "dataset", "law", "plan", "attempt", "step", "expires_on", "expires_at", "rows")
    rows = [
        {name: getattr(m, name) for name in same}
        | {"bucket": bucket, "version": versions.get(m.key), "state": "sealed", "batch": 1, "manifest": m.model_dump(mode="json")}
        for m in manifests
    ]
    with ground.control.begin() as book:
        book.execute(objects.insert(), rows)


def _counted(ground: Ground, kept: Shelf, plan: Plan, step: Step) -> None:
    """Counts the step as a nightly run does."""
    with ground.control.begin() as book:
        counts = count(book, step, Judge(bucket=ArchiveBucket.of(kept.connection), holds=()))
        save_plan(book, plan)
        save_counts(book, plan.digest, 1, {step.id: counts})


def _expire(ground: Ground, kept: Shelf, plan: Plan, step: Step, number: int) -> None:
    def connections(name: str) -> Connection:
        return kept.connection if name == "archive_s3" else ground.connection(name, "lethe")

    context = PurgeContext(
        plan=plan, attempt=1, catalog=catalog_of(LOGS), connections=connections, control=ground.control, digest_key=DIGEST_KEY
    )
    (totals,) = run_group([step], context)
    if totals.error or totals.deleted != 20 * number:
        raise RuntimeError(f"{totals.deleted} rows expired of {20 * number}: {totals.error or 'no error'}")


# Finding


def _finding(ground: Ground, number: int) -> Row:
    """The objects that a person is in, by name, against a count of the same entries. No bucket is at hand."""
    _, manifests = _manifests(number, NOT_YET, "Law of finding")
    _record(ground, "nobody-looks-here", manifests, {})
    persons = number * PERSONS_EACH // IN
    with psycopg.connect(ground.server.url("lethe")) as connection:
        connection.execute(
            "INSERT INTO lethe.archive_subjects (object, kind, digests) "
            "SELECT i.ids[1 + n / %(each)s], 'person', array_agg(decode(md5((n %% %(persons)s)::text), 'hex')) "
            "FROM generate_series(0, %(all)s - 1) n, (SELECT %(ids)s::text[] AS ids) i GROUP BY 1",
            {"persons": persons, "each": PERSONS_EACH, "all": number * PERSONS_EACH, "ids": [m.id for m in manifests]},
        )
    admin(ground.server, "VACUUM (ANALYZE) lethe.archive_subjects", "lethe")
    took, floor = [], []
    with ground.control.connect() as book, psycopg.connect(ground.server.url("lethe"), autocommit=True) as connection:
        names = [row[0] for row in connection.execute("SELECT md5((n * 97)::text) FROM generate_series(1, 200) n").fetchall()]
        for name in names:
            floor.append(seconds(partial(_entries, connection, bytes.fromhex(name))))
            took.append(seconds(partial(_found, book, name)))
    with psycopg.connect(ground.server.url("lethe")) as connection:
        connection.execute("TRUNCATE lethe.archive_subjects, lethe.archive_objects")
    ms, least = statistics.median(took) * 1000, statistics.median(floor) * 1000
    detail = (
        f"{number:,} objects with {PERSONS_EACH:,} persons each, a person in {IN}; median of {len(took)} persons; "
        f"an indexed count(*) {least:.2f} ms, {ms / least:.1f} times; no object opened"
    )
    return at_most("finding one person in the archive", [ms], 10, "ms", detail=detail)


def _recording(ground: Ground) -> Row:
    """Writing that an object is stored and who is in it: many persons, of ten times as many."""
    _, manifests = _manifests(MANY_OBJECTS, NOT_YET, "Law of recording")
    chosen, took = random.Random(1), []
    persons = [chosen.randbytes(16).hex() for _ in range(10 * MANY)]
    with ground.control.connect() as book:
        for manifest in manifests:
            whole = manifest.model_copy(update={"persons": tuple(sorted(chosen.sample(persons, MANY)))})
            with book.begin():
                announce(book, [whole], "nobody-looks-here")
            with book.begin():
                took.append(1000 * seconds(partial(store, book, {whole.id: (whole, None)}, 1)))
    with psycopg.connect(ground.server.url("lethe")) as connection:
        (room,) = connection.execute("SELECT pg_total_relation_size('lethe.archive_subjects')").fetchone() or (0,)
        connection.execute("TRUNCATE lethe.archive_subjects, lethe.archive_objects")
    detail = f"{MANY_OBJECTS} objects of {MANY:,} persons each, {room / len(took) / MANY:.0f} bytes a person and object, indexes included"
    return told("putting on record who is in an archive object", took, "ms", detail)


def _entries(connection: psycopg.Connection, digest: bytes) -> None:
    connection.execute("SELECT count(*) FROM lethe.objects_naming('person', ARRAY[%s::bytea])", [digest]).fetchone()


def _found(book: Any, name: str) -> None:
    if len(find(book, [name])) != IN:
        raise RuntimeError("a person was not found in as many objects as it is in")
