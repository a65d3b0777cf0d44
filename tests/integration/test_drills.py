"""Drills of known disasters: a whole night each, on a real database, with a mistake or another client in its way. Nothing wrong is deleted."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.company import Client, Company, Night, company_of, twelve_months
from helpers.purging import AS_OF, CUTOFF, QUICK, World, world_of
from lethe.cli import app
from lethe.errors import LetheError, NotApproved, OutOfTurn, UnknownName
from lethe.evidence.ledger import records
from lethe.purge.context import PurgeContext
from lethe.retention import decide_run, guard_run, plan_run, purge_run_group

TABLES = ("logs", "acts", "uses", "threads", "messages", "users", "tenants")
ROWS, DUE = 4_000, 2_000
TERMS = ("deleted", "held", "changed", "blocked", "failed")


@pytest.fixture
def company(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Company]:
    """Three tables of 4,000 log rows of seven tenants, half of them over twelve months old, and a policy of twelve months for two of them."""
    with world_of(postgres, database) as world, company_of(world, moto, tmp_path / "small", monkeypatch) as made:
        world.sql("INSERT INTO app.tenants SELECT g FROM generate_series(0, 6) g")
        world.sql("INSERT INTO app.users SELECT g, g %% 7, %s FROM generate_series(1, 70) g", [AS_OF])
        for table, order in (("logs", "g"), ("acts", "md5(g::text)"), ("uses", "g")):
            fill(world, table, ROWS, order)
        made.policy(twelve_months("logs", "acts"))
        yield made


def fill(world: World, table: str, rows: int, order: str = "g") -> None:
    """Rows of ids 0 to `rows`, one every minute, the first half of them due."""
    world.sql(
        f"INSERT INTO app.{table} (id, at, tenant_id, note) SELECT g, %s + (g - %s) * interval '1 minute', g %% 7, repeat('x', 40) "
        f"FROM generate_series(0, %s) g ORDER BY {order}",
        [CUTOFF, rows // 2, rows - 1],
    )
    world.sql(f"ANALYZE app.{table}")


def everything(world: World) -> dict[str, tuple[int, str]]:
    """Rows and digest of every table."""
    return {table: world.rest(table) for table in TABLES}


def ids(world: World, table: str, where: str = "true") -> set[int]:
    return {i for (i,) in world.sql(f"SELECT id FROM app.{table} WHERE {where}")}


def others(world: World, table: str) -> dict[str, tuple[int, str]]:
    """Rows and digest of every other table."""
    return {name: found for name, found in everything(world).items() if name != table}


def young(world: World, table: str, but: Collection[int] = ()) -> tuple[int, str]:
    """Rows and digest of what is younger than twelve months, but for some."""
    query = f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM app.{table} t WHERE at >= '{CUTOFF}' AND id != ALL(%s)"
    return world.sql(query, [list(but)])[0]  # type: ignore[return-value]


def closes(night: Night, step: str) -> Mapping[str, Any]:
    """The terms of a step, which must add up, each being known; what is left over is told as survivors."""
    terms = night.terms(step)
    assert None not in terms.values(), terms
    assert terms["planned"] + terms["arrived"] == sum(terms[t] for t in (*TERMS, "survivors")), terms
    return terms


def lethe(*arguments: str) -> tuple[int, str]:
    """Runs the command; its exit code and all that it said."""
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stdout + ended.stderr


# A runaway rule


def test_a_rule_that_would_delete_everything_waits_and_takes_the_whole_night_with_it(company: Company) -> None:
    company.policy(twelve_months("logs", acts="P0D"))
    before = everything(company.world)
    night = company.night()
    assert night.verdict.waits
    assert {f.step for f in night.verdict.findings} == {"acts/acts"}, "the rule beside it is an ordinary one"
    assert (night.planned.counts["acts/acts"].due, night.planned.counts["acts/acts"].total) == (ROWS, ROWS)
    assert everything(company.world) == before, "the ordinary rule waits too"
    assert "did not pass its guard" in night.red
    assert {r.terms["deleted"] for r in night.results.values()} == {0}


def test_a_run_that_waits_cannot_be_purged_by_whoever_calls_the_purge(company: Company) -> None:
    company.policy(twelve_months("logs", acts="P0D"))
    before = everything(company.world)
    with pytest.raises(OutOfTurn, match="has not passed its guard"):
        company.night(whatever_the_guard_says=True)
    assert everything(company.world) == before


def test_a_runaway_plan_that_is_refused_stays_refused(company: Company) -> None:
    company.policy({"logs": "P0D"})
    before = everything(company.world)
    night = company.night()
    run = (night.planned.digest, night.planned.attempt)
    with company.open() as workspace:
        decide_run(workspace, *run, approved=False, by="j.dupont")
        with pytest.raises(OutOfTurn, match="refused"):
            purge_run_group(workspace, *run, ["logs/logs"])
        again = plan_run(workspace, as_of=AS_OF, dry_run=False)
        with pytest.raises(NotApproved, match="refusal is final"):
            guard_run(workspace, again.digest, again.attempt)
        with pytest.raises(OutOfTurn):
            purge_run_group(workspace, again.digest, again.attempt, ["logs/logs"])
    assert everything(company.world) == before


def test_a_runaway_plan_that_a_person_approves_deletes_what_that_person_saw_and_no_other_table(company: Company) -> None:
    """The unbroken twin of the drills above: it is the guard that held, and nothing else."""
    company.policy({"logs": "P0D"})
    before = everything(company.world)
    digest = company.night().planned.digest
    assert lethe("plan", "approve", digest, "--reason", "expected", "--as", "j.dupont")[0] == 0
    night = company.night()
    assert (night.red, night.deleted) == ("", {"logs/logs": ROWS})
    assert everything(company.world) == {**before, "logs": (0, "")}


def test_a_table_that_grew_after_the_approval_waits_again(company: Company) -> None:
    company.policy({"logs": "P0D"})
    with company.open() as workspace:
        digest = plan_run(workspace, as_of=AS_OF).digest
    assert lethe("plan", "approve", digest, "--reason", "expected", "--as", "j.dupont")[0] == 0
    company.world.sql("INSERT INTO app.logs (id, at) SELECT 10000 + g, '2025-01-01' FROM generate_series(1, 100) g")
    before = everything(company.world)
    night = company.night()
    assert night.verdict.waits and night.limits == {"approved ceiling"}
    assert everything(company.world) == before


# Months become days


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_period_of_days_that_was_one_of_months_waits(company: Company, ran_before: bool) -> None:
    if ran_before:
        first = company.night()
        assert (first.red, first.deleted) == ("", {"logs/logs": DUE, "acts/acts": DUE})
    company.policy(twelve_months("acts", logs="P12D"))
    before = everything(company.world)
    night = company.night()
    assert night.verdict.waits
    assert {f.step for f in night.verdict.findings} == {"logs/logs"}
    assert night.limits == ({"share", "shortened"} if ran_before else {"share"})
    assert everything(company.world) == before
    assert "did not pass its guard" in night.red


def test_a_shortened_period_waits_even_where_it_would_delete_few_rows(company: Company) -> None:
    assert company.night().red == ""
    company.policy(twelve_months("acts", logs="P12D"), max_share=1.0)
    before = everything(company.world)
    night = company.night()
    (found,) = night.verdict.findings
    assert (found.step, found.limit, round(found.value)) == ("logs/logs", "shortened", 12)
    assert everything(company.world) == before


def test_the_approval_of_a_plan_of_months_is_none_for_the_plan_of_days(company: Company) -> None:
    with company.open() as workspace:
        digest = plan_run(workspace, as_of=AS_OF).digest
    assert lethe("plan", "approve", digest, "--reason", "expected", "--as", "j.dupont")[0] == 0
    company.policy(twelve_months("acts", logs="P12D"))
    before = everything(company.world)
    night = company.night()
    assert night.planned.digest != digest and night.verdict.waits
    assert everything(company.world) == before
    company.policy(twelve_months("logs", "acts"))
    assert company.night().red == "", "the plan that was approved is carried out, after the edit is taken back"
    assert young(company.world, "logs") == company.world.rest("logs")


def test_a_policy_edited_between_guard_and_purge_changes_nothing_of_the_run(company: Company) -> None:
    """A run is its plan: the cutoff is that of the plan which passed, whatever the files say by then."""
    kept = young(company.world, "logs")
    night = company.night(before=lambda planned: company.policy(twelve_months("acts", logs="P12D")))
    assert (night.red, night.deleted["logs/logs"]) == ("", DUE)
    assert company.world.rest("logs") == kept


# A writer that renews rows


def renewing(world: World, table: str, due: list[int]) -> Client:
    """A client that sets the clock of one row after another to now; the ids of those it renewed, once that is committed."""
    chance = random.Random(7)

    def renew(connection: psycopg.Connection) -> int | None:
        found = connection.execute(f"UPDATE app.{table} SET at = now() WHERE id = %s RETURNING id", [chance.choice(due)]).fetchone()
        return found[0] if found else None

    return Client(url=world.url, act=renew)


@pytest.mark.parametrize(("table", "order"), [("logs", "g"), ("acts", "md5(g::text)")])
def test_no_row_that_a_writer_renews_during_the_purge_is_lost(company: Company, table: str, order: str) -> None:
    world = company.world
    world.sql(f"TRUNCATE app.{table}")
    fill(world, table, 40_000, order)
    assert lethe("hold", "add", "--tenant", "3", "--reason", "litigation", "--review-on", "2099-01-01")[0] == 0
    due = sorted(ids(world, table, f"at < '{CUTOFF}'"))
    neighbours, kept = others(world, table), young(world, table)
    writer = renewing(world, table, due)

    night = company.night(rules=[table], pace="gentle", beside=writer)

    renewed, held = set(writer.did), {i for i in due if i % 7 == 3}
    assert len(renewed) > 20, "the writer came to nothing: this would prove nothing"
    left = {i for i in ids(world, table) if i < len(due)}
    assert renewed <= left, "a row that was renewed is lost"
    assert left == renewed | held, "a due row is left, or a held one is gone"
    terms = closes(night, f"{table}/{table}")
    assert (terms["planned"], terms["deleted"]) == (len(due), len(due) - len(renewed | held))
    assert (terms["changed"], terms["held"], terms["failed"]) == (len(renewed), len(held - renewed), 0)
    assert (night.red, night.results[f"{table}/{table}"].outcome) == ("", "clean")
    assert young(world, table, but=renewed) == kept
    assert others(world, table) == neighbours


def test_a_writer_who_never_stops_moves_no_sum_of_the_check(company: Company) -> None:
    """The writer renews held rows from before the plan until after the record. Every term and the sum of them are counted in one snapshot,
    so they come out although no two moments are alike."""
    world = company.world
    world.sql("TRUNCATE app.logs")
    fill(world, "logs", 40_000)
    assert lethe("hold", "add", "--tenant", "3", "--reason", "litigation", "--review-on", "2099-01-01")[0] == 0
    due = sorted(ids(world, "logs", f"at < '{CUTOFF}'"))
    kept, writer = young(world, "logs"), renewing(world, "logs", due)
    night = company.night(rules=["logs"], pace="gentle", beside_all=writer)
    renewed, held = set(writer.did), {i for i in due if i % 7 == 3}
    assert {i for i in ids(world, "logs") if i < len(due)} == renewed | held
    assert young(world, "logs", but=renewed) == kept
    terms = closes(night, "logs/logs")
    assert terms["changed"] > 0 and terms["planned"] < len(due)
    assert terms["deleted"] == len(due) - len(renewed | held)
    assert (night.results["logs/logs"].outcome, night.red) == ("clean", ""), "the check sees one instant, whoever writes meanwhile"


def test_no_reply_to_an_old_thread_is_lost_with_it(company: Company) -> None:
    """The clock of a thread is on its messages: a writer who answers renews it without touching its row."""
    world = company.world
    world.sql("INSERT INTO app.threads SELECT g, '2020-01-01' FROM generate_series(1, 3000) g")
    world.sql("INSERT INTO app.messages SELECT g * 10, g, NULL, '2021-01-01' FROM generate_series(1, 3000) g")
    company.policy(twelve_months("messages", "threads"), max_share=1.0)
    chance, number = random.Random(7), iter(range(10**6, 2 * 10**6))

    def reply(connection: psycopg.Connection) -> tuple[int, int] | None:
        thread, message = chance.randint(1, 3000), next(number)
        try:
            connection.execute("INSERT INTO app.messages VALUES (%s, %s, NULL, now())", [message, thread])
        except psycopg.errors.ForeignKeyViolation:
            return None
        return message, thread

    writer = Client(url=world.url, act=reply)
    night = company.night(pace="gentle", beside=writer)
    messages, threads = ({pair[n] for pair in writer.did} for n in (0, 1))
    assert len(messages) > 20, "the writer came to nothing: this would prove nothing"
    assert ids(world, "messages") == messages
    assert ids(world, "threads") == threads
    terms = closes(night, "threads/threads")
    assert terms["planned"] == 3_000 and terms["changed"] + terms["blocked"] == len(threads)
    assert closes(night, "messages/messages")["deleted"] == 3_000
    assert night.red == ""


# Other clients of the same table


def test_rows_that_others_insert_and_update_meanwhile_are_told_apart(company: Company) -> None:
    """An old row that arrives goes and is counted as such; a young one stays; a due row whose other column changes goes."""
    world = company.world
    world.sql("TRUNCATE app.logs")
    fill(world, "logs", 40_000)
    kept, chance, number = young(world, "logs"), random.Random(7), iter(range(10**6, 2 * 10**6))

    def work(connection: psycopg.Connection) -> tuple[str, int] | None:
        what, new = chance.choice(("old", "young", "note")), next(number)
        if what == "note":
            row = connection.execute("UPDATE app.logs SET note = 'n' WHERE id = %s RETURNING id", [chance.randrange(20_000)]).fetchone()
            return ("note", row[0]) if row else None
        at = "2025-06-01" if what == "old" else AS_OF
        connection.execute("INSERT INTO app.logs (id, at) VALUES (%s, %s)", [new, at])
        return what, new

    writer = Client(url=world.url, act=work)
    night = company.night(rules=["logs"], pace="gentle", beside=writer)
    done = {what: {i for w, i in writer.did if w == what} for what in ("old", "young", "note")}
    assert all(len(found) > 10 for found in done.values()), "the writer came to nothing: this would prove nothing"
    terms = closes(night, "logs/logs")
    stragglers = ids(world, "logs", f"at < '{CUTOFF}'")
    assert stragglers <= done["old"], "a due row of the plan is left, renewed in another column or not"
    assert terms["survivors"] == len(stragglers), "what came after the last look is told, not hidden"
    assert (terms["planned"], terms["deleted"], terms["changed"]) == (20_000, 20_000 + len(done["old"] - stragglers), 0)
    assert {i for i in ids(world, "logs") if i >= 10**6} == done["young"] | stragglers
    assert young(world, "logs", but=done["young"]) == kept
    # With no writer left, the same plan started again takes what came too late.
    again = company.night(rules=["logs"])
    assert (again.red, ids(world, "logs", f"at < '{CUTOFF}'")) == ("", set())


def test_a_row_that_another_client_keeps_locked_is_red_and_gone_once_it_lets_go(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.purge.context.PurgeContext", partial(PurgeContext, limits=QUICK))  # fewer and shorter tries
    world = company.world
    neighbours, kept = others(world, "logs"), young(world, "logs")
    with psycopg.connect(world.url) as other:
        other.execute("SELECT FROM app.logs WHERE id = 5 FOR UPDATE")
        night = company.night(rules=["logs"])
        assert len(night.failed) == 1 and "logs/logs" in night.failed[0] and "safe" in night.failed[0]
        assert night.results["logs/logs"].outcome == "survivors" and "due rows left" in night.red
        assert 5 in ids(world, "logs"), "the locked row"
        terms = night.terms("logs/logs")
        assert terms["deleted"] + terms["survivors"] == DUE
        other.rollback()
    again = company.night(rules=["logs"])
    assert (again.planned.digest, again.planned.attempt, again.planned.resumed) == (night.planned.digest, night.planned.attempt, True)
    assert closes(again, "logs/logs")["deleted"] == DUE
    assert (again.red, again.results["logs/logs"].outcome) == ("", "clean")
    assert world.rest("logs") == kept
    assert others(world, "logs") == neighbours


def test_rows_that_others_lock_for_a_moment_are_waited_for(company: Company) -> None:
    world = company.world
    kept, chance = young(world, "logs"), random.Random(7)

    def lock(connection: psycopg.Connection) -> int:
        with connection.transaction():
            found = connection.execute("SELECT id FROM app.logs WHERE id = ANY(%s) FOR UPDATE", [chance.sample(range(DUE), 3)]).fetchall()
            connection.execute("SELECT pg_sleep(0.02)")
        return len(found)

    writer = Client(url=world.url, act=lock)
    night = company.night(rules=["logs"], beside=writer)
    assert sum(writer.did) > 0
    assert closes(night, "logs/logs")["deleted"] == DUE
    assert (night.red, night.results["logs/logs"].outcome) == ("", "clean")
    assert world.rest("logs") == kept


# An id of the wrong kind


WRONG = ["abc", "0b3f7c1e-6d2a-4a53-9f0e-5a3f6b1c2d4e", "007", "3.0"]


@pytest.mark.parametrize("key", WRONG)
@pytest.mark.parametrize("scope", ["--tenant", "--person"])
def test_a_hold_on_a_key_that_no_row_can_have_is_refused_at_once(company: Company, scope: str, key: str) -> None:
    """The key of tenants and users is a bigint: such a hold would keep nothing, and somebody would rely on it."""
    before = everything(company.world)
    code, said = lethe("hold", "add", scope, f"users:{key}" if scope == "--person" else key, "--reason", "litigation")
    assert code == 2, "accepted, though it keeps nothing"
    assert "hold" in said.lower() and key not in said and "Traceback" not in said
    assert lethe("hold", "list", "--json")[1].count('"id"') == 0
    assert everything(company.world) == before


@pytest.mark.parametrize("key", WRONG)
def test_a_hold_of_the_wrong_kind_that_is_stored_all_the_same_breaks_nothing(company: Company, key: str) -> None:
    """Compared as text, a key that no row has keeps no row, and no query fails on it; the hold beside it keeps its own."""
    world = company.world
    kept = world.sql(
        f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM app.logs t WHERE at >= '{CUTOFF}' OR tenant_id = 3"
    )
    world.sql(
        "INSERT INTO lethe.holds (tenant, reason, owner, starts_on, added_at) VALUES (%s, 'litigation', 'j.dupont', '2026-01-01', now())",
        [key],
    )
    world.sql(
        "INSERT INTO lethe.holds (tenant, reason, owner, starts_on, added_at) VALUES ('3', 'litigation', 'j.dupont', '2026-01-01', now())"
    )
    night = company.night(rules=["logs"])
    assert closes(night, "logs/logs")["held"] == sum(1 for i in range(DUE) if i % 7 == 3)
    assert night.red == ""
    assert [world.rest("logs")] == kept


@pytest.mark.parametrize("rule", ["no-such-rule", "logs/logs", "7", "abc; DROP TABLE app.logs", ""])
def test_a_rule_that_does_not_exist_is_named_and_nothing_is_planned(company: Company, rule: str) -> None:
    before = everything(company.world)
    with company.open() as workspace:
        with pytest.raises(UnknownName, match="No such rule"):
            plan_run(workspace, as_of=AS_OF, rules=[rule], dry_run=False)
        with workspace.control.connect() as control:
            assert not {r.kind for r in records(control)} & {"plan.made", "run.opened"}
    assert everything(company.world) == before


@pytest.mark.parametrize("step", ["acts/acts", "users/users", "7", ""])
def test_a_step_of_another_plan_is_named_and_nothing_of_the_plan_is_deleted(company: Company, step: str) -> None:
    before = everything(company.world)
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, rules=["logs"], dry_run=False)
        guard_run(workspace, planned.digest, planned.attempt)
        with pytest.raises(LetheError) as refused:
            purge_run_group(workspace, planned.digest, planned.attempt, ["logs/logs", step])
    assert "step" in str(refused.value)
    assert everything(company.world) == before
    assert company.night(rules=["logs"]).deleted == {"logs/logs": DUE}, "the run itself is not harmed"


@pytest.mark.parametrize(("digest", "attempt"), [("f" * 64, 1), ("abc", 1), ("", 1), (None, 7)])
def test_a_run_of_an_id_that_does_not_exist_is_named(company: Company, digest: str | None, attempt: int) -> None:
    before = everything(company.world)
    with company.open() as workspace:
        planned = plan_run(workspace, as_of=AS_OF, dry_run=False)
        guard_run(workspace, planned.digest, planned.attempt)
        with pytest.raises(UnknownName):
            purge_run_group(workspace, planned.digest if digest is None else digest, attempt, ["logs/logs"])
    assert everything(company.world) == before
