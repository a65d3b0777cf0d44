"""Every date that follows from an instant, each with the rule that makes it: what `lethe due` prints. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from lethe.deadlines.business import known
from lethe.deadlines.counting import hours_after, last_notice, midnight, request_due, row_due
from lethe.policy.period import Period
from lethe.policy.terms import Terms


@dataclass(frozen=True, kw_only=True)
class Dated:
    """A day, or an instant in the policy's zone, and the rule it follows from."""

    due: date | datetime
    rule: str


Dates = Mapping[str, Dated]
"""By name, in the order of time as far as it is known beforehand."""


def question_dates(received_at: datetime, *, zone: str, terms: Terms) -> Dates:
    """Of a question to the contact address. Raises DeadlineUnknown, as every function here does."""
    found = request_due(received_at, zone=zone, terms=terms)
    return {
        "received": Dated(due=found.received_on, rule=f"The day of receipt in {zone}; it does not count."),
        "warned": Dated(due=found.warn_on, rule=f"{_counted(terms.warned)}: who answers is warned from 00:00 on."),
        "reply": Dated(
            due=found.reply_on, rule=f"{_counted(terms.reply)}, as the policy promises: red from 00:00 on, until it is answered."
        ),
    }


def request_dates(received_at: datetime, *, zone: str, terms: Terms) -> Dates:
    """Of a request of a person: the same, and the deadline of the law."""
    found, law = request_due(received_at, zone=zone, terms=terms), "GDPR, Article 12(3)"
    before = _words(terms.legal_warned)
    rolled = "the last day by law: that day where people work on it, else the next business day"
    return {
        **question_dates(received_at, zone=zone, terms=terms),
        "legal_warned": Dated(
            due=legal_warned_on(found.legal.raw, terms), rule=f"{before} before the earlier of the two: who answers is warned."
        ),
        "legal": Dated(due=found.legal.raw, rule=f"{_words(terms.legal)} after receipt, clamped to the end of the month ({law})."),
        "legal_rolled": Dated(due=found.legal.rolled, rule=f"{_first_up(rolled)} ({law}; Regulation 1182/71, Article 3(4))."),
        "extended_warned": Dated(
            due=legal_warned_on(found.extended.raw, terms), rule=f"{before} before the earlier of the two, where it was extended."
        ),
        "extended": Dated(
            due=found.extended.raw, rule=f"{_words(terms.extended)} after receipt, where it was extended by two further months ({law})."
        ),
        "extended_rolled": Dated(due=found.extended.rolled, rule=f"Where it was extended, {rolled}."),
    }


def incident_dates(aware_at: datetime, *, zone: str, terms: Terms) -> Dates:
    """Of a personal data breach, from the instant at which it became known."""
    at = hours_after(aware_at, terms.incident_hours, zone=zone)
    elapsed = f"{terms.incident_hours} elapsed hours after it became known"
    return {
        "authority": Dated(due=at, rule=f"{elapsed}: the authority, for controller data (GDPR, Article 33(1))."),
        "persons": Dated(due=at, rule=f"{elapsed}: every affected person, for controller data, as the policy promises (GDPR, Article 34)."),
        "tenants": Dated(
            due=at,
            rule=f"Without undue delay, at most {elapsed}: the tenants, for processor data; never their clients (GDPR, Article 33(2)).",
        ),
    }


def notice_dates(effective_on: date, *, zone: str, terms: Terms) -> Dates:
    """Of a version of the policy that takes effect at 00:00 of a local day."""
    return {
        "last_send": Dated(
            due=last_notice(effective_on, terms.notice, zone=zone),
            rule=f"{_words(terms.notice)}, whole ones in {zone}, before it takes effect: a later send is too late.",
        ),
        "effective": Dated(due=midnight(known(effective_on), zone), rule="It takes effect at 00:00 of its day."),
    }


def row_dates(made: datetime, period: Period, *, zone: str) -> Dates:
    """Of a row: the first instant as of which a run finds it due."""
    first = row_due(made, period, zone=zone)
    return {"due": Dated(due=first, rule=f"{_words(period)} in {zone}: kept through that day, due from 00:00 of the next one.")}


def legal_warned_on(raw: date, terms: Terms) -> date:
    """From when on who answers is warned of a legal deadline that is, not rolled, on the day `raw`."""
    return date.fromordinal(raw.toordinal() - terms.legal_warned.days)


def _counted(period: Period) -> str:
    return f"Business day {period.business_days} after receipt" if period.business_days else f"{_words(period)} after receipt"


def _words(period: Period) -> str:
    parts = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((period.months, "month"), (period.days, "day")) if n]
    return f"{' and '.join(parts) or 'No time'} ({period})"


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
