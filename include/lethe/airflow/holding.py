"""What the task of `legal_hold` does: checks the form again, adds or lifts the hold as `lethe hold` does, returns numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from lethe.airflow.hold_form import ACTIONS, ANY, CHOOSE, KEY, LOGIN, PERSON
from lethe.errors import HoldRefused

if TYPE_CHECKING:
    from lethe.workspace import Workspace

_KNOWN = ("action", "reason", "review_on", "dataset", "tenant", "person", "since", "until", "owner", "hold")


def change(context: Any) -> dict[str, Any]:
    """Adds or lifts the hold of a run's form. A refusal is on record in the ledger, and raised: it never quotes what was typed."""
    from lethe.airflow.connections import from_airflow
    from lethe.errors import LetheError
    from lethe.evidence.ledger import append
    from lethe.workspace import Workspace

    form = dict(context["params"])
    starter = getattr(context["dag_run"], "triggering_user_name", None)
    by = starter if starter is not None and re.match(LOGIN, starter) else None
    with Workspace.open(from_airflow) as workspace:
        try:
            checked = check(form)
            return _lift(workspace, checked, by) if checked["action"] == "lift" else _add(workspace, checked, by)
        except LetheError as refused:
            action = form.get("action") if form.get("action") in ACTIONS else None
            with workspace.control.begin() as control:
                append(control, "hold.refused", {"action": action, "by": by, "error": type(refused).__name__, "problem": refused.problem})
            raise


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
        ("tenant", KEY, "Give the tenant's key, such as 7; never a name or an address."),
        ("person", PERSON, "`lethe hold digest users:123` prints the keyed digest; never a name or an address."),
        ("owner", LOGIN, "Give a login such as j.dupont, not an address."),
    ):
        if given[name] is not None and not re.match(pattern + r"\Z", given[name]):
            raise HoldRefused(f"`{name}` is not written as it must be.", fix=fix)
    if given["person"] is not None and given["person"].startswith("request-"):
        raise HoldRefused("There are no requests yet: a person cannot be named by one.", fix="Give the keyed digest of the person.")
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


def _add(workspace: Workspace, form: Mapping[str, Any], by: str | None) -> dict[str, Any]:
    from lethe.instants import now
    from lethe.plan.model import HoldScope
    from lethe.retention.holding import hold_person, hold_rows

    scope = HoldScope(id=0, dataset=form["dataset"], tenant=form["tenant"], since=form["since"], until=form["until"])
    if form["person"] is not None:
        scope = scope.model_copy(update={"person": hold_person(workspace, form["person"], scope)})
    added = hold_rows(
        workspace, scope, reason=form["reason"], owner=form["owner"] or by or "", starts_on=None, review_on=form["review_on"], at=now()
    )
    return {
        "hold": added.hold.scope.id,
        "keeps": dict(added.keeps),
        "out_of_reach": sorted(added.out_of_reach),
        "archived_objects": added.archived_objects,
        "archived_rows_at_most": added.archived_rows,
    }


def _lift(workspace: Workspace, form: Mapping[str, Any], by: str | None) -> dict[str, Any]:
    from lethe.control.holds import lift_hold

    with workspace.control.begin() as control:
        return {"lifted": lift_hold(control, form["hold"], by=form["owner"] or by or "").scope.id}


def _read(text: Any, parse: Any, name: str, fix: str) -> Any:
    try:
        return None if text is None else parse(text)
    except ValueError:
        raise HoldRefused(f"`{name}` is not written as it must be.", fix=fix) from None
