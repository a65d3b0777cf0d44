"""What the report of a whole night says of the archive: what went there and until when, what is left, and what an expiry took."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archiving import Archive
from helpers.company import VERSION, Company, company_of, twelve_months
from helpers.control import DIGEST_KEY
from helpers.expiring import NOT_YET, OVER, Shelved, Vault, vault
from helpers.purging import AS_OF, CUTOFF, world_of
from lethe.archive.names import name_of
from lethe.control.holds import add_hold
from lethe.errors import NotClean
from lethe.reports.archive import ArchivePart
from lethe.retention import guard_run, plan_expiry, purge_run_group, record_run, verify_run
from lethe.retention.archive_part import archive_part, protection_of
from lethe.retention.planning import plan_run

LAW = "Code civil 2224"
TENANTS, OLD, DUE = 4, 6, 10
"""Of each tenant ten rows are due, of which six are so old that the law's period is over too."""


@dataclass(frozen=True, kw_only=True)
class House:
    """A company that archives its old logs for five years, with its vault."""

    company: Company
    vault: Vault

    @property
    def archive(self) -> Archive:
        return self.vault.archive

    def hold(self, **scope: str) -> None:
        more = {"reason": "litigation", "owner": "legal", "starts_on": AS_OF.date(), "review_on": None, "digest_key": DIGEST_KEY}
        with self.company.open() as workspace, self.company.world.control.runtime.begin() as control:
            add_hold(control, catalog=workspace.catalog, **more, **scope)

    def expire(self) -> str:
        """A night of the expiry; the digest of its plan."""
        with self.company.open() as workspace:
            planned = plan_expiry(workspace, as_of=AS_OF, dry_run=False)
            run = (planned.digest, planned.attempt)
            guard_run(workspace, *run)
            for group in planned.groups:
                purge_run_group(workspace, *run, group.steps)
            verify_run(workspace, *run)
            with suppress(NotClean):
                record_run(workspace, *run)
        return planned.digest

    def part(self, plan: str) -> ArchivePart:
        from lethe.control.plans import load_plan
        from lethe.control.results import load_results

        with self.company.open() as workspace, workspace.control.connect() as control:
            results = load_results(control, plan, 1)
            found = archive_part(control, load_plan(control, plan), 1, results, protection_of(workspace), ran=True)
        assert found is not None
        return found

    def page(self, plan: str) -> str:
        """The report's text, without its tags."""
        (file,) = (self.company.folder / "reports").glob(f"*{plan[:12]}*.html")
        text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", file.read_text(), flags=re.DOTALL)
        return re.sub(r"\s+", " ", html.unescape(text))


