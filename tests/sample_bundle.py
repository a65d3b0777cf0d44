"""What a bundle may hold, invented: an account, many logs, a shared thread, an archived contract, files with odd names, names that are HTML."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from lethe.catalog.disclosure import load_disclosure
from lethe.catalog.load import load_catalog
from lethe.control.requests import Language, RequestKind
from lethe.policy.load import load_version
from lethe.policy.model import Role
from lethe.processors.history import as_of
from lethe.processors.load import load_register
from lethe.settings import SHIPPED
from lethe.subjects.bundle.model import About, FileTold, SectionTold
from lethe.subjects.found import Field, Origin, Row, Section

HOSTILE = "<script>alert('x')</script>"
ODD_NAMES = (
    "../../etc/passwd",
    'fac"ture "n° 1" & co.pdf',
    "photo\u202egnp.exe",
    "=SUM(A1).csv",
    "日本語の契約書.pdf",
    "javascript:alert(1)",
)
_CATALOG = load_catalog(SHIPPED / "catalog")
_TYPES = {"at": "timestamp with time zone", "on": "date", "id": "bigint", "cents": "bigint", "granted": "boolean", "lines": "jsonb"}


def about(**changes: Any) -> About:
    values: dict[str, Any] = {
        "request": "R-2026-7K3M9XQ2", "kind": RequestKind.ACCESS, "language": Language.FR,
        "received_at": datetime(2026, 10, 31, 23, 30, tzinfo=UTC), "made_at": datetime(2026, 11, 9, 13, 5, tzinfo=UTC),
        "policy": load_version(SHIPPED / "2026-05-01"), "disclosure": load_disclosure(SHIPPED), "purposes": _CATALOG.purposes,
        "receivers": as_of(load_register(SHIPPED), date(2026, 11, 9)),
    }  # fmt: skip
    return About(**{**values, **changes})


def section(dataset: str, *, provided: tuple[str, ...] = (), archive: bool = False) -> Section:
    """A dataset of the shipped catalog."""
    store, table = _CATALOG.datasets()[dataset]
    columns = getattr(table, "columns", {})
    return Section(
        store=store.id,
        dataset=dataset,
        origin=Origin.ARCHIVE if archive else Origin.LIVE,
        role=Role(table.role),
        category=table.category,
        purposes=table.purposes,
        fields=tuple(
            Field(name=n, category=c.category, type=_TYPES.get(n.rpartition("_")[2], "text"), provided=n in provided)
            for n, c in columns.items()
        ),
        law="Code civil 2224" if archive else None,
        until=date(2029, 3, 1) if archive else None,
    )


def told(dataset: str, *rows: dict[str, Any], count: int | None = None, archive: bool = False, **more: Any) -> SectionTold:
    """A section with these rows; `masked` says how often each column was."""
    provided = more.pop("provided", ())
    masked = more.get("masked", {})
    each = section(dataset, provided=provided, archive=archive)
    first = [
        Row(
            values={f.name: None if f.name in masked and f.name not in row else row.get(f.name) for f in each.fields},
            redacted=tuple(m for m in masked if m not in row),
        )
        for row in rows
    ]
    name = each.id
    return SectionTold(
        section=each, rows=len(rows) if count is None else count, first=first,
        json=more.pop("json", [f"json/{name}.json"]), csv=[f"csv/{name}.csv"], schema=f"schema/{name}.schema.json", **more,
    )  # fmt: skip


def account(**changes: Any) -> SectionTold:
    row = {
        "id": 4021, "tenant_id": 77, "email": "claire.martin@example.org", "first_name": "Claire", "last_name": "Martin",
        "phone": "+33 6 12 34 56 78", "job_title": "Gérante", "locale": "fr", "created_at": "2021-03-02T09:15:00+00:00",
        "last_activity_at": "2026-11-06T17:42:10+00:00",
    }  # fmt: skip
    return told(
        "users",
        row | changes,
        masked={"password_hash": 1},
        years={2021: 1},
        provided=("email", "first_name", "last_name", "phone", "job_title"),
    )


def logs(count: int = 20_000) -> SectionTold:
    rows = [
        {
            "id": 9_000_000 + n, "occurred_at": f"2026-{1 + n % 10:02}-{1 + n % 27:02}T08:{n % 60:02}:00+00:00", "tenant_id": 77, "user_id": 4021,
            "level": "info", "host": f"web-{n % 4}", "request_id": f"8f0c{n:04x}", "ip": "203.0.113.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "path": "/agenda/semaine",
            "message": "GET 200", "context": {"ms": Decimal("12.50")},
        }
        for n in range(min(count, 50))
    ]  # fmt: skip
    return told("technical_logs", *rows, count=count, years={2025: count // 8, 2026: count - count // 8})


def thread() -> SectionTold:
    rows = [
        {"id": 1, "thread_id": 5, "author_id": 4021, "author_name": "Claire Martin", "author_email": "claire.martin@example.org",
         "body": "Bonjour,\nla synchronisation de mon agenda ne fonctionne plus depuis lundi.\nMerci", "sent_at": "2025-02-03T08:00:00+00:00"},
        {"id": 2, "thread_id": 5, "parent_id": 1, "body": "Nous regardons. " * 60, "sent_at": "2025-02-03T09:30:00+00:00"},
        {"id": 3, "thread_id": 5, "parent_id": 2, "body": HOSTILE, "sent_at": "2025-02-04T10:00:00+00:00"},
        {"id": 4, "thread_id": 5, "parent_id": 3, "body": "=1+1", "sent_at": "infinity"},
    ]  # fmt: skip
    return told(
        "support_messages", *rows, masked={"author_id": 3, "author_name": 3, "author_email": 3}, shared=3, years={2025: 4},
        provided=("author_name", "body"),
    )  # fmt: skip


def contract() -> SectionTold:
    row = {
        "id": 12, "tenant_id": 77, "number": "C-2019-0012", "signatory_name": "Claire Martin", "signatory_email": "claire.martin@example.org",
        "plan": "pro", "monthly_cents": 4900, "started_at": "2019-03-01T00:00:00+01:00", "ended_at": "2024-03-01T00:00:00+01:00",
    }  # fmt: skip
    return told("contracts", row, archive=True, years={2019: 1})


def files() -> SectionTold:
    """Leads with a hostile name and files with odd ones."""
    rows = [
        {"id": n, "email": "claire.martin@example.org", "first_name": HOSTILE, "last_name": "Martin", "created_at": None} for n in range(5)
    ]
    kept = [
        FileTold(path=f"files/leads/{n}-{name.replace('/', '_')}", name=name, size=10 ** (n + 1), sha256="0" * 64)
        for n, name in enumerate(ODD_NAMES)
    ]
    return told("leads", *rows, files=kept, years={2018: 2, 2019: 3, None: 0})


def everything() -> list[SectionTold]:
    """A person of whom there is much."""
    return [account(), contract(), logs(), thread(), files()]


def fifteen() -> list[SectionTold]:
    """One who is in every dataset that is the company's own."""
    own = [n for n, (_, t) in _CATALOG.datasets().items() if t.role is Role.CONTROLLER and getattr(t, "columns", {})]
    plain = [told(n, {"id": 1}, {"id": 2}, count=2 + 7 ** (i % 6), years={2014 + i: 3 + i}) for i, n in enumerate(own)]
    archived = [told(n, {"id": 1}, archive=True, years={2015: 1}) for n in ("tenants", "contracts", "billing_invoices")]
    return [account(), *[p for p in plain if p.section.dataset != "users"], *archived]
