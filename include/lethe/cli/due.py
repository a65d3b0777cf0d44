"""`lethe due`: until when. It reads the policy files and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lethe.cli.output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from lethe.deadlines.dates import Dates
    from lethe.policy.load import PolicyBook
    from lethe.policy.model import PolicyVersion
    from lethe.policy.period import Period

_WHAT = ("question", "request", "incident", "notice", "row")


def due(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"{', '.join(_WHAT)}.")],
    at: Annotated[
        str,
        typer.Argument(
            metavar="INSTANT",
            help="With its zone. question, request: when it came in; incident: when it became known; notice: when the version takes effect "
            "(a day will do); row: the instant that ages it.",
        ),
    ],
    period: Annotated[str | None, typer.Option(help="Of a row only: how long it is kept, such as P12M.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every date that follows from an instant, each with its rule: replies, legal deadlines, incidents, notices, rows.

    The periods are those of the policy in force at the instant; before the first version, those of the first.
    """
    from lethe import settings
    from lethe.errors import DeadlineUnknown, UnknownName
    from lethe.policy.load import load_policies

    if what not in _WHAT:
        raise UnknownName("There is no deadline of that kind.", fix=f"Choose one of: {', '.join(_WHAT)}.")
    if (what == "row") != (period is not None):
        raise DeadlineUnknown("A row has a period, and nothing else has one.", fix="Write: lethe due row --period P12M INSTANT.")
    kept = _period(period) if period is not None else None
    given = _instant(at, day_will_do=what == "notice")
    policy = _policy(load_policies(settings.policy_dir()), given)
    dates = _dates(what, given, kept, policy)
    shown = given.isoformat()
    if as_json:
        print_json(
            {
                "what": what,
                "instant": shown,
                **({"period": str(kept)} if kept else {}),
                "time_zone": policy.time_zone,
                "alsace_moselle": policy.deadlines.alsace_moselle,
                "policy": policy.version,
                "dates": {name: {"due": dated.due.isoformat(), "rule": dated.rule} for name, dated in dates.items()},
            }
        )
        return
    rows = [(name, dated.due.isoformat(), dated.due.strftime("%a"), dated.rule) for name, dated in dates.items()]
    print_table(f"{what.capitalize()} of {shown}, policy {policy.version}", ("date", "due", "day", "rule"), rows)


def _dates(what: str, given: datetime | date, period: Period | None, policy: PolicyVersion) -> Dates:
    from lethe.deadlines import dates, received_on

    zone, terms = policy.time_zone, policy.deadlines
    if not isinstance(given, datetime):
        return dates.notice_dates(given, zone=zone, terms=terms)
    if what == "notice":
        return dates.notice_dates(received_on(given, zone=zone), zone=zone, terms=terms)
    if period is not None:
        return dates.row_dates(given, period, zone=zone)
    counted = {"question": dates.question_dates, "request": dates.request_dates, "incident": dates.incident_dates}
    return counted[what](given, zone=zone, terms=terms)


def _instant(text: str, *, day_will_do: bool) -> datetime | date:
    """What was typed, as an instant with its zone, or as a day. Raises DeadlineUnknown, which repeats nothing of it."""
    from lethe.errors import DeadlineUnknown

    fix = "Write it as 2026-11-23T02:00:00+01:00."
    try:
        if day_will_do and len(text) == len("2027-01-01"):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise DeadlineUnknown("INSTANT has no time zone, so it is no instant.", fix=fix)
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DeadlineUnknown("INSTANT is no instant.", fix=fix) from None
    return found


def _period(text: str) -> Period:
    from lethe.errors import DeadlineUnknown
    from lethe.policy.period import Period

    try:
        return Period(text)
    except (ValueError, OverflowError):
        raise DeadlineUnknown("--period is no period.", fix="Write calendar days, months or years: P30D, P12M, P5Y.") from None


def _policy(book: PolicyBook, on: datetime | date) -> PolicyVersion:
    from lethe.errors import DeadlineUnknown, NotInForce

    try:
        return book.in_force(on)
    except NotInForce:
        return book.versions[0]
    except OverflowError:
        raise DeadlineUnknown("INSTANT lies outside every calendar.", fix="Look at its year.") from None
