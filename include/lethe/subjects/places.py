"""Where what requests bring and get lies: the bucket and prefix of a category, as the catalog names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lethe.errors import UnknownName
from lethe.stores.s3.client import client
from lethe.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUNDLES, PROOFS, INTAKE = "export-bundles", "identity-proofs", "intake-files"
"""The retention categories of the three: each has a rule, so that nothing stays longer than its period."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A prefix of a bucket, with a client that may write and delete there. `encryption` is what is asked for, None for nothing.

    `public`: the endpoint by which a person reaches the bucket, where it is another than Lethe's own.
    """

    dataset: str
    bucket: str
    prefix: str
    client: S3Client = field(repr=False, compare=False)
    encryption: str | None
    kms_key: str | None = field(repr=False)
    outside: S3Client = field(repr=False, compare=False)


def place_of(workspace: Workspace, category: str) -> Place:
    """The place of a category. UnknownName when the catalog has none, or several; Unreachable when its connection is not set."""
    found = [(s, i, p) for s in workspace.catalog.stores for i, p in s.prefixes.items() if p.category == category]
    if len(found) != 1:
        raise UnknownName(
            f"The catalog has {len(found)} prefixes of category `{category}`: it must have one.",
            fix="Name the bucket in the catalog, with its connection and a clock (lethe_requests.yaml of the shipped policy shows how).",
        )
    store, dataset, prefix = found[0]
    connection = workspace.connections(store.connection)
    extra = connection.extra
    inside = client(connection)
    public = extra.get("public_endpoint_url")
    if public:
        from dataclasses import replace

        outside = client(replace(connection, extra={**extra, "endpoint_url": public}))
    else:
        outside = inside
    return Place(
        dataset=dataset,
        bucket=prefix.bucket,
        prefix=prefix.prefix,
        client=inside,
        encryption=extra.get("encryption") or None,
        kms_key=extra.get("kms_key_id") or None,
        outside=outside,
    )
