"""The report says what was counted, calls nothing clean that was not, and reaches for nothing outside of itself."""

from __future__ import annotations

import html
import re
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lethe.errors import ReportNotWritten
from lethe.policy.period import Period
from lethe.reports import words
from lethe.reports.archive import Protection
from lethe.reports.calendar import COLOURS, calendar
from lethe.reports.chart import LEFT, RIGHT, WIDTH, chart
from lethe.reports.findings import findings
from lethe.reports.model import Blocker, HoldReport, Quarantine, RunReport
from lethe.reports.run_report import render, tiles, verdict, write
from lethe.verify.result import Terms
from sample_report import BOOKS, CLAIMS, archive, expiry, report, step, terms

CUTOFF = datetime(2025, 11, 23, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "Clean"),
        ({"outcome": "survivors"}, "Survivors"),
        ({"steps": (step(terms=terms(survivors=3)),)}, "Survivors"),
        ({"outcome": "unknown"}, "Unknown"),
        ({"steps": (step(outcome="unknown"), step(terms=terms(survivors=3)))}, "Unknown"),
        ({"outcome": None, "state": "failed"}, "Not finished"),
        ({"outcome": "clean", "state": "failed"}, "Not finished"),
        ({"outcome": None, "state": "refused"}, "Refused"),
        ({"outcome": None, "state": "waiting"}, "Waiting for approval"),
        ({"outcome": None, "state": "passed", "dry_run": True}, "Dry run"),
    ],
)
def test_nothing_is_called_clean_that_was_not_counted_clean(changes: dict[str, Any], title: str) -> None:
    assert verdict(report(**changes)).title == title


def test_unknown_is_not_zero() -> None:
    unknown = report(outcome="unknown", steps=(step(outcome="unknown", terms=terms(survivors=None, deleted=5)), step()))
    assert {t.label: t.value for t in tiles(unknown)}["Survivors"] == "unknown"
    assert "The sum cannot be checked" in render(report(steps=(step(terms=Terms(planned=3)),)))


def test_before_a_run_a_missing_number_is_not_there_yet_rather_than_unknown() -> None:
    planned = report(
        dry_run=True, state="planned", outcome=None, steps=(step(outcome=None, level=None, left=None, terms=Terms(planned=9)),)
    )
    assert [(t.label, t.value) for t in tiles(planned)] == [("Due", "9"), ("Quarantined", "0"), ("Not carried out yet", "4")]
    assert '<span class="unknown">' not in render(planned.model_copy(update={"holds": ()}))
    assert "Nothing was carried out" in render(planned)


def test_a_sum_that_does_not_come_out_is_a_finding_that_fails_the_run() -> None:
    wrong = report(steps=(step(terms=terms(planned=10, deleted=9)),))
    assert next((f.kind, f.fails) for f in findings(wrong)) == ("unbalanced", True)
    assert "The sum does not come out" in render(wrong)


def test_quarantined_blocked_and_unreviewed_holds_are_red_but_do_not_fail() -> None:
    assert [(f.kind, f.fails) for f in findings(report())] == [("blocked", False), ("quarantined", False), ("hold", False)]


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        (Protection(bucket="b", versioned=True, lock=True), None),
        (Protection(bucket="b", versioned=True, lock=False, lacks=("no object lock: x",)), None),
        (
            Protection(bucket="b", versioned=False, lock=False, lacks=("no versions: x", "no object lock: y")),
            "no versions: x; no object lock: y",
        ),
        (Protection(bucket="b", lacks=("versions unknown: x", "object lock unknown: y")), "versions unknown: x; object lock unknown: y"),
        (Protection(bucket="b", read=False), "unknown what protects"),
        (Protection(bucket="b", exists=False), "does not exist"),
    ],
)
def test_an_archive_that_nothing_protects_is_red_and_what_merely_lacks_is_said(bucket: Protection, said: str | None) -> None:
    one = report(steps=(), holds=(), archive=archive(protection=bucket))
    assert [(f.kind, f.fails) for f in findings(one)] == ([("archive", False)] if said else [])
    assert all((said or "") in f.what for f in findings(one))
    assert all(lack in render(one) for lack in bucket.lacks)


