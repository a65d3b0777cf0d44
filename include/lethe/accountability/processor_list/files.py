"""The files of a list: HTML and PDF in French and in English, CSV, JSON; for anybody who asks and, apart from them, for inside. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from lethe.accountability.pages import drawn, page
from lethe.accountability.processor_list.content import Audience, content
from lethe.accountability.processor_list.model import ProcessorList
from lethe.accountability.processor_list.tables import as_csv, as_json
from lethe.accountability.processor_list.view import chain_of, view
from lethe.accountability.processor_list.words import field_label
from lethe.reports.pdf import compile_pdf
from lethe.reports.tree import Node, pictures

LANGUAGES = ("fr", "en")
NAME = "processors"


def files_of(listed: ProcessorList, audience: Audience) -> dict[str, bytes]:
    """Every file for that audience, by its name. The same list gives the same bytes."""
    found = content(listed, audience)
    made: dict[str, bytes] = {f"{NAME}.json": as_json(found), f"{NAME}.csv": as_csv(found)}
    for language in LANGUAGES:
        made[f"{NAME}.{language}.html"] = as_html(found, language)
        made[f"{NAME}.{language}.pdf"] = as_pdf(found, language)
    return dict(sorted(made.items()))


def as_html(found: Mapping[str, Any], language: str) -> bytes:
    """The page in that language; its picture is drawn for a wide screen and for a phone, and the page's width chooses."""
    shown, chain = view(found, language), chain_of(found, language)
    return page(
        "processors.html",
        v=shown,
        fields={name: field_label(name, language) for name in ("kind", "role")},
        other=f"{NAME}.{'en' if language == 'fr' else 'fr'}.html",
        again=_again(chain),
        wide=drawn(pictures(chain, width="wide", label=shown["chain_label"])),
        narrow=drawn(pictures(chain, width="narrow", label=shown["chain_label"])),
    )


def as_pdf(found: Mapping[str, Any], language: str) -> bytes:
    """The same as A4 pages, dated with the list's day."""
    shown, chain = view(found, language), chain_of(found, language)
    drawings = {f"chain-{n}.svg": p for n, p in enumerate(pictures(chain, width="wide", label=shown["chain_label"]))}
    data = {**shown, "pictures": list(drawings), "again": _again(chain), "fields": {n: field_label(n, language) for n in ("kind", "role")}}
    return compile_pdf("processors.typ", data, images=drawings, on=date.fromisoformat(found["as_of"]))


def _again(node: Node) -> bool:
    """Is something in the picture drawn a second time?"""
    return node.again or any(_again(c) for c in node.children)
