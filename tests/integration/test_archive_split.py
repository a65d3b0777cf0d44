"""The check of a night that archives: what came in is archived, deleted or held, tenant by tenant, and lies sealed in the archive's bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archiving import Archive, archive_on
from helpers.company import VERSION, Company, Night, company_of, twelve_months
from helpers.control import DIGEST_KEY
from helpers.purging import CUTOFF, world_of
from lethe.archive.names import name_of
from lethe.control.results import Verified, load_results
from lethe.retention import verify_run
from lethe.verify.result import ARCHIVED, SEALED, SPLIT, THERE

pytestmark = pytest.mark.ceph
STEP = "logs/logs"
TENANTS, OLD, DUE = 4, 40, 80
"""Of each tenant 80 rows are due, of which 40 are so old that the law's period is over too."""


@pytest.fixture
def archive(ceph: CephGateway) -> Archive:
    return archive_on(ceph.endpoint, ceph.new_user())


@pytest.fixture
def company(
    postgres: PostgresServer, database: str, moto: ObjectServer, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    """A table whose rows a law needs for five years, and a policy that archives them after one."""
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as made:
        made.policy(twelve_months("logs"), max_share=1.0)
        rules = made.folder / VERSION / "rules.yaml"
        body = yaml.safe_load(rules.read_text())
        kept = {"period": "P5Y", "law": "Code civil 2224", "ground": "claims", "columns": {"logs": ["id", "at", "tenant_id"]}}
        body["rules"][0] |= {"then": "archive", "archive": kept, "needs": ["archive"]}
        rules.write_text(yaml.safe_dump(body, sort_keys=False))
        seen = archive.connection
        named = {"conn_type": "aws", "login": seen.login, "password": seen.password, "extra": seen.extra}
        monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_S3", json.dumps(named))
        world.sql("INSERT INTO app.tenants (id) SELECT generate_series(1, %s)", [TENANTS])
        for first, at, rows in ((0, timedelta(days=6 * 366), OLD), (1000, timedelta(days=1), DUE - OLD), (2000, -timedelta(days=9), 10)):
            world.sql(
                "INSERT INTO app.logs (id, at, tenant_id, note) SELECT %s + g, %s, 1 + g %% %s, 'x' FROM generate_series(1, %s) g",
                [first, CUTOFF - at, TENANTS, rows * TENANTS],
            )
        world.sql("ANALYZE app.logs")
        yield made


def again(company: Company, night: Night) -> Verified:
    """The step's result when the run is verified once more."""
    with company.open() as workspace:
        verify_run(workspace, night.planned.digest, night.planned.attempt)
        with workspace.control.connect() as control:
            return load_results(control, night.planned.digest, night.planned.attempt)[STEP]


def statuses(result: Verified) -> dict[str, str]:
    return {c["name"]: c["status"] for c in result.details["checks"]}


def names() -> list[str]:
    return [name_of(DIGEST_KEY, "tenants", str(1 + n)) for n in range(TENANTS)]


def test_every_tenants_rows_are_accounted_for_and_lie_sealed_in_the_archive(company: Company, archive: Archive) -> None:
    night = company.night()
    result = night.results[STEP]
    assert (night.red, result.outcome) == ("", "clean")
    assert result.terms["deleted"] == DUE * TENANTS
    assert {statuses(result)[name] for name in (ARCHIVED, THERE, SEALED, SPLIT)} == {"passed"}
    whole: dict[str, Any] = {"planned": DUE, "archived": DUE - OLD, "deleted": OLD, "left": 0}
    assert result.details["split"] == dict.fromkeys(sorted(names()), whole)
    assert archive.rows().num_rows == (DUE - OLD) * TENANTS


def test_held_rows_are_left_and_told_by_their_tenant(company: Company) -> None:
    company.world.sql(
        "INSERT INTO lethe.holds (tenant, reason, owner, starts_on, review_on) VALUES ('2', 'audit', 'o', '2026-01-01', '2099-01-01')"
    )
    night = company.night()
    result = night.results[STEP]
    assert (night.red, result.outcome, result.terms["held"]) == ("", "clean", DUE)
    assert result.details["split"][names()[1]] == {"planned": DUE, "archived": 0, "deleted": 0, "left": DUE}
    assert result.details["split"][names()[0]] == {"planned": DUE, "archived": DUE - OLD, "deleted": OLD, "left": 0}


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ("UPDATE lethe.archive_objects SET rows = rows - 1", ARCHIVED),
        ("DELETE FROM lethe.archive_subjects; DELETE FROM lethe.archive_objects", ARCHIVED),
        ("UPDATE lethe.archive_objects SET state = 'confirmed'", SEALED),
        ("UPDATE lethe.archive_objects SET lock_until = NULL", SEALED),
        (
            "UPDATE lethe.batches SET details = jsonb_set(details, '{tenants}', (details -> 'tenants') - (SELECT min(k) FROM "
            "jsonb_object_keys(details -> 'tenants') k)) WHERE details ? 'tenants'",
            SPLIT,
        ),
    ],
    ids=["rows", "manifests", "unsealed", "unlocked", "a tenant"],
)
def test_what_does_not_add_up_is_found_by_name(company: Company, broken: str, failed: str) -> None:
    night = company.night()
    assert night.results[STEP].outcome == "clean"
    for statement in broken.split("; "):
        company.world.sql(statement)
    result = again(company, night)
    assert {name for name, status in statuses(result).items() if status != "passed"} == {failed}
    assert result.outcome == "unknown"


def test_an_object_that_is_not_there_or_has_another_size_is_found(company: Company, archive: Archive) -> None:
    night = company.night()
    company.world.sql("UPDATE lethe.archive_objects SET version = 'another'")
    result = again(company, night)
    assert statuses(result)[THERE] == "failed" and result.outcome == "unknown"


def test_a_bucket_that_does_not_answer_makes_it_unknown(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    night = company.night()
    monkeypatch.delenv("AIRFLOW_CONN_ARCHIVE_S3")
    assert again(company, night).outcome == "unknown"
