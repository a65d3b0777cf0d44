"""Pools of French values, made once with Faker and drawn from by index: calling Faker for every row would take hours.

Every value in a pool is already written as PostgreSQL's COPY text form wants it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from faker import Faker

Text = np.ndarray
"""An array of `str` objects."""

NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def escape(text: str) -> str:
    """`text` as COPY's text form writes it."""
    return text.translate(_ESCAPES)


def escaped(values: list[str]) -> Text:
    """A pool of those values."""
    return np.array([escape(v) for v in values], dtype=object)


def ascii_slug(text: str) -> str:
    """`text` in the letters of an e-mail address."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(c if c.isalnum() else "-" for c in plain).strip("-")


@dataclass(frozen=True, kw_only=True)
class Pools:
    """What rows are made of. Arrays of COPY texts, drawn from independently."""

    first_names: Text
    last_names: Text
    first_slugs: Text
    last_slugs: Text
    companies: Text
    domains: Text
    streets: Text
    postcodes: Text
    cities: Text
    phones: Text
    jobs: Text
    sentences: Text
    paragraphs: Text
    user_agents: Text
    ips: Text
    hosts: Text
    paths: Text
    log_messages: Text
    log_contexts: Text
    action_details: Text
    campaigns: Text


def build(seed: int) -> Pools:
    """The pools of that seed; the same seed gives the same pools. Takes about a second."""
    faker = Faker("fr_FR")
    faker.seed_instance(seed)
    rng = np.random.default_rng([seed, 0])

    def many(make: Callable[[], str], n: int) -> list[str]:
        return [make() for _ in range(n)]

    first, last = sorted(set(many(faker.first_name, 900))), sorted(set(many(faker.last_name, 1200)))
    companies = many(faker.company, 800)
    ips = rng.integers(0, 256, size=(4000, 2))
    paths = [p.format(int(n)) for p in _PATHS for n in rng.integers(1, 90000, 60)]
    return Pools(
        first_names=escaped(first),
        last_names=escaped(last),
        first_slugs=escaped([ascii_slug(f) for f in first]),
        last_slugs=escaped([ascii_slug(n) for n in last]),
        companies=escaped(companies),
        domains=escaped([f"{ascii_slug(c)}.example" for c in companies]),
        streets=escaped(many(faker.street_address, 1500)),
        postcodes=escaped(many(faker.postcode, 600)),
        cities=escaped(many(faker.city, 600)),
        phones=escaped(many(faker.phone_number, 2000)),
        jobs=escaped(many(faker.job, 400)),
        sentences=escaped(many(lambda: faker.sentence(nb_words=8), 1200)),
        paragraphs=escaped(many(lambda: "\n".join(faker.paragraphs(2)), 600)),
        user_agents=escaped(many(faker.user_agent, 400)),
        ips=escaped([f"{'203.0.113' if a < 8 else f'198.{18 + a % 2}.{a}'}.{b}" for a, b in ips.tolist()]),
        hosts=escaped(
            [f"{kind}-{n:02d}.par{dc}.spotrak.example" for kind in ("web", "api", "worker") for n in range(1, 9) for dc in (1, 2)]
        ),
        paths=escaped(paths),
        log_messages=escaped(
            [
                _LOG_MESSAGES[i % len(_LOG_MESSAGES)].format(path=paths[i % len(paths)], ms=int(ms))
                for i, ms in enumerate(rng.integers(2, 3000, 4000))
            ]
        ),
        log_contexts=escaped([_context(rng) for _ in range(4000)]),
        action_details=escaped([json.dumps({"via": via, "fields": int(n)}) for via in ("web", "mobile", "api") for n in range(1, 12)]),
        campaigns=escaped([f"{season}-{year}" for season in ("rentree", "hiver", "printemps", "ete") for year in (2024, 2025, 2026)]),
    )


def _context(rng: np.random.Generator) -> str:
    status = int(rng.choice([200, 200, 200, 201, 204, 302, 404, 422, 500]))
    return json.dumps(
        {
            "method": str(rng.choice(["GET", "GET", "POST", "PATCH"])),
            "status": status,
            "bytes": int(rng.integers(120, 90000)),
            "release": f"2026.{rng.integers(1, 12)}",
            "db_ms": int(rng.integers(0, 400)),
        }
    )


_PATHS = (
    "/agenda/rendez-vous/{}",
    "/clients/{}",
    "/factures/{}/pdf",
    "/api/v2/appointments/{}",
    "/api/v2/clients/{}",
    "/parametres/equipe/{}",
    "/rapports/mensuel/{}",
    "/connexion?retour={}",
)
_LOG_MESSAGES = (
    "request completed {path} in {ms} ms",
    "request completed {path} in {ms} ms, served from cache",
    "session refreshed before {path}, {ms} ms",
    "slow query while rendering {path}: {ms} ms",
    "rate limit near for this client on {path}, {ms} requests",
    "form refused on {path}: a required field is missing, {ms} ms",
    "retrying delivery of a calendar invitation after {path}, {ms} ms",
)
