"""The shipped policy, and what is refused of any other."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lethe.errors import InvalidFile, NotInForce
from lethe.policy.check import check_text
from lethe.policy.load import load_policies, load_version, read_text
from lethe.policy.model import Need, PolicyVersion
from lethe.settings import SHIPPED

FOLDER = SHIPPED / "2026-05-01"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "spotrak"))


def shipped() -> PolicyVersion:
    return load_version(FOLDER)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_shipped_text_is_the_published_one_byte_for_byte() -> None:
    assert hashlib.sha256((FOLDER / "policy.txt").read_bytes()).hexdigest() == shipped().text_sha256
    assert shipped().text_sha256 == "a90665bb4f5b031af11276451922a125a3d8a4e842b56a2789eba04808ce9ec2"


def test_every_quote_of_the_shipped_policy_is_in_the_text() -> None:
    assert check_text(shipped(), read_text(FOLDER, shipped())) == []


def test_every_sentence_about_data_is_quoted_by_a_promise() -> None:
    text = " ".join((FOLDER / "policy.txt").read_text().split())
    quoted = [" ".join(q.split()) for p in shipped().promises for q in p.quotes]
    for heading in ("Data we collect", "Why we use it", "Retention", "Security", "Cookies", "Policy updates"):
        text = text.replace(f" {heading} ", " ")
    body = text[text.index("We process your data") :]
    for quote in sorted(quoted, key=len, reverse=True):
        body = body.replace(quote, " ")
    left = [s for s in (part.strip(" •") for part in body.split(" • ")) if s]
    assert " ".join(left).replace("•", "").split() == ["Sharing", "and", "processors", "Your", "rights", "Got", "a", "question?"]


@pytest.mark.parametrize(
    ("rule", "period", "archive", "waits"),
    [
        ("technical-logs", "P12M", None, False),
        ("usage-events", "P12M", None, False),
        ("usage-events-after-contract", "P0D", None, False),
        ("audience-events", "P25M", None, False),
        ("consent-refusals", "P6M", None, False),
        ("consent-proofs", "P5Y", None, False),
        ("leads", "P3Y", None, False),
        ("leads-converted", "P0D", None, False),
        ("accounts-without-contract", "P2Y", None, True),
        ("accounts", "P0D", None, False),
        ("users-removed", "P30D", None, False),
        ("contracts", "P0D", "P5Y", True),
        ("billing-invoices", "P0D", "P10Y", True),
        ("support", "P3Y", None, False),
        ("mail-log", "P12M", None, False),
        ("mail-log-notices", "P5Y", None, False),
        ("business-data", "P30D", None, True),
        ("export-bundles", "P30D", None, False),
        ("identity-proofs", "P0D", None, True),
        ("identity-proofs-undecided", "P30D", None, False),
        ("intake-files", "P30D", None, False),
        ("internal-lists", "P5Y", None, False),
        ("objection-list", "P0D", None, True),
        ("replay-digests", "P65D", None, True),
        ("request-files", "P5Y", None, True),
        ("incident-register", "P5Y", None, True),
        ("evidence", "P5Y", None, True),
        ("backups", "P35D", None, True),
    ],
)
def test_every_period_of_the_policy_is_a_rule(rule: str, period: str, archive: str | None, waits: bool) -> None:
    found = shipped().rule(rule)
    assert str(found.period) == period
    assert (str(found.archive.period) if found.archive else None) == archive
    assert bool(found.needs) == waits


def test_a_rule_that_cannot_be_kept_yet_says_what_it_waits_for() -> None:
    by_need = {n: {r.id for r in shipped().rules if n in r.needs} for n in Need}
    assert {"contracts", "billing-invoices"} == by_need[Need.ARCHIVE]
    assert {"business-data", "accounts-for-retrieval"} == by_need[Need.RETURN_RECORD]
    assert {"accounts-without-contract"} == by_need[Need.WARNING]


def test_the_archive_keeps_who_the_parties_were_and_what_was_owed_and_no_way_to_reach_a_person() -> None:
    kept = {d: set(c) for r in shipped().rules if r.archive for d, c in r.archive.columns.items()}
    assert set(kept) == {"tenants", "contracts", "billing_invoices"}
    assert {"id", "legal_name", "siren"} <= kept["tenants"] and {"tenant_id", "number", "ended_at"} <= kept["contracts"]
    assert {"number", "net_cents", "vat_cents", "issued_at"} <= kept["billing_invoices"]
    assert not [c for columns in kept.values() for c in columns if c in {"contact_email", "contact_phone", "billed_email", "name"}]


def test_a_rule_that_archives_what_tenants_store_is_refused(copy: Path) -> None:
    """A tenant's invoice is the tenant's accounting record: the ten years do not bind the processor for it."""
    version = copy / "2026-05-01"
    edit(version / "rules.yaml", "    category: billing-invoices\n    role: controller", "    category: business-data\n    role: processor")
    with pytest.raises(InvalidFile, match=r"rules.yaml:\d+: .*what tenants store is theirs to keep"):
        load_policies(copy)


@pytest.mark.parametrize(("old", "new"), [("    then: archive\n", ""), ("    needs: [archive]\n", "")], ids=["deletes", "needs no archive"])
def test_a_rule_with_an_archive_archives_and_needs_one(copy: Path, old: str, new: str) -> None:
    edit(copy / "2026-05-01" / "rules.yaml", old, new)
    with pytest.raises(InvalidFile, match="archive"):
        load_policies(copy)


def test_all_31_promises_are_there_and_each_says_what_proves_it() -> None:
    assert len(shipped().promises) == 31
    assert all(p.quotes and p.means and p.proof for p in shipped().promises)


def test_the_version_in_force_is_taken_by_the_date_in_its_own_zone() -> None:
    book = load_policies(SHIPPED)
    assert book.in_force(datetime(2026, 4, 30, 22, 0, tzinfo=UTC)).version == "2026-05-01"
    with pytest.raises(NotInForce, match="2026-04-30"):
        book.in_force(datetime(2026, 4, 30, 21, 59, tzinfo=UTC))
    with pytest.raises(NotInForce):
        book.in_force(date(2026, 4, 30))


def test_a_later_version_takes_over_on_its_day(copy: Path) -> None:
    shutil.copytree(copy / "2026-05-01", copy / "2027-01-01")
    edit(copy / "2027-01-01" / "policy.yaml", "effective_on: 2026-05-01", "effective_on: 2027-01-01")
    book = load_policies(copy)
    assert [book.in_force(d).version for d in (date(2026, 12, 31), date(2027, 1, 1))] == ["2026-05-01", "2027-01-01"]


def test_a_text_that_is_not_the_declared_one_is_refused(copy: Path) -> None:
    with (copy / "2026-05-01" / "policy.txt").open("a") as text:
        text.write("\n")
    with pytest.raises(InvalidFile, match=r"policy.yaml:\d+: policy.txt is not the text that was declared"):
        load_policies(copy)
    kinds = {f.kind for f in check_text(shipped(), read_text(copy / "2026-05-01", shipped()))}
    assert kinds == {"digest of text"}


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("policy.yaml", "Europe/Paris", "Europe/Pariss", "no time zone"),
        ("policy.yaml", "effective_on: 2026-05-01", "effective_on: 2026-06-01", "not named by"),
        ("rules.yaml", "promise: logs-12-months", "promise: logs-13-months", "promise that does not exist"),
        ("policy.yaml", "transfers_promise: needed-processors", "transfers_promise: needed", "promise that does not exist"),
        ("rules.yaml", "id: usage-events\n", "id: technical-logs\n", "used twice"),
        ("policy.yaml", "text_file: policy.txt", "text_file: ../../x.txt", "leaves its folder"),
    ],
)
def test_what_only_the_files_together_get_wrong_is_refused(copy: Path, file: str, old: str, new: str, says: str) -> None:
    edit(copy / "2026-05-01" / file, old, new)
    with pytest.raises(InvalidFile, match=says):
        load_policies(copy)


def test_a_quote_that_is_not_in_the_text_is_a_finding(copy: Path) -> None:
    edit(
        copy / "2026-05-01" / "rules.yaml",
        "quote: Technical logs are deleted after 12 months.",
        "quote: Technical logs are deleted after 13 months.",
    )
    version = load_version(copy / "2026-05-01")
    assert [f.where for f in check_text(version, read_text(FOLDER, version))] == ["2026-05-01/rules.yaml technical-logs"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rules", "period: P12M", "period: P5BD"),
        ("rules", "period: P10Y", "period: P10BD"),
        ("policy", "backup_window: P35D", "backup_window: P35BD"),
    ],
)
def test_a_period_in_business_days_ages_no_data_and_is_refused_by_its_line(copy: Path, name: str, old: str, new: str) -> None:
    path = copy / "2026-05-01" / f"{name}.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    assert new in path.read_text()
    with pytest.raises(InvalidFile, match=rf"{name}.yaml:\d+: .*business days, which age no data") as refused:
        load_policies(copy)
    assert "P12M" in refused.value.fix
