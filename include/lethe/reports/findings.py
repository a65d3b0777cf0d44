"""What a person has to look at after a run: in words, with what to do. Pure."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from lethe.frozen import Frozen
from lethe.reports.archive import ArchivePart, Protection
from lethe.reports.model import RunReport, StepReport
from lethe.reports.words import day, number

Kind = Literal["survivors", "unknown", "failed", "unbalanced", "quarantined", "blocked", "hold", "archive", "other"]
_FAILS: frozenset[Kind] = frozenset({"survivors", "unknown", "failed", "unbalanced"})


class RedFinding(Frozen):
    """One thing that is not in order: what, where, and what to do about it. `fails`: it makes the run red as well."""

    kind: Kind
    where: str
    what: str
    do: str
    fails: bool = False


def findings(report: RunReport) -> tuple[RedFinding, ...]:
    """Every red finding, those that fail the run first. A hold's review date is judged by the local date of `as_of`."""
    found = [f for step in report.steps for f in _of_step(step)]
    if report.archive is not None:
        found += _of_archive(report.archive)
    today = report.as_of.astimezone(ZoneInfo(report.time_zone)).date()
    for hold in report.holds:
        if hold.review_on is None or hold.review_on < today:
            what = "has no review date" if hold.review_on is None else f"was to be reviewed on {day(hold.review_on)}"
            found.append(
                RedFinding(
                    kind="hold",
                    where=f"Hold {hold.id}",
                    what=f"The hold ({hold.reason.replace('_', ' ')}, owner {hold.owner}) {what}. Its rows are still kept.",
                    do=f"Review it: give it a date to be reviewed by, or lift it with `lethe hold lift {hold.id}`.",
                )
            )
    return tuple(sorted(found, key=lambda f: not f.fails))


def _of_step(step: StepReport) -> list[RedFinding]:
    """In the order in which an operator would act: what fails the run, then what waits for an owner."""
    unit, terms = step.unit, step.terms
    found: list[RedFinding] = []

    def add(kind: Kind, what: str, do: str) -> None:
        found.append(RedFinding(kind=kind, where=step.id, what=what, do=do, fails=kind in _FAILS))

    if step.outcome == "unknown":
        add(
            "unknown",
            "It could not be counted what is left. Nothing is claimed about this dataset.",
            "Read the run’s log for what the check could not see, mend it, and run the same plan again.",
        )
    if terms.survivors:
        add(
            "survivors",
            f"{_many(terms.survivors, unit, 'due ')} {'is' if terms.survivors == 1 else 'are'} still there, and no hold explains it.",
            "Find what kept them (a trigger, a lock, a rule of the store), then run the same plan again.",
        )
    if terms.failed:
        add(
            "failed",
            f"The store refused to delete {_many(terms.failed, unit)}.",
            "Look for a lock, a retention or a policy of the store; lift it if it is not meant, then run the same plan again.",
        )
    if terms.balanced is False:
        add(
            "unbalanced",
            "The counts do not add up: planned and arrived are not what was deleted, held, changed, blocked and failed.",
            "Treat every number of this step as doubtful. Walk the ledger with `lethe verify` and compare its batches.",
        )
    if terms.blocked:
        by = "; ".join(f"{number(b.rows)} by {b.dataset} ({b.relation})" for b in step.blockers or ())
        by = "it could not be counted which" if step.blockers is None else by
        add(
            "blocked",
            f"{_many(terms.blocked, unit, 'due ')} {'stays' if terms.blocked == 1 else 'stay'}, because rows that stay still refer to "
            f"{'it' if terms.blocked == 1 else 'them'}{': ' + by if by else ''}.",
            "Decide whether the referring rows need a shorter period or the relation may dangle: a change of the policy or the catalog.",
        )
    if (quarantined := _quarantined(step)) is not None:
        add("quarantined", *quarantined)
    for text in step.findings:
        add("other", text, "Settle it before the next run.")
    return found


def _of_archive(part: ArchivePart) -> list[RedFinding]:
    """What is wrong with the archive itself. That rows are missing from it is a check of their step, and so among its findings."""
    found = [
        RedFinding(
            kind="archive",
            where=step.step,
            what=f"{_many(step.unsealed, 'archive objects')} {'is' if step.unsealed == 1 else 'are'} not sealed: "
            "without a manifest beside, and without the bucket’s lock.",
            do="No row is lost: each object was compared before its rows were deleted. The next purge of the step seals what is left; "
            "clearing the task `purge` does it now.",
        )
        for step in part.steps
        if step.unsealed
    ]
    if part.protection is not None and (words := _unprotected(part.protection)) is not None:
        found.append(RedFinding(kind="archive", where="The archive’s bucket", what=words[0], do=words[1]))
    return found


def _unprotected(bucket: Protection) -> tuple[str, str] | None:
    """None when something protects the objects; what merely lacks is said in the archive's own part of the report."""
    if not bucket.read:
        return "It did not answer, so it is unknown what protects the archive.", "Look at the connection `archive_s3`, then at the store."
    if not bucket.exists:
        return "It does not exist.", "Create it, with versions and object lock, or correct the extra of the connection `archive_s3`."
    if bucket.protects:
        return None
    return (
        f"Nothing protects what is in it: {'; '.join(bucket.lacks)}.",
        "Switch its versions on. Object lock exists from a bucket’s creation only: make a new one, and name it in `archive_s3`.",
    )


def _quarantined(step: StepReport) -> tuple[str, str] | None:
    """What is wrong with the clocks, and who corrects them by when; None when every clock can be believed."""
    q, unit = step.quarantined, step.unit
    if q.total is None:
        return "It could not be counted how many clocks cannot be believed.", "Run the same plan again once the store can be counted."
    if not q.total:
        return None
    parts = [
        f"{number(n)} {what}"
        for n, what in ((q.null, "with none"), (q.future, "in the future"), (q.early, "from before the service began"))
        if n
    ]
    by = f" by {day(q.look_by)}" if q.look_by else ""
    owner = f"Owner: {q.owner}." if q.owner else "The catalog names no owner: write one there (`owner`)."
    return (
        f"{_many(q.total, unit)} {'has' if q.total == 1 else 'have'} a clock that cannot be believed: {', '.join(parts)}.",
        f"{owner} Correct the clocks at the source{by}; until then age never deletes these {unit}.",
    )


def _many(count: int, unit: str, kind: str = "") -> str:
    """1 due row, 2 due rows."""
    return f"{number(count)} {kind}{unit.removesuffix('s') if count == 1 else unit}"
