"""A named person's approval of a plan that goes beyond its guard, in the Airflow UI. A timeout is a refusal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException


class PlanApproval(ApprovalOperator):
    """Lets a plan within its guard, or approved beforehand, pass at once; waits for a person otherwise.

    Whoever answers is recorded from the operator's own result. A refusal, or no answer in time, skips everything up to the
    task that records the run.
    """

    template_fields = ("subject", "body", "digest", "attempt")

    def __init__(self, *, digest: Any, attempt: Any, response_timeout: timedelta = timedelta(hours=20), **kwargs: Any) -> None:
        super().__init__(subject="A plan waits for approval", response_timeout=response_timeout, **kwargs)
        self.digest = digest
        self.attempt = attempt

    def execute(self, context: Any) -> Any:
        """Passes, or writes what is out of the ordinary for a person to decide on and waits."""
        from lethe.airflow.connections import from_airflow
        from lethe.retention import guard_run
        from lethe.workspace import Workspace

        verdict = guard_run(Workspace.open(from_airflow), self.digest, int(self.attempt))
        if not verdict.waits:
            return verdict.summary
        self.subject = f"Plan {self.digest[:12]} goes beyond its guard"
        self.body = verdict.markdown
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Records who answered what; a refusal or a timeout skips the purge."""
        from lethe.airflow.connections import from_airflow
        from lethe.retention import decide_run
        from lethe.workspace import Workspace

        workspace = Workspace.open(from_airflow)
        try:
            result = HITLResult(super(ApprovalOperator, self).execute_complete(context, event))
        except HITLTimeoutError:
            decide_run(workspace, self.digest, int(self.attempt), approved=False, by="nobody", answered=False)
            raise AirflowSkipException("Nobody answered in time: refused.") from None
        decide_run(workspace, self.digest, int(self.attempt), approved=result.approved, by=result.by, at=result.at)
        if not result.approved:
            raise AirflowSkipException("Refused: nothing of this plan is deleted.")
        return result.by


class HITLResult:
    """What the person chose, and who it was."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self.approved = payload["chosen_options"] == [ApprovalOperator.APPROVE]
        user = payload.get("responded_by_user") or {}
        self.by = str(user.get("id") or user.get("name") or "unknown")
        self.at = payload["responded_at"]
