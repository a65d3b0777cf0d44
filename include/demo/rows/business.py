"""What tenants store, Spotrak being their processor: clients, appointments (shared by several clients), invoices, files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from demo.pools import NULL
from demo.rows.base import CHUNK, RESERVED, Chunk, TableRows, World, draw, emails, ints, micros, nullable, ranges, spread, stamps
from demo.rows.customers import DAY, LIVE

ATTACHMENTS = 240
"""Generated files, at any scale: each row has its object in the bucket spotrak-files, and a bucket is slower than a table."""

_TITLES = np.array(["Premier rendez-vous", "Suivi", "Bilan annuel", "Visioconférence", "Visite sur place"], dtype=object)
_FILES = (("devis", "pdf", "application/pdf"), ("photo", "jpg", "image/jpeg"), ("contrat-signe", "pdf", "application/pdf"))


def _active_tenants(world: World) -> np.ndarray:
    """Tenants that ever used the product in earnest: the living ones, and half of the others."""
    keep = (world.keys["tenant_state"] == LIVE) | (np.arange(len(world.keys["tenants"])) % 2 == 1)
    return np.asarray(world.keys["tenants"][keep])


def _clients(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("clients"), world.pools
    tenants = _active_tenants(world)
    total = world.count(20_000, least=60)
    tenant = np.sort(tenants[rng.integers(0, len(tenants), total)])
    world.keys |= {"clients": np.arange(RESERVED + 1, RESERVED + 1 + total), "client_tenants": tenant}
    for key, n in ranges(total):
        first, last = rng.integers(0, len(pools.first_names), n), rng.integers(0, len(pools.last_names), n)
        birth = (np.datetime64("1945-01-01") + rng.integers(0, 22_000, n)).astype(str).tolist()
        yield [
            ints(np.arange(key, key + n)),
            ints(tenant[key - RESERVED - 1 : key - RESERVED - 1 + n]),
            emails(
                pools.first_slugs[first].tolist(),
                pools.last_slugs[last].tolist(),
                ints(rng.integers(1, 99, n)),
                draw(rng, pools.domains, n),
            ),
            pools.first_names[first].tolist(),
            pools.last_names[last].tolist(),
            draw(rng, pools.phones, n),
            birth,
            draw(rng, pools.streets, n),
            draw(rng, pools.postcodes, n),
            draw(rng, pools.cities, n),
            nullable(draw(rng, pools.paragraphs, n), rng.random(n) < 0.8),
            stamps(spread(rng, n, world.as_of.replace(year=world.as_of.year - 2, day=1), world.as_of)),
        ]


def _of_one_tenant(world: World, rng: np.random.Generator, tenant: np.ndarray) -> np.ndarray:
    """For each tenant, the index of one of its clients, or of the nearest client there is."""
    tenants = world.keys["client_tenants"]
    low, high = np.searchsorted(tenants, tenant, "left"), np.searchsorted(tenants, tenant, "right")
    return np.asarray(np.minimum(low + (rng.random(len(tenant)) * np.maximum(high - low, 1)).astype(np.int64), len(tenants) - 1))


def _appointments(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("appointments"), world.pools
    total = world.count(25_000, least=60)
    index = rng.integers(0, len(world.keys["clients"]), total)
    tenant = world.keys["client_tenants"][index]
    world.keys |= {
        "appointments": np.arange(RESERVED + 1, RESERVED + 1 + total),
        "appointment_client": index,
        "appointment_tenants": tenant,
    }
    users, user_tenants = world.keys["users"], world.keys["user_tenants"]  # in the order of their tenants
    low, high = np.searchsorted(user_tenants, tenant, "left"), np.searchsorted(user_tenants, tenant, "right")
    creator = users[low + (rng.random(total) * (high - low)).astype(np.int64)]
    now = micros(world.as_of)
    for key, n in ranges(total):
        part = slice(key - RESERVED - 1, key - RESERVED - 1 + n)
        created = now - (rng.random(n) * 700 * DAY).astype(np.int64)
        starts = created + (rng.random(n) * 60 * DAY).astype(np.int64)
        yield [
            ints(np.arange(key, key + n)),
            ints(tenant[part]),
            ints(creator[part]),
            draw(rng, _TITLES, n),
            nullable(draw(rng, pools.streets, n), rng.random(n) < 0.5),
            nullable(draw(rng, pools.sentences, n), rng.random(n) < 0.7),
            stamps(starts),
            stamps(starts + 2_700_000_000),
            stamps(created),
        ]


def _appointment_clients(world: World) -> Iterator[Chunk]:
    """Every appointment with its client; four in ten with a second client of the same tenant."""
    rng = world.rng("appointment_clients")
    appointments, client = world.keys["appointments"], world.keys["appointment_client"]
    now = micros(world.as_of)
    for start in range(0, len(appointments), CHUNK):
        part = slice(start, start + CHUNK)
        first = client[part]
        second = _of_one_tenant(world, rng, world.keys["appointment_tenants"][part])
        shared = (rng.random(len(first)) < 0.4) & (second != first)
        ids = np.concatenate([appointments[part], appointments[part][shared]])
        clients = world.keys["clients"][np.concatenate([first, second[shared]])]
        yield [
            ints(ids),
            ints(clients),
            draw(rng, np.array(["t", "t", "f", NULL], dtype=object), len(ids)),
            stamps(now - (rng.random(len(ids)) * 700 * DAY).astype(np.int64)),
        ]


def _client_invoices(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("client_invoices"), world.pools
    appointments, client, tenants = (world.keys[k] for k in ("appointments", "appointment_client", "appointment_tenants"))
    now = micros(world.as_of)
    for key, n in ranges(world.count(10_000, least=40)):
        index = rng.integers(0, len(appointments), n)
        issued = now - (rng.random(n) * 700 * DAY).astype(np.int64)
        cents = rng.integers(20, 400, n) * 100
        first, last = draw(rng, pools.first_names, n), draw(rng, pools.last_names, n)
        yield [
            ints(np.arange(key, key + n)),
            ints(tenants[index]),
            ints(world.keys["clients"][client[index]]),
            nullable(ints(appointments[index]), rng.random(n) < 0.2),
            [f"C-{i:06d}" for i in range(key, key + n)],
            [f"{f} {la}" for f, la in zip(first, last, strict=True)],
            [f"facture@{d}" for d in draw(rng, pools.domains, n)],
            ints(cents),
            ints(cents // 5),
            [json.dumps([{"label": "Séance", "quantity": 1, "net_cents": c}], ensure_ascii=False) for c in cents.tolist()],
            stamps(issued),
            nullable(stamps(issued + 10 * DAY), rng.random(n) < 0.2),
        ]


def object_key(tenant: int, number: int) -> str:
    """Where a file of that tenant lies in the bucket spotrak-files: no name of a person in it."""
    return f"attachments/{tenant}/{number:08d}"


def content(key: str) -> bytes:
    """The bytes of the file under that key: the bucket's loader and the table's sha256 take them from here."""
    return (f"%PDF-1.4 {key}\n" * 40).encode()


def _attachments(world: World) -> Iterator[Chunk]:
    rng = world.rng("attachments")
    n = min(ATTACHMENTS, world.count(ATTACHMENTS, least=24))
    appointments, client, tenants = (world.keys[k] for k in ("appointments", "appointment_client", "appointment_tenants"))
    index = rng.integers(0, len(appointments), n)
    kinds = [_FILES[i] for i in rng.integers(0, len(_FILES), n).tolist()]
    ids = range(RESERVED + 1, RESERVED + 1 + n)
    keys = [object_key(t, i) for t, i in zip(tenants[index].tolist(), ids, strict=True)]
    yield [
        [str(i) for i in ids],
        ints(tenants[index]),
        ints(world.keys["clients"][client[index]]),
        ints(appointments[index]),
        [NULL] * n,
        [f"{name}-{i}.{ending}" for (name, ending, _), i in zip(kinds, ids, strict=True)],
        [kind for *_, kind in kinds],
        [str(len(content(k))) for k in keys],
        [hashlib.sha256(content(k)).hexdigest() for k in keys],
        keys,
        stamps(micros(world.as_of) - (rng.random(n) * 600 * DAY).astype(np.int64)),
    ]


BUSINESS_TABLES = (
    TableRows(
        name="clients",
        columns=(
            "id",
            "tenant_id",
            "email",
            "first_name",
            "last_name",
            "phone",
            "birth_date",
            "address",
            "postcode",
            "city",
            "notes",
            "created_at",
        ),
        at_scale_1=20_000,
        make=_clients,
        defaults={
            "tenant_id": 1,
            "email": "cliente@exemple.example",
            "first_name": "Aïcha",
            "last_name": "Benoît",
            "phone": "0655667788",
            "birth_date": None,
            "address": None,
            "postcode": "13001",
            "city": "Marseille",
            "notes": None,
            "created_at": None,
        },
    ),
    TableRows(
        name="appointments",
        columns=("id", "tenant_id", "created_by", "title", "location", "notes", "starts_at", "ends_at", "created_at"),
        at_scale_1=25_000,
        make=_appointments,
        defaults={
            "tenant_id": 1,
            "created_by": None,
            "title": "Suivi",
            "location": None,
            "notes": None,
            "starts_at": None,
            "ends_at": None,
            "created_at": None,
        },
    ),
    TableRows(
        name="appointment_clients",
        columns=("appointment_id", "client_id", "attended", "added_at"),
        at_scale_1=35_000,
        make=_appointment_clients,
        defaults={"attended": None, "added_at": None},
    ),
    TableRows(
        name="client_invoices",
        columns=(
            "id",
            "tenant_id",
            "client_id",
            "appointment_id",
            "number",
            "billed_name",
            "billed_email",
            "net_cents",
            "vat_cents",
            "lines",
            "issued_at",
            "paid_at",
        ),
        at_scale_1=10_000,
        make=_client_invoices,
        defaults={
            "tenant_id": 1,
            "appointment_id": None,
            "number": "C-PLANTED",
            "billed_name": "Aïcha Benoît",
            "billed_email": None,
            "net_cents": 6000,
            "vat_cents": 1200,
            "lines": [],
            "issued_at": None,
            "paid_at": None,
        },
    ),
    TableRows(
        name="attachments",
        columns=(
            "id",
            "tenant_id",
            "client_id",
            "appointment_id",
            "uploaded_by",
            "file_name",
            "content_type",
            "size_bytes",
            "sha256",
            "object_key",
            "uploaded_at",
        ),
        at_scale_1=ATTACHMENTS,
        make=_attachments,
        defaults={
            "tenant_id": 1,
            "client_id": None,
            "appointment_id": None,
            "uploaded_by": None,
            "file_name": "devis.pdf",
            "content_type": "application/pdf",
            "uploaded_at": None,
        },
    ),
)
