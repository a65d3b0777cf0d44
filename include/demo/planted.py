"""The awkward rows of the demo, and what is expected of each: a manifest for tests and documentation. Pure.

Planted rows have keys below 1000 (`demo.rows.base.RESERVED`), or UUIDs that start with eight zeros. What is expected follows
PROMISES, "Periods" and "Time", for a run as of the same `as_of`, with no hold.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from demo.calendar import awkward_instants, is_due
from demo.garden import (
    GONE_TENANT,
    HOLD_TENANT,
    HOLD_THREAD,
    LEAVING_TENANT,
    LEFT_TENANT,
    LIVE_TENANT,
    NFC_EMAIL,
    NFD_EMAIL,
    SECOND_TENANT,
    TRIAL_TENANT,
    Expect,
    Garden,
    Planted,
)
from demo.planted_customers import PLANTERS
from demo.rows.logs import PLANTED_SINCE, since


def planted(as_of: datetime) -> tuple[Planted, ...]:
    """Every planted row for that `as_of` (aware), parents before children. ValueError when it has no zone."""
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone")
    garden = Garden(as_of)
    for plant in (*PLANTERS, _users, _leads, _business, _logs, _audience, _support, _mail):
        plant(garden)
    return tuple(garden.rows)


def _users(g: Garden) -> None:
    def user(email: str, removed: datetime | None, expect: Expect, why: str, **values: Any) -> int:
        row = {"email": email, "created_at": g.ago(days=900), "last_activity_at": g.ago(days=60), "removed_at": removed} | values
        return int(g.plant("users", row, expect, why, clock="removed_at", period="P30D")[0])

    for i, (at, expect, why) in enumerate(g.around("P30D")):
        user(f"partie{i}@exemple.example", at, expect, why)
    for i, (strange, why) in enumerate(g.strange()):
        begun = strange is not None and strange <= g.as_of
        user(f"etrange{i}@exemple.example", strange, Expect.QUARANTINED if begun else Expect.NOT_STARTED, why)
    for email, form in ((NFC_EMAIL, "composed (NFC)"), (NFD_EMAIL, "decomposed (NFD)")):
        user(email, None, Expect.NOT_STARTED, f"one e-mail address, {form}")
    user("deux.fois@exemple.example", None, Expect.NOT_STARTED, "one person in two tenants, the first")
    user("deux.fois@exemple.example", None, Expect.NOT_STARTED, "one person in two tenants, the second", tenant_id=SECOND_TENANT)
    g.plant(
        "users",
        {"tenant_id": TRIAL_TENANT, "email": "essai@exemple.example", "created_at": g.ago(days=1500), "last_activity_at": g.ago(days=1000)},
        Expect.WAITS,
        "no contract, no activity for two years, and never warned",
        clock="last_activity_at",
        period="P2Y",
    )
    blocked = user(
        "bloquee.rdv@exemple.example", g.ago(days=200), Expect.BLOCKED, "removed, but a younger appointment names her as its creator"
    )
    g.plant(
        "appointments",
        {"created_by": blocked, "starts_at": g.ago(days=3), "created_at": g.ago(days=5)},
        Expect.WAITS,
        "refers to a removed user",
    )
    blocked = user(
        "bloquee.message@exemple.example", g.ago(days=200), Expect.BLOCKED, "removed, but a younger message names him as its author"
    )
    (thread,) = g.plant(
        "support_threads",
        {"tenant_id": LIVE_TENANT, "opened_at": g.ago(days=250)},
        Expect.KEPT,
        "a young thread",
        clock="support_messages.sent_at",
        period="P3Y",
    )
    g.plant(
        "support_messages",
        {"thread_id": thread, "author_id": blocked, "sent_at": g.ago(days=240)},
        Expect.SUPPORT,
        "refers to a removed user",
    )
    blocked = user(
        "bloquee.accord@exemple.example", g.ago(days=200), Expect.BLOCKED, "removed, but a consent names her (ON DELETE SET NULL)"
    )
    g.plant(
        "consents",
        {"user_id": blocked, "chosen_at": g.ago(days=20)},
        Expect.NOT_STARTED,
        "refers to a removed user",
        key=(_uuid(1),),
        clock="ended_at",
        period="P5Y",
    )


def _leads(g: Garden) -> None:
    def lead(expect: Expect, why: str, *, created: datetime | None, contact: datetime | None = None, **values: Any) -> None:
        row = {"created_at": created, "last_contact_at": contact} | values
        g.plant("leads", row, expect, why, clock="greatest(created_at, last_contact_at)", period="P3Y")

    for at, expect, why in g.around("P3Y"):
        lead(expect, f"collected at {why}", created=at)
        lead(expect, f"last contact at {why}", created=g.ago(days=1500), contact=at)
    for strange, why in g.strange():
        lead(Expect.QUARANTINED, why, created=strange)
    lead(Expect.KEPT, "no date of collection, but a contact last year", created=None, contact=g.ago(days=300))
    lead(Expect.DUE, "opened a mail yesterday, which is no contact", created=g.ago(days=1400), last_mail_opened_at=g.ago(days=1))
    customers = (
        (LIVE_TENANT, Expect.NOT_STARTED, "lives"),
        (LEAVING_TENANT, Expect.NOT_STARTED, "ends in the future"),
        (LEFT_TENANT, Expect.DUE, "ended four years ago"),
        (GONE_TENANT, Expect.DUE, "ended lately"),
    )
    for tenant, expect, why in customers:
        row = {"created_at": g.ago(days=1400), "converted_tenant_id": tenant}
        g.plant("leads", row, expect, f"became a customer whose contract {why}: kept as the account")
    for email in (NFC_EMAIL, NFD_EMAIL):
        lead(Expect.KEPT, "one e-mail address in two forms", created=g.ago(days=100), email=email)


def _business(g: Garden) -> None:
    def client(why: str, **values: Any) -> int:
        return int(
            g.plant("clients", {"created_at": g.ago(days=400)} | values, Expect.WAITS, f"{why}; a tenant's data, no return recorded")[0]
        )

    first, second = client("shares an appointment"), client("shares an appointment", email=NFC_EMAIL)
    client("the same person at another tenant, her e-mail decomposed", tenant_id=SECOND_TENANT, email=NFD_EMAIL)
    client("of a tenant that left", tenant_id=LEFT_TENANT)
    for at, why in g.strange():
        client(why, created_at=at)
    (appointment,) = g.plant(
        "appointments",
        {"created_by": 1, "starts_at": g.as_of + timedelta(days=10), "created_at": g.ago(days=2)},
        Expect.WAITS,
        "shared by two clients",
    )
    for person in (first, second):
        g.plant("appointment_clients", {"added_at": g.ago(days=2)}, Expect.WAITS, "one appointment, two clients", key=(appointment, person))
    g.plant(
        "client_invoices",
        {"client_id": first, "appointment_id": appointment, "issued_at": g.ago(days=1)},
        Expect.WAITS,
        "the tenant's accounting record, not Spotrak's",
    )
    g.plant(
        "attachments",
        {"client_id": first, "appointment_id": appointment, "uploaded_by": 1, "uploaded_at": g.ago(days=1)},
        Expect.WAITS,
        "a tenant's file",
    )


def _logs(g: Garden) -> None:
    for table in ("technical_logs", "user_actions", "page_views"):
        for i, (at, why) in enumerate(awkward_instants(g.as_of, "P12M", since=since(g.as_of) + PLANTED_SINCE)):
            key = (i + 1, at) if table == "page_views" else (i + 1,)
            g.plant(
                table,
                {"occurred_at": at},
                Expect.DUE if is_due(at, "P12M", g.as_of) else Expect.KEPT,
                why,
                key=key,
                clock="occurred_at",
                period="P12M",
            )


def _audience(g: Garden) -> None:
    number = 100

    def consent(expect: Expect, why: str, *, period: str, clock: str, **values: Any) -> UUID:
        nonlocal number
        number += 1
        g.plant("consents", values, expect, why, key=(_uuid(number),), clock=clock, period=period)
        return _uuid(number)

    def event(at: datetime | None, expect: Expect, why: str, given: datetime) -> None:
        given_until = given + timedelta(days=180)
        row = {"chosen_at": given, "ended_at": given_until if given_until < g.as_of else None}
        under = consent(Expect.KEPT if row["ended_at"] else Expect.NOT_STARTED, "has an event", period="P5Y", clock="ended_at", **row)
        g.plant("audience_events", {"consent_id": under, "occurred_at": at}, expect, why, clock="occurred_at", period="P25M")

    for at, expect, why in g.around("P25M"):
        event(at, expect, why, at - timedelta(days=1))
    for clock, why in g.strange():
        event(clock, Expect.QUARANTINED, why, g.ago(days=10))
    for at, expect, why in g.around("P6M"):
        consent(expect, f"a refusal, {why}", period="P6M", clock="chosen_at", granted=False, chosen_at=at)
    consent(Expect.QUARANTINED, "a refusal with a clock that is NULL", period="P6M", clock="chosen_at", granted=False)
    for at, expect, why in g.around("P5Y"):
        consent(
            expect,
            f"the proof of a consent that ended {why}",
            period="P5Y",
            clock="ended_at",
            chosen_at=at - timedelta(days=100),
            withdrawn_at=at,
            ended_at=at,
        )
    old = consent(
        Expect.BLOCKED,
        "an old proof that a young event still refers to",
        period="P5Y",
        clock="ended_at",
        chosen_at=g.ago(days=2100),
        ended_at=g.ago(days=1920),
    )
    g.plant(
        "audience_events",
        {"consent_id": old, "occurred_at": g.ago(days=5)},
        Expect.KEPT,
        "young, but outside its consent: only the consent check finds it",
        clock="occurred_at",
        period="P25M",
    )


def _support(g: Garden) -> None:
    def thread(
        expect: Expect, why: str, *sent: datetime | None, tenant: int = LEFT_TENANT, key: int | None = None
    ) -> tuple[int, list[int]]:
        opened = {"tenant_id": tenant, "opened_by": tenant, "opened_at": g.ago(days=1900)}
        (number,) = g.plant(
            "support_threads", opened, expect, why, key=None if key is None else (key,), clock="support_messages.sent_at", period="P3Y"
        )
        messages: list[int] = []
        for at in sent:
            parent = messages[-1] if messages else None
            (message,) = g.plant(
                "support_messages", {"thread_id": number, "parent_id": parent, "sent_at": at}, Expect.SUPPORT, f"of a thread: {why}"
            )
            messages.append(message)
        return number, messages

    before = g.ago(days=1850)
    for at, expect, why in g.around("P3Y"):
        thread(expect, f"its newest message is {why}", before, at)
    thread(
        Expect.KEPT,
        "an old chain of replies with a new one at its end",
        before,
        before + timedelta(days=1),
        before + timedelta(days=2),
        g.ago(days=9),
    )
    for clock, why in g.strange():
        thread(Expect.QUARANTINED, f"its newest message has {why}", clock)
    thread(Expect.DUE, "no message at all: its opening counts")
    thread(Expect.SHIELDED, "old, but its tenant's contract lives", before, tenant=LIVE_TENANT)
    thread(Expect.DUE, "a candidate for a hold", before, before + timedelta(days=3), tenant=HOLD_TENANT, key=HOLD_THREAD)

    _, cycle = thread(Expect.DUE, "two messages that each claim to answer the other", before, before + timedelta(days=1))
    _replace(g, "support_messages", cycle[0], parent_id=cycle[1])
    _, itself = thread(Expect.DUE, "a message that answers itself", before)
    _replace(g, "support_messages", itself[0], parent_id=itself[0])
    _, wanted = thread(Expect.BLOCKED, "old, but a young thread's message answers one of its messages", before)
    _, young = thread(Expect.KEPT, "young; it answers a message of an old thread", g.ago(days=12))
    _replace(g, "support_messages", young[0], parent_id=wanted[0])


def _mail(g: Garden) -> None:
    def mail(at: datetime | None, expect: Expect, why: str, *, period: str = "P12M", **values: Any) -> None:
        g.plant("email_log", {"sent_at": at} | values, expect, why, clock="sent_at", period=period)

    for at, expect, why in g.around("P12M"):
        mail(at, expect, why)
    for clock, why in g.strange():
        mail(clock, Expect.QUARANTINED, why)
    mail(
        g.ago(days=500),
        Expect.KEPT,
        "a notice, whose proof is kept five years",
        period="P5Y",
        is_notice=True,
        template="changement-de-politique",
    )
    for at, expect, why in g.around("P5Y"):
        mail(at, expect, f"a notice, {why}", period="P5Y", is_notice=True, template="changement-de-politique")
    mail(g.ago(days=3), Expect.KEPT, "to a user and a lead that are gone", user_id=999, lead_id=999, recipient=NFD_EMAIL)


def _replace(g: Garden, table: str, key: int, **values: Any) -> None:
    """Changes a row that is planted already: how a cycle is closed."""
    i = next(i for i, row in enumerate(g.rows) if row.table == table and row.key == (key,))
    row = g.rows[i]
    g.rows[i] = Planted(
        table=row.table, key=row.key, values={**row.values, **values}, expect=row.expect, why=row.why, clock=row.clock, period=row.period
    )


def _uuid(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012d}")
