"""The archive's bucket as the check sees it: listed to its last page and read by boto3 alone, without the archive's own code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from lethe.connections import Connection
from lethe.verify.objects import _client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ID = re.compile(r"/_?([0-9a-f]{32})\.(?:parquet|manifest\.json)$")
_UNASKED = {"AccessDenied", "MethodNotAllowed", "NotImplemented", "403"}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What lies under a prefix. `entries`: the size in bytes of each version, by key and version id ("null" where the bucket has none);
    `ids`: of which objects anything is there, a version, a marker, an unfinished upload, or their manifest. `versions` False: the bucket
    could not be asked for old versions, so only current objects are known."""

    entries: Mapping[tuple[str, str], int]
    ids: frozenset[str]
    number: int
    versions: bool

    def size(self, key: str, version: str) -> int | None:
        """The size of a version, or of the current object where versions are not known; None when it is not there."""
        return self.entries.get((key, version if self.versions else "null"))


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The bucket. Every method raises boto3's own errors."""

    client: S3Client
    bucket: str

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """The bucket that a connection names in its extra."""
        return cls(client=_client(connection), bucket=str(connection.extra.get("bucket") or ""))

    def listing(self, prefix: str) -> Listing:
        """Everything under the prefix, to its last page."""
        from botocore.exceptions import ClientError

        entries: dict[tuple[str, str], int] = {}
        keys: list[str] = []
        versions = True
        try:
            for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
                for row in page.get("Versions", []):
                    entries[row["Key"], row.get("VersionId") or "null"] = int(row["Size"])
                    keys.append(row["Key"])
                keys += [row["Key"] for row in page.get("DeleteMarkers", [])]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _UNASKED:
                raise
            versions = False
            entries, keys = self._current(prefix)
        for uploads in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
            keys += [row["Key"] for row in uploads.get("Uploads", [])]
        ids = frozenset(found[1] for key in keys if (found := _ID.search(key)) is not None)
        return Listing(entries=entries, ids=ids, number=len(keys), versions=versions)

    def _current(self, prefix: str) -> tuple[dict[tuple[str, str], int], list[str]]:
        rows: list[Any] = []
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            rows += page.get("Contents", [])
        return {(row["Key"], "null"): int(row["Size"]) for row in rows}, [row["Key"] for row in rows]

    def get(self, key: str, version: str) -> bytes:
        """The bytes of one version; "null" for a bucket without versions."""
        which: Any = {} if version == "null" else {"VersionId": version}
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key, **which)["Body"].read())

    def can_lock(self) -> bool:
        """Has the bucket object lock?"""
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object_lock_configuration(Bucket=self.bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ObjectLockConfigurationNotFoundError":
                return False
            raise
        return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
