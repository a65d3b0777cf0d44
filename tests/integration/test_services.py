"""`make services` and `make down` as a stranger uses them, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from demo import databases, environment, processes, store
from demo.home import Home
from demo.postgres import PostgresServer, free_port

AS_OF = "2026-11-23T02:00:00+01:00"


def run(home: Home, *arguments: str) -> str:
    ours = {"LETHE_DEMO_HOME": str(home.folder), "LETHE_DEMO_AS_OF": AS_OF}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "LETHE"))}
    done = subprocess.run(
        [sys.executable, "-m", "demo.services", *arguments], env=clean | ours, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("demo"))
    run(home, "up", "--scale", "0.01")
    yield home
    run(home, "down")


def sourced(home: Home) -> dict[str, str]:
    """What a shell knows after `. .demo/env`, from another folder."""
    text = subprocess.run(
        ["bash", "-c", f". {home.env}; env -0"], cwd="/", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in text.stdout.split("\0") if line)


def test_the_environment_file_is_readable_by_its_owner_only(home: Home) -> None:
    assert stat.S_IMODE(home.env.stat().st_mode) == 0o600
    assert stat.S_IMODE((home.airflow / "logins.json").stat().st_mode) == 0o600


def test_after_sourcing_it_each_connection_lets_its_role_in(home: Home) -> None:
    shell = sourced(home)
    roles = {
        "SPOTRAK_DB": "lethe_purger",
        "SPOTRAK_DB_CHECK": "lethe_checker",
        "SPOTRAK_DB_MAINTENANCE": "lethe_keeper",
        "LETHE_DB": "lethe_runtime",
        "LETHE_DB_OWNER": "lethe_owner",
        "LETHE_APPROVER": "lethe_approver",
        "LETHE_ARCHIVIST": "lethe_archivist",
    }
    for name, role in roles.items():
        with psycopg.connect(shell[f"AIRFLOW_CONN_{name}"]) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)


def test_after_sourcing_it_the_commands_are_on_the_path(home: Home) -> None:
    shell = sourced(home)
    found = subprocess.run(["bash", "-c", "command -v lethe airflow"], env=shell, cwd="/", capture_output=True, text=True, check=False)
    assert len(found.stdout.split()) == 2


@pytest.mark.parametrize("role", ["postgres", *databases.ROLES])
def test_nobody_logs_in_without_a_password(home: Home, role: str) -> None:
    server = databases.server(home)
    for wrong in ("", "guessed"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=server.port, user=role, password=wrong, dbname="postgres", connect_timeout=5)


def test_the_workers_role_does_not_reach_airflow_s_database(home: Home) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(databases.url(home, "lethe_runtime", "airflow"))


def test_the_application_s_role_reaches_neither_lethe_s_database_nor_airflow_s(home: Home) -> None:
    """What a law keeps is out of the application's sight: it cannot connect, and has nothing of it in the database that it owns."""
    with psycopg.connect(databases.url(home, "spotrak_app", "spotrak")) as connection:
        assert connection.execute("SELECT current_user, count(*) > 0 FROM app.users").fetchone() == ("spotrak_app", True)
        assert connection.execute("SELECT to_regnamespace('lethe'), to_regclass('lethe.archive_objects')").fetchone() == (None, None)
        for other in ("lethe_owner", "lethe_runtime", "lethe_archivist"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                with connection.transaction():
                    connection.execute(f"SET ROLE {other}")  # type: ignore[arg-type]
    for database in ("lethe", "airflow"):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(databases.url(home, "spotrak_app", database))


def test_no_secret_stands_on_a_command_line(home: Home) -> None:
    state = json.loads((home.folder / "state.json").read_text())
    secrets = [value for key, value in state.items() if key.startswith("secret.")]
    lines = " ".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    assert secrets
    assert not [key for key, value in state.items() if key.startswith("secret.") and str(value) in lines]


def test_no_secret_is_in_a_log(home: Home) -> None:
    state = json.loads((home.folder / "state.json").read_text())
    logs = [home.folder / "postgres" / "log", *(home.folder / "logs").glob("*"), *home.folder.glob("objects/*.log")]
    text = " ".join(log.read_text(errors="replace") for log in logs if log.exists())
    assert not [key for key, value in state.items() if key.startswith("secret.") and not key.endswith(".key") and str(value) in text]


def test_a_second_time_loads_nothing_and_changes_nothing(home: Home) -> None:
    with psycopg.connect(databases.server(home).url("spotrak")) as connection:
        connection.execute("DELETE FROM app.email_log")
    before = home.env.read_text()
    assert "there already" in run(home, "up")
    assert home.env.read_text() == before
    with psycopg.connect(databases.server(home).url("spotrak")) as connection:
        assert connection.execute("SELECT count(*) FROM app.email_log").fetchone() == (0,)


def keys(home: Home) -> dict[str, list[tuple[str, int]]]:
    s3 = store.client(home)
    found = {}
    for bucket in (b["Name"] for b in s3.list_buckets()["Buckets"]):
        rows = []
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            rows += [(v["Key"], v["Size"]) for v in page.get("Versions", [])] + [(m["Key"], -1) for m in page.get("DeleteMarkers", [])]
        uploads = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        found[bucket] = sorted(rows) + sorted((u["Key"], -2) for u in uploads)
    return found


def test_down_leaves_no_process_and_up_brings_everything_back(home: Home) -> None:
    before = keys(home)
    assert any(size == -1 for _, size in before["spotrak-logs"])
    assert any(size == -2 for _, size in before["spotrak-logs"])
    run(home, "down")
    assert processes.marked(home) == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(home.folder) in " ".join(p.info["cmdline"] or ())]
    run(home, "down")
    run(home, "up")
    assert keys(home) == before


def test_a_test_server_trusts_loopback_and_a_demo_server_does_not(tmp_path: Path) -> None:
    server = PostgresServer(data=tmp_path / "data", port=free_port(), password="s3cret'\\ with % oddities")
    server.start()
    try:
        assert server.running()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="postgres")
        assert not re.search("trust", (tmp_path / "data" / "pg_hba.conf").read_text())
    finally:
        server.stop()


def test_the_environment_names_every_connection_of_the_catalog(home: Home) -> None:
    from lethe.catalog.load import load_catalog
    from lethe.settings import SHIPPED, catalog_dir

    named = {
        c for s in load_catalog(catalog_dir(SHIPPED)).stores for c in (s.connection, s.check_connection, s.maintenance_connection) if c
    }
    assert {f"AIRFLOW_CONN_{name.upper()}" for name in named} <= set(environment.connections(home))
