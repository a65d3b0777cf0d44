"""Archive objects whose period is over: what goes, what a hold keeps of them, what is never touched, and how a night of it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.company import Company, company_of, twelve_months
from helpers.control import ControlDatabase
from helpers.expiring import NOT_YET, Shelved, Vault, vault
from helpers.purging import AS_OF, CUTOFF, world_of
from lethe.control.results import Verified, load_results
from lethe.errors import MissedRun, NotClean, PurgeFailed
from lethe.evidence.ledger import records
from lethe.instants import local_day, now
from lethe.plan.model import HoldScope
from lethe.retention import PlannedRun, guard_run, plan_expiry, purge_run_group, record_run, verify_run, watch
from lethe.verify.shelf import Shelf

PLAIN = [Shelved(key=k) for k in range(1, 41)]


@pytest.fixture
def made(control: ControlDatabase, postgres: PostgresServer, moto: ObjectServer) -> Vault:
    return vault(control, postgres.port, moto.endpoint)


def until_over(end: datetime) -> None:
    """A lock of a real store ends when it ends."""
    time.sleep(max(0.0, (end - now()).total_seconds()) + 1)


def mixed(made: Vault, first: int = 100) -> list[Shelved]:
    """Thirty rows, ten of them of the tenant that is held."""
    return [Shelved(key=first + n, tenant=f"{made.tag}-held" if n % 3 == 0 else "other", persons=("7",)) for n in range(30)]


def test_due_objects_go_with_all_versions_markers_uploads_and_manifests_and_the_others_stay(made: Vault) -> None:
    due, later = made.put(PLAIN), made.put([Shelved(key=90)], NOT_YET)
    other = made.put([Shelved(key=91)], law="Another law")
    client, bucket = made.archive.bucket._client, made.archive.bucket.name
    client.delete_object(Bucket=bucket, Key=due.key)  # a marker over it
    client.create_multipart_upload(Bucket=bucket, Key=due.key)
    before = made.archive.bucket.get(later.key, None)
    counted = made.planned()
    assert (counted.counts.total, counted.counts.due, counted.counts.held) == (41, 40, 0)
    totals = made.where.expire()
    assert (totals.error, totals.deleted, totals.failed) == (None, 40, 0)
    assert set(made.ids()) == {later.id, other.id}
    assert made.archive.bucket.get(later.key, None) == before
    assert made.states() == {"expired": 1, "sealed": 1}
    assert made.known(due.id).state == "expired"
    assert made.sql("SELECT ended_by FROM lethe.archive_objects WHERE id = %(id)s", {"id": due.id}) == [(made.where.plan.digest,)]


def test_an_object_with_some_held_rows_is_written_anew_with_those_alone(made: Vault) -> None:
    rows = mixed(made)
    old = made.put(rows)
    made.hold(tenant=f"{made.tag}-held")
    counted = made.planned(HoldScope(id=1, tenant=f"{made.tag}-held"))
    assert (counted.counts.due, counted.counts.held) == (30, 10)
    totals = made.where.expire()
    assert (totals.error, totals.deleted) == (None, 20)
    assert made.rows() == [r.key for r in rows if r.tenant == f"{made.tag}-held"]
    assert made.states() == {"replaced": 1, "sealed": 1}
    (new,) = [made.known(i) for i in made.ids()]
    assert new.manifest is not None and new.manifest.replaces == old.id
    assert (new.rows, new.expires_at, sorted(made.ids()[new.id])) == (10, old.expires_at, ["manifest", "object"])
    subjects = made.sql("SELECT count(*) FROM lethe.archive_subjects WHERE object = %(id)s", {"id": old.id})
    assert subjects == [(0,)], "who was in the old one is forgotten"
    again = replace(made, where=replace(made.where, as_of=made.where.as_of + timedelta(hours=1)))
    assert (again.where.expire().deleted, list(made.ids())) == (0, [new.id]), "a rewrite that would remove nothing is not made"


def test_a_hold_that_is_lifted_lets_the_rest_go(made: Vault) -> None:
    made.put(mixed(made))
    number = made.hold(tenant=f"{made.tag}-held")
    assert made.where.expire().deleted == 20
    made.lift(number)
    next_night = replace(made.where, as_of=made.where.as_of + timedelta(hours=1))
    assert next_night.expire().deleted == 10
    assert made.ids() == {}
    assert made.states() == {"replaced": 1, "expired": 1}


@pytest.mark.parametrize("scope", [{"dataset": "logs"}, {"person": ("users", "7")}, {"since": datetime(2020, 1, 1, tzinfo=UTC)}])
def test_an_object_that_a_hold_keeps_whole_stays_as_it_is(made: Vault, scope: dict[str, object]) -> None:
    kept = made.put(mixed(made))
    before = made.archive.bucket.get(kept.key, None)
    number = made.hold(**scope)
    totals = made.where.expire()
    made.lift(number)
    assert (totals.error, totals.deleted) == (None, 0)
    assert made.known(kept.id) == kept
    assert made.archive.bucket.get(kept.key, None) == before


def test_an_object_that_is_not_what_its_manifest_says_stays_and_fails_its_step_by_id(made: Vault) -> None:
    sound, changed, gone = made.put(PLAIN), made.put([Shelved(key=50)]), made.put([Shelved(key=51)])
    client, bucket = made.archive.bucket._client, made.archive.bucket.name
    client.delete_object(Bucket=bucket, Key=changed.key, VersionId=changed.version)
    client.put_object(Bucket=bucket, Key=changed.key, Body=b"something else")
    version = client.list_object_versions(Bucket=bucket, Prefix=changed.key)["Versions"][0]["VersionId"]
    made.sql("UPDATE lethe.archive_objects SET version = %(v)s WHERE id = %(id)s", {"v": version, "id": changed.id})
    client.delete_object(Bucket=bucket, Key=gone.key, VersionId=gone.version)
    totals = made.where.expire()
    assert totals.error_kind == "ArchiveDiffers" and changed.id in str(totals.error) and gone.id in str(totals.error)
    assert totals.deleted == sound.rows, "the others expire all the same"
    assert made.ids()[changed.id] == ["manifest", "object"] or sorted(made.ids()[changed.id]) == ["manifest", "object"]
    assert {made.known(i).state for i in (changed.id, gone.id)} == {"sealed"}


def test_a_run_of_another_plan_ends_what_a_killed_one_left(made: Vault) -> None:
    due = made.put(PLAIN)
    made.sql(
        "INSERT INTO lethe.batches (plan, attempt, step, number, state, technique, range, rows, details) VALUES "
        "('another', 1, %(step)s, 1, 'intent', 'archive expiry', '{}', 40, jsonb_build_object('objects', jsonb_build_array(%(id)s::text), "
        "'young', '[]'::jsonb, 'new', null))",
        {"step": made.where.step.id, "id": due.id},
    )
    made.archive.bucket._client.delete_object(Bucket=made.archive.bucket.name, Key=due.key, VersionId=due.version)
    totals = made.where.expire()
    assert (totals.error, totals.deleted) == (None, 0)
    assert made.sql("SELECT state, rows FROM lethe.batches WHERE plan = 'another'") == [("committed", 40)]
    assert made.known(due.id).state == "expired"
    assert made.ids() == {}, "its manifest was swept"


@pytest.mark.ceph
def test_an_object_whose_lock_is_still_in_force_stays_and_goes_once_it_is_over(
    control: ControlDatabase, postgres: PostgresServer, ceph: CephGateway
) -> None:
    made = vault(control, postgres.port, ceph.endpoint, lock=True, keys=ceph.new_user())
    free, locked = made.put(PLAIN), made.put([Shelved(key=50)])
    made.archive.bucket.lock(locked.key, locked.version, now() + timedelta(seconds=6))
    totals = made.where.expire()
    assert (totals.deleted, totals.failed, totals.error_kind) == (40, 1, "ObjectErrors")
    assert "AccessDenied" in str(totals.error)
    assert sorted(made.ids()[locked.id]) == ["manifest", "object"]
    assert made.known(free.id).state == "expired"
    end = made.archive.bucket.lock_until(locked.key, locked.version)
    assert end is not None
    until_over(end)
    totals = made.where.expire()
    assert (totals.error, totals.deleted, totals.failed) == (None, 41, 0), "what was refused at first counts as failed no more"
    assert made.ids() == {}


# Whole nights


@dataclass(frozen=True, kw_only=True)
class Expired:
    """What a night of the expiry did. `red`: why its record raised."""

    planned: PlannedRun
    waits: bool
    results: dict[str, Verified]
    red: str
    report: str


@dataclass(frozen=True, kw_only=True)
class Archivist:
    """A company with an archive, and the library's way through a night of its expiry."""

    company: Company
    vault: Vault

    def night(self, *, as_of: datetime = AS_OF, dry_run: bool = False, before: Callable[[], object] = lambda: None) -> Expired:
        with self.company.open() as workspace:
            planned = plan_expiry(workspace, as_of=as_of, dry_run=dry_run)
            run = (planned.digest, planned.attempt)
            verdict = guard_run(workspace, *run)
            before()
            if not dry_run and not verdict.waits:
                for group in planned.groups:
                    with suppress(PurgeFailed):
                        purge_run_group(workspace, *run, group.steps)
            verify_run(workspace, *run)
            red, report = "", ""
            try:
                record_run(workspace, *run, dry_run=dry_run)
            except NotClean as error:
                red = error.problem
            for page in (self.company.folder / "reports").glob("*.html"):
                report = page.read_text() if planned.digest[:12] in page.name else report
            with workspace.control.connect() as control:
                results = load_results(control, *run)
        return Expired(planned=planned, waits=verdict.waits, results=results, red=red, report=report)

    def evidence(self, kind: str) -> list[dict[str, Any]]:
        with self.company.open() as workspace, workspace.control.connect() as control:
            return [r.content for r in records(control, kind=kind)]


