"""The archive outlives the key and the catalog that it was named by: a hold keeps its rows all the same, or nothing expires and it is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import Office, office_in
from helpers.control import DIGEST_KEY, ControlDatabase
from helpers.expiring import Shelved, Vault, vault
from helpers.purging import CATALOG, STORE
from lethe.archive import expiring
from lethe.archive.finding import holding, named
from lethe.control.holds import active_scopes
from lethe.errors import Uncountable
from lethe.instants import local_day
from lethe.verify.archive import check_expiry
from lethe.verify.rows import Draft

OTHER_KEY = b"another key of the tests, longer"
RENAMED = CATALOG.model_copy(update={"stores": (STORE.model_copy(update={"tenants": "firms", "identities": ("accounts",)}),)})
SCOPES: list[dict[str, Any]] = [{"tenant": "4"}, {"person": ("users", "7")}]


@pytest.fixture
def made(control: ControlDatabase, postgres: PostgresServer, moto: ObjectServer) -> Vault:
    return vault(control, postgres.port, moto.endpoint)


def rows() -> list[Shelved]:
    """Thirty rows, ten of tenant 4, and those of person 7."""
    return [Shelved(key=n, tenant="4" if n % 3 == 0 else "5", persons=("7",) if n % 3 == 0 else ("8",)) for n in range(30)]


def scopes(made: Vault) -> Any:
    with made.control.runtime.connect() as book:
        return active_scopes(book, local_day(made.where.as_of, "Europe/Paris"))


def holding_now(made: Vault, book: Any) -> Any:
    return active_scopes(book, local_day(made.where.as_of, "Europe/Paris"))


def expire(made: Vault, **changes: Any) -> Any:
    """The expiry by the holds that are in force."""
    return made.where.expire(holds=lambda book: holding_now(made, book), **changes)


def checked(made: Vault, **changes: Any) -> Draft:
    """The independent check of the expiry."""
    given = {"catalog": CATALOG, "digest_key": DIGEST_KEY, "holds": scopes(made)} | changes
    [draft] = check_expiry(
        [made.where.step],
        connections=made.where.connection,
        control=made.control.runtime,
        control_connection="lethe_db",
        plan=made.where.plan.digest,
        attempt=made.where.attempt,
        **given,
    )
    return draft


@pytest.mark.parametrize("scope", SCOPES)
def test_under_another_key_nothing_that_a_hold_may_keep_expires_and_the_object_is_named(made: Vault, scope: dict[str, Any]) -> None:
    due = made.put(rows())
    made.planned()
    before = made.archive.bucket.get(due.key, due.version)
    number = made.hold(**scope)
    totals = expire(made, digest_key=OTHER_KEY)
    assert (totals.error_kind, totals.deleted) == ("Uncountable", 0) and due.id in str(totals.error)
    assert (made.known(due.id), made.archive.bucket.get(due.key, due.version)) == (due, before)
    with made.control.runtime.connect() as book:
        holds = named(scopes(made), OTHER_KEY, CATALOG)
        judge = expiring.Judge(bucket=made.archive.bucket, holds=holds)
        for ask in (
            lambda: expiring.count(book, made.where.step, judge),
            lambda: judge.read(due),
            lambda: holding(book, holds, dataset="logs", law=made.where.law),
        ):
            with pytest.raises(Uncountable, match=due.id):
                ask()
        assert holding(book, holds, dataset="logs", law=made.where.law, unsure=True) == {due.id: 30}
    said = [c for c in checked(made, digest_key=OTHER_KEY).checks if c.status == "unknown"]
    assert any(due.id in c.detail for c in said), "the check cannot tell either"
    assert expire(made).deleted == 20, "by the key of then, the hold keeps its rows and the rest goes"
    made.lift(number)


def test_under_another_key_holds_by_dataset_or_time_are_kept_and_without_a_hold_the_object_goes(made: Vault) -> None:
    due = made.put(rows())
    numbers = [made.hold(dataset="logs"), made.hold(dataset="acts", tenant="4")]
    assert expire(made, digest_key=OTHER_KEY).error is None
    assert made.known(due.id) == due
    made.lift(*numbers)
    totals = expire(made, digest_key=OTHER_KEY)
    assert (totals.error, totals.deleted, made.ids()) == (None, 30, {})


@pytest.mark.parametrize("scope", [{"tenant": "4"}, {"person": ("accounts", "7")}])
def test_a_hold_keeps_rows_of_datasets_that_the_catalog_calls_otherwise_today(made: Vault, scope: dict[str, Any]) -> None:
    due = made.put(rows())
    made.planned()
    number = made.hold(**scope)
    draft = checked(made, catalog=RENAMED)
    assert draft.left["held"] == 10 and draft.past_expiry == {due.id: 10}
    totals = expire(made, catalog=RENAMED)
    assert (totals.error, totals.deleted) == (None, 20)
    assert made.rows() == [r.key for r in rows() if r.tenant == "4"]
    [new] = made.ids()
    assert checked(made, catalog=RENAMED).past_expiry == {new: 10}
    made.lift(number)


@pytest.fixture
def office(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch, lock=False) as made:
        yield made


def test_a_purge_writes_down_by_which_key_and_datasets_it_named(office: Office) -> None:
    found = office.company.world.sql("SELECT dataset, manifest -> 'names' FROM lethe.archive_objects WHERE state = 'sealed'")
    key = named([scope_of("4")], DIGEST_KEY, CATALOG)[0].key
    assert {(d, n["key"], n["tenants"], tuple(n["identities"])) for d, n in found} == {
        ("logs", key, "tenants", ()),
        ("users", key, "tenants", ("users",)),
    }


def scope_of(tenant: str) -> Any:
    from lethe.plan.model import HoldScope

    return HoldScope(id=1, tenant=tenant)


def test_who_is_asked_for_under_another_key_is_not_said_to_be_in_no_object(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = office.archived("users")
    assert office.run("archive", "find", "--person", "users:3")[0] == 0
    monkeypatch.setenv("LETHE_DIGEST_KEY", OTHER_KEY.hex())
    for asked in (
        ("find", "--tenant", "4"),
        ("find", "--person", "users:3"),
        ("read", "--dataset", "users", "--reason", "claim", "--person", "users:3"),
    ):
        code, _, said = office.run("archive", *asked)
        assert code == 2 and "by another key" in said and "users:3" not in said
    assert any(i in said for i in ids)
    code, _, said = office.run("hold", "add", "--tenant", "4", "--reason", "litigation", "--review-on", "2099-01-01", "--owner", "j.dupont")
    assert code == 0, "a hold is not refused because the archive cannot be matched with it: nothing expires there then"
