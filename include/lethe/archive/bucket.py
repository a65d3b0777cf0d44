"""The archive's bucket: put an object and prove how it lies there, read it back, lock it until its expiry, drop it whole.

Every step is asked of the store and its answer read. No key leaves this module in an error.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from lethe.archive.answers import code, ended_is_gone, reading, status, writing
from lethe.archive.posture import ArchivePosture, read_posture, refuse_unfit
from lethe.connections import Connection
from lethe.errors import ArchiveDiffers, NotArchivable, ObjectErrors
from lethe.stores.s3.client import answering, client

__all__ = ["ArchiveBucket", "ArchivePosture", "Head", "Listed", "Put", "refuse_unfit"]

PART = 8 << 20
"""Bytes of a part; what fits into one is put by one request."""


class Put(NamedTuple):
    """What was put: its version (None in a bucket without versions), the store's etag, its size in bytes."""

    version: str | None
    etag: str
    bytes: int


class Head(NamedTuple):
    """What the store says about an object: its size in bytes, how it is encrypted (aws:kms, AES256, or None), until when it is locked."""

    bytes: int
    encryption: str | None
    lock_until: datetime | None


class Listed(NamedTuple):
    """One version or delete marker of the bucket. `version` is None where the bucket has no versions; a marker has no size and no etag."""

    key: str
    version: str | None
    is_latest: bool
    size: int
    is_marker: bool
    etag: str | None = None


