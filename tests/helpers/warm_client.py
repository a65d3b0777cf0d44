"""Imported by a process that forks others which make S3 clients: botocore's description of S3 is read once here, and not in each of them."""

from __future__ import annotations

from lethe.connections import Connection
from lethe.stores.s3.client import client

client(Connection(id="none", kind="aws", login="k", password="s", extra={"endpoint_url": "http://127.0.0.1:1"}))
