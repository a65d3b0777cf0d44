"""Which replies are owed, and how near their deadlines are: warned on business day 3, red on day 5, the legal deadline beside it.

The clock of a request or a question runs from the day of receipt until it is answered, whatever it waits for meanwhile. Reads and writes
`lethe_db` alone; ids, kinds, states and days only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from lethe.control.owed import claim_warnings, owed_requests
from lethe.control.requests import NO_LEGAL_DEADLINE, Request, RequestKind, RequestState
from lethe.deadlines import Due, next_business_day, received_on, request_due
from lethe.deadlines.dates import legal_warned_on
from lethe.errors import DeadlineMissed, LetheError
from lethe.evidence.ledger import append
from lethe.policy.model import PolicyVersion
from lethe.workspace import Workspace

MOST_NAMED = 20
"""Requests that an error or an alert names; the rest is a number."""

_MOST_IN_EVIDENCE = 100


class Stage(StrEnum):
    """How near the promised reply is: warned from the day that the policy says, red from the day of the reply on."""

    FINE = "fine"
    WARN = "warn"
    RED = "red"


class LegalStage(StrEnum):
    """How near the deadline of the law is: near before the earlier of its two days, over when the later one is past."""

    FINE = "fine"
    NEAR = "near"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class Owed:
    """A reply that is owed. `legal` is the deadline of Article 12(3), the extended one where it was extended; None where there is none."""

    request: str
    kind: RequestKind
    state: RequestState
    received_on: date
    warn_on: date
    reply_on: date
    stage: Stage
    legal: Due | None
    extended: bool
    legal_stage: LegalStage | None

    @property
    def near(self) -> tuple[str, ...]:
        """The deadlines that whoever answers is to be warned of now, as `deadline_warnings` names them."""
        found = ("reply",) if self.stage is Stage.WARN else ()
        return (*found, "extended" if self.extended else "legal") if self.legal_stage is LegalStage.NEAR else found

    @property
    def missed(self) -> bool:
        """Is the reply due and not given, by the promise or, where a company promises none so soon, by the law?"""
        return self.stage is Stage.RED or self.legal_stage is LegalStage.OVER


Tell = Callable[[Sequence[Owed]], None]
"""Tells whoever answers of replies whose deadlines are near; raises a LetheError when nobody could be told."""


def check_deadlines(workspace: Workspace, at: datetime) -> tuple[Owed, ...]:
    """Every reply that is owed at an instant, the one due first at the top. Changes nothing.

    Raises NotInForce when there is no policy at that instant, DeadlineUnknown when it has no zone.
    """
    policy = workspace.policy(at)
    with workspace.control.connect() as connection:
        return tuple(owed(request, policy, at=at) for request in owed_requests(connection))


def owed(request: Request, policy: PolicyVersion, *, at: datetime) -> Owed:
    """How far the clock of a request is that nobody has answered. Pure. Raises DeadlineUnknown.

    The days that the person was told (`reply_due_on`, `legal_due_on`, `extended_to`) count, also after a change of the policy.
    """
    terms, zone = policy.deadlines, policy.time_zone
    today = received_on(at, zone=zone)
    counted = request_due(request.received_at, zone=zone, terms=terms)
    stage = Stage.RED if today >= request.reply_due_on else Stage.WARN if today >= counted.warn_on else Stage.FINE
    legal, legal_stage = None, None
    if request.kind not in NO_LEGAL_DEADLINE:
        raw = request.extended_to or request.legal_due_on
        legal = Due(raw=raw, rolled=next_business_day(raw, alsace_moselle=terms.alsace_moselle))
        near = today >= legal_warned_on(raw, terms)
        legal_stage = LegalStage.OVER if today > legal.rolled else LegalStage.NEAR if near else LegalStage.FINE
    return Owed(
        request=request.id,
        kind=request.kind,
        state=request.state,
        received_on=counted.received_on,
        warn_on=counted.warn_on,
        reply_on=request.reply_due_on,
        stage=stage,
        legal=legal,
        extended=request.extended_to is not None,
        legal_stage=legal_stage,
    )


def report_deadlines(workspace: Workspace, *, at: datetime, tell: Tell) -> dict[str, Any]:
    """Tells of what is near, once for each request and deadline, and puts `deadlines.checked` on record; its body.

    What nobody could be told of is told by the next call. Raises DeadlineMissed, after the record, while any reply is due and not given;
    otherwise what `tell` raised; what `check_deadlines` raises.
    """
    found = check_deadlines(workspace, at)
    near = {(each.request, deadline) for each in found for deadline in each.near}
    told: frozenset[tuple[str, str]] = frozenset()
    failed: LetheError | None = None
    with workspace.control.begin() as control:
        try:
            with control.begin_nested():  # what was claimed and not told is given back
                claimed = claim_warnings(control, near, at=at)
                if claimed:
                    tell([each for each in found if any((each.request, deadline) in claimed for deadline in each.near)])
            told = claimed
        except LetheError as error:
            failed = error
        body = _evidence(found, told, at=at)
        append(control, "deadlines.checked", body, at=at)  # last: the ledger is locked from here on
    if body["red"]:
        raise _missed(found, today=received_on(at, zone=workspace.policy(at).time_zone), untold=failed) from failed
    if failed:
        raise failed
    return body


def _evidence(found: Sequence[Owed], told: frozenset[tuple[str, str]], *, at: datetime) -> dict[str, Any]:
    """Small, however many are open: counts of all, ids of the first of those that somebody has to act on."""
    stages = Counter((each.kind.value, each.stage.value) for each in found)
    legal = Counter(each.legal_stage.value for each in found if each.legal_stage not in (None, LegalStage.FINE))
    red = [each.request for each in found if each.missed]
    warned = [each.request for each in found if each.stage is Stage.WARN and not each.missed]
    return {
        "at": at.isoformat(),
        "outcome": "missed" if red else "clean",
        "open": len(found),
        "stages": {kind: {s: n for (k, s), n in sorted(stages.items()) if k == kind} for kind in sorted({k for k, _ in stages})},
        "legal": dict(sorted(legal.items())),
        "warned": warned[:_MOST_IN_EVIDENCE],
        "red": red[:_MOST_IN_EVIDENCE],
        "told": [f"{request}:{deadline}" for request, deadline in sorted(told)][:_MOST_IN_EVIDENCE],
    }


def _missed(found: Sequence[Owed], *, today: date, untold: LetheError | None) -> DeadlineMissed:
    red = [each for each in found if each.missed]
    named = "; ".join(_named(each, today) for each in red[:MOST_NAMED])
    more = f"; and {len(red) - MOST_NAMED} more" if len(red) > MOST_NAMED else ""
    also = " And nobody could be told of others that are near: the next check tells of them." if untold else ""
    return DeadlineMissed(
        f"{len(red)} {'reply is' if len(red) == 1 else 'replies are'} due and not given: {named}{more}.{also}",
        fix="Answer them now; `lethe request list` shows all. `lethe request answered ID` says that one was answered by hand.",
    )


def _named(each: Owed, today: date) -> str:
    late = (today - each.reply_on).days
    days = f"{abs(late)} {'day' if abs(late) == 1 else 'days'}"
    since = "today" if not late else f"{days} ago" if late > 0 else f"in {days}"
    text = f"{each.request} ({each.kind}, {each.state}): reply due {each.reply_on}, {since}"
    if each.legal is None or each.legal_stage is LegalStage.FINE:
        return text
    return f"{text}, by law {'was due' if each.legal_stage is LegalStage.OVER else 'by'} {each.legal.rolled}"
