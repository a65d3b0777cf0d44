"""`archive_expiry` through a real scheduler: what is due goes, its neighbour stays, and a manual run is a dry run unless it says otherwise."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from demo import databases, environment
from helpers.airflow_demo import Api, Demo, task_log, until
from helpers.archiving import Archive
from helpers.control import ControlDatabase
from helpers.expiring import NOT_YET, Shelved, Vault, Where
from lethe import settings
from lethe.archive.model import NamedBy
from lethe.archive.names import fingerprint
from lethe.connections import parse
from lethe.workspace import Workspace

pytestmark = [pytest.mark.scheduler, pytest.mark.slow, pytest.mark.timeout(600)]

LAW, DATASET = "Code civil 2224", "a-table-of-before"
"""No policy and no catalog has them any more."""


@pytest.fixture
def vault(demo: Demo) -> Vault:
    """The demo's archive, with ten rows that are due and a thousand that are not."""
    engine = create_engine(make_url(databases.url(demo.home, "lethe_runtime", "lethe")).set(drivername="postgresql+psycopg"))
    control = ControlDatabase(url="", owner=engine, runtime=engine, approver=engine, archivist=engine, superuser=engine)
    connection = parse("archive_s3", environment.connections(demo.home)["AIRFLOW_CONN_ARCHIVE_S3"])
    where = Where(port=0, database="lethe", archive=connection, law=LAW, dataset=DATASET)
    with Workspace.open() as workspace:
        key = fingerprint(settings.digest_key(workspace.connections(settings.CONTROL)))
    names = NamedBy(key=key, tenants="tenants", identities=("users",))
    return Vault(archive=Archive(connection=connection), where=where, control=control, lockable=True, names=names)


def test_what_is_due_expires_and_the_rest_stays(demo: Demo, api: Api, vault: Vault) -> None:
    until(lambda: "archive_expiry" in {d["dag_id"] for d in api("GET", "/dags")["dags"]}, 60, lambda: api("GET", "/importErrors"))
    first = api.switch_on("archive_expiry")
    assert api.ended("archive_expiry", first) == "success", "nothing is due in the demo's archive"
    due = vault.put([Shelved(key=n) for n in range(10)], on=date(2026, 11, 1))
    later = vault.put([Shelved(key=100 + n) for n in range(1000)], NOT_YET)

    def there() -> set[str]:
        return {due.id, later.id} & set(vault.ids())

    instant = demo.as_of + timedelta(seconds=77)

    dry = api.trigger("archive_expiry", as_of=instant.isoformat())
    assert api.ended("archive_expiry", dry) == "success", task_log(demo, "archive_expiry", dry, "record")[-3000:]
    assert api.tasks("archive_expiry", dry)["expire"] == "skipped"
    assert there() == {due.id, later.id}

    run = api.trigger("archive_expiry", as_of=instant.isoformat(), dry_run=False)
    assert api.ended("archive_expiry", run) == "success", task_log(demo, "archive_expiry", run, "record")[-3000:]
    assert there() == {later.id}
    assert demo.evidence("archive.expired")[-1]["objects"] == [due.id]
    assert demo.evidence("run.finished")[-1]["steps"][f"expiry-code-civil-2224/{DATASET}"]["level"] == "L2"
