"""Where what requests bring and get lies, and what is internal of lists of processors: the datasets of a category, by which Lethe knows them.

A company names them as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lethe.archive.bucket import ArchiveBucket
from lethe.archive.posture import ENCRYPTIONS
from lethe.catalog.model import Prefix, Store
from lethe.errors import RequestRefused, UnknownName
from lethe.stores.s3.client import client
from lethe.stores.s3.listing import folder
from lethe.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUNDLES, PROOFS, INTAKE, LISTS = "export-bundles", "identity-proofs", "intake-files", "internal-lists"
"""The categories of bundles, of proofs of identity, of files of requests, of what is internal of lists: each has a rule, so that nothing stays
longer than its period."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A prefix of a bucket. `encryption` and `kms_key` are what its connection asks for to write; `outside` is a client for links that people
    open: by `public_endpoint_url` of the connection's extra, where they reach the store by another way than Lethe does."""

    dataset: str
    bucket: str
    prefix: str
    client: S3Client = field(repr=False)
    encryption: str | None
    kms_key: str | None = field(repr=False)
    outside: S3Client = field(repr=False)

    def writing(self) -> ArchiveBucket:
        """The bucket as one puts what is encrypted there. RequestRefused when no encryption that is known is asked for."""
        if self.encryption not in ENCRYPTIONS:
            raise RequestRefused(
                f"Dataset {self.dataset} is asked for no encryption that is known: what is put there is encrypted at rest.",
                fix=f"Set `encryption` in the extra of its connection to one of {', '.join(ENCRYPTIONS)}.",
            )
        return ArchiveBucket(self.client, self.bucket, encryption=self.encryption, kms_key=self.kms_key)


def places(workspace: Workspace, category: str) -> tuple[Place, ...]:
    """The prefixes of that category, in the order of the catalog; none where a company takes no such files. Asks the stores nothing.

    Raises Unreachable when a connection is not set.
    """
    found = []
    for store in workspace.catalog.stores:
        for name, prefix in store.prefixes.items():
            if prefix.category == category:
                found.append(_place(workspace, store, name, prefix))
    return tuple(found)


def place(workspace: Workspace, category: str) -> Place:
    """The first of them, where one puts something. UnknownName when there is none."""
    found = places(workspace, category)
    if not found:
        raise UnknownName(f"The catalog has no dataset of category {category}.", fix="Add a prefix with it to a store of kind s3.")
    return found[0]


def _place(workspace: Workspace, store: Store, name: str, prefix: Prefix) -> Place:
    connection = workspace.connections(store.connection)
    inside, public = workspace.s3(store.connection), connection.extra.get("public_endpoint_url")
    return Place(
        dataset=name,
        bucket=prefix.bucket,
        prefix=folder(prefix.prefix),
        client=inside,
        encryption=connection.extra.get("encryption") or None,
        kms_key=connection.extra.get("kms_key_id") or None,
        outside=client(replace(connection, extra={**connection.extra, **({"endpoint_url": public} if public else {})}), links=True),
    )
