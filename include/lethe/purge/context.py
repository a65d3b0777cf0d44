"""What a purge is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Engine

from lethe.catalog.model import Catalog
from lethe.connections import Connections
from lethe.control.holds import active_scopes
from lethe.instants import now
from lethe.plan.model import HoldScope, Plan
from lethe.stores.postgres.plain import Size

Pace = Literal["full", "gentle"]
HoldsLoader = Callable[[Connection], Sequence[HoldScope]]
KnownKeys = Callable[[str], Container[int] | None]
"""By step. Several lanes ask it. One that has to read them says by `is_read(step)` whether it has, and need not read in a source's transaction."""


def holds_of_today(connection: Connection) -> Sequence[HoldScope]:
    """The holds in force now, read from `lethe_db`; a hold begins on a day of UTC. A run passes its policy's own days."""
    return active_scopes(connection, now().date())


def no_keys(step: str) -> Container[int] | None:
    """For a caller that kept no keys at plan time: no row can be told to have arrived since."""
    return None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large and how long one batch may be. Rows; milliseconds (`aim`: seconds); tries of a batch on lock conflict or lost connection.

    A plain batch begins with `window` rows and grows or shrinks until its statements take `aim` (`stores.postgres.plain.Size`); 20,000
    rows take about 15 ms (ADR 7). A batch that archives holds its rows in memory: it begins with `archive_window` of them, or as many as
    have `archive_bytes`, and has fewer where it takes longer than `archive_aim` with its upload (ADR 8). Careful batches lock more and are
    smaller; where objects go with the rows, a batch has `files` rows: each costs a request, 3 to 4 ms of this process. `lanes` plain batches
    run side by side at full pace; at gentle pace there is one, and the source rests `gentle_rest` times as long as it worked.
    """

    window: int = 20_000
    most: int = 60_000
    aim: float = 0.04
    gentle_window: int = 15_000
    gentle_most: int = 20_000
    gentle_aim: float = 0.025
    gentle_rest: float = 0.75
    careful: int = 5_000
    lock_timeout: int = 1_000
    statement_timeout: int = 60_000
    drop_lock_timeout: int = 100
    drop_tries: int = 60
    tries: int = 8
    longest_wait: float = 2.0
    await_backend: float = 30.0
    lease_seconds: int = 900
    lanes: int = 2
    archive_window: int = 50_000
    archive_aim: float = 0.4
    archive_bytes: int = 16_000_000
    files: int = 50


@dataclass(frozen=True, kw_only=True)
class PurgeContext:
    """Everything the purge of a run needs.

    `control` is an engine on `lethe_db` as `lethe_runtime`. `known_keys(step)` are the key64s frozen at plan time, against which
    rows younger than `snapshot(step)` are looked up: one that is not among them has arrived since. `ceilings`: rows by step, of those that
    the guard let pass up to a number; a batch that would go above it does not happen (NotApproved). `digest_key`: for the names that
    persons and tenants have in the archive.
    """

    plan: Plan
    attempt: int
    catalog: Catalog
    connections: Connections
    control: Engine
    pace: Pace = "full"
    holds: HoldsLoader = holds_of_today
    known_keys: KnownKeys = no_keys
    snapshot: Callable[[str], str | None] = field(default=lambda step: None)
    ceilings: Mapping[str, int] = field(default_factory=dict)
    digest_key: bytes = field(default=b"", repr=False)
    clock: Callable[[], datetime] = now
    limits: Limits = Limits()
    reclaim: bool = True

    @property
    def lanes(self) -> int:
        """How many batches of a plain technique may run side by side."""
        return 1 if self.pace == "gentle" else self.limits.lanes

    def size(self) -> Size:
        """The rows of plain batches at this pace."""
        limits = self.limits
        if self.pace == "gentle":
            return Size(rows=limits.gentle_window, most=max(limits.gentle_window, limits.gentle_most), aim=limits.gentle_aim)
        return Size(rows=limits.window, most=max(limits.window, limits.most), aim=limits.aim)

    def archive_size(self, row_bytes: float) -> Size:
        """The rows of plain batches that archive, of about so many bytes each."""
        limits = self.limits
        most = max(1, min(limits.archive_window, int(limits.archive_bytes / max(row_bytes, 1.0))))
        if self.pace == "gentle":
            rows = min(limits.gentle_window, most)
            return Size(rows=rows, most=rows, aim=limits.gentle_aim)
        return Size(rows=most, most=most, aim=limits.archive_aim, least=max(1, most // 5))


@dataclass(frozen=True, kw_only=True)
class StepTotals:
    """What the batches of a step really did, over all interruptions, added up from their records in `lethe_db`.

    `deleted` rows, of them `arrived` after the plan was counted; `fingerprint` is the xor of hashint8extended(key64, 0) over the
    deleted rows that had not arrived since. `failed` counts objects whose deletion the store refused. `error` is an operator's text.
    """

    step: str
    deleted: int = 0
    arrived: int = 0
    failed: int = 0
    fingerprint: int = 0
    batches: int = 0
    techniques: tuple[str, ...] = ()
    interruptions: int = 0
    seconds: float = 0.0
    longest_transaction: float = 0.0
    space_reusable: bool | None = None
    space_held_by: str | None = None
    vacuum_seconds: float = 0.0
    error: str | None = None
    error_kind: str | None = None
