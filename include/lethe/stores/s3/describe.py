"""The settings of a bucket that promises rest on, as read from the store: what was not read is `unknown`, never assumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from lethe.frozen import Frozen
from lethe.stores.s3.client import answering

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT = {"ServerSideEncryptionConfigurationNotFoundError", "ObjectLockConfigurationNotFoundError", "NoSuchLifecycleConfiguration"}
_UNTOLD = {"AccessDenied", "MethodNotAllowed", "NotImplemented"}


class Setting(Frozen):
    """One setting: its state, and what the store said about it (an algorithm, a mode, an error code)."""

    state: Literal["on", "suspended", "off", "unknown"]
    detail: str = ""


class LifecycleRule(Frozen):
    """One rule of a bucket's lifecycle; days, None where the rule says nothing."""

    id: str
    enabled: bool
    prefix: str
    expires_after: int | None = None
    old_versions_after: int | None = None
    uploads_after: int | None = None


class Posture(Frozen):
    """What a bucket is set to. `lifecycle` is None when it could not be read; empty when there is none."""

    bucket: str
    versioning: Setting
    encryption: Setting
    object_lock: Setting
    lifecycle: tuple[LifecycleRule, ...] | None

    @property
    def unknown(self) -> tuple[str, ...]:
        """The settings that could not be read."""
        states = {"versioning": self.versioning, "encryption": self.encryption, "object lock": self.object_lock}
        return tuple(n for n, s in states.items() if s.state == "unknown") + (("lifecycle",) if self.lifecycle is None else ())


def describe(client: S3Client, bucket: str) -> Posture:
    """Reads versioning, encryption, object lock and lifecycle of a bucket. Raises Unreachable, or Uncountable when there is no such bucket."""
    with answering(bucket):
        versioning, _ = _read(lambda: client.get_bucket_versioning(Bucket=bucket))
        encryption, why_encryption = _read(lambda: client.get_bucket_encryption(Bucket=bucket))
        lock, why_lock = _read(lambda: client.get_object_lock_configuration(Bucket=bucket))
        lifecycle, _ = _read(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket))
    return Posture(
        bucket=bucket,
        versioning=_versioning(versioning),
        encryption=_encryption(encryption, why_encryption),
        object_lock=_lock(lock, why_lock),
        lifecycle=None if lifecycle is None else tuple(_rule(r) for r in lifecycle.get("Rules", [])),
    )


def _read(ask: Callable[[], Any]) -> tuple[dict[str, Any] | None, str]:
    """The answer, {} when the store says there is no such setting, None and its code when it refuses to say."""
    try:
        return dict(ask()), ""
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in _ABSENT:
            return {}, ""
        if code in _UNTOLD:
            return None, code
        raise


def _versioning(answer: dict[str, Any] | None) -> Setting:
    if answer is None:
        return Setting(state="unknown")
    return {"Enabled": Setting(state="on"), "Suspended": Setting(state="suspended")}.get(answer.get("Status", ""), Setting(state="off"))


def _encryption(answer: dict[str, Any] | None, why: str) -> Setting:
    if answer is None:
        return Setting(state="unknown", detail=why)
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    kinds = [r.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for r in rules]
    return Setting(state="on", detail=", ".join(kinds)) if any(kinds) else Setting(state="off")


def _lock(answer: dict[str, Any] | None, why: str) -> Setting:
    if answer is None:
        return Setting(state="unknown", detail=why)
    configuration = answer.get("ObjectLockConfiguration", {})
    if configuration.get("ObjectLockEnabled") != "Enabled":
        return Setting(state="off")
    default = configuration.get("Rule", {}).get("DefaultRetention", {})
    length = f"{default['Days']} days" if "Days" in default else f"{default['Years']} years" if "Years" in default else ""
    return Setting(state="on", detail=f"{default.get('Mode', '')} {length}".strip().lower())


def _rule(rule: dict[str, Any]) -> LifecycleRule:
    where = rule.get("Filter", {})
    return LifecycleRule(
        id=rule.get("ID", ""),
        enabled=rule.get("Status") == "Enabled",
        prefix=where.get("Prefix") or where.get("And", {}).get("Prefix") or rule.get("Prefix") or "",
        expires_after=rule.get("Expiration", {}).get("Days"),
        old_versions_after=rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        uploads_after=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    )
