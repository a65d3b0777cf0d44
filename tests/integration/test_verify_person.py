"""The check's own count of a person's rows: every way that leads to them, by index, and one row too many or too few is seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from lethe.catalog.model import Store
from lethe.connections import Connection
from lethe.verify.bundle import COMPLETE, WHO, Whose, check_bundle
from lethe.verify.person import KeySum

SCHEMA = """
CREATE SCHEMA app; SET search_path = app;
CREATE TABLE tenants (id int PRIMARY KEY, owner_id int);
CREATE TABLE users (id int PRIMARY KEY, tenant_id int, email text);
CREATE TABLE threads (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), opened_by int, tenant_id int);
CREATE TABLE messages (id int PRIMARY KEY, thread_id uuid, author_id int);
CREATE TABLE views (id int, at timestamptz, user_id int, PRIMARY KEY (id, at));
CREATE TABLE mails (id int PRIMARY KEY, recipient text);
CREATE TABLE clients (id int PRIMARY KEY, tenant_id int, email text);
CREATE INDEX ON views (user_id);
INSERT INTO tenants VALUES (1, 1), (2, NULL);
INSERT INTO users VALUES (1, 1, 'Jeanne@Example.org'), (2, 2, 'paul@example.org'), (3, 2, ' jeanne@example.org ');
INSERT INTO threads (id, opened_by, tenant_id) VALUES ('00000000-0000-0000-0000-000000000001', 1, 1), ('00000000-0000-0000-0000-000000000002', 2, 2);
INSERT INTO messages VALUES (1, '00000000-0000-0000-0000-000000000001', 1), (2, '00000000-0000-0000-0000-000000000001', 2),
  (3, '00000000-0000-0000-0000-000000000002', 2), (4, '00000000-0000-0000-0000-000000000002', 3);
