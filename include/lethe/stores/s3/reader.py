"""An object of a store as a file that can be read anywhere in, a piece at a time: an archive's directory stands at its end."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from lethe.stores.s3.client import answering

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIECE = 1 << 20
"""Bytes of a request; memory does not grow with the object."""


class ObjectFile(io.RawIOBase):
    """A seekable, read-only file over one version of an object. Raises Unreachable or Uncountable as the store's client does."""

    def __init__(self, client: S3Client, bucket: str, key: str, version: str | None, size: int) -> None:
        """Asks nothing yet. `size` in bytes, as it was stored."""
        self._client: Any = client
        self._of: dict[str, Any] = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        self._size, self._at = size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves there; nothing is asked of the store."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Reads as many bytes as fit, by one request."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        with answering(self._of["Bucket"]):
            body = self._client.get_object(**self._of, Range=f"bytes={self._at}-{self._at + wanted - 1}")["Body"]
            data = body.read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_object(client: S3Client, bucket: str, key: str, version: str | None, size: int) -> io.BufferedReader:
    """The object as a buffered file; close it."""
    return io.BufferedReader(ObjectFile(client, bucket, key, version, size), PIECE)
