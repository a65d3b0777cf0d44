"""The awkward rows of the demo, and what is expected of each: a manifest for tests and documentation. Pure.

Planted rows have keys below 1000 (`demo.rows.base.RESERVED`), or UUIDs that start with eight zeros. What is expected follows
PROMISES, "Periods" and "Time", for a run as of the same `as_of`, with no hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from demo.calendar import EPOCH_1970, MICROSECOND, START_OF_SERVICE, awkward_instants, first_kept, is_due
from demo.rows.logs import PLANTED_SINCE, since


class Expect(StrEnum):
    """What a nightly run that runs the row's rule does with it."""

    DUE = "due"
    KEPT = "kept"  # not old enough
    QUARANTINED = "quarantined"  # its clock is NULL, in the future, or before the start of service
    NOT_STARTED = "not_started"  # its clock does not run yet
    ARCHIVED = "archived"  # due, and a law needs some of it: that goes to the archive, where there is one, and the row goes
    BLOCKED = "blocked"  # due, but a row that stays refers to it
    SHIELDED = "shielded"  # old enough, but its tenant's contract lives
    NEEDED = "needed"  # old enough, but a login by which its tenant can still retrieve its data
    WAITS = "waits"  # its rule needs something that is not there yet: a record of return, a warning
    SUPPORT = "support"  # is there only for other planted rows to refer to or to be referred by


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One planted row."""

    table: str
    key: tuple[Any, ...]
    values: Mapping[str, Any]
    expect: Expect
    why: str
    clock: str | None = None
    period: str | None = None


CANARY = "canari-7d1f@sentinelle.example"
"""Planted in every personal text column when the load is asked for it; must be found nowhere in Lethe's own traces."""

NFC_EMAIL, NFD_EMAIL = "zo\u00e9@exemple.example", "zoe\u0301@exemple.example"
"""One address, written with a composed and with a decomposed é: equal to a reader, different in bytes."""

LIVE_TENANT, LEFT_TENANT, HOLD_TENANT, TRIAL_TENANT, SECOND_TENANT, LEAVING_TENANT = range(1, 7)
RENEWED_TENANT, CORRECTED_TENANT, RETURNING_TENANT, GONE_TENANT, TWICE_TENANT, PAST_TENANT, STRANGE_TENANT = range(7, 14)
HOLD_THREAD = 90
"""A due thread of HOLD_TENANT: a hold on the tenant or on the thread keeps it, else it goes."""


@dataclass
class _Garden:
    """Collects planted rows; keys are given in order of planting."""

    as_of: datetime
    rows: list[Planted] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)

    def plant(
        self, table: str, values: Mapping[str, Any], expect: Expect, why: str, *, key: tuple[Any, ...] | None = None, **rest: Any
    ) -> tuple[Any, ...]:
        if key is None:
            self.keys[table] += 1
            key = (100 + self.keys[table],)
        self.rows.append(Planted(table=table, key=key, values=values, expect=expect, why=why, **rest))
        return key

    def ago(self, **period: int) -> datetime:
        return self.as_of - timedelta(**period)

    def around(self, period: str) -> list[tuple[datetime, Expect, str]]:
        """The three instants at a cutoff, with what is expected."""
        kept = first_kept(self.as_of, period)
        return [
            (kept - MICROSECOND, Expect.DUE, "one microsecond before the cutoff"),
            (kept, Expect.KEPT, "the cutoff itself"),
            (kept + MICROSECOND, Expect.KEPT, "one microsecond after the cutoff"),
            (kept + timedelta(minutes=30), Expect.KEPT, "half past midnight in Paris, still the day before in UTC"),
        ]

    def strange(self) -> list[tuple[datetime | None, str]]:
        """Clocks that are never deleted by age."""
        return [
            (None, "a clock that is NULL"),
            (EPOCH_1970, "a clock of 1970"),
            (START_OF_SERVICE - MICROSECOND, "a clock one microsecond before the start of service"),
            (self.as_of + timedelta(days=400), "a clock in the future"),
        ]


def planted(as_of: datetime) -> tuple[Planted, ...]:
    """Every planted row for that `as_of` (aware), parents before children. ValueError when it has no zone."""
    if as_of.tzinfo is None:
        raise ValueError("as_of has no time zone")
    garden = _Garden(as_of)
    for plant in (_customers, _contracts, _invoices, _after_contract, _users, _leads, _business, _logs, _audience, _support, _mail):
        plant(garden)
    return tuple(garden.rows)


