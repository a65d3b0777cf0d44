"""The containers and the native run are one thing: the same variables, no secret of its own, nothing open beyond loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import environment
from demo.home import PROJECT, Home

COMPOSE = PROJECT / "docker-compose.yaml"
AIRFLOW_SERVICES = {"api-server", "scheduler", "dag-processor", "triggerer", "worker", "export-worker"}
READING = {"AIRFLOW_CONN_LETHE_ARCHIVIST", "AIRFLOW_CONN_ARCHIVE_READ_S3"}
"""In containers: only where a person reads the archive, and where people's bundles are written."""

ONLY_NATIVE = {
    "LETHE_DEMO_HOME",  # where the demo keeps its state
    "AIRFLOW_CONN_LETHE_APPROVER",  # in containers: only where a person gives an approval
    "AIRFLOW_CONN_LETHE_DB_OWNER",  # in containers: only where migrations run
}
ONLY_CONTAINERS = {
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",  # asyncpg names its TLS settings otherwise
    "AWS_CA_BUNDLE",
    "PGSSLROOTCERT",
}


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A `.env` with a value for every name of the example."""
    text = (PROJECT / ".env.example").read_text()
    path = tmp_path / "env"
    path.write_text(re.sub(r"^([A-Z0-9_]+)=$", r"\1=of-a-test", text, flags=re.MULTILINE))
    return path


def variables(compose: Mapping[str, Any], service: str) -> dict[str, str]:
    return {**environment.shared(), **compose["services"][service]["environment"]}


def passwords(compose: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, service in compose["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|CONN|BROKER|BACKEND|REDISCLI", variable) and not re.search(r"FILE$", variable):
                yield f"{name}.{variable}", str(value)


def config(env_file: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("Debian's docker-compose is not installed")
    command = [program, "--file", str(COMPOSE), "--env-file", str(env_file), "config", "--quiet"]
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("LETHE_", "AIRFLOW_"))}  # what is set there outranks the file
    return subprocess.run(command, capture_output=True, text=True, check=False, env=bare)


def test_docker_compose_takes_the_file(filled: Path) -> None:
    done = config(filled)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "AIRFLOW_ADMIN_PASSWORD",
        "AIRFLOW_FERNET_KEY",
        "S3_SECRET_KEY",
        "EVIDENCE_SECRET_KEY",
        "ARCHIVE_SECRET_KEY",
        "LETHE_DIGEST_KEY",
        "LETHE_REQUEST_KEY",
    ],
)
def test_docker_compose_refuses_to_start_without_a_secret(filled: Path, name: str) -> None:
    filled.write_text(re.sub(rf"^{name}=.*$", f"{name}=", filled.read_text(), flags=re.MULTILINE))
    done = config(filled)
    assert done.returncode != 0
    assert "fill in .env" in done.stderr


@pytest.mark.parametrize("service", sorted(AIRFLOW_SERVICES))
def test_containers_and_the_native_run_have_the_same_variables(compose: Mapping[str, Any], tmp_path: Path, service: str) -> None:
    native = set(environment.variables(Home(tmp_path)))
    reads = READING if service == "export-worker" else set()
    assert set(variables(compose, service)) - ONLY_CONTAINERS == (native - ONLY_NATIVE - READING) | reads


def test_shared_settings_have_one_source(compose: Mapping[str, Any]) -> None:
    """What is in config/lethe.env is nowhere else, so that it cannot say two things."""
    shared = set(environment.shared())
    for service in AIRFLOW_SERVICES:
        assert compose["services"][service]["env_file"] == "config/lethe.env"
        assert not shared & set(compose["services"][service]["environment"])


def test_every_secret_comes_from_the_env_file_and_is_required(compose: Mapping[str, Any]) -> None:
    found = dict(passwords(compose))
    assert found
    assert [where for where, value in found.items() if not re.search(r"\$\{[A-Z0-9_]+:\?", value)] == []


ROOTS = {"S3_ACCESS_KEY": {"objects", "buckets"}, "S3_SECRET_KEY": {"objects", "buckets"}, "POSTGRES_PASSWORD": {"postgres"}}
"""The keys of the store's and the server's root, and who is given them."""


@pytest.mark.parametrize("key", sorted(ROOTS))
def test_no_worker_holds_the_key_of_a_root(compose: Mapping[str, Any], key: str) -> None:
    holders = {n for n, s in compose["services"].items() if re.search(rf"\b{key}\b", yaml.safe_dump(s))}
    assert holders == ROOTS[key]
    assert not holders & (AIRFLOW_SERVICES | {"init", "airflow-clean", "lethe"})


def test_each_connection_to_the_object_store_is_a_user_of_its_own(compose: Mapping[str, Any]) -> None:
    """Only a person's shell, and the worker that writes people's bundles, have the user that reads the archive."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for service in AIRFLOW_SERVICES | {"init", "airflow-clean", "lethe"}:
        for value in variables(compose, service).values():
            if made := re.fullmatch(r"aws://([^:]+):\$\{(\w+):\?fill in \.env\}@/\?.*bucket=([a-z-]+).*", str(value)):
                found.setdefault(service, set()).add((made[1], made[2], made[3]))
    workers = {("lethe-evidence", "EVIDENCE_SECRET_KEY", "lethe"), ("lethe-archive", "ARCHIVE_SECRET_KEY", "lethe-archive")}
    reading = {("lethe-archive-read", "ARCHIVE_READ_SECRET_KEY", "lethe-archive")}
    assert found.pop("lethe") == found.pop("export-worker") == workers | reading
    assert set(map(frozenset, found.values())) == {frozenset(workers)}
    assert compose["services"]["worker"]["environment"]["AIRFLOW_CONN_SPOTRAK_S3"] == "${AIRFLOW_CONN_SPOTRAK_S3:?fill in .env}"


