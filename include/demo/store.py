"""The demo's object store: moto's server, with what it holds kept in `.demo` while it does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo import environment, snapshot
from demo.home import Home
from demo.objects import ObjectServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "objects"


def server(home: Home) -> ObjectServer:
    """The server, on its remembered port."""
    return ObjectServer(folder=home.folder / NAME, port=home.port(NAME))


def start(home: Home) -> bool:
    """Starts the server and puts back what was kept; False when nothing was kept, so that the store is empty."""
    server(home).start()
    return snapshot.restore(client(home), home.folder / NAME)


def stop(home: Home) -> None:
    """Keeps what the server holds, then ends it; nothing when it does not run."""
    if server(home).running():
        snapshot.keep(client(home), home.folder / NAME)
    server(home).stop()


def client(home: Home) -> S3Client:
    """An S3 client of the demo's store."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=environment.endpoint(home),
        region_name="us-east-1",
        aws_access_key_id=home.secret("lethe_s3.key"),
        aws_secret_access_key=home.secret("lethe_s3"),
    )
