"""A person's archived rows: found by account and keyed names, opened on record, whole or not at all, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import Office, as_variable, office_in
from helpers.archived_exports import Counter, counter_of
from helpers.archiving import archiving, purge
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, CATALOG, STORE, to
from helpers.wire import wire_to
from lethe.archive.names import name_of
from lethe.catalog.model import Catalog, Column
from lethe.errors import ArchiveDiffers, BundleDiffers, LetheError, ReadingRefused, Uncountable, Unreachable
from lethe.stores.s3.listing import everything
from lethe.subjects import judging
from lethe.subjects.archived_rows import _masked, _secrets, archived_sections
from lethe.subjects.exporting import export_request
from lethe.subjects.found import Located, Origin, Row, Section
from lethe.subjects.identifiers import identifier
from lethe.subjects.judging import ARCHIVED, judge_request
from lethe.subjects.locating import Finder
from lethe.verify.person import KeySum
from lethe.workspace import Workspace

LAW = "Code de commerce L123-22"
GONE, ALSO_GONE, LIVING = 3, 11, 29
"""Accounts: two whose rows are in the archive alone, one that is still in its table."""


@pytest.fixture(scope="module")
def office(postgres: PostgresServer, moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests that leave it as it is."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE archived_rows")
    with pytest.MonkeyPatch.context() as patch:
        with office_in(postgres, postgres.url("archived_rows"), moto, tmp_path_factory.mktemp("office") / "small", patch) as made:
            yield made
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP DATABASE archived_rows WITH (FORCE)")


@pytest.fixture(scope="module")
def counter(office: Office, moto: ObjectServer) -> Iterator[Counter]:
    with pytest.MonkeyPatch.context() as patch, counter_of(office, moto.endpoint, ("key", "secret"), patch) as made:
        yield made


@pytest.fixture
def own(postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """One that the test may harm."""
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch) as made:
        yield made


@pytest.fixture
def own_counter(own: Office, moto: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    with counter_of(own, moto.endpoint, ("key", "secret"), monkeypatch) as made:
        yield made


@contextmanager
def read_meanwhile(office: Office) -> Iterator[list[dict[str, Any]]]:
    """The records of readings that the block makes; filled when it ends."""
    before, made = len(office.evidence("archive.read")), list[dict[str, Any]]()
    yield made
    made += office.evidence("archive.read")[before:]


def located(finder: Finder, *accounts: int) -> Located:
    return finder.locate([identifier("account", f"users:{a}", datasets={"users"}) for a in accounts])


def given(*accounts: int) -> dict[str, list[Row]]:
    """The archived rows of these accounts, by dataset, in a workspace of the environment."""
    with Workspace.open() as workspace:
        found = located(Finder(workspace), *accounts)
        return {section.dataset: list(rows) for section, rows in archived_sections(workspace, found, at=AS_OF)}


def ids(found: dict[str, list[Row]]) -> dict[str, list[int]]:
    return {dataset: sorted(r.values["id"] for r in rows) for dataset, rows in found.items()}


# What is found


@pytest.mark.ceph
def test_archived_rows_are_found_by_account_with_law_and_last_day_and_a_neighbour_s_are_not(
    postgres: PostgresServer, database: str, ceph: CephGateway, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch, gateway=ceph) as office, Workspace.open() as workspace:
        finder = Finder(workspace)
        found = located(finder, GONE)
        assert found.archive_objects == 1 and [(c.section, c.rows) for c in found.counted if c.rows] == []
        [(section, rows)] = [(s, list(r)) for s, r in finder.sections(found, at=AS_OF) if s.origin is Origin.ARCHIVE]
        assert (section.id, section.law, section.store, section.category) == ("users.archive", LAW, "source", "rest")
        [(expires,)] = office.company.world.sql("SELECT max(manifest->>'expires_on') FROM lethe.archive_objects WHERE dataset = 'users'")
        assert section.until is not None and (section.until + timedelta(days=1)).isoformat() == expires
        assert [(f.name, f.type) for f in section.fields] == [
            ("id", "bigint"), ("at", "timestamp with time zone"), ("tenant_id", "bigint"), ("note", "text")
        ]  # fmt: skip
        assert [dict(r.values) for r in rows] == [{"id": GONE, "at": "2025-11-22T22:48:00+00:00", "tenant_id": 3, "note": "user 3"}]
        assert rows[0].redacted == () and not rows[0].shared and "user 3" not in repr(rows[0])


def test_somebody_with_two_accounts_gets_the_rows_of_both_and_who_has_none_archived_opens_nothing(office: Office) -> None:
    with read_meanwhile(office) as read:
        assert ids(given(GONE, ALSO_GONE)) == {"users": [GONE, ALSO_GONE]}
    assert len(read) == 1
    with read_meanwhile(office) as read:
        assert given(LIVING) == {}
    assert read == []


def test_what_came_into_the_archive_twice_is_given_twice_and_the_living_row_beside_it(own: Office) -> None:
    """An account that was archived, was made anew and archived again."""
    world = own.company.world
    world.sql("INSERT INTO app.users (id, at, tenant_id, note) VALUES (%s, '2025-01-01', 3, 'again')", [GONE])
    own.purge()
    assert len(own.archived("users")) == 2
    world.sql("INSERT INTO app.users (id, at, tenant_id, note) VALUES (%s, now(), 3, 'still')", [GONE])
    assert sorted(r.values["note"] for r in given(GONE)["users"]) == ["again", "user 3"]
    with Workspace.open() as workspace:
        finder = Finder(workspace)
        found = {s.id: [r.values["note"] for r in rows] for s, rows in finder.sections(located(finder, GONE), at=AS_OF)}
    assert found["users"] == ["still"] and sorted(found["users.archive"]) == ["again", "user 3"]


def test_the_reading_is_on_record_before_the_first_byte_is_asked_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[dict[str, Any]]] = []
    before = len(office.evidence("archive.read"))
    with wire_to(office.archive.connection.extra["endpoint_url"]) as wire:
        through = as_variable(office.archive.connection, keys=office.reader, endpoint_url=wire.endpoint)
        monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_READ_S3", through)
        wire.at("get", 1, lambda: seen.append(office.evidence("archive.read")[before:]))
        assert ids(given(GONE)) == {"users": [GONE]}
    [[record]] = seen
    told = {k: record[k] for k in ("reason", "dataset", "whose", "digests", "objects")}
    assert told == {
        "reason": "access_request",
        "dataset": "users",
        "whose": "person",
        "digests": [name_of(DIGEST_KEY, "users", str(GONE))],
        "objects": 1,
    }
    returned = office.evidence("archive.returned")[-1]
    assert (returned["rows"], returned["broken_off_by"]) == (1, None) and wire.seen["get"] == 1


def on_uses(catalog: Catalog) -> Catalog:
    """The catalog in which an act hangs on the use that its tenant_id names, and the note of a use is an address."""
    tables = dict(catalog.store("source").tables)
    tables["uses"] = tables["uses"].model_copy(update={"columns": tables["uses"].columns | {"note": Column(category="user.contact.email")}})
    relations = tables["acts"].relations | {"use": to("tenant_id", "uses")}
    tables["acts"] = tables["acts"].model_copy(update={"relations": relations, "persons": (("use",),)})
    stores = (s.model_copy(update={"tables": tables}) if s.id == "source" else s for s in catalog.stores)
    return catalog.model_copy(update={"stores": tuple(stores)})


def test_a_row_that_hung_on_an_address_is_found_while_that_one_lives_and_no_account_of_the_same_key_is_taken_for_it(own: Office) -> None:
    """User 3 is not use 3."""
    world = own.company.world
    world.sql("INSERT INTO app.uses (id, tenant_id, note) VALUES (3, 1, ' Jeanne@example.org'), (4, 1, 'paul@example.org')")
    world.sql("INSERT INTO app.acts (id, at, tenant_id, note) VALUES (1, '2025-01-01', 3, 'hers'), (2, '2025-01-01', 4, 'his')")
    assert purge(world, own.archive, archiving("acts"), catalog=on_uses(CATALOG))["acts"].error is None
    [(names,)] = world.sql("SELECT manifest -> 'names' -> 'identities' FROM lethe.archive_objects WHERE dataset = 'acts'")
    assert names == [], "use 3 is no person: a hold on one of that key does not mean it"
    jeanne = identifier("email", "jeanne@example.org")
    with Workspace.open() as opened:
        workspace = replace(opened, catalog=on_uses(opened.catalog))
        finder = Finder(workspace)
        found = finder.locate([jeanne])
        assert found.persons == () and found.archive_objects == 1
        given_rows = {s.id: [r.values["note"] for r in rows] for s, rows in finder.sections(found, at=AS_OF)}
        assert given_rows == {"uses": [" Jeanne@example.org"], "acts.archive": ["hers"]}
        keys = {"acts.archive": KeySum()}
        keys["acts.archive"].add([1])
        assert {c.status for checks in judging._archived(workspace, found, keys, at=AS_OF).values() for c in checks} == {"passed"}
        assert "acts" not in {s.dataset for s, _ in finder.sections(located(finder, 3), at=AS_OF)}
        world.sql("DELETE FROM app.uses WHERE id = 3")
        assert list(finder.sections(finder.locate([jeanne]), at=AS_OF)) == [], "whose it was nobody can tell any more"


# What gives nothing


@pytest.mark.parametrize("missing", ["LETHE_ARCHIVIST", "ARCHIVE_READ_S3"])
def test_without_the_reader_s_own_connections_nothing_is_given(office: Office, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(f"AIRFLOW_CONN_{missing}")
    with read_meanwhile(office) as read, pytest.raises(Unreachable, match=missing.lower()):
        given(GONE)
    assert read == []
    assert given(LIVING) == {}, "who has nothing there is answered without them"


def test_a_login_that_may_not_read_the_archive_gives_nothing(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    world = office.company.world
    monkeypatch.setenv("AIRFLOW_CONN_LETHE_ARCHIVIST", world.server.url(world.url.rsplit("/", 1)[1], user="lethe_runtime"))
    with read_meanwhile(office) as read, pytest.raises(ReadingRefused):
        given(GONE)
    assert read == []


def test_a_reading_that_cannot_be_put_on_record_gives_nothing(own: Office) -> None:
    own.company.world.sql("REVOKE INSERT ON lethe.ledger FROM lethe_archivist")
    with pytest.raises(ReadingRefused, match="put on record"):
        given(GONE)


def tamper(office: Office) -> None:
    [(key,)] = office.company.world.sql("SELECT key FROM lethe.archive_objects WHERE dataset = 'users'")
    data = bytearray(office.archive.bucket.get(key, None))
    data[len(data) // 2] ^= 1
    office.archive.bucket._client.put_object(Bucket=office.archive.bucket.name, Key=key, Body=bytes(data))
    office.company.world.sql("UPDATE lethe.archive_objects SET version = NULL WHERE key = %s", [key])


def lose(office: Office) -> None:
    [(key, version)] = office.company.world.sql("SELECT key, version FROM lethe.archive_objects WHERE dataset = 'users'")
    office.archive.bucket._client.delete_object(
        Bucket=office.archive.bucket.name, Key=key, VersionId=version, BypassGovernanceRetention=True
    )


@pytest.mark.parametrize("harm", [tamper, lose])
def test_an_object_that_is_not_what_its_manifest_says_is_an_error_and_never_a_bundle_without_it(own_counter: Counter, harm: Any) -> None:
    harm(own_counter.office)
    request = own_counter.request(GONE)
    with pytest.raises(ArchiveDiffers):
        export_request(own_counter.finder, request, by="j.dupont", at=AS_OF)
    assert list(everything(own_counter.s3, own_counter.bundles, "")) == []
    with pytest.raises(LetheError):
        judge_request(own_counter.finder, request, by="j.dupont", at=AS_OF)


def test_objects_that_were_named_by_another_key_are_an_error_for_everybody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell who is in them: also who has nothing there is not answered."""
    monkeypatch.setenv("LETHE_DIGEST_KEY", "07" * 32)
    with read_meanwhile(office) as read:
        for account in (GONE, LIVING):
            with pytest.raises(Uncountable, match="another key"):
                given(account)
    assert read == []


