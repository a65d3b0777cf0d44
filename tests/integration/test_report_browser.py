"""The report in a real browser: it fits a desk and a phone, follows a dark scheme, prints, and asks no host for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lethe.reports.run_report import render, write
from sample_report import report

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt-get install chromium)"),
]

# Nothing may be wider than the page, except inside of what scrolls by itself. The report itself has no script: this one is the test's.
_PROBE = """<script>document.title = JSON.stringify({wide: document.documentElement.scrollWidth > innerWidth,
 paper: getComputedStyle(document.body).backgroundColor, charts: document.querySelectorAll('svg.chart').length,
 cut: [...document.querySelectorAll('td,dd,th')].filter(e => e.scrollWidth > e.clientWidth + 1).length})</script></body>"""


def browse(page: Path, profile: Path, *options: str) -> str:
    """What chromium prints; it may reach no host but this machine's."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    command += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (820, False), (500, False), (1280, True)])
def test_the_report_fits_and_follows_the_scheme(tmp_path: Path, width: int, dark: bool) -> None:
    page = tmp_path / "report.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(report()))
    page.write_text(text.replace("</body>", _PROBE), encoding="utf-8")
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    dom = browse(page, tmp_path / "profile", f"--window-size={width},900", "--dump-dom", *scheme)
    paper = "rgb(21, 24, 28)" if dark else "rgb(252, 251, 248)"
    assert f'<title>{{"wide":false,"paper":"{paper}","charts":5,"cut":0}}</title>' in dom


def test_the_report_prints(tmp_path: Path) -> None:
    page, paper = write(report(), tmp_path / "report.html"), tmp_path / "report.pdf"
    browse(page, tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert 2 <= paper.read_bytes().count(b"/Type /Page\n") <= 12
