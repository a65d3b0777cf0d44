"""A report with everything in it that a report can have: invented numbers, no person."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from lethe.policy.model import Role
from lethe.policy.period import Period
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
        "waiting": (
            WaitingStep(
                rule="invoices",
                dataset="billing_invoices",
                period=Period("P10Y"),
                promise="archived-as-law-requires",
                waiting_for=("archive",),
            ),
            WaitingStep(
                rule="tenant-data", dataset="clients", period=Period("P30D"), promise="business-data", waiting_for=("return_record",)
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
