"""`lethe scan CONNECTION`: a first catalog and a starter policy for a database that Lethe has never seen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from lethe.cli.output import AsJson, print_json, say

_PLACEHOLDER = "Put the privacy policy that you published here, word for word.\n"
_HEAD = "# Written by `lethe scan` from schema, keys and names. What is a guess says `guessed: true`: look at it, then remove the mark.\n"


def scan(
    connection: Annotated[str, typer.Argument(help="An Airflow connection id, such as shop_db (AIRFLOW_CONN_SHOP_DB).")],
    schema: Annotated[list[str] | None, typer.Option("--schema", help="Only this schema; may be given again. All when left out.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to write; policies/CONNECTION when left out.")] = None,
    text: Annotated[Path | None, typer.Option("--text", help="The published policy, as a text file.")] = None,
    company: Annotated[str, typer.Option(help="The company's name.")] = "TO-DECIDE",
    time_zone: Annotated[str, typer.Option(help="The zone that periods are counted in.")] = "Europe/Paris",
    as_json: AsJson = False,
) -> None:
    """Writes a first catalog of a database, guesses marked, and a starter policy whose periods are left for you to decide."""
    from lethe.catalog.scan import scan as guess
    from lethe.catalog.scan import starter_disclosure, starter_rules
    from lethe.instants import now

    today = now().date()
    live = _read(connection, schema)
    value = guess(live, store=connection, connection=connection, on=today)
    folder = output or Path("policies") / connection
    words = text.read_bytes() if text else _PLACEHOLDER.encode()
    version = today.isoformat()
    files = {
        folder / "catalog" / f"{connection}.yaml": _HEAD + _yaml(value),
        folder / "catalog" / "purposes.yaml": _yaml({"purposes": {"to-decide": "TO-DECIDE: why this data is used."}}),
        folder
        / "disclosure.yaml": "# What a person reads of each dataset. Recipients are defined above and named below; none: nobody outside.\n"
        + _yaml(starter_disclosure(value)),
        folder
        / "processors.yaml": "# The companies that receive data, each with its history (docs/catalog-format.md). As it stands, none does.\n"
        + _yaml({"warn_before_end": "P60D", "person_categories": {}, "processors": [], "recipients": []}),
        folder / version / "policy.yaml": _yaml(_policy(company, today, time_zone, words)),
        folder / version / "rules.yaml": "# A period is P12M, P5Y or P30D. None is guessed: nothing loads until each is decided.\n"
        + _yaml({"rules": starter_rules(value)}),
        folder / version / "promises.yaml": _yaml({"fresh_for": {"rule": "PT26H"}, "promises": [_promise(words, starter_rules(value))]}),
    }
    _refuse_existing([*files, folder / version / "policy.txt"])
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (folder / version / "policy.txt").write_bytes(words)
    guessed = sum(len(t["columns"]) for t in value["tables"].values())
    left_out = sorted(n for n in live.tables if n.partition(".")[2] not in {t["table"] for t in value["tables"].values()})
    if as_json:
        print_json({"folder": str(folder), "tables": len(value["tables"]), "guesses": guessed, "not_mapped": left_out})
        return
    say(f"{folder}: {len(value['tables'])} tables, {guessed} columns guessed, {len(value.get('exempt', []))} tables exempted for 30 days.")
    say(f"Next: confirm the guesses, decide the periods in {folder / version / 'rules.yaml'}, then LETHE_POLICY_DIR={folder} lethe check")


def _read(connection: str, schemas: list[str] | None) -> Any:
    from sqlalchemy import create_engine

    from lethe.connections import from_environment
    from lethe.errors import UnknownName
    from lethe.stores.postgres.describe import describe
    from lethe.workspace import CHECK_OPTIONS

    found = from_environment(connection)
    if found.kind not in {"postgres", "postgresql"}:
        raise UnknownName(
            f"{connection} is no PostgreSQL connection.",
            fix="`lethe scan` reads PostgreSQL; write a bucket's file by hand (docs/catalog-format.md).",
        )
    engine = create_engine(
        found.sqlalchemy_url(), connect_args={"options": " ".join(f"-c {o}" for o in CHECK_OPTIONS)}, hide_parameters=True
    )
    try:
        live = describe(engine, schemas)
    finally:
        engine.dispose()
    if not live.tables:
        raise UnknownName("There is no table to catalog.", fix="Look at the connection's database, and at --schema.")
    return live


def _policy(company: str, today: Any, time_zone: str, words: bytes) -> dict[str, Any]:
    return {
        "company": company,
        "published_on": today,
        "effective_on": today,
        "time_zone": time_zone,
        "authority": "TO-DECIDE",
        "text_file": "policy.txt",
        "text_sha256": hashlib.sha256(words).hexdigest(),
        "backup_window": "P35D",
        "guard": {"max_share": 0.1, "max_rows": 1000000, "max_times_usual": 10},
    }


def _promise(words: bytes, rules: list[dict[str, Any]]) -> dict[str, Any]:
    first = next((line.strip() for line in words.decode("utf-8", errors="replace").splitlines() if line.strip()), "")
    return {
        "id": "retention",
        "quotes": [first],
        "means": "Data goes when its period is over. Quote the sentence that says so.",
        "proof": "The verified nightly run.",
        "controls": [{"rule": rule["id"]} for rule in rules],
    }


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=150, default_flow_style=None)


def _refuse_existing(paths: list[Path]) -> None:
    from lethe.errors import InvalidFile

    for path in paths:
        if path.exists():
            raise InvalidFile(f"{path} is there already: nothing was written.", fix="Choose another folder with -o.")
