"""How what keeps a promise is broken where it really lies: files of the policy, rows and rights of the databases, objects, templates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from demo import buckets
from demo.load import object_store
from helpers.promised import PromisedHome
from lethe.policy.load import load_policies
from lethe.settings import SHIPPED
from lethe.subjects.answers import render
from lethe.workspace import Workspace

POLICY = load_policies(SHIPPED).versions[-1]


def edited(home: PromisedHome, name: str, change: Callable[[Any], None]) -> None:
    path = home.policies / POLICY.version / name
    body = yaml.safe_load(path.read_text())
    change(body)
    path.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True))


@contextmanager
def put_back(folder: Path) -> Iterator[None]:
    """A folder as it was, once this is left."""
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        kept.rename(folder)


def sql(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


@contextmanager
def there(home: PromisedHome, bucket: str, key: str) -> Iterator[None]:
    """An object that should not be there, while this is open."""
    s3 = buckets.client(object_store(home.objects.endpoint))
    version = s3.put_object(Bucket=bucket, Key=key, Body=b"x").get("VersionId")
    try:
        yield
    finally:
        s3.delete_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))


Break = Callable[[PromisedHome, str, pytest.MonkeyPatch], Any]


@contextmanager
def one_character(home: PromisedHome, url: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with put_back(home.policies):
        path = home.policies / POLICY.version / "policy.txt"
        path.write_text(path.read_text().replace("deleted after 12 months", "deleted after 13 months"))
        yield


@contextmanager
def renamed_column(home: PromisedHome, url: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    sql(home.source, "ALTER TABLE app.leads RENAME COLUMN email TO mail")
    yield
    sql(home.source, "ALTER TABLE app.leads RENAME COLUMN mail TO email")


@contextmanager
def without_remedies(home: PromisedHome, url: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    templates = shutil.copytree(render._TEMPLATES, home.policies.parent / "templates", dirs_exist_ok=True)
    (templates / "remedies.fr.txt").write_text("Vous pouvez nous écrire.\n")
    patch.setattr(render, "_TEMPLATES", templates)
    render._environment.cache_clear()
    yield
    patch.undo()
    render._environment.cache_clear()


@contextmanager
def statements(url: str, *given: str) -> Iterator[None]:
    for statement in given:
        sql(url, statement)
    yield


def archive_bucket() -> str:
    with Workspace.open() as workspace:
        return workspace.bucket("archive_s3")


@contextmanager
def without_a_key(home: PromisedHome, url: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    patch.delenv("LETHE_REQUEST_KEY")
    yield
    patch.undo()


BREAKS: Mapping[str, Break] = {
    "text-as-published": one_character,
    "ledger-sound": lambda home, url, patch: statements(
        url,
        "ALTER TABLE lethe.ledger DISABLE TRIGGER ALL",
        "UPDATE lethe.ledger SET body = '{}' WHERE seq = 3",
        "ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_continues",
        "ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_is_append_only",
    ),
    "archive-sound": lambda home, url, patch: there(home, archive_bucket(), "stray"),
    "archive-apart": lambda home, url, patch: statements(url, "GRANT SELECT ON lethe.archive_subjects TO lethe_approver"),
    "export-ready": renamed_column,
    "holds-reviewed": lambda home, url, patch: statements(
        url, "INSERT INTO lethe.holds (dataset, reason, owner, starts_on) VALUES ('leads', 'restriction', 'legal', '2026-01-01')"
    ),
    "intake-works": without_a_key,
    "requests-agree": lambda home, url, patch: statements(url, "UPDATE lethe.requests SET language = 'en'"),
    "proofs-left": lambda home, url, patch: there(home, "lethe-proofs", "R-2026-00000000/0123"),
    "answers-name-the-authority": without_remedies,
    "roles": lambda home, url, patch: statements(url, "GRANT UPDATE ON lethe.ledger TO lethe_runtime"),
}
"""How what a live check looks at is broken where it really lies. A check without an entry fails its test."""
