"""The awkward rows at a contract's end: tenants and their owners, contracts, Spotrak's invoices, what goes after a contract. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from demo.calendar import EPOCH_1970
from demo.garden import (
    CORRECTED_TENANT,
    GONE_TENANT,
    HOLD_TENANT,
    LEAVING_TENANT,
    LEFT_TENANT,
    LIVE_TENANT,
    PAST_TENANT,
    RENEWED_TENANT,
    RETURNING_TENANT,
    SECOND_TENANT,
    STRANGE_TENANT,
    TRIAL_TENANT,
    TWICE_TENANT,
    Expect,
    Garden,
)

ENDED = "(SELECT max(c.ended_at) FROM app.contracts c WHERE c.tenant_id = r.{})"
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


def _customers(g: Garden) -> None:
    for tenant, (why, expect, owner) in _TENANTS.items():
        old = g.ago(days=3800 if tenant == PAST_TENANT else 2000)
        g.plant(
            "tenants",
            {"owner_user_id": tenant, "created_at": old, "name": f"Atelier {tenant}"},
            expect,
            f"{why}; it and its owner refer to each other",
            key=(tenant,),
            clock=ENDED.format("id"),
            period="P0D",
        )
        g.plant(
            "users",
            {"tenant_id": tenant, "email": f"patronne{tenant}@exemple.example", "created_at": old, "last_activity_at": g.ago(days=1)},
            owner,
            f"the owner of a tenant, a cycle: {why}",
            key=(tenant,),
            clock=ENDED.format("tenant_id"),
            period="P0D",
        )


def _contracts(g: Garden) -> None:
    def contract(tenant: int, expect: Expect, why: str, *, ended: datetime | None, started: datetime, first: bool = True) -> None:
        row = {"tenant_id": tenant, "number": f"CT-P{tenant}", "started_at": started, "ended_at": ended}
        row["service_ended_at"] = ended if ended and ended < g.as_of else None
        key = (tenant,) if first else None
        g.plant("contracts", row, expect, why, key=key, clock=ENDED.format("tenant_id"), period="P0D")

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


def _invoices(g: Garden) -> None:
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


def _after_contract(g: Garden) -> None:
    """What is young by its own clock, and goes with the contract; and what keeps a tenant's logins."""
    row = {"tenant_id": GONE_TENANT, "user_id": GONE_TENANT, "occurred_at": g.ago(days=50)}
    for table, key in (("user_actions", (800,)), ("page_views", (800, g.ago(days=50)))):
        g.plant(table, row, Expect.DUE, "young, but its tenant's contract ended", key=key, clock=ENDED.format("tenant_id"), period="P0D")
    g.plant(
        "users",
        {"tenant_id": GONE_TENANT, "email": "partie.aussi@exemple.example", "created_at": g.ago(days=900)},
        Expect.DUE,
        "a second login of a tenant that left",
        clock=ENDED.format("tenant_id"),
        period="P0D",
    )
    g.plant(
        "clients",
        {"tenant_id": RETURNING_TENANT, "created_at": g.ago(days=400)},
        Expect.WAITS,
        "keeps its tenant's logins until it is returned",
    )


PLANTERS = (_customers, _contracts, _invoices, _after_contract)
"""In the order in which rows refer to rows."""
