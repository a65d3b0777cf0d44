"""A boto3 client from a connection, and boto3's errors in our words: without keys, with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, PaginationError, PartialCredentialsError

from lethe.connections import Connection, bad_endpoint, require_https
from lethe.errors import Uncountable, Unreachable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_HURRIED = 2
_MAKING = Lock()
_ATTEMPTS = 5  # boto's own, with its back-off: covers a gateway that restarts, not one that stays away


def client(connection: Connection, *, patient: bool = True, links: bool = False) -> S3Client:
    """An S3 client: login and password are the access key and its secret; `endpoint_url` and `region_name` come from extra.

    Asks nothing of the store yet. Not `patient` is for a caller whose rows stay locked meanwhile: a silent store is given up within half
    a minute. `links` is for one that signs links, by version 4: behind an endpoint boto3 chooses an older one by itself. Raises Unreachable
    when the endpoint is no URL or leaves this machine without TLS, or a key has no secret.
    """
    endpoint = connection.extra.get("endpoint_url") or None
    require_https(connection, endpoint)
    config = Config(
        user_agent="lethe",  # what the store's access log says; boto3's own is put together anew for each request
        signature_version="s3v4" if links else None,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS if patient else _HURRIED},
        connect_timeout=5 if patient else 2,
        read_timeout=60 if patient else 10,
        # Stores behind an endpoint of their own rarely have a DNS name for each bucket, nor the newer checksums.
        s3={"addressing_style": "path" if endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        with _MAKING:  # boto3's sessions do not make clients for two threads at once
            return _session().client(
                "s3",
                endpoint_url=endpoint,
                config=config,
                aws_access_key_id=connection.login or None,
                aws_secret_access_key=connection.password or None,
                region_name=connection.extra.get("region_name") or "us-east-1",
            )
    except ValueError:  # boto's for both
        raise bad_endpoint(connection, "endpoint_url or region_name") from None
    except PartialCredentialsError:
        raise Unreachable(
            f"Connection {connection.id!r} has one of login and password, which are an access key and its secret.",
            fix="Set both, or neither.",
        ) from None


@cache
def _session() -> boto3.session.Session:
    """One for the process: the first client reads botocore's description of S3, which takes a third of a second, and the others have it."""
    return boto3.session.Session()


@contextmanager
def answering(bucket: str) -> Iterator[None]:
    """Turns boto3's errors into Unreachable (no answer, refused credentials) or Uncountable (no such bucket, no right).

    Neither carries the original text: it may quote a key.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise _refused(bucket, code, status) from None
    except PaginationError:
        raise Uncountable(
            f"The object store repeats a page of bucket {bucket!r}: it cannot be listed to its end.",
            fix="Ask its vendor; nothing was claimed.",
        ) from None
    except BotoCoreError as error:
        raise Unreachable(
            f"The object store of bucket {bucket!r} does not answer ({type(error).__name__}).",
            fix="Start it or mend the connection, then run the same plan again: it takes up where it stopped.",
        ) from None


def _refused(bucket: str, code: str, status: int) -> Unreachable | Uncountable:
    if code in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}:
        return Unreachable(
            f"The object store of bucket {bucket!r} refuses our credentials ({code}).", fix="Correct login and password of the connection."
        )
    if code == "NoSuchBucket":
        return Uncountable(f"Bucket {bucket!r} does not exist.", fix="Correct the catalog, or create the bucket.")
    if status in {401, 403} or code == "AccessDenied":
        return Uncountable(
            f"We have no right to read bucket {bucket!r} ({code}).",
            fix="Allow s3:ListBucketVersions, s3:ListBucketMultipartUploads, s3:DeleteObjectVersion and s3:AbortMultipartUpload to the connection's user.",
        )
    return Unreachable(
        f"The object store of bucket {bucket!r} failed ({code}, status {status}).", fix="Look at its health, then run the same plan again."
    )
