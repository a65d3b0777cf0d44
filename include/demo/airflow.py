"""Airflow on this machine: its database, and its four programs, each in a session of its own."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib import metadata

from demo import environment, processes
from demo.home import PROJECT, Home

PROGRAMS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}
_AIRFLOW = PROJECT / ".venv" / "bin" / "airflow"


class AirflowFailed(RuntimeError):
    """An `airflow` command failed; the text quotes the end of what it said."""


def migrate(home: Home) -> None:
    """Makes Airflow's own tables, or brings them up to date. It takes 20 s, so it is done once for a version of Airflow."""
    version = metadata.version("apache-airflow-core")
    if home.note("airflow.migrated") != version:
        run(home, "db", "migrate")
        home.note("airflow.migrated", version)


def run(home: Home, *arguments: str, seconds: float = 300) -> str:
    """What `airflow ARGUMENTS` prints; AirflowFailed when it fails."""
    command = [str(_AIRFLOW), *arguments]
    done = subprocess.run(command, env=environment.full(home), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AirflowFailed(f"airflow {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def up(home: Home) -> None:
    """Starts what is not running, and returns when all four say that they are healthy."""
    home.airflow.mkdir(parents=True, exist_ok=True)
    environment.write_logins(home)
    for name, arguments in PROGRAMS.items():
        processes.start(home, name, [str(_AIRFLOW), *arguments], environment.full(home))
    for name in PROGRAMS:
        processes.wait(home, name, lambda: unhealthy(home) == (), seconds=180)


def down(home: Home) -> None:
    """Ends all four and every process they made."""
    processes.stop(home, *reversed(PROGRAMS))


def is_up(home: Home) -> bool:
    """Does any of the four run?"""
    return any(processes.running(home, name) for name in PROGRAMS)


def unhealthy(home: Home) -> Sequence[str]:
    """Which parts are not healthy, as Airflow's own monitor sees them; all of them while it does not answer."""
    try:
        with urllib.request.urlopen(f"{environment.address(home)}/api/v2/monitor/health", timeout=5) as answer:
            health = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ConnectionError, json.JSONDecodeError):
        return ("api-server",)
    return tuple(
        part for part in ("metadatabase", "scheduler", "triggerer", "dag_processor") if (health.get(part) or {}).get("status") != "healthy"
    )
