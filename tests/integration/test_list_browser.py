"""The pages of the list and of the record in a real browser: they fit a desk and a phone, and every name fits its box in the picture."""

from __future__ import annotations

import json
import re
import shutil
from html import escape
from pathlib import Path

import pytest

from helpers.lists import BEFORE, listed, sources
from helpers.registers import entry, register, version
from integration.test_bundle_browser import browse
from lethe.accountability.processing_record.files import files_of as record_files
from lethe.accountability.processor_list.content import Audience
from lethe.accountability.processor_list.files import files_of

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here (Debian: apt-get install chromium)"),
]
LONG = "Société Anonyme des Grandes Infrastructures Numériques Méditerranéennes WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW & Cie"
WIDTHS = (1280, 390)

# Each page in a frame of its own, as wide as a desk or a phone; in the probe itself, so that no file is waited for. The pages have no script: this one is the test's.
_PROBE = """<!doctype html><head><script>
const said = {{}}; let left = {count};
function tell(f) {{ const d = f.contentDocument, v = d.defaultView;
 const out = [...d.querySelectorAll('.tree g')].filter(g => g.getBoundingClientRect().width).filter(g => {{
  const b = g.querySelector('.box').getBoundingClientRect();
  return [...g.querySelectorAll('text')].some(t => {{ const r = t.getBoundingClientRect(); return r.right > b.right || r.bottom > b.bottom || r.top < b.top }}) }});
 said[f.title] = [d.documentElement.scrollWidth > v.innerWidth, out.length,
  [...d.querySelectorAll('dd,li,p,h1,h2,h3,td')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).length,
  [...d.querySelectorAll('figure')].filter(e => e.getBoundingClientRect().width).length,
  Math.min(...[...d.querySelectorAll('.tree text')].map(t => t.getBoundingClientRect().height).filter(h => h))];
 if (!--left) document.title = JSON.stringify(said) }}
</script></head><body>{frames}</body>"""


def test_the_pages_fit_a_desk_and_a_phone_and_every_name_fits_its_box(tmp_path: Path) -> None:
    sub = {"role": "sub-processor"}
    long = register(
        entry("a", version(legal_name=LONG, sub_processors=["b"])),
        entry("b", version(legal_name=LONG, locations=[{"country": "US", "tool": "scc"}], **sub)),
    )
    made = {f"list-{n}": b for n, b in files_of(listed(since=BEFORE), Audience.INTERNAL).items()}
    made |= {f"long-{n}": b for n, b in files_of(listed(long), Audience.PUBLIC).items()} | record_files(sources())
    pages = ["list-processors.fr.html", "list-processors.en.html", "long-processors.fr.html", "record.fr.html"]
    frames = "".join(
        f'<iframe onload="tell(this)" srcdoc="{escape(made[name].decode())}" title="{name} {width}" style="border:0;width:{width}px;height:900px"></iframe>'
        for name in pages
        for width in WIDTHS
    )
    probe = tmp_path / "probe.html"
    probe.write_text(_PROBE.format(frames=frames, count=len(pages) * len(WIDTHS)), encoding="utf-8")
    dom = browse(probe, tmp_path / "profile", "--window-size=1300,1000", "--virtual-time-budget=8000", "--dump-dom")
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found
    said = json.loads(found[1])
    assert set(said) == {f"{name} {width}" for name in pages for width in WIDTHS}
    for name, (wide, out, cut, figures, smallest) in said.items():
        assert (wide, out, cut) == (False, 0, 0), name
        assert figures == (0 if name.startswith("record") else 1), f"{name}: one picture at a time"
        assert smallest is None or smallest >= 11, f"{name}: too small to read"