_ENDED = "(SELECT max(c.ended_at) FROM app.contracts c WHERE c.tenant_id = r.{})"
"""The end of a tenant's contracts, all of which have one: a clock on other rows."""

_TENANTS: Mapping[int, tuple[str, Expect, Expect]] = {
    LIVE_TENANT: ("a living contract", Expect.NOT_STARTED, Expect.NOT_STARTED),
    LEFT_TENANT: ("left four years ago, with data and young threads", Expect.BLOCKED, Expect.NEEDED),
    HOLD_TENANT: ("left four years ago; a candidate for a hold", Expect.ARCHIVED, Expect.DUE),
    TRIAL_TENANT: ("never signed", Expect.NOT_STARTED, Expect.NOT_STARTED),
    SECOND_TENANT: ("a living contract; shares people with tenant 1", Expect.NOT_STARTED, Expect.NOT_STARTED),
    LEAVING_TENANT: ("its contract ends in the future", Expect.NOT_STARTED, Expect.NOT_STARTED),
    RENEWED_TENANT: ("its contract ended and was renewed the next day", Expect.NOT_STARTED, Expect.NOT_STARTED),
    CORRECTED_TENANT: ("an old contract, and one whose end was corrected to a day to come", Expect.NOT_STARTED, Expect.NOT_STARTED),
    RETURNING_TENANT: ("left, and its data is not returned yet", Expect.BLOCKED, Expect.NEEDED),
    GONE_TENANT: ("left, without data of its own", Expect.ARCHIVED, Expect.DUE),
    TWICE_TENANT: ("two contracts, both ended", Expect.ARCHIVED, Expect.DUE),
    PAST_TENANT: ("left over five years ago: nothing of it is archived any more", Expect.DUE, Expect.DUE),
    STRANGE_TENANT: ("its contract ended in 1970", Expect.QUARANTINED, Expect.QUARANTINED),
}
"""Each planted tenant with what is expected of it and of its owner at the end of its contract."""


def _customers(g: _Garden) -> None:
    for tenant, (why, expect, owner) in _TENANTS.items():
        old = g.ago(days=3800 if tenant == PAST_TENANT else 2000)
        g.plant(
            "tenants",
            {"owner_user_id": tenant, "created_at": old, "name": f"Atelier {tenant}"},
            expect,
            f"{why}; it and its owner refer to each other",
            key=(tenant,),
            clock=_ENDED.format("id"),
            period="P0D",
        )
        g.plant(
            "users",
            {"tenant_id": tenant, "email": f"patronne{tenant}@exemple.example", "created_at": old, "last_activity_at": g.ago(days=1)},
            owner,
            f"the owner of a tenant, a cycle: {why}",
            key=(tenant,),
            clock=_ENDED.format("tenant_id"),
            period="P0D",
        )


def _contracts(g: _Garden) -> None:
    def contract(tenant: int, expect: Expect, why: str, *, ended: datetime | None, started: datetime, first: bool = True) -> None:
        row = {"tenant_id": tenant, "number": f"CT-P{tenant}", "started_at": started, "ended_at": ended}
        row["service_ended_at"] = ended if ended and ended < g.as_of else None
        key = (tenant,) if first else None
        g.plant("contracts", row, expect, why, key=key, clock=_ENDED.format("tenant_id"), period="P0D")

    old, soon = g.ago(days=2000), g.as_of + timedelta(days=30)
    for tenant in (LIVE_TENANT, SECOND_TENANT):
        contract(tenant, Expect.NOT_STARTED, "a contract that lives", started=old, ended=None)
    contract(LIVE_TENANT, Expect.NOT_STARTED, "ended in 1970, beside one that lives", started=old, ended=EPOCH_1970, first=False)
    contract(LEFT_TENANT, Expect.BLOCKED, "ended; its tenant has to stay", started=old, ended=g.ago(days=1461))
    contract(HOLD_TENANT, Expect.ARCHIVED, "ended four years ago", started=old, ended=g.ago(days=1461))
    contract(LEAVING_TENANT, Expect.NOT_STARTED, "a contract that ends in the future lives", started=old, ended=soon)
    renewed = g.ago(days=300)
    contract(RENEWED_TENANT, Expect.NOT_STARTED, "ended, and renewed the next day", started=old, ended=renewed)
    contract(RENEWED_TENANT, Expect.NOT_STARTED, "the renewal", started=renewed + timedelta(days=1), ended=None, first=False)
    contract(CORRECTED_TENANT, Expect.NOT_STARTED, "ended, beside one that ends in the future", started=old, ended=g.ago(days=900))
    contract(
        CORRECTED_TENANT, Expect.NOT_STARTED, "its end was corrected to a day to come", started=g.ago(days=900), ended=soon, first=False
    )
    contract(RETURNING_TENANT, Expect.BLOCKED, "ended; its tenant's data is not returned", started=old, ended=g.ago(days=100))
    contract(GONE_TENANT, Expect.ARCHIVED, "ended; nothing keeps its tenant", started=old, ended=g.ago(days=40))
    contract(TWICE_TENANT, Expect.ARCHIVED, "the first of two; the end of the second counts", started=old, ended=g.ago(days=1900))
    contract(TWICE_TENANT, Expect.ARCHIVED, "the second of two", started=g.ago(days=1899), ended=g.ago(days=1000), first=False)
    contract(PAST_TENANT, Expect.DUE, "its five years in the archive are over", started=g.ago(days=3700), ended=g.ago(days=1900))
    contract(STRANGE_TENANT, Expect.QUARANTINED, "ended in 1970", started=old, ended=EPOCH_1970)


