"""Policy and catalog, as of one instant, become a plan: every rule a step for each dataset of its category. Pure.

A rule that cannot be kept yet is in the plan with what it waits for, and never acts. A rule without a dataset is in it too: silence
about a rule is not possible. What a plan archives and what its rows are kept for stands in its steps too, so that an approval covers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from lethe.catalog.model import Catalog, Prefix, Store, Table
from lethe.errors import BadAsOf, UnknownName
from lethe.plan.keeping import kept_for, turned_round
from lethe.plan.model import ArchiveTerms, ContractShield, KeptFor, ObjectPredicate, Plan, Predicate, Step
from lethe.policy.model import Need, PolicyVersion, Rule
from lethe.policy.period import cutoff


def make_plan(
    policy: PolicyVersion,
    catalog: Catalog,
    *,
    as_of: datetime,
    rules: Sequence[str] | None = None,
    met: frozenset[Need] = frozenset(),
) -> Plan:
    """The plan of the policy's rules, or of those named, as of an instant; the steps in the order of the policy, then of the catalog.

    `met` are the needs that this installation meets, such as an archive: a rule that has no other does not wait.

    Raises BadAsOf for an `as_of` without zone, and UnknownName for a rule that does not exist, for a clock, a subset or a way to
    the contracts that a dataset of a rule which would act does not define (invariant 6: it stops the run by name), and for a dataset or
    column of a rule's archive that the catalog lacks, whether the rule acts or waits.
    """
    if as_of.tzinfo is None:
        raise BadAsOf("as_of has no time zone.", fix="Write it as 2026-11-23T02:00:00+01:00.")
    as_of = as_of.astimezone(UTC)  # 02:00+01:00 and 01:00+00:00 are one instant, so one plan, and one approval
    chosen = _chosen(policy, rules)
    return Plan(
        as_of=as_of,
        policy_version=policy.version,
        policy_digest=policy.digest,
        text_sha256=policy.text_sha256,
        catalog_digest=catalog.digest,
        rules=tuple(r.id for r in chosen),
        steps=tuple(step for rule in chosen for step in _steps(rule, policy, catalog, as_of, met)),
    )


def _chosen(policy: PolicyVersion, rules: Sequence[str] | None) -> list[Rule]:
    if rules is None:
        return list(policy.rules)
    unknown = sorted(set(rules) - {r.id for r in policy.rules})
    if unknown:
        known = ", ".join(r.id for r in policy.rules)
        raise UnknownName(f"No such rule: {', '.join(unknown)}.", fix=f"The policy of {policy.version} has: {known}.")
    return [r for r in policy.rules if r.id in rules]


def _steps(rule: Rule, policy: PolicyVersion, catalog: Catalog, as_of: datetime, met: frozenset[Need]) -> list[Step]:
    """A step for each dataset of the rule's category; a partition goes with its partitioned table, and files with their rows."""
    waiting_for = tuple(need.value for need in rule.needs if need not in met)
    found = [
        Step(
            id=f"{rule.id}/{dataset}",
            rule=rule.id,
            promise=rule.promise,
            dataset=dataset,
            store=store.id,
            predicate=_predicate(rule, store, dataset, entry, policy, as_of, waits=bool(waiting_for)),
            archive=_archive(rule, dataset, entry),
            waiting_for=waiting_for,
            period=str(rule.period),
        )
        for dataset, (store, entry) in catalog.datasets().items()
        if entry.category == rule.category and not (isinstance(entry, Table) and entry.partition_of)
        if waiting_for or not catalog.goes_with_rows(dataset)
    ]
    alone = Step(
        id=rule.id,
        rule=rule.id,
        promise=rule.promise,
        dataset=None,
        store=None,
        predicate=None,
        waiting_for=waiting_for,
        period=str(rule.period),
    )
    return found or [alone]


