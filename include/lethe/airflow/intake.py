"""What the tasks of `request_intake` do: take the files, sweep proofs of identity, return ids and counts; then say what is not as it must be."""

from __future__ import annotations

from typing import Any

from lethe.airflow.connections import from_airflow
from lethe.errors import IntakeUnfinished
from lethe.workspace import Workspace

BY = "request_intake"
"""Who opens and deletes, for the evidence."""


def take() -> dict[str, Any]:
    """Opens the requests of every file; returns their ids, and how many files were taken, refused, and opened without being deleted."""
    from lethe.subjects.intake import take_files

    with Workspace.open(from_airflow) as workspace:
        taken = take_files(workspace, by=BY)
    return {"requests": list(taken.requests), "files": taken.files, "refused": taken.refused, "kept": len(taken.kept)}


def sweep() -> dict[str, int]:
    """Deletes proofs of decided requests and of none; returns how many entries went."""
    from lethe.subjects import proofs

    with Workspace.open(from_airflow) as workspace:
        return {"deleted": proofs.sweep(workspace, by=BY)}


def record(context: Any) -> dict[str, int]:
    """Lists proofs and files again; raises when any is there that should not be, or a task before it failed."""
    from lethe.airflow.night import failed_tasks
    from lethe.subjects.intake import list_files
    from lethe.subjects.proofs import left_proofs

    failed = failed_tasks(context["ti"])
    with Workspace.open(from_airflow) as workspace:
        files, proofs = list_files(workspace), left_proofs(workspace)
    refused = sum(f.what == "refused" for f in files)
    kept = sum(f.what == "opened" for f in files)
    problems = [
        (", ".join(failed), "tasks failed before it: "),
        (refused, "files of requests refused: "),
        (kept, "files whose requests are opened and which are not deleted: "),
        (proofs.decided, "entries of proofs of decided requests: "),
        (proofs.unknown, "entries of proofs of no request: "),
    ]
    if any(found for found, _ in problems):
        raise IntakeUnfinished(
            "The intake is not done: " + "; ".join(f"{text}{found}" for found, text in problems if found) + ".",
            fix="`lethe request intake --list` names the files and what is wrong in them; every other file was taken. Clearing the tasks is safe.",
        )
    return {"waiting": sum(f.what == "not looked at" for f in files), "other_objects": sum(f.what == "no file of requests" for f in files)}
