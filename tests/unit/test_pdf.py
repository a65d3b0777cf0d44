"""PDF pages: the same bytes for the same inputs, and values that can never become source."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pypdfium2
import pytest

from lethe.errors import ReportNotWritten
from lethe.reports import pdf
from lethe.reports.pdf import compile_pdf

DAY = date(2026, 11, 28)
TEMPLATE = b"""
#import "house.typ": *
#let data = json("data.json")
#show: house.with(title: data.title, eyebrow: "List", company: data.company, as-of: "28 November 2026", language: data.language)
#if "picture" in data { image(data.picture, alt: "A picture", width: 40mm) }
#rows((1fr, 2fr), ("Name", "Place"), data.rows)
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><rect width="20" height="10" fill="#345678"/></svg>'
DATA = {"title": "Processors", "company": "SPOTRAK LLC", "language": "en", "rows": [["a", "b"]]}


@pytest.fixture(autouse=True)
def template(monkeypatch):
    found = {**pdf._sources(), "sample.typ": TEMPLATE}
    monkeypatch.setattr(pdf, "_sources", lambda: found)


def text_of(document: bytes) -> list[str]:
    pages = pypdfium2.PdfDocument(document)
    return [page.get_textpage().get_text_range() for page in pages]


@pytest.mark.parametrize(
    "name",
    [
        "*Not bold* _nor this_",
        "#panic()",
        '#read("/etc/passwd")',
        "$x^2$",
        "= No head",
        "a \\ b",
        "@label <label>",
        "// no comment",
        "`raw`",
        '"',
        '#image("x.svg")',
        "Ünïcôdé & Cie — « l’œuvre »",
        "Ελλάς Банк",
    ],
)
def test_a_name_that_is_markup_is_printed_as_it_stands(name):
    words = text_of(compile_pdf("sample.typ", DATA | {"title": name, "company": name, "rows": [[name, "Paris"]]}, on=DAY))[0]
    assert words.count(name) >= 3 and "Paris" in words


def test_the_same_inputs_give_the_same_bytes_in_another_process_of_another_zone(tmp_path):
    made = compile_pdf("sample.typ", DATA | {"picture": "p.svg"}, images={"p.svg": SVG}, on=DAY)
    assert made.startswith(b"%PDF-")
    code = (
        "import sys; from datetime import date; from lethe.reports import pdf\n"
        f"pdf._sources = lambda found=pdf._sources(): {{**found, 'sample.typ': {TEMPLATE!r}}}\n"
        f"sys.stdout.buffer.write(pdf.compile_pdf('sample.typ', {DATA | {'picture': 'p.svg'}!r}, images={{'p.svg': {SVG!r}}}, on=date(2026, 11, 28)))"
    )
    environment = os.environ | {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(pdf.__file__).parents[2])}
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path, env=environment).stdout
    assert again == made
    assert compile_pdf("sample.typ", DATA, on=date(2026, 11, 29)) != compile_pdf("sample.typ", DATA, on=DAY)


def test_every_page_has_its_number_and_the_heads_of_the_table_and_all_but_the_first_the_running_header():
    pages = text_of(compile_pdf("sample.typ", DATA | {"rows": [[f"row {n}", "x"] for n in range(120)]}, on=DAY))
    assert len(pages) > 2
    for n, page in enumerate(pages, 1):
        assert f"Page {n} of {len(pages)}" in page and "Place" in page
        assert ("28 November 2026" in page) == (n > 1)
    assert all(sum(f"row {n}\r" in page or f"row {n} " in page for page in pages) == 1 for n in range(120))


def test_french_pages_are_numbered_in_french():
    assert "Page 1 sur 1" in text_of(compile_pdf("sample.typ", DATA | {"language": "fr"}, on=DAY))[0]


def test_data_that_the_template_does_not_take_is_an_error_of_its_own():
    with pytest.raises(ReportNotWritten, match=r"sample\.typ"):
        compile_pdf("sample.typ", {k: v for k, v in DATA.items() if k != "rows"}, on=DAY)
    with pytest.raises(ValueError, match="JSON"):
        compile_pdf("sample.typ", DATA | {"rows": [[float("nan"), ""]]}, on=DAY)
