"""What the benchmark of the archive does in a process of its own, so that its peak memory can be told: reads rows, or purges with an archive.

Reads jobs from stdin as JSON and does them one after the other; writes what it found to stdout as JSON.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from unittest.mock import patch

import pyarrow as pa
from sqlalchemy import Text, create_engine, func, select, text

from benchmarks.cpu import spent
from benchmarks.memory import peak
from benchmarks.stores import DIGEST_KEY, LOGS, catalog_of, connection_of
from lethe.archive import manifests, write
from lethe.archive.bucket import ArchiveBucket
from lethe.archive.memory import keep_for_the_next_batch
from lethe.archive.model import CLOCK, KEY64
from lethe.archive.parquet import to_parquet
from lethe.catalog.model import Catalog
from lethe.connections import Connection
from lethe.control.plans import Counted, load_counts, load_plan
from lethe.plan.model import ArchiveTerms, Plan, Predicate, Step
from lethe.purge import archiving
from lethe.purge.archive_books import ArchiveBooks
from lethe.purge.archiving import Archiver
from lethe.purge.batch import Runner
from lethe.purge.context import Limits, PurgeContext
from lethe.purge.known import KeysOfTheCount
from lethe.purge.run import run_group
from lethe.purge.sources import Sources
from lethe.stores.postgres import taking
from lethe.stores.postgres.archived import as_kept, projection
from lethe.stores.postgres.arrow import ArrowReader
from lethe.stores.postgres.delete import going, younger
from lethe.stores.postgres.describe import describe
from lethe.stores.postgres.plain import ClockWindows, Plain, Size
from lethe.stores.postgres.predicate import Target
from lethe.stores.postgres.taking import Reading

LANES = 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """`read`: the due rows become Parquet, which is thrown away. `purge`: they are archived, then deleted. Of a plan that was counted;
    the archive's connection is None for reading. A window has `window` rows."""

    work: Literal["read", "purge"]
    port: int
    database: str
    plan: str
    attempt: int
    archive: dict[str, Any] | None = None
    window: int = 50_000
    limits: dict[str, Any] = field(default_factory=dict)

    def connection(self, name: str) -> Connection:
        """The store's connections, Lethe's and the archive's."""
        if name == "archive_s3":
            return Connection(**(self.archive or {}))
        return connection_of(name, self.port, self.database)


@dataclass(frozen=True, kw_only=True)
class Done:
    """Rows, seconds, bytes of Parquet; peak memory of the process so far and after its imports, in MB; seconds of all lanes by what they
    did; CPU seconds by whose they are."""

    rows: int
    seconds: float
    size: int = 0
    peak: float = 0.0
    imported: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)