def _archive(rule: Rule, dataset: str, entry: Table | Prefix) -> ArchiveTerms | None:
    """What the rule keeps of a dataset's rows; None for a rule that only deletes. UnknownName for what is not there to keep."""
    if rule.archive is None:
        return None
    columns = rule.archive.columns.get(dataset, ())
    known = entry.columns if isinstance(entry, Table) else {}
    lacking = [c for c in columns if c not in known]
    if not columns or lacking:
        what = f"columns that the catalog lacks ({', '.join(lacking)})" if lacking else "no columns to archive"
        raise UnknownName(
            f"Rule {rule.id!r} cannot be planned: dataset {dataset!r} has {what}.",
            fix="Correct `archive.columns` of the rule in rules.yaml: each table of its category, with the columns that the law needs.",
        )
    return ArchiveTerms(law=rule.archive.law, ground=rule.archive.ground, period=rule.archive.period, columns=columns)


class _Lacking(Exception):
    """A dataset does not define what a rule needs of it."""


def _predicate(
    rule: Rule, store: Store, dataset: str, entry: Table | Prefix, policy: PolicyVersion, as_of: datetime, *, waits: bool
) -> Predicate | ObjectPredicate | None:
    """The rule's predicate on a dataset; None when the dataset lacks a part of it and the rule waits anyway."""
    try:
        if isinstance(entry, Prefix):
            return _on_objects(rule, store, entry, policy, as_of)
        return _on_rows(rule, store, dataset, entry, policy, as_of)
    except _Lacking as lacking:
        if waits:
            return None
        raise UnknownName(
            f"Rule {rule.id!r} cannot be planned: dataset {dataset!r} has {lacking}.", fix="Add it to the dataset in the catalog."
        ) from None


def _on_objects(rule: Rule, store: Store, entry: Prefix, policy: PolicyVersion, as_of: datetime) -> ObjectPredicate:
    if rule.clock not in entry.clocks:
        raise _Lacking(f"no clock {rule.clock!r}")
    if rule.subset is not None or rule.live_contract == "keeps" or rule.kept_for:
        raise _Lacking("objects, which have no subsets and lead to no contract")
    return ObjectPredicate(
        bucket=entry.bucket,
        prefix=entry.prefix,
        clock=entry.clocks[rule.clock],
        cutoff=cutoff(as_of, rule.period, ZoneInfo(policy.time_zone)),
        start_of_service=store.start_of_service,
        as_of=as_of,
        zone=policy.time_zone,
    )


def _on_rows(rule: Rule, store: Store, dataset: str, entry: Table, policy: PolicyVersion, as_of: datetime) -> Predicate:
    if rule.clock not in entry.clocks:
        raise _Lacking(f"no clock {rule.clock!r}")
    if rule.subset is not None and rule.subset not in entry.subsets:
        raise _Lacking(f"no subset {rule.subset!r}")
    return Predicate(
        clock=entry.clocks[rule.clock],
        cutoff=cutoff(as_of, rule.period, ZoneInfo(policy.time_zone)),
        start_of_service=store.start_of_service,
        as_of=as_of,
        zone=policy.time_zone,
        subset=entry.subsets[rule.subset] if rule.subset is not None else (),
        shield=_shield(store, dataset, entry) if rule.live_contract == "keeps" else None,
        kept_for=_kept_for(rule, store, dataset),
    )


def _shield(store: Store, dataset: str, entry: Table) -> ContractShield:
    """The way from a row to its tenant and on to the contracts, which is their way to the tenant turned round."""
    if store.contracts is None or entry.tenant is None:
        raise _Lacking("no way to the contracts: the store's `contracts` or its own `tenant` is missing")
    if dataset == store.contracts.dataset:
        return ContractShield(through=(), started=store.contracts.started, ended=store.contracts.ended)
    back = turned_round(store, store.contracts.dataset, store.contracts.tenant)
    return ContractShield(through=(*entry.tenant, *back), started=store.contracts.started, ended=store.contracts.ended)


def _kept_for(rule: Rule, store: Store, dataset: str) -> tuple[KeptFor, ...]:
    """Every table of the rule's `kept_for` categories, by the tenant that its rows and this dataset's have in common."""
    if not rule.kept_for:
        return ()
    found = kept_for(store, dataset, rule.kept_for)
    if not found:
        raise _Lacking(f"no way to the tenants that it shares with a table of {', '.join(rule.kept_for)}")
    return found
