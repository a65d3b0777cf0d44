"""What the archive's bucket protects its objects by: read from the store, said, never assumed; and what makes it unfit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from lethe.errors import NotArchivable
from lethe.frozen import Frozen
from lethe.stores.s3.client import answering

ENCRYPTIONS = ("aws:kms", "AES256")
_ABSENT = {"ObjectLockConfigurationNotFoundError", "NoSuchLifecycleConfiguration"}
_UNTOLD = {"AccessDenied", "MethodNotAllowed", "NotImplemented", "403"}


class ArchivePosture(Frozen):
    """Settings of the archive's bucket. None is a question that the store did not answer: unknown, which is neither yes nor no.

    `default_retention_days`: how long the bucket locks whatever is put in it; 0 when it does not. `deletes_by_itself`: a lifecycle rule
    ends current objects, of any age or prefix. `encryption` is what the connection asks for.
    """

    bucket: str
    exists: bool = True
    versioned: bool | None = None
    lock: bool | None = None
    default_retention_days: int | None = None
    deletes_by_itself: bool | None = None
    encryption: str | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What does not protect the archive, or is not known to, in the words of a report."""
        said: dict[str, dict[bool | None, str]] = {
            "versioned": {
                False: "no versions: an overwritten or deleted object cannot be had back",
                None: "versions unknown: the store does not say whether an overwritten or deleted object can be had back",
            },
            "lock": {
                False: "no object lock: whoever may write to the bucket may delete from it before the expiry",
                None: "object lock unknown: the store does not say whether an object can be deleted before its expiry",
            },
            "deletes_by_itself": {None: "lifecycle unknown: the store does not say whether it deletes objects by itself"},
        }
        return tuple(texts[getattr(self, name)] for name, texts in said.items() if getattr(self, name) in texts)


def read_posture(client: Any, bucket: str, encryption: str | None) -> ArchivePosture:
    """Asks the store. Raises Unreachable when it does not answer; a bucket that is not there is `exists=False`."""
    try:
        with answering(bucket):
            versioning = _asked(lambda: client.get_bucket_versioning(Bucket=bucket))
            lock = _asked(lambda: client.get_object_lock_configuration(Bucket=bucket))
            lifecycle = _asked(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket))
    except _NoBucket:
        return ArchivePosture(bucket=bucket, exists=False, encryption=encryption)
    configuration = None if lock is None else lock.get("ObjectLockConfiguration", {})
    return ArchivePosture(
        bucket=bucket,
        versioned=None if versioning is None else versioning.get("Status") == "Enabled",
        lock=None if configuration is None else configuration.get("ObjectLockEnabled") == "Enabled",
        default_retention_days=None if configuration is None else _days(configuration),
        deletes_by_itself=None if lifecycle is None else any(_expires(rule) for rule in lifecycle.get("Rules", [])),
        encryption=encryption,
    )


def refuse_unfit(posture: ArchivePosture, shortest: timedelta | None = None) -> None:
    """NotArchivable when the bucket cannot be the archive: it is missing, encryption is not asked for, it locks or deletes by itself.

    `shortest` is the time from now to the earliest expiry of what would be put there: a lock beyond it would break the promise to delete.
    What a bucket merely lacks (versions, object lock) is `posture.lacks`: said in each report, and no reason to refuse.
    """
    name = f"The archive's bucket {posture.bucket!r}"
    if not posture.exists:
        raise NotArchivable(f"{name} does not exist.", fix="Create it, with versions and object lock, or correct the connection's extra.")
    if posture.encryption not in ENCRYPTIONS:
        raise NotArchivable(
            f"{name} is asked for no encryption that is known: the policy promises it at rest.",
            fix=f"Set `encryption` in the extra of its connection to one of {', '.join(ENCRYPTIONS)}.",
        )
    days = posture.default_retention_days or 0
    if days:
        beyond = shortest is not None and timedelta(days=days) > shortest
        why = "longer than until the first of them must expire" if beyond else "so one whose deletion did not commit could not be dropped"
        raise NotArchivable(
            f"{name} locks all objects by itself for {days} days, {why}.",
            fix="Take the default retention off the bucket: Lethe locks each object itself, until its own expiry.",
        )
    if posture.deletes_by_itself:
        raise NotArchivable(
            f"{name} has a lifecycle rule that deletes objects: they could go before the law allows it.",
            fix="Take the expiration out of the lifecycle rule: Lethe deletes each object itself, on its day.",
        )


class _NoBucket(Exception):
    pass


def _asked(ask: Callable[[], Any]) -> dict[str, Any] | None:
    """The answer, {} when the store says there is no such setting, None when it refuses to say."""
    try:
        return dict(ask())
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code == "NoSuchBucket":
            raise _NoBucket from None
        if code in _ABSENT:
            return {}
        if code in _UNTOLD:
            return None
        raise


def _days(configuration: dict[str, Any]) -> int:
    default = configuration.get("Rule", {}).get("DefaultRetention", {})
    return int(default.get("Days") or 0) + 365 * int(default.get("Years") or 0)


def _expires(rule: dict[str, Any]) -> bool:
    """Does an enabled rule delete what is current? Markers without versions, old versions and unfinished uploads are no loss."""
    expiration = rule.get("Expiration", {})
    return rule.get("Status") == "Enabled" and any(expiration.get(kind) for kind in ("Days", "Date"))
