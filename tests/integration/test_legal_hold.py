"""Holds over live data and archive: whom they name, what they keep in both, and that the form makes the same hold as the command."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
import yaml

from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers.archived import LOGS, PEOPLE, TENANTS, Office, office_in
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, CATALOG, CUTOFF, STORE, step, to
from lethe.airflow.holding import change
from lethe.archive import manifests
from lethe.archive.finding import held_rows, holding, may_hold, named
from lethe.archive.model import Manifest
from lethe.control.holds import active_scopes
from lethe.errors import AuditFailed, HoldRefused, UnknownName
from lethe.evidence.record import keyed_digest
from lethe.plan.model import HoldScope
from lethe.retention import audit
from lethe.stores.postgres.count import snapshot
from lethe.stores.postgres.everyone import naming
from lethe.stores.postgres.kept import kept_rows
from lethe.subjects.identifiers import identifier
from lethe.subjects.requests import decide_identity, open_request
from lethe.verify.kept import Holder
from lethe.verify.kept import kept_rows as judged

KEY = bytes(range(32))
WHO = ("--reason", "litigation", "--review-on", "2099-01-01", "--owner", "j.dupont")
GONE, LIVING = PEOPLE // 2 - 1, PEOPLE - 1  # a person whom only the archive has, and one whom only the table has


@pytest.fixture
def office(
    postgres: PostgresServer, database: str, moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    with office_in(postgres, database, moto, tmp_path / "small", monkeypatch) as made:
        yield made


def digest_of(person: int) -> str:
    return keyed_digest(DIGEST_KEY, "users", str(person))


def held_in_archive(office: Office) -> dict[str, int]:
    """Rows of the archive that the active holds keep, by dataset: every object that may have some is opened. The check's own reader, which
    shares no code with the purge's, must find as many."""
    with office.company.open() as workspace, workspace.control.connect() as book:
        scopes = active_scopes(book, AS_OF.date() + timedelta(days=9_000))
        holds, again = named(scopes, DIGEST_KEY, workspace.catalog), Holder.of(scopes, DIGEST_KEY, workspace.catalog)
        known = manifests.of_ids(book, list(holding(book, holds)))
        found: dict[str, int] = {}
        for each in known:
            manifest = manifests.full(book, each)
            data = office.archive.bucket.get(each.key, each.version)
            rows = int(np.count_nonzero(held_rows(pq.read_table(io.BytesIO(data)), holds, manifest)))
            assert judged(data, as_the_check_sees_it(manifest), again) == rows
            assert may_hold(holds, manifest) or not rows
            found[each.dataset] = found.get(each.dataset, 0) + rows
    return found


def as_the_check_sees_it(manifest: Manifest) -> SimpleNamespace:
    """A manifest as `verify/archive.py` reads it."""
    names = manifest.names
    made = {"named_key": names.key, "named_tenants": names.tenants, "named_identities": list(names.identities)}
    return SimpleNamespace(**manifest.model_dump(), whole_days=manifest.clock_is_a_day, **made)


