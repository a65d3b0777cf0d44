"""A small database and its catalog, in which persons are looked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from helpers.control import DIGEST_KEY, ControlDatabase
from lethe.catalog.model import Catalog, Store
from lethe.connections import Connection
from lethe.subjects.found import Row
from lethe.subjects.identifiers import Identifier, identifier
from lethe.subjects.locating import Finder
from lethe.workspace import Workspace

AT = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
ID, OPS, EMAIL = "user.unique_id", "system.operations", "user.contact.email"


def table(name: str, key: list[str], columns: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {c: k if isinstance(k, dict) else {"category": k} for c, k in columns.items()}
    return {"table": name, "schema": "app", "role": "controller", "category": name, "purposes": ["p"], "key": key, "columns": given} | more


def to(dataset: str, *columns: str, **more: Any) -> dict[str, Any]:
    return {"columns": list(columns), "to": dataset, **more}


@dataclass(frozen=True)
class House:
    """A source database, and who is looked for in it."""

    finder: Finder
    url: str

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for each in statements:
                connection.execute(each)  # type: ignore[arg-type]

    def counts(self, *given: Identifier, **more: Any) -> dict[str, int]:
        return {c.section: c.rows for c in self.finder.locate(given, **more).counted if c.rows}

    def rows(self, *given: Identifier, **more: Any) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for section, rows in self.finder.sections(self.finder.locate(given, **more), at=AT):
            found[section.id] = list(rows)
        return found


def house_of(control: ControlDatabase, patch: pytest.MonkeyPatch, schema: str, *stores: Store) -> Iterator[House]:
    """A house whose database has that schema; its stores' connections are `source` and, for objects, `shelf`."""
    url = control.superuser.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema)
    parts = urlsplit(url)
    source = Connection(
        id="source", kind="postgres", host="127.0.0.1", port=parts.port, login=parts.username or "", database=parts.path[1:]
    )
    shelf = Connection(id="shelf", kind="aws", login="k", password="s", extra={"endpoint_url": "http://127.0.0.1:1"})
    patch.setenv("LETHE_DIGEST_KEY", DIGEST_KEY.hex())
    shipped = Workspace.open(lambda _: source)
    workspace = Workspace(
        folder=Path("/nowhere"),
        policies=shipped.policies,
        catalog=Catalog(purposes={"p": "why"}, stores=stores),
        connections=lambda name: shelf if name == "shelf" else source,
    )
    yield House(finder=Finder(workspace), url=url)
    workspace.close()


def email(text: str, *, fold_local: bool = True) -> Identifier:
    return identifier("email", text, fold_local=fold_local)


def account(text: str) -> Identifier:
    return identifier("account", text, datasets=["users", "leads", "clients"])