@pytest.fixture
def archivist(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Archivist]:
    yield from archivists(postgres, database, moto, tmp_path, monkeypatch, endpoint=moto.endpoint)


def archivists(
    postgres: PostgresServer,
    database: str,
    moto: ObjectServer,
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    endpoint: str,
    **changes: Any,
) -> Iterator[Archivist]:
    """A company whose policy has no rule that archives: what is in its archive comes from a rule that is gone."""
    with world_of(postgres, database) as world, company_of(world, moto, folder / "small", patch) as company:
        company.policy(twelve_months("logs", "acts"), max_share=1.0)
        made = vault(world.control, postgres.port, endpoint, **changes)
        seen = made.archive.connection
        named = {"conn_type": "aws", "login": seen.login, "password": seen.password, "extra": seen.extra}
        patch.setenv("AIRFLOW_CONN_ARCHIVE_S3", json.dumps(named))
        patch.setenv("LETHE_REPORTS_DIR", str(company.folder / "reports"))
        yield Archivist(company=company, vault=made)


def test_a_night_of_the_expiry_is_clean_at_level_two_with_the_date_of_level_four(archivist: Archivist) -> None:
    made = archivist.vault
    made.put(PLAIN)
    later = made.put([Shelved(key=90)], NOT_YET)
    night = archivist.night()
    (result,) = night.results.values()
    assert (night.red, night.waits) == ("", False)
    assert (result.outcome, result.level, result.terms["planned"], result.terms["deleted"]) == ("clean", "L2", 40, 40)
    assert result.details["l4_on"] == (local_day(now(), "Europe/Paris") + timedelta(days=35)).isoformat()
    assert {c["status"] for c in result.details["checks"]} == {"passed"}
    assert set(made.ids()) == {later.id}
    assert archivist.evidence("archive.expired")[0]["rows"] == 40
    assert f"objects of logs under {made.where.law}" in night.report