MC = """#!/usr/bin/env bash
[[ "$4 $5 $6" == "admin policy create" ]] && cp "$9" "$MADE/$8.policy"
echo "${@:4}" >> "$MADE/asked"
"""
"""In place of MinIO's client: keeps the policies that it is given, and notes what it is asked."""


def test_a_user_of_a_bucket_reaches_no_other_and_may_do_no_more_than_its_part(compose: Mapping[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mc").write_text(MC)
    (tmp_path / "bin" / "mc").chmod(0o755)
    (tmp_path / "ca.crt").write_text("")
    secrets = {name: name for name in compose["services"]["buckets"]["environment"]}
    given = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "MADE": str(tmp_path), "CERTIFICATES": str(tmp_path), **secrets}
    subprocess.run(["bash", str(PROJECT / "config" / "buckets.sh")], env=given, check=True, timeout=60)

    may: dict[str, set[str]] = {}
    reach: dict[str, set[str]] = {}
    for path in tmp_path.glob("*.policy"):
        statements = json.loads(path.read_text())["Statement"]
        assert {s["Effect"] for s in statements} == {"Allow"}
        may[path.stem] = {action for s in statements for action in s["Action"]}
        reach[path.stem] = {resource for s in statements for resource in s["Resource"]}
    evidence, archive = (
        {"arn:aws:s3:::lethe", "arn:aws:s3:::lethe/*"},
        {"arn:aws:s3:::lethe-archive", "arn:aws:s3:::lethe-archive/*"},
    )
    requests = {f"arn:aws:s3:::lethe-{b}{rest}" for b in ("bundles", "proofs", "intake", "lists") for rest in ("", "/*")}
    assert reach == {"lethe-evidence": evidence, "lethe-archive": archive, "lethe-archive-read": archive, "lethe-requests": requests}
    assert may["lethe-evidence"] == {"s3:GetBucketLocation", "s3:ListBucket", "s3:PutObject", "s3:GetObject"}
    assert may["lethe-archive-read"] == {"s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectVersion"}
    assert {"s3:PutObjectRetention", "s3:DeleteObjectVersion"} <= may["lethe-archive"]
    everything = set().union(*may.values())
    assert not {a for a in everything if "*" in a or "Bypass" in a or "DeleteBucket" in a or "PutBucket" in a or "Policy" in a}

    asked = (tmp_path / "asked").read_text().splitlines()
    assert [f"mb --ignore-existing --with-lock objects/{b}" for b in ("lethe", "lethe-archive")] == asked[:2]
    users = {"lethe-evidence": "EVIDENCE", "lethe-archive": "ARCHIVE", "lethe-archive-read": "ARCHIVE_READ", "lethe-requests": "REQUESTS"}
    for user, secret in users.items():
        assert f"admin user add objects {user} {secret}_SECRET_KEY" in asked
        assert f"admin policy attach objects {user} --user {user}" in asked


def test_the_example_names_every_variable_and_gives_no_secret() -> None:
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)", COMPOSE.read_text()))
    named = dict(line.split("=", 1) for line in (PROJECT / ".env.example").read_text().splitlines() if line and not line.startswith("#"))
    assert asked == set(named)
    assert {name: value for name, value in named.items() if value} == {"AIRFLOW_BIND": "127.0.0.1", "AIRFLOW_PORT": "8080"}


def test_only_the_ui_is_reachable_and_on_loopback(compose: Mapping[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"api-server": ["${AIRFLOW_BIND:-127.0.0.1}:${AIRFLOW_PORT:-8080}:8080"]}


def test_each_queue_has_a_worker_and_each_task_a_queue_that_is_there(compose: Mapping[str, Any]) -> None:
    served = {
        n: s["command"][s["command"].index("--queues") + 1]
        for n, s in compose["services"].items()
        if "--queues" in (s.get("command") or [])
    }
    assert served == {"worker": "default", "export-worker": "exports"}
    asked = {q for f in (PROJECT / "dags").glob("*.py") for q in re.findall(r'queue="([a-z]+)"', f.read_text())}
    assert asked == {"exports"}


def test_every_service_that_stays_has_a_health_check(compose: Mapping[str, Any]) -> None:
    stays = {name for name, service in compose["services"].items() if service.get("restart") == "unless-stopped"}
    assert AIRFLOW_SERVICES | {"postgres", "redis", "objects", "airflow-clean"} == stays
    assert [name for name in sorted(stays) if "healthcheck" not in compose["services"][name]] == []


def test_workers_can_be_many(compose: Mapping[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker
    assert variables(compose, "worker")["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_one_image_runs_every_part_of_airflow(compose: Mapping[str, Any]) -> None:
    assert {compose["services"][s]["image"] for s in AIRFLOW_SERVICES | {"init", "airflow-clean", "lethe"}} == {"lethe:latest"}


def test_the_image_has_the_native_run_s_packages_and_policy() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert "--requirement requirements.txt" in dockerfile
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, flags=re.MULTILINE)
    assert [path for names in copied for path in names.split() if not (PROJECT / path).exists()] == []
    assert "include/demo" not in dockerfile


@pytest.mark.parametrize("script", sorted((PROJECT / "config").glob("*.sh")), ids=lambda p: p.name)
def test_the_containers_scripts_are_sound_bash(script: Path) -> None:
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert "set -euo pipefail" in script.read_text()
