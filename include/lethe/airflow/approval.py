"""A named person's approval of a plan that goes beyond its guard, in the Airflow UI. A timeout is a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.hitl import HITLUser

from lethe import settings
from lethe.airflow.notifier import PlanWaits


class PlanApproval(ApprovalOperator):
    """Lets a plan within its guard, or approved beforehand, pass at once; waits for a person otherwise.

    `LETHE_APPROVERS` says who may answer; Airflow refuses everybody else. Whoever answers is recorded from the operator's own result.
    A refusal, no answer in time, or an approval by whoever started the run skips everything up to the task that records the run; so does
    a plan that was refused before.
    """

    template_fields = ("subject", "body", "digest", "attempt")

    def __init__(self, *, digest: Any, attempt: Any, response_timeout: timedelta = timedelta(hours=20), **kwargs: Any) -> None:
        super().__init__(subject="A plan waits for approval", response_timeout=response_timeout, **kwargs)
        self.digest = digest
        self.attempt = attempt

    def execute(self, context: Any) -> Any:
        """Passes, or writes what is out of the ordinary for a person to decide on, tells people, and waits."""
        from lethe.airflow.connections import from_airflow
        from lethe.errors import NotApproved
        from lethe.retention import guard_run
        from lethe.workspace import Workspace

        try:
            verdict = guard_run(Workspace.open(from_airflow), self.digest, int(self.attempt))
        except NotApproved as refused:  # in an earlier run, or in a try of this one that ended after its answer was on record
            raise AirflowSkipException(str(refused)) from None
        if not verdict.waits:
            return verdict.summary
        self.subject = f"Plan {self.digest[:12]} goes beyond its guard"
        self.body = verdict.markdown
        self.assigned_users = assigned(settings.approvers(), started_by(context))
        # Not as one of `notifiers`, which are called when the plan can be answered and the task does not wait yet: Airflow loses an answer
        # that comes in between.
        PlanWaits(text=verdict.notice)(context)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Records who answered what; what is no approval skips the purge."""
        from lethe.airflow.connections import from_airflow
        from lethe.retention import decide_run
        from lethe.workspace import Workspace

        workspace = Workspace.open(from_airflow)
        run = (self.digest, int(self.attempt))
        try:
            answer = Answer(super(ApprovalOperator, self).execute_complete(context, event))
        except HITLTimeoutError:
            if decide_run(workspace, *run, approved=False, by=None, answered=False):
                return "approved beforehand"
            raise AirflowSkipException("Nobody answered in time: refused.") from None
        passes = decide_run(
            workspace,
            *run,
            approved=answer.approved,
            by=answer.by,
            at=answer.at,
            also_known_as=answer.names,
            started_by=started_by(context),
        )
        if passes:
            return answer.by
        if answer.approved:
            raise AirflowSkipException("Refused: a plan is approved by a named person other than the one who started the run.")
        raise AirflowSkipException("Refused: nothing of this plan is deleted.")


class Answer:
    """What the person chose, and who it was: `by` is None when Airflow names nobody."""

    def __init__(self, payload: Any) -> None:
        user = payload.get("responded_by_user") or {}
        self.names = tuple(str(user[key]) for key in ("id", "name") if user.get(key))
        self.by = self.names[0] if self.names else None
        self.approved = payload["chosen_options"] == [ApprovalOperator.APPROVE]
        self.at = payload["responded_at"]


def started_by(context: Any) -> str | None:
    """Who started a run by hand; None for a scheduled one."""
    return context["dag_run"].triggering_user_name or None


def assigned(approvers: Sequence[str], starter: str | None) -> list[HITLUser] | None:
    """Who may answer, for Airflow to refuse everybody else: the approvers that are set, but for whoever started the run.

    None, so that nobody is kept out, when none is set. Somebody stays when the starter is the only one: an empty list would let all in.
    """
    others = [name for name in approvers if starter is None or name.casefold() != starter.casefold()]
    return [{"id": name, "name": name} for name in others or approvers] or None
