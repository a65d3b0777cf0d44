"""What the task of `legal_hold` does: checks the form again, adds or lifts the hold as `lethe hold` does, returns numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from lethe.airflow.hold_form import ACTIONS, ANY, CHOOSE, DIGEST, LOGIN, PERSON, REQUEST, TENANT
from lethe.errors import HoldRefused

if TYPE_CHECKING:
    from lethe.workspace import Workspace

_KNOWN = ("action", "reason", "review_on", "dataset", "tenant", "person", "since", "until", "owner", "hold")


def change(context: Any) -> dict[str, Any]:
    """Adds or lifts the hold of a run's form. A refusal is on record in the ledger, and raised: it never quotes what was typed.

    Each record names the user of Airflow who started the run as `airflow_user`, whoever is typed as the owner: by the login, or by its
    keyed digest (`digest:`, of dataset `airflow`) where the user's name is none, such as an address.
    """
    from lethe.airflow.connections import from_airflow
    from lethe.errors import LetheError
    from lethe.evidence.ledger import append
    from lethe.workspace import Workspace

    form = dict(context["params"])
    with Workspace.open(from_airflow) as workspace:
        user = _user(workspace, getattr(context["dag_run"], "triggering_user_name", None))
        try:
            checked = check(form)
            return _lift(workspace, checked, user) if checked["action"] == "lift" else _add(workspace, checked, user)
        except LetheError as refused:
            action = form.get("action") if form.get("action") in ACTIONS else None
            body = {"action": action, "airflow_user": user, "error": type(refused).__name__, "problem": refused.problem}
            with workspace.control.begin() as control:
                append(control, "hold.refused", body)
            raise


def _user(workspace: Workspace, starter: str | None) -> str | None:
    """How evidence names who started the run; None when Airflow names nobody."""
    from lethe import settings
    from lethe.control.holds import by_digest
    from lethe.evidence.record import keyed_digest

    if not starter or re.fullmatch(LOGIN, starter):
        return starter or None
    return by_digest(keyed_digest(settings.digest_key(workspace.connections(settings.CONTROL)), "airflow", starter))


def check(form: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the form, or HoldRefused with what is wrong and never with what was typed. Pure.

    A form accepts what its schema says; the API and the command line accept more, unknown fields too.
    """
    if set(form) - set(_KNOWN):
        raise HoldRefused("The form has fields that no hold has.", fix=f"Fields: {', '.join(_KNOWN)}.")
    given: dict[str, Any] = {name: form.get(name) for name in _KNOWN}
    given["dataset"] = None if given["dataset"] == ANY else given["dataset"]
    given["reason"] = None if given["reason"] == CHOOSE else given["reason"]
    if given["action"] not in ACTIONS:
        raise HoldRefused("The action is neither add nor lift.", fix="Choose one of the two.")
    hold = given.pop("hold")
    wrong = next((name for name, value in given.items() if value is not None and not isinstance(value, str)), None)
    if wrong is not None:
        raise HoldRefused(f"`{wrong}` is no text.", fix="Write it as the form says.")
    for name, pattern, fix in (
        ("tenant", TENANT, "Give the tenant's key, such as 7, or its keyed digest; never a name, an address or a telephone number."),
        (
            "person",
            PERSON,
            "`lethe hold digest users:123` prints the keyed digest; or give the id of a request. Never a name or an address.",
        ),
        ("owner", LOGIN, "Give a login such as j.dupont, not an address."),
    ):
        if given[name] is not None and not re.match(pattern + r"\Z", given[name]):
            raise HoldRefused(f"`{name}` is not written as it must be.", fix=fix)
    if given["action"] == "lift":
        if not isinstance(hold, int) or isinstance(hold, bool) or hold < 1:
            raise HoldRefused("It is not said which hold is to be lifted.", fix="Give its number, as `lethe hold list` shows it.")
        return {"action": "lift", "hold": hold, "owner": given["owner"]}
    if given["reason"] is None:
        raise HoldRefused("A hold needs a reason.", fix="Choose one in the form.")
    if given["review_on"] is None:
        raise HoldRefused("A hold needs a day on which it is looked at again.", fix="Give `review_on`.")
    return {
        **given,
        "review_on": _read(given["review_on"], date.fromisoformat, "review_on", "Write it as 2027-06-30."),
        **{n: _read(given[n], datetime.fromisoformat, n, "Write it as 2026-01-01T00:00:00+01:00.") for n in ("since", "until")},
    }


def _add(workspace: Workspace, form: Mapping[str, Any], user: str | None) -> dict[str, Any]:
    from lethe.control.holds import by_digest
    from lethe.instants import now
    from lethe.plan.model import HoldScope
    from lethe.retention.holding import hold_person, hold_rows
    from lethe.retention.requested import requested_person

    tenant = form["tenant"]
    if tenant is not None and re.fullmatch(DIGEST, tenant):
        tenant = by_digest(tenant)
    scope = HoldScope(id=0, dataset=form["dataset"], tenant=tenant, since=form["since"], until=form["until"])
    if form["person"] is not None:
        asked = re.fullmatch(REQUEST, form["person"])
        who = (
            requested_person(workspace, form["person"], by=_answers(form, user)) if asked else hold_person(workspace, form["person"], scope)
        )
        scope = scope.model_copy(update={"person": who})
    added = hold_rows(
        workspace,
        scope,
        reason=form["reason"],
        owner=_answers(form, user),
        starts_on=None,
        review_on=form["review_on"],
        at=now(),
        airflow_user=user,
    )
    return {
        "hold": added.hold.scope.id,
        "keeps": dict(added.keeps),
        "out_of_reach": sorted(added.out_of_reach),
        "archived_objects": added.archived_objects,
        "archived_rows_at_most": added.archived_rows,
    }


def _answers(form: Mapping[str, Any], user: str | None) -> str:
    """Who answers for it: who is typed as the owner, else the user of Airflow; a digest is no login, and is refused as the owner."""
    return form["owner"] or user or ""


def _lift(workspace: Workspace, form: Mapping[str, Any], user: str | None) -> dict[str, Any]:
    from lethe.control.holds import lift_hold

    with workspace.control.begin() as control:
        return {"lifted": lift_hold(control, form["hold"], by=_answers(form, user), airflow_user=user).scope.id}


def _read(text: Any, parse: Any, name: str, fix: str) -> Any:
    try:
        return None if text is None else parse(text)
    except ValueError:
        raise HoldRefused(f"`{name}` is not written as it must be.", fix=fix) from None
