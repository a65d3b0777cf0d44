"""Rows that hang on a row which is found by its address alone; and the case of an address, where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from helpers.control import ControlDatabase
from helpers.locating import AT, EMAIL, ID, OPS, House, account, email, house_of, table, to
from lethe.catalog.check import check_catalog
from lethe.catalog.model import Store
from lethe.errors import UnknownName
from lethe.subjects.found import Located
from lethe.subjects.identifiers import Identifier
from lethe.subjects.indexes import slow_steps
from lethe.subjects.locating import Finder
from lethe.verify.bundle import Whose, check_bundle
from lethe.verify.person import KeySum

JEANNE, PAUL = "jeanne@example.org", "paul@example.org"
SCHEMA = """
CREATE SCHEMA app; SET search_path = app;
CREATE TABLE tenants (id bigint PRIMARY KEY);
CREATE TABLE users (id bigint PRIMARY KEY, tenant_id bigint, email text);
CREATE TABLE signups (id bigint PRIMARY KEY, email text);
CREATE TABLE prefs (id bigint PRIMARY KEY, signup_id bigint, topic text);
CREATE TABLE events (id bigint PRIMARY KEY, signup_id bigint, user_id bigint, batch_id bigint, what text);
CREATE TABLE clicks (id bigint PRIMARY KEY, event_id bigint, url text);
CREATE TABLE batches (id bigint PRIMARY KEY, body text);
CREATE TABLE letters (id bigint PRIMARY KEY, sender text, recipient text);
CREATE TABLE scans (letter_id bigint, page int, body text, PRIMARY KEY (letter_id, page));
CREATE TABLE guests (id bigint PRIMARY KEY, tenant_id bigint, email text);
CREATE TABLE orders (id bigint PRIMARY KEY, guest_id bigint, tenant_id bigint, item text);
CREATE TABLE consents (id bigint PRIMARY KEY, user_id bigint, email text);
CREATE TABLE visits (id bigint PRIMARY KEY, consent_id bigint, page text);
CREATE INDEX ON signups (lower(btrim(normalize(email, NFC))));
CREATE INDEX ON prefs (signup_id);
INSERT INTO tenants VALUES (1), (2);
INSERT INTO users VALUES (1, 1, 'jeanne@example.org'), (2, 2, 'paul@example.org');
INSERT INTO signups VALUES (10, 'jeanne@example.org'), (11, '  JEANNE@Example.org'), (12, 'paul@example.org'), (13, 'jeanne+x@example.org'), (14, NULL);
INSERT INTO prefs SELECT 100 + id, id, 'topic ' || id FROM signups;
INSERT INTO batches VALUES (1, 'both'), (2, 'hers'), (3, 'his'), (4, 'nobody''s');
INSERT INTO events VALUES (1, 10, NULL, 1, 'opened'), (2, 12, NULL, 1, 'opened'), (3, 11, NULL, 2, 'left'), (4, 12, 2, 3, 'left'),
  (5, NULL, NULL, 4, 'lost'), (6, NULL, 1, 3, 'asked');