@pytest.fixture
def house(postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as company:
        company.policy(twelve_months("logs"), max_share=1.0)
        rules = company.folder / VERSION / "rules.yaml"
        body = yaml.safe_load(rules.read_text())
        kept = {"period": "P5Y", "law": LAW, "ground": "claims", "columns": {"logs": ["id", "at", "tenant_id"]}}
        body["rules"][0] |= {"then": "archive", "archive": kept, "needs": ["archive"]}
        waits = body["rules"][0] | {"id": "acts", "category": "acts", "then": "delete", "needs": ["return_record"]}
        waits.pop("archive")
        body["rules"].append(waits)
        rules.write_text(yaml.safe_dump(body, sort_keys=False))
        made = vault(world.control, postgres.port, moto.endpoint, lock=True)
        seen = made.archive.connection
        named = {"conn_type": "aws", "login": seen.login, "password": seen.password, "extra": seen.extra}
        monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_S3", json.dumps(named))
        monkeypatch.setenv("LETHE_REPORTS_DIR", str(company.folder / "reports"))
        world.sql("INSERT INTO app.tenants SELECT g FROM generate_series(1, %s) g", [TENANTS])
        numbered = "INSERT INTO app.{} SELECT %s + g, %s - g * interval '1 day', 1 + g %% %s, 'private' FROM generate_series(0, %s) g"
        old, young = CUTOFF - timedelta(days=1900), CUTOFF - timedelta(days=40)
        world.sql(numbered.format("logs"), [0, old, TENANTS, TENANTS * OLD - 1])
        world.sql(numbered.format("logs"), [1000, young, TENANTS, TENANTS * (DUE - OLD) - 1])
        world.sql("INSERT INTO app.logs SELECT 5000 + g, %s, 1 FROM generate_series(1, 50) g", [CUTOFF + timedelta(days=9)])
        world.sql(numbered.format("acts"), [0, young, TENANTS, 7])
        yield House(company=company, vault=made)


def test_the_night_says_what_it_archived_under_which_law_and_what_protects_it(house: House) -> None:
    house.hold(tenant="3")
    night = house.company.night()
    assert night.red == ""
    part = house.part(night.planned.digest)
    (kept,) = part.steps
    assert (kept.law, kept.archived, kept.only_deleted, kept.unsealed) == (LAW, 12, 18, 0)
    assert kept.objects == len(house.archive.objects()) > 1
    assert kept.first_expiry is not None and kept.last_expiry is not None
    assert kept.first_expiry < kept.last_expiry
    (split,) = part.splits
    assert (split.terms.planned, split.archived, split.only_deleted, split.terms.held) == (40, 12, 18, 10)
    assert (split.balanced, split.tenants, split.off, split.check) == (True, 4, 0, "passed")
    assert sum(rows for _, _, rows in part.calendar) == sum(s.rows for s in part.shelves) == 12
    (shelf,) = part.shelves
    assert (shelf.sealed, shelf.locked, shelf.encryptions) == (shelf.objects, shelf.objects, (("aws:kms", shelf.objects),))
    assert part.protection is not None and part.protection.protects and not part.protection.lacks
    said = house.page(night.planned.digest)
    for words in ("30 12 archived first", f"logs logs {LAW} ground: claims 5 years 12 18", "comes out", "each object until its own expiry"):
        assert words in said


def test_no_tenants_key_and_no_value_of_a_row_is_in_the_report(house: House) -> None:
    night = house.company.night()
    (file,) = (house.company.folder / "reports").glob("*.html")
    page = file.read_text()
    assert "private" not in page
    assert all(name_of(DIGEST_KEY, "tenants", str(t)) not in page for t in range(1, TENANTS + 1))
    assert night.results["logs/logs"].details["split"].keys() == {name_of(DIGEST_KEY, "tenants", str(t)) for t in range(1, TENANTS + 1)}


def test_a_rule_that_waits_says_how_many_rows_are_due_under_it(house: House) -> None:
    night = house.company.night()
    assert "acts acts 12 months from age 8 a record that the tenant got its data back" in house.page(night.planned.digest)
    assert house.company.world.number("SELECT count(*) FROM app.acts") == 8


def test_a_dry_run_says_what_is_in_the_archive_and_calls_nothing_archived_zero(house: House) -> None:
    house.vault.put([Shelved(key=1)], NOT_YET, law=LAW)
    with house.company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=True)
        record_run(workspace, planned.digest, planned.attempt, dry_run=True)
    said = house.page(planned.digest)
    assert f"logs logs {LAW} ground: claims 5 years not yet not yet not yet" in said
    assert (
        f"What is in the archive now Dataset and law Objects Rows Size First expiry Last expiry Sealed Locked Encrypted, as read back logs {LAW} 1 1"
        in said
    )


def test_an_unsealed_object_and_a_bucket_that_does_not_answer_are_red(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    night = house.company.night()
    with house.company.world.control.runtime.begin() as control:
        control.exec_driver_sql(
            "UPDATE lethe.archive_objects SET state = 'confirmed' WHERE id = (SELECT min(id) FROM lethe.archive_objects)"
        )
    part = house.part(night.planned.digest)
    assert [s.unsealed for s in part.steps] == [1]
    assert [s.objects - s.sealed for s in part.shelves] == [1]
    lost = json.dumps({"conn_type": "aws", "login": "k", "password": "s", "extra": {"endpoint_url": "http://127.0.0.1:9", "bucket": "b"}})
    monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_S3", lost)
    asked = house.part(night.planned.digest).protection
    assert asked is not None and not asked.read


def test_the_report_of_an_expiry_says_what_went_what_a_hold_keeps_and_what_is_left(house: House) -> None:
    made = house.vault
    whole = [Shelved(key=k) for k in range(1, 31)]
    mixed = [Shelved(key=100 + n, tenant="3" if n < 4 else "other") for n in range(10)]
    made.put(whole, law=LAW)
    made.put(mixed, OVER, law=LAW)
    left = made.put([Shelved(key=900)], NOT_YET, law=LAW)
    house.hold(tenant="3")
    plan = house.expire()
    part = house.part(plan)
    (gone,) = part.expired
    assert (gone.dataset, gone.law, gone.rows, gone.objects, gone.rewritten) == ("logs", LAW, 36, 1, 1)
    assert ([rows for _, rows in gone.past_expiry], gone.level) == ([4], "L2")
    assert gone.definitive_on is not None
    assert left.id not in dict(gone.past_expiry)
    assert [(s.objects, s.rows) for s in part.shelves] == [(2, 5)]
    said = house.page(plan)
    for words in (
        "Archived data due on",
        "36 1 objects, 1 written anew",
        f"logs {LAW} 36 1 1 4 L2",
        "1 litigation legal",
        "What is left in the archive",
    ):
        assert words in said
    assert house.company.world.number("SELECT count(*) FROM app.logs") == TENANTS * DUE + 50, "the expiry touches no source"
