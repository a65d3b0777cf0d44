"""What the tasks of `processor_list` do: make the list, warn of agreements that end, answer who asked. Ids, counts, keys and digests only."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

from lethe.airflow.exporting import request_ids, together
from lethe.errors import BadAsOf, LetheError
from lethe.instants import now
from lethe.workspace import Workspace

log = logging.getLogger(__name__)


def publish(context: Any) -> dict[str, Any]:
    """Makes, stores and checks the list; what is recorded of it. Raises UntrueList on findings, after the evidence."""
    from lethe.accountability.listing import make_list

    params = context["params"]
    with _workspace() as workspace:
        made = make_list(workspace, as_of=_day(params.get("as_of"), "as_of"), since=_day(params.get("since"), "since"))
    return {name: made[name] for name in ("as_of", "since", "list", "folder", "processors", "recipients", "changes", "files")}


def warn(context: Any) -> int:
    """Tells people of agreements that end soon and are not renewed, in one message; how many. None of them makes the run red."""
    from lethe.accountability.listing import draft
    from lethe.airflow.notifier import send

    with _workspace() as workspace:
        ending = draft(workspace, as_of=_day(context["params"].get("as_of"), "as_of"), at=now()).listed.ending
    if ending:
        lines = [f"{e.id}: agreement {e.reference} is over after {e.last_day}, in {e.days_left} days, and none follows." for e in ending]
        fix = "Renew each and add a version to processors.yaml, or end the entry there: from the next day on the list would be refused."
        send(f"Lethe: {len(ending)} agreements of processors end soon", "\n".join([*lines, fix]))
    return len(ending)


def answer(context: Any) -> dict[str, str]:
    """Answers the requests of the run, or every open one of the kind, with the list as of today; the outcome by request."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lethe.accountability.answering import answer_list, current, waiting

    given = context["params"].get("requests")
    by = context["dag_run"].triggering_user_name or "airflow"
    done: dict[str, str] = {}
    failed: dict[str, Exception] = {}
    with _workspace() as workspace:
        asked = request_ids(given) if given else waiting(workspace)
        if not asked:
            raise AirflowSkipException("Nobody waits for the list.")
        drafted = current(workspace, at=now())
        for request in asked:
            try:
                sent = answer_list(workspace, request, by=by, at=now(), channel="airflow", drafted=drafted)
                done[request] = "answered before" if sent is None or sent.already else "sent"
            except LetheError as error:
                log.error("Request %s: %s: %s", request, type(error).__name__, error)
                failed[request] = error
            except Exception as error:  # of a library: its text, and that of its traceback, may quote an address
                log.error("Request %s: %s, whose text is not told here", request, type(error).__name__)
                failed[request] = error
    if failed:
        raise together(failed)
    return done


def _day(given: Any, name: str) -> date | None:
    if given is None or given == "":
        return None
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise BadAsOf(f"{name} is no day.", fix="Write it as 2026-11-28.") from None


def _workspace() -> Workspace:
    from lethe.airflow.connections import from_airflow

    return Workspace.open(from_airflow)
