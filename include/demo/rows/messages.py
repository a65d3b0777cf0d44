"""Support threads with their messages (a reply refers to its parent), and the log of mails sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from demo.calendar import START_OF_SERVICE
from demo.pools import NULL
from demo.rows.base import RESERVED, Chunk, TableRows, World, draw, ints, micros, nullable, ranges, spread, stamps, uuids
from demo.rows.customers import DAY, silent

_MESSAGES = 4
"""Messages a thread: the first, and replies that each answer an earlier one."""
_TEMPLATES = np.array(["rappel-rendez-vous", "facture", "bienvenue", "mot-de-passe", "lettre-mensuelle"], dtype=object)
_STATUSES = np.array(["delivered"] * 18 + ["bounced", "deferred"], dtype=object)


def _support_threads(world: World) -> Iterator[Chunk]:
    """Opened while the tenant's contract ran; those of tenants that left over three years ago are due. Tenants that went without a word
    have none: nothing keeps them once their contract has ended."""
    rng, pools = world.rng("support_threads"), world.pools
    n = world.count(1_500, least=30)
    tenants, users, user_tenants = world.keys["tenants"], world.keys["users"], world.keys["user_tenants"]
    index = rng.integers(0, len(tenants), n)
    index = np.where(silent(world)[index], (index + 1) % len(tenants), index)  # the next one asks instead: no two in a row are silent
    tenant = tenants[index]
    low, high = np.searchsorted(user_tenants, tenant, "left"), np.searchsorted(user_tenants, tenant, "right")
    author = users[low + (rng.random(n) * (high - low)).astype(np.int64)]
    start, end = world.keys["tenant_created"][index], np.minimum(world.keys["tenant_ended"][index], micros(world.as_of))
    start = np.maximum(start, micros(START_OF_SERVICE + timedelta(days=1)))
    opened = start + (rng.random(n) * np.maximum(end - start - 30 * DAY, DAY)).astype(np.int64)
    ids = np.arange(RESERVED + 1, RESERVED + 1 + n)
    world.keys |= {"threads": ids, "thread_opened": opened, "thread_author": author}
    yield [
        ints(ids),
        ints(tenant),
        ints(author),
        draw(rng, pools.sentences, n),
        ["closed"] * n,
        stamps(opened),
        stamps(opened + 20 * DAY),
    ]


def _support_messages(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("support_messages"), world.pools
    threads = world.keys["threads"]
    n = len(threads) * _MESSAGES
    place = np.arange(n) % _MESSAGES
    ids = np.arange(RESERVED + 1, RESERVED + 1 + n)
    parent = ids - place + (rng.random(n) * place).astype(np.int64)
    sent = np.repeat(world.keys["thread_opened"], _MESSAGES) + place * 5 * DAY
    sent = np.minimum(sent, micros(world.as_of) - (_MESSAGES - place) * 60_000_000)
    author = np.repeat(world.keys["thread_author"], _MESSAGES)
    by_us = place % 2 == 1
    for start in range(0, n, 10_000):
        part = slice(start, min(start + 10_000, n))
        size = part.stop - part.start
        first, last = draw(rng, pools.first_names, size), draw(rng, pools.last_names, size)
        yield [
            ints(ids[part]),
            ints(np.repeat(threads, _MESSAGES)[part]),
            nullable(ints(parent[part]), place[part] == 0),
            nullable(ints(author[part]), by_us[part]),
            [f"{f} {la}" for f, la in zip(first, last, strict=True)],
            [f"support@{d}" for d in draw(rng, pools.domains, size)],
            draw(rng, pools.paragraphs, size),
            stamps(sent[part]),
        ]


def _email_log(world: World) -> Iterator[Chunk]:
    """Twelve and a half months of mails; one in twenty is a notice, over five years and a month."""
    rng, pools = world.rng("email_log"), world.pools
    users = world.keys["users"]
    for key, n in ranges(world.count(20_000, least=60)):
        notice = rng.random(n) < 0.05
        sent = np.where(
            notice,
            spread(rng, n, world.as_of - timedelta(days=1857), world.as_of),
            spread(rng, n, world.as_of - timedelta(days=380), world.as_of),
        )
        first, last = draw(rng, pools.first_slugs, n), draw(rng, pools.last_slugs, n)
        yield [
            ints(np.arange(key, key + n)),
            nullable(ints(users[rng.integers(0, len(users), n)]), rng.random(n) < 0.1),
            [NULL] * n,
            [f"{f}.{la}@{d}" for f, la, d in zip(first, last, draw(rng, pools.domains, n), strict=True)],
            ["changement-de-politique" if is_notice else t for is_notice, t in zip(notice.tolist(), draw(rng, _TEMPLATES, n), strict=True)],
            draw(rng, pools.sentences, n),
            ["t" if is_notice else "f" for is_notice in notice.tolist()],
            [f"<{u}@mail.spotrak.example>" for u in uuids(rng, n)],
            draw(rng, _STATUSES, n),
            stamps(sent),
        ]


MESSAGE_TABLES = (
    TableRows(
        name="support_threads",
        columns=("id", "tenant_id", "opened_by", "subject", "status", "opened_at", "closed_at"),
        at_scale_1=1_500,
        make=_support_threads,
        defaults={
            "tenant_id": 2,
            "opened_by": None,
            "subject": "Question sur une facture",
            "status": "closed",
            "opened_at": None,
            "closed_at": None,
        },
    ),
    TableRows(
        name="support_messages",
        columns=("id", "thread_id", "parent_id", "author_id", "author_name", "author_email", "body", "sent_at"),
        at_scale_1=6_000,
        make=_support_messages,
        defaults={
            "parent_id": None,
            "author_id": None,
            "author_name": "Zoé Garçon",
            "author_email": "zoe@atelier-du-canal.example",
            "body": "Bonjour,\nmerci.",
            "sent_at": None,
        },
    ),
    TableRows(
        name="email_log",
        columns=("id", "user_id", "lead_id", "recipient", "template", "subject", "is_notice", "message_id", "status", "sent_at"),
        at_scale_1=20_000,
        make=_email_log,
        defaults={
            "user_id": None,
            "lead_id": None,
            "recipient": "zoe@atelier-du-canal.example",
            "template": "facture",
            "subject": "Votre facture",
            "is_notice": False,
            "message_id": "<planted@mail.spotrak.example>",
            "status": "delivered",
            "sent_at": None,
        },
    ),
)