def test_archive_objects_that_are_not_sealed_are_a_finding_of_their_step() -> None:
    unsealed = tuple(s.model_copy(update={"unsealed": n}) for s, n in zip(archive().steps, (1, 3), strict=True))
    found = findings(report(steps=(), holds=(), archive=archive(steps=unsealed)))
    assert [(f.where, f.what.partition(" sealed")[0]) for f in found] == [
        ("contracts/contracts", "1 archive object is not"),
        ("billing-invoices/billing_invoices", "3 archive objects are not"),
    ]


@pytest.mark.parametrize(("review_on", "red"), [(None, True), (date(2026, 11, 23), True), (date(2026, 11, 24), False)])
def test_a_hold_is_red_without_a_review_date_or_past_it(review_on: date | None, red: bool) -> None:
    hold = HoldReport(id=1, scope=("tenant",), reason="audit", owner="Legal", starts_on=date(2026, 1, 1), review_on=review_on)
    assert bool(findings(report(steps=(), holds=(hold,)))) is red


@pytest.mark.parametrize("kind", ["survivors", "failed"])
def test_what_is_left_or_refused_fails_the_run(kind: str) -> None:
    found = findings(report(steps=(step(terms=terms(planned=1, failed=1) if kind == "failed" else terms(survivors=1)),), holds=()))
    assert [(f.kind, f.fails) for f in found] == [(kind, True)]


def test_a_quarantine_that_could_not_be_counted_is_red() -> None:
    assert [f.kind for f in findings(report(steps=(step(quarantined=Quarantine(null=None)),), holds=()))] == ["quarantined"]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.outside += [v or "" for k, v in attrs if k in {"src", "href", "srcset", "action"} and not (v or "").startswith("#")]
        if tag not in {"meta", "line", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("made", [report, expiry], ids=["night", "expiry"])
def test_the_page_is_well_formed_and_reaches_for_nothing_outside(made: Callable[[], RunReport]) -> None:
    page = render(made())
    parser = _Links()
    parser.feed(page)
    assert (parser.open, parser.outside) == ([], [])
    assert parser.tags.isdisjoint({"script", "link", "img", "iframe"})
    assert not re.findall(r"https?:|url\(|@import|//[a-z]", page)


def test_the_page_names_what_an_auditor_looks_for() -> None:
    r = report()
    page = render(r)
    for text in (
        r.plan,
        r.policy_digest,
        r.text_sha256,
        r.ledger_head,
        "record 318",
        "technical logs are deleted after 12 months",
        "dpo",
        "Batch 7",
    ):
        assert str(text) in page
    for text in (
        "the handling of persons’ requests",
        "a record that the tenant got its data back",
        "definitive (L4) on 29",
        "the cookies policy",
        "cutoff 24",
    ):
        assert text in page


def text_of(page: str) -> str:
    """What is read of a page, without its tags."""
    body = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(body))  # of every width and kind


def test_the_archive_part_says_what_was_kept_under_which_law_and_until_when() -> None:
    said = text_of(render(report()))
    for words_ in ("2 371 archived first", CLAIMS, "ground: claims", BOOKS, "ground: obligation", "10 years", "14 January 2027"):
        assert words_ in said
    assert "each object until its own expiry the last until 1 January 2037, 00:00" in said
    assert "lethe-archive lacks nothing" in said


def test_the_sum_of_a_contracts_end_is_told_by_its_terms_and_tenants_only_by_shortened_digests() -> None:
    held, moved = archive().splits
    assert (held.balanced, moved.balanced) == (True, True)
    assert held.model_copy(update={"archived": 60}).balanced is False
    assert held.model_copy(update={"only_deleted": None}).balanced is None
    said = text_of(render(report()))
    assert "tenant 9f3c01aa… 12 in, 13 archived, 0 deleted, 0 still there" in said
    wrong = held.model_copy(update={"archived": 60})
    assert "does not come out" in text_of(render(report(archive=archive(splits=(wrong,)))))
    unknown = held.model_copy(update={"check": "unknown", "tenants": None, "off": None})
    assert "unknown by tenant" in text_of(render(report(archive=archive(splits=(unknown,)))))
    failed = held.model_copy(update={"check": "failed", "off": 2})
    assert "does not come out" in text_of(render(report(archive=archive(splits=(failed,)))))


def test_rules_that_wait_say_how_much_is_due_and_unknown_is_not_zero() -> None:
    said = text_of(render(report()))
    assert re.search(r"tenant-data clients 30 days 1 204 a record that the tenant got its data back", said)
    assert re.search(r"backups no dataset yet 35 days not counted control over", said)


