"""Spotrak's customers: tenants and their users (who refer to each other), contracts, invoices, leads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from demo.calendar import START_OF_SERVICE, paris_date
from demo.pools import NULL
from demo.rows.base import RESERVED, Chunk, TableRows, World, draw, emails, ints, micros, nullable, ranges, spread, stamps

DAY = 86_400_000_000
_PLANS = np.array(["solo", "equipe", "equipe", "reseau"], dtype=object)
_SOURCES = np.array(["formulaire", "demonstration", "salon", "parrainage"], dtype=object)
_NEVER = np.iinfo(np.int64).max
"""Stands for a contract that has not ended."""

LIVE, ENDED, LONG_ENDED, NO_CONTRACT = range(4)


def silent(world: World) -> np.ndarray:
    """Which tenants ended lately, stored nothing and never asked anything: half of those that ended lately and stored nothing."""
    state = world.keys["tenant_state"]
    return np.asarray((state == ENDED) & (np.arange(len(state)) % 4 == 0))


def _tenants(world: World) -> Iterator[Chunk]:
    """Eight of ten have a living contract; the others ended lately, ended over 3 years ago, or never signed."""
    rng, pools = world.rng("tenants"), world.pools
    n = world.count(400, least=20)
    ids = np.arange(RESERVED + 1, RESERVED + 1 + n)
    state = rng.choice([LIVE, ENDED, LONG_ENDED, NO_CONTRACT], n, p=[0.80, 0.08, 0.06, 0.06])
    state[:4] = [LIVE, ENDED, LONG_ENDED, NO_CONTRACT]
    now = micros(world.as_of)
    ended = np.full(n, _NEVER)
    ended[state == ENDED] = now - rng.integers(40, 1000, (state == ENDED).sum()) * DAY
    ended[state == LONG_ENDED] = now - rng.integers(1200, 1600, (state == LONG_ENDED).sum()) * DAY
    created = np.maximum(np.minimum(ended, now) - rng.integers(60, 900, n) * DAY, micros(START_OF_SERVICE + timedelta(days=1)))
    per_tenant = 10
    world.keys |= {
        "tenants": ids,
        "tenant_state": state,
        "tenant_ended": ended,
        "tenant_created": created,
        "live_tenants": ids[state == LIVE],
    }
    names = draw(rng, pools.companies, n)
    sirens = ints(rng.integers(300_000_000, 899_999_999, n))
    yield [
        ints(ids),
        ints(RESERVED + 1 + np.arange(n) * per_tenant),
        names,
        [f"{name} SAS" for name in names],
        sirens,
        [f"FR{k:02d}{s}" for k, s in zip(rng.integers(10, 99, n).tolist(), sirens, strict=True)],
        [f"contact@{d}" for d in draw(rng, pools.domains, n)],
        draw(rng, pools.phones, n),
        draw(rng, pools.streets, n),
        draw(rng, pools.postcodes, n),
        draw(rng, pools.cities, n),
        draw(rng, _PLANS, n),
        stamps(created),
    ]


def _users(world: World) -> Iterator[Chunk]:
    """Ten a tenant, the first of them its owner. One in twenty of the others was removed; nothing refers to those."""
    rng, pools = world.rng("users"), world.pools
    tenants, created_at, ended = world.keys["tenants"], world.keys["tenant_created"], world.keys["tenant_ended"]
    n = len(tenants) * 10
    now = micros(world.as_of)
    tenant = np.repeat(tenants, 10)
    end = np.minimum(np.repeat(ended, 10), now)
    created = np.repeat(created_at, 10) + (rng.random(n) * 50 * DAY).astype(np.int64)
    owner = np.arange(n) % 10 == 0
    removed = (rng.random(n) < 0.05) & ~owner & np.isin(tenant, world.keys["live_tenants"])
    removed_at = now - (rng.random(n) * np.minimum(120 * DAY, now - created)).astype(np.int64)
    active = end - (rng.random(n) ** 3 * (end - created)).astype(np.int64)
    last_activity = np.where(removed, np.minimum(active, removed_at), active)
    ids = np.arange(RESERVED + 1, RESERVED + 1 + n)
    live = np.isin(tenant, world.keys["live_tenants"]) & ~removed
    world.keys |= {
        "users": ids[~removed],
        "user_tenants": tenant[~removed],
        "live_users": ids[live],
        "live_user_tenants": tenant[live],
    }
    for start in range(0, n, 20_000):
        part = slice(start, min(start + 20_000, n))
        size = part.stop - part.start
        first, last = rng.integers(0, len(pools.first_names), size), rng.integers(0, len(pools.last_names), size)
        yield [
            ints(ids[part]),
            ints(tenant[part]),
            emails(pools.first_slugs[first].tolist(), pools.last_slugs[last].tolist(), ints(ids[part]), draw(rng, pools.domains, size)),
            pools.first_names[first].tolist(),
            pools.last_names[last].tolist(),
            draw(rng, pools.phones, size),
            draw(rng, pools.jobs, size),
            [f"$argon2id$v=19${r:016x}" for r in rng.integers(0, 2**62, size).tolist()],
            ["fr_FR"] * size,
            stamps(created[part]),
            stamps(last_activity[part]),
            nullable(stamps(removed_at[part]), ~removed[part]),
        ]


def _contracts(world: World) -> Iterator[Chunk]:
    """One a tenant that signed; a fifth of the living ones renewed, so an ended contract stands beside a living one."""
    rng, pools = world.rng("contracts"), world.pools
    signed = world.keys["tenant_state"] != NO_CONTRACT
    tenant, started, ended = (world.keys[k][signed] for k in ("tenants", "tenant_created", "tenant_ended"))
    renewed = (rng.random(len(tenant)) < 0.2) & (ended == _NEVER)
    middle = started + (micros(world.as_of) - started) // 2
    tenant = np.concatenate([tenant, tenant[renewed]])
    started = np.concatenate([np.where(renewed, middle, started), started[renewed]])
    ended = np.concatenate([ended, middle[renewed]])
    n = len(tenant)
    ids = np.arange(RESERVED + 1, RESERVED + 1 + n)
    world.keys |= {"contracts": ids, "contract_tenants": tenant, "contract_started": started, "contract_ended": ended}
    transition = np.where(rng.random(n) < 0.2, 30 * DAY, 0)
    service = np.where(ended == _NEVER, 0, ended) + transition
    runs = (ended == _NEVER) | (service > micros(world.as_of))
    first, last = draw(rng, pools.first_names, n), draw(rng, pools.last_names, n)
    yield [
        ints(ids),
        ints(tenant),
        [f"CT-{i:06d}" for i in ids.tolist()],
        [f"{f} {la}" for f, la in zip(first, last, strict=True)],
        [f"direction@{d}" for d in draw(rng, pools.domains, n)],
        draw(rng, _PLANS, n),
        ints(rng.integers(19, 400, n) * 100),
        stamps(started),
        nullable(stamps(np.where(ended == _NEVER, 0, ended)), ended == _NEVER),
        nullable(stamps(service), runs),
    ]


def _billing_invoices(world: World) -> Iterator[Chunk]:
    rng, pools = world.rng("billing_invoices"), world.pools
    contracts, tenants = world.keys["contracts"], world.keys["contract_tenants"]
    now = micros(world.as_of)
    this_year = paris_date(world.as_of).year
    for key, n in ranges(world.count(10_000, least=40)):
        index = rng.integers(0, len(contracts), n)
        started, ended = world.keys["contract_started"][index], np.minimum(world.keys["contract_ended"][index], now)
        issued = started + (rng.random(n) * (ended - started)).astype(np.int64)
        year = issued.astype("datetime64[us]").astype("datetime64[Y]").astype(int) + 1970
        paid = issued + rng.integers(1, 45, n) * DAY
        cents = rng.integers(19, 900, n) * 100
        yield [
            ints(np.arange(key, key + n)),
            ints(tenants[index]),
            ints(contracts[index]),
            [f"F{y}-{i:06d}" for y, i in zip(year.tolist(), range(key, key + n), strict=True)],
            draw(rng, pools.companies, n),
            [f"compta@{d}" for d in draw(rng, pools.domains, n)],
            draw(rng, pools.streets, n),
            ["EUR"] * n,
            ints(cents),
            ints(cents // 5),
            [json.dumps([{"label": "Abonnement mensuel", "quantity": 1, "net_cents": c}]) for c in cents.tolist()],
            stamps(issued),
            nullable(stamps(paid), paid >= now),
            [str(date(y, 12, 31)) if y < this_year else NULL for y in year.tolist()],
        ]


def _leads(world: World) -> Iterator[Chunk]:
    """Three years and two months of leads, so that about one in twenty is due; one in ten became a customer."""
    rng, pools = world.rng("leads"), world.pools
    since, now = world.as_of - timedelta(days=1160), micros(world.as_of)
    live = world.keys["live_tenants"]
    for key, n in ranges(world.count(10_000, least=40)):
        created = spread(rng, n, since, world.as_of)
        contact = created + (rng.random(n) * (now - created) * 0.3).astype(np.int64)
        opened = created + (rng.random(n) * (now - created)).astype(np.int64)
        first, last = rng.integers(0, len(pools.first_names), n), rng.integers(0, len(pools.last_names), n)
        yield [
            ints(np.arange(key, key + n)),
            emails(
                pools.first_slugs[first].tolist(),
                pools.last_slugs[last].tolist(),
                ints(np.arange(key, key + n)),
                draw(rng, pools.domains, n),
            ),
            pools.first_names[first].tolist(),
            pools.last_names[last].tolist(),
            draw(rng, pools.phones, n),
            draw(rng, pools.companies, n),
            draw(rng, pools.jobs, n),
            draw(rng, _SOURCES, n),
            draw(rng, pools.sentences, n),
            stamps(created),
            nullable(stamps(contact), rng.random(n) < 0.5),
            nullable(stamps(opened), rng.random(n) < 0.6),
            nullable(ints(live[rng.integers(0, len(live), n)]), rng.random(n) >= 0.1),
        ]


CUSTOMER_TABLES = (
    TableRows(
        name="tenants",
        columns=(
            "id",
            "owner_user_id",
            "name",
            "legal_name",
            "siren",
            "vat_number",
            "contact_email",
            "contact_phone",
            "address",
            "postcode",
            "city",
            "plan",
            "created_at",
        ),
        at_scale_1=400,
        make=_tenants,
        defaults={
            "owner_user_id": None,
            "name": "Atelier du Canal",
            "legal_name": "Atelier du Canal SARL",
            "siren": "512345678",
            "vat_number": "FR12512345678",
            "contact_email": "contact@atelier-du-canal.example",
            "contact_phone": "0102030405",
            "address": "3 quai de Valmy",
            "postcode": "75010",
            "city": "Paris",
            "plan": "equipe",
            "created_at": None,
        },
    ),
    TableRows(
        name="users",
        columns=(
            "id",
            "tenant_id",
            "email",
            "first_name",
            "last_name",
            "phone",
            "job_title",
            "password_hash",
            "locale",
            "created_at",
            "last_activity_at",
            "removed_at",
        ),
        at_scale_1=4_000,
        make=_users,
        defaults={
            "tenant_id": 1,
            "email": None,
            "first_name": "Zoé",
            "last_name": "Garçon",
            "phone": "0601020304",
            "job_title": "gérante",
            "password_hash": "$argon2id$v=19$planted",
            "locale": "fr_FR",
            "created_at": None,
            "last_activity_at": None,
            "removed_at": None,
        },
    ),
    TableRows(
        name="contracts",
        columns=(
            "id",
            "tenant_id",
            "number",
            "signatory_name",
            "signatory_email",
            "plan",
            "monthly_cents",
            "started_at",
            "ended_at",
            "service_ended_at",
        ),
        at_scale_1=450,
        make=_contracts,
        defaults={
            "number": "CT-PLANTED",
            "signatory_name": "Zoé Garçon",
            "signatory_email": "direction@atelier-du-canal.example",
            "plan": "equipe",
            "monthly_cents": 4900,
            "started_at": None,
            "ended_at": None,
            "service_ended_at": None,
        },
    ),
    TableRows(
        name="billing_invoices",
        columns=(
            "id",
            "tenant_id",
            "contract_id",
            "number",
            "billed_name",
            "billed_email",
            "billed_address",
            "currency",
            "net_cents",
            "vat_cents",
            "lines",
            "issued_at",
            "paid_at",
            "financial_year_closed_on",
        ),
        at_scale_1=10_000,
        make=_billing_invoices,
        defaults={
            "tenant_id": 1,
            "contract_id": 1,
            "number": "F-PLANTED",
            "billed_name": "Atelier du Canal",
            "billed_email": "compta@atelier-du-canal.example",
            "billed_address": "3 quai de Valmy",
            "currency": "EUR",
            "net_cents": 4900,
            "vat_cents": 980,
            "lines": [],
            "issued_at": None,
            "paid_at": None,
            "financial_year_closed_on": None,
        },
    ),
    TableRows(
        name="leads",
        columns=(
            "id",
            "email",
            "first_name",
            "last_name",
            "phone",
            "company",
            "job_title",
            "source",
            "message",
            "created_at",
            "last_contact_at",
            "last_mail_opened_at",
            "converted_tenant_id",
        ),
        at_scale_1=10_000,
        make=_leads,
        defaults={
            "email": "piste@exemple.example",
            "first_name": "Noé",
            "last_name": "Lefèvre",
            "phone": "0611223344",
            "company": "Chez Noé",
            "job_title": "gérant",
            "source": "formulaire",
            "message": None,
            "created_at": None,
            "last_contact_at": None,
            "last_mail_opened_at": None,
            "converted_tenant_id": None,
        },
    ),
)
