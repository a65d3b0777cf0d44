"""A person asks for their data, end to end on the demo: found, bundled, judged, answered; each step once, and nothing of anybody else."""

from __future__ import annotations

import hashlib
import io
import json
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from demo.asking import somebody
from demo.ceph import CephGateway
from demo.objects import ObjectServer
from demo.postgres import PostgresServer
from helpers import mailing, traces
from helpers.exporting import AT, Desk, desk_on
from lethe.cli import app
from lethe.control.exports import current_export
from lethe.errors import AmbiguousPerson, BundleDiffers, LetheError, RequestRefused, UnknownName, Unreachable
from lethe.stores.s3.listing import everything
from lethe.subjects import answering, exporting, judging
from lethe.subjects.answering import answer_request, links
from lethe.subjects.bundle.verify import contents, problems
from lethe.subjects.exporting import export_request
from lethe.subjects.judging import judge_request
from lethe.subjects.places import BUNDLES, place

pytestmark = [pytest.mark.ceph, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer, ceph: CephGateway, moto: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch, mailing.mailbox() as box:
        with desk_on(postgres, ceph, moto, box, patch, tmp_path_factory.mktemp("desk")) as made:
            yield made


@pytest.fixture(scope="module")
def person(desk: Desk) -> str:
    """A tenant's owner who wrote to support and was answered."""
    return somebody(desk.source)


def exported(desk: Desk, request: str) -> Any:
    return export_request(desk.finder, request, by="j.dupont", at=AT)


def answered(desk: Desk, request: str) -> str:
    exported(desk, request)
    judge_request(desk.finder, request, by="j.dupont", at=AT)
    return answer_request(desk.finder, request, by="j.dupont", at=AT)


def rows(desk: Desk, request: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for part in desk.parts(request):
        for section, row in contents(io.BytesIO(part)):
            found.setdefault(section, []).append(row)
    return found


COUNTS = {
    "users": "SELECT count(*) FROM app.users WHERE email = %(e)s",
    "tenants": "SELECT count(*) FROM app.tenants t JOIN app.users u ON u.id = t.owner_user_id WHERE u.email = %(e)s OR t.contact_email = %(e)s",
    "support_threads": "SELECT count(*) FROM app.support_threads s JOIN app.users u ON u.id = s.opened_by WHERE u.email = %(e)s",
    "support_messages": "SELECT count(*) FROM app.support_messages m JOIN app.support_threads s ON s.id = m.thread_id LEFT JOIN app.users u ON u.id = s.opened_by "
    "LEFT JOIN app.users a ON a.id = m.author_id WHERE u.email = %(e)s OR a.email = %(e)s OR m.author_email = %(e)s",
    "page_views": "SELECT count(*) FROM app.page_views v JOIN app.users u ON u.id = v.user_id WHERE u.email = %(e)s",
    "technical_logs": "SELECT count(*) FROM app.technical_logs v JOIN app.users u ON u.id = v.user_id WHERE u.email = %(e)s",
}  # fmt: skip


def test_a_person_gets_all_of_it_by_a_link_that_needs_no_login(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    assert answered(desk, request) == "bundle_ready" and desk.state(request) == "answered"
    (link,) = desk.links()
    with urllib.request.urlopen(link) as answer:
        data = answer.read()
    (part,) = desk.parts(request)
    assert data == part and problems(io.BytesIO(data)) == ()
    found = rows(desk, request)
    import psycopg

    with psycopg.connect(desk.source) as connection:
        counted = {d: (connection.execute(q, {"e": person}).fetchone() or (0,))[0] for d, q in COUNTS.items()}  # type: ignore[arg-type]
    assert {d: len(found.get(d, [])) for d in COUNTS} == counted and min(list(counted.values())[:4]) > 0
    assert {"clients", "appointments", "client_invoices"}.isdisjoint(found)


def test_nobody_else_is_in_it(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    whole = json.dumps(rows(desk, request), default=str)
    others = {
        e
        for (e,) in desk.sql("SELECT email FROM app.users UNION SELECT email FROM app.leads UNION SELECT email FROM app.clients")
        if e and e != person
    }
    assert others and [e for e in others if e in whole] == []
    hashes = {h for (h,) in desk.sql("SELECT password_hash FROM app.users WHERE password_hash IS NOT NULL")}
    assert hashes and [h for h in hashes if h in whole] == []
    masked = [m for m in rows(desk, request)["support_messages"] if "author_name" in m.get("_redacted", [])]
    assert masked and {m["author_name"] for m in masked} == {None} and all(m["body"] for m in masked)


def test_a_second_run_does_nothing_a_second_time(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    answered(desk, request)
    there, mails, told = desk.lying(request), len(desk.box.mails), desk.told(request)
    first = current_export(desk.control.runtime.connect(), request)
    with pytest.raises(RequestRefused):
        exported(desk, request)
    assert (desk.lying(request), len(desk.box.mails), desk.told(request)) == (there, mails, told)
    assert first is not None and judge_request(desk.finder, request, by="j.dupont", at=AT) == first
    assert [t for t in told if t.startswith("bundle.")] == ["bundle.stored", "bundle.judged"] and len(there) == 1


def test_a_bundle_lies_encrypted_under_a_key_that_says_nothing(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    (entry,) = everything(desk.s3, desk.bundles, request)
    assert re.fullmatch(rf"{request}/[0-9a-f]{{32}}/lethe-{request}-1\.zip", entry.key)
    assert desk.s3.head_object(Bucket=desk.bundles, Key=entry.key)["ServerSideEncryption"] == "aws:kms"


def test_a_link_ends_and_cannot_be_bent_to_another_bundle(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    with desk.control.runtime.connect() as connection:
        export = current_export(connection, request)
        assert export is not None
        parts = exporting_parts(connection, export)
    depot = place(desk.workspace, BUNDLES)
    good = links(depot, parts, lasts=timedelta(hours=1))[0]["link"]
    assert urllib.request.urlopen(good).status == 200
    assert "X-Amz-Expires=3600" in good and "Algorithm=AWS4-HMAC-SHA256" in good
    over = re.sub(r"Date=\d{8}", "Date=20260101", good)
    for bad in (over, good.replace(f"lethe-{request}-1", f"lethe-{request}-2"), re.sub(r"Signature=[^&]{4}", "Signature=AAAA", good)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bad)
        assert refused.value.code in (400, 403, 404)


def exporting_parts(connection: Any, export: Any) -> Any:
    from lethe.control.exports import parts_of

    return parts_of(connection, export)


def test_nothing_of_the_person_is_in_evidence_in_lethe_db_or_in_a_key(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    answered(desk, request)
    assert traces.in_database(desk.control.url, person) == []
    assert [k for k in desk.lying(request) if person.split("@")[0] in k] == []
    (located,) = desk.evidence(request, "request.located")
    assert located["rows"]["users"] == 1 and located["persons"] >= 1


STATES = {"nobody decided": {"decided": False}, "it asks for something else": {"kind": "erasure"}}


@pytest.mark.parametrize("how", STATES.values(), ids=list(STATES))
def test_nothing_is_given_before_its_turn(desk: Desk, person: str, how: dict[str, Any]) -> None:
    request = desk.request(("email", person), **how)
    for act in (exported, lambda d, r: judge_request(d.finder, r, by="x", at=AT), lambda d, r: answer_request(d.finder, r, by="x", at=AT)):
        with pytest.raises(RequestRefused):
            act(desk, request)
    assert desk.lying(request) == [] and "request.identifiers_read" not in desk.told(request)


def test_an_id_that_no_request_has_is_an_error(desk: Desk) -> None:
    with pytest.raises(UnknownName):
        exported(desk, "R-2026-00000000")


def test_a_table_that_is_gone_stops_it_and_the_request_stays_where_it_was(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    desk.sql("ALTER TABLE app.email_log RENAME TO email_log_gone")
    try:
        for finder in (desk.finder, type(desk.finder)(desk.workspace)):
            with pytest.raises(LetheError) as refused:
                export_request(finder, request, by="j.dupont", at=AT)
            assert "email_log" in str(refused.value) or "rows" in str(refused.value)
    finally:
        desk.sql("ALTER TABLE app.email_log_gone RENAME TO email_log")
    assert desk.state(request) == "accepted" and desk.lying(request) == [] and answered(desk, request) == "bundle_ready"


def test_twins_go_to_a_person_and_nothing_is_stored(desk: Desk) -> None:
    desk.sql(
        "INSERT INTO app.users (tenant_id, email, created_at) SELECT 1, e, now() FROM (VALUES ('twin@example.org'), ('TWIN@example.org')) v(e)"
    )
    request = desk.request(("email", "twin@example.org"))
    with pytest.raises(AmbiguousPerson):
        exported(desk, request)
    assert desk.state(request) == "accepted" and desk.lying(request) == []
    (key,) = desk.sql("SELECT id FROM app.users WHERE email = 'TWIN@example.org'")[0]
    other = desk.request(("email", "twin@example.org"), ("account", f"users:{key}"))
    answered(desk, other)
    assert [u["email"] for u in rows(desk, other)["users"]] == ["TWIN@example.org"]


# What is judged


def test_a_row_that_came_meanwhile_is_seen_the_bundle_goes_and_another_follows(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    desk.sql(
        "INSERT INTO app.email_log (recipient, template, subject, message_id, status, sent_at) VALUES (%s, 't', 's', 'm', 'sent', now())",
        person,
    )
    with pytest.raises(BundleDiffers, match="email_log") as refused:
        judge_request(desk.finder, request, by="j.dupont", at=AT)
    assert person not in str(refused.value) and desk.lying(request) == [] and desk.state(request) == "located"
    with pytest.raises(RequestRefused):
        answer_request(desk.finder, request, by="j.dupont", at=AT)
    assert answered(desk, request) == "bundle_ready"
    assert [e["outcome"] for e in desk.evidence(request, "bundle.judged")] == ["differs", "clean"]


def test_a_row_of_somebody_else_in_a_bundle_is_seen(desk: Desk, person: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.request(("email", person))
    from lethe.subjects import locating

    whole = locating.rows_of_store
    (stranger,) = desk.sql("SELECT id FROM app.users WHERE email <> %s ORDER BY id LIMIT 1", person)[0]

    def wrong(*given: Any) -> Iterator[Any]:
        for section, found in whole(*given):
            yield section, (_as(r, stranger) if section.dataset == "users" else r for r in found)

    monkeypatch.setattr(locating, "rows_of_store", wrong)
    exported(desk, request)
    monkeypatch.undo()
    with pytest.raises(BundleDiffers, match="users"):
        judge_request(desk.finder, request, by="j.dupont", at=AT)
    assert desk.lying(request) == []


def _as(row: Any, key: int) -> Any:

    return row._replace(values={**row.values, "id": key})


def test_a_stored_part_with_other_bytes_is_not_given_out(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    with desk.control.superuser.begin() as connection:
        connection.execute(
            text("UPDATE lethe.export_parts SET sha256 = :s WHERE export = (SELECT id FROM lethe.exports WHERE request = :r)"),
            {"s": "0" * 64, "r": request},
        )
    with pytest.raises(BundleDiffers, match="bundle"):
        judge_request(desk.finder, request, by="j.dupont", at=AT)
    assert desk.lying(request) == []


@pytest.mark.parametrize("left", [None, b"PK"], ids=["gone", "cut short"])
def test_a_stored_part_that_is_gone_or_cut_short_fails_its_export_and_another_follows(desk: Desk, person: str, left: bytes | None) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    (entry,) = everything(desk.s3, desk.bundles, request)
    desk.s3.delete_object(Bucket=desk.bundles, Key=entry.key, VersionId=entry.id)
    if left is not None:
        version = desk.s3.put_object(Bucket=desk.bundles, Key=entry.key, Body=left)["VersionId"]
        with desk.control.superuser.begin() as connection:
            connection.execute(text("UPDATE lethe.export_parts SET version = :v WHERE key = :k"), {"v": version, "k": entry.key})
    with pytest.raises(BundleDiffers, match="bundle"):
        judge_request(desk.finder, request, by="j.dupont", at=AT)
    assert desk.lying(request) == [] and answered(desk, request) == "bundle_ready"


def test_a_bucket_that_is_asked_for_no_encryption_gets_no_bundle(desk: Desk, person: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    request, given = desk.request(("email", person)), json.loads(os.environ["AIRFLOW_CONN_REQUESTS_S3"])
    del given["extra"]["encryption"]
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps(given))
        with pytest.raises(RequestRefused, match="encrypt"):
            exported(desk, request)
    assert desk.lying(request) == [] and desk.state(request) == "accepted" and "request.identifiers_read" not in desk.told(request)


def test_a_store_that_cannot_be_counted_is_unknown_and_nothing_is_given_out(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    desk.sql("REVOKE SELECT ON app.consents FROM lethe_checker")
    try:
        with pytest.raises(LetheError):
            judge_request(desk.finder, request, by="j.dupont", at=AT)
    finally:
        desk.sql("GRANT SELECT ON app.consents TO lethe_checker")
    with pytest.raises(RequestRefused):
        answer_request(desk.finder, request, by="j.dupont", at=AT)
    assert answered(desk, request) == "bundle_ready"


# What is answered


def test_who_is_not_held_and_who_only_tenants_hold_read_the_same_and_the_tenants_are_told(desk: Desk) -> None:
    (client, tenant, contact) = desk.sql(
        "SELECT c.email, c.tenant_id, t.contact_email FROM app.clients c JOIN app.tenants t ON t.id = c.tenant_id "
        "WHERE c.email IS NOT NULL AND NOT EXISTS (SELECT FROM app.users u WHERE lower(u.email) = lower(c.email)) "
        "AND NOT EXISTS (SELECT FROM app.leads l WHERE lower(l.email) = lower(c.email)) ORDER BY c.id LIMIT 1"
    )[0]
    texts = []
    for address in (client, "nobody.at.all@example.org"):
        request, before = desk.request(("email", address)), len(desk.box.mails)
        assert answered(desk, request) == "nothing_held"
        sent = desk.box.mails[before:]
        texts.append(desk.box.read(before).get_content().replace(request, "R"))
        told = [e.rcpt_tos for e in sent[1:]]
        assert (told == []) if address != client else ([contact] in told)
        if address == client:
            forward = desk.box.read(before + 1).get_content()
            assert client not in forward and request in forward
    assert texts[0] == texts[1]
    assert tenant


def test_a_tenant_that_cannot_be_written_to_keeps_no_other_tenant_from_being_told(desk: Desk) -> None:
    (client, first, contact) = desk.sql(
        "SELECT c.email, t.id, t.contact_email FROM app.clients c JOIN app.tenants t ON t.id = c.tenant_id WHERE c.email IS NOT NULL ORDER BY t.id::text, c.id LIMIT 1"
    )[0]
    (second, other) = desk.sql("SELECT id, contact_email FROM app.tenants WHERE id::text > %s ORDER BY id::text DESC LIMIT 1", str(first))[
        0
    ]
    desk.sql(
        "INSERT INTO app.clients (tenant_id, email, created_at) VALUES (%s, 'told@example.org', now()), (%s, 'told@example.org', now())",
        first,
        second,
    )
    assert client and other
    request, before = desk.request(("email", "told@example.org")), len(desk.box.mails)
    desk.sql("UPDATE app.tenants SET contact_email = 'no address' WHERE id = %s", first)
    try:
        for _ in range(2):
            with pytest.raises(LetheError):
                answered(desk, request)
    finally:
        desk.sql("UPDATE app.tenants SET contact_email = %s WHERE id = %s", contact, first)
    assert desk.evidence(request, "request.tenants_untold") == [{"request": request, "tenants": 2, "told": 1}]
    assert len(desk.evidence(request, "request.forwarded")) == 1
    assert [m.rcpt_tos for m in desk.box.mails[before:]] == [["told@example.org"], [other]] and desk.state(request) == "located"
    assert answer_request(desk.finder, request, by="j.dupont", at=AT) == "nothing_held" and desk.state(request) == "answered"
    assert [m.rcpt_tos for m in desk.box.mails[before + 2 :]] == [[contact]]
    assert len(desk.evidence(request, "request.forwarded")) == 2 and len(desk.evidence(request, "request.tenants_untold")) == 1


def test_a_mail_server_that_is_down_keeps_the_request_and_later_the_answer_goes_once(
    desk: Desk, person: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, before = desk.request(("email", person)), len(desk.box.mails)
    exported(desk, request)
    judge_request(desk.finder, request, by="j.dupont", at=AT)
    with monkeypatch.context() as patch:
        patch.setenv(
            "AIRFLOW_CONN_LETHE_SMTP",
            json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 9, "extra": json.loads(desk.box.connection())["extra"]}),
        )
        with pytest.raises(Unreachable):
            answer_request(desk.finder, request, by="j.dupont", at=AT)
    assert desk.state(request) == "located"
    assert answer_request(desk.finder, request, by="j.dupont", at=AT) == "bundle_ready"
    assert sum(desk.box.read(n)["Subject"].startswith(f"Votre demande {request}") for n in range(before, len(desk.box.mails))) == 1


def test_an_instructing_tenant_gets_its_client_with_calendar_and_files_and_nobody_else_does(desk: Desk) -> None:
    (client, tenant, contact) = desk.sql(
        "SELECT c.id, c.tenant_id, t.contact_email FROM app.clients c JOIN app.tenants t ON t.id = c.tenant_id JOIN app.attachments a ON a.client_id = c.id "
        "JOIN app.appointment_clients x ON x.client_id = c.id ORDER BY c.id LIMIT 1"
    )[0]
    request = desk.request(("account", f"clients:{client}"), kind="tenant_instruction", channel="tenant", tenant=str(tenant))
    assert answered(desk, request) == "instruction_ready" and desk.box.mails[-1].rcpt_tos == [contact]
    found = rows(desk, request)
    assert set(found) <= {"clients", "appointments", "appointment_clients", "client_invoices", "attachments"} and [
        c["id"] for c in found["clients"]
    ] == [client]
    assert {r["tenant_id"] for d in ("clients", "appointments", "client_invoices", "attachments") for r in found.get(d, [])} == {tenant}
    (part,) = desk.parts(request)
    with zipfile.ZipFile(io.BytesIO(part)) as opened:
        names = opened.namelist()
        assert {"data/ics/appointments.ics", "data/contact.vcf"} <= {n.partition("/")[2] for n in names}
        root = names[0].split("/")[0]
        for each in found["attachments"]:
            body = opened.read(f"{root}/{each['_file']['path']}")
            assert hashlib.sha256(body).hexdigest() == each["sha256"] and each["_file"]["name"] == each["file_name"]


def test_another_tenant_s_client_is_not_found_for_it(desk: Desk) -> None:
    (client, other) = desk.sql("SELECT c.id, t.id FROM app.clients c, app.tenants t WHERE t.id <> c.tenant_id ORDER BY 1, 2 LIMIT 1")[0]
    request = desk.request(("account", f"clients:{client}"), kind="tenant_instruction", channel="tenant", tenant=str(other))
    assert exported(desk, request).counts == {}


def test_locate_prints_how_many_rows_have_a_file(desk: Desk) -> None:
    (client, tenant, files, without) = desk.sql(
        "SELECT c.id, c.tenant_id, count(a.object_key), (SELECT count(*) FROM app.client_invoices i WHERE i.client_id = c.id) FROM app.clients c "
        "JOIN app.attachments a ON a.client_id = c.id GROUP BY c.id ORDER BY 4 DESC, c.id LIMIT 1"
    )[0]
    request = desk.request(("account", f"clients:{client}"), kind="tenant_instruction", channel="tenant", tenant=str(tenant))
    told = CliRunner().invoke(app, ["locate", request, "--json"])
    found = json.loads(told.stdout)["datasets"]
    assert {d: found[d] for d in ("attachments", "client_invoices")} == {
        "attachments": {"rows": files, "shared": found["attachments"]["shared"], "files": files},
        "client_invoices": {"rows": without, "shared": 0, "files": 0},
    }
    assert files and without and "with a file" in CliRunner().invoke(app, ["locate", request]).stdout


# What breaks


BREAKS: dict[str, tuple[Any, str]] = {
    "finding": (exporting, "_begin"),
    "writing": (exporting, "write_bundle"),
    "storing": (exporting, "store_parts"),
    "reading back": (judging, "open_object"),
    "counting": (judging, "check_bundle"),
    "judging": (judging, "judge_export"),
    "answering": (answering, "send_answer"),
    "ending": (answering, "move_on"),
}


@pytest.mark.parametrize("where", BREAKS)
def test_whatever_breaks_the_next_run_ends_as_if_nothing_had(desk: Desk, person: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request, before = desk.request(("email", person)), len(desk.box.mails)
    module, name = BREAKS[where]
    whole: Callable[..., Any] = getattr(module, name)

    def broken(*given: Any, **more: Any) -> Any:
        whole(*given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, name, broken)
        with pytest.raises(KeyboardInterrupt):
            answered(desk, request)
    assert answered(desk, request) == "bundle_ready" and desk.state(request) == "answered"
    assert desk.lying(request) == [f"version lethe-{request}-1.zip"]
    mine = [desk.box.read(n)["Message-ID"] for n in range(before, len(desk.box.mails))]
    assert len(set(mine)) == len(mine) and sum(f"{request}.bundle_ready" in m for m in mine) == 1
    assert problems(io.BytesIO(desk.parts(request)[0])) == ()


def test_two_at_once_are_one(desk: Desk, person: str) -> None:
    from lethe.control.exports import exporting_alone
    from lethe.errors import StoreBusy

    request = desk.request(("email", person))
    with exporting_alone(desk.control.runtime, request):
        with pytest.raises(StoreBusy):
            exported(desk, request)
    assert exported(desk, request).state == "stored"


def test_the_page_is_in_both_languages_and_names_the_authority_and_who_received_it(desk: Desk, person: str) -> None:
    request = desk.request(("email", person))
    exported(desk, request)
    with zipfile.ZipFile(io.BytesIO(desk.parts(request)[0])) as opened:
        pages = {n.rsplit("/", 1)[1]: opened.read(n).decode() for n in opened.namelist() if n.endswith(".html")}
    assert set(pages) == {"index.html", "index.en.html"}
    for page in pages.values():
        assert "CNIL" in page and request in page and "<script" not in page and not re.search(r'(?:src|href)="https?:', page)
        assert "Rivage Hébergement SAS" in page and "SPK-RIV-2025-01" not in page, "the companies of that day, and nothing internal"