def test_the_report_of_an_expiry_says_what_went_what_is_held_past_its_day_and_what_is_left() -> None:
    tonight = expiry()
    assert [(t.label, t.value, t.note) for t in tiles(tonight)] == [
        ("Rows expired", "48", "7 objects, 1 written anew"),
        ("Survivors", "0", ""),
        ("Held past their expiry", "4", ""),
        ("Rows left in the archive", "2\u202f371", "18 objects"),
        ("Clean steps", "1 of 1", ""),
    ]
    said = text_of(render(tonight))
    for words_ in ("Archived data due on", "L2 29 December 2026", f"{'5a' * 16} (3)", "1 litigation Legal", "What is left in the archive"):
        assert words_ in said


def test_a_report_without_an_archive_is_silent_about_one() -> None:
    page = render(report(archive=None))
    assert 'id="archive"' not in page
    assert "archived first" not in page


def test_expiries_within_two_years_are_drawn_by_month_and_later_ones_by_year() -> None:
    near = calendar((("Law", "2026-11", 5), ("Law", "2028-10", 7)))
    far = calendar((("Law", "2026-11", 5), ("Law", "2028-11", 7), ("Other", "2028-01", 1)))
    assert near is not None and far is not None
    assert (near.by, [c.label for c in near.columns]) == ("month", ["November 2026: 5 under Law", "October 2028: 7 under Law"])
    assert (far.by, [c.label for c in far.columns]) == ("year", ["2026: 5 under Law", "2028: 7 under Law, 1 under Other"])
    assert calendar(()) is None and calendar((("Law", "2026-11", 0),)) is None


def test_laws_are_stacked_without_a_gap_and_every_row_is_in_a_column() -> None:
    rows = tuple((f"Law {n}", f"{y}-01", n * 10 + y - 2027) for n in range(1, 9) for y in range(2027, 2064))
    drawn = calendar(rows)
    assert drawn is not None
    assert (len(drawn.laws), drawn.laws[-1]) == (COLOURS, "other laws")
    assert "2056 and later" in drawn.columns[-1].label
    said = sum(int(n.replace(",", "")) for c in drawn.columns for n in re.findall(r"([\d,]+) under", c.label))
    assert said == sum(n for _, _, n in rows)
    for column in drawn.columns:
        edges = [p.y + p.height for p in column.parts]
        assert edges == pytest.approx([drawn.base, *(p.y for p in column.parts[:-1])], abs=0.05)


def test_labels_of_expiries_never_run_into_each_other_and_totals_have_room() -> None:
    for count in range(1, 40):
        for months in (1, 12):
            drawn = calendar(tuple(("Law", f"{2027 + i * months // 12}-{i * months % 12 + 1:02}", 12_345) for i in range(count)))
            assert drawn is not None
            assert all(b.at - a.at >= (40 if drawn.by == "year" else 62) for a, b in pairwise(drawn.ticks)), count
            assert all(b.x + b.width / 2 - a.x - a.width / 2 >= 44 for a, b in pairwise(drawn.columns) if a.total), count


def test_the_same_report_is_the_same_page_byte_for_byte() -> None:
    assert render(report()) == render(report())


def test_text_of_the_policy_is_escaped() -> None:
    page = render(report(steps=(step(quote="<b>you</b>", findings=("`a<b`",)),), company="A & B"))
    assert "<b>you</b>" not in page
    assert "&lt;b&gt;you" in page
    assert "A &amp; B" in page
    assert "a<b" not in page


def test_a_report_without_any_step_still_says_what_it_is() -> None:
    page = render(
        report(steps=(), waiting=(), holds=(), guard=(), approvals=(), interruptions=(), promises=(), unbound=(), ledger_head=None)
    )
    assert "No rule was carried out" in page
    assert "not recorded yet" in page


def test_the_cutoff_is_drawn_inside_its_month_at_its_day() -> None:
    drawn = chart((("2025-11", 30), ("2025-12", 30)), (("2025-11", 7), ("2025-12", 30)), CUTOFF, "Europe/Paris")
    assert drawn is not None
    month = (WIDTH - LEFT - RIGHT) / 2
    assert drawn.cutoff_x == pytest.approx(LEFT + month * 23 / 30, abs=0.01)
    assert drawn.bars[0].gone > 0
    assert drawn.bars[1].gone == 0