def test_a_person_whom_only_the_archive_has_can_be_held_and_somebody_unknown_cannot(office: Office) -> None:
    added = office.told("hold", "add", "--person", f"users:{GONE}", *WHO)
    assert added["archived"] == {"objects": 1, "rows_at_most": PEOPLE // 2}
    assert set(added["keeps"].values()) <= {0}
    assert held_in_archive(office) == {"users": 1}
    code, _, said = office.run("hold", "add", "--person", "users:987654", *WHO)
    assert code == 2 and "would keep nothing" in said and "987654" not in said


def test_a_tenant_is_held_here_and_in_the_archive(office: Office) -> None:
    added = office.told("hold", "add", "--tenant", "4", *WHO)
    mine = [i for i in range(LOGS) if i % TENANTS == 4]
    assert added["keeps"]["logs"] == sum(i >= LOGS // 2 for i in mine)
    assert added["archived"]["objects"] == len(office.archived("logs")) + len(office.archived("users"))
    assert held_in_archive(office) == {"logs": sum(i < LOGS // 2 for i in mine), "users": sum(i % TENANTS == 4 for i in range(PEOPLE // 2))}
    code, out, _ = office.run("hold", "add", "--tenant", "4", *WHO)
    assert code == 0 and f"In the archive it may keep rows of {added['archived']['objects']} objects" in out


def test_a_tenant_whose_last_row_went_to_the_archive_can_still_be_held(office: Office) -> None:
    world = office.company.world
    world.sql("DELETE FROM app.logs WHERE tenant_id = 4; DELETE FROM app.users WHERE tenant_id = 4; DELETE FROM app.tenants WHERE id = 4")
    assert office.told("hold", "add", "--tenant", "4", *WHO)["archived"]["objects"] > 0
    assert held_in_archive(office)["logs"] > 0


def test_a_digest_is_the_key_of_a_living_person_and_else_keeps_the_archive_alone(office: Office) -> None:
    printed = office.run("hold", "digest", f"users:{LIVING}")[1].strip()
    assert printed == digest_of(LIVING) == office.told("hold", "digest", f"users:{LIVING}")["digest"]
    living = office.told("hold", "add", "--person", f"users:digest:{printed}", *WHO)
    assert (living["scope"]["person"], living["keeps"]["users"]) == (["users", str(LIVING)], 1)
    gone = office.told("hold", "add", "--person", f"users:digest:{digest_of(GONE)[:32]}", *WHO)
    assert gone["scope"]["person"] == ["users", f"digest:{digest_of(GONE)[:32]}"]
    assert (gone["keeps"]["users"], gone["archived"]["objects"]) == (0, 1)
    assert held_in_archive(office) == {"users": 1}
    assert office.told("verify")["sound"], "what the records say of both is what the table says"
    for wrong in ("digest:" + "0" * 64, "digest:jeanne"):
        code, _, said = office.run("hold", "add", "--person", f"users:{wrong}", *WHO)
        assert code == 2 and "jeanne" not in said


def test_what_a_hold_keeps_in_the_archive_is_what_it_keeps_in_the_table(office: Office) -> None:
    """The same hundred holds, judged by SQL before the rows went and by names after: both say the same number of rows."""
    world = office.company.world
    rng = np.random.default_rng(7)
    instants = [CUTOFF - timedelta(minutes=int(m)) for m in rng.integers(-10, LOGS // 2 + 10, 40)]
    scopes = []
    for n in range(100):
        some = {
            "dataset": rng.choice(["logs", "users", None]),
            "tenant": str(rng.integers(0, TENANTS + 1)) if rng.random() < 0.5 else None,
            "person": ("users", str(rng.integers(0, PEOPLE))) if rng.random() < 0.3 else None,
            "since": instants[rng.integers(0, 40)] if rng.random() < 0.4 else None,
            "until": instants[rng.integers(0, 40)] if rng.random() < 0.4 else None,
        }
        scopes.append(HoldScope.model_validate({"id": n, **some}))
    with office.company.open() as workspace, workspace.control.connect() as book:
        shelved: dict[str, list[Any]] = {}
        for each in manifests.in_states(book, ["sealed"]):
            table = pq.read_table(io.BytesIO(office.archive.bucket.get(each.key, each.version)))
            shelved.setdefault(each.dataset, []).append((manifests.full(book, each), table))
        by_name = {
            (s.id, d): sum(int(held_rows(t, named([s], DIGEST_KEY, CATALOG), m).sum()) for m, t in objects)
            for s in scopes
            for d, objects in shelved.items()
        }
        may = {s.id: set(holding(book, named([s], DIGEST_KEY, CATALOG))) for s in scopes}
    for dataset, objects in shelved.items():
        for manifest, table in objects:
            rows = table.to_pylist()
            with psycopg.connect(world.url) as connection, connection.cursor() as cursor:
                values = [(r["id"], r["at"], r["tenant_id"], r["note"]) for r in rows]
                cursor.executemany(f"INSERT INTO app.{dataset} (id, at, tenant_id, note) VALUES (%s, %s, %s, %s)", values)  # type: ignore[arg-type]
            for scope in scopes:
                if manifest.id not in may[scope.id]:
                    assert not held_rows(table, named([scope], DIGEST_KEY, CATALOG), manifest).any()
    world.sql("DELETE FROM app.logs WHERE at >= %s", [CUTOFF])
    world.sql("DELETE FROM app.users WHERE at >= %s", [CUTOFF])
    with office.company.open() as workspace:
        for scope in scopes:
            for dataset in shelved:
                fits = scope.dataset in (None, dataset) and (scope.person is None or dataset == "users")
                with snapshot(workspace.checking(workspace.store("source")), (scope,)) as seen:
                    in_table = kept_rows(seen, STORE, dataset, scope, (step(dataset),)) if fits else 0
                assert by_name[scope.id, dataset] == in_table, scope
    assert sum(by_name.values()) > 100


def run(form: dict[str, Any], starter: str | None = "admin") -> dict[str, Any]:
    """What the task does with a form, started by that user."""
    return change({"params": form, "dag_run": SimpleNamespace(triggering_user_name=starter)})


FORM = {"action": "add", "reason": "litigation", "review_on": "2099-01-01", "dataset": "(any)"}


def test_a_hold_from_the_form_is_the_same_as_that_of_the_command(office: Office) -> None:
    first = office.told("hold", "add", "--tenant", "4", "--since", "2025-01-01T00:00:00+01:00", *WHO)
    made = run({**FORM, "tenant": "4", "since": "2025-01-01T00:00:00+01:00", "owner": "j.dupont"})
    assert made["keeps"] == first["keeps"] and made["archived_objects"] == first["archived"]["objects"]
    one, other = office.evidence("hold.added")
    own = {"hold", "airflow_user"}
    assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in other.items() if k not in own}
    assert run({"action": "lift", "hold": made["hold"]}) == {"lifted": made["hold"]}
    assert office.evidence("hold.lifted")[-1]["by"] == "admin"
    assert [h["id"] for h in office.told("hold", "list")["holds"]] == [first["id"]]


def test_the_form_names_a_person_by_digest_whether_living_or_archived(office: Office) -> None:
    living = run({**FORM, "person": digest_of(LIVING)})
    assert (living["keeps"]["users"], living["archived_objects"]) == (1, 0)
    gone = run({**FORM, "person": digest_of(GONE)})
    assert (gone["keeps"]["users"], gone["archived_objects"]) == (0, 1)
    assert [h["scope"]["person"] for h in office.told("hold", "list")["holds"]] == [
        ["users", str(LIVING)],
        ["users", f"digest:{digest_of(GONE)}"],
    ]
    assert [r["owner"] for r in office.evidence("hold.added")] == ["admin", "admin"]


def asked(office: Office, patch: pytest.MonkeyPatch, *identifiers: tuple[str, str], **changes: Any) -> str:
    """The id of a request that gives these identifiers."""
    patch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    given = [identifier(kind, value, datasets={"users"}) for kind, value in identifiers]
    with office.company.world.control.runtime.begin() as connection:
        made = open_request(
            connection, given, kind="access", channel="email", language="fr", by="j.dupont", request_key=KEY, digest_key=DIGEST_KEY
        )
        for decision, reason in changes.items():
            decide_identity(connection, made.request.id, decision=decision, reason=reason, by="a.martin")
    return made.request.id


def test_a_request_with_one_account_names_its_person_whether_living_or_archived(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = ("email", "jeanne.martin@example.org")
    living = asked(office, monkeypatch, mail, ("account", f"users:{LIVING}"))
    by_request = run({**FORM, "person": living, "owner": "j.dupont"})
    by_digest = run({**FORM, "person": digest_of(LIVING)})
    assert {k: v for k, v in by_request.items() if k != "hold"} == {k: v for k, v in by_digest.items() if k != "hold"}
    gone = asked(office, monkeypatch, ("account", f"users:{GONE}"), accept="signed_in")
    assert office.told("hold", "add", "--person", gone, *WHO)["archived"]["objects"] == 1
    scopes = [h["scope"]["person"] for h in office.told("hold", "list")["holds"]]
    assert scopes == [["users", str(LIVING)], ["users", str(LIVING)], ["users", str(GONE)]]
    assert [(r["request"], r["by"]) for r in office.evidence("request.identifiers_read")] == [(living, "j.dupont"), (gone, "j.dupont")]
    assert office.told("verify")["sound"]


def test_a_request_that_names_nobody_or_several_or_is_over_holds_nothing_and_is_not_opened(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = ("account", f"users:{LIVING}")
    for request, says in (
        (asked(office, monkeypatch, ("email", "jeanne.martin@example.org")), "no accounts"),
        (asked(office, monkeypatch, account, ("account", f"users:{GONE}")), "2 accounts"),
        (asked(office, monkeypatch, account, refuse="not_proven"), "refused, closed"),
    ):
        with pytest.raises(HoldRefused, match=says) as refused:
            run({**FORM, "person": request})
        assert "lethe hold digest" in refused.value.fix
        code, _, said = office.run("hold", "add", "--person", request, *WHO)
        assert code == 2 and "martin" not in said and "users:" not in said
    with pytest.raises(UnknownName):
        run({**FORM, "person": "R-2026-00000000"})
    with pytest.raises(HoldRefused, match="somebody who answers"):
        run({**FORM, "person": asked(office, monkeypatch, account)}, starter="jeanne.martin@example.org")
    assert len(office.evidence("hold.refused")) == 5 and office.evidence("request.identifiers_read") == []
    assert office.told("hold", "list")["holds"] == []


def test_the_ledger_names_the_user_of_airflow_who_did_it_whoever_is_typed_as_the_owner(office: Office) -> None:
    made = run({**FORM, "tenant": "4", "owner": "j.dupont"}, starter="approver")
    run({"action": "lift", "hold": made["hold"], "owner": "j.dupont"}, starter="admin")
    [added], [lifted] = office.evidence("hold.added"), office.evidence("hold.lifted")
    assert (added["owner"], added["airflow_user"]) == ("j.dupont", "approver")
    assert (lifted["by"], lifted["airflow_user"]) == ("j.dupont", "admin")
    address = "jeanne.martin@example.org"
    run({**FORM, "tenant": "4", "owner": "j.dupont"}, starter=address)
    with pytest.raises(HoldRefused, match="somebody who answers"):
        run({**FORM, "tenant": "4"}, starter=address)
    digest = "digest:" + keyed_digest(DIGEST_KEY, "airflow", address)
    assert [r["airflow_user"] for r in office.evidence("hold.added", "hold.refused")[1:]] == [digest, digest]
    office.told("hold", "add", "--tenant", "4", *WHO)
    assert office.evidence("hold.added")[-1]["airflow_user"] is None, "from a shell"
    assert office.told("verify")["sound"]


def test_the_form_names_a_tenant_by_digest_whether_living_or_archived(office: Office) -> None:
    digest = office.run("hold", "digest", "tenants:4")[1].strip()
    by_key = run({**FORM, "tenant": "4"})
    living = run({**FORM, "tenant": digest})
    assert {k: v for k, v in living.items() if k != "hold"} == {k: v for k, v in by_key.items() if k != "hold"}
    for hold in (by_key, living):
        run({"action": "lift", "hold": hold["hold"]})
    assert held_in_archive(office) == {}
    world = office.company.world
    world.sql("DELETE FROM app.logs WHERE tenant_id = 4; DELETE FROM app.users WHERE tenant_id = 4; DELETE FROM app.tenants WHERE id = 4")
    gone = run({**FORM, "tenant": digest})
    assert gone["archived_objects"] == by_key["archived_objects"] and set(gone["keeps"].values()) <= {0}
    assert [r["tenant"] for r in office.evidence("hold.added")] == ["4", "4", f"digest:{digest}"]
    assert held_in_archive(office) == {"logs": sum(i % TENANTS == 4 for i in range(LOGS // 2)), "users": 2}
    assert office.told("verify")["sound"]
    with pytest.raises(HoldRefused, match="no living tenant and no row of the archive"):
        run({**FORM, "tenant": "0" * 64})


def test_a_tenant_by_digest_keeps_the_rows_that_outlived_it_as_its_key_does(office: Office) -> None:
    world = office.company.world
    digest = office.run("hold", "digest", "tenants:4")[1].strip()
    world.sql("DELETE FROM app.users WHERE tenant_id = 4; DELETE FROM app.tenants WHERE id = 4")
    world.sql("UPDATE app.logs SET tenant_id = NULL WHERE tenant_id = 5")
    by_key = office.told("hold", "add", "--tenant", "4", *WHO)
    by_digest = office.told("hold", "add", "--tenant", f"digest:{digest}", *WHO)
    assert by_key["keeps"]["logs"] == sum(i % TENANTS == 4 for i in range(LOGS // 2, LOGS))
    assert by_digest["scope"]["tenant"] == "4"
    assert (by_digest["keeps"], by_digest["archived"]) == (by_key["keeps"], by_key["archived"])
    made = run({**FORM, "tenant": digest})
    assert made["keeps"] == by_key["keeps"] and made["archived_objects"] == by_key["archived"]["objects"]


def test_a_person_by_digest_keeps_the_rows_that_outlived_them_as_their_key_does(office: Office) -> None:
    """Whether the archive has them too or not: one who is in neither the table nor the archive is named by logs alone."""
    world = office.company.world
    nobody = 987_654
    world.sql("ALTER TABLE app.acts ADD user_id bigint")
    world.sql("INSERT INTO app.acts (id, user_id) VALUES (1, %s), (2, %s), (3, %s), (4, %s), (5, NULL)", [GONE, GONE, nobody, LIVING])
    source = office.company.folder / "catalog" / "source.yaml"
    body = yaml.safe_load(source.read_text())
    acts = body["tables"]["acts"]
    acts["relations"]["who"] = {"columns": ["user_id"], "to": "users", "may_dangle": True}
    acts["columns"]["user_id"], acts["persons"] = acts["columns"]["note"], [["who"]]
    source.write_text(yaml.safe_dump(body, sort_keys=False))
    for person, acted, archived in ((GONE, 2, 1), (nobody, 1, 0)):
        by_digest = office.told("hold", "add", "--person", f"users:digest:{digest_of(person)}", *WHO)
        assert by_digest["scope"]["person"] == ["users", str(person)]
        assert (by_digest["keeps"]["acts"], by_digest["keeps"]["users"], by_digest["archived"]["objects"]) == (acted, 0, archived)
        by_key = office.told("hold", "add", "--person", f"users:{person}", *WHO)
        assert (by_key["keeps"], by_key["archived"]) == (by_digest["keeps"], by_digest["archived"])
        assert run({**FORM, "person": digest_of(person)})["keeps"] == by_key["keeps"]


def test_every_column_by_which_rows_lead_to_a_tenant_or_person_is_looked_through_once() -> None:
    """Also the last hop of a longer way; not a way that joins the row itself, and not a partition beside its table."""
    owner = STORE.tables["users"].model_copy(update={"tenant": ("tenants.owner",)})
    part = STORE.tables["views"].model_copy(update={"partition_of": "views"})
    longer = STORE.tables["logs"].model_copy(
        update={"relations": {"who": to("user_id", "users", dangle=True)}, "tenant": ("who", "tenant"), "persons": (("who",),)}
    )
    store = STORE.model_copy(update={"tables": {**STORE.tables, "notes": longer, "views_2025": part}})
    mine = ("tenant_id",)
    assert set(naming(store, "tenants")) == {("users", mine), ("logs", mine), ("acts", mine), ("uses", mine), ("views", mine)}
    assert naming(store, "users") == (("notes", ("user_id",)),)
    alone = STORE.model_copy(update={"tables": {"tenants": STORE.tables["tenants"], "users": owner}})
    assert naming(alone, "tenants") == ()


def test_somebody_with_accounts_at_two_tenants_is_held_by_each_of_them_alone(office: Office) -> None:
    """What is one person to whoever asks is two rows of `users`, so two keys and two digests."""
    one, two = 3, 11  # of tenants 3 and 4; both in the archive
    office.told("hold", "add", "--person", f"users:{one}", *WHO)
    assert held_in_archive(office) == {"users": 1}
    office.told("hold", "add", "--person", f"users:{two}", *WHO)
    assert held_in_archive(office) == {"users": 2}
    code, _, said = office.run("hold", "add", "--person", f"users:{one}", "--person", f"users:{two}", *WHO)
    assert code == 2 and "one account" in said, "never the last one alone, in silence"


def test_what_the_form_refuses_is_on_record_without_what_was_typed(office: Office) -> None:
    for form in (
        {**FORM, "person": "jeanne.martin@example.org"},
        {**FORM, "tenant": "987654"},
        {**FORM, "tenant": "jeanne.martin"},
        {**FORM, "email": "jeanne.martin@example.org"},
    ):
        with pytest.raises(HoldRefused):
            run(form)
    with pytest.raises(HoldRefused, match="somebody who answers"):
        run({**FORM, "tenant": "4"}, starter=None)
    refused = office.evidence("hold.refused")
    assert [r["airflow_user"] for r in refused] == ["admin", "admin", "admin", "admin", None]
    assert "martin" not in str(refused) and "987654" not in str(refused)
    assert office.told("hold", "list")["holds"] == []


def test_a_hold_that_nobody_looks_after_makes_the_audit_red_and_keeps_all_the_same(office: Office) -> None:
    kept = office.told("hold", "add", "--dataset", "logs", "--reason", "audit", "--owner", "j.dupont")
    with office.company.open() as workspace, pytest.raises(AuditFailed) as red:
        audit(workspace, as_of=datetime(2026, 11, 24, tzinfo=UTC))
    assert f"Hold {kept['id']} (owner j.dupont): no review date" in str(red.value)
    assert office.evidence("audit.finished")[-1]["holds_to_review"] == [kept["id"]]
    assert held_in_archive(office)["logs"] == LOGS // 2
