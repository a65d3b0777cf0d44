"""Writing an object as a stream whose length is not known beforehand: parts of eight MiB, one of them in memory at a time.

Each part carries its MD5 digest, and the whole is hashed as it passes. Nothing is to be seen in the bucket before `close`; what was begun
and not closed is ended by `abort`, or found and ended by its key (`named.entries_of`).
"""

from __future__ import annotations

import base64
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lethe.errors import NotEncrypted
from lethe.stores.s3.client import answering

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 8 << 20
"""Bytes of a part. Object stores take 10,000 of them: 78 GiB an object."""


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What was written: its version (None in a bucket without versions), its bytes and their sha256, and how the store says it is encrypted."""

    bucket: str
    key: str = field(repr=False)
    version: str | None
    bytes: int
    sha256: str
    encryption: str | None


class Upload(io.RawIOBase):
    """A writable stream into one object. Raises Unreachable or Uncountable as the store's client does."""

    def __init__(
        self, client: S3Client, bucket: str, key: str, *, encryption: str | None, content_type: str, kms_key: str | None = None
    ) -> None:
        """Asks the store for an upload in parts, encrypted so."""
        self._client: Any = client
        self._encryption = encryption
        self._of: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._parts: list[dict[str, Any]] = []
        self._waiting = bytearray()
        self._hash, self._bytes = hashlib.sha256(), 0
        self.uploaded: Uploaded | None = None
        wish: dict[str, Any] = {} if encryption is None else {"ServerSideEncryption": encryption}
        if encryption == "aws:kms" and kms_key:
            wish["SSEKMSKeyId"] = kms_key
        try:
            with answering(bucket):
                self._of["UploadId"] = client.create_multipart_upload(**self._of, ContentType=content_type, **wish)["UploadId"]
        except BaseException:
            super().close()  # nothing was begun, so nothing is to be ended
            raise

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Takes bytes; sends each part that is full."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._bytes += len(view)
        self._waiting += view
        while len(self._waiting) >= PART:
            self._send(bytes(self._waiting[:PART]))
            del self._waiting[:PART]
        return len(view)

    def close(self) -> None:
        """Sends what is left and makes the object one; asks how it lies there. NotEncrypted when not as was wished."""
        if self.closed or self.uploaded is not None:
            return
        if self._waiting or not self._parts:
            self._send(bytes(self._waiting))
            self._waiting.clear()
        bucket, key = self._of["Bucket"], self._of["Key"]
        with answering(bucket):
            answer = self._client.complete_multipart_upload(**self._of, MultipartUpload={"Parts": self._parts})
            version = answer.get("VersionId") if answer.get("VersionId") not in {None, "", "null"} else None
            head = self._client.head_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
        says = head.get("ServerSideEncryption")
        self.uploaded = Uploaded(bucket=bucket, key=key, version=version, bytes=self._bytes, sha256=self._hash.hexdigest(), encryption=says)
        super().close()
        if says != self._encryption:
            raise NotEncrypted(
                f"The object store of bucket {bucket!r} did not encrypt as asked ({self._encryption}): it says {says or 'nothing'}.",
                fix="Ask for an `encryption` that the store has (aws:kms with `kms_key_id`, or AES256) in the connection's extra.",
            )

    def abort(self) -> None:
        """Ends the upload: nothing of it is left. What the store does not answer now is found by its key later."""
        if self.uploaded is None and not self.closed:
            with suppress(Exception):  # the error that led here is the one to tell
                self._client.abort_multipart_upload(**self._of)
        super().close()

    def _send(self, body: bytes) -> None:
        number = len(self._parts) + 1
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        with answering(self._of["Bucket"]):
            part = self._client.upload_part(**self._of, PartNumber=number, Body=body, ContentMD5=digest)
        self._parts.append({"ETag": part["ETag"], "PartNumber": number})
