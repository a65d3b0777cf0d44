"""`lethe hold add|list|lift|digest`."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.cli.output import AsJson, instant, print_json, print_table, say

if TYPE_CHECKING:
    from lethe.control.holds import Hold
    from lethe.retention.holding import Added
    from lethe.workspace import Workspace

hold = typer.Typer(help="Legal holds and restrictions: what keeps a row that is due.", no_args_is_help=True)


@hold.command()
def add(
    reason: Annotated[str, typer.Option(help="litigation, investigation, audit, tax_inspection, authority_request, restriction.")],
    dataset: Annotated[str | None, typer.Option(help="A dataset of the catalog.")] = None,
    tenant: Annotated[str | None, typer.Option(help="A tenant's key, or digest:DIGEST for one whom only the archive has.")] = None,
    person: Annotated[
        list[str] | None,
        typer.Option(
            help="One account as DATASET:KEY, such as users:123, or DATASET:digest:DIGEST for a person whom only the archive has; never a name "
            "or an address; or the id of a request that gives one account. Somebody with accounts at two tenants is two: add a hold for each."
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="Rows whose clock is at or after this instant, with its zone.")] = None,
    until: Annotated[str | None, typer.Option(help="Rows whose clock is before this instant, with its zone.")] = None,
    review_on: Annotated[
        str | None, typer.Option(help="The day on which it is looked at again (2027-06-30). None is a red finding.")
    ] = None,
    starts_on: Annotated[str | None, typer.Option(help="Its first day; today when left out.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it: a login; yours when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Adds a hold. It is accepted once the batches that run now are over, and wins over every later one.

    Refused when it would keep nothing: a dataset that does not lead to what it names, a key that no row has, here or in the archive.
    Prints what it keeps now.
    """
    from lethe.errors import HoldRefused
    from lethe.instants import now
    from lethe.plan.model import HoldScope
    from lethe.retention.holding import hold_rows
    from lethe.workspace import Workspace

    if person and len(person) > 1:
        raise HoldRefused("A hold names one account: everything it gives must match.", fix="Add a hold for each. Nothing was held.")
    with Workspace.open() as workspace:
        added = hold_rows(
            workspace,
            HoldScope(
                id=0,
                dataset=dataset,
                tenant=tenant,
                person=_person(person[0], workspace, owner or getpass.getuser()) if person else None,
                since=instant(since, "--since", HoldRefused),
                until=instant(until, "--until", HoldRefused),
            ),
            reason=reason,
            owner=owner or getpass.getuser(),
            starts_on=_day(starts_on, "--starts-on"),
            review_on=_day(review_on, "--review-on"),
            at=now(),
        )
    if as_json:
        archived = {"objects": added.archived_objects, "rows_at_most": added.archived_rows}
        kept = {"keeps": dict(added.keeps), "out_of_reach": dict(added.out_of_reach), "archived": archived}
        print_json({**_object(added.hold), **kept})
    else:
        _show(added)


@hold.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="The lifted ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lists the holds; those without a review date, or past it, are findings (their rows are kept all the same)."""
    from lethe.control.holds import hold_findings, list_holds
    from lethe.instants import now
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.connect() as connection:
        found = list_holds(connection, lifted=everything)
    red = {f.hold: f.problem for f in hold_findings(found, now().date())}
    if as_json:
        print_json({"holds": [{**_object(h), "finding": red.get(h.scope.id)} for h in found]})
        return
    rows = [(h.scope.id, _scope(h), h.reason, h.owner, h.starts_on, h.review_on, h.lifted_at, red.get(h.scope.id, "")) for h in found]
    print_table("Holds", ("id", "keeps", "reason", "owner", "from", "review", "lifted", "finding"), rows)


@hold.command()
def lift(
    hold_id: Annotated[int, typer.Argument(metavar="ID", help="The hold's number.")],
    by: Annotated[str | None, typer.Option("--by", help="Your login; that of this machine when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lifts a hold: its rows may go again."""
    from lethe.control.holds import lift_hold
    from lethe.workspace import Workspace

    with Workspace.open() as workspace, workspace.control.begin() as connection:
        lifted = lift_hold(connection, hold_id, by=by or getpass.getuser())
    print_json(_object(lifted)) if as_json else say(f"Hold {hold_id} lifted.")


@hold.command("digest")
def digest(
    key: Annotated[str, typer.Argument(metavar="DATASET:KEY", help="A person (users:123) or a tenant (tenants:7).")],
    as_json: AsJson = False,
) -> None:
    """Prints the keyed digest that evidence, the archive and the form of `legal_hold` know a person or tenant by.

    Whether anybody has that key is not looked up.
    """
    from lethe import settings
    from lethe.evidence.record import keyed_digest
    from lethe.workspace import Workspace

    with Workspace.open() as workspace:
        tenants = [s.tenants for s in workspace.catalog.stores if s.tenants]
        named = subject_of(key, workspace, also=tenants)
        found = keyed_digest(settings.digest_key(workspace.connections(settings.CONTROL)), *named)
    print_json({"dataset": named[0], "digest": found}) if as_json else typer.echo(found)


def _show(added: Added) -> None:
    say(f"Hold {added.hold.scope.id} added.")
    print_table("It keeps now, due or not", ("dataset", "rows"), [(d, "not counted" if n is None else n) for d, n in added.keeps.items()])
    if added.archived_objects:
        say(f"In the archive it may keep rows of {added.archived_objects} objects, which have {added.archived_rows} rows in all.")
    elif not any(n is None or n for n in added.keeps.values()):
        say("It keeps no row now: look whether that is meant.")
    if added.hold.scope.dataset:
        say(f"Rows of {added.hold.scope.dataset} only: what belongs to them in another dataset is not kept.")
    elif added.out_of_reach:
        print_table("It cannot keep", ("dataset", "which has"), list(added.out_of_reach.items()))


def _object(found: Hold) -> dict[str, Any]:
    return {"id": found.scope.id, **found.model_dump(mode="json")}


def _scope(found: Hold) -> str:
    scope = found.scope
    parts = {"dataset": scope.dataset, "tenant": scope.tenant, "person": ":".join(scope.person) if scope.person else None}
    parts |= {"since": scope.since.isoformat() if scope.since else None, "until": scope.until.isoformat() if scope.until else None}
    return ", ".join(f"{k} {v}" for k, v in parts.items() if v)


def subject_of(text: str, workspace: Workspace, *, also: Sequence[str] = ()) -> tuple[str, str]:
    """The dataset and key of DATASET:KEY. Raises HoldRefused, without the text, unless it names a dataset of persons, or one of `also`."""
    from lethe.errors import HoldRefused
    from lethe.retention.holding import identities

    dataset, colon, key = text.partition(":")
    known = sorted({*identities(workspace.catalog), *also})
    if not colon or not key or dataset not in known:
        raise HoldRefused("A person is DATASET:KEY.", fix=f"Datasets that can be named so: {', '.join(known)}.")
    return dataset, key


def _person(text: str, workspace: Workspace, by: str) -> tuple[str, str]:
    from lethe.retention.requested import names_a_request, requested_person

    return requested_person(workspace, text, by=by) if names_a_request(text) else subject_of(text, workspace)


def _day(text: str | None, option: str) -> date | None:
    from lethe.errors import HoldRefused

    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise HoldRefused(f"{option} is no day.", fix="Write it as 2027-06-30.") from None