INSERT INTO views SELECT g, TIMESTAMPTZ '2026-11-22T23:30:00Z' + g * INTERVAL '1.5 s', g % 3 + 1 FROM generate_series(1, 3000) g;
INSERT INTO mails VALUES (1, 'jeanne@example.org'), (2, 'paul@example.org'), (3, 'JEANNE@example.org');
INSERT INTO clients VALUES (1, 1, 'jeanne@example.org'), (2, 2, 'jeanne@example.org'), (3, 2, 'paul@example.org');
ANALYZE;
"""


def table(name: str, key: list[str], columns: dict[str, str], **more: Any) -> dict[str, Any]:
    given = {c: {"category": k} for c, k in columns.items()}
    fixed = {"table": name, "schema": "app", "role": "controller", "category": name, "purposes": ["p"], "key": key, "columns": given}
    return fixed | more


USER = {"user": {"columns": ["user_id"], "to": "users", "may_dangle": True}}
STORE = Store.model_validate(
    {
        "id": "source", "kind": "postgresql", "connection": "source", "start_of_service": "2014-01-01T00:00:00+01:00", "tenants": "tenants",
        "identities": ["users", "clients"],
        "tables": {
            "tenants": table("tenants", ["id"], {"id": "system.operations"}, relations={"owner": {"columns": ["owner_id"], "to": "users"}}, persons=[["owner"]]),
            "users": table("users", ["id"], {"id": "user.unique_id", "email": "user.contact.email"}, persons=[[]]),
            "threads": table("threads", ["id"], {"id": "system.operations"}, relations={"opener": {"columns": ["opened_by"], "to": "users"}}, persons=[["opener"]]),
            "messages": table(
                "messages", ["id"], {"id": "system.operations"}, persons=[["author"], ["thread", "opener"]],
                relations={"author": {"columns": ["author_id"], "to": "users"}, "thread": {"columns": ["thread_id"], "to": "threads"}},
            ),
            "views": table("views", ["id", "at"], {"id": "system.operations"}, relations=USER, persons=[["user"]]),
            "mails": table("mails", ["id"], {"id": "system.operations", "recipient": "user.contact.email"}),
            "clients": table(
                "clients", ["id"], {"id": "user.unique_id", "email": "user.contact.email"}, persons=[[]], tenant=["tenant"], role="processor",
                relations={"tenant": {"columns": ["tenant_id"], "to": "tenants"}},
            ),
        },
    }
)  # fmt: skip
JEANNE = Whose(persons={"users": ["1", "3"], "clients": ["1", "2"]}, addresses=["jeanne@example.org"])
ROWS: dict[str, list[list[Any]]] = {
    "users": [[1], [3]],
    "tenants": [[1]],
    "threads": [["00000000-0000-0000-0000-000000000001"]],
    "messages": [[1], [2], [4]],
    "mails": [[1], [3]],
}


@pytest.fixture
def source(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
    parts = urlsplit(database)
    yield Connection(id="source", kind="postgres", host="127.0.0.1", port=parts.port, login=parts.username or "", database=parts.path[1:])


def bundled(database: Connection) -> dict[str, list[list[Any]]]:
    """What a bundle of hers has, told as `to_jsonb` tells it."""
    with psycopg.connect(
        database.sqlalchemy_url().set(drivername="postgresql").render_as_string(hide_password=False), options="-c timezone=UTC"
    ) as one:
        keys = one.execute("SELECT jsonb_build_array(id, at) FROM app.views WHERE user_id IN (1, 3)").fetchall()
    return ROWS | {"views": [list(k) for (k,) in keys]}


def summed(rows: dict[str, list[list[Any]]]) -> dict[str, tuple[int, int]]:
    found: dict[str, KeySum] = {}
    for dataset, keys in rows.items():
        for key in keys:
            found.setdefault(dataset, KeySum()).add(key)
    return {d: (s.rows, s.total) for d, s in found.items()}


def wrong(source: Connection, whose: Whose, rows: dict[str, list[list[Any]]]) -> list[tuple[str, str, str]]:
    found = check_bundle(lambda _: source, [STORE], whose, summed(rows))
    return sorted((d, c.name, c.status) for d, checks in found.items() for c in checks if c.status != "passed")


def test_a_bundle_with_every_row_and_no_other_passes(source: Connection) -> None:
    found = check_bundle(lambda _: source, [STORE], JEANNE, summed(bundled(source)))
    assert set(found) == {"users", "tenants", "threads", "messages", "views", "mails"}
    assert {c.status for checks in found.values() for c in checks} == {"passed"}
    assert sum(c.measured.get("rows", 0) for checks in found.values() for c in checks) == 2009


@pytest.mark.parametrize("dataset", sorted([*ROWS, "views"]))
def test_a_missing_row_a_strange_row_and_both_at_once_are_seen(source: Connection, dataset: str) -> None:
    whole = bundled(source)
    other: list[Any] = [999, "2026-11-22T23:30:00+00:00"] if dataset == "views" else [999]
    for changed in (whole[dataset][1:], [*whole[dataset], other], [*whole[dataset][1:], other]):
        assert wrong(source, JEANNE, whole | {dataset: changed}) == [(dataset, COMPLETE, "failed")]


def test_a_person_with_her_address_who_was_left_out_is_seen_unless_on_purpose(source: Connection) -> None:
    one = Whose(persons={"users": ["1"]}, addresses=["jeanne@example.org"])
    assert ("users", WHO, "failed") in wrong(source, one, bundled(source))
    left = Whose(persons={"users": ["1"]}, addresses=["jeanne@example.org"], left_out={"users": ["3"]})
    assert ("users", WHO, "failed") not in wrong(source, left, bundled(source))


def test_of_an_instructing_tenant_only_its_own_clients_count(source: Connection) -> None:
    whose = Whose(persons={"clients": ["1", "2"]}, addresses=[], tenant="2")
    assert wrong(source, whose, {"clients": [[2]]}) == []
    assert wrong(source, whose, {"clients": [[1], [2]]}) == [("clients", COMPLETE, "failed")]


def test_a_table_that_is_gone_and_a_server_that_is_down_are_unknown_and_never_pass(source: Connection) -> None:
    rows = bundled(source)
    with psycopg.connect(
        source.sqlalchemy_url().set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as one:
        one.execute("DROP TABLE app.mails")
    assert {s for d, _, s in wrong(source, JEANNE, rows) if d == "mails"} == {"unknown"}
    down = Connection(id="source", kind="postgres", host="127.0.0.1", port=1, database="x")
    assert {s for _, _, s in wrong(down, JEANNE, rows)} == {"unknown"}


def test_a_dataset_that_no_store_can_answer_for_is_unknown(source: Connection) -> None:
    assert wrong(source, JEANNE, bundled(source) | {"elsewhere": [[1]]}) == [("elsewhere", COMPLETE, "unknown")]


def test_nobody_stands_in_a_query(source: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    from lethe.verify import bundle, suite

    asked: list[str] = []
    judge = suite.judge

    def listen(connection: Connection, expected: Any, **more: Any) -> Any:
        asked.extend(e.query for e in expected)
        return judge(connection, expected, **more)

    monkeypatch.setattr(bundle, "judge", listen)
    check_bundle(lambda _: source, [STORE], JEANNE, summed(bundled(source)))
    assert len(asked) == 7 and "jeanne" not in json.dumps(asked).lower()
    asked.clear()
    check_bundle(lambda _: source, [STORE], Whose(persons={"clients": ["1"]}, addresses=[], tenant="7654321"), {})
    assert len(asked) == 1 and "7654321" not in asked[0]
