"""Rows that carry one e-mail address in every personal text column, due ones and young ones: it must leave no trace in Lethe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from demo.garden import CANARY, LEFT_TENANT, Expect, Planted
from demo.rows.logs import MONTHS

PERSONAL: Mapping[str, tuple[str, ...]] = {
    "tenants": ("name", "legal_name", "siren", "vat_number", "contact_email", "contact_phone", "address", "postcode", "city"),
    "users": ("email", "first_name", "last_name", "phone", "job_title", "password_hash"),
    "contracts": ("signatory_name", "signatory_email"),
    "leads": ("email", "first_name", "last_name", "phone", "company", "job_title", "message"),
    "billing_invoices": ("billed_name", "billed_email", "billed_address", "lines"),
    "clients": ("email", "first_name", "last_name", "phone", "address", "postcode", "city", "notes"),
    "appointments": ("title", "location", "notes"),
    "client_invoices": ("billed_name", "billed_email", "lines"),
    "attachments": ("file_name",),
    "technical_logs": ("user_agent", "path", "message", "context"),
    "user_actions": ("action", "object_type", "detail"),
    "page_views": ("path", "referrer"),
    "consents": ("email",),
    "audience_events": ("page", "campaign"),
    "support_threads": ("subject",),
    "support_messages": ("author_name", "author_email", "body"),
    "email_log": ("recipient", "subject", "message_id"),
}
"""The text and JSON columns of each table that can hold something about a person."""

ENDED_TENANT, EXPIRING_TENANT = 54, 55
"""Customers whose contract ended, without data of their own: what a law needs of them goes to the archive, canary and all."""
EXPIRY_LAG = timedelta(days=6)
"""As of so long before the rows' `as_of` EXPIRING_TENANT's rows are archived; as of that instant their period there is over."""

_JSON = {"lines": [{"label": CANARY}], "context": {"note": CANARY}, "detail": {"note": CANARY}}
_TENANT = 50
_OLD_USER = 52


def canary_rows(as_of: datetime) -> tuple[Planted, ...]:
    """The canary's rows for that `as_of`, parents before children: tenant 50 and what hangs on it, the two that left; keys 50 to 60."""

    def ago(days: int) -> datetime:
        return as_of - timedelta(days=days)

    log = MONTHS * 30 - 30
    due, kept, support = Expect.DUE, Expect.KEPT, Expect.SUPPORT
    rows: list[tuple[str, tuple[Any, ...], dict[str, Any], Expect]] = [
        ("tenants", (_TENANT,), {"owner_user_id": 50, "created_at": ago(2000)}, support),
        ("users", (50,), {"tenant_id": _TENANT, "created_at": ago(2000), "last_activity_at": ago(1)}, Expect.NOT_STARTED),
        ("users", (_OLD_USER,), {"tenant_id": _TENANT, "email": f"ex.{CANARY}", "created_at": ago(900), "removed_at": ago(90)}, due),
        ("contracts", (50,), {"tenant_id": _TENANT, "started_at": ago(2000)}, support),
        *_ended(ENDED_TENANT, ago(2000), ago(400), Expect.ARCHIVED),
        # Five years are 1826 days or 1827: over three or four days before `as_of`.
        *_ended(EXPIRING_TENANT, ago(2400), ago(1830), due),
        ("leads", (50,), {"created_at": ago(1400)}, due),
        ("leads", (51,), {"created_at": ago(40)}, kept),
        ("billing_invoices", (50,), {"tenant_id": _TENANT, "contract_id": 50, "issued_at": ago(40)}, Expect.NOT_STARTED),
        (
            "billing_invoices",
            (ENDED_TENANT,),
            {
                "tenant_id": ENDED_TENANT,
                "contract_id": ENDED_TENANT,
                "issued_at": ago(600),
                "financial_year_closed_on": ago(420).date(),
            },
            Expect.ARCHIVED,
        ),
        ("clients", (50,), {"tenant_id": _TENANT, "created_at": ago(400)}, Expect.WAITS),
        ("appointments", (50,), {"tenant_id": _TENANT, "created_by": 50, "starts_at": ago(30), "created_at": ago(40)}, Expect.WAITS),
        ("appointment_clients", (50, 50), {"added_at": ago(40)}, Expect.WAITS),
        ("client_invoices", (50,), {"tenant_id": _TENANT, "client_id": 50, "issued_at": ago(20)}, Expect.WAITS),
        ("attachments", (50,), {"tenant_id": _TENANT, "client_id": 50, "uploaded_at": ago(20)}, Expect.WAITS),
        *(("technical_logs", (900 + i,), {"occurred_at": ago(d)}, e) for i, (d, e) in enumerate([(log, due), (20, kept)])),
        *(("user_actions", (900 + i,), {"occurred_at": ago(d)}, e) for i, (d, e) in enumerate([(log, due), (20, kept)])),
        *(("page_views", (900 + i, ago(d)), {"occurred_at": ago(d)}, e) for i, (d, e) in enumerate([(log, due), (20, kept)])),
        ("consents", (_uuid(1),), {"chosen_at": ago(900), "ended_at": ago(730)}, kept),
        ("consents", (_uuid(2),), {"chosen_at": ago(250), "granted": False}, due),
        ("audience_events", (50,), {"consent_id": _uuid(1), "occurred_at": ago(890)}, due),
        ("support_threads", (50,), {"tenant_id": LEFT_TENANT, "opened_at": ago(1700)}, due),
        ("support_messages", (50,), {"thread_id": 50, "sent_at": ago(1690)}, support),
        ("email_log", (50,), {"sent_at": ago(500)}, due),
        ("email_log", (51,), {"sent_at": ago(20)}, kept),
    ]
    return tuple(
        Planted(table=table, key=key, values=_with_canary(table) | values, expect=expect, why="the canary")
        for table, key, values, expect in rows
    )


def _ended(tenant: int, started: datetime, ended: datetime, expect: Expect) -> list[tuple[str, tuple[Any, ...], dict[str, Any], Expect]]:
    """A tenant whose one contract ended, with its user."""
    contract = {"tenant_id": tenant, "started_at": started, "ended_at": ended, "service_ended_at": ended}
    return [
        ("tenants", (tenant,), {"owner_user_id": tenant, "created_at": started}, expect),
        (
            "users",
            (tenant,),
            {"tenant_id": tenant, "email": f"fin{tenant}.{CANARY}", "created_at": started, "last_activity_at": ended},
            Expect.DUE,
        ),
        ("contracts", (tenant,), contract, expect),
    ]


def _with_canary(table: str) -> dict[str, Any]:
    return {column: _JSON.get(column, CANARY) for column in PERSONAL.get(table, ())}


def _uuid(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8001-{number:012d}")
