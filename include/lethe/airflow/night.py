"""What the tasks of the DAGs do: read the run's context, call the library, return ids, counts and digests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lethe.airflow.connections import from_airflow
from lethe.control.runs import Pace
from lethe.errors import BadAsOf, UnknownName
from lethe.instants import now, parse_as_of
from lethe.workspace import Workspace


def plan(context: Any) -> list[dict[str, Any]]:
    """Makes, counts and stores the plan of a run; returns its groups, and pushes its digest, attempt and dry run as XComs.

    Raises BadAsOf or UnknownName for parameters that a form let through.
    """
    from lethe import retention

    params, run = context["params"], context["dag_run"]
    planned = retention.plan_run(
        Workspace.open(from_airflow),
        as_of=_as_of(params.get("as_of"), run.run_after),
        rules=_rules(params.get("rules")),
        pace=_pace(params.get("pace")),
        dry_run=_dry_run(params.get("dry_run"), run.run_type),
    )
    for key in ("digest", "attempt", "dry_run"):
        context["ti"].xcom_push(key=key, value=getattr(planned, key))
    return [] if planned.dry_run else [{"label": group.label, "steps": list(group.steps)} for group in planned.groups]


def plan_expiry(context: Any) -> list[str]:
    """Makes, counts and stores the plan of the archive's expiry; returns its steps, none for a dry run, and pushes what `plan` pushes."""
    from lethe import retention

    params, run = context["params"], context["dag_run"]
    planned = retention.plan_expiry(
        Workspace.open(from_airflow),
        as_of=_as_of(params.get("as_of"), run.run_after),
        dry_run=_dry_run(params.get("dry_run"), run.run_type),
    )
    for key in ("digest", "attempt", "dry_run"):
        context["ti"].xcom_push(key=key, value=getattr(planned, key))
    return [] if planned.dry_run else [step for group in planned.groups for step in group.steps]


def expire(steps: Sequence[str], digest: str, attempt: int) -> dict[str, Any]:
    """Carries out the steps of an expiry; returns rows deleted by step. A dry run, and an archive without an object, has none."""
    from airflow.sdk.exceptions import AirflowSkipException

    if not steps:
        raise AirflowSkipException("Nothing is to expire: a dry run, or nothing was ever archived.")
    return purge(steps, digest, attempt)


def purge(steps: Sequence[str], digest: str, attempt: int) -> dict[str, Any]:
    """Carries out the steps of one group; returns rows deleted by step."""
    from lethe import retention

    return retention.purge_run_group(Workspace.open(from_airflow), digest, attempt, steps)


def verify(digest: str | None, attempt: int | None) -> dict[str, Any]:
    """Verifies every step of a run; returns its outcomes by step. Without a plan there is nothing to verify."""
    from airflow.sdk.exceptions import AirflowSkipException

    from lethe import retention

    if digest is None or attempt is None:
        raise AirflowSkipException("There is no plan: nothing was deleted, and nothing is claimed.")
    return retention.verify_run(Workspace.open(from_airflow), digest, attempt)


def record(context: Any) -> dict[str, Any]:
    """Records the run and writes its report; raises when anything before it failed or is not clean."""
    from lethe import retention

    instance = context["ti"]
    digest = instance.xcom_pull(task_ids="plan", key="digest")
    attempt = instance.xcom_pull(task_ids="plan", key="attempt")
    dry_run = instance.xcom_pull(task_ids="plan", key="dry_run")
    workspace = Workspace.open(from_airflow)
    return retention.record_run(workspace, digest, attempt, dry_run=bool(dry_run), failed_tasks=failed_tasks(instance))


def failed_tasks(instance: Any) -> list[str]:
    """The tasks of this DAG run that failed or could not start, mapped ones with their index (`purge_0`), as Airflow knows them by now."""
    states = instance.get_task_states(dag_id=instance.dag_id, run_ids=[instance.run_id]).get(instance.run_id, {})
    return sorted(task for task, state in states.items() if state in ("failed", "upstream_failed"))


def audit(context: Any) -> dict[str, Any]:
    """Counts every rule again and looks for drift; raises on a finding."""
    from airflow.configuration import conf

    from lethe import retention
    from lethe.accountability.promises import known

    as_of = _as_of(context["params"].get("as_of"), context["dag_run"].run_after)
    names = known(Path(conf.get_mandatory_value("core", "dags_folder")))
    return retention.audit(Workspace.open(from_airflow), as_of=as_of, known=names)


def watch() -> dict[str, Any]:
    """When did the last nightly run finish? Raises when that is too long ago."""
    from lethe import retention

    return retention.watch(Workspace.open(from_airflow))


def _as_of(text: str | None, run_after: datetime) -> datetime:
    if text is not None and not isinstance(text, str):
        raise BadAsOf("as_of is not an instant.", fix="Write it as 2026-11-23T02:00:00+01:00.")
    return parse_as_of(text, at=now()) if text else min(run_after, now())


def _dry_run(value: bool | None, run_type: str) -> bool:
    if value is None:
        return run_type != "scheduled"
    if not isinstance(value, bool):
        raise UnknownName("dry_run is neither true nor false.", fix="Write true or false, or leave it empty.")
    return value


def _rules(value: Sequence[str] | None) -> list[str] | None:
    if value is None or value == []:
        return None
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise UnknownName("rules is not a list of rule ids.", fix="`lethe plan` lists the rules.")
    return list(value)


def _pace(value: str | None) -> Pace:
    if value in (None, "full"):
        return "full"
    if value == "gentle":
        return "gentle"
    raise UnknownName("pace is neither full nor gentle.", fix="Choose one of the two.")
