"""Adds a hold after a look at what it names, and counts what it keeps: a hold that keeps nothing is worse than none.

What can be known before it is accepted refuses it: a dataset that does not lead to its scope, a key that no row can have or none
has, neither in a store nor in the archive. The counts come after, so that a large table does not keep a hold waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime

from lethe import settings
from lethe.archive.finding import holding, named, person_name
from lethe.catalog.model import Catalog, Prefix, Store
from lethe.control.holds import Hold, add_hold, by_digest, check_hold, digest_of_key
from lethe.control.scope import lacking, refuse_unreachable
from lethe.errors import HoldRefused, LetheError, NotInForce
from lethe.instants import local_day
from lethe.plan.make import make_plan
from lethe.plan.model import HoldScope, ObjectPredicate, Step
from lethe.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Added:
    """A hold that was accepted. `keeps`: rows or objects it keeps now, by dataset, None where they could not be counted; `out_of_reach`:
    the datasets it cannot keep, with what they lack. `archived_objects`: those of the archive in which it may keep rows, of which they
    have `archived_rows` in all: which of them it keeps is seen when they are opened, at their expiry."""

    hold: Hold
    keeps: Mapping[str, int | None]
    out_of_reach: Mapping[str, str]
    archived_objects: int
    archived_rows: int


def hold_rows(
    workspace: Workspace,
    scope: HoldScope,
    *,
    reason: str,
    owner: str,
    starts_on: date | None,
    review_on: date | None,
    at: datetime,
    airflow_user: str | None = None,
) -> Added:
    """Adds a hold of that scope (its id does not matter), from today on unless told, and says what it keeps.

    A person or tenant given by a keyed digest (`control.holds.by_digest`) is held by the key, if a living row has it, else in the archive
    only. `airflow_user`: who does it in Airflow, for the evidence.
    Raises HoldRefused when it would keep nothing or nobody answers for it, UnknownName for a dataset that is not mapped, Unreachable
    or Uncountable when it cannot be seen whether a key is there.
    """
    catalog = workspace.catalog
    starts_on = starts_on or _today(workspace, at)
    check_hold(scope, reason=reason, owner=owner, starts_on=starts_on, review_on=review_on, catalog=catalog)
    if scope.person is not None and (digest := digest_of_key(scope.person[1])) is not None:
        scope = scope.model_copy(update={"person": person_of(workspace, digest, (scope.person[0],))})
    if scope.tenant is not None and (digest := digest_of_key(scope.tenant)) is not None:
        scope = scope.model_copy(update={"tenant": tenant_of(workspace, digest)})
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
            airflow_user=airflow_user,
            at=at,
        )
    lacks = lacking(catalog, made.scope)
    archived = archived_for(workspace, made.scope)
    return Added(
        hold=made,
        keeps=count_kept(workspace, made.scope, at),
        out_of_reach={d: lack for d, lack in lacks.items() if lack},
        archived_objects=len(archived),
        archived_rows=sum(archived.values()),
    )


def archived_for(workspace: Workspace, scope: HoldScope) -> dict[str, int]:
    """The archive's objects in which a hold may keep rows, by id, with all rows of each. Opens none of them. Those whose names were made by
    another key than today's are among them: a hold must not be refused because it cannot be matched, and nothing of them expires then."""
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    with workspace.control.connect() as control:
        return holding(control, named([scope], key, workspace.catalog), unsure=True)


def person_of(workspace: Workspace, digest: str, datasets: Sequence[str] | None = None) -> tuple[str, str]:
    """The dataset and key of the person with that keyed digest (32 or 64 hex digits), in one of these identity datasets or in any.

    Digests cannot be turned back, so the keys of the datasets are read, streamed, and hashed, and those by which other rows name a person
    who may be gone. A person in none of them is named by the digest: that matches no living row, and the archive's rows.
    """
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    chosen = identities(workspace.catalog) if datasets is None else tuple(datasets)
    if not chosen:
        raise HoldRefused("The catalog has no dataset of persons.", fix="Name the store's `identities` in the catalog.")
    name = person_name(key, (chosen[0], by_digest(digest)))
    everyone = ((dataset, value) for dataset in chosen for value in _keys(workspace, dataset))
    return next((person for person in everyone if person_name(key, person) == name), (chosen[0], by_digest(digest)))


