"""A report with everything in it that a report can have: invented numbers, no person."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from lethe.policy.model import Role
from lethe.policy.period import Period
from lethe.reports.archive import (
    ArchivedStep,
    ArchivePart,
    ExpiredStep,
    Protection,
    ShelfReport,
    SplitReport,
    TenantSum,
)
from lethe.reports.model import (
    ApprovalReport,
    Blocker,
    GuardReport,
    HoldReport,
    InterruptionReport,
    PromiseReport,
    Quarantine,
    RunReport,
    StepReport,
    WaitingStep,
)
from lethe.verify.result import Terms

AS_OF = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
CLAIMS, BOOKS = "Code civil 2224", "Code de commerce L123-22"
LOGS = "technical logs are deleted after 12 months"


def months(first: int, last: int, rows: int) -> tuple[tuple[str, int], ...]:
    """A smooth but uneven growth, from month `first` to `last`, counted from January 2024."""
    return tuple(
        (f"{2024 + i // 12}-{i % 12 + 1:02}", rows + (i * 7919) % (rows // 3 + 1) + i * rows // 60) for i in range(first, last + 1)
    )


def terms(**values: int | None) -> Terms:
    """Zero unless it is given."""
    return Terms(**{name: 0 for name in Terms.model_fields} | values)


def step(dataset: str = "technical_logs", **changes: Any) -> StepReport:
    """A clean step of logs, with `changes`."""
    values: dict[str, Any] = {
        "id": f"logs/{dataset}",
        "rule": "logs",
        "dataset": dataset,
        "store": "spotrak_db",
        "table": f"app.{dataset}",
        "role": Role.CONTROLLER,
        "promise": "logs-12-months",
        "quote": LOGS,
        "period": Period("P12M"),
        "why": "The published policy; CNIL recommendation on logging of 14 October 2021.",
        "clock": "the event",
        "cutoff": datetime(2025, 11, 23, 23, tzinfo=UTC),
        "total": 812_440,
        "terms": terms(planned=402_118, arrived=37, deleted=402_155),
        "outcome": "clean",
        "level": "L2",
        "definitive_on": date(2026, 12, 29),
        "oldest_before": datetime(2024, 2, 1, tzinfo=UTC),
        "oldest_after": datetime(2025, 11, 23, 23, 4, tzinfo=UTC),
        "histogram": months(1, 34, 18_000),
        "left": tuple((m, n // 4 if m == "2025-11" else n) for m, n in months(1, 34, 18_000) if m >= "2025-11"),
        "technique": "clock windows",
        "batches": 21,
        "seconds": 0.42,
        "longest_transaction_ms": 31.0,
    }
    return StepReport(**values | changes)


def archive(**changes: Any) -> ArchivePart:
    """Contracts and invoices of tenants that left, in a bucket with everything, with `changes`."""
    shelf = {"size": 41_200, "sealed": 9, "locked": 9, "locked_until": datetime(2036, 12, 31, 23, tzinfo=UTC)}
    values: dict[str, Any] = {
        "steps": (
            ArchivedStep(
                step="contracts/contracts",
                dataset="contracts",
                law=CLAIMS,
                ground="claims",
                period=Period("P5Y"),
                columns=("id", "tenant_id", "number"),
                archived=61,
                only_deleted=4,
                objects=9,
                first_expiry=date(2027, 1, 14),
                last_expiry=date(2031, 11, 24),
                unsealed=0,
            ),
            ArchivedStep(
                step="billing-invoices/billing_invoices",
                dataset="billing_invoices",
                law=BOOKS,
                ground="obligation",
                period=Period("P10Y"),
                columns=("id", "tenant_id", "number"),
                archived=2_310,
                only_deleted=0,
                objects=9,
                first_expiry=date(2031, 1, 1),
                last_expiry=date(2037, 1, 1),
                unsealed=0,
            ),
        ),
        "splits": (
            SplitReport(
                step="contracts/contracts",
                dataset="contracts",
                terms=terms(planned=67, deleted=65, held=2),
                archived=61,
                only_deleted=4,
                tenants=52,
                off=0,
                check="passed",
            ),
            SplitReport(
                step="billing-invoices/billing_invoices",
                dataset="billing_invoices",
                terms=terms(planned=2_312, arrived=1, deleted=2_310, held=2, changed=1),
                archived=2_310,
                only_deleted=0,
                tenants=52,
                off=1,
                named=(TenantSum(name="9f3c01aa", planned=12, archived=13, deleted=0, left=0),),
                check="passed",
            ),
        ),
        "protection": Protection(bucket="lethe-archive", versioned=True, lock=True, encryption="aws:kms"),
        "shelves": (
            ShelfReport(
                dataset="billing_invoices",
                law=BOOKS,
                objects=9,
                rows=2_310,
                first_expiry=date(2031, 1, 1),
                last_expiry=date(2037, 1, 1),
                encryptions=(("aws:kms", 9),),
                **shelf,
            ),
            ShelfReport(
                dataset="contracts",
                law=CLAIMS,
                objects=9,
                rows=61,
                first_expiry=date(2027, 1, 14),
                last_expiry=date(2031, 11, 24),
                encryptions=(("aws:kms", 9),),
                **shelf,
            ),
        ),
        "calendar": (
            *((CLAIMS, f"{y}-{m:02}", 3 + y % 5) for y, m in ((2027, 1), (2028, 6), (2029, 3), (2030, 9), (2031, 1), (2031, 11))),
            *((BOOKS, f"{y}-01", 200 + y % 7 * 60) for y in range(2031, 2038)),
        ),
    }
    return ArchivePart(**values | changes)


def expiry(**changes: Any) -> RunReport:
    """A clean night of the archive's expiry, with rows that a hold keeps past it, with `changes`."""
    gone = ExpiredStep(
        step="expiry-code-civil-2224/contracts",
        dataset="contracts",
        law=CLAIMS,
        rows=48,
        objects=7,
        rewritten=1,
        past_expiry=(("5a" * 16, 3), ("c1" * 16, 1)),
        level="L2",
        definitive_on=date(2026, 12, 29),
    )
    values: dict[str, Any] = {
        "kind": "expiry",
        "steps": (
            step(
                "archive/contracts",
                id=gone.step,
                rule="contracts",
                store="archive",
                table=f"objects of contracts under {CLAIMS}",
                period=Period("P5Y"),
                clock="contract_end",
                cutoff=AS_OF,
                total=120,
                terms=terms(planned=52, deleted=48, held=4),
                histogram=(("2026-10", 20), ("2026-11", 32), ("2027-06", 68)),
                left=None,
                technique="archive objects expired",
                batches=2,
            ),
        ),
        "archive": archive(steps=(), splits=(), expired=(gone,)),
        "holds": (
            HoldReport(
                id=1,
                scope=("tenant",),
                reason="litigation",
                owner="Legal",
                starts_on=date(2026, 3, 2),
                review_on=date(2027, 3, 1),
                rows=4,
            ),
        ),
        "waiting": (),
        "promises": (),
        "guard": (),
        "interruptions": (),
        "unbound": (),
    }
    return report(**values | changes)


