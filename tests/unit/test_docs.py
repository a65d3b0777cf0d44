"""What is generated of docs/ is current."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from lethe.docs import stale
from lethe.settings import SHIPPED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_generated_docs_are_current() -> None:
    assert stale(DOCS) == [], "run `make docs`"


def test_the_shipped_files_pass_the_generated_schemas() -> None:
    files = {"policy": [SHIPPED / "2026-05-01" / "policy.yaml"], "rules": [SHIPPED / "2026-05-01" / "rules.yaml"]}
    files |= {"promises": [SHIPPED / "2026-05-01" / "promises.yaml"], "purposes": [SHIPPED / "catalog" / "purposes.yaml"]}
    files |= {"store": sorted((SHIPPED / "catalog").glob("spotrak_*.yaml"))}
    files |= {"disclosure": [SHIPPED / "disclosure.yaml"], "processors": [SHIPPED / "processors.yaml"]}
    for schema, paths in files.items():
        validator = Draft202012Validator(json.loads((DOCS / "schemas" / f"{schema}.json").read_text()))
        for path in paths:
            assert list(validator.iter_errors(json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str)))) == []
