"""The plan of the archive's expiry: one step for each dataset and law that the archive knows, whatever the policy has become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lethe.errors import BadAsOf
from lethe.plan.expiry import PROMISE, Archived, is_expiry, limits_for, make_expiry_plan
from lethe.plan.guard import findings
from lethe.plan.make import make_plan
from lethe.plan.model import Counts, ExpiryPredicate
from lethe.policy.load import load_policies
from lethe.policy.model import PolicyVersion
from lethe.settings import SHIPPED, catalog_dir

AS_OF = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
INVOICES = Archived("billing_invoices", "Code de commerce L123-22", "billing-invoices", "code-de-commerce-l123-22")
GONE = Archived("old_table", "Code civil 2224", "a-rule-of-2019", "code-civil-2224")


@pytest.fixture(scope="module")
def policy() -> PolicyVersion:
    return load_policies(SHIPPED).in_force(AS_OF)


def test_a_step_for_each_dataset_and_law_with_the_rule_that_archived(policy: PolicyVersion) -> None:
    plan = make_expiry_plan(policy, [INVOICES], as_of=AS_OF)
    (step,) = plan.steps
    assert (step.id, step.rule, step.store) == ("expiry-code-de-commerce-l123-22/billing_invoices", "billing-invoices", "archive")
    assert (step.dataset, step.promise, step.period, step.acts) == ("archive/billing_invoices", "archived-as-law-requires", "", True)
    assert step.predicate == ExpiryPredicate(dataset="billing_invoices", law=INVOICES.law, as_of=AS_OF, zone="Europe/Paris")


def test_a_rule_and_a_dataset_that_are_gone_expire_all_the_same_within_the_guard_of_the_policy(policy: PolicyVersion) -> None:
    plan = make_expiry_plan(policy, [GONE], as_of=AS_OF)
    (step,) = plan.steps
    assert (step.rule, step.promise) == ("a-rule-of-2019", PROMISE)
    limits = limits_for(policy, plan)
    assert limits["a-rule-of-2019"] == policy.guard
    assert findings(plan, {step.id: Counts(total=100, due=1)}, limits) == ()
    assert [f.limit for f in findings(plan, {step.id: Counts(total=100, due=90)}, limits)] == ["share"]


def test_of_several_rules_over_the_same_objects_the_step_has_the_one_that_is_in_the_policy(policy: PolicyVersion) -> None:
    renamed = INVOICES._replace(rule="a-name-of-before")
    (step,) = make_expiry_plan(policy, [renamed, INVOICES], as_of=AS_OF).steps
    assert step.rule == "billing-invoices"


def test_two_laws_that_are_written_alike_are_two_steps(policy: PolicyVersion) -> None:
    other = INVOICES._replace(law="Code de commerce, L123-22")
    plan = make_expiry_plan(policy, [INVOICES, other], as_of=AS_OF)
    assert len({s.id for s in plan.steps}) == 2
    assert {s.predicate.law for s in plan.steps if isinstance(s.predicate, ExpiryPredicate)} == {INVOICES.law, other.law}


def test_the_same_instant_and_archive_give_the_same_plan_and_another_instant_another(policy: PolicyVersion) -> None:
    plan = make_expiry_plan(policy, [INVOICES, GONE], as_of=AS_OF)
    paris = AS_OF.astimezone(timezone(timedelta(hours=1)))
    assert make_expiry_plan(policy, [GONE, INVOICES, GONE], as_of=paris).digest == plan.digest
    assert make_expiry_plan(policy, [GONE, INVOICES], as_of=AS_OF + timedelta(seconds=1)).digest != plan.digest


def test_it_is_no_run_over_the_policy_and_a_plan_of_the_policy_is_no_expiry(policy: PolicyVersion) -> None:
    from lethe.catalog.load import load_catalog

    plan = make_expiry_plan(policy, [INVOICES], as_of=AS_OF)
    assert is_expiry(plan) and not {r.id for r in policy.rules} & set(plan.rules)
    assert is_expiry(make_expiry_plan(policy, [], as_of=AS_OF)), "of an archive without an object"
    assert not is_expiry(make_plan(policy, load_catalog(catalog_dir(SHIPPED)), as_of=AS_OF))


def test_an_instant_without_a_zone_is_refused(policy: PolicyVersion) -> None:
    with pytest.raises(BadAsOf):
        make_expiry_plan(policy, [INVOICES], as_of=AS_OF.replace(tzinfo=None))
