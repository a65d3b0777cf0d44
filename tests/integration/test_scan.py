"""A database that Lethe never saw is under management after the page for newcomers, whose commands are run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

PROJECT = Path(__file__).resolve().parents[2]
SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id bigint PRIMARY KEY, full_name text, email text, phone text, created_at timestamptz NOT NULL);
CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES shop.customers, shipping_address text, placed_at timestamptz);
CREATE TABLE shop.order_lines (order_id bigint REFERENCES shop.orders, line int, note text, PRIMARY KEY (order_id, line));
CREATE TABLE shop.access_log (id bigint PRIMARY KEY, occurred_at timestamptz, client_ip inet, path text);
CREATE TABLE shop.vat_rates (code text PRIMARY KEY, rate numeric);
CREATE INDEX ON shop.customers (created_at);
CREATE INDEX ON shop.orders (placed_at);
CREATE INDEX ON shop.access_log (occurred_at);
"""


@pytest.fixture
def shop(database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a newcomer: one connection, and the `lethe` command."""
    with psycopg.connect(database) as connection:
        connection.execute(SHOP)
    lethe = tmp_path / "bin" / "lethe"
    lethe.parent.mkdir()
    lethe.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore -m lethe "$@"\n')
    lethe.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_CONN_", "LETHE_"))}
    path = f"{lethe.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "AIRFLOW_CONN_SHOP_DB": database, "PYTHONPATH": str(PROJECT / "include"), "PATH": path}


def run(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_page_for_newcomers_ends_with_a_clean_check(shop: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text("Shop SAS keeps your orders for three years.\n")
    page = (PROJECT / "docs" / "newcomer.md").read_text()
    ended = run("\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)), tmp_path, shop)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.rstrip().splitlines()[-1].startswith("Clean: policy ")


def test_nothing_loads_until_each_period_is_decided(shop: dict[str, str], tmp_path: Path) -> None:
    scanned = run("lethe scan shop_db -o shop --json", tmp_path, shop)
    assert json.loads(scanned.stdout) == {"folder": "shop", "tables": 4, "guesses": 16, "not_mapped": ["shop.vat_rates"]}
    refused = run("LETHE_POLICY_DIR=shop lethe check --json", tmp_path, shop)
    assert refused.returncode == 2
    assert "rules.yaml:" in json.loads(refused.stdout)["error"]
    assert "is not a period" in json.loads(refused.stdout)["error"]


def test_a_scan_overwrites_nothing(shop: dict[str, str], tmp_path: Path) -> None:
    assert run("lethe scan shop_db -o shop", tmp_path, shop).returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "shop").rglob("*.yaml")}
    again = run("lethe scan shop_db -o shop", tmp_path, shop)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "shop").rglob("*.yaml")} == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("lethe scan nothing_db", "AIRFLOW_CONN_NOTHING_DB"),
        ("lethe scan shop_db --schema none -o x", "no table"),
        ("AIRFLOW_CONN_SHOP_DB=postgresql://u@127.0.0.1:1/x lethe scan shop_db -o x", "did not answer"),
        ("AIRFLOW_CONN_SHOP_DB=postgresql://u@db.example.com/x lethe scan shop_db -o x", "without TLS"),
        ("AIRFLOW_CONN_SHOP_DB=aws://a:b@/ lethe scan shop_db -o x", "no PostgreSQL connection"),
    ],
)
def test_a_scan_that_cannot_be_done_says_what_to_do(shop: dict[str, str], tmp_path: Path, arguments: str, says: str) -> None:
    ended = run(arguments, tmp_path, shop)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "x").exists()
