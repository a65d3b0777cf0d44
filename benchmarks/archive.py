"""The archive: rows to Parquet against a COPY that is thrown away, and archiving with deletion against the two of them in series.

Half of the rows are due and 50,000 of them expire on a day, so a day becomes two objects. Each row leads to one of 500 tenants.

The series is what somebody would write by hand (`by_hand.py`): rows to objects that are uploaded, read back and compared, then one DELETE; on
the same bucket, with nothing that could recover. A second series reads and deletes and uploads nothing: what no archive can be as fast as where
the store shares the processors.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import psycopg

from benchmarks import by_hand
from benchmarks.archive_child import Done, Job, in_child
from benchmarks.bucket import Shelf, shelf
from benchmarks.ground import seconds
from benchmarks.score import Row, at_least, at_most, told
from benchmarks.stores import CUTOFF, ROWS_A_DAY
from benchmarks.world import Ground, Run
from lethe.plan.model import ArchiveTerms
from lethe.policy.period import Period

COLUMNS = ("id", "occurred_at", "tenant_id", "user_id", "level", "host", "request_id", "ip", "path", "message", "context")
TERMS = ArchiveTerms(law="Code de commerce L123-22", ground="obligation", period=Period("P10Y"), columns=COLUMNS)
AS_READ = ", ".join(f"{c}::text" if c in {"ip", "context"} else c for c in COLUMNS)
"""By hand, with the casts that MEASURED advises."""
DUE = f"FROM app.technical_logs WHERE occurred_at < '{CUTOFF.isoformat()}'"
ALL = datetime(2026, 6, 1, tzinfo=UTC)
"""A cutoff that leaves no row."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round took, in seconds: a bare COPY; by hand, reading, archiving and one DELETE, both at once in two lanes; the library's reading,
    its plain purge, and its purge that archives."""

    floor: float
    bare: float
    by_hand: tuple[float, float]
    lanes: float
    read: Done
    plain: float
    archived: Done
    longest: float

    @property
    def series(self) -> float:
        """Archiving by hand, then deleting."""
        return sum(self.by_hand)

    @property
    def nothing_uploaded(self) -> float:
        """Reading, then deleting."""
        return self.read.seconds + self.plain

    def told(self) -> str:
        """In words."""
        by_hand = f"by hand: read {self.bare:.2f} s, archived {self.by_hand[0]:.2f} s, one DELETE {self.by_hand[1]:.2f} s, in lanes {self.lanes:.2f} s"
        ours = f"read {self.read.seconds:.2f} s, plain purge {self.plain:.2f} s, archiving purge {self.archived.seconds:.2f} s"
        return f"COPY {self.floor:.2f} s; {by_hand}; {ours}"


def measure(ground: Ground) -> list[Row]:
    """Ratios of each round; the peak memory of the two processes at half of the rows and at all of them. A first archive by hand warms the
    store and is not counted: whoever came first took twice as long."""
    with shelf() as kept:
        with ground.copy("dense") as database:
            by_hand.archive(ground.server.url(database), f"SELECT {AS_READ} {DUE}", kept.connection)
            kept.empty()
        rounds = [_round(ground, kept) for _ in range(ground.repeat)]
        read, archived = _all_rows(ground, kept)
    due, middle = f"{rounds[0].archived.rows:,} due", sorted(rounds, key=lambda r: r.archived.seconds)[len(rounds) // 2]
    detail = f"{due}, {ROWS_A_DAY:,} a day; {middle.told()}"
    memory = "peak of the process, {:.0f} MB of it its imports; {:.0f} MB at twice the rows"
    return [
        at_least("archive against the COPY floor", [r.floor / r.read.seconds for r in rounds], 0.9, detail=detail),
        at_most(
            "memory of archiving",
            [r.read.peak for r in rounds] + [read.peak],
            300,
            "MB",
            detail=memory.format(read.imported, read.peak),
        ),
        at_least(
            "archive and delete, uploaded and verified, against the same by hand in series",
            [r.series / r.archived.seconds for r in rounds],
            0.9,
            detail=f"{detail}; {kept.store}; {_parts(middle.archived)}; CPU seconds: "
            + ", ".join(f"{name} {used:.1f}" for name, used in middle.archived.cpu.items()),
        ),
        told(
            "archive and delete by hand in two lanes, nothing on record, against the same by hand in series",
            [r.series / r.lanes for r in rounds],
            "ratio",
        ),
        told(
            "archive and delete, uploaded and verified, against reading and deleting in series",
            [r.nothing_uploaded / r.archived.seconds for r in rounds],
            "ratio",
        ),
        at_most("longest transaction of a purge that archives", [r.longest * 1000 for r in rounds], 500, "ms"),
        at_most(
            "memory of a purge that archives",
            [max(r.archived.peak for r in rounds), archived.peak],
            300,
            "MB",
            detail=memory.format(archived.imported, archived.peak),
        ),
    ]


def _round(ground: Ground, kept: Shelf) -> Round:
    with ground.copy("dense") as database:
        run = ground.run(database, archive=TERMS)
        floor = _floor(ground, database)
        _, bare = by_hand.archive(ground.server.url(database), f"SELECT {AS_READ} {DUE}", None)
        (read,) = in_child(_job(run, "read"))
        plain = ground.run(database).timed().seconds
    with ground.copy("dense") as database:
        hand = by_hand.archive_then_delete(ground.server.url(database), AS_READ, DUE, kept.connection)
        kept.empty()
    with ground.copy("dense") as database:
        url = ground.server.url(database)
        lanes = by_hand.in_lanes(url, AS_READ, "app.technical_logs", _days(url), kept.connection)
        kept.empty()
    archived, longest = _archived(ground, kept)
    return Round(floor=floor, bare=bare, by_hand=hand, lanes=lanes, read=read, plain=plain, archived=archived, longest=longest)


def _days(url: str) -> list[str]:
    """The due rows day by day."""
    with psycopg.connect(url) as connection:
        days = connection.execute(f"SELECT DISTINCT date_trunc('day', occurred_at, 'UTC') AS day {DUE} ORDER BY day".encode()).fetchall()
    ends = [*(day for (day,) in days), CUTOFF]
    return [f"occurred_at >= '{low.isoformat()}' AND occurred_at < '{high.isoformat()}'" for low, high in itertools.pairwise(ends)]


def _archived(ground: Ground, kept: Shelf, cutoff: datetime = CUTOFF) -> tuple[Done, float]:
    """The purge that archives, after a small one in the same process, and its longest transaction in seconds."""
    with ground.copy("tiny") as tiny, ground.copy("dense") as database:
        runs = [ground.run(tiny, archive=TERMS), ground.run(database, archive=TERMS, cutoff=cutoff)]
        *_, done = in_child(*(_job(run, "purge", kept) for run in runs))
        kept.empty()
        return done, max(runs[-1].batches())


def _all_rows(ground: Ground, kept: Shelf) -> tuple[Done, Done]:
    """Reading, and purging, all rows of the table."""
    with ground.copy("dense") as database:
        (read,) = in_child(_job(ground.run(database, archive=TERMS, cutoff=ALL), "read"))
    return read, _archived(ground, kept, ALL)[0]


def _job(run: Run, work: Literal["read", "purge"], kept: Shelf | None = None) -> Job:
    archive = asdict(kept.connection) if kept else None
    port = run.ground.server.port
    return Job(work=work, port=port, database=run.database, plan=run.plan.digest, attempt=run.attempt, archive=archive)


def _floor(ground: Ground, database: str) -> float:
    """Seconds of one client's COPY of the due rows, all columns, thrown away."""

    def work() -> None:
        with psycopg.connect(ground.server.url(database)) as connection, connection.cursor() as cursor:
            statement = "COPY (SELECT * FROM app.technical_logs WHERE occurred_at < '{}') TO STDOUT (FORMAT binary)"
            with cursor.copy(statement.format(CUTOFF.isoformat())) as copy:
                for _ in copy:
                    pass

    return seconds(work)


def _parts(done: Done) -> str:
    """What a purge's lanes did with their time."""
    total = done.parts["batch"]
    return "of the lanes' time " + ", ".join(f"{name} {took / total:.0%}" for name, took in done.parts.items() if name != "batch")
