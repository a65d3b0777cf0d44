"""Consents to audience cookies, and the events counted under them: given <= t < the earlier of withdrawn and given + 6 months."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from demo.pools import NULL
from demo.rows.base import Chunk, TableRows, World, draw, ints, micros, nullable, ranges, spread, stamps, uuids
from demo.rows.customers import DAY

_VALID = 180 * DAY
"""Generated events lie this close to their consent: less than six months of any length."""
_PAGES = np.array(["/", "/tarifs", "/fonctionnalites", "/blog", "/contact", "/demonstration"], dtype=object)
_COUNTRIES = np.array(["FR", "FR", "FR", "FR", "BE", "CH", "LU", NULL], dtype=object)
_DEVICES = np.array(["mobile", "ordinateur", "tablette"], dtype=object)
_EVENT_CONSENTS = 1_500


def _consents(world: World) -> Iterator[Chunk]:
    """Granted ones over 26 months (their events are kept for 25), refusals over seven months, old proofs over five years."""
    rng = world.rng("consents")
    granted, refused, proofs = world.count(_EVENT_CONSENTS, least=20), world.count(1_200, least=12), world.count(300, least=6)
    n = granted + refused + proofs
    now = micros(world.as_of)
    chosen = np.concatenate(
        [
            spread(rng, granted, world.as_of - timedelta(days=800), world.as_of),
            spread(rng, refused, world.as_of - timedelta(days=200), world.as_of),
            spread(rng, proofs, world.as_of - timedelta(days=2040), world.as_of - timedelta(days=1860)),
        ]
    )
    is_granted = np.concatenate([np.ones(granted, bool), np.zeros(refused, bool), np.ones(proofs, bool)])
    withdrawn = chosen + (rng.random(n) * _VALID).astype(np.int64)
    has_withdrawn = is_granted & (rng.random(n) < 0.15) & (withdrawn < now)
    months = chosen.astype("datetime64[us]").astype("datetime64[M]")
    within = chosen - months.astype("datetime64[us]").astype(np.int64)
    shortest = np.minimum(within, 28 * DAY - 1)  # end of the month clamped, on the safe side
    expires = (months + 6).astype("datetime64[us]").astype(np.int64) + shortest
    ended = np.where(has_withdrawn, withdrawn, expires)
    ids = uuids(rng, n)
    users = world.keys["live_users"]
    world.keys |= {
        "event_consents": np.array(ids[:granted], dtype=object),
        "event_consent_from": chosen[:granted],
        "event_consent_until": np.minimum(np.minimum(ended[:granted], chosen[:granted] + _VALID), now),
    }
    yield [
        ids,
        uuids(rng, n),
        nullable(ints(users[rng.integers(0, len(users), n)]), rng.random(n) < 0.9),
        [NULL] * n,
        ["mesure-audience"] * n,
        ["t" if g else "f" for g in is_granted.tolist()],
        ["2026-05-01"] * n,
        stamps(chosen),
        nullable(stamps(withdrawn), ~has_withdrawn),
        nullable(stamps(ended), ~is_granted | (ended >= now)),
    ]


def _audience_events(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("audience_events"), world.pools
    consents, start, until = (world.keys[k] for k in ("event_consents", "event_consent_from", "event_consent_until"))
    for key, n in ranges(world.count(20_000, least=60)):
        index = rng.integers(0, len(consents), n)
        at = start[index] + (rng.random(n) * (until[index] - start[index])).astype(np.int64)
        yield [
            ints(np.arange(key, key + n)),
            consents[index].tolist(),
            stamps(at),
            draw(rng, _PAGES, n),
            draw(rng, _COUNTRIES, n),
            draw(rng, _DEVICES, n),
            nullable(draw(rng, pools.campaigns, n), rng.random(n) < 0.7),
        ]


AUDIENCE_TABLES = (
    TableRows(
        name="consents",
        columns=("id", "visitor_id", "user_id", "email", "purpose", "granted", "text_version", "chosen_at", "withdrawn_at", "ended_at"),
        at_scale_1=3_000,
        make=_consents,
        defaults={
            "visitor_id": "00000000-0000-4000-8000-00000000000a",
            "user_id": None,
            "email": None,
            "purpose": "mesure-audience",
            "granted": True,
            "text_version": "2026-05-01",
            "chosen_at": None,
            "withdrawn_at": None,
            "ended_at": None,
        },
    ),
    TableRows(
        name="audience_events",
        columns=("id", "consent_id", "occurred_at", "page", "country", "device", "campaign"),
        at_scale_1=20_000,
        make=_audience_events,
        defaults={"occurred_at": None, "page": "/tarifs", "country": "FR", "device": "mobile", "campaign": None},
    ),
)
