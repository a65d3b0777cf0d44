"""The fields of the trigger forms. What is typed there is checked again by the task, which is the only check that counts."""

from __future__ import annotations

from airflow.sdk import Param

MOST_REQUESTS = 10_000
"""Requests of one run."""


def as_of() -> Param:
    """The instant a run looks from."""
    return Param(
        default=None,
        type=["null", "string"],
        format="date-time",
        title="As of",
        description="Rows are due as seen from this instant, with its zone: 2026-11-23T02:00:00+01:00. Empty: the start of the run. Never in the future.",
    )


def dry_run() -> Param:
    """Whether a run only plans and counts."""
    return Param(
        default=None,
        type=["null", "boolean"],
        title="Dry run",
        description="True: plan, count and report, delete nothing. False: delete. Empty: a scheduled run deletes, a manual one does not.",
    )


def rules() -> Param:
    """Which rules a run carries out."""
    return Param(
        default=None,
        type=["null", "array"],
        items={"type": "string", "pattern": "^[a-z0-9]+([-_][a-z0-9]+)*$"},
        title="Rules",
        description="Ids of the rules to carry out, as `lethe plan` lists them. Empty: all of the policy in force.",
    )


def pace() -> Param:
    """How hard a run may press the database."""
    return Param(
        default="full",
        type="string",
        enum=["full", "gentle"],
        title="Pace",
        description="full: batches side by side, two, or three that archive. gentle: one after the other, resting almost as long as it works.",
    )


def day(title: str, description: str) -> Param:
    """A day, or none."""
    return Param(default=None, type=["null", "string"], format="date", title=title, description=description)


def requests(*, empty: str = "") -> Param:
    """The requests of a run. `empty`: what none means, where none may be given."""
    return Param(
        default=[],
        type="array",
        items={"type": "string", "pattern": "^R-[0-9]{4}-[0-9A-HJKMNP-TV-Z]{8}$"},
        maxItems=MOST_REQUESTS,
        title="Requests",
        description="Ids of the requests to answer, such as R-2026-7K3M9QWX, one a line; `lethe request list` shows them. Never an address or a name."
        + (f" {empty}" if empty else ""),
    )
