"""The index page of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lethe.subjects.bundle.model import About, SectionTold


def pages(about: About, told: Sequence[SectionTold]) -> Mapping[str, str]:
    """The pages by their file's name."""
    return {"index.html": f"<!doctype html><title>{about.request}: {len(told)}</title>\n"}