def test_rows_that_a_hold_keeps_past_their_expiry_are_listed_as_such(archivist: Archivist) -> None:
    made = archivist.vault
    made.put(mixed(made))
    whole = made.put([Shelved(key=1, tenant=f"{made.tag}-held")])
    made.hold(tenant=f"{made.tag}-held", review_on=date(2099, 1, 1))
    night = archivist.night()
    (result,) = night.results.values()
    assert (night.red, result.outcome, result.level) == ("", "clean", "L2")
    assert {t: result.terms[t] for t in ("planned", "deleted", "held", "changed", "arrived")} == {
        "planned": 31,
        "deleted": 20,
        "held": 11,
        "changed": 0,
        "arrived": 0,
    }
    (new,) = set(made.ids()) - {whole.id}
    assert result.details["past_expiry"] == {whole.id: 1, new: 10}
    assert "11 rows are past their expiry and kept by a hold, in 2 archive objects" in night.report
    again = archivist.night(as_of=AS_OF + timedelta(hours=1))
    (result,) = again.results.values()
    assert (result.outcome, result.terms["planned"], result.terms["deleted"], result.terms["held"]) == ("clean", 11, 0, 11)


def test_a_hold_of_the_time_between_plan_and_expiry_keeps_its_rows(archivist: Archivist) -> None:
    made = archivist.vault
    made.put(mixed(made))
    night = archivist.night(before=lambda: made.hold(tenant="other"))
    (result,) = night.results.values()
    assert (night.red, result.outcome, result.terms["deleted"], result.terms["held"]) == ("", "clean", 10, 20)


def test_a_dry_run_counts_and_deletes_nothing(archivist: Archivist) -> None:
    made = archivist.vault
    due = made.put(PLAIN)
    night = archivist.night(dry_run=True)
    assert night.planned.counts[made.where.step.id].due == 40
    assert made.known(due.id) == due
    assert made.rows() == [r.key for r in PLAIN]


def test_an_archive_without_an_object_has_a_green_night(archivist: Archivist) -> None:
    night = archivist.night()
    assert (night.red, dict(night.results), night.planned.plan.steps) == ("", {}, ())


def test_a_plan_beyond_its_guard_waits_and_nothing_expires(archivist: Archivist) -> None:
    archivist.company.policy(twelve_months("logs"), max_share=1.0, max_rows=39)
    made = archivist.vault
    made.put(PLAIN)
    night = archivist.night()
    assert night.waits and "did not pass its guard" in night.red
    assert made.rows() == [r.key for r in PLAIN]


