"""One notifier for every DAG: e-mail, Slack or a webhook, whichever URLs the connection `lethe_alerts` names.

An alert says what happened, in which rule and table, how many rows, and what is safe to do now. It is made of the error's own
text, which never carries personal data; anything that is not a `LetheError` is named by its type alone.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseNotifier

from lethe.errors import LetheError, Unreachable

CONNECTION = "lethe_alerts"


class AlertNotLeft(LetheError):
    """No channel took an alert, so that silence would be read as health."""


class Alert(BaseNotifier):
    """Tells people that a task failed. Used as `on_failure_callback`."""

    def notify(self, context: Any) -> None:
        """Sends one message through every URL of the connection; raises AlertNotLeft when one does not take it."""
        send(*message(context))


class RunAlert(BaseNotifier):
    """Tells people that a DAG run ended without any task of it failing: it took too long, or nothing could go on.

    Used as a DAG's `on_failure_callback`. A failed task has sent its own alert, which knows the error: one failure is told once.
    """

    def notify(self, context: Any) -> None:
        """Sends one message, unless the run failed by a task; raises AlertNotLeft when a channel does not take it."""
        if context.get("reason") != "task_failure":
            send(*run_message(context))


class PlanWaits(BaseNotifier):
    """Tells people that a plan waits for one of them. A channel that fails is an error in the log, and the plan waits all the same: it can
    be answered, and no answer is a refusal, which alerts again."""

    template_fields = ()

    def __init__(self, *, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Sends one message; never ends the wait that it tells of."""
        try:
            send(*waiting_message(context, self.text))
        except AlertNotLeft as error:
            self.log.error("Nobody was told that a plan waits: %s", error)


class IdentityWaits(PlanWaits):
    """Tells people that a request waits for a decision on who asks, as PlanWaits does."""

    def notify(self, context: Any) -> None:
        """Sends one message; never ends the wait that it tells of."""
        try:
            send(*waiting_message(context, self.text, "a decision"))
        except AlertNotLeft as error:
            self.log.error("Nobody was told that a request waits: %s", error)


def waiting_message(context: Any, text: str, what: str = "an approval") -> tuple[str, str]:
    """The title and the text of an alert for a task that waits, with the page on which it is answered."""
    instance = context["ti"]
    lines = [
        f"DAG {instance.dag_id}, task {instance.task_id}, run {instance.run_id}.",
        text,
        f"In Airflow, under Required actions: {instance.log_url.partition('?')[0]}/required_actions",
    ]
    return f"Lethe: {instance.dag_id} waits for {what}", "\n".join(lines)


def run_message(context: Any) -> tuple[str, str]:
    """The title and the text of an alert for a DAG run's context, which may name no task."""
    dag = context["dag"].dag_id
    run = context.get("run_id") or context["dag_run"].run_id
    why = {"timed_out": "It took too long and was ended; tasks that had not finished were skipped, `record` among them."}
    lines = [
        f"DAG {dag}, run {run}.",
        why.get(context.get("reason") or "", "It failed without a failed task."),
        "Safe to do now: clear its unfinished tasks. A run takes up its stored plan and never deletes anything twice.",
    ]
    return f"Lethe: {dag} needs you", "\n".join(lines)


def message(context: Any) -> tuple[str, str]:
    """The title and the text of an alert for a task's context."""
    instance = context["ti"]
    error = context.get("exception")
    lines = [f"DAG {instance.dag_id}, task {instance.task_id}, run {instance.run_id}."]
    if isinstance(error, LetheError):
        lines += [
            error.problem,
            f"Safe to do now: {error.fix or 'read the run report; the run can be started again, it takes up where it stopped.'}",
        ]
    else:
        lines += [
            f"It ended with {type(error).__name__ if error else 'no exception, so it was killed'}.",
            "Safe to do now: clear the task. A run takes up its stored plan and never deletes anything twice.",
        ]
    return f"Lethe: {instance.dag_id} needs you", "\n".join(lines)


def send(title: str, text: str) -> None:
    """Sends through every URL of the connection `lethe_alerts` (its extra: `{"urls": ["mailto://...", "slack://..."]}`).

    Raises AlertNotLeft when the connection is not set, names no URL, or a channel refused.
    """
    import apprise

    from lethe.airflow.connections import from_airflow

    try:
        urls = from_airflow(CONNECTION).extra.get("urls", [])
    except Unreachable as error:
        raise AlertNotLeft(f"An alert could not be sent: {error.problem}", fix=error.fix) from None
    urls = urls.split() if isinstance(urls, str) else urls
    channels = apprise.Apprise()
    taken = all([channels.add(url) for url in urls])
    if not urls or not taken or not channels.notify(title=title, body=text):
        raise AlertNotLeft(
            f"An alert could not be sent through {len(urls)} channel(s) of connection {CONNECTION!r}.",
            fix='Set its extra to {"urls": ["mailto://...", "slack://...", "json://..."]} and test it with `apprise`.',
        )
