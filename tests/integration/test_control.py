"""Lethe's own database: what is stored comes back, a restart takes up its run, and each role may do what it must and no more."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError

from helpers.control import AS_OF, ControlDatabase, a_plan, a_step, counts
from lethe.control.grants import RIGHTS
from lethe.control.history import last_steps, past_deleted
from lethe.control.maintenance import AIRFLOW_CLEAN, is_overdue, last_success, record_success
from lethe.control.migrate import migrate
from lethe.control.plans import DRY, Counted, latest_counts, load_counts, load_keys, load_plan, save_counts, save_plan
from lethe.control.results import Verified, load_results, save_result
from lethe.control.runs import Opened, open_or_resume, run_of, set_state
from lethe.control.tables import metadata
from lethe.errors import OutOfTurn, PlanAltered, UnknownName
from lethe.evidence.ledger import records
from lethe.plan.model import Step

STEP = "logs/technical_logs"


def test_migrating_twice_or_at_once_changes_nothing(control: ControlDatabase) -> None:
    threads = [threading.Thread(target=migrate, args=(control.owner,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert migrate(control.owner) == ("lethe_runtime", "lethe_archivist", "lethe_approver")
    with control.owner.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM lethe.alembic_version")) == 1


def test_the_migrations_make_the_tables_that_the_code_uses(control: ControlDatabase) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with control.owner.connect() as connection:
        options = {"include_schemas": True, "version_table_schema": "lethe", "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_every_constraint_too(control: ControlDatabase) -> None:
    # compare_metadata does not look at check constraints, so the code's own tables are made beside and compared
    copies = MetaData(schema="copy")
    for table in metadata.sorted_tables:
        table.to_metadata(copies, schema="copy")
    query = text(
        "SELECT conrelid::regclass::text, conname, replace(pg_get_constraintdef(oid), :schema || '.', '') FROM pg_constraint "
        "WHERE connamespace = CAST(:schema AS regnamespace) AND contype <> 'n'"
    )
    with control.superuser.begin() as connection:
        connection.execute(text("CREATE SCHEMA copy"))
        copies.create_all(connection)
        made, wanted = (
            {(table.removeprefix(f"{schema}."), name, says) for table, name, says in connection.execute(query, {"schema": schema})}
            for schema in ("lethe", "copy")
        )
    assert {c for c in made if c[0] != "alembic_version"} == wanted
    assert sum(says.startswith("CHECK") for _, _, says in wanted) >= 10


def test_each_role_has_its_rights_and_no_other(control: ControlDatabase) -> None:
    query = text("SELECT table_name, string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM information_schema.role_table_grants "
                 "WHERE grantee = :role AND table_schema = 'lethe' GROUP BY table_name")  # fmt: skip
    with control.owner.connect() as connection:
        for role, rights in RIGHTS.items():
            found = {name: granted for name, granted in connection.execute(query, {"role": role})}
            assert found == {table: ", ".join(sorted(wanted.split(", "))) for table, wanted in rights.items()}
    assert {t.name for t in metadata.sorted_tables} == set(RIGHTS["lethe_runtime"])


def test_a_plan_comes_back_as_it_was_and_never_changes(control: ControlDatabase) -> None:
    plan = a_plan(a_step(), a_step("logs/pages", predicate=a_step().predicate, waiting_for=("archive",)))
    with control.runtime.begin() as connection:
        assert save_plan(connection, plan) == save_plan(connection, plan) == plan.digest
        assert load_plan(connection, plan.digest) == load_plan(connection, plan.digest[:12]) == plan
        assert load_plan(connection, plan.digest).digest == plan.digest
        for unknown in ("0" * 64, "short", "%%%%%%%%%"):
            with pytest.raises(UnknownName):
                load_plan(connection, unknown)
    with pytest.raises(DBAPIError, match="never changes"), control.superuser.begin() as connection:
        connection.execute(text("UPDATE lethe.plans SET body = body"))
    with control.superuser.begin() as connection:
        connection.execute(text("ALTER TABLE lethe.plans DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE lethe.plans SET body = jsonb_set(body, '{rules}', '[]')"))
    with pytest.raises(PlanAltered), control.runtime.connect() as connection:
        load_plan(connection, plan.digest)


def test_the_first_counts_of_an_attempt_stand_and_those_of_a_dry_run_are_replaced(control: ControlDatabase) -> None:
    plan = a_plan()
    first, second = (Counted(counts=counts(100, due), details={"histogram": [["2025-01", due]]}, keys=bytes([due])) for due in (10, 20))
    with control.runtime.begin() as connection:
        save_plan(connection, plan)
        for attempt in (DRY, 1):
            save_counts(connection, plan.digest, attempt, {STEP: first})
            save_counts(connection, plan.digest, attempt, {STEP: second})
        for attempt, stands in ((1, first), (DRY, second)):
            assert load_counts(connection, plan.digest, attempt) == {STEP: replace(stands, keys=None)}
            assert load_keys(connection, plan.digest, attempt, STEP) == stands.keys
        assert load_keys(connection, plan.digest, 2, STEP) is None
        assert load_counts(connection, plan.digest, 2) == {}
    with control.runtime.begin() as connection:
        save_counts(connection, plan.digest, DRY, {STEP: first})
    with control.runtime.begin() as connection:
        assert latest_counts(connection, plan.digest) == {STEP: first.counts}


def test_an_unfinished_run_is_taken_up_and_a_finished_one_makes_a_new_attempt(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        plan = save_plan(connection, a_plan())
        assert open_or_resume(connection, plan) == Opened(attempt=1, resumed=False)
        set_state(connection, plan, 1, "passed")
        set_state(connection, plan, 1, "purging")
        assert open_or_resume(connection, plan) == Opened(attempt=1, resumed=True)
        assert run_of(connection, plan).interruptions == 1 and run_of(connection, plan).state == "purging"
        set_state(connection, plan, 1, "finished", outcome="clean")
        set_state(connection, plan, 1, "finished", outcome="clean")
        assert open_or_resume(connection, plan, pace="gentle") == Opened(attempt=2, resumed=False)
        assert run_of(connection, plan, 1).outcome == "clean" and run_of(connection, plan, 1).finished_at is not None
        assert [r.kind for r in records(connection, run=plan)] == ["run.opened", "run.resumed", "run.opened"]


def test_a_run_that_failed_is_taken_up_where_it_stopped(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        plan = save_plan(connection, a_plan())
        open_or_resume(connection, plan)
        set_state(connection, plan, 1, "passed")
        set_state(connection, plan, 1, "failed", outcome="survivors")
        assert open_or_resume(connection, plan) == Opened(attempt=1, resumed=True)
        set_state(connection, plan, 1, "purging")
        assert run_of(connection, plan).state == "purging"


def test_two_that_open_a_run_at_once_get_the_same_one(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        plan = save_plan(connection, a_plan())
    opened: list[Opened] = []

    def open_it() -> None:
        with control.runtime.begin() as connection:
            opened.append(open_or_resume(connection, plan))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted((o.attempt, o.resumed) for o in opened) == [(1, False), (1, True), (1, True), (1, True)]


def test_nothing_is_purged_before_the_plan_has_passed_and_a_run_that_is_over_stays_over(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        plan = save_plan(connection, a_plan())
        open_or_resume(connection, plan)
        for state in ("planned", "waiting"):
            set_state(connection, plan, 1, state)
            for later in ("purging", "verifying", "failed"):
                with pytest.raises(OutOfTurn, match="not passed"):
                    set_state(connection, plan, 1, later)
        set_state(connection, plan, 1, "refused")
        with pytest.raises(OutOfTurn, match="already"):
            set_state(connection, plan, 1, "passed")
        with pytest.raises(UnknownName):
            set_state(connection, plan, 9, "passed")


def test_history_is_what_each_past_plan_deleted_in_all_its_finished_attempts(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        for night in range(4):
            plan = a_plan(a_step(period="P12M" if night < 3 else "P6M"), as_of=AS_OF + timedelta(days=night))
            save_plan(connection, plan)
            for attempt, deleted in ((1, 10 * night), (2, 1))[: 1 if night == 1 else 2]:
                open_or_resume(connection, plan.digest)
                terms = {"planned": 50, "deleted": deleted, "survivors": None}
                save_result(connection, plan.digest, attempt, STEP, Verified(outcome="clean", level="L2", terms=terms))
                assert load_results(connection, plan.digest, attempt)[STEP].terms == terms
                at = AS_OF + timedelta(days=night, minutes=attempt)
                set_state(connection, plan.digest, attempt, "passed")
                set_state(connection, plan.digest, attempt, "finished" if night != 1 else "failed", at=at)
        assert past_deleted(connection, [STEP, "never/ran"]) == {STEP: (1, 21, 31)}
        assert past_deleted(connection, [STEP], besides=plan.digest) == {STEP: (1, 21)}
        assert past_deleted(connection, [STEP], limit=2) == {STEP: (21, 31)}
        assert {d: [s.period for s in found] for d, found in last_steps(connection).items()} == {"technical_logs": ["P6M"]}
        assert [s.period for s in last_steps(connection, besides=plan.digest)["technical_logs"]] == ["P12M"]
        assert past_deleted(connection, ["renamed/technical_logs"]) == {"renamed/technical_logs": (1, 21, 31)}


def test_what_ran_last_is_put_together_from_runs_over_some_of_the_rules_of_one_policy(control: ControlDatabase) -> None:
    def ran(night: int, policy: str, *steps: Step) -> None:
        plan = a_plan(*steps, as_of=AS_OF + timedelta(days=night)).model_copy(update={"policy_digest": policy * 64})
        with control.runtime.begin() as connection:
            save_plan(connection, plan)
            open_or_resume(connection, plan.digest)
            set_state(connection, plan.digest, 1, "passed")
            set_state(connection, plan.digest, 1, "finished", at=plan.as_of)

    ran(0, "a", a_step("stale/mails", period="P1M"), a_step("logs/technical_logs", period="P1M"))
    ran(1, "b", a_step("mail/mails"), a_step("proofs/mails", period="P5Y"), a_step("accounts/users", waiting_for=("warning",)))
    ran(2, "b", a_step("mail/mails", period="P11M"))
    with control.runtime.connect() as connection:
        found = {dataset: {s.rule: s.period for s in steps} for dataset, steps in last_steps(connection).items()}
    assert found == {"mails": {"mail": "P11M", "proofs": "P5Y"}, "technical_logs": {"logs": "P1M"}, "users": {"accounts": "P12M"}}


def test_cleaning_airflow_is_overdue_after_two_days_or_when_it_never_was(control: ControlDatabase) -> None:
    with control.runtime.begin() as connection:
        assert last_success(connection, AIRFLOW_CLEAN) is None
        record_success(connection, AIRFLOW_CLEAN, AS_OF)
        record_success(connection, AIRFLOW_CLEAN, AS_OF - timedelta(days=1))
        assert last_success(connection, AIRFLOW_CLEAN) == AS_OF
        assert [r.kind for r in records(connection)] == ["maintenance.succeeded"] * 2
    assert is_overdue(None, at=AS_OF)
    assert not is_overdue(AS_OF, at=AS_OF + timedelta(days=2))
    assert is_overdue(AS_OF, at=AS_OF + timedelta(days=2, seconds=1))
