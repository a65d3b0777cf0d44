"""What a small company with an archive (`helpers.archived`) needs to answer a person: buckets of requests, words, and requests."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from demo.buckets import ensure_bucket
from helpers.archived import Office
from helpers.control import DIGEST_KEY
from helpers.purging import AS_OF, STORE
from lethe.settings import SHIPPED
from lethe.stores.s3.client import client
from lethe.subjects.bundle.verify import contents
from lethe.subjects.identifiers import identifier
from lethe.subjects.locating import Finder
from lethe.subjects.requests import decide_identity, open_request
from lethe.workspace import Workspace

KEY = bytes(range(32))


@dataclass(frozen=True, kw_only=True)
class Counter:
    """Where persons are answered. `bundles`: the bucket."""

    office: Office
    finder: Finder
    bundles: str
    s3: Any

    def request(self, *accounts: int) -> str:
        """A request of a person with these accounts, whose identity is accepted; its id."""
        with self.office.company.world.control.runtime.begin() as connection:
            given = [identifier("account", f"users:{a}", datasets={"users"}) for a in accounts]
            how: dict[str, Any] = {
                "kind": "access",
                "channel": "email",
                "language": "fr",
                "by": "j.dupont",
                "received_at": AS_OF,
                "at": AS_OF,
            }
            made = open_request(connection, given, request_key=KEY, digest_key=DIGEST_KEY, **how).request.id
            decide_identity(connection, made, decision="accept", reason="document_seen", by="a.martin", at=AS_OF)
        return made

    def rows(self, request: str) -> dict[str, list[Mapping[str, Any]]]:
        """The rows of the request's bundle, by section."""
        query = (
            "SELECT p.key FROM lethe.export_parts p JOIN lethe.exports e ON e.id = p.export WHERE e.request = %s AND e.state <> 'failed'"
        )
        found: dict[str, list[Mapping[str, Any]]] = {}
        for (key,) in self.office.company.world.sql(query, [request]):
            for section, row in contents(io.BytesIO(self.s3.get_object(Bucket=self.bundles, Key=key)["Body"].read())):
                found.setdefault(section, []).append(row)
        return found


@contextmanager
def counter_of(office: Office, endpoint: str, keys: tuple[str, str], patch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """Buckets of requests at that endpoint, and the words of a bundle."""
    mark = uuid.uuid4().hex[:8]
    shipped = yaml.safe_load((SHIPPED / "catalog" / "lethe_requests.yaml").read_text())
    shipped["prefixes"] = {
        name: each | {"bucket": f"{mark}-{name.replace('_', '-')}", "purposes": ["p"]} for name, each in shipped["prefixes"].items()
    }
    folder = office.company.folder
    (folder / "catalog" / "lethe_requests.yaml").write_text(yaml.safe_dump(shipped))
    words = {"fr": "Des donnees", "en": "Some data"}
    told = {name: {"title": words, "source": words} for name in (*STORE.tables, *shipped["prefixes"])}
    (folder / "disclosure.yaml").write_text(yaml.safe_dump({"datasets": told, "purposes": {"p": "Un essai"}, "clocks": {"age": words}}))
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1", "encryption": "AES256"}
    patch.setenv("AIRFLOW_CONN_REQUESTS_S3", json.dumps({"conn_type": "aws", "login": keys[0], "password": keys[1], "extra": extra}))
    patch.setenv("LETHE_REQUEST_KEY", KEY.hex())
    with Workspace.open() as workspace:
        s3 = client(workspace.connections("requests_s3"))
        bundles = shipped["prefixes"]["export_bundles"]["bucket"]
        ensure_bucket(s3, bundles, versioned=True)
        yield Counter(office=office, finder=Finder(workspace), bundles=bundles, s3=s3)
