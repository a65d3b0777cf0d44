"""The `lethe` command on a small demo database: what it prints, what it exits with, what it stores."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from demo import generate
from demo.buckets import REQUESTS, ensure_bucket
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.control import ControlDatabase, control_database
from lethe.cli import app
from lethe.connections import parse
from lethe.evidence.verdict import GUARDS
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client

AS_OF = "2026-11-23T02:00:00+01:00"
ROWS = """
    SELECT count(*), min(occurred_at) FROM app.technical_logs
    WHERE occurred_at < %s::timestamptz AND occurred_at >= %s::timestamptz
"""


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, moto: ObjectServer) -> Iterator[tuple[dict[str, str], ControlDatabase]]:
    """Spotrak at scale 0.01, Lethe's own database and its bucket; the environment that leads there."""
    names = [f"cli_{part}_{uuid.uuid4().hex[:8]}" for part in ("spotrak", "lethe")]
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for name in names:
            admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    spotrak, lethe = names
    generate.load(postgres.url(spotrak), scale=0.01, as_of=datetime(2026, 11, 23, 1, 0, tzinfo=UTC))
    bucket = f"lethe-{uuid.uuid4().hex[:8]}"
    extra = {"endpoint_url": moto.endpoint, "region_name": "us-east-1"}
    objects = f"aws://key:secret@/?{urlencode(extra)}"
    for name in ("spotrak-logs", "spotrak-files", *REQUESTS, bucket):
        ensure_bucket(client(parse("x", objects)), name, versioned=True)
    with control_database(postgres, postgres.url(lethe)) as control:
        yield (
            {
                "AIRFLOW_CONN_SPOTRAK_DB": postgres.url(spotrak, user="lethe_purger"),
                "AIRFLOW_CONN_SPOTRAK_DB_CHECK": postgres.url(spotrak, user="lethe_checker"),
                "AIRFLOW_CONN_SPOTRAK_DB_MAINTENANCE": postgres.url(spotrak, user="lethe_keeper"),
                "AIRFLOW_CONN_SPOTRAK_S3": objects,
                "AIRFLOW_CONN_REQUESTS_S3": objects,
                "AIRFLOW_CONN_LETHE_DB": postgres.url(lethe, user="lethe_runtime"),
                "AIRFLOW_CONN_LETHE_APPROVER": postgres.url(lethe, user="lethe_approver"),
                "AIRFLOW_CONN_LETHE_S3": f"{objects}&bucket={bucket}",
                "LETHE_DIGEST_KEY": "ab" * 32,
            },
            control,
        )
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        for name in names:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.fixture
def lethe(world: tuple[dict[str, str], ControlDatabase], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `lethe`; (exit code, stdout, stderr)."""
    for name in [n for n in os.environ if n.startswith(("AIRFLOW_CONN_", "LETHE_"))]:
        monkeypatch.delenv(name)
    for name, value in world[0].items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        ended = CliRunner().invoke(app, list(arguments), env=environment)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    return run


def told(ended: tuple[int, str, str], code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ended[0] == code, ended
    value: dict[str, Any] = json.loads(ended[1])
    return value


def test_the_demo_checks_clean(lethe: Any) -> None:
    code, out, _ = lethe("check", "--json")
    found = json.loads(out)
    assert found["unchecked"] == [] and found["clean"] == (code == 0) == (not found["findings"])
    # other tests make buckets and objects on the same server
    assert {f["kind"] for f in found["findings"]} <= {"bucket not mapped", "objects outside prefixes"}
    assert [(t["entry"], t["country"]) for t in found["unnamed_transfers"]] == [("pigeonhole", "US")]
    assert "Warning: pigeonhole to United States (standard contractual clauses)" in lethe("check")[1].replace("\n", " ")


def test_a_plan_prints_counts_and_the_same_digest_each_time(lethe: Any, world: tuple[dict[str, str], ControlDatabase]) -> None:
    first, again = (told(lethe("plan", "--as-of", AS_OF, "--json")) for _ in range(2))
    assert first["digest"] == again["digest"]
    step = next(s for s in first["steps"] if s["id"] == "technical-logs/technical_logs")
    assert step["cutoff"] == "2025-11-22T23:00:00+00:00"
    with psycopg.connect(world[0]["AIRFLOW_CONN_SPOTRAK_DB_CHECK"]) as connection:
        row = connection.execute(ROWS, ["2025-11-22T23:00:00Z", "2014-01-01T00:00:00+01:00"]).fetchone()
    assert row is not None and step["counts"]["due"] == row[0] > 0
    waiting = {s["rule"]: s["waiting_for"] for s in first["steps"] if s["waiting_for"]}
    assert waiting["business-data"] == ["return_record"]
    assert first["waits_for_approval"]


def test_a_plan_of_one_rule_holds_only_that_rule(lethe: Any) -> None:
    assert {s["rule"] for s in told(lethe("plan", "--as-of", AS_OF, "--rules", "leads", "--json"))["steps"]} == {"leads"}


def test_a_plan_is_a_table_for_people(lethe: Any) -> None:
    code, out, _ = lethe("plan", "--as-of", AS_OF)
    assert code == 0
    assert "technical_logs" in out and "Waits for a named person" in out and "Not run yet" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plan", "--as-of", "2999-01-01T00:00:00Z"), "future"),
        (("plan", "--as-of", "2026-11-23T02:00:00"), "no time zone"),
        (("plan", "--as-of", "yesterday"), "is not an instant"),
        (("plan", "--as-of", AS_OF, "--rules", "no-such-rule"), "No such rule"),
        (("plan", "--as-of", "2026-04-01T00:00:00Z"), "No policy version is in force"),
        (("plan", "approve", "0123456789abcdef", "--reason", "expected"), "No plan begins with"),
        (("hold", "add", "--reason", "audit"), "scope"),
        (("hold", "add", "--reason", "because", "--dataset", "leads"), "no reason"),
        (("hold", "add", "--reason", "audit", "--person", "jean.dupont@example.com"), "DATASET:KEY"),
        (("hold", "add", "--reason", "audit", "--person", "users:jean.dupont@example.com"), "never by a name"),
        (("hold", "add", "--reason", "audit", "--dataset", "leds"), "no dataset"),
        (("hold", "add", "--reason", "audit", "--dataset", "technical_logs", "--person", "leads:5"), "no way to leads"),
        (("hold", "add", "--reason", "audit", "--tenant", "007"), "the key of tenants is a bigint"),
        (("hold", "add", "--reason", "audit", "--tenant", "7b"), "the key of tenants is a bigint"),
        (("hold", "add", "--reason", "audit", "--person", "users:99999999999999999999"), "the key of users is a bigint"),
        (("hold", "add", "--reason", "audit", "--tenant", "987654321"), "tenants has no such key"),
        (("hold", "add", "--reason", "audit", "--dataset", "leads", "--person", "leads:987654321"), "leads has no such key"),
        (("hold", "lift", "999999"), "no hold 999999"),
        (("policy", "diff", "2026-05-01", "1999-01-01"), "no policy version"),
    ],
)
def test_what_cannot_be_done_is_told_in_words_and_in_json_with_exit_2(lethe: Any, arguments: tuple[str, ...], says: str) -> None:
    code, _, err = lethe(*arguments)
    assert code == 2 and says in err and "Traceback" not in err
    refused = told(lethe(*arguments, "--json"), code=2)
    assert says in refused["error"] and refused["fix"]
    assert "jean.dupont" not in err + json.dumps(refused)


def test_a_database_that_refuses_is_exit_2_without_traceback(lethe: Any) -> None:
    code, out, err = lethe("hold", "list", AIRFLOW_CONN_LETHE_DB="postgresql://nobody@127.0.0.1:1/x")
    assert (code, out) == (2, "") and "did not answer" in err and "Traceback" not in err


def test_a_plan_seen_in_a_dry_run_is_approved_by_digest_and_then_waits_no_more(lethe: Any) -> None:
    seen = told(lethe("plan", "--as-of", AS_OF, "--rules", "technical-logs", "--json"))
    digest, rows = seen["digest"], seen["rows"]
    assert rows == sum(s["counts"]["due"] - s["counts"]["held"] - s["counts"]["blocked"] for s in seen["steps"]) > 0
    approve = ("plan", "approve", digest, "--reason", "first_run", "--as", "j.dupont", "--json")
    assert "counted again" in told(lethe(*approve, "--rows", str(rows - 1)), code=2)["error"]
    given = told(lethe(*approve, "--rows", str(rows)))
    assert given == {
        "digest": digest,
        "approved": True,
        "approver": "j.dupont",
        "recorded_by": "lethe_approver",
        "reason": "first_run",
        "rows": rows,
    }
    assert not told(lethe("plan", "--as-of", AS_OF, "--rules", "technical-logs", "--json"))["waits_for_approval"]


def test_a_refusal_is_final(lethe: Any) -> None:
    digest = told(lethe("plan", "--as-of", AS_OF, "--rules", "usage-events", "--json"))["digest"]
    assert lethe("plan", "approve", digest, "--reason", "wrong_data", "--refuse", "--as", "j.dupont")[0] == 0
    assert "final" in told(lethe("plan", "approve", digest, "--reason", "expected", "--as", "j.dupont", "--json"), code=2)["error"]


def test_a_hold_is_added_counted_apart_listed_and_lifted(lethe: Any) -> None:
    plan = ("plan", "--as-of", AS_OF, "--rules", "leads", "--json")
    before = told(lethe(*plan))["steps"][0]["counts"]
    hold = told(lethe("hold", "add", "--reason", "litigation", "--dataset", "leads", "--owner", "j.dupont", "--json"))
    after = told(lethe(*plan))["steps"][0]["counts"]
    assert (before["held"], after["held"], after["due"]) == (0, before["due"], before["due"])
    listed = told(lethe("hold", "list", "--json"))["holds"]
    assert [(h["id"], h["finding"]) for h in listed] == [(hold["id"], "no review date")]
    assert lethe("hold", "lift", str(hold["id"]), "--by", "j.dupont")[0] == 0
    assert told(lethe("hold", "list", "--json"))["holds"] == []
    assert told(lethe(*plan))["steps"][0]["counts"]["held"] == 0


TENANTS = {
    "tenants": "id = {0}",
    "users": "tenant_id = {0}",
    "technical_logs": "tenant_id = {0}",
    "consents": "user_id IN (SELECT id FROM app.users WHERE tenant_id = {0})",
    "audience_events": "consent_id IN (SELECT c.id FROM app.consents c JOIN app.users u ON u.id = c.user_id WHERE u.tenant_id = {0})",
    "support_messages": "thread_id IN (SELECT id FROM app.support_threads WHERE tenant_id = {0})",
}


def counted(world: tuple[dict[str, str], ControlDatabase], query: str) -> int:
    """One number from Spotrak's database, by SQL of the test's own."""
    with psycopg.connect(world[0]["AIRFLOW_CONN_SPOTRAK_DB_CHECK"]) as connection:
        found = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert found is not None
    return int(found[0])


def test_a_hold_on_a_tenant_says_how_many_rows_it_keeps_and_what_it_cannot(
    lethe: Any, world: tuple[dict[str, str], ControlDatabase]
) -> None:
    tenant = counted(
        world,
        "SELECT u.tenant_id FROM app.audience_events e JOIN app.consents c ON c.id = e.consent_id JOIN app.users u ON u.id = c.user_id "
        "JOIN app.support_threads t ON t.tenant_id = u.tenant_id GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
    )
    hold = told(lethe("hold", "add", "--reason", "audit", "--tenant", str(tenant), "--owner", "j.dupont", "--json"))
    try:
        own = {t: counted(world, f"SELECT count(*) FROM app.{t} WHERE {w.format(tenant)}") for t, w in TENANTS.items()}
        assert {t: hold["keeps"][t] for t in TENANTS} == own and min(own.values()) > 0
        assert hold["out_of_reach"].keys() == {
            "nginx_logs",
            "client_files",
            "export_bundles",
            "identity_proofs",
            "intake_files",
            "internal_lists",
        }
        assert "page_views" in hold["keeps"] and None not in hold["keeps"].values()
    finally:
        lethe("hold", "lift", str(hold["id"]), "--by", "j.dupont")


def test_a_hold_on_a_range_of_time_keeps_the_rows_whose_clock_lies_in_it(lethe: Any, world: tuple[dict[str, str], ControlDatabase]) -> None:
    since, until = "2025-11-01T00:00:00+01:00", "2026-05-01T00:00:00+02:00"
    scope = ("--dataset", "technical_logs", "--since", since, "--until", until)
    hold = told(lethe("hold", "add", "--reason", "audit", *scope, "--owner", "j.dupont", "--json"))
    lethe("hold", "lift", str(hold["id"]), "--by", "j.dupont")
    own = counted(world, f"SELECT count(*) FROM app.technical_logs WHERE occurred_at >= '{since}' AND occurred_at < '{until}'")
    assert hold["keeps"] == {"technical_logs": own} and own > 0


def test_a_person_whose_account_is_gone_is_held_by_the_rows_that_still_lead_there(
    lethe: Any, world: tuple[dict[str, str], ControlDatabase]
) -> None:
    spotrak = make_url(world[0]["AIRFLOW_CONN_SPOTRAK_DB"]).database
    with psycopg.connect(make_url(world[1].url).set(database=spotrak).render_as_string(hide_password=False)) as admin:
        admin.execute("UPDATE app.technical_logs SET user_id = 880088 WHERE id = (SELECT max(id) FROM app.technical_logs)")
    assert counted(world, "SELECT count(*) FROM app.users WHERE id = 880088") == 0
    code, out, _ = lethe("hold", "add", "--reason", "audit", "--person", "users:880088", "--owner", "j.dupont")
    assert code == 0 and "technical_logs" in out and "It cannot keep" in out
    [hold] = told(lethe("hold", "list", "--json"))["holds"]
    lethe("hold", "lift", str(hold["id"]), "--by", "j.dupont")


def test_a_hold_that_keeps_no_row_yet_says_so(lethe: Any) -> None:
    since = "2040-01-01T00:00:00+01:00"
    code, out, _ = lethe("hold", "add", "--reason", "audit", "--dataset", "support_threads", "--since", since, "--owner", "j.dupont")
    assert code == 0 and "keeps no row now" in out and "in another dataset is not kept" in out
    [hold] = told(lethe("hold", "list", "--json"))["holds"]
    lethe("hold", "lift", str(hold["id"]), "--by", "j.dupont")


def test_a_ledger_that_was_edited_is_named_at_its_first_broken_record(lethe: Any, world: tuple[dict[str, str], ControlDatabase]) -> None:
    told(lethe("plan", "--as-of", AS_OF, "--rules", "leads", "--json"))
    assert told(lethe("verify", "--json"))["sound"]
    url = make_url(world[1].url).render_as_string(hide_password=False)
    with psycopg.connect(url) as superuser:
        superuser.execute("ALTER TABLE lethe.ledger DISABLE TRIGGER ALL")
        superuser.execute("UPDATE lethe.ledger SET body = body || ' ' WHERE seq = 1")
        _guard(superuser)
    try:
        assert told(lethe("verify", "--json"), code=1)["first_broken"] == 1
        code, out, _ = lethe("verify")
        assert code == 1 and "Record 1 was edited" in out
    finally:
        with psycopg.connect(url) as superuser:
            superuser.execute("ALTER TABLE lethe.ledger DISABLE TRIGGER ALL")
            superuser.execute("UPDATE lethe.ledger SET body = rtrim(body) WHERE seq = 1")
            _guard(superuser)


def test_a_hold_that_was_lifted_by_hand_is_named_by_verify(lethe: Any, world: tuple[dict[str, str], ControlDatabase]) -> None:
    hold = told(lethe("hold", "add", "--reason", "audit", "--dataset", "leads", "--owner", "j.dupont", "--json"))["id"]
    assert told(lethe("verify", "--json"))["sound"]
    url = make_url(world[1].url).render_as_string(hide_password=False)
    with psycopg.connect(url) as superuser:
        superuser.execute("UPDATE lethe.holds SET lifted_at = now(), lifted_by = 'x' WHERE id = %s", [hold])
    try:
        code, out, _ = lethe("verify")
        assert code == 1 and f"Hold {hold} is not what record" in out
    finally:
        with psycopg.connect(url) as superuser:
            superuser.execute("UPDATE lethe.holds SET lifted_at = NULL, lifted_by = NULL WHERE id = %s", [hold])
    assert lethe("hold", "lift", str(hold), "--by", "j.dupont")[0] == 0
    assert told(lethe("verify", "--json"))["sound"]


def _guard(superuser: psycopg.Connection) -> None:
    for trigger in GUARDS:
        superuser.execute(sql.SQL("ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER {}").format(sql.Identifier(trigger)))


def test_a_diff_counts_what_a_shortened_period_would_delete_tonight(
    lethe: Any, world: tuple[dict[str, str], ControlDatabase], tmp_path: Path
) -> None:
    edited = Path(shutil.copytree(SHIPPED / "2026-05-01", tmp_path / "2026-05-01"))
    rules = (edited / "rules.yaml").read_text()
    logs = rules.index("id: technical-logs")
    (edited / "rules.yaml").write_text(rules[:logs] + rules[logs:].replace("period: P12M", "period: P6M", 1))
    found = told(lethe("policy", "diff", "2026-05-01", str(edited), "--as-of", AS_OF, "--json"))
    assert found["changes"] == [{"rule": "technical-logs", "kind": "changed", "fields": ["period"], "widens": True}]
    effect = next(e for e in found["effects"] if e["dataset"] == "technical_logs")
    query = (
        "SELECT count(*), count(DISTINCT user_id), min(occurred_at) FROM app.technical_logs WHERE occurred_at >= %s AND occurred_at < %s"
    )
    with psycopg.connect(world[0]["AIRFLOW_CONN_SPOTRAK_DB_CHECK"]) as connection:
        row = connection.execute(query, ["2025-11-22T23:00:00Z", "2026-05-22T22:00:00Z"]).fetchone()
    assert row is not None and row[0] > 0
    assert (effect["more"], effect["persons"], effect["fewer"]) == (row[0], row[1], 0)
    assert datetime.fromisoformat(effect["oldest"]) == row[2]
    assert {e["dataset"] for e in found["effects"]} == {"technical_logs", "nginx_logs"}
    back = told(lethe("policy", "diff", str(edited), "2026-05-01", "--as-of", AS_OF, "--json"))
    assert next(e["fewer"] for e in back["effects"] if e["dataset"] == "technical_logs") == row[0]


def test_a_diff_of_a_version_with_itself_finds_nothing(lethe: Any) -> None:
    found = told(lethe("policy", "diff", "2026-05-01", "2026-05-01", "--as-of", AS_OF, "--json"))
    assert (found["changes"], found["effects"]) == ([], [])
