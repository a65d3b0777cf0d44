"""HTML pages: each whole in itself, no script, nothing loaded from anywhere; for a screen of any width, light or dark, and for paper. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"

CONTENT_TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""Of the files that are made here, by their ending."""


def page(template: str, **values: Any) -> bytes:
    """A page of `templates/` in UTF-8; every value is escaped, but for pictures, which are SVG of our own. The same values, the same bytes."""
    return _environment().get_template(template).render(css=_css(), **values).encode()


def drawn(pictures: tuple[str, ...]) -> tuple[Markup, ...]:
    """Pictures of `reports.tree`, whose texts are escaped there, to stand in a page as they are."""
    return tuple(Markup(p) for p in pictures)


@lru_cache(maxsize=1)
def _css() -> Markup:
    return Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8"))  # our own file


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
