"""PDF pages from a Typst template of `templates/` and data: tagged, fonts from the wheel, no clock, no host, the same bytes each time.

A template starts like this; `house.typ` has the page, the tables and the colours that all documents share:

    #import "house.typ": *
    #let data = json("data.json")
    #show: house.with(title: data.title, eyebrow: data.eyebrow, company: data.company, as-of: data.as_of, language: data.language)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from lethe.errors import ReportNotWritten

_TEMPLATES = Path(__file__).parent / "templates"


def compile_pdf(template: str, data: Mapping[str, Any], *, images: Mapping[str, str | bytes] | None = None, on: date) -> bytes:
    """The pages of `template` (a file name such as `processors.typ`), which reads `data` as JSON from `data.json`.

    Values arrive as values, never as source: a name that is Typst markup is printed as it stands. `data` holds what JSON knows, floats
    excepted. `images` (a name that ends in `.svg` or `.png`, and its text or bytes) are what `image("chain.svg")` finds. `on` is the day that
    the document carries as its date. The same arguments give the same bytes, on any machine.
    Raises ReportNotWritten when the template does not take the data, TypeError when JSON does not.
    """
    import typst

    files: dict[str, bytes] = {
        "main.typ": _sources()[template],
        **_sources(),
        "data.json": json.dumps(dict(data), ensure_ascii=False, allow_nan=False, sort_keys=True).encode(),
        **{name: image.encode() if isinstance(image, str) else image for name, image in (images or {}).items()},
    }
    try:
        return typst.compile(  # type: ignore[no-any-return, call-overload] # its stubs do not know a mapping of files yet
            files,
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs={"on": on.isoformat()},
            timestamp=datetime(on.year, on.month, on.day, tzinfo=UTC),
        )
    except typst.TypstError as error:  # its text names types, keys and lines of the template, not values
        raise ReportNotWritten(
            f"The template {template} does not take what it was given: {error.message}.", fix="Correct the template or its data."
        ) from None


@lru_cache(maxsize=1)
def _sources() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(_TEMPLATES.glob("*.typ"))}
