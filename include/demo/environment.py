"""The environment that everything runs in: written to `.demo/env` for a shell, and given to every program started here."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
from pathlib import Path
from urllib.parse import quote, urlencode

from demo import databases
from demo.buckets import ARCHIVE, LETHE
from demo.home import PROJECT, Home, write_secret

SHARED = PROJECT / "config" / "lethe.env"
"""Settings that the containers have too."""

SENDER = "privacy@spotrak.com"
"""Whom answers come from."""

USERS = ("admin", "approver")
"""Airflow's logins; their rights are in `config/lethe.env`."""

_DATABASES = {
    "spotrak_db": ("lethe_purger", "spotrak"),
    "spotrak_db_check": ("lethe_checker", "spotrak"),
    "spotrak_db_maintenance": ("lethe_keeper", "spotrak"),
    "lethe_db": ("lethe_runtime", "lethe"),
    "lethe_db_owner": ("lethe_owner", "lethe"),
    "lethe_approver": ("lethe_approver", "lethe"),
    "lethe_archivist": ("lethe_archivist", "lethe"),
}

_BUCKETS: dict[str, dict[str, str]] = {
    "spotrak_s3": {},
    "lethe_s3": {"bucket": LETHE},
    "archive_s3": {"bucket": ARCHIVE, "encryption": "aws:kms"},
    "archive_read_s3": {"bucket": ARCHIVE},
    "requests_s3": {"encryption": "aws:kms"},
}
"""Each connection to the object store, with the rest of its extra. moto takes any key; they differ all the same, as everywhere else."""


def variables(home: Home) -> dict[str, str]:
    """Every variable of the demo but PATH, with absolute paths, so that they work from any folder."""
    return {**shared(), **_airflow(home), **_lethe(home), **connections(home)}


def full(home: Home) -> dict[str, str]:
    """The environment of a child process: this process's own, without other Airflow settings, and the demo's."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))}
    return {**mine, **variables(home), "PATH": f"{PROJECT / '.venv' / 'bin'}{os.pathsep}{mine.get('PATH', os.defpath)}"}


def write(home: Home) -> None:
    """Writes `.demo/env`, readable by its owner only."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables(home).items())]
    path = f'export PATH={shlex.quote(str(PROJECT / ".venv" / "bin"))}:"$PATH"'
    write_secret(home.env, "# Written by `make services`. In a shell: . .demo/env\n" + "\n".join([path, *lines]) + "\n")


def shared() -> dict[str, str]:
    """The settings of `config/lethe.env`."""
    lines = (line.strip() for line in SHARED.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def connections(home: Home) -> dict[str, str]:
    """Airflow's connections as `AIRFLOW_CONN_...`: databases as URIs that libpq takes too."""
    found = {f"AIRFLOW_CONN_{name.upper()}": databases.url(home, role, database) for name, (role, database) in _DATABASES.items()}
    return found | {
        **{f"AIRFLOW_CONN_{name.upper()}": _object_store(home, name) for name in _BUCKETS},
        "AIRFLOW_CONN_LETHE_SMTP": json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": home.port("mail"),
                "extra": {"from_email": SENDER, "disable_ssl": True, "disable_tls": True},
            }
        ),
        "AIRFLOW_CONN_LETHE_ALERTS": json.dumps({"conn_type": "generic", "extra": {"urls": _alerts(home)}}),
    }


def endpoint(home: Home) -> str:
    """The object store's address."""
    return f"http://127.0.0.1:{home.port('objects')}"


def address(home: Home) -> str:
    """Airflow's address."""
    return f"http://127.0.0.1:{home.port('airflow')}"


def write_logins(home: Home) -> None:
    """Airflow's passwords, where its simple auth manager reads them."""
    write_secret(_logins(home), json.dumps({user: home.secret(f"airflow.{user}") for user in USERS}) + "\n")


def _logins(home: Home) -> Path:
    return home.airflow / "logins.json"


def _object_store(home: Home, login: str) -> str:
    key, secret = home.secret(f"{login}.key", lambda: secrets.token_hex(10)), home.secret(login)
    query = {"endpoint_url": endpoint(home), "region_name": "us-east-1"} | _BUCKETS[login]
    return f"aws://{key}:{quote(secret, safe='')}@/?{urlencode(query)}"


def _alerts(home: Home) -> list[str]:
    """`LETHE_ALERTS` (apprise URLs, a space between two), or a listener on loopback that writes them to `.demo/logs/alerts.jsonl`."""
    chosen = os.environ.get("LETHE_ALERTS", "").split()
    return chosen or [f"json://127.0.0.1:{home.port('alerts')}/"]


def _lethe(home: Home) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{PROJECT / 'include'}{os.pathsep}{PROJECT / 'config'}",
        "LETHE_DEMO_HOME": str(home.folder),
        "LETHE_DIGEST_KEY": home.secret("lethe.digest-key", lambda: secrets.token_hex(32)),
        "LETHE_REQUEST_KEY": home.secret("lethe.request-key", lambda: secrets.token_hex(32)),
        "LETHE_REPORTS_DIR": str(home.reports),
        "LETHE_POLICY_DIR": os.environ.get("LETHE_POLICY_DIR") or str(PROJECT / "include" / "policies" / "spotrak"),
        "LETHE_SCHEDULE_ZONE": os.environ.get("LETHE_SCHEDULE_ZONE") or shared()["LETHE_SCHEDULE_ZONE"],
    }


def _airflow(home: Home) -> dict[str, str]:
    key = home.secret("airflow.fernet", lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__API__BASE_URL": address(home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(home.port("airflow")),
        "AIRFLOW__API__SECRET_KEY": home.secret("airflow.session"),
        "AIRFLOW__API_AUTH__JWT_SECRET": home.secret("airflow.jwt", lambda: secrets.token_urlsafe(64)),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address(home)}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": key,
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_logins(home)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": databases.url(home, "airflow", "airflow").replace("postgresql://", "postgresql+psycopg2://"),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(home.port("airflow.trigger-logs")),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(home.port("airflow.worker-logs")),
    }