def test_an_object_left_behind_is_a_survivor_and_one_that_vanished_is_unknown(archivist: Archivist) -> None:
    made = archivist.vault
    due = made.put(PLAIN)
    bucket, client = made.archive.bucket, made.archive.bucket._client

    def undeleted() -> None:
        client.put_object(Bucket=bucket.name, Key=due.key, Body=b"somebody put it there again")

    with archivist.company.open() as workspace:
        planned = plan_expiry(workspace, as_of=AS_OF, dry_run=False)
        run = (planned.digest, planned.attempt)
        guard_run(workspace, *run)
        purge_run_group(workspace, *run, planned.groups[0].steps)
        undeleted()
        assert verify_run(workspace, *run) == {made.where.step.id: "survivors"}
        purge_run_group(workspace, *run, planned.groups[0].steps)
        assert verify_run(workspace, *run) == {made.where.step.id: "clean"}, "what is left of an object that expired is swept"
    gone = made.put([Shelved(key=50)])
    client.delete_object(Bucket=bucket.name, Key=gone.key, VersionId=gone.version)
    night = archivist.night(as_of=AS_OF + timedelta(hours=1))
    (result,) = night.results.values()
    assert result.outcome != "clean" and gone.id in str(result.details["reasons"]) and night.red


def test_a_bucket_that_cannot_be_asked_for_old_versions_gives_level_one(archivist: Archivist, monkeypatch: pytest.MonkeyPatch) -> None:
    archivist.vault.put(PLAIN)
    listing = Shelf.listing

    def current_only(self: Shelf, prefix: str) -> Any:
        return replace(listing(self, prefix), versions=False)

    monkeypatch.setattr(Shelf, "listing", current_only)
    (result,) = archivist.night().results.values()
    assert (result.outcome, result.level) == ("clean", "L1")
    assert "old versions" in str(result.details["reasons"])


def test_an_expiry_that_did_not_run_is_missed_once_something_was_due(archivist: Archivist) -> None:
    made, company = archivist.vault, archivist.company
    assert company.night(as_of=now() - timedelta(minutes=1)).red == ""
    with company.open() as workspace:
        watch(workspace)
        made.put(PLAIN)
        with pytest.raises(MissedRun, match="1 archive objects were past their expiry"):
            watch(workspace)
        assert archivist.night(as_of=now() - timedelta(minutes=1)).red == ""
        watch(workspace)


def test_nights_of_the_expiry_are_no_nights_of_retention_and_change_nothing_for_them(archivist: Archivist) -> None:
    made, company = archivist.vault, archivist.company
    archivist.night()
    with company.open() as workspace, pytest.raises(MissedRun):
        watch(workspace)
    company.world.sql("INSERT INTO app.logs (id, at) SELECT g, %s FROM generate_series(1, 60) g", [CUTOFF - timedelta(days=9)])
    for n in range(7):
        made.put([Shelved(key=n)])
        expired = archivist.night(as_of=AS_OF + timedelta(minutes=n + 1))
        assert (expired.red, expired.waits, list(expired.planned.findings)) == ("", False, []), "nothing is compared with live data"
    night = company.night(rules=["logs"])
    assert (night.limits, night.deleted) == (set(), {"logs/logs": 60}), "sixty is nothing unusual, although one row expired each night"


@pytest.mark.ceph
def test_a_whole_night_on_a_bucket_with_locks(
    postgres: PostgresServer, database: str, moto: ObjectServer, ceph: CephGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for archivist in archivists(postgres, database, moto, tmp_path, monkeypatch, endpoint=ceph.endpoint, lock=True, keys=ceph.new_user()):
        made = archivist.vault
        made.put(PLAIN)
        made.put(mixed(made))
        later = made.put([Shelved(key=90)], NOT_YET)
        locked = made.put([Shelved(key=91)])
        assert made.archive.bucket.lock_until(later.key, later.version) == later.expires_at
        end = made.archive.bucket.lock(locked.key, locked.version, now() + timedelta(seconds=20))
        made.hold(tenant=f"{made.tag}-held", review_on=date(2099, 1, 1))
        night = archivist.night()
        (result,) = night.results.values()
        assert (result.outcome, result.terms["deleted"], result.terms["held"], result.terms["failed"]) == ("survivors", 60, 10, 1)
        assert night.red and locked.id in made.ids()
        until_over(end)
        night = archivist.night()
        (result,) = night.results.values()
        assert (night.red, result.outcome, result.level) == ("", "clean", "L2")
        assert (result.terms["planned"], result.terms["deleted"], result.terms["held"]) == (71, 61, 10)
        assert len(made.ids()) == 2 and later.id in made.ids(), "the object with the held rows, and the one whose day has not come"