def in_child(*jobs: Job) -> list[Done]:
    """Does these jobs in one new process. RuntimeError with the end of what it printed when it fails."""
    given = json.dumps([asdict(job) for job in jobs])
    done = subprocess.run([sys.executable, "-m", "benchmarks.archive_child"], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the benchmark's child failed: {done.stderr[-3000:]}")
    return [Done(**each) for each in json.loads(done.stdout)]


def _main() -> None:
    imported, found = peak(), []
    for each in json.load(sys.stdin):
        done = (_read if each["work"] == "read" else _purge)(Job(**each))
        found.append(asdict(done) | {"peak": peak(), "imported": imported})
    json.dump(found, sys.stdout)


def _loaded(job: Job, engine: Any) -> tuple[Plan, Counted]:
    with engine.connect() as book:
        plan = load_plan(book, job.plan)
        return plan, load_counts(book, job.plan, job.attempt)[plan.steps[0].id]


def _catalog(plan: Plan) -> Catalog:
    terms = plan.steps[0].archive
    return catalog_of(LOGS, kept=terms.columns if terms else ())


# Reading alone


def _read(job: Job) -> Done:
    """In two lanes, each on windows of its own, as a batch reads them: on an exported snapshot, with the columns that Lethe needs."""
    control = create_engine(job.connection("lethe_db").sqlalchemy_url())
    plan, counted = _loaded(job, control)
    (step,) = plan.steps
    (store,) = _catalog(plan).stores
    sources = Sources(store, job.connection, Limits(), "bench")
    target = Target(step=step, store=store, live=describe(sources.engine("purge")), steps=plan.steps)
    windows = iter(_windows(counted, _after(step, job), -(-counted.counts.due // job.window)))
    lock = threading.Lock()

    def taken() -> tuple[datetime, datetime] | None:
        with lock:
            return next(windows, None)

    began = time.perf_counter()
    with ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(_lane, target, sources.beside(n), taken, counted.details["snapshot"], job.window) for n in range(LANES)]
        ended = [lane.result() for lane in lanes]
    took = time.perf_counter() - began
    rows = sum(r for r, _ in ended)
    if rows != counted.counts.due:
        raise RuntimeError(f"{rows} rows read of {counted.counts.due} due")
    control.dispose()
    return Done(rows=rows, seconds=took, size=sum(s for _, s in ended))


def _windows(counted: Counted, end: datetime, number: int) -> list[tuple[datetime, datetime]]:
    """Of equal time, and as the rows lie evenly, of equal rows: from the oldest due row to `end`, an instant after the newest."""
    if counted.counts.oldest is None:
        raise TypeError("nothing is due")
    step = (end - counted.counts.oldest) / number
    ends = [counted.counts.oldest + n * step for n in range(number)] + [end]
    return list(itertools.pairwise(ends))


def _after(step: Step, job: Job) -> datetime:
    """An instant after the newest due row."""
    assert isinstance(step.predicate, Predicate)
    with create_engine(job.connection("source_db_check").sqlalchemy_url()).connect() as connection:
        asked = text("SELECT max(occurred_at) FROM app.technical_logs WHERE occurred_at < :cutoff")
        newest: datetime = connection.execute(asked, {"cutoff": step.predicate.cutoff}).scalar_one()
        return newest + timedelta(microseconds=1)


def _lane(
    target: Target, sources: Sources, taken: Callable[[], tuple[datetime, datetime] | None], snapshot: str | None, window: int
) -> tuple[int, int]:
    """Rows and bytes of one lane, whose windows have about so many rows."""
    assert target.live is not None and isinstance(target.step.archive, ArchiveTerms)
    projected = projection(target.live.tables[f"app.{LOGS}"], target.step.archive.columns)
    reading = Reading(target=target, projected=projected)
    technique = ClockWindows(target=target, size=Size(rows=window, most=window))
    row = technique.row
    statement = reading.statement(row, [going(row, target, ()), *technique.where], younger(row, snapshot))
    reader = ArrowReader(sources.connection("purge"), "bench:reader", lock_timeout=1_000, statement_timeout=60_000)

    def read(low: datetime, high: datetime) -> tuple[int, int]:
        keep_for_the_next_batch()
        reader.with_holds(())
        connection = sources.with_holds("purge", ())
        with connection.begin():
            exported = connection.execute(select(func.pg_export_snapshot(type_=Text))).scalar_one()
            found = reading.completed(
                row, reader.read(exported, statement, technique.parts(low, high), quoting=connection, certain=reading.certain)
            )
        kept = as_kept(found, projected)
        for name, column in ((CLOCK, taking.CLOCK), (KEY64, taking.KEY)):
            kept = kept.append_column(pa.field(name, found[column].type), found[column])
        return kept.num_rows, len(to_parquet(kept, {"dataset": LOGS}))

    rows = size = 0
    while (next_ := taken()) is not None:
        more, bytes_ = read(*next_)  # what it held is let go before the next window
        rows, size = rows + more, size + bytes_
    reader.close()
    sources.close()
    return rows, size


# Archiving and deleting


def _purge(job: Job) -> Done:
    """As a nightly run does. The seconds leave out VACUUM, which a plain purge needs as well."""
    control = create_engine(job.connection("lethe_db").sqlalchemy_url(), pool_pre_ping=True)  # as the workspace's
    plan, counted = _loaded(job, control)
    context = PurgeContext(
        plan=plan,
        attempt=job.attempt,
        catalog=_catalog(plan),
        connections=job.connection,
        control=control,
        known_keys=KeysOfTheCount(control, plan, job.attempt),
        snapshot=lambda step: counted.details["snapshot"],
        digest_key=DIGEST_KEY,
        limits=Limits(**job.limits),
    )
    with _tapped() as parts, spent(_SERVERS) as cpu:
        began, used = time.perf_counter(), time.process_time()
        (totals,) = run_group(plan.steps, context)
        took, ours = time.perf_counter() - began, time.process_time() - used
    if totals.error or totals.deleted != counted.counts.due:
        raise RuntimeError(f"{totals.deleted} rows deleted of {counted.counts.due} due: {totals.error or 'no error'}")
    control.dispose()
    return Done(rows=totals.deleted, seconds=took - totals.vacuum_seconds, parts=dict(parts), cpu={"Lethe": ours, **cpu})


_SERVERS = {"postgres": "PostgreSQL", "radosgw": "the gateway", "ceph-": "Ceph behind it"}

_TAPS: tuple[tuple[Any, str, str], ...] = (
    (Runner, "run", "batch"),
    (Archiver, "take", "take"),
    (ArrowReader, "read", "read"),
    (ArrowReader, "with_holds", "holds"),
    (archiving, "names_of", "names"),
    (Archiver, "_rows", "shape"),
    (archiving, "by_expiry", "split"),
    (write, "to_parquet", "parquet"),
    (manifests, "announce", "announce"),
    (ArchiveBucket, "put", "put"),
    (ArchiveBucket, "head", "head"),
    (ArchiveBucket, "get_encrypted", "get"),
    (write, "difference", "decode and compare"),
    (Plain, "_take", "take and delete"),
    (Runner, "_write", "intent"),
    (ArchiveBooks, "store", "store"),
    (Runner, "_closed", "close"),
    (ArchiveBooks, "seal", "seal"),
    (ArchiveBucket, "lock", "lock"),
)
"""Where time is taken: of what, which function, and under which name. Some lie within others."""


@contextmanager
def _tapped() -> Iterator[dict[str, float]]:
    """Adds up the seconds that all threads spend in each function of `_TAPS`."""
    found: dict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def tapped(plain: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*given: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return plain(*given, **more)
            finally:
                took = time.perf_counter() - began
                with lock:
                    found[name] += took

        return timed

    with ExitStack() as stack:
        for owner, function, name in _TAPS:
            stack.enter_context(patch.object(owner, function, tapped(getattr(owner, function), name)))
        yield found


if __name__ == "__main__":
    _main()
