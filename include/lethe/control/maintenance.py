"""When a task outside the DAGs last succeeded: Airflow's own records are technical logs too, and `make airflow-clean` cleans them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from lethe.control.tables import maintenance
from lethe.evidence.ledger import append

AIRFLOW_CLEAN = "airflow-clean"


def record_success(connection: Connection, task: str, at: datetime) -> None:
    """Records that the task succeeded at that instant, with its evidence; an earlier instant never replaces a later one."""
    statement = insert(maintenance).values(task=task, succeeded_at=at)
    later = maintenance.c.succeeded_at < statement.excluded.succeeded_at
    connection.execute(statement.on_conflict_do_update(index_elements=["task"], set_={"succeeded_at": at}, where=later))
    append(connection, "maintenance.succeeded", {"task": task}, run=f"maintenance:{task}", at=at)


def last_success(connection: Connection, task: str) -> datetime | None:
    """When it last succeeded; None when it never did."""
    return connection.scalar(select(maintenance.c.succeeded_at).where(maintenance.c.task == task))


def is_overdue(succeeded: datetime | None, *, at: datetime, allowed: timedelta = timedelta(days=2)) -> bool:
    """Has it not succeeded for longer than allowed? Never counts as overdue. Pure."""
    return succeeded is None or at - succeeded > allowed
