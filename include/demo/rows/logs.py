"""Technical logs in clock order, user actions out of order, page views by month: what a nightly run deletes most of.

Nothing refers to these rows, no clock of theirs is NULL, early or in the future, and they name living tenants only
(generated ones, which no hold of the demo covers): none of them is ever held or blocked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from demo.calendar import PARIS, midnight, paris_date, shift_months
from demo.pools import NULL
from demo.rows.base import CHUNK, RESERVED, Chunk, TableRows, World, draw, ints, micros, nullable, ranges, spread, stamps, uuids

MONTHS = 15
"""How far back logs go: three of fifteen months are due, enough for the guard to ask a person."""

_HOUR = 3_600_000_000
_BUSY = np.array([1, 1, 1, 1, 1, 2, 4, 10, 22, 30, 32, 30, 24, 26, 32, 32, 30, 26, 18, 10, 6, 4, 2, 1], dtype=float)
_WEEKEND = 0.15
_LEVELS = np.array(["INFO"] * 90 + ["WARN"] * 7 + ["ERROR"] * 3, dtype=object)
_ACTIONS = np.array(
    [
        "appointment.create",
        "appointment.move",
        "appointment.cancel",
        "client.create",
        "client.update",
        "client.view",
        "invoice.send",
        "invoice.pay",
        "login",
        "logout",
    ],
    dtype=object,
)
_REFERRERS = np.array([NULL, NULL, "/agenda", "/clients", "/factures", "/tableau-de-bord"], dtype=object)
_DETAIL_TYPES = np.array(["appointment", "client", "invoice"], dtype=object)


def since(as_of: datetime) -> datetime:
    """The first instant that logs go back to: a midnight in Paris."""
    day = paris_date(as_of)
    first = shift_months(day, -MONTHS)
    return midnight(first.replace(day=min(day.day, 28)))


def months(as_of: datetime) -> list[tuple[str, datetime, datetime]]:
    """The partitions of page_views: name, first instant, first instant after it. Two months ahead are there already."""
    first = paris_date(since(as_of))
    found = []
    for i in range(MONTHS + 3):
        start, end = shift_months(first, i), shift_months(first, i + 1)
        found.append((f"page_views_{start:%Y_%m}", midnight(start), midnight(end)))
    return found


def in_clock_order(world: World, table: str, total: int) -> Iterator[np.ndarray]:
    """`total` instants from `since` to `as_of`, oldest first, in chunks; office hours in Paris are the busy ones."""
    rng = world.rng(f"{table} clock")
    start, end = micros(since(world.as_of)), micros(world.as_of)
    hours = np.arange(start, end, _HOUR)
    weights = _weights(hours) * (np.minimum(hours + _HOUR, end) - hours) / _HOUR
    counts = rng.multinomial(total, weights / weights.sum())
    ends = np.cumsum(counts)
    first = 0
    while first < len(hours):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        starts = np.repeat(hours[first:last], counts[first:last])
        lengths = np.repeat(np.minimum(hours[first:last] + _HOUR, end) - hours[first:last], counts[first:last])
        if len(starts):
            yield np.sort(starts + rng.integers(0, lengths))
        first = last


def _weights(hours: np.ndarray) -> np.ndarray:
    offset = int(datetime.fromtimestamp(int(hours[0]) / 1e6, PARIS).utcoffset().total_seconds()) // 3600  # type: ignore[union-attr]
    local = hours // _HOUR + offset  # an hour off in half of the year is as good: only the shape of a day matters
    weekday = (local // 24 + 3) % 7
    return np.asarray(_BUSY[local % 24] * np.where(weekday >= 5, _WEEKEND, 1.0))


def _who(world: World, rng: np.random.Generator, n: int, *, known: float) -> tuple[list[str], list[str]]:
    """Tenant and user of `n` rows, of living tenants only; a share of 1 - `known` was not logged in."""
    users, tenants = world.keys["live_users"], world.keys["live_user_tenants"]
    index = rng.integers(0, len(users), n)
    anonymous = rng.random(n) >= known
    return nullable(ints(tenants[index]), anonymous), nullable(ints(users[index]), anonymous)


def _technical_logs(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("technical_logs"), world.pools
    key = RESERVED + 1
    for clock in in_clock_order(world, "technical_logs", world.count(700_000)):
        n = len(clock)
        tenants, users = _who(world, rng, n, known=0.7)
        yield [
            ints(np.arange(key, key + n)),
            stamps(clock),
            tenants,
            users,
            draw(rng, _LEVELS, n),
            draw(rng, pools.hosts, n),
            uuids(rng, n),
            draw(rng, pools.ips, n),
            draw(rng, pools.user_agents, n),
            draw(rng, pools.paths, n),
            draw(rng, pools.log_messages, n),
            draw(rng, pools.log_contexts, n),
        ]
        key += n


def _user_actions(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("user_actions"), world.pools
    for key, n in ranges(world.count(300_000)):
        tenants, users = _who(world, rng, n, known=1.0)
        yield [
            ints(np.arange(key, key + n)),
            stamps(spread(rng, n, since(world.as_of), world.as_of)),
            tenants,
            users,
            uuids(rng, n),
            draw(rng, _ACTIONS, n),
            draw(rng, _DETAIL_TYPES, n),
            ints(rng.integers(1, 90_000, n)),
            draw(rng, pools.ips, n),
            draw(rng, pools.action_details, n),
        ]


def _page_views(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("page_views"), world.pools
    key = RESERVED + 1
    for clock in in_clock_order(world, "page_views", world.count(350_000)):
        n = len(clock)
        tenants, users = _who(world, rng, n, known=0.6)
        yield [
            ints(np.arange(key, key + n)),
            stamps(clock),
            tenants,
            users,
            uuids(rng, n),
            draw(rng, pools.paths, n),
            draw(rng, _REFERRERS, n),
            draw(rng, pools.ips, n),
            ints(rng.integers(80, 120_000, n)),
        ]
        key += n


def month_of(name_and_bounds: list[tuple[str, datetime, datetime]], at: datetime) -> str:
    """The partition that a row of that instant goes to; StopIteration when none takes it."""
    return next(name for name, start, end in name_and_bounds if start <= at < end)


LOG_TABLES = (
    TableRows(
        name="technical_logs",
        columns=(
            "id",
            "occurred_at",
            "tenant_id",
            "user_id",
            "level",
            "host",
            "request_id",
            "ip",
            "user_agent",
            "path",
            "message",
            "context",
        ),
        at_scale_1=700_000,
        make=_technical_logs,
        defaults={
            "tenant_id": 1,
            "user_id": 1,
            "level": "INFO",
            "host": "web-01.par1.spotrak.example",
            "request_id": "00000000-0000-4000-8000-000000000000",
            "ip": "203.0.113.7",
            "user_agent": "planted",
            "path": "/agenda",
            "message": "request completed /agenda in 12 ms",
            "context": {"status": 200},
        },
    ),
    TableRows(
        name="user_actions",
        columns=("id", "occurred_at", "tenant_id", "user_id", "session_id", "action", "object_type", "object_id", "ip", "detail"),
        at_scale_1=300_000,
        make=_user_actions,
        defaults={
            "tenant_id": 1,
            "user_id": 1,
            "session_id": "00000000-0000-4000-8000-000000000000",
            "action": "client.view",
            "object_type": "client",
            "object_id": 1,
            "ip": "203.0.113.7",
            "detail": {"via": "web"},
        },
    ),
    TableRows(
        name="page_views",
        columns=("id", "occurred_at", "tenant_id", "user_id", "session_id", "path", "referrer", "ip", "duration_ms"),
        at_scale_1=350_000,
        make=_page_views,
        defaults={
            "tenant_id": 1,
            "user_id": 1,
            "session_id": "00000000-0000-4000-8000-000000000000",
            "path": "/agenda",
            "referrer": None,
            "ip": "203.0.113.7",
            "duration_ms": 900,
        },
    ),
)
"""In the order they are loaded. `page_views` is copied partition by partition."""

PLANTED_SINCE = timedelta(days=1)
"""Planted instants start this long after `since`, so that the oldest partition takes them."""
