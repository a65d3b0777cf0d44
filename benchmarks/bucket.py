"""The archive's bucket of the benchmarks: on a Ceph gateway whose data is in memory, else on moto's server; requests are counted."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore.httpsession import URLLib3Session

from demo.buckets import ensure_bucket
from demo.ceph import CephGateway, available
from demo.objects import ObjectServer
from demo.postgres import free_port
from lethe.connections import Connection
from lethe.stores.s3.client import client


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A bucket that can be the archive, and whose store it is in."""

    connection: Connection
    store: str

    def empty(self) -> None:
        """Deletes every version, locked or not: the store has its data in memory."""
        s3, name = client(self.connection), self.connection.extra["bucket"]
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            found: list[Any] = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in page.get("Versions", [])]
            if found:
                s3.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True}, BypassGovernanceRetention=True)


@contextmanager
def shelf(*, lock: bool = True) -> Iterator[Shelf]:
    """A new bucket with versions, on a store of its own; with object lock unless told."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-shelf-", ignore_cleanup_errors=True)))
        made: CephGateway | ObjectServer
        if available() is None:
            made = CephGateway(folder=folder)
            made.start()
            stack.callback(made.stop)
            (login, password), store = made.new_user(), "Ceph gateway, its data in memory"
        else:
            made = ObjectServer(folder=folder, port=free_port())
            made.start()
            stack.callback(made.stop)
            login, password, store = "k", "s", "moto, for want of a Ceph gateway"
        extra = {"endpoint_url": made.endpoint, "region_name": "us-east-1", "bucket": f"archive-{uuid.uuid4().hex[:10]}"}
        extra |= {"encryption": "aws:kms", "kms_key_id": "lethe-test"}
        connection = Connection(id="archive_s3", kind="aws", login=login, password=password, extra=extra)
        ensure_bucket(client(connection), extra["bucket"], versioned=True, lock=lock)
        yield Shelf(connection=connection, store=store)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the requests that boto3 sends meanwhile: the one number of the list."""
    sent = [0]
    plain = URLLib3Session.send

    def send(self: URLLib3Session, request: Any) -> Any:
        sent[0] += 1
        return plain(self, request)

    with patch.object(URLLib3Session, "send", send):
        yield sent
