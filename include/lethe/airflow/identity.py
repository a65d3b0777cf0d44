"""A named person's decision on who asks, in the Airflow UI. No answer in time is no acceptance.

Nothing but the request's id, choices, dates and counts travels through Airflow: who asks is read at a terminal, and is on record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

from lethe import settings
from lethe.airflow.approval import assigned, started_by
from lethe.airflow.hold_form import LOGIN
from lethe.airflow.identity_options import NEEDS_NO_IDENTITY, OPTIONS
from lethe.airflow.notifier import IdentityWaits

if TYPE_CHECKING:
    from lethe.control.requests import Request
    from lethe.workspace import Workspace

OURSELVES = "airflow"
"""Who moves a request on when the run's starter has a name that is no login."""


class IdentityDecision(HITLOperator):
    """Passes at once when it is known who asks; otherwise waits for a person who accepts, refuses, or asks for more.

    `request` is a request's id, and is what the task returns. A refusal, asking for more, and no answer in time skip what is downstream;
    after the last two the request still waits, and a new run asks again. `LETHE_IDENTITY_DECIDERS` says who may answer; Airflow refuses
    everybody else, and so does the task. Whoever started the run may answer too: a request is not four eyes' business.
    """

    template_fields = ("subject", "body", "request")

    def __init__(self, *, request: Any, response_timeout: timedelta = timedelta(days=5), **kwargs: Any) -> None:
        super().__init__(
            subject="A request waits for a decision on who asks", options=list(OPTIONS), response_timeout=response_timeout, **kwargs
        )
        self.request = request

    def execute(self, context: Any) -> Any:
        """Passes, skips what was refused, or says what a person has to look at, tells people, and waits."""
        from lethe.airflow.connections import from_airflow
        from lethe.control.requests import RequestState
        from lethe.subjects.requests import move_on
        from lethe.workspace import Workspace

        with Workspace.open(from_airflow) as workspace:
            found, passes = standing(workspace, self.request)
            if passes:
                return found.id
            if found.state != RequestState.WAITING_IDENTITY:
                with workspace.control.begin() as connection:
                    found = move_on(connection, found.id, RequestState.WAITING_IDENTITY, by=login(started_by(context)) or OURSELVES)
            self.subject = f"Who asks in request {found.id}?"
            self.body = page(found, proofs_of(workspace, found.id))
        self.options = [o for o in OPTIONS if o != NEEDS_NO_IDENTITY or found.kind == "processor_list"]
        self.assigned_users = assigned(settings.identity_deciders(), None)
        # Not as one of `notifiers`: see PlanApproval.
        IdentityWaits(text=f"Request {found.id} waits for a decision on who asks. Reply by {found.reply_due_on}.")(context)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Records who answered what. What is no acceptance skips what is downstream."""
        from lethe.airflow.connections import from_airflow
        from lethe.errors import RequestRefused
        from lethe.subjects.identity import decide
        from lethe.workspace import Workspace

        with Workspace.open(from_airflow) as workspace:
            try:
                payload = super().execute_complete(context, event)
            except HITLTimeoutError:
                found, passes = standing(workspace, self.request)
                if passes:
                    return found.id  # it was accepted at a terminal meanwhile
                not_taken(workspace, found.id, by=None, why="no_answer")
                raise AirflowSkipException(f"Nobody answered in time: request {found.id} still waits. Start a new run.") from None
            user = payload.get("responded_by_user") or {}
            by = who_answers(workspace, self.request, user, settings.identity_deciders())
            decision, reason = choice(payload["chosen_options"])
            try:
                decide(workspace, self.request, decision=decision, reason=reason, by=by, channel="airflow")
            except RequestRefused as refused:
                found, passes = standing(workspace, self.request)  # decided at a terminal, or by a try of this task that ended after it
                if passes:
                    return found.id
                not_taken(workspace, found.id, by=by, why="not_allowed")
                raise AirflowSkipException(str(refused)) from None
        if decision == "accept":
            return self.request
        if decision == "refuse":
            raise AirflowSkipException("Refused: nothing is done for whoever asked.")
        raise AirflowSkipException("More is asked: store the proof with `lethe request proof`, then start a new run.")


def standing(workspace: Workspace, request_id: Any) -> tuple[Request, bool]:
    """The request, and whether it is known who asks. Raises AirflowSkipException when it was refused or is over, UnknownName."""
    from lethe.control.requests import UNDECIDED, RequestState
    from lethe.errors import UnknownName
    from lethe.subjects.requests import show

    if not isinstance(request_id, str):
        raise UnknownName("There is no request of that id.", fix="`lethe request list --all` shows them.")
    with workspace.control.connect() as connection:
        found, decisions = show(connection, request_id)
    if found.state in UNDECIDED:
        return found, False
    if found.state in (RequestState.ANSWERED, RequestState.CLOSED) or (decisions and decisions[-1].decision == "refuse"):
        raise AirflowSkipException(f"Request {found.id} is {found.state}: nothing is done for it any more.")
    return found, True


def page(found: Request, proofs: int | None) -> str:
    """What whoever decides reads: the request without who asks, and how to see that."""
    extended = f" (extended to {found.extended_to})" if found.extended_to else ""
    return "\n".join(
        [
            f"**Request {found.id}**: {found.kind.replace('_', ' ')}, by {found.channel}, received {found.received_at.isoformat(timespec='minutes')}.",
            "",
            f"Reply by {found.reply_due_on}, by law by {found.legal_due_on}{extended}.",
            "",
            f"Proofs of identity: {'not counted, the store does not answer' if proofs is None else proofs}. They are deleted by the decision.",
            "",
            "Look at both first; each look is on record:",
            "",
            "```sh",
            f"lethe request show {found.id} --identifiers",
            f"lethe request proof {found.id} --fetch DIR",
            "```",
        ]
    )


def proofs_of(workspace: Workspace, request_id: str) -> int | None:
    """How many proofs lie there; None when that cannot be counted."""
    from lethe.errors import Uncountable, Unreachable
    from lethe.subjects.proofs import count_proofs

    try:
        return count_proofs(workspace, request_id)
    except (Unreachable, Uncountable):
        return None


def who_answers(workspace: Workspace, request_id: str, user: Mapping[str, Any], deciders: Sequence[str]) -> str:
    """The login of who answered. An answer by nobody, by a name that is no login, or by somebody who may not decide is on record and skips."""
    names = [str(user[key]) for key in ("id", "name") if user.get(key)]
    by = login(names[0]) if names else None
    if by is not None and (not deciders or {n.casefold() for n in names} & {d.casefold() for d in deciders}):
        return by
    not_taken(workspace, request_id, by=by, why="nobody_named" if not names else "no_login" if by is None else "not_a_decider")
    raise AirflowSkipException("The answer is not taken: it is not by a login that may decide. The request still waits.")


def not_taken(workspace: Workspace, request_id: str, *, by: str | None, why: str) -> None:
    """Puts on record that an answer, or none, decided nothing."""
    from lethe.evidence.ledger import append

    with workspace.control.begin() as connection:
        append(connection, "request.not_decided", {"request": request_id, "by": by, "channel": "airflow", "reason": why}, run=request_id)


def login(name: str | None) -> str | None:
    """The name where it is a login; None otherwise."""
    return name if name and re.match(LOGIN + r"\Z", name) else None


def choice(options: Sequence[str]) -> tuple[str, str]:
    """The decision and reason of the one option that was chosen."""
    from lethe.errors import RequestRefused

    if len(options) != 1 or options[0] not in OPTIONS:
        raise RequestRefused("The answer is none of the choices.", fix="Start a new run and choose one.")
    return OPTIONS[options[0]]
