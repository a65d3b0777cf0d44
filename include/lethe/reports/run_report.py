"""One HTML page for one run: self-contained, no script, no outside host; for the screen, light or dark, and for paper."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lethe.frozen import Frozen
from lethe.reports import words
from lethe.reports.archive import ArchivePart
from lethe.reports.calendar import calendar
from lethe.reports.chart import chart
from lethe.reports.findings import findings
from lethe.reports.model import RunReport
from lethe.reports.whole import write_whole

_TEMPLATES = Path(__file__).parent / "templates"


class Verdict(Frozen):
    """The run's outcome in words, and its colour."""

    tone: Literal["good", "bad", "calm"]
    title: str
    text: str


class Tile(Frozen):
    """One number of the summary."""

    label: str
    value: str
    tone: Literal["good", "bad", "calm"] = "calm"
    note: str = ""


def render(report: RunReport) -> str:
    """The page, as text. The same report gives the same page, byte for byte."""
    red = findings(report)
    return (
        _environment()
        .get_template("run.html")
        .render(
            report=report,
            verdict=verdict(report),
            ran=_ran(report),
            tiles=tiles(report),
            findings=red,
            meanings=words.MEANINGS,
            calendar=calendar(report.archive.calendar) if report.archive else None,
            archived={s.step: s for s in report.archive.steps} if report.archive else {},
            charts={s.id: chart(s.histogram, s.left, s.cutoff, report.time_zone) for s in report.steps},
            instant=partial(words.instant, zone=report.time_zone),
            local_day=partial(words.local_day, zone=report.time_zone),
        )
    )


def write(report: RunReport, path: Path) -> Path:
    """Renders to `path`, whole or not at all; an older report there stays until the new one is on disk.

    Raises ReportNotWritten when the disk is full or the folder cannot be written; the run's evidence is in the ledger anyway.
    """
    write_whole(path, render(report).encode())
    return path


def verdict(report: RunReport) -> Verdict:
    """The outcome in words. Nothing is called clean that was not counted."""
    left = _sum(s.terms.survivors for s in report.steps)
    uncounted = sum(s.outcome == "unknown" for s in report.steps)
    if report.state == "refused":
        return Verdict(tone="bad", title="Refused", text="A person refused this plan, or nobody answered in time. Nothing was deleted.")
    if report.state == "waiting":
        return Verdict(
            tone="calm",
            title="Waiting for approval",
            text="The plan goes beyond its guard and waits for a named person. Nothing was deleted.",
        )
    if report.dry_run:
        due = words.number(_sum(s.terms.planned for s in report.steps))
        return Verdict(tone="calm", title="Dry run", text=f"{due} rows and objects are due. Nothing was deleted.")
    if report.outcome == "unknown" or uncounted:
        text = f"{uncounted or 'Some'} of {len(report.steps)} steps could not be counted afterwards. Nothing is claimed about them."
        return Verdict(tone="bad", title="Unknown", text=text)
    if report.outcome == "survivors" or left:
        return Verdict(
            tone="bad", title="Survivors", text=f"{words.number(left)} due rows and objects are still there, and no hold explains it."
        )
    if report.outcome == "clean" and report.problem:
        return Verdict(tone="bad", title="Clean, and yet red", text=f"No due row is left, but the night is not over: {report.problem}")
    if report.state == "failed" or report.outcome is None:
        return Verdict(
            tone="bad", title="Not finished", text=report.problem or "The run stopped before its result was counted. Nothing is claimed."
        )
    return Verdict(
        tone="good",
        title="Clean",
        text="An independent count found nothing left that was due, other than what is held or blocked. It is listed below.",
    )


def tiles(report: RunReport) -> tuple[Tile, ...]:
    """The summary: sums over the steps; one unknown makes a sum unknown. Before a run there are fewer numbers to show."""
    terms = [s.terms for s in report.steps]
    clean = sum(s.outcome == "clean" for s in report.steps)
    quarantined = _counted("Quarantined", _sum(s.quarantined.total for s in report.steps))
    if report.kind == "expiry" and _ran(report):
        return _expiry_tiles(report)
    waiting = Tile(label="Not carried out yet", value=words.number(len(report.waiting)), note="rules that wait")
    if not _ran(report):
        return (Tile(label="Due", value=words.number(_sum(t.planned for t in terms))), quarantined, waiting)
    return (
        Tile(label="Deleted", value=words.number(_sum(t.deleted for t in terms)), note=_archived(report)),
        _counted("Survivors", _sum(t.survivors for t in terms)),
        Tile(label="Held", value=words.number(_sum(t.held for t in terms)), note="kept on purpose"),
        _counted("Blocked", _sum(t.blocked for t in terms)),
        quarantined,
        Tile(label="Clean steps", value=f"{clean} of {len(report.steps)}", tone="good" if clean == len(report.steps) else "calm"),
        waiting,
    )


def _expiry_tiles(report: RunReport) -> tuple[Tile, ...]:
    part, terms = report.archive or ArchivePart(), [s.terms for s in report.steps]
    objects, anew = (_sum(getattr(s, name) for s in part.expired) for name in ("objects", "rewritten"))
    clean = sum(s.outcome == "clean" for s in report.steps)
    return (
        Tile(
            label="Rows expired",
            value=words.number(_sum(t.deleted for t in terms)),
            note=f"{words.number(objects)} objects{f', {words.number(anew)} written anew' if anew else ''}",
        ),
        _counted("Survivors", _sum(t.survivors for t in terms)),
        _counted("Held past their expiry", _sum(t.held for t in terms)),
        Tile(
            label="Rows left in the archive",
            value=words.number(sum(s.rows for s in part.shelves)),
            note=f"{words.number(sum(s.objects for s in part.shelves))} objects",
        ),
        Tile(label="Clean steps", value=f"{clean} of {len(report.steps)}", tone="good" if clean == len(report.steps) else "calm"),
    )


def _archived(report: RunReport) -> str:
    """How many of the deleted rows went to the archive first."""
    if report.archive is None or not report.archive.steps:
        return ""
    return f"{words.number(_sum(s.archived for s in report.archive.steps))} archived first"


def _ran(report: RunReport) -> bool:
    """Was anything carried out, so that a number that is missing is unknown, rather than not yet there?"""
    return not report.dry_run and report.state not in {"planned", "waiting", "refused"}


def _counted(label: str, value: int | None) -> Tile:
    return Tile(label=label, value=words.number(value), tone="bad" if value is None or value else "calm")


def _sum(numbers: Iterable[int | None]) -> int | None:
    values = list(numbers)
    return None if None in values else sum(v or 0 for v in values)


def _commands(text: str) -> Markup:
    """`text` as safe HTML, with what stands between backticks set as code."""
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(text.split("`")))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": words.number,
        "day": words.day,
        "period": words.period,
        "seconds": words.seconds,
        "size": words.size,
        "level": words.LEVELS.get,
        "outcome": words.OUTCOMES.get,
        "need": lambda name: words.NEEDS.get(name, name.replace("_", " ")),
        "commands": _commands,
        "limit": lambda name: words.LIMITS.get(name, name),
    }
    return environment
