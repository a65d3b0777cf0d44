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
