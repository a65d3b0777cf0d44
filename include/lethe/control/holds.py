"""Legal holds and restrictions: what keeps a row that is due. A hold that was accepted wins over every later batch.

Adding a hold takes the advisory lock (7211, 2) alone; a batch takes it shared, reads the holds, and keeps it until its source
transaction has ended. So a hold is accepted before a batch looks, or after the batch is over, never between (invariant 1).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Date, bindparam, func, select

from lethe.catalog.model import Catalog
from lethe.control.scope import refuse_unreachable
from lethe.control.tables import holds
from lethe.errors import HoldRefused, UnknownName
from lethe.evidence.ledger import append
from lethe.evidence.record import keyed_digest
from lethe.frozen import Frozen
from lethe.instants import now
from lethe.plan.model import HoldScope

HOLDS_LOCK = (7211, 2)
_LOGIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
_KEY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$")
_BY_DIGEST = "digest:"
_DIGEST = re.compile(r"^[0-9a-f]{32}([0-9a-f]{32})?$")


class HoldReason(StrEnum):
    """Why the rows must stay: a choice, no free text."""

    LITIGATION = "litigation"
    INVESTIGATION = "investigation"
    AUDIT = "audit"
    TAX_INSPECTION = "tax_inspection"
    AUTHORITY_REQUEST = "authority_request"
    RESTRICTION = "restriction"


class Hold(Frozen):
    """A hold as stored: what it keeps, why, who answers for it, and when it must be looked at again."""

    scope: HoldScope
    reason: HoldReason
    owner: str
    starts_on: date
    review_on: date | None
    added_at: datetime
    lifted_at: datetime | None = None
    lifted_by: str | None = None


class HoldFinding(Frozen):
    """A hold that nobody looks after. Its rows are still kept; the report shows it red."""

    hold: int
    owner: str
    problem: Literal["no review date", "review date is past"]
    review_on: date | None


def no_new_holds() -> ColumnElement[None]:
    """Selected, it keeps holds from being added until the caller's transaction in `lethe_db` ends. Before the holds are read, by a statement
    that comes later."""
    return func.pg_advisory_xact_lock_shared(*HOLDS_LOCK)


def batch_gate(connection: Connection) -> None:
    """Keeps holds from being added: see `no_new_holds`."""
    connection.execute(select(no_new_holds()))


def add_hold(
    connection: Connection,
    *,
    reason: str,
    owner: str,
    starts_on: date,
    review_on: date | None,
    digest_key: bytes,
    dataset: str | None = None,
    tenant: str | None = None,
    person: tuple[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    catalog: Catalog,
    airflow_user: str | None = None,
    at: datetime | None = None,
) -> Hold:
    """Adds a hold and its evidence in the caller's transaction, after the batches that run now are over.

    `person` is an identity dataset and a key. `airflow_user` is who did it in Airflow, None from a shell; it goes into the evidence beside
    the owner, who may be somebody else. Raises what `check_hold` raises. Whether the keys are there, only their store knows
    (`retention/holding.py`).
    """
    at = at or now()
    scope = HoldScope(id=0, dataset=dataset, tenant=tenant, person=person, since=since, until=until)
    check_hold(scope, reason=reason, owner=owner, starts_on=starts_on, review_on=review_on, catalog=catalog)
    keyed = person_digest(digest_key, person) if person else None
    connection.execute(select(func.pg_advisory_xact_lock(*HOLDS_LOCK)))
    values = {
        "dataset": dataset,
        "tenant": tenant,
        "person_dataset": person[0] if person else None,
        "person_key": person[1] if person else None,
        "since": since,
        "until": until,
        "reason": reason,
        "owner": owner,
        "starts_on": starts_on,
        "review_on": review_on,
        "added_at": at,
    }
    hold_id = connection.execute(holds.insert().values(values).returning(holds.c.id)).scalar_one()
    body = {
        "hold": hold_id,
        "dataset": dataset,
        "tenant": tenant,
        "person_dataset": person[0] if person else None,
        "person_digest": keyed,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "reason": reason,
        "owner": owner,
        "starts_on": starts_on.isoformat(),
        "review_on": review_on.isoformat() if review_on else None,
        "airflow_user": airflow_user,
    }
    append(connection, "hold.added", body, run=f"hold:{hold_id}", at=at)
    return hold_of(connection, hold_id)


def by_digest(digest: str) -> str:
    """How a hold names a person or a tenant whom no live row has: by the keyed digest, of 32 or 64 hex digits. It keeps rows of the archive
    only."""
    return f"{_BY_DIGEST}{digest}"


def digest_of_key(key: str) -> str | None:
    """The keyed digest in a key that is written as `digest:` and 32 or 64 hex digits; None for every other key."""
    digest = key.removeprefix(_BY_DIGEST)
    return digest if digest != key and _DIGEST.match(digest) else None


def person_digest(digest_key: bytes, person: tuple[str, str]) -> str:
    """How evidence names the person of a hold: the keyed digest of dataset and key, or the digest that the hold was given."""
    return digest_of_key(person[1]) or keyed_digest(digest_key, *person)


def lift_hold(connection: Connection, hold_id: int, *, by: str, airflow_user: str | None = None, at: datetime | None = None) -> Hold:
    """Lifts a hold, with its evidence; UnknownName when there is none, HoldRefused when it is lifted already or `by` is no login.

    `airflow_user` is who did it in Airflow, None from a shell; `by` is who answers for it.
    """
    at = at or now()
    _check_login(by)
    hold = hold_of(connection, hold_id)
    lifted = holds.update().where(holds.c.id == hold_id, holds.c.lifted_at.is_(None)).values(lifted_at=at, lifted_by=by)
    if connection.execute(lifted).rowcount != 1:
        raise HoldRefused(f"Hold {hold_id} is lifted already.", fix="`lethe hold list --all` shows when and by whom.")
    body = {"hold": hold_id, "by": by, "reason": hold.reason.value, "airflow_user": airflow_user}
    append(connection, "hold.lifted", body, run=f"hold:{hold_id}", at=at)
    return hold_of(connection, hold_id)


def hold_of(connection: Connection, hold_id: int) -> Hold:
    """The hold of that id; UnknownName when there is none."""
    found = _read(connection, holds.c.id == hold_id)
    if not found:
        raise UnknownName(f"There is no hold {hold_id}.", fix="`lethe hold list` shows them.")
    return found[0]


def list_holds(connection: Connection, *, lifted: bool = False) -> tuple[Hold, ...]:
    """The holds that are not lifted, future ones included; the lifted ones too when asked for. Oldest first."""
    return _read(connection, None if lifted else holds.c.lifted_at.is_(None))


def active_scopes(connection: Connection, on: date) -> tuple[HoldScope, ...]:
    """What is kept on that day. `on` is today, never a run's `as_of`: a run as of last month obeys the holds of today.

    A hold past its review date keeps its rows all the same.
    """
    return tuple(_scope(row) for row in connection.execute(_ACTIVE, {"on": on}))


_ACTIVE = select(holds).where(holds.c.lifted_at.is_(None), holds.c.starts_on <= bindparam("on", type_=Date)).order_by(holds.c.id)
"""Built once: every batch asks it."""


def hold_findings(found: Collection[Hold], on: date) -> tuple[HoldFinding, ...]:
    """The holds without a review date, or past it on that day. Pure."""
    findings = []
    for hold in found:
        if hold.lifted_at is None and (hold.review_on is None or hold.review_on < on):
            problem: Literal["no review date", "review date is past"] = (
                "no review date" if hold.review_on is None else "review date is past"
            )
            findings.append(HoldFinding(hold=hold.scope.id, owner=hold.owner, problem=problem, review_on=hold.review_on))
    return tuple(findings)


def check_hold(scope: HoldScope, *, reason: str, owner: str, starts_on: date, review_on: date | None, catalog: Catalog) -> None:
    """Raises HoldRefused when a hold would keep nothing by the catalog, has no owner, or its dates make no sense; UnknownName for a
    dataset that is not mapped. Pure."""
    keys = (scope.tenant, scope.person[1] if scope.person else None)
    if not (scope.dataset or scope.tenant or scope.person or scope.since or scope.until):
        raise HoldRefused(
            "A hold without a scope would keep everything, or nothing.", fix="Give a dataset, a tenant, a person or a range of dates."
        )
    if reason not in set(HoldReason):
        raise HoldRefused("That is no reason for a hold.", fix=f"Choose one of: {', '.join(HoldReason)}.")
    _check_login(owner)
    if any(instant is not None and instant.tzinfo is None for instant in (scope.since, scope.until)):
        raise HoldRefused("A hold's range has no time zone.", fix="Write it as 2026-01-01T00:00:00+01:00.")
    if scope.since and scope.until and scope.until <= scope.since:
        raise HoldRefused("A hold's range ends before it begins.", fix="Give `since` before `until`.")
    if any(key is not None and not _KEY.match(key) for key in keys):
        raise HoldRefused(
            "A tenant or person is named by a key of its dataset, never by a name or an address.", fix="Give the key, such as 123."
        )
    if any(key is not None and key.startswith(_BY_DIGEST) and digest_of_key(key) is None for key in keys):
        raise HoldRefused("That is no keyed digest.", fix="`lethe hold digest DATASET:KEY` prints one: 64 hex digits.")
    if review_on is not None and review_on < starts_on:
        raise HoldRefused("A hold's review date lies before its start.", fix="Give a review date on or after the start.")
    refuse_unreachable(catalog, scope)


def _check_login(name: str) -> None:
    if not _LOGIN.match(name):
        raise HoldRefused(
            "A hold needs somebody who answers for it, named by a login.", fix="Give a login such as j.dupont, not an address."
        )


def _read(connection: Connection, condition: object) -> tuple[Hold, ...]:
    query = select(holds).order_by(holds.c.id)
    if condition is not None:
        query = query.where(condition)  # type: ignore[arg-type]
    return tuple(
        Hold(
            scope=_scope(r),
            reason=HoldReason(r.reason),
            owner=r.owner,
            starts_on=r.starts_on,
            review_on=r.review_on,
            added_at=r.added_at,
            lifted_at=r.lifted_at,
            lifted_by=r.lifted_by,
        )
        for r in connection.execute(query)
    )


def _scope(row: Any) -> HoldScope:
    return HoldScope(
        id=row.id,
        dataset=row.dataset,
        tenant=row.tenant,
        person=(row.person_dataset, row.person_key) if row.person_key is not None else None,
        since=row.since,
        until=row.until,
    )