# What is masked


COLUMNS = {
    "id": Column(category="user.unique_id"),
    "password": Column(category="user.authorization.credentials"),
    "billed_name": Column(category="user.name", about="billed"),
    "billed_email": Column(category="user.contact.email", about="billed"),
}
VALUES = {"id": 1, "password": "secret", "billed_name": "Jo", "billed_email": "jo@example.org"}


@pytest.mark.parametrize(
    ("changes", "masked"),
    [
        ({}, ["billed_name", "billed_email"]),
        ({"billed_email": "Me@Example.org"}, []),
        ({"billed_email": None}, ["billed_name"]),
        ({"billed_name": None}, ["billed_email"]),
    ],
)
def test_who_is_somebody_else_in_a_person_s_archived_row_is_masked_and_a_secret_is_withheld(
    changes: dict[str, Any], masked: list[str]
) -> None:
    entry = STORE.tables["users"].model_copy(update={"columns": COLUMNS})
    who = Located(persons=(), emails=("me@example.org",), addresses=(), counted=(), forwards=(), archive_objects=0, left_out=0)
    values = VALUES | changes
    assert _masked(entry, values, who) == masked and _secrets(entry, values) == ["password"]
    assert _masked(None, values, who) == _secrets(None, values) == [], "a dataset that the catalog has no more"


