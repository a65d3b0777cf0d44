"""Airflow's own look-up of a connection, in the form that Lethe's library takes."""

from __future__ import annotations

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from lethe.connections import Connection
from lethe.errors import Unreachable


def from_airflow(connection_id: str) -> Connection:
    """The connection as Airflow knows it: environment, secrets backend or its own table.

    Raises Unreachable when there is none, with what to set.
    """
    try:
        found = AirflowConnection.get(connection_id)
    except AirflowNotFoundException:
        raise Unreachable(
            f"Connection {connection_id!r} is not set.",
            fix=f"Add it in Airflow under Admin, Connections, or export AIRFLOW_CONN_{connection_id.upper()}.",
        ) from None
    return Connection(
        id=connection_id,
        kind=found.conn_type,
        host=found.host or "",
        port=found.port,
        login=found.login or "",
        password=found.password or "",
        database=found.schema or "",
        extra=found.extra_dejson,
    )