def _invoices(g: _Garden) -> None:
    def invoice(expect: Expect, why: str, *, tenant: int, closed: date | None, issued: datetime) -> None:
        row = {"tenant_id": tenant, "contract_id": tenant, "issued_at": issued, "financial_year_closed_on": closed}
        g.plant("billing_invoices", row, expect, why, clock="financial_year_closed_on", period="P0D")

    closed, issued = g.ago(days=20).date(), g.ago(days=200)
    invoice(Expect.NOT_STARTED, "a year not closed yet", tenant=LIVE_TENANT, closed=None, issued=g.ago(days=30))
    invoice(Expect.NOT_STARTED, "a year not closed yet, of a tenant that left", tenant=LEFT_TENANT, closed=None, issued=g.ago(days=1500))
    invoice(Expect.QUARANTINED, "a year closed in 1970", tenant=LIVE_TENANT, closed=EPOCH_1970.date(), issued=g.ago(days=30))
    invoice(Expect.SHIELDED, "a year that is closed, of a tenant whose contract lives", tenant=LIVE_TENANT, closed=closed, issued=issued)
    invoice(Expect.ARCHIVED, "a year that is closed, of a tenant that left", tenant=GONE_TENANT, closed=closed, issued=issued)
    invoice(
        Expect.DUE,
        "its ten years in the archive are over",
        tenant=PAST_TENANT,
        closed=g.ago(days=3660).date(),
        issued=g.ago(days=3690),
    )


def _after_contract(g: _Garden) -> None:
    """What is young by its own clock, and goes with the contract; and what keeps a tenant's logins."""
    row = {"tenant_id": GONE_TENANT, "user_id": GONE_TENANT, "occurred_at": g.ago(days=50)}
    for table, key in (("user_actions", (800,)), ("page_views", (800, g.ago(days=50)))):
        g.plant(table, row, Expect.DUE, "young, but its tenant's contract ended", key=key, clock=_ENDED.format("tenant_id"), period="P0D")
    g.plant(
        "users",
        {"tenant_id": GONE_TENANT, "email": "partie.aussi@exemple.example", "created_at": g.ago(days=900)},
        Expect.DUE,
        "a second login of a tenant that left",
        clock=_ENDED.format("tenant_id"),
        period="P0D",
    )
    g.plant(
        "clients",
        {"tenant_id": RETURNING_TENANT, "created_at": g.ago(days=400)},
        Expect.WAITS,
        "keeps its tenant's logins until it is returned",
    )


def _users(g: _Garden) -> None:
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


def _leads(g: _Garden) -> None:
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


def _business(g: _Garden) -> None:
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


def _logs(g: _Garden) -> None:
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


def _audience(g: _Garden) -> None:
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


def _support(g: _Garden) -> None:
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


def _mail(g: _Garden) -> None:
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


def _replace(g: _Garden, table: str, key: int, **values: Any) -> None:
    """Changes a row that is planted already: how a cycle is closed."""
    i = next(i for i, row in enumerate(g.rows) if row.table == table and row.key == (key,))
    row = g.rows[i]
    g.rows[i] = Planted(
        table=row.table, key=row.key, values={**row.values, **values}, expect=row.expect, why=row.why, clock=row.clock, period=row.period
    )


def _uuid(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012d}")
