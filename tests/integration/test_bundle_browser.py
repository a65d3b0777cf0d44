"""The page of a bundle in a real browser: it fits a desk and a phone, follows a dark scheme, prints, and runs and loads nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lethe.subjects.bundle.model import Beside
from lethe.subjects.bundle.page import pages
from sample_bundle import about, everything, fifteen

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt-get install chromium)"),
]

# Nothing may be wider than the page, except inside of what scrolls by itself. The page has no script: this one is the test's, and it looks at
# the page in a frame as wide as a phone, because a headless window is never that narrow.
_PROBE = """<!doctype html><body><iframe id="f" src="index{suffix}.html" style="border:0;width:{width}px;height:900px"></iframe><script>
f.onload = () => {{ const d = f.contentDocument, v = d.defaultView; document.title = JSON.stringify({{
 wide: d.documentElement.scrollWidth > v.innerWidth, paper: v.getComputedStyle(d.body).backgroundColor,
 boxes: [...d.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length > 0,
 cut: [...d.querySelectorAll('dd,li,p,h1,h2,summary')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).length}}) }}
</script></body>"""


def browse(page: Path, profile: Path, *options: str) -> str:
    """What chromium prints; it may reach no host but this machine's."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    command += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", *options]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout


def write(folder: Path, made: dict[str, str]) -> None:
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("width", "dark", "suffix"), [(1280, False, ""), (390, False, ".en"), (390, True, "")])
def test_the_page_fits_and_follows_the_scheme(tmp_path: Path, width: int, dark: bool, suffix: str) -> None:
    write(
        tmp_path,
        dict(pages(about(), [*everything(), *fifteen()], Beside(cards=tuple(f"contact.{n:04}.vcf" for n in range(1, 8)), parts=True))),
    )
    probe = tmp_path / "probe.html"
    probe.write_text(_PROBE.format(width=width, suffix=suffix), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dom = browse(probe, tmp_path / "profile", "--window-size=1300,1000", "--virtual-time-budget=4000", "--dump-dom", scheme)
    said = re.search(r"<title>(.*?)</title>", dom)
    paper = "rgb(21, 24, 28)" if dark else "rgb(252, 251, 248)"
    assert said and json.loads(said[1]) == {"wide": False, "paper": paper, "boxes": True, "cut": 0}


def test_the_page_prints(tmp_path: Path) -> None:
    write(tmp_path, dict(pages(about(), everything())))
    paper = tmp_path / "page.pdf"
    browse(tmp_path / "index.html", tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert 3 <= paper.read_bytes().count(b"/Type /Page\n") <= 20
