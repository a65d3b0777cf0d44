"""What the task of `deadlines` does: warn of replies that are near, put on record what is owed, raise when one is due and not given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lethe.accountability.owed import Owed


def check() -> dict[str, Any]:
    """Counts by kind and stage, and the ids of what is near or red. Raises DeadlineMissed, AlertNotLeft."""
    from lethe.accountability.owed import report_deadlines
    from lethe.airflow.connections import from_airflow
    from lethe.airflow.notifier import send
    from lethe.instants import now
    from lethe.workspace import Workspace

    with Workspace.open(from_airflow) as workspace:
        return report_deadlines(workspace, at=now(), tell=lambda near: send(*warning(near)))


def warning(near: Sequence[Owed]) -> tuple[str, str]:
    """The title and the text of an alert for replies whose deadlines are near: ids, kinds and days."""
    from lethe.accountability.owed import MOST_NAMED

    title = f"{len(near)} {'reply is' if len(near) == 1 else 'replies are'} due soon"
    lines = [f"{title}, and not given:"]
    for each in near[:MOST_NAMED]:
        law = f", by law by {each.legal.raw}{' (extended)' if each.extended else ''}" if each.legal else ""
        lines.append(f"- {each.request}: {each.kind.replace('_', ' ')}, {each.state.replace('_', ' ')}, reply by {each.reply_on}{law}")
    if len(near) > MOST_NAMED:
        lines.append(f"- and {len(near) - MOST_NAMED} more")
    lines.append(
        "Each is told of once. From the day of the reply on the DAG `deadlines` is red until it is given. `lethe request list` shows all."
    )
    return f"Lethe: {title}", "\n".join(lines)
