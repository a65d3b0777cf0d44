"""What Lethe tells from a column itself, held against PostgreSQL: hashes of keys, local days of instants, the text of network addresses."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from lethe.stores.postgres.addresses import texts
from lethe.stores.postgres.derived import hash_of, local_days
from lethe.stores.postgres.gathered import gather

SEED = 20_261_128
ZONES = [
    "UTC",
    "Europe/Paris",
    "Europe/London",
    "America/St_Johns",
    "America/New_York",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
]
"""Clocks that change at midnight and a minute after it, a day that was left out, offsets of odd minutes, two changes within weeks."""


def instants(zone: str) -> list[datetime]:
    """By chance over sixty years, a dense stretch around each change of a zone's clocks in 2011, and the ends of a batch."""
    chance = random.Random(SEED)
    begin = datetime(1975, 1, 1, tzinfo=UTC)
    found = [begin + timedelta(microseconds=chance.randrange(60 * 365 * 86_400 * 1_000_000)) for _ in range(2_000)]
    found += [datetime(2011, 1, 1, tzinfo=UTC) + timedelta(minutes=n, microseconds=zone.count("/")) for n in range(0, 366 * 1_440, 17)]
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_the_local_day_is_postgresql_s(database: str, zone: str) -> None:
    given = instants(zone)
    with psycopg.connect(database) as connection:
        told = connection.execute(
            "SELECT array_agg((i AT TIME ZONE %s)::date ORDER BY n) FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS t(i, n)",
            [zone, given],
        ).fetchone()
    assert told is not None
    assert local_days(pa.array(given, pa.timestamp("us", "UTC")), zone).to_pylist() == told[0]


@pytest.mark.parametrize("zone", ZONES)
def test_a_batch_of_a_few_minutes_has_the_same_days_as_all_of_it(zone: str) -> None:
    given = pa.array(sorted(instants(zone)), pa.timestamp("us", "UTC"))
    whole = local_days(given, zone)
    pieces = [day for n in range(0, len(given), 7) for day in local_days(given.slice(n, 7), zone).to_pylist()]
    assert pieces == whole.to_pylist()


def test_days_of_no_rows_and_of_rows_without_an_instant() -> None:
    kind = pa.timestamp("us", "UTC")
    assert local_days(pa.array([], kind), "UTC").to_pylist() == []
    assert local_days(pa.array([None, None], kind), "Europe/Paris").to_pylist() == [None, None]
    given = pa.array([None, datetime(2026, 1, 1, 23, 30, tzinfo=UTC), None], kind)
    assert [str(d) for d in local_days(given, "Europe/Paris").to_pylist()] == ["None", "2026-01-02", "None"]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, 300_000_000_000 * 1_000_000])
def test_an_instant_in_no_year_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="no year from 1 to 9999"):
        local_days(pa.array([value], pa.timestamp("us", "UTC")), "Europe/Paris")


def test_the_hash_of_a_key_is_postgresql_s(database: str) -> None:
    chance = random.Random(SEED)
    keys = [0, 1, -1, 2**31 - 1, 2**31, 2**32, -(2**31), -(2**32), 2**63 - 1, -(2**63)]
    keys += [chance.randrange(-(2**63), 2**63) for _ in range(5_000)] + [chance.randrange(-(10**6), 10**6) for _ in range(5_000)]
    with psycopg.connect(database) as connection:
        told = connection.execute(
            "SELECT array_agg(hashint8extended(k, 0) ORDER BY n) FROM unnest(%s::bigint[]) WITH ORDINALITY AS t(k, n)", [keys]
        ).fetchone()
    assert told is not None
    assert np.array_equal(hash_of(pa.array(keys, pa.int64())), np.array(told[0], dtype=np.int64))
    assert np.array_equal(hash_of(pa.chunked_array([keys[:7], keys[7:]], pa.int64())), np.array(told[0], dtype=np.int64))


def addresses(version: int) -> list[str | None]:
    """Networks by chance, those of version 6 with words of zeros in every place, and what lies at the ends."""
    chance = random.Random(SEED + version)
    ends: list[str | None] = [None, "0.0.0.0/0", "255.255.255.255/32", "192.0.2.1/24", None]
    if version == 4:
        return ends + [f"{'.'.join(str(chance.randrange(256)) for _ in range(4))}/{chance.randrange(33)}" for _ in range(5_000)]
    words = [[chance.choice((0, 0, 1, 0xFFFF, chance.randrange(1 << 16))) for _ in range(8)] for _ in range(20_000)]
    words += [[0] * zeros + [chance.choice((0xFFFF, 1, 7)) for _ in range(8 - zeros)] for zeros in range(9) for _ in range(50)]
    return ends + [f"{':'.join(f'{w:x}' for w in each)}/{chance.choice((128, 128, 64, chance.randrange(129)))}" for each in words]


@pytest.mark.parametrize("version", [4, 6])
def test_the_text_of_an_address_is_postgresql_s(database: str, version: int) -> None:
    with psycopg.connect(database) as session:
        session.execute("CREATE TEMP TABLE given (n bigint GENERATED ALWAYS AS IDENTITY, a inet)")
        session.execute(
            "INSERT INTO given (a) SELECT v::inet FROM jsonb_array_elements_text(%s::text::jsonb) AS v", [json.dumps(addresses(version))]
        )
        sent = gather(session, ["SELECT a AS i, network(a) AS c, a::text AS it, network(a)::text AS ct FROM given ORDER BY n"])
    for kind in ("i", "c"):
        raw = pa.chunked_array([chunk.storage for chunk in sent[kind].chunks], pa.binary())
        assert texts(raw).to_pylist() == sent[f"{kind}t"].to_pylist()
        for start, rows in ((3, 400), (1, 3), (0, 1), (0, 0), (4, 1)):
            assert texts(raw.slice(start, rows)).to_pylist() == sent[f"{kind}t"].slice(start, rows).to_pylist()


def test_addresses_of_both_versions_may_lie_in_one_column(database: str) -> None:
    given = "array['10.0.0.1', NULL, '2001:db8::1/64', '::ffff:192.0.2.1', '::192.0.2.1', '::1']"
    with psycopg.connect(database) as session:
        sent = gather(session, [f"SELECT a::inet AS i FROM unnest({given}) AS a"])
    raw = pa.chunked_array([chunk.storage for chunk in sent["i"].chunks], pa.binary())
    wanted = ["10.0.0.1/32", None, "2001:db8::1/64", "::ffff:192.0.2.1/128", "::192.0.2.1/128", "::1/128"]
    assert texts(raw).to_pylist() == wanted and texts(raw.slice(1, 1)).to_pylist() == [None]
