"""The demo's services, from one command each: `python -m demo.services up|airflow|down|env|status`.

Everything runs on loopback without a container, and keeps its state in `.demo`. Every command may be given twice.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from demo import airflow, databases, environment, load, processes, store
from demo.home import Home
from lethe.instants import now, parse_as_of

ALERTS = "alerts"
MAIL = "mail"


def up(home: Home, *, scale: float = 1.0, as_of: datetime | None = None) -> None:
    """Database, object store and data: starts and loads what is missing, and writes `.demo/env`."""
    with home.alone():
        with step("PostgreSQL"):
            _start_postgres(home)
            databases.ensure(home)
        with step("Object store"):
            _start_objects(home)
            _start_alerts(home)
            _start_mail(home)
        environment.write_logins(home)
        environment.write(home)
        os.environ.update(environment.variables(home))
        with step("Lethe's own database"):
            _migrate(home)
        with step("Airflow's database"):
            airflow.migrate(home)
            _clean_airflow(home)
        _ensure_archive(home)
        _load(home, scale=scale, as_of=as_of or _chosen_as_of() or now())


def down(home: Home) -> None:
    """Ends everything that `up` and `airflow` started, and makes sure that no process is left."""
    with home.alone():
        airflow.down(home)
        store.stop(home)
        processes.stop(home, ALERTS, MAIL)
        databases.server(home).stop()
        processes.stop_strays(home)


def is_up(home: Home) -> bool:
    """Do database and object store run?"""
    return databases.server(home).running() and store.server(home).running()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is being done, and afterwards how long it took."""
    print(f"  {what} ...", end="", flush=True)
    began = time.monotonic()
    yield
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def _start_postgres(home: Home) -> None:
    server = databases.server(home)
    if not server.running():
        own_port(home, "postgres", (server.data / "postmaster.pid").exists)
        databases.server(home).start()


def _start_objects(home: Home) -> None:
    if not store.server(home).running():
        own_port(home, store.NAME)
        restored = store.start(home)
        loaded = home.note("data")
        if loaded and not restored:
            _refill_buckets(home, datetime.fromisoformat(loaded))


def _start_alerts(home: Home) -> None:
    if processes.running(home, ALERTS):
        return
    own_port(home, ALERTS)
    file = home.log(ALERTS).with_suffix(".jsonl")
    processes.start(home, ALERTS, [sys.executable, "-m", "demo.alerts", str(home.port(ALERTS)), str(file)], environment.full(home))
    processes.wait(home, ALERTS, lambda: listens(home.port(ALERTS)), seconds=20)


def _start_mail(home: Home) -> None:
    if processes.running(home, MAIL):
        return
    own_port(home, MAIL)
    processes.start(home, MAIL, [sys.executable, "-m", "demo.mail", str(home.port(MAIL)), str(home.mail)], environment.full(home))
    processes.wait(home, MAIL, lambda: listens(home.port(MAIL)), seconds=20)


def _migrate(home: Home) -> None:
    from lethe.control.migrate import migrate

    migrate(databases.url(home, "lethe_owner", "lethe"))


def _clean_airflow(home: Home) -> None:
    """Airflow's own records are cleaned once a day; the nightly run is red when that was two days ago."""
    last = home.note("airflow.cleaned")
    if last and now() - datetime.fromisoformat(last) < timedelta(days=1):
        return
    at = now()
    done = subprocess.run(
        [sys.executable, "-m", "lethe.airflow.clean"], env=environment.full(home), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise airflow.AirflowFailed(f"Airflow's records could not be cleaned:\n{(done.stdout + done.stderr)[-3000:]}")
    home.note("airflow.cleaned", at.isoformat())


def _load(home: Home, *, scale: float, as_of: datetime) -> None:
    """Loads the data once; later calls leave what is there, however old."""
    loaded = home.note("data")
    if loaded:
        print(f"  Spotrak's data is there already, dated from {loaded}")
        return
    print(f"  Spotrak's data, scale {scale:g}", flush=True)
    theirs = environment.connections(home)
    load.load(
        databases.server(home).url("spotrak"),
        theirs["AIRFLOW_CONN_SPOTRAK_S3"],
        lethe_objects=theirs["AIRFLOW_CONN_LETHE_S3"],
        scale=scale,
        as_of=as_of,
    )
    home.note("data", as_of.isoformat())


def _refill_buckets(home: Home, as_of: datetime) -> None:
    """The object store was killed before it could be kept: Spotrak's objects are made anew, as they were loaded."""
    from demo import buckets

    s3 = store.client(home)
    buckets.fill(s3, as_of=as_of, files=load.attachment_keys(databases.server(home).url("spotrak")))
    buckets.ensure_lethe(s3)


def _ensure_archive(home: Home) -> None:
    """What is in the archive outlives Spotrak's data: a load does not touch it."""
    from demo import buckets

    buckets.ensure_archive(store.client(home))
    buckets.ensure_requests(store.client(home))


def _chosen_as_of() -> datetime | None:
    """`LETHE_DEMO_AS_OF`: the instant that the data is dated from."""
    chosen = os.environ.get("LETHE_DEMO_AS_OF")
    return parse_as_of(chosen, at=now()) if chosen else None


def own_port(home: Home, name: str, ours: Callable[[], bool] = lambda: False) -> None:
    """Chooses another port when somebody else listens on the remembered one."""
    if listens(home.port(name)) and not ours():
        home.new_port(name)


def listens(port: int) -> bool:
    """Does somebody listen on that port of loopback?"""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.services", description=__doc__)
    parser.add_argument("command", choices=["up", "airflow", "down", "env", "status"])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is about 1.5 million rows")
    chosen = parser.parse_args(arguments)
    home = Home.here()
    os.environ[processes.MARK] = str(home.folder)
    match chosen.command:
        case "up":
            up(home, scale=chosen.scale)
            print(f"Running until `make down`. In a shell: . {_short(home.env)}")
        case "airflow":
            up(home, scale=chosen.scale)
            with home.alone(), step("Airflow"):
                if not airflow.is_up(home):
                    for name in ("airflow", "airflow.worker-logs", "airflow.trigger-logs"):
                        own_port(home, name)
                    environment.write(home)
                airflow.up(home)
            print(f"\nAirflow: {environment.address(home)}")
            for user in environment.USERS:
                print(f"  {user}: {home.secret(f'airflow.{user}')}")
        case "down":
            down(home)
            print("Nothing is running.")
        case "env":
            environment.write(home)
            print(home.env)
        case "status":
            print(f"services {'run' if is_up(home) else 'do not run'}, Airflow {'runs' if airflow.is_up(home) else 'does not run'}")
    return 0


def _short(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
