"""The archive as values: a column as it is kept, an object's manifest, what its bucket protects it by. Pure."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, Field

from lethe.frozen import Frozen, canonical_json, digest
from lethe.policy.model import Id, Sha256

State = Literal["announced", "stored", "confirmed", "sealed", "dropped", "expired", "replaced"]
"""announced: it is about to be uploaded. stored: uploaded, read back, its deletion not yet committed. confirmed: the rows are gone from
the source. sealed: its manifest lies beside it and its lock, where the bucket has one, was read back. dropped: the deletion did not
commit, so it is gone. expired: its period is over and it is gone. replaced: rewritten to keep only what is held, and gone."""

CLOCK, TENANT, PERSONS, KEY64 = "_lethe_clock", "_lethe_tenant", "_lethe_persons", "_lethe_key"
"""Columns that Lethe adds to each object: the instant at which the row's clock begins (timestamp in UTC), the keyed digest of its tenant
(text or NULL), those of its persons (list of texts), and its key64 (64-bit integer). A hold finds its rows by them."""


class ArchivedColumn(Frozen):
    """A column of an archive object: its name, its PostgreSQL type, and the Arrow type that it is kept as."""

    name: str
    source: str = Field(description="As PostgreSQL's format_type prints it, such as numeric(10,2).")
    kept_as: str = Field(description="As Arrow prints it, such as int64, string, timestamp[us, tz=UTC].")


class NamedBy(Frozen):
    """How the names in an object were made: a person or tenant can be told in it by the same key and datasets alone."""

    key: str = Field(pattern=r"^[0-9a-f]{16}$", description="Fingerprint of the key for digests (`archive.names.fingerprint`).")
    tenants: Id | None = Field(description="The dataset of its store's tenants, as the catalog called it.")
    identities: tuple[Id, ...] = Field(description="The datasets of its persons, as the catalog called them.")


class Manifest(Frozen):
    """What one archive object is: stored in `lethe_db`, and beside the object as `_<id>.manifest.json`.

    `sha256` is over the object's bytes, whose rows were held against the source's before they were deleted. `expires_on` is the first day,
    in the policy's zone, on which it may be deleted; `expires_at` its midnight, UTC. `persons` and `tenants` are keyed digests (32 hex
    digits). `clock_is_a_day`: `_lethe_clock` stands for a whole day of the policy's zone.
    """

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    key: str
    store: Id
    dataset: Id
    rule: Id
    law: str
    ground: Literal["obligation", "claims"]
    policy_version: str
    plan: Sha256
    attempt: int
    step: str
    zone: str
    clock_is_a_day: bool
    expires_on: date
    expires_at: AwareDatetime
    rows: int = Field(ge=1)
    size: int = Field(ge=1, description="Bytes of the object.")
    sha256: Sha256
    columns: tuple[ArchivedColumn, ...]
    persons: tuple[str, ...]
    tenants: tuple[str, ...]
    names: NamedBy
    encryption: str | None = Field(description="What the store said on reading its head: aws:kms, AES256, or None.")
    etag: str | None = Field(default=None, description="The store's tag of the bytes, as it answered the upload; its listing has the same.")
    replaces: str | None = Field(default=None, description="The object that this one was rewritten from: only held rows are left in it.")

    @property
    def schema_digest(self) -> str:
        """sha256 over the columns: equal for objects of one schema."""
        return digest([c.model_dump() for c in self.columns])

    def to_json(self) -> bytes:
        """The manifest as it lies beside its object: one JSON object, keys sorted."""
        return canonical_json(self).encode()
