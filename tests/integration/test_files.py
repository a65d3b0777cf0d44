"""Files go with their rows, all versions of them, and with no other; what does not find its counterpart is counted on both sides."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.company import company_of, twelve_months
from helpers.control import DIGEST_KEY
from helpers.filing import TABLES_WITH_FILES, Papers, files_step, papers_of, process
from helpers.purging import AS_OF, World, plan_of, world_of
from helpers.wire import Wire, wire_to
from lethe.catalog.check import check_catalog
from lethe.catalog.load import load_catalog
from lethe.catalog.model import Files
from lethe.control.holds import active_scopes, add_hold
from lethe.control.plans import Counted, save_counts
from lethe.errors import AuditFailed, PartialView, Unreachable
from lethe.evidence.ledger import records
from lethe.instants import now
from lethe.plan.make import make_plan
from lethe.plan.model import Counts
from lethe.policy.load import load_version
from lethe.policy.model import Need
from lethe.policy.period import Period
from lethe.purge.faults import FILE_POINTS
from lethe.retention import audit
from lethe.settings import SHIPPED
from lethe.stores.postgres.keys import freeze
from lethe.verify.files import FilesCompared, before_key, compare_files, without_rows
from lethe.verify.result import FILES, Check, StepResult
from lethe.verify.run import verify_run

LATER = timedelta(hours=2)
"""After this a new object without a row is judged."""


@pytest.fixture
def world(postgres: PostgresServer, database: str) -> Iterator[World]:
    with world_of(postgres, database) as made:
        yield made


@pytest.fixture
def wire(moto: ObjectServer) -> Iterator[Wire]:
    with wire_to(moto.endpoint) as made:
        yield made


@pytest.fixture
def papers(world: World, moto: ObjectServer, wire: Wire) -> Papers:
    return papers_of(world, moto.endpoint, wire.endpoint)


@pytest.fixture
def shelf(world: World, ceph: CephGateway) -> Papers:
    return papers_of(world, ceph.endpoint, keys=ceph.new_user(), lock=True)


def fill(made: Papers, due: int = 6) -> dict[str, int]:
    """Due rows with files in every shape; neighbours that stay. By key: how many entries go."""
    entries = {}
    for n in range(due):
        key = made.put(f"papers/t1/{n:04}", f"{n} first", f"{n} second", hidden=n % 3 == 0, unfinished=n % 3 == 1)
        entries[key] = 2 + (n % 3 in (0, 1))
        made.row(n, key, tenant_id=1)
    made.row(50, made.put("papers/t1/0000-annex", "a key that begins like another", hidden=True), due=False, tenant_id=1)
    made.put("papers/t1/0000-annex", "again", unfinished=True)
    made.row(51, made.put("papers/t2/0000", "one", "two"), due=False, tenant_id=2)
    made.put("elsewhere/t1/0000", "not of this prefix")
    return entries


def is_unchanged(made: Papers, before: dict[str, Any], gone: set[str]) -> None:
    assert made.shelved() == {k: v for k, v in before.items() if k not in gone}


def test_the_files_of_due_rows_go_with_all_versions_markers_and_uploads_on_a_real_gateway(shelf: Papers) -> None:
    entries = fill(shelf)
    before = shelf.shelved()
    totals = shelf.where.purge()["papers"]
    assert (totals.deleted, totals.error, totals.techniques) == (6, None, ("careful",))
    assert shelf.ids() == [50, 51]
    is_unchanged(shelf, before, set(entries))
    assert shelf.counted() == {"rows": 6, "entries": sum(entries.values()), "missing": 0, "shared": 0}


def test_no_key_of_a_file_is_written_down(papers: Papers) -> None:
    fill(papers)
    assert papers.where.purge()["papers"].deleted == 6
    assert "rule/papers" in papers.written()
    assert "papers/t1" not in papers.written()


def test_rows_without_a_file_and_rows_whose_file_is_missing_go_too(papers: Papers) -> None:
    papers.row(1, None)
    papers.row(2, "papers/never/put")
    papers.row(3, "papers/" + "x" * 2_000)
    papers.row(4, papers.put("papers/there"))
    papers.row(5, None, due=False)
    assert papers.where.purge()["papers"].deleted == 4
    assert (papers.ids(), papers.shelved()) == ([5], {})
    assert papers.counted() == {"rows": 3, "entries": 1, "missing": 2, "shared": 0}


def test_a_file_that_a_row_which_stays_names_too_is_left(papers: Papers) -> None:
    """In the same table, and in another one whose files lie in the same bucket."""
    for n, key in enumerate(("papers/both-due", "papers/same-table", "papers/other-table", "papers/alone")):
        papers.row(n, papers.put(key))
    papers.row(10, "papers/same-table", due=False)
    papers.row(-1, "papers/both-due")
    papers.row(1, "papers/other-table", due=False, table="covers")
    before = papers.shelved()
    assert papers.where.purge()["papers"].deleted == 5
    is_unchanged(papers, before, {"papers/alone", "papers/both-due"})
    assert papers.ids() == [10]
    assert papers.counted()["shared"] == 2


def test_rows_that_share_a_file_across_batches_lose_it_with_the_last_of_them(papers: Papers) -> None:
    papers.put("papers/shared", "one", "two")
    for n in range(papers.where.files * 2 + 1):
        papers.row(n, "papers/shared")
    assert papers.where.purge()["papers"].deleted == papers.where.files * 2 + 1
    assert papers.shelved() == {}
    assert papers.counted() == {"rows": 9, "entries": 2, "missing": 0, "shared": 2}


def test_a_held_row_keeps_its_file(papers: Papers) -> None:
    for n in (1, 2):
        papers.row(n, papers.put(f"papers/{n}"), tenant_id=n)
    before = papers.shelved()
    with papers.world.control.runtime.begin() as connection:
        add_hold(
            connection,
            reason="litigation",
            owner="j.dupont",
            starts_on=date(2020, 1, 1),
            review_on=None,
            digest_key=DIGEST_KEY,
            tenant="1",
            catalog=papers.where.catalog,
            at=AS_OF,
        )
    assert papers.where.purge(holds=lambda c: active_scopes(c, AS_OF.date()))["papers"].deleted == 1
    assert papers.ids() == [1]
    is_unchanged(papers, before, {"papers/2"})


def test_rows_that_refer_to_each_other_lose_their_files_together(papers: Papers) -> None:
    for n in range(6):
        papers.row(n, papers.put(f"papers/{n}"), table="replies", parent_id=n - 1 if n % 3 else None, due=n != 5)
    before = papers.shelved()
    totals = papers.where.purge("replies")["replies"]
    assert (totals.deleted, totals.techniques, totals.error) == (3, ("cycle",), None)
    assert papers.ids("replies") == [3, 4, 5], "the answer that stays keeps what it answers, and their files"
    is_unchanged(papers, before, {"papers/0", "papers/1", "papers/2"})
    assert papers.counted("replies") == {"rows": 3, "entries": 3, "missing": 0, "shared": 0}


def test_a_key_outside_of_the_prefix_deletes_neither_its_object_nor_any_row(papers: Papers) -> None:
    papers.put("other/dataset")
    papers.row(1, papers.put("papers/1"))
    papers.row(2, "other/dataset")
    before = papers.shelved()
    totals = papers.where.purge()["papers"]
    assert (totals.error_kind, totals.deleted, papers.ids()) == ("ObjectErrors", 0, [1, 2])
    assert "other/dataset" not in (totals.error or "")
    is_unchanged(papers, before, set())


def test_rows_beyond_what_the_guard_let_pass_keep_their_files(papers: Papers) -> None:
    entries = fill(papers, due=6)
    before = papers.shelved()
    totals = papers.where.purge(ceilings={"rule/papers": 5})["papers"]
    assert (totals.error_kind, totals.deleted) == ("NotApproved", 4)
    assert papers.ids() == [4, 5, 50, 51]
    is_unchanged(papers, before, set(list(entries)[:4]))


def test_a_store_that_refuses_an_object_keeps_the_rows_of_its_batch(shelf: Papers) -> None:
    entries = fill(shelf)
    locked = shelf.client.list_object_versions(Bucket=shelf.bucket, Prefix="papers/t1/0005")["Versions"][1]["VersionId"]

    def hold(state: str) -> None:
        shelf.client.put_object_legal_hold(Bucket=shelf.bucket, Key="papers/t1/0005", VersionId=locked, LegalHold={"Status": state})

    hold("ON")
    totals = shelf.where.purge()["papers"]
    assert (totals.error_kind, totals.deleted) == ("ObjectErrors", 4)
    assert "papers/" not in (totals.error or "")
    assert shelf.ids() == [4, 5, 50, 51], "the batch that met the lock was rolled back"
    assert shelf.shelved()["papers/t1/0005"] == [("version", "5 first")], "the locked version is there"
    hold("OFF")
    assert shelf.where.purge()["papers"].deleted == 6
    assert shelf.ids() == [50, 51]
    assert not set(entries) & set(shelf.shelved())


@pytest.mark.parametrize("dataset", ["papers", "replies"])
def test_a_constraint_that_speaks_at_the_commit_only_is_heard_before_an_object_goes(shelf: Papers, dataset: str) -> None:
    """A deferred constraint trigger and a deferred foreign key (by rows that arrive with the DELETE, so that no look before it sees them)."""
    for n in range(6):
        key = shelf.put(f"papers/{n}", f"{n} first", f"{n} second", hidden=n == 5, unfinished=n == 4)
        shelf.row(n, key, table=dataset)
    shelf.row(50, shelf.put("papers/50"), table=dataset, due=False)
    before = shelf.shelved()
    technique = {"papers": "careful", "replies": "cycle"}[dataset]
    world = shelf.world
    world.sql(
        "CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is wanted', OLD.file; END $$;"
        f"CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON app.{dataset} DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (OLD.id >= 4) EXECUTE FUNCTION app.refuse()"
    )
    totals = shelf.where.purge(dataset)[dataset]
    assert (totals.deleted, totals.techniques, totals.error_kind) == (4, (technique,), "LetheError")
    assert "papers/" not in (totals.error or "") and "P0001" in (totals.error or "")
    assert shelf.ids(dataset) == [4, 5, 50]
    is_unchanged(shelf, before, {f"papers/{n}" for n in range(4)})

    world.sql(
        f"DROP TRIGGER refuse ON app.{dataset};"
        f"CREATE TABLE app.copies (id bigint, of_id bigint REFERENCES app.{dataset} DEFERRABLE INITIALLY DEFERRED);"
        "CREATE FUNCTION app.copy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN INSERT INTO app.copies VALUES (1, OLD.id); RETURN OLD; END $$;"
        f"CREATE TRIGGER copy BEFORE DELETE ON app.{dataset} FOR EACH ROW WHEN (OLD.id = 5) EXECUTE FUNCTION app.copy()"
    )
    world.grant()
    totals = shelf.where.purge(dataset)[dataset]
    assert (totals.deleted, totals.error_kind) == (4, "LetheError") and "23503" in (totals.error or "")
    assert shelf.ids(dataset) == [4, 5, 50]
    is_unchanged(shelf, before, {f"papers/{n}" for n in range(4)})

    world.sql(f"DROP TRIGGER copy ON app.{dataset}")
    assert shelf.where.purge(dataset)[dataset].error is None
    assert shelf.ids(dataset) == [50]
    is_unchanged(shelf, before, {f"papers/{n}" for n in range(6)})


@pytest.mark.parametrize(("kind", "nth"), [("list versions", 6), ("list uploads", 2), ("delete", 3)])
def test_a_store_that_stops_answering_keeps_the_rows_and_the_next_run_ends_it(papers: Papers, wire: Wire, kind: Any, nth: int) -> None:
    entries = fill(papers)
    before = papers.shelved()
    wire.fail(kind, nth, "cut", and_stop=True)
    totals = papers.where.purge()["papers"]
    assert (totals.error_kind, totals.deleted, papers.ids()) == ("Unreachable", 4, [4, 5, 50, 51])
    wire.mend()
    totals = papers.where.purge()["papers"]
    assert (totals.error, totals.deleted, papers.ids()) == (None, 6, [50, 51])
    is_unchanged(papers, before, set(entries))


def test_an_answer_that_is_lost_is_asked_for_again(papers: Papers, wire: Wire) -> None:
    entries = fill(papers)
    before = papers.shelved()
    wire.fail("delete", 1, "lost")
    assert (papers.where.purge()["papers"].deleted, papers.ids()) == (6, [50, 51])
    is_unchanged(papers, before, set(entries))


@pytest.mark.parametrize("login", ["lethe_runtime", "lethe_purger"])
def test_no_file_goes_once_a_session_that_keeps_holds_or_rows_is_lost(papers: Papers, wire: Wire, login: str) -> None:
    entries = fill(papers, due=3)
    before = papers.shelved()
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s AND state = 'idle in transaction'"
    wire.at("list uploads", 1, lambda: papers.world.sql(end, [login]))
    assert (papers.where.purge()["papers"].error, papers.ids()) == (None, [50, 51])
    asked = [k for k in wire.requests if k != "other"]
    assert asked.index("delete") > asked.index("list uploads") + 1, "it began anew before anything was deleted"
    assert wire.seen["list uploads"] == 2
    is_unchanged(papers, before, set(entries))


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("name", sorted(FILE_POINTS))
def test_killed_at_a_file_the_next_run_ends_as_one_that_nobody_disturbed(papers: Papers, tmp_path: Path, name: str, nth: int) -> None:
    entries = fill(papers)
    before = papers.shelved()
    answer = tmp_path / "totals.json"
    killed = process(papers.where, faults=f"{name}:kill:{nth}", answer=str(answer))
    killed.start()
    killed.join(90)
    assert killed.exitcode == -signal.SIGKILL
    again = process(papers.where, faults="", answer=str(answer))
    again.start()
    again.join(90)
    (totals,) = json.loads(answer.read_text())
    assert (totals["deleted"], totals["error"], totals["batches"]) == (6, None, 2)
    assert papers.ids() == [50, 51]
    is_unchanged(papers, before, set(entries))
    counted = papers.counted()
    assert counted["rows"] == 6
    assert counted["missing"] == (0 if name.endswith("before") else 4 if nth == 1 else 2), "what the killed batch took is missing"


# The check


def compared(made: Papers, *, after: timedelta = LATER) -> FilesCompared:
    where = made.where
    return compare_files(where.catalog, "paper_files", connections=where.connections, at=now() + after)


def test_an_object_without_a_row_and_a_row_without_an_object_are_both_counted(papers: Papers) -> None:
    fill(papers, due=3)  # Of the first only a hidden version is left, so its row has no object.
    assert compared(papers).differences == {"rows without an object": 1}
    papers.put("papers/lost")
    papers.put("papers/lost-and-hidden", hidden=True)
    papers.put("papers/in-another-table")
    papers.row(1, "papers/in-another-table", table="covers")
    papers.row(60, "papers/never/put")
    papers.row(61, "papers/never/put")
    assert compared(papers) == FilesCompared(
        dataset="paper_files",
        rows=8,
        objects=6,
        rows_without_object=3,
        objects_without_row=1,
        remains_without_row=1,
        settling=0,
    )
    assert compared(papers).without_row == 2


def test_an_object_that_is_new_may_still_wait_for_its_row(papers: Papers) -> None:
    papers.put("papers/new")
    papers.put("papers/newly-hidden", hidden=True)
    found = compared(papers, after=timedelta(0))
    assert (found.without_row, found.settling) == (0, 2)
    assert (compared(papers).without_row, compared(papers).settling) == (2, 0)


def test_a_bucket_or_a_table_that_cannot_be_read_is_no_zero(papers: Papers, wire: Wire) -> None:
    wire.fail("list versions", 1, "cut", and_stop=True)
    with pytest.raises(Unreachable):
        compared(papers)
    before = without_rows(papers.where.catalog, ["papers"], connections=papers.where.connections, at=AS_OF)
    assert before == {}, "what could not be counted is not kept as a number"
    wire.mend()
    papers.world.sql("ALTER TABLE app.papers ENABLE ROW LEVEL SECURITY")
    bypasses = papers.world.number("SELECT rolbypassrls FROM pg_roles WHERE rolname = 'lethe_checker'")
    papers.world.sql("ALTER ROLE lethe_checker NOBYPASSRLS")  # roles are the server's: another test's company lets its checker see all
    try:
        with pytest.raises(PartialView, match="cannot be read whole"):
            compared(papers)
    finally:
        papers.world.sql(f"ALTER ROLE lethe_checker {'BYPASSRLS' if bypasses else 'NOBYPASSRLS'}")


def verified(made: Papers, before: dict[str, int] | None) -> tuple[StepResult, Check]:
    where = made.where
    (result,) = verify_run(
        plan_of(files_step("papers")),
        catalog=where.catalog,
        connections=where.connections,
        control=made.world.control.runtime,
        attempt=1,
        holds=(),
        backup_window=Period("P35D"),
        zone="Europe/Paris",
        at=now() + LATER,
        baselines=None if before is None else {"source": before},
    )
    return result, next(c for c in result.checks if c.name == FILES)


def planned(made: Papers, rows: int) -> None:
    fingerprint = made.world.number(f"SELECT bit_xor(hashint8extended(id, 0)) FROM app.papers WHERE id < {rows}")
    keys = freeze(np.arange(rows, dtype=np.int64))
    counted = Counted(counts=Counts(due=rows, total=rows), details={"fingerprint": {"rows": rows, "xor": fingerprint}}, keys=keys)
    with made.world.control.runtime.begin() as control:
        save_counts(control, plan_of(files_step("papers")).digest, 1, {"rule/papers": counted})


def test_a_step_is_clean_when_no_file_is_left_without_its_row(papers: Papers) -> None:
    fill(papers)
    planned(papers, 6)
    papers.where.purge()
    result, check = verified(papers, None)
    assert (check.status, check.measured["objects_without_row"]) == ("passed", 0)
    assert (result.outcome, result.reasons, result.terms.deleted) == ("clean", (), 6)


def test_a_step_is_not_clean_when_a_file_outlived_its_row(papers: Papers) -> None:
    """As a purge that forgot the files would leave it. What had no row before the purge is told apart from that."""
    fill(papers)
    planned(papers, 6)
    papers.put("papers/lost-long-ago")
    before = {before_key("paper_files"): compared(papers).without_row}
    papers.where.purge()
    kept = papers.put("papers/t1/0001", "a file that outlives its row")
    result, check = verified(papers, before)
    assert (check.status, result.outcome) == ("failed", "unknown")
    assert (check.measured["without_row_before"], check.measured["objects_without_row"]) == (1, 2)
    assert verified(papers, {before_key("paper_files"): 2})[1].status == "passed"
    assert verified(papers, None)[1].status == "unknown", "without a count of before nothing can be told"
    assert kept not in result.model_dump_json()


def test_the_audit_reports_both_differences_by_number_and_by_no_key(
    papers: Papers, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with company_of(papers.world, moto, tmp_path, monkeypatch) as company:
        company.policy(twelve_months("logs"))
        source = tmp_path / "catalog" / "source.yaml"
        body = yaml.safe_load(source.read_text())
        table = TABLES_WITH_FILES["papers"].model_copy(update={"category": "logs"})
        body["tables"]["papers"] = table.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        source.write_text(yaml.safe_dump(body, sort_keys=False))
        bucket = papers.where.catalog.store("papers_s3").model_dump(mode="json", by_alias=True, exclude_defaults=True)
        (tmp_path / "catalog" / "papers_s3.yaml").write_text(yaml.safe_dump(bucket, sort_keys=False))
        monkeypatch.setenv("AIRFLOW_CONN_PAPERS_S3", f"aws://k:s@/?endpoint_url={moto.endpoint}&region_name=us-east-1")
        papers.put("papers/lost")
        papers.row(1, "papers/never/put", due=False)
        monkeypatch.setattr("lethe.retention.auditing.now", lambda: now() + LATER)
        with company.open() as workspace:
            with pytest.raises(AuditFailed) as refused:
                audit(workspace, as_of=AS_OF)
            with workspace.control.connect() as control:
                (content,) = [r.content for r in records(control, kind="audit.finished")]
    assert content["files"]["paper_files"] | {"settling": 0} == {
        "rows": 1,
        "objects": 1,
        "rows_without_object": 1,
        "objects_without_row": 1,
        "remains_without_row": 0,
        "settling": 0,
    }
    assert "papers/" not in json.dumps(content) + str(refused.value)


# The catalog


def test_files_name_a_prefix_and_a_column_that_are_there() -> None:
    catalog, policy = load_catalog(SHIPPED / "catalog"), load_version(SHIPPED / "2026-05-01")

    def found(files: Files) -> set[str]:
        store = catalog.store("spotrak_db")
        table = store.tables["attachments"].model_copy(update={"files": files})
        changed = store.model_copy(update={"tables": store.tables | {"attachments": table}})
        stores = tuple(changed if s.id == store.id else s for s in catalog.stores)
        findings = check_catalog(catalog.model_copy(update={"stores": stores}), policy, on=date(2026, 11, 24))
        return {f.problem for f in findings if f.where == "attachments files"}

    assert found(Files(dataset="client_files", column="object_key")) == set()
    assert found(Files(dataset="users", column="object_key")) == {"`users` is no prefix of the catalog."}
    assert found(Files(dataset="client_files", column="path")) == {"`path` is no column of `app.attachments` in the catalog."}


def test_a_shipped_plan_leaves_attachments_and_their_files_until_a_return_is_on_record() -> None:
    catalog, policy = load_catalog(SHIPPED / "catalog"), load_version(SHIPPED / "2026-05-01")
    files = catalog.store("spotrak_db").tables["attachments"].files
    assert files is not None and (files.dataset, files.column) == ("client_files", "object_key")
    plan = make_plan(policy, catalog, as_of=AS_OF, met=frozenset({Need.ARCHIVE}))
    steps = [s for s in plan.steps if s.dataset in ("attachments", "client_files")]
    assert {s.dataset for s in steps} == {"attachments", "client_files"}
    assert not any(s.acts for s in steps)
    acting = make_plan(policy, catalog, as_of=AS_OF, met=frozenset(Need))
    assert [s.id for s in acting.steps if s.dataset in ("attachments", "client_files")] == ["business-data/attachments"], (
        "one step for both"
    )
