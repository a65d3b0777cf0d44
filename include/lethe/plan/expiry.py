"""The plan of a night's archive expiry: a step for each dataset and law that the archive has objects of. Pure.

The archive is no store of the catalog, and an object expires by what its manifest says, not by today's catalog: a dataset or a rule that
the policy no longer has expires all the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from lethe.errors import BadAsOf
from lethe.plan.guard import limits_of
from lethe.plan.model import ExpiryPredicate, Plan, Step
from lethe.policy.model import Guard, PolicyVersion

ARCHIVE_STORE = "archive"
"""The store of each step, which its lease is taken for; the catalog does not have it."""

PROMISE = "archived-as-law-requires"
"""The promise of a step whose rule is gone from the policy."""


class Archived(NamedTuple):
    """Objects of one dataset under one law, archived by one rule. `slug` is the law as object keys write it (`archive.keys.slug`)."""

    dataset: str
    law: str
    rule: str
    slug: str


def make_expiry_plan(policy: PolicyVersion, archives: Collection[Archived], *, as_of: datetime, catalog_digest: str = "") -> Plan:
    """The plan as of an instant, a step for each dataset and law, in the order of both; empty when nothing was ever archived.

    A step's rule is the one that archived, or of several the first that the policy has. The plan's `rules` are its steps, so that
    it never counts as a run over rules of the policy. Raises BadAsOf for an `as_of` without zone.
    """
    if as_of.tzinfo is None:
        raise BadAsOf("as_of has no time zone.", fix="Write it as 2026-11-23T04:30:00+01:00.")
    as_of = as_of.astimezone(UTC)
    known = {r.id: r for r in policy.rules}
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for each in sorted(set(archives)):
        kinds.setdefault((each.dataset, each.law, each.slug), []).append(each.rule)
    shared = Counter((dataset, slug) for dataset, _, slug in kinds)
    steps = []
    for (dataset, law, slug), rules in kinds.items():
        rule = next((r for r in rules if r in known), rules[0])
        # Two laws whose slugs are the same are two steps all the same.
        apart = f"-{hashlib.sha256(law.encode()).hexdigest()[:8]}" if shared[dataset, slug] > 1 else ""
        steps.append(
            Step(
                id=f"expiry-{slug}{apart}/{dataset}",
                rule=rule,
                promise=known[rule].promise if rule in known else PROMISE,
                dataset=f"{ARCHIVE_STORE}/{dataset}",
                store=ARCHIVE_STORE,
                predicate=ExpiryPredicate(dataset=dataset, law=law, as_of=as_of, zone=policy.time_zone),
            )
        )
    return Plan(
        as_of=as_of,
        policy_version=policy.version,
        policy_digest=policy.digest,
        text_sha256=policy.text_sha256,
        catalog_digest=catalog_digest,
        rules=tuple(s.id for s in steps),
        steps=tuple(steps),
    )


def is_expiry(plan: Plan) -> bool:
    """Is it a plan of the archive's expiry? One without a step is: a plan of the policy's rules has a step for each."""
    return all(isinstance(s.predicate, ExpiryPredicate) for s in plan.steps)


def limits_for(policy: PolicyVersion, plan: Plan) -> dict[str, Guard]:
    """The guard of each rule (`plan.guard.limits_of`), and the policy's own for a rule that is gone whose archive expires."""
    gone: Mapping[str, Guard] = {s.rule: policy.guard for s in plan.steps if isinstance(s.predicate, ExpiryPredicate)}
    return {**gone, **limits_of(policy)}
