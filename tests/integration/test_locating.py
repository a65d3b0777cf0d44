"""Finding a person: every way that leads to their rows, and none that leads to somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.control import ControlDatabase
from helpers.locating import AT, EMAIL, ID, OPS, House, account, email, house_of, table, to
from lethe.catalog.model import Store
from lethe.errors import AmbiguousPerson, Drifted, IdentifierRefused, LetheError, Uncountable
from lethe.subjects.indexes import slow_steps
from lethe.subjects.locating import Finder
from lethe.subjects.statements import AT_ONCE, params, reading

JEANNE, PAUL = "jeanne@example.org", "paul@example.org"
SCHEMA = """
CREATE SCHEMA app; SET search_path = app;
CREATE TABLE tenants (id bigint PRIMARY KEY, owner_id bigint, contact_email text);
CREATE TABLE users (id bigint PRIMARY KEY, tenant_id bigint, email text, password_hash text, score numeric(20, 10), seen timestamptz);
CREATE TABLE leads (id uuid PRIMARY KEY, email text);
CREATE TABLE clients (id bigint PRIMARY KEY, tenant_id bigint, email text);
CREATE TABLE visits (client_id bigint, number int, note text, PRIMARY KEY (client_id, number));
CREATE TABLE threads (id bigint PRIMARY KEY, opened_by bigint, last_message bigint);
CREATE TABLE messages (id bigint PRIMARY KEY, thread_id bigint, parent_id bigint, author_id bigint, author_name text, author_email text, body text);
CREATE TABLE views (id bigint, at timestamptz, user_id bigint, detail jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE views_1 PARTITION OF views FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE views_2 PARTITION OF views FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE mails (id bigint PRIMARY KEY, user_id bigint, lead_id uuid, recipient text);
CREATE INDEX ON users (lower(btrim(normalize(email, NFC))));
CREATE INDEX ON leads (lower(btrim(normalize(email, NFC))));
CREATE INDEX ON messages (thread_id); CREATE INDEX ON messages (author_id); CREATE INDEX ON threads (opened_by);
INSERT INTO tenants VALUES (1, 1, 'office@one.example'), (2, 2, 'jeanne@example.org');
INSERT INTO users VALUES (1, 1, 'Jeanne@Example.org', 'secret-1', 12345678.0123456789, '2026-11-22T23:30:00.5Z'),
  (2, 2, 'paul@example.org', 'secret-2', NULL, 'infinity'),
  (3, 2, '  jeanne@example.org ', 'secret-3', 0.1, NULL);
INSERT INTO leads VALUES ('00000000-0000-0000-0000-000000000001', 'JEANNE@EXAMPLE.ORG'), ('00000000-0000-0000-0000-000000000002', 'jeanne+news@example.org');
INSERT INTO clients VALUES (10, 1, 'jeanne@example.org'), (11, 2, 'jeanne@example.org'), (12, 2, 'paul@example.org');
INSERT INTO visits VALUES (10, 1, 'a'), (10, 2, 'b'), (11, 1, 'c'), (12, 1, 'd');
INSERT INTO threads VALUES (1, 1, 2), (2, 2, 4);
INSERT INTO messages VALUES (1, 1, NULL, 1, 'Jeanne', 'jeanne@example.org', 'help'), (2, 1, 1, 2, 'Paul', 'paul@example.org', 'here'),
  (3, 2, NULL, 2, 'Paul', 'paul@example.org', 'mine'), (4, 2, 3, 3, 'J', 'jeanne@example.org', 'I, too');
INSERT INTO views SELECT g, TIMESTAMPTZ '2026-01-02' + g * INTERVAL '1 hour', CASE g % 3 WHEN 0 THEN 1 ELSE 2 END, jsonb_build_object('n', g, 'x', 0.10)
  FROM generate_series(1, 6000) g;
INSERT INTO mails VALUES (1, 99, NULL, 'jeanne@example.org'), (2, 2, NULL, 'jeanne@example.org'), (3, 2, NULL, 'paul@example.org'), (4, 1, NULL, 'old@example.org');
ANALYZE;
"""


AUTHOR = {c: {"category": k, "about": "author"} for c, k in (("author_id", ID), ("author_name", "user.name"), ("author_email", EMAIL))}
TABLES: dict[str, dict[str, Any]] = {
    "tenants": table(
        "tenants", ["id"], {"id": OPS, "owner_id": ID, "contact_email": {"category": EMAIL, "about": "contact"}}, tenant=[], persons=[["owner"]],
        relations={"owner": to("users", "owner_id")},
    ),
    "users": table(
        "users", ["id"], {"id": ID, "tenant_id": OPS, "email": EMAIL, "password_hash": "user.authorization.password", "score": "user.behavior", "seen": "user.behavior"},
        tenant=["tenant"], persons=[[]], relations={"tenant": to("tenants", "tenant_id")}, portable=["email"],
    ),
    "leads": table("leads", ["id"], {"id": ID, "email": EMAIL}, persons=[[]]),
    "clients": table(
        "clients", ["id"], {"id": ID, "tenant_id": OPS, "email": EMAIL}, role="processor", tenant=["tenant"], persons=[[]],
        relations={"tenant": to("tenants", "tenant_id")},
    ),
    "visits": table(
        "visits", ["client_id", "number"], {"client_id": ID, "number": OPS, "note": "user.content.private"}, role="processor",
        tenant=["client", "tenant"], persons=[["client"]], relations={"client": to("clients", "client_id")},
    ),
    "threads": table(
        "threads", ["id"], {"id": OPS, "opened_by": ID, "last_message": OPS}, persons=[["opener"], ["last", "author"]],
        relations={"opener": to("users", "opened_by"), "last": to("messages", "last_message")},
    ),
    "messages": table(
        "messages", ["id"], {"id": OPS, "thread_id": OPS, "parent_id": OPS, **AUTHOR, "body": "user.content.private"}, persons=[["author"], ["thread", "opener"]],
        relations={"author": to("users", "author_id"), "thread": to("threads", "thread_id"), "parent": to("messages", "parent_id")},
    ),
    "views": table(
        "views", ["id", "at"], {"id": OPS, "at": "user.behavior", "user_id": ID, "detail": "user.behavior"}, persons=[["user"]],
        relations={"user": to("users", "user_id", may_dangle=True)},
    ),
    "mails": table(
        "mails", ["id"], {"id": OPS, "user_id": ID, "lead_id": ID, "recipient": {"category": EMAIL, "about": "addressee"}}, persons=[["user"], ["lead"]],
        relations={"user": to("users", "user_id", may_dangle=True), "lead": to("leads", "lead_id", may_dangle=True)},
    ),
}  # fmt: skip


def store(**changes: Any) -> Store:
    given = {
        "id": "source", "kind": "postgresql", "connection": "source", "check_connection": "source", "start_of_service": "2014-01-01T00:00:00+01:00",
        "schemas": ["app"], "tenants": "tenants", "identities": ["users", "leads", "clients"], "tables": TABLES,
    }  # fmt: skip
    return Store.model_validate(given | changes)


@pytest.fixture
def house(control: ControlDatabase, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    yield from house_of(control, monkeypatch, SCHEMA, store())


MINE = {"tenants": 2, "users": 2, "leads": 1, "threads": 2, "messages": 3, "views": 2000, "mails": 3}


def test_every_way_leads_to_the_rows_and_nothing_else_is_found(house: House) -> None:
    located = house.finder.locate([email(JEANNE)])
    assert [(p.dataset, p.key) for p in located.persons] == [
        ("clients", "10"), ("clients", "11"), ("leads", "00000000-0000-0000-0000-000000000001"), ("users", "1"), ("users", "3"),
    ]  # fmt: skip
    assert {c.section: c.rows for c in located.counted} == MINE
    assert {c.section: c.shared for c in located.counted if c.shared} == {"threads": 2, "messages": 2, "mails": 2, "tenants": 1}
    assert JEANNE not in repr(located) and "10" not in repr(located.persons)


def test_rows_are_those_that_were_counted_and_a_large_dataset_is_streamed(house: House) -> None:
    rows = house.rows(email(JEANNE))
    assert {s: len(r) for s, r in rows.items()} == MINE and MINE["views"] > AT_ONCE
    assert [r.values["id"] for r in rows["views"]] == sorted(r.values["id"] for r in rows["views"])
    assert {r.values["user_id"] for r in rows["views"]} == {1}


def test_values_are_exact_and_secrets_are_withheld(house: House) -> None:
    (first, second) = house.rows(email(JEANNE))["users"]
    assert str(first.values["score"]) == "12345678.0123456789" and first.values["seen"] == "2026-11-22T23:30:00.5+00:00"
    assert first.values["password_hash"] is None and first.redacted == ("password_hash",) and not first.shared
    assert second.values["email"] == "  jeanne@example.org " and str(house.rows(email(JEANNE))["views"][0].values["detail"]["x"]) == "0.10"
    assert house.rows(email(PAUL))["users"][0].values["seen"] == "infinity"


def test_what_is_about_somebody_else_is_masked_and_the_row_is_marked(house: House) -> None:
    rows = house.rows(email(JEANNE))
    by_id = {r.values["id"]: r for r in rows["messages"]}
    assert set(by_id) == {1, 2, 4}
    assert by_id[1].values["author_name"] == "Jeanne" and not by_id[1].redacted and not by_id[1].shared
    assert by_id[2].redacted == ("author_id", "author_name", "author_email") and by_id[2].shared and by_id[2].values["body"] == "here"
    assert by_id[4].values["author_email"] == JEANNE and by_id[4].shared
    tenants = {r.values["id"]: r for r in rows["tenants"]}
    assert tenants[1].values["contact_email"] is None and tenants[1].redacted == ("contact_email",)
    assert tenants[2].values["contact_email"] == JEANNE
    mails = {r.values["id"]: r for r in rows["mails"]}
    assert set(mails) == {1, 2, 4} and mails[4].values["recipient"] is None and mails[2].shared
    assert PAUL not in str([r.values for found in rows.values() for r in found])


def test_what_tenants_store_is_counted_by_tenant_and_never_given(house: House) -> None:
    located = house.finder.locate([email(JEANNE)])
    assert {f.tenant: dict(f.rows) for f in located.forwards} == {"1": {"clients": 1, "visits": 2}, "2": {"clients": 1, "visits": 1}}
    assert not {"clients", "visits"} & set(house.rows(email(JEANNE)))


def test_an_instructing_tenant_gets_its_own_client_and_no_other(house: House) -> None:
    rows = house.rows(email(JEANNE), tenant="1")
    assert {s: [next(iter(r.values.values())) for r in found] for s, found in rows.items()} == {"clients": [10], "visits": [10, 10]}
    assert house.finder.locate([email(JEANNE)], tenant="1").forwards == ()
    assert house.rows(email("nobody@example.org"), tenant="1") == {}


STORED = {
    "case of the domain and the local part": "JEANNE@eXample.ORG",
    "spaces around it": "   jeanne@example.org  ",
}


@pytest.mark.parametrize("stored", STORED.values(), ids=list(STORED))
def test_an_address_is_found_however_it_is_stored(house: House, stored: str) -> None:
    house.sql("INSERT INTO app.users (id, tenant_id, email) VALUES (50, 5, '" + stored + "')")
    assert "50" in house.finder.locate([email(JEANNE)]).keys["users"]


@pytest.mark.parametrize("asked", ["e\u0301lodie@caf\u00e9.example", "\u00e9lodie@xn--caf-dma.example", "\u00c9LODIE@CAF\u00c9.example"])
@pytest.mark.parametrize("stored", ["e\u0301lodie@cafe\u0301.example", "\u00e9lodie@XN--CAF-DMA.example", "\u00c9lodie@caf\u00e9.Example"])
def test_composed_and_decomposed_letters_and_both_forms_of_a_domain_are_one(house: House, asked: str, stored: str) -> None:
    house.sql(f"INSERT INTO app.users (id, tenant_id, email) VALUES (50, 5, '{stored}')")
    assert house.finder.locate([email(asked)]).keys == {"users": ["50"]}


@pytest.mark.parametrize("other", ["jeanne+a@example.org", "je.anne@example.org", "j\u00e9anne@example.org", "jeanne@example.com"])
def test_a_plus_a_dot_an_accent_and_another_domain_are_another_person(house: House, other: str) -> None:
    assert house.counts(email(other)) == {} and house.finder.locate([email(other)]).persons == ()


def test_twins_in_one_tenant_that_differ_by_case_only_go_to_a_person_and_an_account_tells_them_apart(house: House) -> None:
    house.sql("INSERT INTO app.users (id, tenant_id, email) VALUES (51, 1, 'jeanne@EXAMPLE.org')")
    with pytest.raises(AmbiguousPerson) as refused:
        house.finder.locate([email(JEANNE)])
    assert "users" in str(refused.value) and JEANNE not in str(refused.value)
    located = house.finder.locate([email(JEANNE), account("users:51")])
    assert located.keys["users"] == ["51"] and located.left_out == 2 and "leads" in located.keys


def test_whoever_asks_with_an_account_of_somebody_else_is_not_served(house: House) -> None:
    with pytest.raises(AmbiguousPerson) as refused:
        house.finder.locate([email(JEANNE), account("users:2")])
    assert "2" not in str(refused.value) and JEANNE not in str(refused.value)


def test_an_account_that_is_gone_still_leads_to_the_rows_that_name_it(house: House) -> None:
    assert house.counts(account("users:99")) == {"mails": 1}
    assert house.counts(account("users:98")) == {}


def test_an_account_that_is_gone_leaves_nobody_out_who_has_the_address(house: House) -> None:
    located = house.finder.locate([email(JEANNE), account("users:99")])
    assert located.keys["users"] == ["1", "3", "99"] and located.left_out == 0
    assert {c.section: c.rows for c in located.counted} == MINE


def test_a_file_of_somebody_else_s_columns_is_not_asked_for(control: ControlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"object_key": {"category": "system.operations", "about": "author"}}
    messages = TABLES["messages"] | {
        "columns": TABLES["messages"]["columns"] | about,
        "files": {"dataset": "scans", "column": "object_key"},
    }
    scans = {"bucket": "scans", "role": "controller", "category": "scans", "purposes": ["p"], "contents": ["user"]}
    shelf = Store.model_validate(
        {"id": "shelf", "kind": "s3", "connection": "shelf", "start_of_service": "2014-01-01T00:00:00+01:00", "prefixes": {"scans": scans}}
    )
    for house in house_of(control, monkeypatch, SCHEMA, store(tables=TABLES | {"messages": messages}), shelf):
        house.sql(
            "ALTER TABLE app.messages ADD COLUMN object_key text", "UPDATE app.messages SET object_key = 'paul/card.png' WHERE id = 2"
        )
        (theirs,) = [r for r in house.rows(email(JEANNE))["messages"] if r.values["id"] == 2]
        assert theirs.file is None and theirs.values["object_key"] is None and "object_key" in theirs.redacted


def test_rows_that_name_a_file_are_counted_without_asking_the_object_store(
    control: ControlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store of these objects does not answer at all."""
    files = {"files": {"dataset": "scans", "column": "object_key"}}
    messages = TABLES["messages"] | {"columns": TABLES["messages"]["columns"] | {"object_key": {"category": OPS}}} | files
    scans = {"bucket": "scans", "role": "controller", "category": "scans", "purposes": ["p"], "contents": ["user"]}
    shelf = Store.model_validate(
        {"id": "shelf", "kind": "s3", "connection": "shelf", "start_of_service": "2014-01-01T00:00:00+01:00", "prefixes": {"scans": scans}}
    )
    for house in house_of(control, monkeypatch, SCHEMA, store(tables=TABLES | {"messages": messages}), shelf):
        house.sql("ALTER TABLE app.messages ADD COLUMN object_key text")
        assert {c.files for c in house.finder.locate([email(JEANNE)]).counted} == {0}
        house.sql("UPDATE app.messages SET object_key = CASE id WHEN 2 THEN '' ELSE 'scans/' || id END WHERE id > 1")
        counted = {c.section: (c.rows, c.files) for c in house.finder.locate([email(JEANNE)]).counted if c.files}
        assert counted == {"messages": (3, 1)}, "of messages 1, 2 and 4 one has no key, one an empty one; message 3 is Paul's"


@pytest.mark.parametrize("key", ["users:abc", "users:99999999999999999999", "leads:1"])
def test_an_account_that_no_key_is_written_like_is_refused_without_its_text(house: House, key: str) -> None:
    with pytest.raises(IdentifierRefused) as refused:
        house.finder.locate([account(key)])
    assert key.partition(":")[2] not in str(refused.value)


DRIFT = {
    "a table that is gone": "DROP TABLE app.mails",
    "a column that is gone": "ALTER TABLE app.mails DROP COLUMN recipient",
    "a column that nobody classified": "ALTER TABLE app.mails ADD COLUMN phone text",
    "a table that nobody mapped": "CREATE TABLE app.mails_2 (id int)",
    "a partitioned one": "CREATE TABLE app.mails_2 (id int) PARTITION BY LIST (id); CREATE TABLE app.m1 PARTITION OF app.mails_2 DEFAULT",
    "what a query was kept in": "CREATE MATERIALIZED VIEW app.mails_2 AS SELECT recipient FROM app.mails",
}


@pytest.mark.parametrize("tenant", [None, "1"])
@pytest.mark.parametrize("change", DRIFT.values(), ids=list(DRIFT))
def test_a_catalog_that_is_not_the_database_stops_it_by_name(house: House, change: str, tenant: str | None) -> None:
    house.sql(change)
    if tenant and "mails_2" not in change:
        return  # of a tenant's data it is no part
    with pytest.raises(Drifted, match=r"app\.mails"):
        house.finder.locate([email(JEANNE)], tenant=tenant)


NO_DRIFT = {
    "a partition": "CREATE TABLE app.views_0 PARTITION OF app.views FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "a view": "CREATE VIEW app.all_mails AS SELECT * FROM app.mails",
    "an exempted table": "CREATE TABLE app.migrations (id int)",
    "a table of an exempted schema": "CREATE SCHEMA jobs; CREATE TABLE jobs.queue (id int)",
    "a table elsewhere": "CREATE SCHEMA other; CREATE TABLE other.faces (id int, email text)",
}
EXEMPT = [{"name": n, "reason": "no data of persons", "owner": "data", "until": "2027-01-01"} for n in ("app.migrations", "jobs")]


@pytest.mark.parametrize("change", NO_DRIFT.values(), ids=list(NO_DRIFT))
def test_what_is_exempted_or_holds_nothing_of_its_own_stops_nothing(
    control: ControlDatabase, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for house in house_of(control, monkeypatch, SCHEMA, store(exempt=EXEMPT, schemas=["app", "jobs"])):
        house.sql(change)
        assert {c.section: c.rows for c in house.finder.locate([email(JEANNE)]).counted} == MINE


@pytest.mark.parametrize("change", list(DRIFT.values())[:2], ids=list(DRIFT)[:2])
def test_what_goes_after_the_statements_were_made_stops_it_too(house: House, change: str) -> None:
    house.finder.compiled()
    house.sql(change)
    with pytest.raises(LetheError) as refused:
        house.rows(email(JEANNE))
    assert JEANNE not in str(refused.value)


def test_a_step_without_an_index_is_named_when_its_table_is_large(house: House) -> None:
    assert slow_steps(house.finder.compiled(), house.finder.workspace) == ()
    house.sql("INSERT INTO app.mails SELECT g, g, NULL, 'm' || g || '@example.org' FROM generate_series(100, 20100) g", "ANALYZE app.mails")
    finder = Finder(house.finder.workspace)
    found = {(s.dataset, s.columns) for s in slow_steps(finder.compiled(), finder.workspace)}
    assert found == {("mails", ("user_id",)), ("mails", ("lead_id",)), ("mails", ("recipient",))}
    house.sql(
        "CREATE INDEX ON app.mails (lower(btrim(normalize(recipient, NFC))))",
        "CREATE INDEX ON app.mails (user_id)",
        "CREATE INDEX ON app.mails (lead_id)",
    )
    assert slow_steps(Finder(house.finder.workspace).compiled(), finder.workspace) == ()


def test_the_statements_stay_prepared_for_the_next_person_and_no_table_of_holds_is_made(house: House) -> None:
    house.rows(email(JEANNE))
    (asked,) = house.finder.compiled().asked
    with reading(house.finder.workspace, asked.store) as reader:
        prepared = {text for (text,) in reader.all("SELECT statement FROM pg_prepared_statements", {}, "What is prepared")}
        (temporary,) = reader.one("SELECT count(*) FROM pg_class WHERE relpersistence = 't'", {}, "Temporary tables")
    assert any(text.startswith(asked.small[:40]) for text in prepared) and not temporary
    assert {s: len(r) for s, r in house.rows(email(PAUL)).items()}["views"] == 4000


LEAD = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize("who", ["users:1", "users:2", "users:3", f"leads:{LEAD}", "users:404"])
def test_the_statement_for_one_key_gives_what_the_one_for_many_gives(house: House, who: str) -> None:
    located = house.finder.locate([account(who)])
    (asked,) = house.finder.compiled().asked
    with reading(house.finder.workspace, asked.store) as reader:
        values = params(asked, located)
        many, one = (list(reader.one(statement, values, "Rows")) for statement in (asked.small, asked.small_one))
    assert one == many and (who == "users:404" or any(one))


def test_with_two_keys_of_a_dataset_the_statement_for_one_cannot_be_run(house: House) -> None:
    (asked,) = house.finder.compiled().asked
    assert not {"key_users", "key_leads"} & set(params(asked, house.finder.locate([email(JEANNE)])))


def test_a_key_of_fixed_length_is_compared_whole(house: House) -> None:
    house.sql("ALTER TABLE app.leads ALTER id TYPE character(40)", "ALTER TABLE app.mails ALTER lead_id TYPE character(40)")
    house.sql(f"UPDATE app.mails SET lead_id = '{LEAD}' WHERE id = 2", f"UPDATE app.mails SET lead_id = '{LEAD[:-1]}2' WHERE id = 3")
    for identifiers in ([email(JEANNE)], [account(f"leads:{LEAD}")]):
        finder = Finder(house.finder.workspace)
        rows = {s.id: list(r) for s, r in finder.sections(finder.locate(identifiers), at=AT)}
        assert len(rows["leads"]) == 1 and 2 in {r.values["id"] for r in rows["mails"]} and 3 not in {r.values["id"] for r in rows["mails"]}


def test_numbers_of_any_length_are_exact(house: House) -> None:
    long = "9" * 5000
    house.sql(f'UPDATE app.views SET detail = \'{{"n": {long}, "m": 7, "x": 0.10}}\' WHERE id = 3')
    (row,) = [r for r in house.rows(email(JEANNE))["views"] if r.values["id"] == 3]
    found = row.values["detail"]
    assert found["n"] == 10**5000 - 1 and found["m"] == 7 and str(found["x"]) == "0.10"


def test_nobody_stands_in_a_statement(house: House) -> None:
    (asked,) = house.finder.compiled().asked
    whole = " ".join(
        [asked.small, asked.counts, *asked.streams.values(), *asked.who.values(), *asked.by_key.values(), *asked.forwards.values()]
    )
    assert "jeanne" not in whole.lower() and "%(addresses)s" in whole


def test_a_row_found_by_address_that_is_a_twin_s_is_not_given(house: House) -> None:
    house.sql(
        "INSERT INTO app.users (id, tenant_id, email) VALUES (51, 1, 'jeanne@EXAMPLE.org')",
        "INSERT INTO app.mails VALUES (51, 51, NULL, 'jeanne@example.org'), (52, NULL, NULL, 'jeanne@example.org')",
    )
    mails = {r.values["id"] for r in house.rows(email(JEANNE), account("users:1"), account("users:3"))["mails"]}
    assert mails == {1, 2, 4, 52}


def test_an_account_alone_knows_its_own_address_and_searches_by_none(house: House) -> None:
    rows = house.rows(account("users:1"))
    assert {r.values["id"] for r in rows["mails"]} == {4} and "leads" not in rows
    assert {r.values["id"]: r.redacted for r in rows["messages"]}[1] == ()


def test_a_form_that_was_sent_twice_is_one_person(house: House) -> None:
    house.sql("INSERT INTO app.leads VALUES ('00000000-0000-0000-0000-000000000009', 'jeanne@example.org')")
    assert len(house.finder.locate([email(JEANNE)]).keys["leads"]) == 2


def test_rows_that_lead_to_no_tenant_stop_it_for_nobody_could_be_told(house: House) -> None:
    house.sql("INSERT INTO app.clients VALUES (13, NULL, 'jeanne@example.org')")
    with pytest.raises(Uncountable, match="clients"):
        house.finder.locate([email(JEANNE)])
