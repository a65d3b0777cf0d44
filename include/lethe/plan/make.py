"""Policy and catalog, as of one instant, become a plan: every rule a step for each dataset of its category. Pure.

A rule that cannot be kept yet is in the plan with what it waits for, and never acts. A rule without a dataset is in it too: silence
about a rule is not possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from lethe.catalog.model import Catalog, Path, Prefix, Store, Table
from lethe.errors import BadAsOf, UnknownName
from lethe.plan.model import ContractShield, ObjectPredicate, Plan, Predicate, Step
from lethe.plan.order import hop_to
from lethe.policy.model import PolicyVersion, Rule
from lethe.policy.period import cutoff


def make_plan(policy: PolicyVersion, catalog: Catalog, *, as_of: datetime, rules: Sequence[str] | None = None) -> Plan:
    """The plan of the policy's rules, or of those named, as of an instant; the steps in the order of the policy, then of the catalog.

    Raises BadAsOf for an `as_of` without zone, and UnknownName for a rule that does not exist or for a clock, a subset or a way to
    the contracts that a dataset of a rule which would act does not define (invariant 6: it stops the run by name).
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
        steps=tuple(step for rule in chosen for step in _steps(rule, policy, catalog, as_of)),
    )


def _chosen(policy: PolicyVersion, rules: Sequence[str] | None) -> list[Rule]:
    if rules is None:
        return list(policy.rules)
    unknown = sorted(set(rules) - {r.id for r in policy.rules})
    if unknown:
        known = ", ".join(r.id for r in policy.rules)
        raise UnknownName(f"No such rule: {', '.join(unknown)}.", fix=f"The policy of {policy.version} has: {known}.")
    return [r for r in policy.rules if r.id in rules]


def _steps(rule: Rule, policy: PolicyVersion, catalog: Catalog, as_of: datetime) -> list[Step]:
    """A step for each dataset of the rule's category; a partition goes with its partitioned table."""
    found = [
        Step(
            id=f"{rule.id}/{dataset}",
            rule=rule.id,
            promise=rule.promise,
            dataset=dataset,
            store=store.id,
            predicate=_predicate(rule, store, dataset, entry, policy, as_of),
            waiting_for=_waiting_for(rule),
            period=str(rule.period),
        )
        for dataset, (store, entry) in catalog.datasets().items()
        if entry.category == rule.category and not (isinstance(entry, Table) and entry.partition_of)
    ]
    alone = Step(
        id=rule.id,
        rule=rule.id,
        promise=rule.promise,
        dataset=None,
        store=None,
        predicate=None,
        waiting_for=_waiting_for(rule),
        period=str(rule.period),
    )
    return found or [alone]


def _waiting_for(rule: Rule) -> tuple[str, ...]:
    return tuple(need.value for need in rule.needs)


class _Lacking(Exception):
    """A dataset does not define what a rule needs of it."""


def _predicate(
    rule: Rule, store: Store, dataset: str, entry: Table | Prefix, policy: PolicyVersion, as_of: datetime
) -> Predicate | ObjectPredicate | None:
    """The rule's predicate on a dataset; None when the dataset lacks a part of it and the rule waits anyway."""
    try:
        if isinstance(entry, Prefix):
            return _on_objects(rule, store, entry, policy, as_of)
        return _on_rows(rule, store, dataset, entry, policy, as_of)
    except _Lacking as lacking:
        if rule.needs:
            return None
        raise UnknownName(
            f"Rule {rule.id!r} cannot be planned: dataset {dataset!r} has {lacking}.", fix="Add it to the dataset in the catalog."
        ) from None


def _on_objects(rule: Rule, store: Store, entry: Prefix, policy: PolicyVersion, as_of: datetime) -> ObjectPredicate:
    if rule.clock not in entry.clocks:
        raise _Lacking(f"no clock {rule.clock!r}")
    if rule.subset is not None or rule.live_contract == "keeps":
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
    )


def _shield(store: Store, dataset: str, entry: Table) -> ContractShield:
    """The way from a row to its tenant and on to the contracts, which is their way to the tenant turned round."""
    if store.contracts is None or entry.tenant is None:
        raise _Lacking("no way to the contracts: the store's `contracts` or its own `tenant` is missing")
    if dataset == store.contracts.dataset:
        return ContractShield(through=(), started=store.contracts.started, ended=store.contracts.ended)
    back = turned_round(store, store.contracts.dataset, store.contracts.tenant)
    return ContractShield(through=(*entry.tenant, *back), started=store.contracts.started, ended=store.contracts.ended)


def turned_round(store: Store, dataset: str, path: Path) -> Path:
    """The path that leads from where `path` ends back to `dataset`."""
    hops: list[str] = []
    for hop in path:
        to = hop_to(store, dataset, hop)
        other, _, name = hop.rpartition(".")
        hops.insert(0, name if other else f"{dataset}.{name}")
        dataset = to
    return tuple(hops)
