"""The files of the record of processing activities: HTML and PDF, in French and in English. Pure: the same sources give the same bytes."""

from __future__ import annotations

from lethe.accountability.pages import page
from lethe.accountability.processing_record.view import Sources, view
from lethe.reports.pdf import compile_pdf

LANGUAGES = ("fr", "en")
NAME = "record"


def files_of(sources: Sources) -> dict[str, bytes]:
    """Every file by its name. All of it is internal. Raises BeforeRegister."""
    made: dict[str, bytes] = {}
    for language in LANGUAGES:
        shown = view(sources, language)
        made[f"{NAME}.{language}.html"] = page("record.html", v=shown, other=f"{NAME}.{'en' if language == 'fr' else 'fr'}.html")
        made[f"{NAME}.{language}.pdf"] = compile_pdf("record.typ", shown, on=sources.as_of)
    return dict(sorted(made.items()))