# What is judged


def test_a_bundle_with_archived_rows_is_verified_by_opening_the_archive_again(counter: Counter) -> None:
    world = counter.office.company.world
    world.sql("INSERT INTO app.users (id, at, tenant_id, note) VALUES (%s, now(), 3, 'anew')", [GONE])
    request = counter.request(GONE)
    with read_meanwhile(counter.office) as read:
        assert export_request(counter.finder, request, by="j.dupont", at=AS_OF).counts == {"users": 1, "users.archive": 1}
        judged = judge_request(counter.finder, request, by="j.dupont", at=AS_OF)
    world.sql("DELETE FROM app.users WHERE id = %s", [GONE])
    assert judged.state == "verified"
    assert [(c["step"], c["status"], c["measured"]) for c in judged.checked if c["name"] == ARCHIVED] == [
        ("users.archive", "passed", {"rows": 1, "counted": 1})
    ]
    found = {section: [(r["id"], r["note"]) for r in rows] for section, rows in counter.rows(request).items()}
    assert found == {"users": [(GONE, "anew")], "users.archive": [(GONE, "user 3")]}
    assert [r["reason"] for r in read] == ["access_request", "integrity_check"]


WRONG = {
    "one row less": lambda rows: rows[1:],
    "one row twice": lambda rows: [*rows, rows[0]],
    "no row": lambda rows: [],
    "a row of somebody else instead": lambda rows: [rows[0]._replace(values={**rows[0].values, "id": ALSO_GONE + 1}), *rows[1:]],
}


@pytest.mark.parametrize("how", WRONG)
def test_a_bundle_that_has_not_exactly_the_person_s_archived_rows_is_deleted(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from lethe.subjects import archived_rows

    whole = archived_rows.archived_sections

    def wrong(*args: Any, **more: Any) -> Iterator[tuple[Section, Iterator[Row]]]:
        for section, rows in whole(*args, **more):
            yield section, iter(WRONG[how](list(rows)))

    request = counter.request(GONE, ALSO_GONE)
    with monkeypatch.context() as patch:
        patch.setattr(archived_rows, "archived_sections", wrong)
        export_request(counter.finder, request, by="j.dupont", at=AS_OF)
    with pytest.raises(BundleDiffers, match=r"users\.archive"):
        judge_request(counter.finder, request, by="j.dupont", at=AS_OF)
    assert list(everything(counter.s3, counter.bundles, request)) == []
    assert export_request(counter.finder, request, by="j.dupont", at=AS_OF).counts == {"users.archive": 2}
    assert judge_request(counter.finder, request, by="j.dupont", at=AS_OF).state == "verified"
