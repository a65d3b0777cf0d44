"""Adds a hold after a look at what it names, and counts what it keeps: a hold that keeps nothing is worse than none.

What can be known before it is accepted refuses it: a dataset that does not lead to its scope, a key that no row can have or none
has. The counts come after, so that a large table does not keep a hold waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime

from lethe import settings
from lethe.catalog.model import Prefix, Store
from lethe.control.holds import Hold, add_hold, check_hold
from lethe.control.scope import lacking
from lethe.errors import HoldRefused, LetheError, NotInForce
from lethe.instants import local_day
from lethe.plan.make import make_plan
from lethe.plan.model import HoldScope, ObjectPredicate, Step
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Added:
    """A hold that was accepted. `keeps`: rows or objects it keeps now, by dataset, None where they could not be counted; `out_of_reach`:
    the datasets it cannot keep, with what they lack."""

    hold: Hold
    keeps: Mapping[str, int | None]
    out_of_reach: Mapping[str, str]


def hold_rows(
    workspace: Workspace, scope: HoldScope, *, reason: str, owner: str, starts_on: date | None, review_on: date | None, at: datetime
) -> Added:
    """Adds a hold of that scope (its id does not matter), from today on unless told, and says what it keeps.

    Raises HoldRefused when it would keep nothing or nobody answers for it, UnknownName for a dataset that is not mapped, Unreachable
    or Uncountable when it cannot be seen whether a key is there.
    """
    catalog = workspace.catalog
    starts_on = starts_on or _today(workspace, at)
    check_hold(scope, reason=reason, owner=owner, starts_on=starts_on, review_on=review_on, catalog=catalog)
    _refuse_unknown_keys(workspace, scope)
    with workspace.control.begin() as control:
        made = add_hold(
            control,
            reason=reason,
            owner=owner,
            starts_on=starts_on,
            review_on=review_on,
            digest_key=settings.digest_key(workspace.connections(settings.CONTROL)),
            dataset=scope.dataset,
            tenant=scope.tenant,
            person=scope.person,
            since=scope.since,
            until=scope.until,
            catalog=catalog,
            at=at,
        )
    lacks = lacking(catalog, made.scope)
    return Added(hold=made, keeps=count_kept(workspace, made.scope, at), out_of_reach={d: lack for d, lack in lacks.items() if lack})


def _today(workspace: Workspace, at: datetime) -> date:
    try:
        return local_day(at, workspace.policy(at).time_zone)
    except NotInForce:
        return at.date()  # no policy, so no run that could delete anything


def count_kept(workspace: Workspace, scope: HoldScope, at: datetime) -> dict[str, int | None]:
    """Rows or objects that a hold keeps now, due or not, for each dataset it can keep. What cannot be counted is None, not zero."""
    reached = [d for d, lack in lacking(workspace.catalog, scope).items() if not lack]
    found: dict[str, int | None] = {}
    with ExitStack() as stack:
        steps = _steps(workspace, scope, at)
        datasets = workspace.catalog.datasets()
        counting: dict[str, Callable[[str], int | None]] = {}
        for dataset in reached:
            store = datasets[dataset][0]
            if store.id not in counting:
                counting[store.id] = _counting(workspace, store, scope, steps, stack)
            try:
                found[dataset] = counting[store.id](dataset)
            except LetheError:
                found[dataset] = None  # said as "not counted": the hold stands all the same
    return found


def _counting(
    workspace: Workspace, store: Store, scope: HoldScope, steps: Sequence[Step] | None, stack: ExitStack
) -> Callable[[str], int | None]:
    """How to count what the hold keeps of a dataset of the store. `steps` None: ranges of time mean nothing, so nothing is known."""
    if steps is None:
        return lambda _: None
    if store.kind == "s3":
        return lambda dataset: _objects(workspace, store, dataset, scope, steps)
    from lethe.stores.postgres.count import snapshot
    from lethe.stores.postgres.kept import kept_rows

    try:
        connection = stack.enter_context(snapshot(workspace.checking(store), (scope,)))
    except LetheError:
        return lambda _: None
    return lambda dataset: kept_rows(connection, store, dataset, scope, steps)


def _objects(workspace: Workspace, store: Store, dataset: str, scope: HoldScope, steps: Sequence[Step]) -> int | None:
    from lethe.stores.s3.judge import Judge
    from lethe.stores.s3.listing import everything

    entry: Prefix = store.prefixes[dataset]
    entries = everything(workspace.s3(store.connection), entry.bucket, entry.prefix)
    if scope.since is None and scope.until is None:
        return sum(1 for _ in entries)
    predicates = [s.predicate for s in steps if s.dataset == dataset and isinstance(s.predicate, ObjectPredicate)]
    if not predicates:
        return None
    judges = [Judge(p, dataset, (scope,)) for p in predicates]
    return sum(1 for e in entries if any((span := j.span(e)) is not None and j.held(span) for j in judges))


def _steps(workspace: Workspace, scope: HoldScope, at: datetime) -> Sequence[Step] | None:
    """The steps by whose clocks a hold that is bounded in time tells its rows; none are needed for another."""
    if scope.since is None and scope.until is None:
        return ()
    try:
        return make_plan(workspace.policy(at), workspace.catalog, as_of=at).steps
    except LetheError:
        return None  # no policy in force, or one that cannot be planned: what the hold keeps is not known


def _refuse_unknown_keys(workspace: Workspace, scope: HoldScope) -> None:
    datasets = workspace.catalog.datasets()
    if scope.person is not None:
        dataset, key = scope.person
        _refuse_unknown(workspace, [(datasets[dataset][0], dataset)], key, HoldScope(id=0, person=scope.person))
    if scope.tenant is not None:
        stores = [datasets[scope.dataset][0]] if scope.dataset else list(workspace.catalog.stores)
        named = [(s, s.tenants) for s in stores if s.tenants and s.kind == "postgresql"]
        named = named or [(s, s.tenants) for s in workspace.catalog.stores if s.tenants and s.kind == "postgresql"]
        _refuse_unknown(workspace, named, scope.tenant, HoldScope(id=0, tenant=scope.tenant))


def _refuse_unknown(workspace: Workspace, named: Sequence[tuple[Store, str]], key: str, alone: HoldScope) -> None:
    """Raises HoldRefused when the key is in none of the datasets and no row leads to it: a log may outlive the user it names."""
    wrong: HoldRefused | None = None
    for store, dataset in named:
        try:
            if _leads_somewhere(workspace, store, dataset, key, alone):
                return
        except HoldRefused as refused:
            wrong = refused
    names = ", ".join(dataset for _, dataset in named)
    raise wrong or HoldRefused(
        f"This hold would keep nothing: {names or 'no dataset'} has no such key, and no row leads to one.",
        fix="Look the key up in the source; nothing was held.",
    )


def _leads_somewhere(workspace: Workspace, store: Store, dataset: str, key: str, alone: HoldScope) -> bool:
    from lethe.stores.postgres.count import snapshot
    from lethe.stores.postgres.kept import is_there, kept_rows, refuse_wrong_kind

    reached = [d for d, lack in lacking(workspace.catalog, alone).items() if not lack and d in store.tables]
    with snapshot(workspace.checking(store), (alone,)) as connection:
        refuse_wrong_kind(connection, store, dataset, key)
        return is_there(connection, store, dataset, key) or any(
            kept_rows(connection, store, d, alone, (), any_one=True) for d in reached if d != dataset
        )
