"""Settings that come from the environment; everything else is in the policy folder or a parameter."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lethe.connections import Connection
from lethe.errors import UnknownName, Unreachable

DAGS = Path(__file__).resolve().parents[2] / "dags"
SHIPPED = Path(__file__).resolve().parent.parent / "policies" / "spotrak"

CONTROL = "lethe_db"
CONTROL_OWNER = "lethe_db_owner"
APPROVER = "lethe_approver"
EVIDENCE_BUCKET = "lethe_s3"
ARCHIVIST = "lethe_archivist"
ARCHIVE = "archive_s3"
ARCHIVE_READER = "archive_read_s3"
MAIL = "lethe_smtp"
"""Connection ids of Lethe's own database (as it works, as it migrates, as a person approves, as a person reads the archive), of its bucket,
of the archive's bucket (as it is written and expires, and as a person reads it), and of the mail server by which people are answered. The
buckets of requests are datasets of the catalog, with that of their store."""


def policy_dir() -> Path:
    """The company's folder of policies: `LETHE_POLICY_DIR`, or the shipped one."""
    return Path(os.environ.get("LETHE_POLICY_DIR") or SHIPPED)


def dags_dir() -> Path:
    """Where Airflow reads its DAGs: `AIRFLOW__CORE__DAGS_FOLDER`, or the project's own folder."""
    return Path(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER") or DAGS)


def digest_key(connection: Connection) -> bytes:
    """The key for digests of persons: `digest_key` in the extra of lethe_db, or `LETHE_DIGEST_KEY`; hex. Empty when neither is set.

    Raises Unreachable when it is not hex.
    """
    try:
        return bytes.fromhex(str(connection.extra.get("digest_key") or os.environ.get("LETHE_DIGEST_KEY", "")))
    except ValueError:
        raise Unreachable(
            "The key for digests of persons is not written in hex.", fix="Set LETHE_DIGEST_KEY to 32 random bytes in hex."
        ) from None


def request_key(connection: Connection) -> bytes:
    """The key that wraps the key of each request: `request_key` in the extra of lethe_db, or `LETHE_REQUEST_KEY`; 32 bytes in hex.

    Raises Unreachable when neither is set, or it is not 32 bytes in hex.
    """
    try:
        key = bytes.fromhex(str(connection.extra.get("request_key") or os.environ.get("LETHE_REQUEST_KEY", "")))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Unreachable("The key of requests is missing, or not 32 bytes in hex.", fix="Set LETHE_REQUEST_KEY to 32 random bytes in hex.")
    return key


def fold_local_part() -> bool:
    """Whether case before the @ of an address does not matter: `LETHE_FOLD_LOCAL_PART`, yes unless it says no. Raises UnknownName."""
    return _yes("LETHE_FOLD_LOCAL_PART", default="yes")


def approvers() -> tuple[str, ...]:
    """Who may answer a waiting plan in Airflow's UI: the user ids of `LETHE_APPROVERS`, with commas between. Empty: whoever may edit runs."""
    return tuple(name.strip() for name in os.environ.get("LETHE_APPROVERS", "").split(",") if name.strip())


def identity_deciders() -> tuple[str, ...]:
    """Who may decide in Airflow's UI who asks: the user ids of `LETHE_IDENTITY_DECIDERS`, as for `approvers`."""
    return tuple(name.strip() for name in os.environ.get("LETHE_IDENTITY_DECIDERS", "").split(",") if name.strip())


def schedule_zone() -> str:
    """The time zone of the hours in every DAG's schedule: the IANA name in `LETHE_SCHEDULE_ZONE`, Europe/Paris when not set.

    Periods are counted in the policy's own zone. Raises UnknownName for what is no time zone.
    """
    name = os.environ.get("LETHE_SCHEDULE_ZONE") or "Europe/Paris"
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError):
        raise UnknownName("LETHE_SCHEDULE_ZONE is no time zone.", fix="Write one of the IANA names, such as Europe/Paris.") from None


def _yes(variable: str, *, default: str) -> bool:
    said = os.environ.get(variable) or default
    if said not in {"yes", "no"}:
        raise UnknownName(f"{variable} is neither yes nor no.", fix="Write yes or no, or leave it out.")
    return said == "yes"


def catalog_dir(policies: Path) -> Path:
    """Its catalog."""
    return policies / "catalog"
