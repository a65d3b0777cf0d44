"""A bucket for the archive on a real gateway, with a user of its own, and ways to break what lies between."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from typing import Any

from demo.ceph import CephGateway
from helpers.wire import Kind, Wire
from lethe.archive.bucket import ArchiveBucket
from lethe.connections import Connection
from lethe.stores import s3

KMS_KEY = "lethe-test"  # the one key of the gateway's testing backend


@dataclass(kw_only=True)
class ArchiveStore:
    """A bucket that belongs to one user of the gateway, seen straight (`client`) and as the archive sees it (`archive()`)."""

    gateway: CephGateway
    keys: tuple[str, str]
    name: str = field(default_factory=lambda: f"archive-{uuid.uuid4().hex[:10]}")

    def connection(self, *, keys: tuple[str, str] | None = None, endpoint: str | None = None, **extra: Any) -> Connection:
        """The connection `archive_s3`: encrypted by the gateway's key unless `extra` says otherwise; None takes a setting out."""
        access, secret = keys or self.keys
        given = {
            "endpoint_url": endpoint or self.gateway.endpoint,
            "bucket": self.name,
            "encryption": "aws:kms",
            "kms_key_id": KMS_KEY,
            **extra,
        }
        return Connection(
            id="archive_s3", kind="aws", login=access, password=secret, extra={k: v for k, v in given.items() if v is not None}
        )

    def archive(self, **changes: Any) -> ArchiveBucket:
        return ArchiveBucket.of(self.connection(**changes))

    @cached_property
    def client(self) -> Any:
        return s3.client(self.connection())

    def create(self, *, lock: bool = True, versioned: bool = True) -> ArchiveStore:
        self.client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=lock)
        if versioned and not lock:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        return self

    def everything(self) -> list[tuple[str, str]]:
        """What lies in the bucket, by kind and key: versions, delete markers, unfinished uploads."""
        listed = self.client.list_object_versions(Bucket=self.name)
        uploads = self.client.list_multipart_uploads(Bucket=self.name)
        kinds = (("version", listed, "Versions"), ("marker", listed, "DeleteMarkers"), ("upload", uploads, "Uploads"))
        return sorted((kind, row["Key"]) for kind, answer, name in kinds for row in answer.get(name, []))

    def limit(self, size: int) -> None:
        """From now on the user may store no more than `size` bytes. To be set before the user's first object: the gateway caches it."""
        user = self.gateway._run("radosgw-admin", "user", "info", f"--access-key={self.keys[0]}", "--format=json")
        name = user.partition('"user_id": "')[2].partition('"')[0]
        self.gateway._run("radosgw-admin", "quota", "set", "--quota-scope=user", f"--uid={name}", f"--max-size={size}")
        self.gateway._run("radosgw-admin", "quota", "enable", "--quota-scope=user", f"--uid={name}")


def archive_store(gateway: CephGateway, *, lock: bool = True, versioned: bool = True, keys: tuple[str, str] | None = None) -> ArchiveStore:
    """A new bucket of a new user, or of the user of `keys`; with object lock, which brings versions, unless told otherwise."""
    return ArchiveStore(gateway=gateway, keys=keys or gateway.new_user()).create(lock=lock, versioned=versioned)


class FlippingWire(Wire):
    """A wire that flips one bit in the body of each PUT, or of each answer to a GET of an object."""

    def __init__(self, target: str, *, up: bool = False, down: bool = False) -> None:
        super().__init__(target)
        self.up, self.answers = up, down

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes, kind: Kind) -> tuple[int, dict[str, str], bytes]:
        if self.up and request.command == "PUT" and body:
            body = _flipped(body)
        status, headers, answer = super()._forward(request, body, kind)
        if self.answers and request.command == "GET" and status == 200 and "retention" not in request.path:
            answer = _flipped(answer)
        return status, headers, answer


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


@contextmanager
def flipping_wire(target: str, *, up: bool = False, down: bool = False) -> Iterator[FlippingWire]:
    """A wire to the store's endpoint that damages what is sent (`up`) or what is answered (`down`)."""
    wire = FlippingWire(target, up=up, down=down)
    thread = threading.Thread(target=wire._server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield wire
    finally:
        wire._server.shutdown()
        thread.join()
        wire._server.server_close()