def hold_person(workspace: Workspace, digest: str, scope: HoldScope) -> tuple[str, str]:
    """Whom a hold of that scope names by a keyed digest alone, without a dataset: `person_of` over every dataset of persons.

    Of a person in none of them the dataset is not known, and does not matter to the archive: it is one that the scope leads to, if any.
    """
    person = person_of(workspace, digest)
    if digest_of_key(person[1]) is None:
        return person
    for dataset in identities(workspace.catalog):
        try:
            refuse_unreachable(workspace.catalog, scope.model_copy(update={"person": (dataset, person[1])}))
        except HoldRefused:
            continue
        return (dataset, person[1])
    return person


def tenant_of(workspace: Workspace, digest: str) -> str:
    """The key of the tenant with that keyed digest (32 or 64 hex digits), of whichever store.

    As for a person, the keys are read and hashed; a tenant that no store has and no row names any more is named by the digest, which
    matches no living row, and the archive's rows.
    """
    key = settings.digest_key(workspace.connections(settings.CONTROL))
    name = person_name(key, ("", by_digest(digest)))
    places = tuple(dict.fromkeys(s.tenants for s in workspace.catalog.stores if s.tenants and s.kind == "postgresql"))
    everyone = ((dataset, value) for dataset in places for value in _keys(workspace, dataset))
    return next((value for dataset, value in everyone if person_name(key, (dataset, value)) == name), by_digest(digest))


def identities(catalog: Catalog) -> tuple[str, ...]:
    """The datasets whose rows are persons, in the order of the stores."""
    return catalog.identities


def _keys(workspace: Workspace, dataset: str) -> Iterator[str]:
    from lethe.stores.postgres.everyone import every_key

    store = workspace.catalog.datasets()[dataset][0]
    return every_key(workspace.checking(store), store, dataset)


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
    if scope.person is not None and not archived_for(workspace, HoldScope(id=0, person=scope.person)):
        dataset, key = scope.person
        if digest_of_key(key) is not None:
            raise HoldRefused(
                "This hold would keep nothing: no living person and no row of the archive has that keyed digest.",
                fix="`lethe hold digest DATASET:KEY` prints it; nothing was held.",
            )
        _refuse_unknown(workspace, [(datasets[dataset][0], dataset)], key, HoldScope(id=0, person=scope.person))
    if scope.tenant is not None and not archived_for(workspace, HoldScope(id=0, tenant=scope.tenant)):
        if digest_of_key(scope.tenant) is not None:
            raise HoldRefused(
                "This hold would keep nothing: no living tenant and no row of the archive has that keyed digest.",
                fix="`lethe hold digest tenants:KEY` prints it; nothing was held.",
            )
        stores = [datasets[scope.dataset][0]] if scope.dataset else list(workspace.catalog.stores)
        places = [(s, s.tenants) for s in stores if s.tenants and s.kind == "postgresql"]
        places = places or [(s, s.tenants) for s in workspace.catalog.stores if s.tenants and s.kind == "postgresql"]
        _refuse_unknown(workspace, places, scope.tenant, HoldScope(id=0, tenant=scope.tenant))


def _refuse_unknown(workspace: Workspace, places: Sequence[tuple[Store, str]], key: str, alone: HoldScope) -> None:
    """Raises HoldRefused when the key is in none of the datasets and no row leads to it: a log may outlive the user it names. What the
    archive has was looked for before."""
    wrong: HoldRefused | None = None
    for store, dataset in places:
        try:
            if _leads_somewhere(workspace, store, dataset, key, alone):
                return
        except HoldRefused as refused:
            wrong = refused
    names = ", ".join(dataset for _, dataset in places)
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
