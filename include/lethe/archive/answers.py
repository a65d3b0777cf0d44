"""What an object store's refusals mean for the archive, in our words: without a key, with what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from lethe.errors import ArchiveDiffers, LetheError, NotArchivable, StoreFull
from lethe.stores.s3.client import answering

_FULL = {"QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "XMinioStorageFull"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"}
_REFUSED = {"InvalidArgument", "InvalidRequest", "NotImplemented", "InvalidEncryptionAlgorithmError"}
_MISSING = {"404", "NoSuchKey", "NoSuchVersion"}
_ENDED = "NoSuchUpload"


def code(error: ClientError) -> str:
    """The store's code of an error."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def status(error: ClientError) -> int:
    """The HTTP status of an error; 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def reading(bucket: str) -> Iterator[None]:
    """`answering`, and ArchiveDiffers for an object that is not there."""
    with answering(bucket):
        try:
            yield
        except ClientError as error:
            if code(error) not in _MISSING and status(error) != 405:  # 405: that version is a delete marker
                raise
            raise ArchiveDiffers(
                f"An object that should be in bucket {bucket!r} is not there ({code(error)}).",
                fix="Find out who deleted it: if its rows left the source, they are in a backup or nowhere.",
            ) from None


@contextmanager
def writing(bucket: str, encryption: str | None) -> Iterator[None]:
    """`answering`, and StoreFull, ArchiveDiffers (bytes changed on the way) or NotArchivable (it cannot encrypt so, or we may not write)."""
    with answering(bucket):
        try:
            yield
        except ClientError as error:
            problem = _in_words(bucket, encryption, error)
            if problem is None:
                raise
            raise problem from None


@contextmanager
def ended_is_gone() -> Iterator[None]:
    """An upload that somebody else ended is gone all the same."""
    try:
        yield
    except ClientError as error:
        if code(error) != _ENDED:
            raise


def _in_words(bucket: str, encryption: str | None, error: ClientError) -> LetheError | None:
    why = code(error)
    if why in _FULL or status(error) == 507:
        return StoreFull(f"Bucket {bucket!r} takes no more ({why}).", fix="Give the archive room, then run the same plan again.")
    if why in _DAMAGED:
        return ArchiveDiffers(
            f"The object store of bucket {bucket!r} received other bytes than were sent ({why}).",
            fix="Run the same plan again; if it happens again, look at the network between.",
        )
    # Ceph calls an encryption key that it does not have an access key: only its message tells them apart.
    of_a_key = why.startswith("KMS") or "kms" in str(error.response.get("Error", {}).get("Message", "")).lower()
    if of_a_key or why in _REFUSED:
        return NotArchivable(
            f"The object store of bucket {bucket!r} refuses an object encrypted by {encryption} ({why}).",
            fix="Ask for an `encryption` that the store has, and name its `kms_key_id`, in the connection's extra.",
        )
    if why == "AccessDenied":
        return NotArchivable(
            f"We have no right to write to bucket {bucket!r} ({why}).",
            fix="Allow s3:PutObject and s3:AbortMultipartUpload to the user of the archive's connection, and the use of its encryption key.",
        )
    return None