class ArchiveBucket:
    """The archive's bucket. Safe to use from several threads.

    Each method raises Unreachable when the store does not answer or refuses our credentials, Uncountable when it refuses a right to read,
    and what is named there.
    """

    def __init__(self, client: Any, name: str, *, encryption: str | None = None, kms_key: str | None = None) -> None:
        self.name, self.encryption, self._kms_key, self._client = name, encryption, kms_key, client

    @classmethod
    def of(cls, connection: Connection) -> ArchiveBucket:
        """The bucket of a connection: `bucket`, `encryption` (to write) and perhaps `kms_key_id` in its extra. Asks the store nothing.

        Raises NotArchivable when no bucket is named, Unreachable when the endpoint cannot be used.
        """
        extra = connection.extra
        if not extra.get("bucket"):
            raise NotArchivable(f"Connection {connection.id!r} names no bucket.", fix="Set `bucket` in its extra.")
        return cls(
            client(connection), str(extra["bucket"]), encryption=extra.get("encryption") or None, kms_key=extra.get("kms_key_id") or None
        )

    @property
    def client(self) -> Any:
        """The boto3 client: one that takes a third of a second to make, for whoever needs a request that is not here."""
        return self._client

    def posture(self) -> ArchivePosture:
        """What the bucket is set to, as read from the store; `refuse_unfit` judges it."""
        return read_posture(self._client, self.name, self.encryption)

    def put(self, key: str, data: Any) -> Put:
        """Puts bytes (anything with the buffer protocol) under a key that nobody else uses. Encrypted as the connection asks.

        Each request carries the digest of what it sends. A failed upload in parts is ended; an object whose answer was lost may lie there:
        the caller has announced its key, and drops it. Raises StoreFull, ArchiveDiffers when bytes changed on the way, NotArchivable when
        the store cannot encrypt so or we may not write.
        """
        view = memoryview(data).cast("B")
        with writing(self.name, self.encryption):
            answer, retried = self._put_whole(key, bytes(data)) if len(view) <= PART else self._put_in_parts(key, view)
            version = _version(answer)
            if retried:
                self._forget_lost_answers(key, version)
        return Put(version, _etag(answer) or "", len(view))

    def head(self, key: str, version: str | None) -> Head:
        """What the store says about an object. ArchiveDiffers when it is not there."""
        with reading(self.name):
            answer = self._client.head_object(Bucket=self.name, Key=key, **_of(version))
        end = answer.get("ObjectLockRetainUntilDate")
        return Head(int(answer["ContentLength"]), answer.get("ServerSideEncryption"), end.astimezone(UTC) if end else None)

    def verify_encryption(self, key: str, version: str | None) -> str:
        """How the object is encrypted, as the store says on reading its head.

        NotArchivable when that is not what was asked for: some stores drop the wish in silence.
        """
        return self._as_asked(self.head(key, version).encryption)

    def get_encrypted(self, key: str, version: str | None) -> tuple[bytes, str]:
        """The object's bytes, and how the store says in the same answer that it is encrypted. Raises what `get` and `verify_encryption` raise."""
        with reading(self.name):
            answer = self._client.get_object(Bucket=self.name, Key=key, **_of(version))
            data = answer["Body"].read()
        return data, self._as_asked(answer.get("ServerSideEncryption"))

    def _as_asked(self, says: str | None) -> str:
        if says is None or says != self.encryption:
            raise NotArchivable(
                f"The object store of bucket {self.name!r} did not encrypt as asked ({self.encryption}): it says {says or 'nothing'}.",
                fix="Ask for an `encryption` that the store has (aws:kms with `kms_key_id`, or AES256) in the connection's extra.",
            )
        return says

    def get(self, key: str, version: str | None) -> bytes:
        """The object's bytes, decrypted by the store; compare their sha256. ArchiveDiffers when it is not there."""
        with reading(self.name):
            return bytes(self._client.get_object(Bucket=self.name, Key=key, **_of(version))["Body"].read())

    def lock(self, key: str, version: str | None, until: datetime) -> datetime:
        """Locks an object (GOVERNANCE) until an instant, in whole seconds and never beyond it; returns the end as read back.

        Locking again is no error. No store lets anybody shorten a lock who does not ask to pass it by, so it is not looked at first. Raises
        ArchiveDiffers when it is locked longer already (a lock is never shortened) or what is read back is another end; NotArchivable when
        the store refuses, as it does for an instant that is over and in a bucket without object lock.
        """
        end = until.astimezone(UTC).replace(microsecond=0)
        with reading(self.name):
            try:
                retention: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": end}
                self._client.put_object_retention(Bucket=self.name, Key=key, Retention=retention, **_of(version))
            except ClientError as error:
                if code(error) in {"InvalidRequest", "InvalidArgument"}:
                    raise NotArchivable(
                        f"The object store of bucket {self.name!r} refuses a lock until {end.isoformat()} ({code(error)}).",
                        fix="The bucket has no object lock, or that instant is over.",
                    ) from None
                before = self.lock_until(key, version) if code(error) == "AccessDenied" else None
                if before is None or before <= end:
                    raise
                raise ArchiveDiffers(
                    f"An object of bucket {self.name!r} is locked until {before.isoformat()}, longer than until its expiry.",
                    fix="Find who locked it. Lethe shortens no lock; the object stays until then, which the policy does not allow.",
                ) from None
        after = self.lock_until(key, version)
        if after != end:
            raise ArchiveDiffers(
                f"A lock of bucket {self.name!r} until {end.isoformat()} reads back as {after.isoformat() if after else 'none'}.",
                fix="Look at the store's object lock: what it accepts, it does not keep.",
            )
        return end

    def lock_until(self, key: str, version: str | None) -> datetime | None:
        """Until when the store keeps an object from being deleted, UTC; None when it says nothing: no lock, or no right to see it.

        Read from the head, which every store answers; moto has no GetObjectRetention. ArchiveDiffers when the object is not there.
        """
        return self.head(key, version).lock_until

    def drop(self, key: str) -> int:
        """Deletes every version, delete marker and unfinished upload of exactly that key; returns how many there were.

        Looks again afterwards: ObjectErrors when anything is left, as while a lock is in force. A key with nothing is 0.
        """
        versions, uploads = self._versions(key), self._uploads(key)
        refused: set[str] = set()
        with answering(self.name):
            for upload in uploads:
                with ended_is_gone():
                    self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
            for each in sorted(versions, key=lambda v: v.is_marker):  # a marker last: while it is there, the versions are hidden
                try:
                    self._client.delete_object(Bucket=self.name, Key=key, VersionId=each.version or "null")
                except ClientError as error:
                    if status(error) >= 500 or code(error) in {"InvalidAccessKeyId", "SignatureDoesNotMatch"}:
                        raise
                    refused.add(code(error))
        left = len(self._versions(key)) + len(self._uploads(key)) if versions or uploads else 0
        if left:
            raise ObjectErrors(
                f"The object store of bucket {self.name!r} left {left} of {len(versions) + len(uploads)} entries of one object"
                f" ({', '.join(sorted(refused)) or 'no reason given'}).",
                fix="Look for an object lock, a legal hold or a bucket policy, then try again.",
            )
        return len(versions) + len(uploads)

    def listing(self, *, page_size: int = 1000) -> Iterator[Listed]:
        """Every version and delete marker of the bucket, page by page; within a page, versions first."""
        yield from self._pages("", page_size)

    def unfinished(self) -> Iterator[str]:
        """The keys of unfinished uploads, whose parts take room and are in no listing."""
        with answering(self.name):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name):
                yield from (row["Key"] for row in page.get("Uploads", []))

    def _put_whole(self, key: str, body: bytes) -> tuple[dict[str, Any], bool]:
        answer = self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentMD5=_md5(body), **self._encrypted())
        return answer, _retried(answer)

    def _put_in_parts(self, key: str, view: memoryview) -> tuple[dict[str, Any], bool]:
        upload = self._client.create_multipart_upload(Bucket=self.name, Key=key, **self._encrypted())
        of = {"Bucket": self.name, "Key": key, "UploadId": upload["UploadId"]}
        try:
            parts = []
            for number, start in enumerate(range(0, len(view), PART), start=1):
                body = bytes(view[start : start + PART])
                part = self._client.upload_part(**of, PartNumber=number, Body=body, ContentMD5=_md5(body))
                parts.append({"ETag": part["ETag"], "PartNumber": number})
            answer = self._client.complete_multipart_upload(**of, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell; what is left is found by drop()
                self._client.abort_multipart_upload(**of)
            raise
        if _retried(upload):  # an upload whose answer was lost has parts of nobody
            for other in self._uploads(key):
                with ended_is_gone():
                    self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=other)
        return answer, _retried(answer)

    def _forget_lost_answers(self, key: str, version: str | None) -> None:
        """A request that was sent twice because its first answer was lost made two versions: only the one that was answered stays."""
        for other in self._versions(key):
            if other.version != version and version is not None:
                self._client.delete_object(Bucket=self.name, Key=key, VersionId=other.version)

    def _encrypted(self) -> dict[str, str]:
        if self.encryption is None:
            raise NotArchivable(f"No encryption is asked for in bucket {self.name!r}.", fix="Set `encryption` in the connection's extra.")
        key = {"SSEKMSKeyId": str(self._kms_key)} if self.encryption == "aws:kms" and self._kms_key else {}
        return {"ServerSideEncryption": self.encryption, **key}

    def _versions(self, key: str) -> list[Listed]:
        return [row for row in self._pages(key, 1000) if row.key == key]

    def _uploads(self, key: str) -> list[str]:
        with answering(self.name):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name, Prefix=key)
            return [row["UploadId"] for page in pages for row in page.get("Uploads", []) if row["Key"] == key]

    def _pages(self, prefix: str, page_size: int) -> Iterator[Listed]:
        pages = self._client.get_paginator("list_object_versions")
        with answering(self.name):
            for page in pages.paginate(Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": page_size}):
                for kind in ("Versions", "DeleteMarkers"):
                    for row in page.get(kind, []):
                        marker = kind == "DeleteMarkers"
                        size, etag = (0, None) if marker else (int(row["Size"]), _etag(row))
                        yield Listed(row["Key"], _version(row), bool(row["IsLatest"]), size, marker, etag)


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _of(version: str | None) -> dict[str, str]:
    return {} if version is None else {"VersionId": version}


def _version(answer: Any) -> str | None:
    version = answer.get("VersionId")
    return None if version in {None, "", "null"} else str(version)


def _etag(answer: Any) -> str | None:
    return str(answer.get("ETag") or "").strip('"') or None


def _retried(answer: Any) -> bool:
    return bool(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0))
