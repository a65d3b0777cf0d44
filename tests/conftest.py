"""Fixtures of every test: a real PostgreSQL server for the session, and a database of its own for each test."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.ceph import CephGateway, available
from demo.objects import ObjectServer
from demo.postgres import SETTINGS, PostgresServer, free_port
from helpers import mailing
from helpers.control import ControlDatabase, control_database
from helpers.memory import MEMORY

GROUPS = dict.fromkeys(
    (
        "dags/test_archive_expiry.py", "dags/test_legal_hold.py", "dags/test_request_intake.py", "dags/test_scheduler.py",
        "dags/test_subject_export.py", "dags/test_processor_list.py", "dags/test_accountability.py", "dags/test_canary.py",
    ),
    "airflow",
)  # fmt: skip
"""Files of tests that share a running Airflow, in this order: it takes most of a minute to start. Every other file is a group of its own."""

FIRST = (
    "airflow", "faults/test_expiry_faults.py", "faults/test_archive_faults.py", "faults/test_object_faults.py",
    "integration/test_promise_report.py", "faults/test_export_faults.py", "faults/test_purge_faults.py", "integration/test_exporting.py",
)  # fmt: skip
"""The groups that take longest begin first, so that no process is left with one of them at the end."""


def group_of(nodeid: str) -> str:
    """The tests that run in one process, after one another."""
    file = _file(nodeid)
    return GROUPS.get(file, file)


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0].removeprefix("tests/")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile` by groups instead of by files."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler.loadfile import LoadFileScheduling

    class Grouped(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Grouped(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups that take longest begin first, the files of a group as it names them; files keep their order beside that."""
    shared = list(GROUPS)

    def place(item: pytest.Item) -> tuple[int, int]:
        group, file = group_of(item.nodeid), _file(item.nodeid)
        return FIRST.index(group) if group in FIRST else len(FIRST), shared.index(file) if file in GROUPS else 0

    items.sort(key=place)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL 18 on loopback, without fsync: its crash safety is not what these tests prove. Tests vacuum where they mean it."""
    with tempfile.TemporaryDirectory(prefix="lethe-pg-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        server = PostgresServer(data=Path(folder) / "data", port=free_port())
        server.start(settings=SETTINGS + " fsync=off full_page_writes=off autovacuum=off")
        yield server
        server.stop(mode="immediate")


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> str:
    """The name of a database that Lethe's migrations were applied to, for others to be copied from."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE migrated")
    with control_database(postgres, postgres.url("migrated")):
        return "migrated"


@pytest.fixture
def database(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database, empty but for Lethe's own tables where the test asks for `control`; its libpq URL as superuser."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    like = request.getfixturevalue("migrated") if "control" in request.fixturenames else "template1"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')  # type: ignore[arg-type]
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.fixture
def control(postgres: PostgresServer, database: str) -> Iterator[ControlDatabase]:
    """Lethe's own database in that new database: migrated by its owner, with an engine for each role."""
    with control_database(postgres, database, migrated=True) as made:
        yield made


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephGateway]:
    """A Ceph object gateway for the session. Skipped, with the reason, where there cannot be one; LETHE_REQUIRE_CEPH=1 fails instead."""
    reason = available()
    if reason is not None:
        if os.environ.get("LETHE_REQUIRE_CEPH") == "1":
            pytest.fail(f"LETHE_REQUIRE_CEPH=1, but {reason}", pytrace=False)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="lethe-ceph-", ignore_cleanup_errors=True) as folder:
        gateway = CephGateway(folder=Path(folder))
        gateway.start()
        yield gateway
        gateway.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[ObjectServer]:
    """Moto's server for the session; each test makes buckets of its own."""
    with tempfile.TemporaryDirectory(prefix="lethe-moto-") as folder:
        server = ObjectServer(folder=Path(folder), port=free_port())
        server.start()
        yield server
        server.stop()


@pytest.fixture
def mailbox() -> Iterator[mailing.Mailbox]:
    """A real SMTP server on loopback that keeps what it takes."""
    with mailing.mailbox() as box:
        yield box
