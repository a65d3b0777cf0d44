"""The promise report as a page, as PDF and as JSON: whole in itself, every sentence and every control in it, values as values."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache

import pypdfium2
import pytest

from helpers.promises import policy_of
from lethe.accountability.promises.evaluate import judge
from lethe.accountability.promises.model import Evidence, LedgerState, PromiseReport, Seen, Transfers, Unpublished
from lethe.accountability.promises.rendering import render
from lethe.accountability.promises.view import view
from lethe.policy.sentences import sentences
from lethe.processors.model import TransferTool
from lethe.processors.transfers import UnnamedTransfer

AT = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
TEXT = "Logs\n\nLogs go after a year. We <b>sell</b> #nothing $1$. Ask us.\n"
CONTROLS = [{"rule": "logs"}, {"check": "drift"}, {"check": "no-such-check"}, {"unbuilt": "Statistics, *in* #numbers."}]


@cache
def report() -> PromiseReport:
    policy = policy_of(
        quotes=["Logs go after a year.", "We <b>sell</b> #nothing $1$."],
        controls=CONTROLS,
        no_promise=[{"text": "Logs", "why": "a heading"}],
    )
    evidence = Evidence(kind="run.finished", at=AT, recorded_at=AT, seq=7, digest="ab" * 32)
    seen = {
        "rule:logs": Seen(evidence=evidence, faults=("logs/table: 3 blocked.",)),
        "check:drift": Seen(evidence=Evidence(kind="looked at", at=AT, recorded_at=AT)),
        "check:no-such-check": Seen(absent="There is no check no-such-check."),
    }
    return PromiseReport(
        company="Small & Co <LLC>",
        authority="CNIL",
        policy_version="2026-05-01",
        policy_digest="cd" * 32,
        text_file="policy.txt",
        text_sha256="ef" * 32,
        time_zone="Europe/Paris",
        at=AT,
        ledger=LedgerState(records=7, seq=7, digest="ab" * 32, witnessed_to=7),
        promises=judge(policy, seen, at=AT, published="", ledger=""),
        sentences=sentences(policy, TEXT),
        unpublished=(
            Unpublished(rule="acts", promise="p", period="P12M", category="usage-events", why="A <choice>.", waits_for=("warning",)),
        ),
        transfers=Transfers(promise="p", unnamed=(UnnamedTransfer(entry="relay", country="US", tool=TransferTool.SCC),)),
        refers_to=("the cookies policy",),
    )


@cache
def files() -> dict[str, str]:
    made = render(report())
    pages = pypdfium2.PdfDocument(made["pdf"])
    paper = " ".join(page.get_textpage().get_text_bounded() for page in pages)
    return {"html": made["html"].decode(), "json": made["json"].decode(), "pdf": " ".join(paper.split())}


@pytest.mark.parametrize("words", [
    "Small & Co <LLC>", "We <b>sell</b> #nothing $1$.", "Ask us.", "Statistics, *in* #numbers.", "3 blocked", "There is no check no-such-check.",
    "usage events", "A <choice>.", "The register has a transfer that the text does not name: relay to United States (standard contractual clauses).",
    "the cookies policy", "record 7", "0 of 1 promises are shown to be kept", "needs a person", "failing", "missing",
])  # fmt: skip
def test_page_and_paper_say_everything_as_it_is_written(words: str) -> None:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in files()["html"] and words not in {"<b>"}
    assert words in files()["pdf"]


def test_a_page_loads_nothing_runs_nothing_and_links_to_what_is_there() -> None:
    page = files()["html"]
    assert not re.search(r"<script|https?://|src=|url\(|@import", page)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r' id="([^"]+)"', page))
    assert "<b>sell</b>" not in page and page.count("<html") == 1


def test_an_unbound_sentence_is_marked_in_the_text_and_listed() -> None:
    assert report().unbound == ("Ask us.",)
    assert 'class="said t-unbound"' in files()["html"] and "bound to no promise" in files()["pdf"]
    assert not report().kept


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render(report()) == render(report())


def test_json_has_every_control_with_its_verdict_and_what_is_derived() -> None:
    told = json.loads(files()["json"])
    (promise,) = told["promises"]
    assert (promise["verdict"], promise["broken"], told["counts"]["missing"], told["broken"]) == ("missing", True, 1, ["p"])
    assert {c["id"]: c["verdict"] for c in promise["controls"]} == {
        "rule:logs": "failing", "check:drift": "fresh", "check:no-such-check": "missing", "unbuilt:Statistics, *in* #numbers.": "missing",
    }  # fmt: skip
    assert [c["broken"] for c in promise["controls"]] == [True, False, True, False]
    assert told["transfers"] == {"promise": "p", "unnamed": [{"entry": "relay", "country": "US", "tool": "scc"}], "unknown": ""}
    assert (told["unbound"], told["unpublished"][0]["rule"], told["ledger"]["seq"]) == (["Ask us."], "acts", 7)


def test_a_transfer_stands_under_its_promise_and_on_its_own_and_makes_no_verdict_worse() -> None:
    shown, other = (
        view(report()),
        view(report().model_copy(update={"transfers": Transfers(promise="elsewhere", unnamed=report().transfers.unnamed)})),
    )
    assert [p["notes"] for p in shown["promises"]] == [shown["transfers"]] and len(shown["transfers"]) == 1
    assert [p["notes"] for p in other["promises"]] == [[]] and other["transfers"] == shown["transfers"]
    none = report().model_copy(update={"transfers": Transfers()})
    assert (
        none.counts == report().counts
        and view(none)["transfers"] == []
        and "every transfer of the register is in the text" in render(none)["html"].decode()
    )


def test_a_register_that_cannot_be_read_is_not_one_without_transfers() -> None:
    unknown = report().model_copy(update={"transfers": Transfers(promise="p", unknown="It is no YAML.")})
    (said,) = view(unknown)["promises"][0]["notes"]
    assert (
        said == "Whether data leaves the European Economic Area could not be told: It is no YAML."
        and said in render(unknown)["html"].decode()
    )