def report(**changes: Any) -> RunReport:
    """A finished, clean run with red findings that do not fail it, with `changes`."""
    threads = months(0, 34, 90)
    values: dict[str, Any] = {
        "company": "Spotrak LLC",
        "time_zone": "Europe/Paris",
        "as_of": AS_OF,
        "policy_version": "2026-05-01",
        "policy_digest": "3f1c" * 16,
        "text_sha256": "a90b" * 16,
        "catalog_digest": "77de" * 16,
        "plan": "c41e" * 16,
        "attempt": 1,
        "state": "finished",
        "started_at": AS_OF + timedelta(seconds=4),
        "finished_at": AS_OF + timedelta(seconds=27),
        "outcome": "clean",
        "ledger_seq": 318,
        "ledger_head": "08bd" * 16,
        "steps": (
            step(),
            step(
                "page_views",
                id="usage/page_views",
                rule="usage",
                quote=None,
                why="Minimisation: Spotrak’s own choice.",
                technique="partitions dropped",
                batches=9,
                longest_transaction_ms=12.4,
            ),
            step(
                "nginx_logs",
                id="logs/nginx_logs",
                store="spotrak_s3",
                table="spotrak-logs/nginx/",
                unit="objects",
                total=1_204,
                terms=terms(planned=611, deleted=611),
                histogram=months(10, 34, 30),
                left=tuple((m, n) for m, n in months(10, 34, 30) if m >= "2025-12"),
                technique="versions, markers, uploads",
                batches=1,
                longest_transaction_ms=None,
            ),
            step(
                "support_threads",
                id="support/support_threads",
                rule="support",
                quote=None,
                why="Claims that may still be brought (Code civil, article 2224).",
                clock="the last message",
                period=Period("P3Y"),
                cutoff=datetime(2023, 11, 23, 23, tzinfo=UTC),
                total=4_310,
                terms=terms(planned=352, deleted=301, held=38, changed=2, blocked=11),
                quarantined=Quarantine(null=4, future=1, early=2, owner="data team", look_by=date(2026, 12, 8)),
                blockers=(Blocker(dataset="support_messages", relation="reply_to", rows=11),),
                level="L1",
                histogram=(*threads, ("2023-06", 140), ("2023-09", 160)),
                left=(*threads, ("2023-06", 20), ("2023-09", 29)),
            ),
            step("audience_events", id="audience/audience_events", rule="audience", terms=terms(), batches=0, histogram=(), left=()),
        ),
        "archive": archive(),
        "waiting": (
            WaitingStep(
                rule="audience-after-withdrawal",
                dataset="audience_events",
                period=Period("P0D"),
                promise="withdraw-consent",
                waiting_for=("requests",),
            ),
            WaitingStep(
                rule="tenant-data",
                dataset="clients",
                period=Period("P30D"),
                promise="business-data",
                waiting_for=("return_record",),
                due=1_204,
            ),
            WaitingStep(rule="idle-accounts", dataset="users", period=Period("P2Y"), promise="identity-data", waiting_for=("warning",)),
            WaitingStep(rule="backups", dataset=None, period=Period("P35D"), promise="delete", waiting_for=("backups",)),
        ),
        "holds": (
            HoldReport(
                id=1,
                scope=("tenant", "dates"),
                reason="litigation",
                owner="Legal",
                starts_on=date(2026, 3, 2),
                review_on=date(2027, 3, 1),
                rows=31,
            ),
            HoldReport(
                id=2,
                scope=("dataset",),
                dataset="support_threads",
                reason="tax_inspection",
                owner="Finance",
                starts_on=date(2025, 9, 1),
                rows=7,
            ),
        ),
        "guard": (GuardReport(step="logs/technical_logs", limit="share", value=0.495, allowed=0.2),),
        "approvals": (
            ApprovalReport(
                approver="dpo", reason="first_run", given_at=AS_OF - timedelta(hours=9), ceilings=(("logs/technical_logs", 402_118),)
            ),
        ),
        "interruptions": (
            InterruptionReport(
                at=AS_OF + timedelta(seconds=11), step="logs/technical_logs", found="Batch 7 was committed; the run went on after it."
            ),
        ),
        "promises": (
            PromiseReport(
                id="logs-12-months",
                quotes=(LOGS,),
                means="Nightly, in every store that holds them.",
                steps=("logs/technical_logs", "logs/nginx_logs"),
            ),
        ),
        "unbound": ("the cookies policy",),
    }
    return RunReport(**values | changes)