INSERT INTO clicks VALUES (1, 1, '/a'), (2, 2, '/b'), (3, 3, '/c'), (4, 4, '/d'), (5, 5, '/e'), (6, NULL, '/f');
INSERT INTO letters VALUES (1, 'jeanne@example.org', 'paul@example.org'), (2, 'paul@example.org', 'other@example.org'), (3, 'jeanne@example.org', NULL);
INSERT INTO scans VALUES (1, 1, 'one'), (1, 2, 'two'), (2, 1, 'three'), (3, 1, 'four');
INSERT INTO guests VALUES (1, 1, 'jeanne@example.org'), (2, 2, 'jeanne@example.org'), (3, 2, 'paul@example.org');
INSERT INTO orders VALUES (1, 1, 1, 'a'), (2, 1, 1, 'b'), (3, 2, 2, 'c'), (4, 3, 2, 'd');
INSERT INTO consents VALUES (20, NULL, 'jeanne@example.org'), (21, 1, NULL), (22, NULL, 'paul@example.org'), (23, 2, 'paul@example.org'), (24, NULL, NULL);
INSERT INTO visits VALUES (1, 20, '/a'), (2, 21, '/b'), (3, 22, '/c'), (4, 23, '/d'), (5, 24, '/e'), (6, NULL, '/f');
ANALYZE;
"""
WHO = {"tenant": to("tenants", "tenant_id")}
TABLES: dict[str, dict[str, Any]] = {
    "tenants": table("tenants", ["id"], {"id": OPS}, tenant=[]),
    "users": table("users", ["id"], {"id": ID, "tenant_id": OPS, "email": EMAIL}, persons=[[]], tenant=["tenant"], relations=WHO),
    "signups": table("signups", ["id"], {"id": ID, "email": EMAIL}),
    "prefs": table("prefs", ["id"], {"id": OPS, "signup_id": ID, "topic": "user.behavior"}, persons=[["signup"]], relations={"signup": to("signups", "signup_id")}),
    "events": table(
        "events", ["id"], {"id": OPS, "signup_id": ID, "user_id": ID, "batch_id": OPS, "what": "user.behavior"}, persons=[["signup"], ["user"]],
        relations={"signup": to("signups", "signup_id"), "user": to("users", "user_id"), "batch": to("batches", "batch_id")},
    ),
    "clicks": table("clicks", ["id"], {"id": OPS, "event_id": OPS, "url": "user.behavior"}, persons=[["event", "signup"]], relations={"event": to("events", "event_id")}),
    "batches": table("batches", ["id"], {"id": OPS, "body": "user.content.private"}, persons=[["events.batch", "signup"]]),
    "letters": table("letters", ["id"], {"id": OPS, "sender": EMAIL, "recipient": EMAIL}),
    "scans": table(
        "scans", ["letter_id", "page"], {"letter_id": OPS, "page": OPS, "body": "user.content.private"}, persons=[["letter"]],
        relations={"letter": to("letters", "letter_id")},
    ),
    "consents": table(
        "consents", ["id"], {"id": OPS, "user_id": ID, "email": EMAIL}, persons=[["user"]], relations={"user": to("users", "user_id")},
    ),
    "visits": table(
        "visits", ["id"], {"id": OPS, "consent_id": ID, "page": "user.behavior"}, persons=[["consent", "user"], ["consent"]],
        relations={"consent": to("consents", "consent_id")},
    ),
    "guests": table("guests", ["id"], {"id": ID, "tenant_id": OPS, "email": EMAIL}, role="processor", tenant=["tenant"], relations=WHO),
    "orders": table(
        "orders", ["id"], {"id": OPS, "guest_id": ID, "tenant_id": OPS, "item": "user.behavior"}, role="processor", tenant=["tenant"], persons=[["guest"]],
        relations=WHO | {"guest": to("guests", "guest_id")},
    ),
}  # fmt: skip
HERS: dict[str, list[Any]] = {
    "users": [1], "signups": [10, 11], "prefs": [110, 111], "events": [1, 3, 6], "clicks": [1, 3], "batches": [1, 2], "letters": [1, 3],
    "scans": [(1, 1), (1, 2), (3, 1)], "consents": [20, 21], "visits": [1, 2],
}  # fmt: skip


def store(**changes: Any) -> Store:
    given = {
        "id": "source", "kind": "postgresql", "connection": "source", "check_connection": "source", "start_of_service": "2014-01-01T00:00:00+01:00",
        "schemas": ["app"], "tenants": "tenants", "identities": ["users"], "tables": TABLES,
    }  # fmt: skip
    return Store.model_validate(given | changes)


@pytest.fixture
def house(control: ControlDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    yield from house_of(control, monkeypatch, SCHEMA, store())


def keys(house: House, *given: Identifier) -> dict[str, list[Any]]:
    """The keys of the rows that are given, by dataset; that as many were counted is seen on the way, and that the check agrees."""
    located = house.finder.locate(given)
    found: dict[str, list[Any]] = {}
    sums: dict[str, KeySum] = {}
    for section, rows in house.finder.sections(located, at=AT):
        columns = TABLES[section.id]["key"]
        for row in rows:
            key = [row.values[c] for c in columns]
            sums.setdefault(section.id, KeySum()).add(key)
            found.setdefault(section.id, []).append(key[0] if len(key) == 1 else tuple(key))
    assert {c.section: c.rows for c in located.counted if c.rows} == {s: len(k) for s, k in found.items()}
    assert wrong(house, located, sums) == []
    return found


def wrong(house: House, located: Located, sums: dict[str, KeySum]) -> list[tuple[str, str]]:
    """What the check says of a bundle with these rows."""
    left: dict[str, list[str]] = {}
    for each in located.others:
        left.setdefault(each.dataset, []).append(each.key)
    whose = Whose(persons=located.keys, addresses=located.addresses, left_out=left, exact=located.exact)
    workspace = house.finder.workspace
    checked = check_bundle(workspace.connections, workspace.catalog.stores, whose, {d: (s.rows, s.total) for d, s in sums.items()})
    return sorted((d, c.status) for d, found in checked.items() for c in found if c.status != "passed")


# Rows that hang on a row with an address


def test_what_hangs_on_a_row_that_is_found_by_its_address_is_found_at_any_depth_and_a_neighbour_s_is_not(house: House) -> None:
    assert keys(house, email(JEANNE)) == HERS
    assert keys(house, email("nobody@example.org")) == {}


def test_an_account_alone_searches_by_no_address(house: House) -> None:
    assert keys(house, account("users:1")) == {"users": [1], "events": [6], "consents": [21], "visits": [2]}


def test_a_row_that_leads_to_others_too_is_marked_as_shared(house: House) -> None:
    rows = house.rows(email(JEANNE))
    shared = {s: sorted(str(r.values.get("id", r.values.get("letter_id"))) for r in found if r.shared) for s, found in rows.items()}
    assert {s: ids for s, ids in shared.items() if ids} == {"batches": ["1"], "scans": ["1", "1"]}
    assert {c.section: c.shared for c in house.finder.locate([email(JEANNE)]).counted if c.shared} == {"batches": 1, "scans": 2}


def test_what_tenants_store_is_counted_for_each_and_never_given(house: House) -> None:
    located = house.finder.locate([email(JEANNE)])
    assert {f.tenant: dict(f.rows) for f in located.forwards} == {"1": {"guests": 1, "orders": 2}, "2": {"guests": 1, "orders": 1}}
    assert not {"guests", "orders"} & set(house.rows(email(JEANNE)))
    assert house.rows(email(JEANNE), tenant="1") == {}, "a tenant's own search goes by its clients, and by no address"


def test_what_hangs_there_and_leads_to_a_twin_who_is_not_meant_is_left_out(house: House) -> None:
    """The account 3 has the same address. Its own event names it, and a click hangs on that; the batch has both."""
    house.sql(
        "INSERT INTO app.users VALUES (3, 1, 'jeanne@EXAMPLE.org')",
        "INSERT INTO app.batches VALUES (5, 'the twin''s')",
        "INSERT INTO app.events VALUES (7, 10, 3, 5, 'asked'), (8, 10, 1, 2, 'asked')",
        "INSERT INTO app.clicks VALUES (7, 7, '/g'), (8, 8, '/h')",
        "INSERT INTO app.consents VALUES (25, 3, 'jeanne@example.org')",
        "INSERT INTO app.visits VALUES (7, 25, '/g')",
    )
    mine = keys(house, email(JEANNE), account("users:1"))
    assert (mine["users"], mine["events"], mine["clicks"], mine["batches"]) == ([1], [1, 3, 6, 8], [1, 3, 8], [1, 2])
    assert (mine["consents"], mine["visits"]) == ([20, 21], [1, 2])
    twin = keys(house, email(JEANNE), account("users:3"))
    assert (twin["users"], twin["events"], twin["clicks"], twin["batches"]) == ([3], [1, 3, 7], [1, 3, 7], [1, 5])
    assert (twin["consents"], twin["visits"]) == ([20, 25], [1, 7])


@pytest.mark.parametrize("dataset", sorted(HERS))
def test_the_check_sees_a_row_that_is_missing_and_one_of_somebody_else_s(house: House, dataset: str) -> None:
    located = house.finder.locate([email(JEANNE)])
    whole = {d: [k if isinstance(k, tuple) else (k,) for k in found] for d, found in HERS.items()}
    other = (2,) * len(whole[dataset][0])
    for changed in (whole[dataset][1:], [*whole[dataset], other], [*whole[dataset][1:], other]):
        sums: dict[str, KeySum] = {}
        for each, found in (whole | {dataset: changed}).items():
            for key in found:
                sums.setdefault(each, KeySum()).add(key)
        assert wrong(house, located, sums) == [(dataset, "failed")]


def test_a_table_that_nobody_mapped_is_unknown_to_the_check(house: House) -> None:
    located = house.finder.locate([email("nobody@example.org")])
    house.sql("CREATE TABLE app.faces (id int)", "CREATE VIEW app.seen AS SELECT id FROM app.users", "CREATE TEMP TABLE t (id int)")
    assert wrong(house, located, {}) == [("app.faces", "unknown")]


def test_a_way_to_an_address_without_an_index_is_named(house: House) -> None:
    assert slow_steps(house.finder.compiled(), house.finder.workspace) == ()
    house.sql("INSERT INTO app.prefs SELECT g, g FROM generate_series(1000, 21000) g", "ANALYZE app.prefs")
    house.sql("INSERT INTO app.clicks SELECT g, g FROM generate_series(1000, 21000) g", "ANALYZE app.clicks")
    finder = Finder(house.finder.workspace)
    found = {(s.dataset, s.columns) for s in slow_steps(finder.compiled(), finder.workspace)}
    assert found == {("clicks", ("event_id", "events.signup_id", "signups.email"))}
    house.sql("CREATE INDEX ON app.clicks (event_id)")
    assert slow_steps(Finder(house.finder.workspace).compiled(), finder.workspace) == ()


def test_nobody_stands_in_a_statement(house: House) -> None:
    (asked,) = house.finder.compiled().asked
    whole = " ".join(
        [asked.small, asked.small_one, asked.counts, *asked.streams.values(), *asked.forwards.values(), *asked.hanging.values()]
    )
    assert "jeanne" not in whole.lower() and set(asked.hanging) == {"consents", "letters", "signups"}


def test_the_rows_that_others_hang_on_are_known_by_their_keys_for_the_archive(house: House) -> None:
    located = house.finder.locate([email(JEANNE)])
    assert [(p.dataset, p.key) for p in located.hanging] == [
        ("consents", "20"), ("letters", "1"), ("letters", "3"), ("signups", "10"), ("signups", "11"),
    ]  # fmt: skip
    assert set(located.named) == {*located.persons, *located.hanging} and house.finder.locate([account("users:1")]).hanging == ()


BAD = {
    "at a table without an address": ["batch"],
    "at one that leads to a person itself": ["event"],
}


@pytest.mark.parametrize("path", BAD.values(), ids=list(BAD))
def test_a_path_that_ends_where_nobody_can_be_told_is_an_error(
    control: ControlDatabase, monkeypatch: pytest.MonkeyPatch, path: list[str]
) -> None:
    tables = TABLES | {"clicks": TABLES["clicks"] | {"persons": [["event", "batch"] if path == ["batch"] else path]}}
    for house in house_of(control, monkeypatch, SCHEMA, store(tables=tables)):
        with pytest.raises(UnknownName, match="clicks ends at"):
            house.finder.locate([email(JEANNE)])
        found = check_catalog(house.finder.workspace.catalog, house.finder.workspace.policies.versions[0], on=AT.date())
        assert ("path leads nowhere", "clicks persons") in [(f.kind, f.where) for f in found]


# The case of what stands before the @


TWINS = (
    "UPDATE app.signups SET email = 'Jeanne@example.org' WHERE id = 11",
    "UPDATE app.letters SET sender = 'JEANNE@example.org' WHERE id = 3",
    "UPDATE app.guests SET email = 'Jeanne@EXAMPLE.org' WHERE id = 2",
    "INSERT INTO app.users VALUES (3, 2, 'Jeanne@Example.ORG')",
)


def test_where_case_matters_a_twin_s_rows_are_hers_alone_in_rows_counts_and_check(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_FOLD_LOCAL_PART", "no")
    house.sql(*TWINS)
    jeanne, twin, loud = (email(a, fold_local=False) for a in (JEANNE, "Jeanne@example.ORG", "JEANNE@example.org"))
    hers = HERS | {
        "signups": [10],
        "prefs": [110],
        "events": [1, 6],
        "clicks": [1],
        "batches": [1],
        "letters": [1],
        "scans": [(1, 1), (1, 2)],
    }
    assert keys(house, jeanne) == hers
    assert keys(house, twin) == {"users": [3], "signups": [11], "prefs": [111], "events": [3], "clicks": [3], "batches": [2]}
    assert keys(house, loud) == {"letters": [3], "scans": [(3, 1)]}
    assert {f.tenant: dict(f.rows) for f in house.finder.locate([jeanne]).forwards} == {"1": {"guests": 1, "orders": 2}}
    assert {f.tenant: dict(f.rows) for f in house.finder.locate([twin]).forwards} == {"2": {"guests": 1, "orders": 1}}
    both = keys(house, jeanne, twin)
    assert both["signups"] == [10, 11] and both["letters"] == [1] and both["users"] == [1, 3]


def test_where_it_does_not_they_are_one_person_s(house: House) -> None:
    house.sql(*TWINS)
    assert keys(house, email(JEANNE)) == keys(house, email("JEANNE@example.org")) == HERS | {"users": [1, 3]}


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("\u00c9lodie@caf\u00e9.example", "  E\u0301lodie@CAFE\u0301.example "),
        ("E\u0301lodie@xn--caf-dma.example", "\u00c9lodie@XN--CAF-dma.example"),
        ("\u00c9lodie@XN--CAF-DMA.example", "\u00c9lodie@caf\u00e9.Example"),
    ],
)
def test_where_case_matters_an_address_is_found_however_its_domain_and_its_letters_are_written(
    house: House, monkeypatch: pytest.MonkeyPatch, asked: str, stored: str
) -> None:
    monkeypatch.setenv("LETHE_FOLD_LOCAL_PART", "no")
    house.sql(
        f"INSERT INTO app.signups VALUES (20, '{stored}'), (21, '\u00e9lodie@caf\u00e9.example')",
        "INSERT INTO app.prefs VALUES (120, 20), (121, 21)",
    )
    assert keys(house, email(asked, fold_local=False)) == {"signups": [20], "prefs": [120]}


def test_where_case_matters_what_is_about_a_twin_is_masked(control: ControlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {c: {"category": EMAIL, "about": c} for c in ("sender", "recipient")}
    tables = TABLES | {"letters": TABLES["letters"] | {"columns": {"id": {"category": OPS}, **about}}}
    for fold in ("yes", "no"):
        monkeypatch.setenv("LETHE_FOLD_LOCAL_PART", fold)
        for house in house_of(
            control, monkeypatch, SCHEMA.replace("CREATE SCHEMA", "DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA"), store(tables=tables)
        ):
            house.sql("UPDATE app.letters SET recipient = 'Jeanne@example.org' WHERE id = 1")
            letters = {r.values["id"]: r for r in house.rows(email(JEANNE, fold_local=fold == "yes"))["letters"]}
            assert set(letters) == {1, 3}
            masked = fold == "no"
            assert letters[1].redacted == (("recipient",) if masked else ()) and letters[1].shared is masked
            assert letters[1].values["recipient"] == (None if masked else "Jeanne@example.org")