def test_months_without_rows_keep_their_place_and_old_ones_are_put_together() -> None:
    gap = chart((("2025-01", 5), ("2025-04", 5)), None, CUTOFF, "Europe/Paris")
    assert gap is not None
    assert len(gap.bars) == 2
    long = chart(tuple((f"{y}-{m:02}", 1) for y in range(1990, 2027) for m in range(1, 13)), None, CUTOFF, "Europe/Paris")
    assert long is not None
    assert len(long.bars) == 96
    assert "and older: 349" in long.bars[0].label
    assert chart((), (), CUTOFF, "Europe/Paris") is None
    assert chart((("2025-01", 0),), None, CUTOFF, "Europe/Paris") is None


def test_without_a_count_afterwards_whole_months_past_the_cutoff_are_set_apart_and_none_is_called_gone() -> None:
    drawn = chart((("2025-10", 30), ("2025-11", 30), ("2025-12", 30)), None, CUTOFF, "Europe/Paris")
    assert drawn is not None
    assert [(b.gone > 0, b.kept > 0) for b in drawn.bars] == [(True, False), (False, True), (False, True)]
    assert [b.label for b in drawn.bars] == ["October 2025: 30", "November 2025: 30", "December 2025: 30"]
    page = render(report(steps=(step(left=None),)))
    assert "months past the cutoff" in page and "gone by this run" not in page


def test_labels_of_months_never_run_into_each_other() -> None:
    for count in range(2, 97):
        drawn = chart(tuple((f"{2025 - i // 12}-{12 - i % 12:02}", 5) for i in range(count)), None, CUTOFF, "Europe/Paris")
        assert drawn is not None
        assert all(b.at - a.at >= 62 for a, b in pairwise(drawn.columns)), count


def test_one_row_is_not_called_rows_and_what_blocks_and_who_corrects_are_named() -> None:
    one = step(
        terms=terms(planned=1, blocked=1),
        blockers=(Blocker(dataset="messages", relation="thread", rows=1),),
        quarantined=Quarantine(null=1, owner="data team", look_by=date(2026, 12, 8)),
    )
    blocked, quarantined = findings(report(steps=(one,), holds=()))
    assert blocked.what == "1 due row stays, because rows that stay still refer to it: 1 by messages (thread)."
    assert quarantined.what.startswith("1 row has a clock that cannot be believed")
    assert quarantined.do.startswith("Owner: data team. Correct the clocks at the source by 8\u00a0December\u00a02026")
    nobody, unknown = step(quarantined=Quarantine(null=1)), step(terms=terms(planned=1, blocked=1), blockers=None)
    assert "names no owner" in findings(report(steps=(nobody,), holds=()))[0].do
    assert "could not be counted which" in findings(report(steps=(unknown,), holds=()))[0].what


@pytest.mark.parametrize(("rows", "top"), [(1, "1"), (7, "8"), (95, "100"), (33_000, "40k"), (1_500_000, "1.5M")])
def test_the_axis_ends_on_a_round_number_above_the_highest_month(rows: int, top: str) -> None:
    drawn = chart((("2025-01", rows),), None, CUTOFF, "Europe/Paris")
    assert drawn is not None
    assert drawn.lines[-1].label == top


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("P12M", "12 months"),
        ("P1M", "1 month"),
        ("P5Y", "5 years"),
        ("P1Y6M", "1 year and 6 months"),
        ("P30D", "30 days"),
        ("P5BD", "5 business days"),
    ],
)
def test_periods_are_said_in_words(period: str, said: str) -> None:
    assert words.period(Period(period)).replace("\N{NO-BREAK SPACE}", " ") == said


def test_numbers_and_instants_are_read_in_the_policys_zone() -> None:
    assert words.number(1_234_567) == "1\u202f234\u202f567"
    assert words.number(None) == "unknown"
    assert words.instant(CUTOFF, "Europe/Paris") == "24\xa0November\xa02025, 00:00"


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may grow beyond 4 kB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_report_whole(tmp_path: Path, no_room: None) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old one")
    with pytest.raises(ReportNotWritten, match="could not be written"):
        write(report(), path)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    path = write(report(), tmp_path / "reports" / "run.html")
    assert path.read_text(encoding="utf-8") == render(report())
    assert [p.name for p in path.parent.iterdir()] == ["run.html"]
