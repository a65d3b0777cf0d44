"""What the tasks of `subject_export` do: request by request, so that one that fails keeps no other waiting. Ids, counts and outcomes only."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lethe.airflow.params import MOST_REQUESTS
from lethe.errors import ExportFailed, LetheError, RequestRefused, StoreBusy, Unreachable

if TYPE_CHECKING:
    from lethe.subjects.locating import Finder
    from lethe.workspace import Workspace

_ID = re.compile(r"R-[0-9]{4}-[0-9A-HJKMNP-TV-Z]{8}")
_TOLD_EVERY = 25
log = logging.getLogger(__name__)


def check(context: Any) -> list[str]:
    """The requests whose identity is still to be decided; pushes all of the run as `requests`, in order, each once.

    Raises RequestRefused for a list that a form let through, UnknownName for an id that no request has.
    """
    from lethe.subjects.readiness import undecided

    asked = request_ids(context["params"].get("requests"))
    with _workspace() as workspace:
        waiting = undecided(workspace, asked)
    context["ti"].xcom_push(key="requests", value=asked)
    return waiting


def export(context: Any) -> dict[str, Any]:
    """Stores the bundle of each request whose identity is accepted; rows by request. Those that are not decided or refused are left."""
    from lethe.subjects.exporting import export_request

    return _each(context, ("accepted", "located"), lambda f, r, by, at: sum(export_request(f, r, by=by, at=at).counts.values()))


def verify(context: Any) -> dict[str, Any]:
    """Has each stored bundle judged; the state by request."""
    from lethe.subjects.judging import judge_request

    return _each(context, ("located",), lambda f, r, by, at: judge_request(f, r, by=by, at=at).state)


def answer(context: Any) -> dict[str, Any]:
    """Answers each request whose bundle is verified; the kind of answer by request. Raises when anything before it failed."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lethe.airflow.night import failed_tasks
    from lethe.subjects.answering import answer_request

    try:
        answered = _each(context, ("located",), lambda f, r, by, at: answer_request(f, r, by=by, at=at))
    except AirflowSkipException:
        answered = {}  # not yet: the last task decides whether the run is red (invariant 13)
    if failed := failed_tasks(context["ti"]):
        raise ExportFailed(
            f"Before the answers, these failed: {', '.join(failed)}.", fix="Their logs say which request, and what to do; then clear them."
        )
    if not answered:
        raise AirflowSkipException("No request of this run is ready to be answered.")
    return answered


def _each(context: Any, states: Sequence[str], act: Callable[[Finder, str, str, datetime], Any]) -> dict[str, Any]:
    """Acts on each request of the run that is in one of these states. What fails is logged by request, and raised at the end."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lethe.instants import now
    from lethe.subjects.locating import Finder
    from lethe.subjects.readiness import in_state

    asked = context["ti"].xcom_pull(task_ids="check", key="requests")
    if not asked:
        raise AirflowSkipException("There is no request to act on.")
    by = context["dag_run"].triggering_user_name or "airflow"
    done: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    with _workspace() as workspace:
        finder = Finder(workspace)
        for number, request in enumerate(asked, start=1):
            if not in_state(workspace, request, states):
                continue
            try:
                done[request] = act(finder, request, by, now())
            except LetheError as error:
                log.error("Request %s: %s: %s", request, type(error).__name__, error)
                failed[request] = error
            except Exception as error:  # of a library: its text, and that of its traceback, may quote a row
                log.error("Request %s: %s, whose text is not told here", request, type(error).__name__)
                failed[request] = error
            if number % _TOLD_EVERY == 0:
                log.info("%d of %d requests looked at, %d done, %d failed", number, len(asked), len(done), len(failed))
    if failed:
        raise together(failed)
    if not done:
        raise AirflowSkipException("No request of this run is ready for this.")
    return done


def together(failed: Mapping[str, Exception]) -> LetheError:
    """One error for all: Unreachable when waiting may mend every one of them, so that Airflow tries again."""
    names = ", ".join(f"{request} ({type(error).__name__})" for request, error in list(failed.items())[:20])
    text = f"{len(failed)} requests failed: {names}."
    if all(isinstance(e, (Unreachable, StoreBusy)) for e in failed.values()):
        return Unreachable(text, fix="The log says what did not answer. What was done is not done twice.")
    return ExportFailed(text, fix="The log says for each what to do; then clear this task. What was done is not done twice.")


def request_ids(given: Any) -> list[str]:
    """The ids of a run's requests, each once, in order. Raises RequestRefused for a list that a form let through; no text repeats it."""
    if not isinstance(given, list) or not given or len(given) > MOST_REQUESTS:
        raise RequestRefused(f"A run answers between one and {MOST_REQUESTS:,} requests.", fix="Give their ids as a list.")
    if not all(isinstance(each, str) and _ID.fullmatch(each) for each in given):
        raise RequestRefused(
            "Not everything in the list is a request's id.", fix="An id is written as R-2026-7K3M9QWX. Nothing else may be typed there."
        )
    return list(dict.fromkeys(given))


def _workspace() -> Workspace:
    from lethe.airflow.connections import from_airflow
    from lethe.workspace import Workspace

    return Workspace.open(from_airflow)
